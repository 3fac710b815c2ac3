"""A peer with a valid certificate and well-formed frames that lies, against a real process.

Every row of the first table breaks a rule that ends the session. The others keep the words of the
protocol and not its sense: what they claim is not there. The limits on time are shortened there
(`Host.hurry`).
"""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import cbor2
import pytest

from dinemic_engine.limits import RANGES_PER_MESSAGE_MAX, WANT_IDS_MAX
from dinemic_engine.ranges import FINGERPRINT_BYTES, HIGHEST
from dinemic_engine.reconcile import Segment
from dinemic_transport.messages import (
    Answer,
    Ask,
    Bye,
    Events,
    Have,
    Message,
    Summary,
    Want,
)
from support.graphs import STRANGER, genesis
from support.honest_pair import HonestPair
from support.hostile_peer import HostilePeer, Identity, false_row

SILENT: Final = "the peer fell silent"
FP: Final = b"f" * FINGERPRINT_BYTES
ID: Final = b"i" * 32
END: Final = [None, b"", FP]

BREACHES: Final[Mapping[str, Any]] = {
    "no message": 7,
    "an empty array": [],
    "an unknown kind": [99],
    "a kind of 2^63": [1 << 63],
    "True for a kind": [True],
    "too few fields": [1],
    "a second hello": [0, 1, b"c" * 16, ["*"], [], False],
    "a count of 2^63": [1, [["Person", 1 << 63, FP, FP]], False],
    "a count below 0": [1, [["Person", -1, FP, FP]], False],
    "a fingerprint too short": [1, [["Person", 1, FP[1:], FP]], False],
    "a model that is no name": [1, [["../Person", 1, FP, FP]], False],
    "ranges that go back": [2, "Person", [[9, b"", FP], [-3, b"", FP]], False],
    "ranges that overlap": [2, "Person", [[9, b"", FP], [0, b"", FP]], False],
    "a range at t = 2^63": [2, "Person", [[(1 << 63) - 1, b"", FP], [1, b"", FP]], False],
    "a range beyond the end": [2, "Person", [END, END], False],
    "a bound of 33 bytes": [2, "Person", [[9, b"i" * 33, FP]], False],
    "more ranges than allowed": [
        *(2, "Person", [[1, b"", None]] * (RANGES_PER_MESSAGE_MAX + 1), False),
    ],
    "keys that go back": [2, "Person", [[None, b"", [9, ID, 0, b"h" * 32]]], False],
    "a key twice": [2, "Person", [[None, b"", [9, ID, 0, ID]]], False],
    "a key outside its range": [2, "Person", [[9, b"", [99, ID]]], False],
    "a key without an id": [2, "Person", [[None, b"", [9]]], False],
    "a key at t = 2^63": [2, "Person", [[None, b"", [1 << 63, ID]]], False],
    "an answer to nothing": [3, "Person", [END], False],
    "more wanted than allowed": [4, 1, "Person", [ID] * (WANT_IDS_MAX + 1)],
    "wanted under ticket 0": [4, 0, "Person", [ID]],
    "an id of 31 bytes": [4, 1, "Person", [ID[1:]]],
    "events under no ticket": [5, 1, "Person", [genesis().raw], True],
    "a ticket of 2^63": [5, 1 << 63, "Person", [], True],
    "an empty event": [5, 0, "Person", [b""], True],
    "more events than allowed": [5, 0, "Person", [b"e"] * 257, True],
    "a part out of its place": [6, 0, "Person", 1, 3, b"part"],
    "a part beyond the last": [6, 0, "Person", 3, 3, b"part"],
    "2^63 parts": [6, 0, "Person", 0, 1 << 63, b"part"],
    "judged what was not offered": [7, 1, 1 << 62, 0],
    "a port of 2^63": [11, 1 << 63, []],
    "an address that is a name": [11, 1, [[ID, "example.org:1"]]],
    "a confirmation of nothing": [13, "Person", True],
}

GARBAGE: Final[Mapping[str, bytes]] = {
    "64 KiB of empty arrays": b"\x80" * 60_000,
    "arrays in arrays": b"\x81" * 60_000,
    "arrays without end": b"\x9f" * 60_000,
    "maps without end": b"\xbf" * 60_000,
    "2^63 elements": b"\x9b\x7f" + b"\xff" * 7,
    "2^63 bytes": b"\x5b\x7f" + b"\xff" * 7,
    "a bignum": b"\xc2\x58\xff" + bytes(255),
    "a number in its long form": b"\x81\x18\x08",
    "a shared reference": b"\xd8\x1c\x81\x08",
    "NaN": b"\x81\xf9\x7e\x00",
    "text that is no UTF-8": b"\x81\x61\xff",
    "more after the end": b"\x81\x08\x00",
}


@pytest.mark.parametrize("breach", BREACHES.values(), ids=BREACHES.keys())
def test_a_message_against_the_rules_ends_the_session(pair: HonestPair, breach: Any) -> None:
    before = pair.count("events")
    with HostilePeer(pair.address) as peer:
        peer.greet().send_frame(cbor2.dumps(breach, canonical=True))

        assert peer.last_word() not in ("", SILENT)
        assert pair.count("events") == before


@pytest.mark.parametrize("frame", GARBAGE.values(), ids=GARBAGE.keys())
def test_bytes_that_are_not_canonical_end_the_session_at_once(
    pair: HonestPair, frame: bytes
) -> None:
    with HostilePeer(pair.address) as peer:
        peer.greet().send_frame(frame)

        assert peer.last_word().startswith("not a message")


