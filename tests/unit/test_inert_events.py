"""A revoked writer cannot fill disks; what is built on its events arrives all the same (REC-1)."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from dinemic.node import Node
from dinemic_engine import limits
from dinemic_engine.edits import Set
from dinemic_engine.event import Event
from dinemic_engine.ops import ADMIN, UPDATE
from dinemic_engine.outcomes import Admitted, Surplus
from support.graphs import CHIEF, CLERK, NOW, OWNER, READER, STRANGER, Site, T, child, genesis, team
from support.nodes import Ear, open_node

PEER, OTHER = b"p" * 32, b"q" * 32
KEPT = 8


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "INERT_EVENTS_MAX", KEPT)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Callable[[], Node]]:
    made: list[Node] = []

    def make() -> Node:
        made.append(open_node(tmp_path / f"other {len(made)}"))
        return made[-1]

    yield make
    for node in made:
        node.close()


def line(of: Event, count: int, by: object = CLERK, size: int = 0) -> list[Event]:
    """Events by one author, each on top of the one before."""
    events: list[Event] = []
    for n in range(count):
        of = child(of, by, Set("n", bytes(size) if size else n))  # type: ignore[arg-type]
        events.append(of)
    return events


def raws(events: Sequence[Event]) -> list[bytes]:
    return [event.raw for event in events]


def give(node: Node, events: Sequence[Event], size: int = 50, source: bytes = PEER) -> None:
    """As a peer sends them: in batches, nothing of it anybody's fault."""
    for start in range(0, len(events), size):
        assert node.ingest(source, raws(events[start : start + size])).invalid == ()


def shown(node: Node, event: Event) -> tuple[object, ...]:
    """What nodes compare: the digest and the reconciled set."""
    return node.view.digest(event.object), node.view.fingerprint("Person")


# -- the bound -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("shape", ["line", "fan", "line and fan", "pairs"])
def test_a_revoked_writer_leaves_a_bounded_number_of_events(node: Node, shape: str) -> None:
    first = team()
    cut = child(first, OWNER, CLERK.revoke(UPDATE))
    give(node, [first, cut])
    before = shown(node, first)
    fan = [child(first, CLERK, Set("n", n), t=T + 2 + n) for n in range(300)]
    if "line" in shape:
        give(node, line(first, 300))
    if "fan" in shape:
        give(node, fan)
    if "pairs" in shape:
        give(node, [event for each in fan for event in (each, child(each, CLERK, Set("n", 1)))])

    assert node.view.tip().seq == 2 + KEPT
    assert shown(node, first) == before
    assert [logged.verdict for logged in node.view.history(first.object)].count("void") == KEPT
    assert node.status().waiting <= limits.ORPHANS_PER_SOURCE_MAX


def test_three_thousand_void_events_leave_sixty_four(node: Node) -> None:
    first = team()
    give(node, [first, child(first, OWNER, CLERK.revoke(UPDATE))])
    give(node, line(first, 3000), size=256)

    assert node.view.tip().seq == 2 + 64


def test_void_events_are_bounded_by_size_too(node: Node) -> None:
    first = team()
    give(node, [first, child(first, OWNER, CLERK.revoke(UPDATE))])
    give(node, line(first, 12, size=200_000), size=4)

    assert node.view.tip().seq == 2 + limits.INERT_BYTES_MAX // 200_200


@pytest.mark.usefixtures("few")
def test_each_writer_and_each_object_has_a_bound_of_its_own(node: Node) -> None:
    for model in ("Person", "Other"):
        first = genesis(CLERK.grant(UPDATE), READER.grant(UPDATE), model=model)
        cut = child(first, OWNER, CLERK.revoke(UPDATE), READER.revoke(UPDATE))
        give(node, [first, cut])
        for writer in (CLERK, READER):
            give(node, line(first, 30, by=writer))

    assert node.view.tip().seq == 2 * (2 + 2 * KEPT)


@pytest.mark.usefixtures("few")
def test_what_was_written_before_a_revocation_was_known_stays_and_nothing_is_added(
    node: Node,
) -> None:
    first = team()
    written = line(first, 30)
    give(node, [first, *written])
    give(node, [child(first, OWNER, CLERK.revoke(UPDATE))])
    assert node.view.fingerprint("Person").count == 2
    give(node, line(written[-1], 30))

    assert node.view.tip().seq == 32


@pytest.mark.usefixtures("few")
def test_the_bound_holds_after_a_restart() -> None:
    first = team()
    site = Site()
    site.admit(first, child(first, OWNER, CLERK.revoke(UPDATE)))
    flood = line(first, 30)
    site.admit(*flood[:KEPT])
    site.reopen()
    (outcome,) = site.ledger.prepare([flood[KEPT]], NOW).outcomes
    assert isinstance(outcome, Surplus)
    (outcome,) = site.ledger.prepare([flood[KEPT]], NOW, {first.object}).outcomes
    assert isinstance(outcome, Admitted)
    assert outcome.inert


# -- surplus that is needed ------------------------------------------------------------------------


