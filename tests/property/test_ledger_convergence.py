"""Any order of delivery, any batching, any repetition: the same log, verdicts, rows and digests.

Judged by `graphs.Judged`, which walks parents and shares no code with what it judges.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dinemic_engine import log, why
from dinemic_engine.errors import Reason
from dinemic_engine.event import Event
from dinemic_engine.ids import EventId
from dinemic_engine.ledger import Ledger
from dinemic_engine.ops import Policy
from dinemic_engine.outcomes import Admitted, Duplicate, Orphan, Refused
from dinemic_engine.ranges import Fingerprint
from dinemic_engine.store import keyspace, layout
from dinemic_engine.store.memory import MemoryStore
from reference import lists
from support.graphs import FIELDS, NOW, SEEDS, Site, delivery, histories, portable
from support.judged import Judged
from support.list_rows import seen_by

EVERYTHING = (0, b""), (1 << 63, b""), 1 << 30
pytestmark = pytest.mark.usefixtures("small_blocks")
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


def delivered(batches: list[list[Event]]) -> Site:
    site = Site()
    for batch in batches:
        site.ingest(batch)
    return site


def in_order(events: list[Event]) -> Site:
    return delivered([[event] for event in sorted(events, key=lambda event: (event.t, event.id))])


@given(histories(), SEEDS)
def test_i_01_any_delivery_ends_equal(events: list[Event], seed: int) -> None:
    one = in_order(events)
    other = delivered(delivery(events, seed))
    assert other.portable() == one.portable()
    assert other.refused == one.refused
    assert other.view.digest_all() == one.view.digest_all()
    assert other.waiting.counts() == one.waiting.counts()
    for model in ("M0", "M1"):
        assert other.view.fingerprint(model) == one.view.fingerprint(model)


@given(histories(), SEEDS)
def test_i_05_the_ledger_agrees_with_the_slow_judge_after_every_batch(
    events: list[Event], seed: int
) -> None:
    site = Site()
    given_so_far: list[Event] = []
    for batch in delivery(events, seed):
        given_so_far += batch
        site.ingest(batch)
        judged = Judged.of(given_so_far)
        assert {event.id for event in site.events()} == set(judged.admitted)
        for object_id in {event.object for event in judged.admitted.values()}:
            agrees(site, judged, object_id)
        counted = {at for m in ("M0", "M1") for _, at in site.view.range_keys(m, *EVERYTHING)}
        assert counted == judged.counted()


def agrees(site: Site, judged: Judged, object_id: bytes) -> None:
    for logged in site.view.history(object_id):
        assert logged.verdict == judged.verdict(logged.event.id)
    assert site.view.heads(object_id) == judged.heads(object_id)
    found = site.view.find(object_id)
    assert found is not None
    assert bool(found[1].removed_by) is judged.removed(object_id)
    own = [event for event in judged.admitted.values() if event.object == object_id]
    standing = [event for event in own if judged.verdict(event.id) != "void"]
    visible = []
    for name in FIELDS:
        seen = seen_by(site.store, found[0], f"list_{name}".encode())
        assert seen == lists.values(own, standing, name)
        stored = f"value_{name}"
        reading = site.view.read(object_id, stored)
        winner = judged.winner(object_id, name)
        assert (reading and (reading.event, reading.value)) == winner
        if winner is not None:
            visible.append(stored)
        if not judged.removed(object_id):
            conflicts = site.view.conflicts(object_id, stored)
            assert [(r.t, r.event, r.op) for r in conflicts] == judged.conflicts(object_id, name)
            told = why.of_register(site.view, object_id, stored)
            outcomes = [because.outcome for because in told]
            effective = len(judged.writes(object_id, name))
            assert outcomes.count("superseded") == effective - len(conflicts)
            assert len(outcomes) - outcomes.count("void") == effective
    assert site.view.keys(object_id) == visible


@given(histories())
def test_i_05_state_is_the_fold_of_the_log_in_key_order(events: list[Event]) -> None:
    site = delivered([events[::-1]])
    fold = Ledger(store := MemoryStore())
    for event in sorted(site.events(), key=lambda event: (event.t, event.id)):
        proposal = fold.prepare([event], NOW)
        fold.accept(proposal)
        assert isinstance(proposal.outcomes[0], Admitted)
    assert portable(store) == site.portable()


@given(histories(), SEEDS)
def test_i_02_the_log_is_closed_under_parents_and_time_grows(
    events: list[Event], seed: int
) -> None:
    site = Site()
    for batch in delivery(events, seed):
        site.ingest(batch)
        admitted = {event.id: event for event in site.events()}
        for event in admitted.values():
            assert all(admitted[parent].t < event.t for parent in event.parents)
            assert all(admitted[parent].object == event.object for parent in event.parents)


@given(histories(12), SEEDS)
def test_i_03_a_verdict_needs_the_past_of_an_event_and_nothing_else(
    events: list[Event], seed: int
) -> None:
    everywhere = in_order(events)
    for batch in delivery(events, seed):  # a restart between batches changes nothing
        everywhere.ingest(batch)
        everywhere.reopen()
    by_id = {event.id: event for event in events}
    for event in events:
        past = set(event.parents)
        while True:
            more = {p for at in past for p in by_id[at].parents} - past
            if not more:
                break
            past |= more
        alone = in_order([by_id[at] for at in past])
        (outcome,) = alone.ledger.prepare([event], NOW).outcomes
        match outcome:
            case Admitted(authorized=authorized, void=void):
                (again,) = everywhere.ledger.prepare([event], NOW).outcomes
                assert isinstance(again, Duplicate)
                # Whether it has effect is another question (T2); with its past alone it is this.
                assert not void
                judged = Judged.of([*(by_id[at] for at in past), event])
                expected = "authorized" if authorized else "unauthorized"
                assert judged.verdict(event.id) == expected
            case Refused(error=error):
                assert everywhere.refused[event.id] == error.reason.value
            case Orphan():
                assert event.id not in everywhere.refused
                assert not everywhere.ledger.knows(event.id)


@given(histories(40, objects=1, policies=[Policy(True)]), SEEDS)
def test_past_queries_by_vector_equal_a_walk_of_the_graph(events: list[Event], seed: int) -> None:
    site = delivered(delivery(events, seed))
    judged = Judged.of(events)
    places = {}
    for event_id in judged.admitted:
        value = site.store.get(keyspace.place_key(event_id))
        assert value is not None
        places[event_id] = layout.unpack_place(value)
    assert len({(place.chain, place.seq) for place in places.values()}) == len(places)
    for event_id, place in places.items():
        past = judged.past(judged.admitted[event_id]) | {event_id}
        covered = {
            other for other, at in places.items() if log.covers(site.store, place, at.chain, at.seq)
        }
        assert covered == past


@given(histories(), st.data())
def test_range_fingerprints_count_what_the_range_holds(
    events: list[Event], data: st.DataObject
) -> None:
    site = delivered([events])
    judged = Judged.of(events)
    counted = [judged.admitted[at] for at in judged.counted()]
    keys = sorted((e.t, bytes(e.id)) for e in counted if site.view.raw(e.id)[0] == "M0")  # type: ignore[index]
    low, high = sorted(
        data.draw(st.tuples(*[st.sampled_from([*keys, (0, b""), (1 << 63, b"")])] * 2))
    )
    inside = [key for key in keys if low <= key < high]
    assert site.view.fingerprint("M0", low, high) == Fingerprint.of(at for _, at in inside)
    assert site.view.range_keys("M0", low, high, 5) == inside[:5]
    standing = [key for key in inside if judged.verdict(EventId(key[1])) != "void"]
    found = site.view.fingerprint("M0", low, high, effective=True)
    assert found == Fingerprint.of(at for _, at in standing)
    assert site.view.range_keys("M0", low, high, 5, effective=True) == standing[:5]
    whole = Fingerprint.of(at for _, at in keys if judged.verdict(EventId(at)) != "void")
    assert site.view.fingerprint("M0", effective=True) == whole


@given(histories(), SEEDS)
def test_a_crash_between_batches_loses_and_changes_nothing(events: list[Event], seed: int) -> None:
    batches = delivery(events, seed)
    steady, restarted = Site(), Site()
    for batch in batches:
        steady.ingest(batch)
        restarted.ingest(batch)
        restarted.reopen()
    assert dict(steady.store.scan(b"", b"\xff")) == dict(restarted.store.scan(b"", b"\xff"))
    assert steady.ledger.tip == restarted.ledger.tip


def test_histories_reach_the_reasons_they_are_meant_to_reach() -> None:
    """The strategy is worth its name only if it makes what can be refused, held up and merged."""
    reached: dict[str, int] = {}

    @settings(max_examples=500, database=None, derandomize=True, suppress_health_check=SLOW)
    @given(histories())
    def collect(events: list[Event]) -> None:
        site = in_order(events)
        for reason in site.refused.values():
            reached[reason] = reached.get(reason, 0) + 1
        reached["orphan"] = reached.get("orphan", 0) + site.waiting.counts()[0]
        for event in site.events():
            reached["merge"] = reached.get("merge", 0) + (len(event.parents) > 1)
        judged = Judged.of(events)
        for at in judged.admitted:
            reached[judged.verdict(at)] = reached.get(judged.verdict(at), 0) + 1
        reached["inert"] = reached.get("inert", 0) + len(judged.admitted.keys() - judged.counted())

    collect()
    wanted = {r.value for r in Reason if r.rule.startswith(("ORD-", "AUTH-", "SEAL-", "TYPE-"))}
    wanted |= {"orphan", "merge", "authorized", "unauthorized", "void", "inert"}
    assert wanted <= {name for name, count in reached.items() if count}
