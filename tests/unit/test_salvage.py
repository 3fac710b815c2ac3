"""Events out of a store of which parts cannot be read, and a whole store made of them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping

import pytest

from dinemic_engine import canonical
from dinemic_engine.audit import audit
from dinemic_engine.edits import Set
from dinemic_engine.errors import StoreCorrupt
from dinemic_engine.event import Event
from dinemic_engine.ids import EventId
from dinemic_engine.salvage import Rebuild, Remains, readable
from dinemic_engine.store import keyspace
from dinemic_engine.store.conformance import HIGHEST
from dinemic_engine.store.memory import MemoryStore
from dinemic_engine.vetoes import Veto
from dinemic_engine.view import View
from support.graphs import OWNER, STRANGER, Site, child, genesis
from support.sample_store import Sample, fill

FIRST = b"\0"


class Holey(MemoryStore):
    """A memory store of which some rows cannot be read, as where a disk's block is damaged."""

    def __init__(self) -> None:
        super().__init__()
        self.holes: set[bytes] = set()

    def get(self, key: bytes) -> bytes | None:
        if key in self.holes:
            raise StoreCorrupt("a damaged block")
        return super().get(key)

    def scan(
        self, start: bytes, end: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        for key, value in super().scan(start, end, reverse=reverse):
            if key in self.holes:
                raise StoreCorrupt("a damaged block")
            yield key, value

    def rows(self) -> dict[bytes, bytes]:
        return dict(super().scan(FIRST, HIGHEST))


@pytest.fixture
def filled() -> tuple[Holey, Sample]:
    store = Holey()
    return store, fill(store)


def rebuilt(*sources: Holey) -> tuple[MemoryStore, Rebuild, Remains]:
    fresh, remains = MemoryStore(), Remains()
    made = Rebuild(fresh, remains)
    for source in sources:
        made.take(remains.read(source))
    made.finish()
    return fresh, made, remains


def test_every_readable_row_between_two_holes_is_found(rng: random.Random) -> None:
    for _ in range(20):
        store = Holey()
        rows = {rng.randbytes(rng.choice((8, 44))): b"v" for _ in range(200)}
        rows = {b"E" + key: value for key, value in rows.items()}
        store.write(rows)
        store.holes = set(rng.sample(sorted(rows), 6))
        unread: set[str] = set()
        found = list(readable(store, b"E", b"F", unread))
        assert len(found) == len(dict(found)), "none twice"
        assert dict(found).keys() == rows.keys() - store.holes
        assert unread == {"E"}


def test_what_is_all_unreadable_ends_and_is_told() -> None:
    store = Holey()
    store.write({b"E%05d" % number: b"" for number in range(5000)})
    store.holes = set(store.rows())
    unread: set[str] = set()
    assert list(readable(store, b"E", b"F", unread)) == []
    assert unread == {"E"}


def test_a_store_rebuilt_of_a_whole_one_is_the_same(filled: tuple[Holey, Sample]) -> None:
    store, sample = filled
    fresh, made, remains = rebuilt(store)
    assert audit(fresh).findings == ()
    assert audit(fresh).digest == audit(store).digest
    assert (made.events, made.orphans, remains.told) == (len(sample.events), 0, 19)
    assert remains.named.keys() == {event.id for event in sample.events}
    assert not remains.unread


def test_i_02_whatever_cannot_be_read_the_rest_is_closed_under_parents_and_named(
    filled: tuple[Holey, Sample], rng: random.Random
) -> None:
    store, sample = filled
    by_id: dict[bytes, Event] = {event.id: event for event in sample.events}
    rows = sorted(store.rows())
    for _ in range(60):
        store.holes = set(rng.sample(rows, rng.choice((1, 5, 40, 150))))
        fresh, made, remains = rebuilt(store)
        assert audit(fresh).findings == ()
        readable_ids = {key[13:] for key in rows if key[:1] == b"E" and key not in store.holes}
        here = {event_id for event_id in by_id if View(fresh).raw(EventId(event_id)) is not None}
        assert here == closed(readable_ids, by_id)
        assert made.orphans == len(readable_ids - here)
        told_of = {
            event_id
            for event_id in by_id
            if keyspace.place_key(event_id) not in store.holes or event_id in readable_ids
        }
        assert told_of <= remains.named.keys() <= by_id.keys()


def closed(ids: set[bytes], by_id: Mapping[bytes, Event]) -> set[bytes]:
    """Those of them whose ancestors are all among them."""
    found: set[bytes] = set()
    for event in sorted(by_id.values(), key=lambda event: (event.t, event.id)):
        if event.id in ids and all(parent in found for parent in event.parents):
            found.add(event.id)
    return found


def test_two_damaged_stores_make_a_whole_one(filled: tuple[Holey, Sample]) -> None:
    store, sample = filled
    other = Holey()
    other.write(dict(store.rows()))
    events = sorted(key for key in store.rows() if key[:1] == b"E")
    store.holes, other.holes = set(events[::2]), set(events[1::2])
    fresh, made, _ = rebuilt(store, other)
    assert made.events == len(sample.events)
    assert audit(fresh).findings == ()


def test_what_does_not_verify_is_not_taken(filled: tuple[Holey, Sample]) -> None:
    store, _ = filled
    key, raw = next((key, value) for key, value in store.rows().items() if key[:1] == b"E")
    store.write({key: raw[:-1] + bytes((raw[-1] ^ 1,))})
    _, made, remains = rebuilt(store)
    assert made.events < 19
    assert "EV-9" in remains.refused[key[13:]]


def guarded_store() -> tuple[Holey, list[bytes]]:
    """A store with a listener's row, one vetoed event, one that waits, and one that passed."""
    site = Site(store=Holey())
    assert isinstance(site.store, Holey)
    root = genesis()
    events = [root, *(child(root, OWNER, Set("name", n)) for n in range(3))]
    hidden = {events[1].id, events[2].id}
    proposal = site.ledger.prepare(
        events, events[-1].t, lifted=None, withhold=lambda _, event, __: event.id in hidden
    )
    site.ledger.accept(proposal)
    site.ledger.accept(site.ledger.answer(events[1], Veto("a guard", "a reason")))
    site.store.write({keyspace.listener_key(1): b"somebody"})
    return site.store, [event.id for event in events]


def withheld(store: MemoryStore) -> dict[bytes, str | None]:
    view = View(store)
    return {
        each.event: each.veto and each.veto.guard
        for _, found in view.objects()
        for each in view.withheld(found)
    }


def test_guards_answers_come_along() -> None:
    store, (_, vetoed, waiting, _) = guarded_store()
    fresh, _, _ = rebuilt(store)
    assert withheld(fresh) == {vetoed: "a guard", waiting: None}
    assert fresh.get(keyspace.listener_key(1)) == b"somebody"
    assert audit(fresh).findings == ()


@pytest.mark.parametrize("letter", [b"v", b"w"])
def test_where_an_answer_cannot_be_read_all_is_asked_again(letter: bytes) -> None:
    store, ids = guarded_store()
    store.holes = {key for key in store.rows() if key[:1] == letter}
    fresh, _, remains = rebuilt(store)
    assert remains.forgot_answers
    found = View(fresh)
    assert list(found.objects()) == [], "the genesis waits as well, and with it all"
    assert audit(fresh).findings == ()
    waiting = {key[-32:] for key, _ in fresh.scan(b"v", b"x")}
    assert waiting == set(ids)


def test_where_nobody_listens_nothing_waits_for_an_answer() -> None:
    store, _ = guarded_store()
    store.write({keyspace.listener_key(1): None})
    store.holes = {key for key in store.rows() if key[:1] == b"v"}
    fresh, _, remains = rebuilt(store)
    assert not remains.forgot_answers
    assert len(list(View(fresh).objects())) == 1


def test_changes_to_be_told_of_come_along_with_their_events_only() -> None:
    store, (_, _, _, shown) = guarded_store()
    kept, dropped = keyspace.delivery_key(1, 1), keyspace.delivery_key(1, 2)
    store.write(
        {
            kept: canonical.encode([shown, 1, "value_name", "", None, b"x"]),
            dropped: canonical.encode([STRANGER.subject, 1, "value_name", "", None, b"x"]),
        }
    )
    fresh, _, _ = rebuilt(store)
    assert fresh.get(kept) == store.get(kept)
    assert fresh.get(dropped) is None