def built_upon(count: int) -> tuple[list[Event], Event]:
    """A team, a line of writes a revocation had not seen, somebody's write on top; and that write.

    The chief's write stands and has them all in its past, so every node needs them.
    """
    first = team()
    cut = child(first, OWNER, CLERK.revoke(UPDATE), t=T + 1)
    written = line(first, count)
    merging = child(written[-1], CHIEF, Set("n", "kept"))
    return [first, cut, *written, merging], merging


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("size", [1, 7, 500])
@pytest.mark.parametrize("shape", ["in order", "backwards", "shuffled", "last first"])
def test_surplus_that_something_effective_was_built_on_is_admitted(
    node: Node, fresh: Callable[[], Node], shape: str, size: int, rng: random.Random
) -> None:
    events, merging = built_upon(40)
    before = fresh()
    give(before, [events[0], *events[2:], events[1]])  # it saw the writes before the revocation
    rest = events[2:]
    if shape == "backwards":
        rest.reverse()
    elif shape == "shuffled":
        rng.shuffle(rest)
    elif shape == "last first":
        rest = [rest[-1], *rest[:-1]]
    give(node, [*events[:2], *rest], size)

    assert node.view.tip().seq == len(events)
    assert shown(node, merging) == shown(before, merging)
    assert node.view.fingerprint("Person").count == len(events)
    assert len(node._intake.waiting) == 0


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("size", [1, 7, 500])
def test_more_surplus_than_there_is_room_for_comes_when_it_is_sent_again(
    node: Node, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(limits, "ORPHANS_PER_SOURCE_MAX", 16)
    events, merging = built_upon(100)
    give(node, events, size)
    give(node, events, size)

    assert node.view.tip().seq == len(events)
    assert node.view.heads(merging.object) == sorted([events[1].id, merging.id])


@pytest.mark.usefixtures("few")
def test_nobody_who_may_not_write_lifts_the_bound(node: Node) -> None:
    first = team()
    cut = child(first, OWNER, CLERK.revoke(UPDATE))
    unknown = child(first, OWNER, Set("n", "never sent"))
    give(node, [first, cut])
    give(node, [child(unknown, by, Set("n", 1)) for by in (CLERK, READER, STRANGER)])
    give(node, line(first, 30))

    assert node.view.tip().seq == 2 + KEPT


@pytest.mark.usefixtures("few")
def test_a_vouching_event_lifts_the_bound_while_it_is_here(node: Node) -> None:
    first = team()
    unknown = child(first, OWNER, Set("n", "never sent"))
    flood = line(first, 30)
    give(node, [first, child(first, OWNER, CLERK.revoke(UPDATE))])
    give(node, [child(unknown, CHIEF, Set("n", 1))], source=OTHER)
    give(node, flood[:20])
    assert node.view.tip().seq == 22
    node._intake.waiting.forget(OTHER)
    give(node, flood)
    assert node.view.tip().seq == 22


@pytest.mark.usefixtures("few")
def test_an_orphan_vouches_once_the_grant_of_its_author_has_come(node: Node) -> None:
    first = genesis(CLERK.grant(UPDATE))
    cut = child(first, OWNER, CLERK.revoke(UPDATE))
    grant = child(first, OWNER, CHIEF.grant(ADMIN), t=T + 2)
    written = line(first, 30)
    merging = child([written[-1], grant], CHIEF, Set("n", "kept"))
    give(node, [first, cut, merging, *written, grant], size=1)
    give(node, [*written, merging], size=1)

    assert node.view.tip().seq == 34


@pytest.mark.usefixtures("few")
def test_surplus_given_back_by_a_late_revocation_of_the_revoker_arrives(
    node: Node, fresh: Callable[[], Node]
) -> None:
    first = team()
    ends_chief = child(first, OWNER, CHIEF.revoke(ADMIN))
    by_chief = child(first, CHIEF, CLERK.revoke(UPDATE))
    written = line(first, 40)
    give(node, [first, by_chief, *written])
    assert node.view.fingerprint("Person").count == 2
    give(node, [ends_chief])
    give(node, written)
    never_revoked = fresh()
    give(never_revoked, [first, ends_chief, *written, by_chief])

    assert node.view.tip().seq == 43
    assert shown(node, first) == shown(never_revoked, first)


# -- who is told -----------------------------------------------------------------------------------


def test_inert_events_are_not_passed_on_until_something_is_built_on_them(node: Node) -> None:
    ear = Ear(node)
    events, _ = built_upon(3)
    give(node, events[:-1], size=1)
    assert ear.heard == raws(events[:2])
    give(node, events[-1:])
    assert ear.heard == raws(events)


def test_events_given_back_are_passed_on(node: Node) -> None:
    first = team()
    by_chief = child(first, CHIEF, CLERK.revoke(UPDATE))
    written = child(first, CLERK, Set("n", 1))
    ends_chief = child(first, OWNER, CHIEF.revoke(ADMIN))
    ear = Ear(node)
    give(node, [first, by_chief, written], size=1)
    assert ear.heard == raws([first, by_chief])
    give(node, [ends_chief])
    assert ear.heard == raws([first, by_chief, written, ends_chief])


# -- what is looked at -----------------------------------------------------------------------------


def test_any_order_gives_the_same_tails_and_reconciled_set() -> None:
    first = team()
    cut = child(first, OWNER, CLERK.revoke(UPDATE))
    one, two, three = line(first, 3)
    fork = child(one, CLERK, Set("n", "fork"))
    merging = child(two, CHIEF, Set("n", "merging"))
    views = set()
    for order in itertools.permutations([cut, one, two, three, fork, merging]):
        site = Site()
        site.admit(first)
        site.ingest(order)
        tails = site.view.need(first.object)[1].tails
        views.add((site.view.fingerprint("Person"), site.view.digest(first.object), tails))
    assert len(views) == 1
    ((fingerprint, _, tails),) = views
    assert fingerprint.count == 5
    assert tails == 2
