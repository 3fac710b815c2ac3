"""What is told of as changed, applied one after another, is what a reader sees (I-09, VETO-3).

Each must find what the one before it left: told twice, out of order or not at all would show.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from dinemic_engine.event import Event
from dinemic_engine.ops import ROLES
from dinemic_engine.outcomes import Answered, Orphan
from dinemic_engine.state import ROLE_LISTS
from dinemic_engine.store import keyspace, layout
from dinemic_engine.store.memory import MemoryStore
from dinemic_engine.types import counter, mapping, members
from dinemic_engine.types.change import Change
from dinemic_engine.vetoes import Veto
from dinemic_engine.view import View
from support.graphs import FIELDS, NOW, Site, delivery, history

WORLDS = 120
NOT_COUNTED = {kind + name for kind in (counter.PREFIX, "list_") for name in FIELDS}
"""Fields with another count than one for each value."""


@dataclass
class WatchedSite(Site):
    """A site that is told of every change, and keeps what it was told."""

    told: dict[tuple[bytes, str, str], bytes] = field(default_factory=dict)
    there: set[bytes] = field(default_factory=set)
    guarded: bool = False

    def feed(self, events: list[Event], rng: random.Random) -> None:
        while events:
            proposal = self.ledger.prepare(
                events, NOW, withhold=self.wants if self.guarded else None, watched=True
            )
            self.ledger.accept(proposal)
            for outcome in proposal.outcomes:
                if isinstance(outcome, Orphan):
                    assert self.waiting.add_orphan(b"site", outcome.event, outcome.missing)
            for outcome in proposal.admitted:
                self.tell(outcome.event.object, outcome.changes)
            admitted = [each.event.id for each in proposal.admitted]
            events = [event for _, event in self.waiting.arrived(admitted)]
        for object_id in list(self.ledger.objects_waiting()):
            while rng.randrange(4) and (event := self.ledger.waiting(object_id)) is not None:
                veto = Veto("guard", "by lot") if rng.randrange(3) == 0 else None
                proposal = self.ledger.answer(event, veto)
                (answer,) = proposal.outcomes
                assert isinstance(answer, Answered)
                self.ledger.accept(proposal)
                self.tell(object_id, answer.changes)

    def wants(self, model: str, event: Event, authorized: bool = True) -> bool:
        return event.id[0] % 3 > 0

    def tell(self, object_id: bytes, changes: tuple[Change, ...]) -> None:
        for change in changes:
            if not change.stored:
                assert object_id not in self.there
                self.there.add(object_id)
                continue
            if change.stored.startswith(counter.PREFIX):
                continue  # sums of plain adds and sealed adds one by one, under one name
            name = object_id, change.stored, change.element
            assert self.told.get(name) == change.old, change.stored
            assert change.old is not None or change.new is not None
            if change.new is None:
                del self.told[name]
            else:
                self.told[name] = change.new


def seen(view: View, store: MemoryStore) -> dict[tuple[bytes, str], int]:
    """How many values a reader sees in each field of each object that ever was shown."""
    found: dict[tuple[bytes, str], int] = {}
    for _, object_id in view.objects(removed=True):
        no, row = view.need(object_id)
        if row.hidden:
            continue
        for letter, count in ((b"R", None), (b"t", None)):
            prefix = keyspace.of_object(letter, no)
            for key, value in store.scan(prefix, keyspace.after(prefix)):
                stored = key[5:].decode()
                if letter == b"R":
                    count = int(not layout.unpack_written(value).deleted)
                elif stored.startswith(mapping.PREFIX):
                    count = mapping.length(store, no, stored.encode())
                elif stored.startswith(members.PREFIX):
                    count = members.length(store, no, stored.encode())
                elif stored.startswith(counter.PREFIX):
                    continue
                if count:
                    found[object_id, stored] = count
        for role in ROLES:
            held = len(view.holders(object_id, role))
            if held:
                found[object_id, ROLE_LISTS[role]] = held
    return found


@pytest.mark.parametrize("guarded", [False, True])
@pytest.mark.parametrize(
    "count", [WORLDS, pytest.param(20 * WORLDS, marks=pytest.mark.long)], ids=["short", "long"]
)
def test_i_09_the_changes_told_add_up_to_what_is_shown(
    rng: random.Random, count: int, guarded: bool
) -> None:
    for _ in range(count):
        seed = rng.randrange(1 << 40)
        site = WatchedSite(guarded=guarded)
        assert isinstance(site.store, MemoryStore)
        for batch in delivery(history(seed, 40), seed):
            site.feed(batch, random.Random(seed))
            told: dict[tuple[bytes, str], int] = {}
            for object_id, stored, _ in site.told:
                if stored not in NOT_COUNTED:
                    name = object_id, stored
                    told[name] = told.get(name, 0) + 1
            assert told == seen(site.view, site.store), f"world {seed}"
