"""Every way to break in, over the wire, in a bundle and in the rows on disk.

The rows are `support.hostile_access` and `support.hostile_sealing`, and each test is an entrance.
test_hostile_handles is the one by the API.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import dinemic
from dinemic.node import Node
from dinemic_engine import bundle
from dinemic_engine.audit import audit
from dinemic_engine.errors import Reason
from dinemic_engine.event import Event
from dinemic_engine.ids import short
from dinemic_engine.limits import INERT_EVENTS_MAX, T_US_MAX
from dinemic_engine.store import keyspace, layout
from dinemic_transport.score import Score
from dinemic_transport.session import Session
from support.dict_replica import MODEL, DictReplica, parents_forced, read_forced
from support.graphs import Site
from support.hostile_access import ACCESS
from support.hostile_cases import CLOSED, FLOOD, FREE, HOMES, STANDS, VOID, WAITS, Attempt, Case
from support.hostile_checks import (
    ALL,
    CASES,
    Make,
    check,
    connect,
    maker,
    meets,
    raws,
    rows,
    said_of,
)
from support.hostile_sealing import SEALING
from support.nodes import Linked, acting, trace


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    with maker(tmp_path) as made:
        yield made


# -- over the wire ---------------------------------------------------------------------------------


def attack(node: Node, case: Case, way: str, events: Sequence[Event]) -> tuple[Linked, Session]:
    """A peer that has `events` gives the node the hostile ones; the session the node had with it.

    News come with every event the node has already, which is nobody's fault.
    """
    victim = Linked(node)
    peer = DictReplica(raws([*HOMES, *events]), read=read_forced, parents=parents_forced)
    drives = way != "offered"
    if way != "as news":
        for raw in case.judged:
            peer._keep(raw)
    pair = connect(victim, peer) if drives else connect(peer, victim)
    pair.run(0.4)  # later it would try again, for the sets stay different
    if way == "as news":
        assert pair.synced
        for raw in case.judged:
            peer._keep(raw)
        peer.announce(MODEL, [*raws(events), *case.judged])
        pair.run()
        assert pair.small.session.counters.duplicate == len(events)
    return victim, (pair.small if drives else pair.large).session


def score(case: Case, kept: int = INERT_EVENTS_MAX) -> float:
    """What the sender of the hostile events comes to (GOS-4): only what is refused is blamed."""
    said = list(case.hostile.values())
    admitted = sum(verdict in (STANDS, FREE, VOID, CLOSED) for verdict in said)
    points = min(Score.MAX, float(admitted + min(kept, said.count(FLOOD))))
    for reason in case.refused.values():
        if points >= Score.MIN:  # else it is cut off, and nothing more of it is heard
            points += Score.T0 if reason.value.startswith("EV-") else Score.T1
    return points


@pytest.mark.parametrize("way", ["as news", "asked for", "offered"])
@rows()
def test_over_the_wire_each_event_is_judged_by_the_rules_and_blamed_on_its_sender(
    make: Make, case: Case, way: str
) -> None:
    node = make(case.log)
    victim, session = attack(node, case, way, case.log)
    assert victim.refused == {each: reason.value for each, reason in case.refused.items()}
    check(node.view, case)
    assert session.score.at(1.0) == pytest.approx(score(case), rel=0.01, abs=0.01)
    assert session.fault == (score(case) < Score.MIN), session.reason
    meets(node, make(case.log))


@rows(lambda case: case.late)
def test_over_the_wire_what_comes_before_the_revocation_falls_with_it(
    make: Make, case: Case
) -> None:
    node = make(case.before)
    victim, session = attack(node, case, "as news", case.before)
    assert victim.refused == {}
    assert session.score.at(1.0) == pytest.approx(score(case, ALL), rel=0.01)
    assert {STANDS, FREE} >= set(said_of(node.view, case).values()), "nothing speaks against it yet"
    meets(node, make(case.log))
    check(node.view, case, ALL)


# -- in a bundle -----------------------------------------------------------------------------------


def bundled(path: Path, case: Case) -> int:
    """Write a bundle of the whole case, as it must be but for the hostile events; how many it has.

    Objects follow each other, each with its events in order.
    """
    events = [*raws([*HOMES, *case.log]), *case.judged]
    objects: dict[bytes, list[tuple[int, bytes, bytes]]] = {}
    of = {
        each.raw: each.object for each in (*HOMES, *case.log, *case.hostile) if type(each) is Event
    }
    for raw in events:
        event_id, t, _ = read_forced(raw)
        objects.setdefault(of.get(raw, case.object), []).append((t, event_id, raw))
    with path.open("wb") as out:
        bundle.write(out, [[raw for *_, raw in sorted(own)] for own in objects.values()])
    return len(events)


@rows(lambda case: case.refused)
def test_a_bundle_with_an_event_that_is_refused_says_which_and_imports_nothing(
    make: Make, tmp_path: Path, case: Case
) -> None:
    path = tmp_path / "bundle"
    bundled(path, case)
    for node in (make([]), make(case.log)):
        before = trace(node)
        with acting(node), pytest.raises(dinemic.BundleError) as caught:
            dinemic.import_bundle(path)
        assert trace(node) == before
        found = {each.event: each.detail for each in caught.value.findings if each.kind == "event"}
        for event_id, reason in case.refused.items():
            assert reason.value in found[event_id]
        assert any(short(event_id) in str(caught.value) for event_id in case.refused)


@rows(lambda case: not case.refused)
def test_a_bundle_of_what_is_admitted_gives_the_same_verdicts_here_and_where_it_goes_next(
    make: Make, tmp_path: Path, case: Case
) -> None:
    count = bundled(tmp_path / "bundle", case)
    node, next_one = make([]), make([])
    with acting(node):
        assert dinemic.import_bundle(tmp_path / "bundle").new == count - len(HOMES)
        check(node.view, case, ALL)
        dinemic.export_bundle(tmp_path / "again")
    with acting(next_one):
        dinemic.import_bundle(tmp_path / "again")
    check(next_one.view, case, ALL)
    meets(node, make(case.log))


# -- in the rows on disk ---------------------------------------------------------------------------


def plant(site: Site, case: Case, raw: bytes) -> None:
    """Put an event into a store as if it had been admitted, as somebody with the disk can."""
    event_id, t, _ = read_forced(raw)
    begins = {each.raw for each in case.hostile if isinstance(each, Event) and each.is_genesis}
    tip = site.view.tip()
    no = tip.objects if raw in begins else site.view.need(case.object)[0]
    arrival = layout.pack_arrival(no, t, event_id)
    digest = hashlib.sha256(tip.digest + arrival).digest()
    site.store.write(
        {
            keyspace.event_key(no, t, event_id): raw,
            keyspace.place_key(event_id): layout.Place(no, t, 99, 1, 0, 1).pack(),
            keyspace.arrival_key(tip.seq + 1): arrival,
            keyspace.TIP_KEY: tip._replace(seq=tip.seq + 1, digest=digest).pack(),
        }
    )


@rows(lambda case: case.refused)
def test_on_disk_an_event_that_is_refused_is_found_with_its_reason(case: Case) -> None:
    site = Site()
    site.admit(*HOMES, *case.log)
    assert audit(site.store).ok
    for raw, verdict in case.judged.items():
        if isinstance(verdict, Reason):
            plant(site, case, raw)
    found = {each.event: each.detail for each in audit(site.store).findings if each.kind == "event"}
    for event_id, reason in case.refused.items():
        assert found[event_id].startswith(reason.value)


@rows(lambda case: {VOID, CLOSED, FLOOD} & set(case.hostile.values()))
def test_on_disk_a_void_event_that_is_called_effective_is_found(case: Case) -> None:
    site = Site()
    site.admit(*HOMES, *case.log)
    events = [each for each in case.hostile if isinstance(each, Event)]
    site.ledger.accept(site.ledger.prepare(events, T_US_MAX, lifted=None))
    assert audit(site.store).ok
    for event in events:
        key = keyspace.place_key(event.id)
        place = layout.unpack_place(site.store.get(key) or b"")
        site.store.write({key: place._replace(flags=layout.AUTHORIZED).pack()})
    found = {each.event for each in audit(site.store).findings if each.kind == "place"}
    assert found == {event.id for event in events}


# -- the tables are whole --------------------------------------------------------------------------


def test_every_reason_of_access_and_sealing_is_reached_and_both_ways_to_be_void() -> None:
    reached = {verdict for case in CASES.values() for verdict in case.hostile.values()}
    wanted = {reason for reason in Reason if reason.rule.startswith(("AUTH", "SEAL"))}
    assert len(wanted) == 11
    assert wanted <= reached
    assert {VOID, CLOSED, FLOOD, WAITS, STANDS, FREE} <= reached


def test_no_row_is_there_twice_and_what_no_handle_can_do_says_why() -> None:
    assert len(CASES) == len(ACCESS) + len(SEALING)
    contents = [(frozenset(raws(case.log)), frozenset(case.judged)) for case in CASES.values()]
    assert len(set(contents)) == len(CASES)
    for case in CASES.values():
        assert isinstance(case.api, Attempt) or len(case.api.split()) > 3
