"""EV-10: signed alone or with whatever others, an event is the same one, and nodes end equal."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from typing import Final

import cbor2
import pytest
from hypothesis import given
from pycose.headers import Algorithm
from pycose.keys.okp import OKPKey
from pycose.messages.sign1message import Sign1Message

from dinemic_engine.audit import audit
from dinemic_engine.edits import Set
from dinemic_engine.errors import BadSignature, InvalidEvent, LimitExceeded
from dinemic_engine.event import (
    Event,
    open_envelope_untrusted,
    open_event_untrusted,
    read_event_untrusted,
    sign_event,
    sign_together,
)
from dinemic_engine.limits import BATCH_LEVELS_MAX, EVENT_BYTES_MAX
from reference import events as reference
from reference.replica import judge
from support.event_bytes import sig_structure, tree
from support.graphs import (
    ACTORS,
    CHIEF,
    CLERK,
    NOW,
    OWNER,
    SEEDS,
    Site,
    T,
    child,
    delivery,
    genesis,
    histories,
    history,
    without_envelopes,
)
from support.reference_checks import check_view

KEYS: Final = {actor.id: actor.key for actor in ACTORS}
COUNTS: Final = [1 << levels for levels in range(1, 8)]


def signed_together(events: list[Event], rng: random.Random) -> list[Event]:
    """Some of the events, each author's together with others of the same, in any order."""
    found: list[Event] = []
    for author, key in KEYS.items():
        own = [event for event in events if event.author == author]
        counts = [count for count in COUNTS if count <= len(own)]
        if counts:
            chosen = rng.sample(own, rng.choice(counts))
            raws = sign_together(key, [event.raw for event in chosen])
            found += map(open_event_untrusted, raws)
    return found


def of_one_author(count: int) -> list[Event]:
    """A genesis, and what its owner writes on top of it."""
    first = genesis()
    return [first, *(child(first, OWNER, Set("a", number)) for number in range(count - 1))]


# -- one event -------------------------------------------------------------------------------------


@given(histories(), SEEDS)
def test_ev_10_events_signed_together_are_the_same_ones_each_by_itself(
    events: list[Event], seed: int
) -> None:
    known = {event.id: event for event in events}
    for event in signed_together(events, random.Random(seed)):
        alone = known[event.id]
        assert event.raw != alone.raw
        assert dataclasses.replace(event, raw=alone.raw) == alone
        judged = reference.open_event(event.raw)
        assert isinstance(judged, reference.Event)
        assert judged.id == event.id


@pytest.mark.parametrize("count", COUNTS)
def test_ev_10_every_position_of_a_batch_leads_to_its_root(count: int) -> None:
    events = of_one_author(count)
    root, paths = tree([event.id for event in events])
    raws = sign_together(OWNER.key, [event.raw for event in events])
    for event, raw, path in zip(events, raws, paths, strict=True):
        envelope = open_envelope_untrusted(raw)
        assert (envelope.id, envelope.path) == (event.id, path)
        assert OWNER.key.sign(sig_structure(root, b"dinemic/batch/1")) == envelope.signature
        assert read_event_untrusted(envelope).id == event.id


def test_ev_10_signing_again_what_was_signed_together_is_signing_what_was_signed_alone() -> None:
    alone = [event.raw for event in of_one_author(4)]
    together = sign_together(OWNER.key, alone)
    assert sign_together(OWNER.key, together[:2] + alone[2:]) == together


def test_ev_10_pycose_verifies_the_root() -> None:
    events = of_one_author(8)
    root, _ = tree([event.id for event in events])
    _, unprotected, payload, signature = cbor2.loads(
        sign_together(OWNER.key, [event.raw for event in events])[5]
    )
    assert list(unprotected) == [-65537]
    assert payload == cbor2.loads(events[5].raw)[2]
    message = Sign1Message(phdr={Algorithm: "EDDSA"}, payload=root)
    message.external_aad = b"dinemic/batch/1"  # type: ignore[misc]
    message.key = OKPKey(crv="ED25519", x=OWNER.id)
    message.signature = signature
    assert message.verify_signature()
    message.external_aad = b"dinemic/event/1"  # type: ignore[misc]
    assert not message.verify_signature()


def test_i_04_every_bit_of_an_event_signed_together_counts() -> None:
    raws = sign_together(OWNER.key, [event.raw for event in of_one_author(4)])
    raw = raws[2]
    open_event_untrusted(raw)  # its root is known to be good from here on
    for position in range(len(raw)):
        for bit in range(8):
            changed = bytearray(raw)
            changed[position] ^= 1 << bit
            with pytest.raises(InvalidEvent):
                open_event_untrusted(bytes(changed))


def test_ev_10_a_root_that_was_good_makes_nothing_else_good() -> None:
    first = genesis()
    mine, other = child(first, OWNER, Set("a", 1)), child(first, OWNER, Set("a", 2))
    foreign = child(first, CLERK, Set("a", 1))
    good = open_envelope_untrusted(sign_together(OWNER.key, [mine.raw, other.raw])[0])
    read_event_untrusted(good)
    stranger, left_out = (open_envelope_untrusted(each.raw) for each in (foreign, first))
    for envelope in (stranger, left_out):
        claimed = envelope._replace(path=good.path, signature=good.signature)
        with pytest.raises(BadSignature):
            read_event_untrusted(claimed)
    # A root by the same hashes is another author's only with that author's signature.
    forged = sign_together(CLERK.key, [mine.raw, other.raw])
    for raw in forged:
        for _ in range(2):  # what was refused is refused again
            with pytest.raises(BadSignature):
                open_event_untrusted(raw)
    assert open_event_untrusted(good.raw).id == mine.id


