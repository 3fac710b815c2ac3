"""An index says what reading every object says, whatever became void, vetoed or shown."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from dinemic_engine import canonical, indexes
from dinemic_engine.audit import audit
from dinemic_engine.event import Event
from dinemic_engine.outcomes import Orphan
from dinemic_engine.vetoes import Veto
from support.graphs import FIELDS, NOW, Site, delivery, history

WORLDS = 60


@dataclass
class IndexedSite(Site):
    """A site with two indexes, one of them begun late, and guards that refuse by lot."""

    guarded: bool = False

    def feed(self, events: list[Event], rng: random.Random) -> None:
        while events:
            withhold = (lambda _, event, __: event.id[0] % 3 > 0) if self.guarded else None
            proposal = self.ledger.prepare(events, NOW, withhold=withhold)
            self.ledger.accept(proposal)
            for outcome in proposal.outcomes:
                if isinstance(outcome, Orphan):
                    assert self.waiting.add_orphan(b"site", outcome.event, outcome.missing)
            admitted = [each.event.id for each in proposal.admitted]
            events = [event for _, event in self.waiting.arrived(admitted)]
        for object_id in list(self.ledger.objects_waiting()):
            while rng.randrange(4) and (event := self.ledger.waiting(object_id)) is not None:
                veto = Veto("guard", "by lot") if rng.randrange(3) == 0 else None
                self.ledger.accept(self.ledger.answer(event, veto))

    def agrees(self, model: str, name: str) -> None:
        stored = f"value_{name}"
        shown: dict[bytes, set[bytes]] = {}
        for _, object_id in self.view.objects(model):
            reading = self.view.read(object_id, stored)
            if reading is not None:
                shown.setdefault(canonical.encode(reading.value), set()).add(object_id)
        for value in [*shown, canonical.encode("never written")]:
            found = list(indexes.find(self.store, model, stored, value))
            assert len(found) == len(set(found))
            assert set(found) == shown.get(value, set())


@pytest.mark.parametrize("guarded", [False, True])
@pytest.mark.parametrize(
    "count", [WORLDS, pytest.param(20 * WORLDS, marks=pytest.mark.long)], ids=["short", "long"]
)
def test_an_index_finds_what_objects_show(rng: random.Random, count: int, guarded: bool) -> None:
    for _ in range(count):
        seed = rng.randrange(1 << 40)
        site = IndexedSite(guarded=guarded)
        site.ledger.indexes.begin("M0", "value_a")
        batches = delivery(history(seed, 40), seed)
        late = rng.randrange(len(batches))
        for number, batch in enumerate(batches):
            if number == late:
                site.reopen()  # whoever opens the store next keeps its indexes
                for name in FIELDS:
                    site.ledger.indexes.begin("M1", f"value_{name}")
            site.feed(batch, random.Random(seed))
            site.agrees("M0", "a")
            if number >= late:
                for name in FIELDS:
                    site.agrees("M1", name)
        assert audit(site.store).ok
