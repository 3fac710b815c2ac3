"""The ledger and its store: one batch per proposal, restarts, and holes that are noticed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from dinemic_engine.arrivals import check_tip
from dinemic_engine.edits import Set
from dinemic_engine.errors import Reason, StoreCorrupt, StoreError, StoreFull
from dinemic_engine.event import Event, open_envelope_untrusted, open_event_untrusted, sign_event
from dinemic_engine.ids import ObjectId
from dinemic_engine.ledger import Ledger
from dinemic_engine.limits import HOLD_US, PARENTS_MAX
from dinemic_engine.ops import UPDATE
from dinemic_engine.outcomes import Admitted, Ahead, Duplicate, Orphan, Refused
from dinemic_engine.ranges import Fingerprint
from dinemic_engine.store import Rows, keyspace, layout
from dinemic_engine.store.memory import MemoryStore
from support import edwards
from support.graphs import CHIEF, CLERK, NOW, OWNER, Site, T, child, genesis, history, team


def rows(store: MemoryStore) -> dict[bytes, bytes]:
    return dict(store.scan(b"", b"\xff"))


def line(length: int, first: Event) -> list[Event]:
    """`length` events, each on top of the one before, the first included."""
    found = [first]
    while len(found) < length:
        found.append(child(found[-1], OWNER, Set("n", len(found))))
    return found


# -- draft ---------------------------------------------------------------------------------------


def test_a_draft_is_later_than_the_heads_and_than_now() -> None:
    site = Site()
    site.admit(first := genesis())
    for now in (T - 5, T, T + 5, NOW):
        event = site.ledger.draft(first.object, [Set("a", 1)], OWNER.key, now)
        assert event.t == max(now, T + 1)
        assert event.parents == (first.id,)
        assert not site.ledger.knows(event.id), "a draft is in memory only"


def test_a_draft_names_every_head_up_to_sixteen_and_the_next_names_the_rest() -> None:
    site = Site()
    site.admit(first := genesis())
    heads = [child(first, OWNER, Set("a", n), t=T + 1 + n) for n in range(PARENTS_MAX + 5)]
    site.admit(*heads)
    event = site.ledger.draft(first.object, [Set("a", 99)], OWNER.key, T)
    assert set(event.parents) == {head.id for head in heads[-PARENTS_MAX:]}
    assert event.t == heads[-1].t + 1
    site.admit(event)
    event = site.ledger.draft(first.object, [Set("a", 100)], OWNER.key, T)
    assert len(event.parents) == 6
    site.admit(event)
    assert site.view.heads(first.id) == [event.id]


def test_a_draft_that_was_admitted_is_a_duplicate() -> None:
    site = Site()
    site.admit(first := genesis())
    draft = site.ledger.draft(first.object, [Set("a", 1)], OWNER.key, NOW)
    for expected in (Admitted, Duplicate):
        proposal = site.ledger.prepare([draft], NOW)
        assert isinstance(proposal.outcomes[0], expected)
        site.ledger.accept(proposal)


def test_a_draft_on_an_unknown_object_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        Site().ledger.draft(ObjectId(bytes(32)), [Set("a", 1)], OWNER.key, NOW)


def test_a_draft_on_heads_from_the_future_of_a_clock_set_back_must_wait() -> None:
    site = Site()
    site.admit(first := genesis(), now=NOW)
    early = T - HOLD_US - 2
    event = site.ledger.draft(first.object, [Set("a", 1)], OWNER.key, early)
    assert isinstance(site.ledger.prepare([event], early).outcomes[0], Ahead)


# -- prepare and accept --------------------------------------------------------------------------


def test_preparing_writes_nothing_and_a_dropped_proposal_changes_nothing() -> None:
    site = Site()
    before = rows(site.store)  # type: ignore[arg-type]
    proposal = site.ledger.prepare(history(3, 10), NOW)
    assert proposal.admitted
    assert rows(site.store) == before  # type: ignore[arg-type]
    again = site.ledger.prepare(history(3, 10), NOW)
    assert again.rows.rows == proposal.rows.rows


def test_outcomes_come_in_the_order_given() -> None:
    site = Site()
    first = team()
    second = child(first, OWNER, Set("a", 1))
    refused = child(first, CLERK, CLERK.grant(UPDATE))
    ahead = child(first, OWNER, Set("a", 1), t=NOW + 2 * HOLD_US)
    orphan = child(child(first, OWNER, Set("b", 1)), OWNER, Set("b", 2))
    batch = [orphan, second, ahead, first, refused, second]
    kinds = [type(outcome) for outcome in site.ledger.prepare(batch, NOW).outcomes]
    assert kinds == [Orphan, Admitted, Ahead, Admitted, Refused, Duplicate]


def test_the_first_signature_seen_is_the_one_kept() -> None:
    """One content is one event, however often it is signed (EV-2)."""
    site = Site()
    first = genesis()
    again = open_event_untrusted(signed_anew(first, OWNER.key.seed, nonce=12345))
    assert again.id == first.id
    assert again.raw != first.raw
    site.admit(again)
    assert isinstance(site.ingest([first])[0], Duplicate)
    assert site.view.raw(first.id) == ("Person", again.raw)


def signed_anew(event: Event, seed: bytes, nonce: int) -> bytes:
    """The event with another valid signature, which only its signer can make (RFC 8032, 5.1.6)."""
    envelope = open_envelope_untrusted(event.raw)
    digest = bytearray(hashlib.sha512(seed).digest()[:32])
    digest[0] &= 248
    digest[31] = digest[31] & 127 | 64
    secret = int.from_bytes(digest, "little")
    point = edwards.encode(edwards.multiply(nonce, edwards.BASE))
    challenge = hashlib.sha512(point + event.author + envelope.signed).digest()
    s = (nonce + int.from_bytes(challenge, "little") * secret) % edwards.L
    return event.raw[:-64] + point + s.to_bytes(32, "little")


class FullStore(MemoryStore):
    """Refuses writes when told to."""

    full = False

    def write(self, rows: Rows) -> None:
        if self.full:
            raise StoreFull("no room")
        super().write(rows)


def test_a_failed_write_leaves_the_ledger_as_it_was() -> None:
    store = FullStore()
    site = Site(store)
    first, second, third = line(3, genesis())
    site.admit(first)
    before, tip = rows(store), site.ledger.tip
    store.full = True
    with pytest.raises(StoreFull):
        site.ledger.accept(site.ledger.prepare([second, genesis(model="Other")], NOW))
    assert rows(store) == before
    assert site.ledger.tip == tip
    store.full = False
    site.admit(second, third)
    clean = Site()
    clean.admit(first)
    clean.admit(second, third)
    assert rows(store) == rows(clean.store)  # type: ignore[arg-type]


class WatchedStore(MemoryStore):
    """Keeps every batch written."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[Rows] = []

    def write(self, rows: Rows) -> None:
        self.batches.append(dict(rows))
        super().write(rows)


