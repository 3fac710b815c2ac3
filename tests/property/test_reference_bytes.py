"""T0 against the replica: the same bytes are events with the same ids, the same are refused.

Events are spoilt and then signed again, so that the rules behind the signature have their turn.
"""

from __future__ import annotations

import json
import random
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.bindings import crypto_sign, crypto_sign_seed_keypair

from dinemic_engine.errors import BadSignature, InvalidEvent, Reason
from dinemic_engine.event import open_event_untrusted
from dinemic_engine.keys import check_sealing_public_untrusted, check_signing_public_untrusted
from reference import keys
from reference.events import Event, open_event
from reference.spelling import Reader, Sealed, read, write
from support.event_bytes import envelope, sha, sig_structure, tree

PAYLOAD_DEPTH: Final = 19
VECTORS: Final = json.loads((Path(__file__).parents[1] / "vectors" / "events.json").read_text())
SIGNING_SEEDS: Final = {
    bytes.fromhex(key["signing_public"]): bytes.fromhex(key["signing_seed"])
    for key in VECTORS["keys"].values()
}
EVENTS: Final = [bytes.fromhex(vector["hex"]) for vector in VECTORS["accepted"]]
IN_ANOTHER_ENVELOPE: Final = [bytes.fromhex(vector["hex"]) for vector in VECTORS["again"]]


def refusal(raw: bytes) -> str:
    """Why the library refuses bytes, or nothing."""
    try:
        open_event_untrusted(raw)
    except InvalidEvent as error:
        return str(error.reason.value)
    return ""


def check_judged_alike(raw: bytes) -> None:
    """Fail unless the library and the replica read the same in bytes, or refuse them alike."""
    expected, reason = open_event(raw), refusal(raw)
    if reason:
        assert isinstance(expected, frozenset), (reason, raw.hex())
        assert reason in expected, raw.hex()
        return
    assert isinstance(expected, Event), (expected, raw.hex())
    found = open_event_untrusted(raw)
    assert (found.id, found.object, found.author) == (expected.id, expected.object, expected.author)
    assert (found.t, found.parents) == (expected.t, expected.parents)


# -- spoiling --------------------------------------------------------------------------------------


def payload_of(raw: bytes) -> bytes:
    """The payload of an event."""
    reader = Reader(raw)
    if reader.take(6).endswith(b"\xa1"):
        reader.take(5)
        reader.item()  # the path (EV-10)
    payload = reader.item()
    assert isinstance(payload, bytes)
    return payload


def parts_of(payload: bytes) -> list[Any]:
    """The array of six that a payload is."""
    parts = read(payload, PAYLOAD_DEPTH)[0]
    assert isinstance(parts, list)
    return parts


def signature_of(author: bytes, data: bytes) -> bytes:
    """A signature by an author of the vectors."""
    _, secret = crypto_sign_seed_keypair(SIGNING_SEEDS[author])
    return crypto_sign(data, secret)[:64]


def signed(payload: bytes, author: bytes, rng: random.Random) -> bytes:
    """An event of these bytes, by an author of the vectors; sometimes signed with others."""
    data = sig_structure(payload)
    if rng.randrange(3):
        return envelope(payload, signature_of(author, data))
    leaves = [rng.randbytes(32) for _ in range(1 << rng.choice((1, 1, 2, 7)))]
    at = rng.randrange(len(leaves))
    leaves[at] = sha(data)
    root, paths = tree(leaves)
    signature = signature_of(author, sig_structure(root, b"dinemic/batch/1"))
    return envelope(payload, signature, paths[at])