def test_ev_10_one_root_is_good_for_each_author_who_signed_it() -> None:
    """Two may sign the same hashes: an event under it is its own author's, by whichever path."""
    mine, theirs = genesis(by=OWNER), genesis(by=CHIEF)
    both = [mine.raw, theirs.raw]
    by_owner, by_chief = sign_together(OWNER.key, both), sign_together(CHIEF.key, both)
    assert open_event_untrusted(by_owner[0]).id == mine.id
    assert open_event_untrusted(by_chief[1]).id == theirs.id
    for raw in (by_owner[1], by_chief[0]):
        with pytest.raises(BadSignature):
            open_event_untrusted(raw)


@pytest.mark.parametrize("count", [0, 1, 3, 6, 127, 129, 256])
def test_ev_10_no_other_number_of_events_is_signed_together(count: int) -> None:
    event = genesis()
    with pytest.raises(ValueError, match=f"{count} events"):
        sign_together(OWNER.key, [event.raw] * count)


def test_ev_7_an_event_that_has_no_room_for_a_path_stays_alone() -> None:
    first = genesis()

    def write(count: int) -> Event:
        ops = [Set("a", bytes(count))]
        return sign_event(OWNER.key, first.object, T + 1, [first.id], ops)

    def of_size(size: int) -> Event:
        """An event of so many bytes: from 65,536 on no length takes more to say."""
        return write((1 << 16) + size - len(write(1 << 16).raw))

    largest = of_size(EVENT_BYTES_MAX)
    assert len(largest.raw) == EVENT_BYTES_MAX
    with pytest.raises(LimitExceeded):
        sign_together(OWNER.key, [first.raw, largest.raw])
    room = 7 + 33
    fits = of_size(EVENT_BYTES_MAX - room)
    _, raw = sign_together(OWNER.key, [first.raw, fits.raw])
    assert len(raw) == EVENT_BYTES_MAX
    assert open_event_untrusted(raw).id == fits.id
    assert isinstance(reference.open_event(raw), reference.Event)


# -- nodes -----------------------------------------------------------------------------------------


def mixed(events: list[Event], rng: random.Random) -> list[Event]:
    """Of every event one or two of its envelopes."""
    found = signed_together(events, rng)
    found += signed_together(events, rng)
    ids = {event.id for event in found if rng.randrange(4)}
    return [*found, *(event for event in events if event.id not in ids)]


@given(histories(), SEEDS)
def test_i_01_nodes_end_equal_whichever_envelopes_they_got(events: list[Event], seed: int) -> None:
    rng = random.Random(seed)
    one, other = Site(), Site()
    for batch in delivery(events, seed):
        one.ingest(batch)
    others = mixed(events, rng)
    for batch in delivery(others, rng.getrandbits(64)):
        other.ingest(batch)
    assert without_envelopes(other.portable()) == without_envelopes(one.portable())
    assert other.refused == one.refused
    assert other.view.digest_all() == one.view.digest_all()
    assert other.waiting.counts() == one.waiting.counts()
    for model in ("M0", "M1"):
        assert other.view.totals(model) == one.view.totals(model)
    judged = judge([event.raw for event in others], NOW)
    assert not judged.malformed
    check_view(other.view, judged)


@given(histories(), SEEDS)
def test_ev_2_a_node_keeps_the_envelope_it_admitted(events: list[Event], seed: int) -> None:
    rng = random.Random(seed)
    site = Site()
    seen: set[bytes] = set()
    kept: dict[bytes, bytes] = {}
    for batch in delivery(mixed(events, rng), rng.getrandbits(64)):
        seen |= {event.raw for event in batch}
        site.ingest(batch)
        admitted = {bytes(event.id): event.raw for event in site.events()}
        assert seen.issuperset(admitted.values())
        assert kept.items() <= admitted.items()
        kept = admitted


@given(histories(), SEEDS)
def test_ev_10_signing_again_together_changes_envelopes_and_nothing_else(
    events: list[Event], seed: int
) -> None:
    rng, site = random.Random(seed), Site()
    site.ingest(events)
    before, digest = dict(site.store.scan(b"", b"\xff")), site.view.digest_all()
    own = [event.id for event in site.events() if event.author == OWNER.id]
    if len(own) > 1:
        levels = rng.randint(1, min(BATCH_LEVELS_MAX, len(own).bit_length() - 1))
        site.ledger.sign_together(OWNER.key, rng.sample(own, 1 << levels))
    site.reopen()
    after = dict(site.store.scan(b"", b"\xff"))
    assert after.keys() == before.keys()
    for key, value in after.items():
        if value != before[key]:
            assert key.startswith(b"E")
            one, other = open_envelope_untrusted(value), open_envelope_untrusted(before[key])
            assert one.signed == other.signed
    assert site.view.digest_all() == digest
    report = audit(site.store)
    assert report.ok, report.findings


def test_what_is_mixed_has_every_kind_of_envelope() -> None:
    """The mixtures are worth their name only if there are many kinds in them."""
    kinds: Counter[int] = Counter()
    again = 0
    for seed in range(10):
        events = history(seed, 40)
        found = mixed(events, random.Random(seed))
        assert {each.id for each in found} == {event.id for event in events}
        kinds.update(len(open_envelope_untrusted(event.raw).path) for event in found)
        again += len(found) - len(events)
    assert {0, 33, 65, 97} <= kinds.keys(), kinds
    assert again > 50