def test_who_broke_a_rule_is_not_let_in_again_under_that_key(pair: HonestPair) -> None:
    identity = Identity()
    with HostilePeer(pair.address, identity) as peer:
        peer.greet().send_frame(b"\x07")
        peer.last_word()
    with HostilePeer(pair.address, identity) as peer:
        assert peer.hear() is None


# -- liars -----------------------------------------------------------------------------------------

WHOLE: Final = (Segment(HIGHEST, FP),)
FIRST: Final = 1_700_000_000_000_000
NOWHERE: Final = "Nowhere"
"""A model of which no honest node has an event: it asks what there is, with nothing to compare."""


def lacking(count: int) -> tuple[tuple[int, bytes], ...]:
    """Keys of events there are not."""
    return tuple((FIRST + number, secrets.token_bytes(32)) for number in range(count))


def names_much(peer: HostilePeer, said: Message) -> None:
    """Whatever is asked, a thousand events are there that nobody has; what they are it keeps."""
    match said:
        case Ask(model, segments):
            keys = [key for key in lacking(1000) if key < segments[-1].upper]
            peer.send(Answer(model, (Segment(segments[-1].upper, tuple(keys)),)))


def answers_nothing(peer: HostilePeer, said: Message) -> None:
    """It claims events and does not say which."""


def delivers_nothing(peer: HostilePeer, said: Message) -> None:
    """It names events, and says that it has sent them all."""
    names_much(peer, said)
    match said:
        case Want(ticket, model):
            peer.send(Events(ticket, model, ()))


def delivers_others(peer: HostilePeer, said: Message) -> None:
    """It names events, and sends well signed ones that nobody asked for."""
    names_much(peer, said)
    match said:
        case Want(ticket, model):
            peer.send_events(model, [genesis(by=STRANGER).raw], ticket)


def names_without_end(peer: HostilePeer, said: Message) -> None:
    """Always more keys than it may name at once, so that there is always more to ask."""
    match said:
        case Ask(model, _):
            keys = lacking(33)
            peer.send(Answer(model, (Segment((keys[-1][0], b"\xff"), keys),)))


Lie: TypeAlias = Callable[[HostilePeer, Message], None]

LIARS: Final[Mapping[str, tuple[Lie, str]]] = {
    "claims and says no more": (answers_nothing, "not answered in time"),
    "names and never serves": (names_much, "not answered in time"),
    "names and serves nothing": (delivers_nothing, "named and not delivered"),
    "names and serves others": (delivers_others, "an event other than those asked for"),
    "names without end": (names_without_end, "not answered in time"),
}


@pytest.mark.parametrize(("lie", "why"), LIARS.values(), ids=LIARS.keys())
def test_a_liar_about_its_events_is_found_out(pair: HonestPair, lie: Lie, why: str) -> None:
    before = pair.count("events")
    with HostilePeer(pair.address, Identity(above=pair.node_id)) as peer:
        peer.greet([false_row(NOWHERE)])
        reason = ""
        for said in peer.conversation():
            if isinstance(said, Ask) and said.model != NOWHERE:  # the same here, it says
                peer.send(Answer(said.model, (Segment(said.segments[-1].upper, None),)))
            else:
                lie(peer, said)
            if isinstance(said, Bye):
                reason = said.reason

        assert why in reason
        assert pair.count("events") == before


def test_who_names_news_and_never_serves_it_is_found_out(pair: HonestPair) -> None:
    with HostilePeer(pair.address) as peer:
        peer.greet()
        for _ in range(40):
            peer.send(Have("Person", tuple(secrets.token_bytes(32) for _ in range(100))))

        goodbye = next(said for said in peer.conversation() if isinstance(said, Bye))
        assert "named and not delivered" in goodbye.reason


def test_a_flood_of_one_request_ends_the_session(pair: HonestPair) -> None:
    with HostilePeer(pair.address) as peer:
        peer.greet()
        for _ in range(1000):
            peer.send(Ask("Person", WHOLE))

        assert "requests at once" in peer.last_word()


@pytest.mark.parametrize(
    "count", [300, pytest.param(10_000, marks=pytest.mark.long)], ids=["300", "10^4"]
)
def test_one_request_again_and_again_delays_nobody_else(pair: HonestPair, count: int) -> None:
    with HostilePeer(pair.address) as peer:
        peer.greet()
        for number in range(count):
            peer.send(Ask("Person", WHOLE))
            peer.expect(Answer)
            if number % (count // 4) == 0:
                pair.check()


def test_who_does_not_read_is_given_up_and_delays_nobody(pair: HonestPair) -> None:
    with HostilePeer(pair.address) as peer:
        peer.greet().stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        pair.target.run("for n in range(200): mine.name.set(str(n) + 100_000 * 'x')")
        pair.check()
        assert pair.count("network.counters.dropped") > 0, "there was no room for more"
        pair.wait_alone()


def test_a_row_that_never_stands_still_costs_a_catch_up_now_and_then(pair: HonestPair) -> None:
    with HostilePeer(pair.address, Identity(above=pair.node_id)) as peer:
        peer.greet([false_row()])
        for _ in range(200):
            peer.send(Summary((false_row(),)))
        asked = 0
        end = time.monotonic() + 3
        while time.monotonic() < end:
            said = peer.hear()
            match said:
                case None:
                    break
                case Ask(model, segments):
                    asked += 1
                    peer.send(Answer(model, (Segment(segments[-1].upper, ()),)))
                    peer.send(Summary((false_row(),)))
        pair.check()
        assert asked < 20