def spoilt(data: bytes, rng: random.Random) -> bytes:
    """Bytes with a few changed, lost, doubled or put in."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at = rng.randrange(len(found))
        match rng.randrange(5):
            case 0:
                found[at] = rng.randrange(256)
            case 1:
                found[at] ^= 1 << rng.randrange(8)
            case 2:
                del found[at : at + rng.choice((1, 1, 2, 8))]
            case 3:
                found[at:at] = rng.randbytes(rng.choice((1, 1, 2, 8)))
            case 4:
                found[at:at] = found[at : at + rng.randrange(40)]
    return bytes(found)


ODD: Final[list[Any]] = [
    None, True, False, 0, 1, 2, 3, 16, 17, -1, 4095, 4096, 65535, 65536, (1 << 63) - 1, 1 << 63,
    -(1 << 63) - 1, 1.0, float("nan"), -0.0, float("inf"), "", "a", "a b", "x" * 128, "x" * 129,
    "é" * 257, "Model", "0Model", b"", bytes(31), bytes(32), bytes(33), bytes(80), bytes(1168),
    [], [None], [[]], {}, {"a": True}, {"a": None}, {"": True}, [False, {}], [1, bytes(32)],
    [1, b"\x09" + bytes(31)], [None, 0], [None, 0, 0], [None, 0, 0, 1], [[None, 0, 0, 1]],
    Sealed(bytes(32), bytes(16), b""), Sealed(bytes(32), bytes(16), bytes(80)),
    [Sealed(bytes(32), bytes(16), b"")], [16], [3, "a"], [2, "a", 1], [14, [True, {}]],
]  # fmt: skip
ODD.extend([read(b"\x81" * depth + b"\xf6", depth)[0] for depth in range(12, 20)])


OPS: Final = [op for raw in EVENTS for op in parts_of(payload_of(raw))[5]]


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, index or key) inside an array or a map."""
    if not isinstance(value, list | dict):
        return []
    own = list(enumerate(value) if isinstance(value, list) else value.items())
    return [(value, at) for at, _ in own] + [place for _, each in own for place in places(each)]


def distorted(payload: bytes, rng: random.Random) -> bytes:
    """A payload in which a few parts are others, gone, twice, or those of somewhere else."""
    value: Any = parts_of(payload)
    for _ in range(rng.choice((1, 1, 1, 2))):
        inside = places(value)
        container, at = rng.choice(inside)
        other, there = rng.choice(inside)
        match rng.randrange(8):
            case 0 | 1 | 2:
                container[at] = rng.choice(ODD)
            case 6 | 7 if isinstance(value[-1], list):
                value[-1].insert(rng.randrange(3), rng.choice(OPS))
            case 3:
                del container[at]
            case 4 if isinstance(container, list):
                container.insert(rng.randrange(len(container) + 1), container[at])
            case _:
                container[at] = read(write(other[there]), PAYLOAD_DEPTH)[0]  # a copy
        value = read(write(value), PAYLOAD_DEPTH)[0]
        if not places(value):
            break
    return write(value)


