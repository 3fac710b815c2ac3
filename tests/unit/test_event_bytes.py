"""Events as bytes: what other libraries make of them, and what a changed byte does (EV-1..9)."""

from __future__ import annotations

import random

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycose.headers import Algorithm
from pycose.keys.okp import OKPKey
from pycose.messages.sign1message import Sign1Message

from dinemic_engine import limits
from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.edits import Delete, Set
from dinemic_engine.errors import InvalidEvent, LimitExceeded, Malformed, Reason
from dinemic_engine.event import (
    open_envelope_untrusted,
    open_event_untrusted,
    read_event_untrusted,
    sign_event,
)
from dinemic_engine.ids import AuthorId, EventId
from dinemic_engine.ops import Epoch, Grant, Op, Policy, Remove
from support.graphs import ACTORS, OWNER, READER, SEEDS, T, child, genesis, history, team


def cose(raw: bytes) -> Sign1Message:
    """An event as another COSE library reads it; ours has no tag, so the array is handed over."""
    return Sign1Message.from_cose_obj(cbor2.loads(raw), allow_unknown_attributes=False)


def test_pycose_verifies_our_events() -> None:
    for event in history(seed=1, count=20):
        message = cose(event.raw)
        message.external_aad = b"dinemic/event/1"  # type: ignore[misc]
        message.key = OKPKey(crv="ED25519", x=event.author)
        assert message.phdr[Algorithm].identifier == -8
        assert not message.uhdr
        assert message.verify_signature()
        message.external_aad = b"dinemic/event/2"  # type: ignore[misc]
        assert not message.verify_signature()


def test_we_verify_events_signed_by_pycose() -> None:
    event = child(genesis(), OWNER, Set("a", 1))
    message = Sign1Message(phdr={Algorithm: "EDDSA"}, payload=cose(event.raw).payload)
    message.external_aad = b"dinemic/event/1"  # type: ignore[misc]
    message.key = OKPKey(crv="ED25519", x=OWNER.key.public, d=OWNER.key.seed)
    assert open_event_untrusted(message.encode(tag=False)) == event


@given(SEEDS)
def test_i_04_one_changed_byte_is_refused_or_makes_another_event(seed: int) -> None:
    rng = random.Random(seed)
    event = rng.choice(history(seed, 3))
    for _ in range(20):
        changed = bytearray(event.raw)
        changed[rng.randrange(len(changed))] ^= rng.randrange(1, 256)
        try:
            other = open_event_untrusted(bytes(changed))
        except InvalidEvent:
            continue
        raise AssertionError(f"accepted with id {other.id.hex()}")


def test_i_04_every_bit_of_an_event_counts() -> None:
    event = team()
    for position in range(len(event.raw)):
        for bit in range(8):
            changed = bytearray(event.raw)
            changed[position] ^= 1 << bit
            try:
                envelope = open_envelope_untrusted(bytes(changed))
            except InvalidEvent:
                continue
            in_signature = position >= len(event.raw) - 64
            assert (envelope.id == event.id) is in_signature
            if in_signature or position % 16 == 0:  # the signature check is the slow part
                with pytest.raises(InvalidEvent):
                    read_event_untrusted(envelope)


def test_i_04_a_signed_event_reads_back_as_it_was_meant() -> None:
    for event in history(seed=7, count=60):
        assert open_event_untrusted(event.raw) == event
        by = next(actor for actor in ACTORS if actor.id == event.author)
        object_id = None if event.is_genesis else event.object
        again = sign_event(by.key, object_id, event.t, event.parents, event.ops)
        assert again.raw == event.raw


def test_the_order_in_which_parents_are_given_does_not_matter() -> None:
    first = genesis()
    heads = [child(first, OWNER, Set("a", number)) for number in range(3)]
    merge = child(heads, OWNER, Set("a", 9))
    ids = [head.id for head in heads]
    assert sign_event(OWNER.key, first.object, merge.t, ids[::-1], merge.ops).raw == merge.raw


def test_the_object_id_is_the_id_of_the_genesis() -> None:
    first = genesis()
    assert first.is_genesis
    assert bytes(first.object) == bytes(first.id)
    assert not child(first, OWNER, Remove()).is_genesis


@pytest.mark.parametrize("cut", [0, 1, 6, 7, 8, 40, 72, 73])
def test_any_prefix_and_any_short_garbage_is_refused_with_a_reason(cut: int) -> None:
    raw = genesis().raw
    for data in (raw[:cut], raw[-cut:], raw[:6] + raw[6 : 6 + cut] + b"\x58\x40" + bytes(64)):
        if data != raw:
            with pytest.raises(InvalidEvent):
                open_event_untrusted(data)


