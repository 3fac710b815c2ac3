"""What guards refuse changes nothing that nodes share, and equal guards show equal states.

The guards here answer by a hash of what they are asked: as deterministic as VETO-2 asks for, and as
arbitrary as can be, so an old value that came from arrival order would show at once.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import pytest

from dinemic_engine.event import Event
from dinemic_engine.guards import Asked
from dinemic_engine.ids import ObjectId
from dinemic_engine.ledger import Ledger
from dinemic_engine.outcomes import Ahead, Answered, Orphan
from dinemic_engine.store.memory import MemoryStore
from dinemic_engine.vetoes import Veto
from dinemic_engine.view import View
from support.graphs import NOW, Site, delivery, history, portable

SHARED = frozenset(b"ELITFMBOHCVJUGKkYPQA")
"""Letters of the rows that guards have no say in."""
LOCAL = frozenset(b"vw")
"""Letters of their answers."""


def chosen(*parts: object, of: int) -> int:
    """A number below `of` that depends on `parts` and nothing else."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:4], "big") % of


@dataclass
class GuardedSite(Site):
    """A site whose guards want to see most events, and refuse a third of what they see."""

    salt: int = 0
    answers: dict[bytes, Asked] = field(default_factory=dict)
    vetoes: set[bytes] = field(default_factory=set)

    def ingest(self, events: list[Event], now: int = NOW) -> list[object]:  # type: ignore[override]
        while events:
            proposal = self.ledger.prepare(events, now, withhold=self.wants)
            self.ledger.accept(proposal)
            for outcome in proposal.outcomes:
                if isinstance(outcome, Orphan):
                    assert self.waiting.add_orphan(b"site", outcome.event, outcome.missing)
                assert not isinstance(outcome, Ahead)
            admitted = [outcome.event.id for outcome in proposal.admitted]
            events = [event for _, event in self.waiting.arrived(admitted)]
        return []

    def wants(self, model: str, event: Event, authorized: bool = True) -> bool:
        return chosen(self.salt, event.id, of=5) > 0

    def judge(self, object_id: ObjectId, most: int = 1 << 30) -> None:
        """Answer up to `most` of the events of an object that wait."""
        for _ in range(most):
            event = self.ledger.waiting(object_id)
            if event is None:
                return
            asked = self.ledger.asked(event)
            refused = False
            if self.wants(asked.model, event):  # else it waited for its genesis
                assert self.answers.setdefault(event.id, asked) == asked
                refused = chosen(self.salt, asked.questions, asked.authorized, of=3) == 0
            proposal = self.ledger.answer(event, Veto("hash", "by lot") if refused else None)
            assert isinstance(proposal.outcomes[0], Answered)
            self.ledger.accept(proposal)
            if refused:
                self.vetoes.add(event.id)

    def judge_all(self) -> None:
        for object_id in list(self.ledger.objects_waiting()):
            self.judge(object_id)


def fed(batches: list[list[Event]], salt: int, judge: Callable[[GuardedSite], None]) -> GuardedSite:
    site = GuardedSite(salt=salt)
    for batch in batches:
        site.ingest(batch)
        judge(site)
    site.judge_all()
    return site


WORLDS = 120
"""Histories of 40 events each test goes through; the long run has twenty times as many."""


@pytest.fixture(params=[WORLDS, pytest.param(20 * WORLDS, marks=pytest.mark.long)])
def worlds(request: pytest.FixtureRequest, rng: random.Random) -> list[int]:
    return [rng.randrange(1 << 40) for _ in range(request.param)]


def answer(hides: bool, _model: str, _event: Event, _authorized: bool) -> bool:
    """A predicate that says the same of every event."""
    return hides


def only(rows: dict[tuple[object, ...], object], letters: frozenset[int]) -> dict[object, object]:
    return {key: value for key, value in rows.items() if ord(key[0]) in letters}  # type: ignore[arg-type]


def test_i_08_guards_change_nothing_that_nodes_share(worlds: list[int]) -> None:
    for seed in worlds:
        events = history(seed, 40)
        plain = Site()
        for batch in delivery(events, seed):
            plain.ingest(batch)
        guarded = fed(delivery(events, seed), seed, GuardedSite.judge_all)
        assert only(guarded.portable(), SHARED) == only(plain.portable(), SHARED)
        assert guarded.view.digest_all() == plain.view.digest_all()
        for model in ("M0", "M1"):
            assert guarded.view.fingerprint(model) == plain.view.fingerprint(model)
        if not guarded.vetoes:
            assert guarded.portable() == plain.portable()


def test_i_08_equal_guards_end_with_equal_views_whenever_they_are_asked(worlds: list[int]) -> None:
    for seed in worlds:
        events, other_seed = history(seed, 40), seed + 1
        at_once = fed(delivery(events, seed), seed, GuardedSite.judge_all)
        rng = random.Random(other_seed)

        def now_and_then(site: GuardedSite, rng: random.Random = rng) -> None:
            for object_id in list(site.ledger.objects_waiting()):
                site.judge(object_id, rng.randrange(3))

        late = fed(delivery(events, other_seed), seed, now_and_then)
        assert late.answers == at_once.answers, "VETO-2: the same questions in any order"
        assert late.vetoes == at_once.vetoes
        assert late.portable() == at_once.portable()
        for _, object_id in at_once.view.objects(removed=True):
            assert late.view.view_digest(object_id) == at_once.view.view_digest(object_id)


def test_i_05_the_view_is_the_fold_of_what_stands_and_is_not_withheld(worlds: list[int]) -> None:
    for seed in worlds:
        events = history(seed, 40)
        site = fed(delivery(events, seed), seed, GuardedSite.judge_all)
        withheld = {
            each.event
            for _, object_id in site.view.objects(removed=True)
            for each in site.view.withheld(object_id)
        }
        assert site.vetoes <= withheld
        fold = Ledger(store := MemoryStore())
        for event in sorted(site.events(), key=lambda event: (event.t, event.id)):
            hides = event.id in withheld
            proposal = fold.prepare([event], NOW, None, withhold=partial(answer, hides))
            fold.accept(proposal)
        folded, found = portable(store), site.portable()
        local = {key for key in folded | found if ord(key[0]) in LOCAL}  # type: ignore[arg-type]
        assert {key: folded[key] for key in folded.keys() - local} == {
            key: found[key] for key in found.keys() - local
        }
        assert View(store).digest_all() == site.view.digest_all()


def test_a_veto_that_is_lifted_and_passed_leaves_no_trace(worlds: list[int]) -> None:
    for seed in worlds:
        events = history(seed, 40)
        plain = Site()
        for batch in delivery(events, seed):
            plain.ingest(batch)
        site = fed(delivery(events, seed), seed, GuardedSite.judge_all)
        while site.vetoes:
            site.ledger.accept(site.ledger.lift(site.vetoes.pop()))
            for object_id in list(site.ledger.objects_waiting()):
                while (event := site.ledger.waiting(object_id)) is not None:
                    site.ledger.accept(site.ledger.answer(event, None))
        assert site.portable() == plain.portable()
