"""Every way to break in, as far as handles go: what a user may try, and what he is shown after.

The rows are `support.hostile_access` and `support.hostile_sealing`, as in test_hostile_cases.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import dinemic
from dinemic_engine.edits import Delete, Set
from dinemic_engine.event import Event
from dinemic_engine.ids import EventId, db_id, from_text_untrusted, to_text
from support.dict_replica import MODEL
from support.graphs import OWNER, Actor
from support.hostile_cases import (
    CAST,
    FLOOD,
    FREE,
    READER,
    STANDS,
    VOID,
    Attempt,
    Case,
    Person,
    home,
)
from support.hostile_checks import PEER, Make, maker, meets, raws, rows, said_of
from support.nodes import acting, trace


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    with maker(tmp_path) as made:
        yield made


def handle(case: Case, who: Actor) -> Person:
    return Person(db_id(MODEL, case.object), "" if who is OWNER else home(who))


def opens(person: Person, name: str, value: object) -> bool:
    """Whether a handle reads a field, as that value; False if it raises `Unreadable`."""
    try:
        assert person.get(name) == value
    except dinemic.Unreadable:
        return False
    return True


@rows(lambda case: isinstance(case.api, Attempt))
def test_what_a_user_may_not_is_rejected_or_falls_when_the_rest_is_known(
    make: Make, case: Case
) -> None:
    attempt = case.api
    assert isinstance(attempt, Attempt)
    node = make(case.before, attempt.by)
    before, known = trace(node), said_of(node.view, case).keys()
    rules = {reason.rule for reason in case.refused.values()}
    with acting(node):
        if rules or attempt.error is not dinemic.UpdateRejected:
            with pytest.raises(attempt.error) as caught:
                attempt.do(handle(case, attempt.by))
            if isinstance(caught.value, dinemic.UpdateRejected):
                assert {caught.value.by} == rules
                assert caught.value.reason
            assert trace(node) == before
            return
        attempt.do(handle(case, attempt.by))
    made = said_of(node.view, case).keys() - known
    assert made
    assert node.ingest(PEER, raws(case.late)).admitted == len(case.late)
    said = said_of(node.view, case)
    assert {said[event_id] for event_id in made} <= {
        VOID if verdict == FLOOD else verdict for verdict in case.hostile.values()
    }
    assert bool(node.view.need(case.object)[1].removed_by) == case.removed
    meets(node, make(case.log))


@rows()
def test_a_user_reads_what_the_row_says_and_is_told_every_void_event_with_its_rule(
    make: Make, case: Case
) -> None:
    node = make(case.log, OWNER, READER)
    node.ingest(PEER, list(case.judged))
    with acting(node):
        owner = handle(case, OWNER)
        listed = {
            EventId(from_text_untrusted(each.event_id)): each.rule or each.verdict
            for each in owner.history()
        }
        for event_id, said in said_of(node.view, case).items():
            assert listed.pop(event_id).partition(":")[0] == said
            if said not in (STANDS, FREE):
                assert_told(owner, node.view.event(event_id), said)
        assert listed == {}
        assert owner.exists() != case.removed
        if case.removed:
            assert owner.keys() == []
            return
        names = case.shown.keys() | case.unreadable.keys()
        assert owner.keys() == sorted(names)
        for who in (OWNER, READER):
            for name in names:
                readable = who not in case.unreadable.get(name, ())
                assert opens(handle(case, who), name, case.shown.get(name)) == readable


def assert_told(owner: Person, event: Event, rule: str) -> None:
    """`why` names the event under each field it wrote to, void and by what rule."""
    for op in event.ops:
        if isinstance(op, Set | Delete):
            (told,) = [each for each in owner.why(op.field) if each.event_id == to_text(event.id)]
            assert told.outcome == "void"
            assert told.rule.startswith(rule)


@pytest.mark.parametrize("comes", ["before the owner writes", "after"])
@rows(lambda case: not case.removed)
def test_i_07_the_owner_goes_on_and_seals_for_todays_readers_and_nobody_else(
    make: Make, case: Case, comes: str
) -> None:
    """Whenever it comes, and with the keys of the whole cast at hand."""
    node = make(case.log, OWNER, *CAST)
    written = ("bonus", "salary")
    with acting(node):
        owner = handle(case, OWNER)
        if comes == "before the owner writes":
            node.ingest(PEER, list(case.judged))
        for name in ("name", *written):
            owner.set(name, f"{name} mended")
            assert owner.get(name) == f"{name} mended"
        if comes == "after":
            node.ingest(PEER, list(case.judged))
        for who in CAST:
            may = owner.is_read_authorized(home(who))
            for name in written:
                assert opens(handle(case, who), name, f"{name} mended") == may
            assert opens(handle(case, who), "name", "name mended")
    meets(node, make(case.log))
