"""What the library seals the replica opens, and what is spoilt opens for neither."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from dinemic_engine import canonical, sealing
from dinemic_engine.canonical import Sealed
from dinemic_engine.edits import DictSet, Set
from dinemic_engine.errors import Unreadable
from dinemic_engine.event import sign_event
from dinemic_engine.keys import SealingKey
from dinemic_engine.ops import SUITE_HYBRID, SUITE_X25519, Create, Epoch, Policy
from reference.opening import Closed, Reader
from reference.replica import judge
from reference.spelling import Value, write
from support.graphs import NOW, OWNER, T, child

PRIVATE = {SUITE_X25519: SealingKey(b"s" * 32), SUITE_HYBRID: SealingKey(b"h" * 96)}

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False).filter(lambda number: str(number) != "-0.0")
    | st.text(max_size=9)
    | st.binary(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(values)
def test_i_04_every_value_has_the_spelling_the_replica_gives_it(value: Value) -> None:
    assert canonical.encode(value) == write(value)  # type: ignore[arg-type]  # none is sealed


@given(values, st.sampled_from(sorted(PRIVATE)), st.randoms(use_true_random=False))
def test_what_is_sealed_opens_in_its_place_and_nowhere_else(
    value: Value, suite: int, rng: random.Random
) -> None:
    private, key = PRIVATE[suite], rng.randbytes(32)
    genesis = sign_event(
        OWNER.key, None, T, (), [Create("Person", suite, private.public, Policy())]
    )
    epoch = sealing.make_epoch(genesis.object, key, {OWNER.id: private.public}, suite)
    if rng.randrange(8) == 0:  # a key under a commitment that is not its own
        commit = rng.randbytes(32)
        info = b"dinemic/epoch/1" + genesis.object + commit
        part = sealing.encrypt_to(suite, private.public, key, info)
        epoch = replace(epoch, commit=commit, recipients=((OWNER.id, part),))
    commit, path = epoch.commit, b"dict_notes/tea"
    sealed = sealing.seal(genesis.object, path, commit, key, rng.randbytes(16), value)  # type: ignore[arg-type]  # none is sealed
    if rng.randrange(2):
        epoch, sealed = spoilt(epoch, sealed, rng)
    event = child(genesis, OWNER, epoch, DictSet("notes", "tea", sealed), Set("moved", sealed))
    judged = judge([genesis.raw, event.raw], NOW)
    obj = judged.objects[genesis.id]
    reader = Reader(obj, OWNER.id, private.private)
    try:
        epoch_key = sealing.open_epoch(genesis.object, epoch, OWNER.id, private)
        expected = canonical.encode(sealing.unseal(genesis.object, path, epoch_key, sealed))
    except Unreadable:
        expected = None
    assert opened(reader, "dict_notes/tea", obj.dicts["dict_notes"]["tea"].value) == expected
    assert opened(reader, "value_moved", obj.registers["value_moved"].value) is None


def spoilt(epoch: Epoch, sealed: Sealed, rng: random.Random) -> tuple[Epoch, Sealed]:
    """Both, one of them with a bit changed."""

    def flipped(data: bytes) -> bytes:
        at = rng.randrange(len(data))
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]

    if rng.randrange(2):
        ((reader, part),) = epoch.recipients
        return replace(epoch, recipients=((reader, flipped(part)),)), sealed
    if rng.randrange(2):
        return epoch, replace(sealed, salt=flipped(sealed.salt))
    return epoch, replace(sealed, ciphertext=flipped(sealed.ciphertext))


def opened(reader: Reader, path: str, value: Value) -> bytes | None:
    """The encoded value, or None if it does not open."""
    try:
        return write(reader.open(path, value))
    except Closed:
        return None