class Heads(Reader):
    """Remembers where heads are: what is stretched is one of them."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data, PAYLOAD_DEPTH)
        self.found: list[tuple[int, int]] = []

    def head(self) -> tuple[int, int, int]:
        begin = self.at
        head = super().head()
        self.found.append((begin, self.at))
        return head


def stretched(data: bytes, rng: random.Random) -> bytes:
    """The same, with one length, integer or float in eight bytes that needs fewer."""
    heads = Heads(data)
    heads.item()
    floats = [each for each in heads.found if data[each[0]] in (0xF9, 0xFA)]
    begin, end = rng.choice(floats or [each for each in heads.found if data[each[0]] < 0xC0])
    first, argument = data[begin], data[begin + 1 : end]
    if floats:
        (number,) = struct.unpack(">e" if first == 0xF9 else ">f", argument)
        wide = b"\xfb" + struct.pack(">d", number)
    else:
        count = int.from_bytes(argument, "big") if argument else first & 31
        wide = bytes([first & 0xE0 | 27]) + count.to_bytes(8, "big")
    return data[:begin] + wide + data[end:]


# -- properties ------------------------------------------------------------------------------------

PAYLOADS: Final = [(raw, VECTORS["accepted"][at]["author"]) for at, raw in enumerate(EVENTS)]
CHOICES: Final = st.tuples(st.sampled_from(PAYLOADS), st.randoms(use_true_random=False))
Choice = tuple[tuple[bytes, str], random.Random]


@settings(max_examples=5 * settings().max_examples)
@given(CHOICES)
def test_i_04_distorted_events_are_judged_alike(choice: Choice) -> None:
    (raw, author), rng = choice
    check_judged_alike(signed(distorted(payload_of(raw), rng), bytes.fromhex(author), rng))


@settings(max_examples=4 * settings().max_examples)
@given(CHOICES)
def test_i_04_spoilt_payloads_are_judged_alike(choice: Choice) -> None:
    (raw, author), rng = choice
    check_judged_alike(signed(spoilt(payload_of(raw), rng), bytes.fromhex(author), rng))


@settings(max_examples=2 * settings().max_examples)
@given(CHOICES)
def test_ev_8_a_second_spelling_is_refused(choice: Choice) -> None:
    (raw, author), rng = choice
    parts = parts_of(payload_of(raw))
    if rng.randrange(2):
        parts[5] = [[2, "a", rng.choice((1.0, 1.5, 1e10, -1.0, float("inf")))]]
    second = stretched(write(parts), rng)
    assert read(second, PAYLOAD_DEPTH)[0] == parts
    event = signed(second, bytes.fromhex(author), rng)
    check_judged_alike(event)
    assert second == write(parts) or open_event(event) == frozenset(["EV-8/canonical"])


@settings(max_examples=3 * settings().max_examples)
@given(st.sampled_from(EVENTS + IN_ANOTHER_ENVELOPE), st.randoms(use_true_random=False))
def test_i_04_spoilt_envelopes_are_judged_alike(raw: bytes, rng: random.Random) -> None:
    check_judged_alike(spoilt(raw, rng))


@given(
    CHOICES,
    st.integers(0, 9).flatmap(lambda levels: st.sampled_from([32 * levels - 1, 32 * levels])),
    st.integers(0, 255),
)
def test_ev_10_paths_are_judged_alike_and_are_right_or_refused(
    choice: Choice, size: int, position: int
) -> None:
    """Of any size and position, and signed as if they were right."""
    (raw, author), rng = choice
    payload, siblings = payload_of(raw), rng.randbytes(max(size, 0))
    node = sha(sig_structure(payload))
    for height, at in enumerate(range(0, len(siblings), 32)):
        pair = [node, siblings[at : at + 32]]
        node = sha(b"\1", *(pair[::-1] if position >> height & 1 else pair))
    signature = signature_of(bytes.fromhex(author), sig_structure(node, b"dinemic/batch/1"))
    event = envelope(payload, signature, bytes((position,)) + siblings)
    check_judged_alike(event)
    levels, odd = divmod(size, 32)
    is_path = odd == 0 and 1 <= levels <= 7 and position < 1 << levels
    assert isinstance(open_event(event), Event) is is_path


NUMBERS: Final = st.sampled_from(
    [0, 1, 2, 9, keys.P - 1, keys.P, keys.P + 1, 2**255 - 1, *keys.SMALL_ORDER, *keys.LOW_ORDER]
)
KEYS: Final = st.binary(min_size=31, max_size=33) | st.builds(
    lambda number, top: (number % 2**255 | top << 255).to_bytes(32, "little"),
    NUMBERS,
    st.integers(0, 1),
)


@given(KEYS)
def test_ev_9_keys_are_judged_alike(key: bytes) -> None:
    def accepts(check: Callable[[bytes], None]) -> bool:
        try:
            check(key)
        except BadSignature as error:
            return error.reason is not Reason.SMALL_ORDER_KEY
        return True

    assert accepts(check_signing_public_untrusted) == keys.is_signing_key(key)
    assert accepts(check_sealing_public_untrusted) == keys.is_sealing_key(1, key)


def test_what_is_distorted_breaks_many_rules(rng: random.Random) -> None:
    """The ways to spoil are worth their names only if they get behind the first rule."""
    reached: Counter[str] = Counter()
    for _ in range(1500):
        raw, author = rng.choice(PAYLOADS)
        found = open_event(signed(distorted(payload_of(raw), rng), bytes.fromhex(author), rng))
        reached.update(found if isinstance(found, frozenset) else ["an event"])
    assert {
        "an event", "EV-3/shape", "EV-3/time", "EV-3/parents", "EV-3/version", "EV-5/genesis",
        "EV-6/value", "EV-7/name",
    } <= reached.keys(), reached  # fmt: skip