def test_one_accept_is_one_write() -> None:
    store = WatchedStore()
    site = Site(store)
    store.batches.clear()
    site.ledger.accept(site.ledger.prepare(line(40, genesis()), NOW))
    assert len(store.batches) == 1
    site.ledger.accept(site.ledger.prepare(line(40, genesis()), NOW))
    assert len(store.batches) == 1, "nothing new, nothing written"


def test_an_update_costs_the_same_rows_whatever_the_length_of_the_log() -> None:
    store = WatchedStore()
    site = Site(store)
    site.admit(first := team())
    last = first
    sizes = []
    for number in range(300):
        last = child(last, (OWNER, CLERK)[number % 2], Set("a", 1))
        site.admit(last)
        sizes.append(sum(len(key) + len(value or b"") for key, value in store.batches[-1].items()))
    # Nearly every event writes the same rows; one in 64 closes a block.
    assert max(sizes[10:150]) == max(sizes[150:])
    assert sorted(sizes)[150] == sorted(sizes[10:150])[70]


# -- restarts ------------------------------------------------------------------------------------


def test_a_ledger_reopened_after_every_event_ends_the_same() -> None:
    steady, restarted = Site(), Site()
    for event in history(seed=11, count=60):
        steady.ingest([event])
        restarted.ingest([event])
        restarted.reopen()
    assert rows(steady.store) == rows(restarted.store)  # type: ignore[arg-type]
    assert steady.ledger.tip == restarted.ledger.tip
    assert steady.refused == restarted.refused


@pytest.mark.parametrize("model", ["A", "B"])
def test_model_fingerprints_go_on_where_they_were(model: str) -> None:
    site = Site()
    site.admit(first := genesis(model="A"), second := genesis(model="B"))
    events: dict[str, list[Event]] = {"A": line(9, first), "B": line(5, second)}
    site.ingest(events["A"][:4] + events["B"][:2])
    site.reopen()
    site.ingest(events["A"] + events["B"])
    expected = Fingerprint.of(event.id for event in events[model])
    assert site.view.fingerprint(model) == expected
    assert site.view.fingerprint(model, (0, b""), (1 << 62, b"")) == expected


# -- what a power cut may have left ---------------------------------------------------------------


def filled(flush_at: int | None = None, length: int = 8) -> tuple[MemoryStore, list[Event]]:
    store = MemoryStore()
    ledger = Ledger(store)
    events = line(length, genesis())
    for number, event in enumerate(events):
        ledger.accept(ledger.prepare([event], NOW))
        if number == flush_at:
            ledger.flush()
    return store, events


def test_a_whole_store_opens() -> None:
    for flush_at in (None, 0, 3, 7):
        store, events = filled(flush_at)
        assert check_tip(store).seq == len(events)
    assert check_tip(MemoryStore()) == layout.NOTHING


@pytest.mark.parametrize("seq", range(1, 9))
def test_an_arrival_that_is_missing_or_changed_is_noticed(seq: int) -> None:
    for change in ("missing", "changed", "short", "swapped"):
        store, _ = filled()
        key = keyspace.arrival_key(seq)
        value = store.get(key)
        assert value is not None
        other = keyspace.arrival_key(seq % 8 + 1)
        damage: dict[str, Rows] = {
            "missing": {key: None},
            "changed": {key: value[:-1] + bytes((value[-1] ^ 1,))},
            "short": {key: value[:-1]},
            "swapped": {key: store.get(other), other: value},
        }
        store.write(damage[change])
        with pytest.raises(StoreCorrupt):
            Ledger(store)