@given(st.binary(max_size=80), st.booleans())
def test_garbage_is_refused_with_a_reason_and_nothing_else(data: bytes, in_envelope: bool) -> None:
    if in_envelope:
        data = bytes.fromhex("8443a10127a0") + data + b"\x58\x40" + bytes(64)
    with pytest.raises(InvalidEvent):
        open_event_untrusted(data)


@pytest.mark.parametrize(
    ("object_id", "t", "ops", "reason"),
    [
        (None, T, [], Reason.SHAPE),
        (None, T, [Set("a", 1)], Reason.GENESIS),
        (None, -1, [OWNER.create()], Reason.TIME_RANGE),
        (None, 1 << 63, [OWNER.create()], Reason.VALUE),
        (None, T, [OWNER.create("no identifier")], Reason.NAME),
        (None, T, [OWNER.create(), Set("", 1)], Reason.NAME),
        (None, T, [OWNER.create(), OWNER.grant(4)], Reason.SHAPE),
        (None, T, [OWNER.create(), Set("a", float("nan"))], Reason.VALUE),
        (None, T, [OWNER.create(), Set("a", bytes(1 << 20))], Reason.TOO_LARGE),
        (bytes(32), T, [Set("a", 1)], Reason.PARENT_LIST),
    ],
)
def test_a_mistake_surfaces_where_it_is_signed(
    object_id: bytes | None, t: int, ops: list[Op], reason: Reason
) -> None:
    with pytest.raises(InvalidEvent) as caught:
        sign_event(OWNER.key, object_id, t, (), ops)  # type: ignore[arg-type]
    assert caught.value.reason is reason


def test_limits_are_reached_and_not_passed() -> None:
    first = genesis()
    deep: Value = []
    for _ in range(limits.DEPTH_MAX - 1):
        deep = [deep]
    parents = [EventId(bytes((number,)) * 32) for number in range(limits.PARENTS_MAX)]
    many = [Delete("x" * limits.NAME_BYTES_MAX)] * (limits.OPS_MAX - 1)
    ops: list[Op] = [*many, Set("a", deep)]
    event = sign_event(OWNER.key, first.object, limits.T_US_MAX, parents, ops)
    assert open_event_untrusted(event.raw) == event
    for too_many, more in (([*parents, first.id], ops), (parents, [*ops, Remove()])):
        with pytest.raises(LimitExceeded):
            sign_event(OWNER.key, first.object, T, too_many, more)
    with pytest.raises(LimitExceeded):
        sign_event(OWNER.key, first.object, T, parents, [Set("a", [deep])])
    rules = tuple((f"f{number:03}", True) for number in range(limits.POLICY_FIELDS_MAX))
    assert genesis(policy=Policy(False, rules)).ops[0].fields()[3] == [False, dict(rules)]


def test_an_event_of_exactly_the_greatest_size_is_accepted() -> None:
    first = genesis()
    empty = child(first, OWNER, Set("a", b""))
    room = limits.EVENT_BYTES_MAX - len(empty.raw)
    size = room - 2 * (5 - 1) + 3  # two length heads grow from 1 or 2 bytes to 5
    event = child(first, OWNER, Set("a", bytes(size - 2)))
    while len(event.raw) < limits.EVENT_BYTES_MAX:
        size += 1
        event = child(first, OWNER, Set("a", bytes(size - 2)))
    assert len(event.raw) == limits.EVENT_BYTES_MAX
    assert open_event_untrusted(event.raw) == event
    with pytest.raises(LimitExceeded):
        child(first, OWNER, Set("a", bytes(size - 1)))


def test_keys_that_nobody_could_use_are_refused_in_grants() -> None:
    low_order_signing, low_order_sealing = bytes(32), bytes(32)
    good = READER.grant(1)
    for bad in (
        Grant(good.role, good.subject, type(good.signing)(low_order_signing), 1, good.sealing),
        Grant(good.role, good.subject, good.signing, 1, low_order_sealing),
    ):
        with pytest.raises(InvalidEvent) as caught:
            child(genesis(), OWNER, bad)
        assert caught.value.reason is Reason.SMALL_ORDER_KEY


def test_an_epoch_for_as_many_readers_as_an_event_holds_fits() -> None:
    recipients = tuple(
        (AuthorId(number.to_bytes(32, "big")), bytes(80))
        for number in range(1, limits.RECIPIENTS_MAX + 1)
    )
    event = child(genesis(), OWNER, Epoch(1, bytes(32), recipients))
    assert len(event.raw) < limits.EVENT_BYTES_MAX


def test_a_sealed_value_inside_another_value_is_refused_at_any_depth() -> None:
    sealed = Sealed(bytes(32), bytes(16), b"")
    values: list[Value] = [[sealed], {"a": sealed}, [1, {"a": [sealed]}]]
    for value in values:
        with pytest.raises(Malformed) as caught:
            child(genesis(), OWNER, Set("a", value))
        assert caught.value.reason is Reason.VALUE