@pytest.mark.parametrize("number", range(8))
def test_an_event_that_is_missing_or_changed_is_noticed(number: int) -> None:
    store, events = filled()
    key = keyspace.event_key(0, events[number].t, events[number].id)
    for damage in (None, b"", events[number].raw[:-1], events[number - 1].raw):
        store.write({key: damage})
        with pytest.raises(StoreCorrupt, match=f"number {number + 1} "):
            Ledger(store)
    store.write({key: events[number].raw})
    Ledger(store)


def test_a_hole_before_the_last_flush_is_left_to_the_audit_and_one_after_it_is_noticed() -> None:
    store, events = filled(flush_at=3)
    tip = layout.unpack_tip(store.get(keyspace.TIP_KEY) or b"")
    assert (tip.flushed_seq, tip.seq) == (4, 8)
    store.write({keyspace.arrival_key(2): None})
    Ledger(store)
    store.write({keyspace.event_key(0, events[5].t, events[5].id): None})
    with pytest.raises(StoreCorrupt, match="number 6 "):
        Ledger(store)


def test_a_reopened_ledger_does_not_call_flushed_what_no_flush_confirmed() -> None:
    store, events = filled()
    ledger = Ledger(store)
    ledger.accept(ledger.prepare([child(events[-1], OWNER, Set("n", 99))], NOW))
    assert ledger.tip.flushed_seq == 0
    ledger.flush()
    ledger.accept(ledger.prepare(line(9, genesis())[-1:], NOW))
    assert ledger.tip.flushed_seq == 9


def test_a_missing_short_or_older_tip_is_noticed() -> None:
    store, _ = filled(length=4)
    old = store.get(keyspace.TIP_KEY)
    assert old is not None
    store, _ = filled(length=8)
    for tip in (None, b"", old[:-1], old):
        store.write({keyspace.TIP_KEY: tip})
        with pytest.raises(StoreCorrupt):
            Ledger(store)


def test_rows_without_a_layout_or_of_another_layout_are_not_touched() -> None:
    store, _ = filled(length=2)
    before = rows(store)
    for marker in (None, b"1", b"3"):
        store.write({keyspace.FORMAT_KEY: marker})
        with pytest.raises(StoreCorrupt, match="layout"):
            Ledger(store)
    store.write({keyspace.FORMAT_KEY: keyspace.LAYOUT})
    assert rows(store) == before


def test_a_closed_store_is_the_stores_error() -> None:
    site = Site()
    site.admit(first := genesis())
    site.store.close()
    with pytest.raises(StoreError):
        site.ledger.prepare([child(first, OWNER, Set("a", 1))], NOW)
    with pytest.raises(StoreError):
        site.view.read(first.id, "value_a")


# -- objects of one author, and many of them ----------------------------------------------------


def test_two_geneses_of_equal_content_are_one_object_and_others_are_not() -> None:
    site = Site()
    first = sign_event(OWNER.key, None, T, (), [OWNER.create()])
    site.ingest([first, sign_event(OWNER.key, None, T, (), [OWNER.create()])])
    site.ingest([sign_event(OWNER.key, None, T + 1, (), [OWNER.create()])])
    site.ingest([sign_event(CHIEF.key, None, T, (), [OWNER.create()])])
    assert len(list(site.view.objects("Person"))) == 3
    assert site.ledger.tip.objects == 3
    assert site.ledger.tip.models == 1


def test_objects_are_listed_by_model_and_id() -> None:
    site = Site()
    for number in range(20):
        site.admit(genesis(Set("n", number), model=f"M{number % 3}"))
    listed = list(site.view.objects())
    assert listed == sorted(listed)
    assert len(listed) == 20
    assert list(site.view.objects("M1")) == [at for at in listed if at[0] == "M1"]
    assert list(site.view.objects("M")) == []


class NoScanStore(MemoryStore):
    """Fails on any scan once told so."""

    closed = False

    def scan(
        self, start: bytes, end: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        assert not self.closed, "a scan on the hot path"
        return super().scan(start, end, reverse=reverse)


def test_an_owners_write_needs_no_scan() -> None:
    store = NoScanStore()
    site = Site(store)
    site.admit(first := genesis())
    store.closed = True
    for _ in range(5):
        event = site.ledger.draft(first.object, [Set("a", 1)], OWNER.key, NOW)
        assert site.ingest([event])[0] == Admitted(event, "Person", True)


def test_a_refusal_names_its_rule_and_ids_in_short_form() -> None:
    site = Site()
    site.admit(first := genesis())
    (outcome,) = site.ingest([child(first, CLERK, Set("secret-field", "secret value"))])
    assert isinstance(outcome, Refused)
    assert outcome.error.reason is Reason.UNAUTHORIZED
    assert "secret" not in str(outcome.error)
    assert len(outcome.error.detail) < 80
