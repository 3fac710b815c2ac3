"""Where in a list something belongs: the paper's examples, and the rule of the free side."""

from __future__ import annotations

from itertools import permutations

import pytest

from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.edits import Edit, Element, ListDelete, ListInsert, ListSet, Span
from dinemic_engine.errors import Malformed, Reason
from dinemic_engine.event import Event
from dinemic_engine.limits import RUN_MAX
from dinemic_engine.ops import UPDATE
from dinemic_engine.types import list_reading
from support.graphs import CHIEF, CLERK, OWNER, Site, child, genesis
from support.list_rows import check_rows, everything
from support.lists import STORED, WRITERS, Author, append, beginning, delete, insert


def authors() -> list[Author]:
    first = beginning()
    found = [Author(who) for who in WRITERS]
    for author in found:
        author.hears([first])
    return found


def merged(*groups: list[Event]) -> list[list[Value]]:
    """The list as nodes see it that hear of the groups in every order."""
    found = []
    for order in permutations(groups):
        site = Site()
        site.ingest([beginning()])
        for group in order:
            site.ingest(group)
        reader = Author(OWNER, site)
        check_rows(site.store)
        found.append(reader.values())
    return found


def text(values: list[Value]) -> str:
    return "".join(map(str, values))


def test_what_two_type_forwards_at_one_place_is_not_interleaved() -> None:
    one, other, _ = authors()
    for letter in "milk":
        one.writes(append(letter))
    for letter in "eggs":
        other.writes(append(letter))
    seen = {text(values) for values in merged(one.made, other.made)}
    assert len(seen) == 1
    assert seen <= {"milkeggs", "eggsmilk"}


def test_what_two_type_backwards_at_one_place_is_not_interleaved() -> None:
    one, other, _ = authors()
    for letter in reversed("milk"):
        one.inserts(0, letter)
    for letter in reversed("eggs"):
        other.inserts(0, letter)
    seen = {text(values) for values in merged(one.made, other.made)}
    assert len(seen) == 1
    assert seen <= {"milkeggs", "eggsmilk"}


def test_one_forwards_and_one_backwards_in_the_middle_of_a_word_stay_apart() -> None:
    one, other, third = authors()
    start = one.writes(append(*"ab"))
    other.hears([start])
    third.hears([start])
    for at, letter in enumerate("milk"):
        other.inserts(1 + at, letter)
    for letter in reversed("eggs"):
        third.inserts(1, letter)
    seen = {text(values) for values in merged(one.made + other.made, one.made + third.made)}
    assert len(seen) == 1
    assert seen <= {"amilkeggsb", "aeggsmilkb"}


def test_three_that_begin_a_list_at_once_stay_apart_in_every_order() -> None:
    people = authors()
    for person, word in zip(people, ("one", "two", "six"), strict=True):
        person.writes(append(*word[:2]))
        person.writes(append(word[2:]))
    seen = {text(values) for values in merged(*[person.made for person in people])}
    assert len(seen) == 1
    found = seen.pop()
    assert sorted(found[at : at + 3] for at in (0, 3, 6)) == ["one", "six", "two"]


def test_a_run_stays_together_where_others_insert_beside_it() -> None:
    one, other, _ = authors()
    start = one.writes(append(0))
    other.hears([start])
    one.writes(append(*range(1, 200)))
    other.writes(append(*range(1000, 1200)))
    for values in merged(one.made, one.made[:1] + other.made):
        assert values[0] == 0
        halves = [values[1:200], values[200:]], [values[201:], values[1:201]]
        assert [list(range(1, 200)), list(range(1000, 1200))] in halves


def test_an_insert_into_a_run_cuts_it_where_it_was_made() -> None:
    one, *_ = authors()
    one.writes(append(*range(150)))
    one.inserts(100, "x", "y")
    one.inserts(101, "between")
    assert one.values() == [*range(100), "x", "between", "y", *range(100, 150)]
    check_rows(one.rows)


def test_a_deleted_element_keeps_the_place_of_what_follows_it() -> None:
    one, other, _ = authors()
    start = one.writes(append(*"abc"))
    other.hears([start])
    gone = one.writes(lambda rows: ListDelete("a", list_reading.spans_for(rows, 0, STORED, 1, 2)))
    other.inserts(2, "x")
    for values in merged([start, gone], [start, *other.made]):
        assert values == ["a", "x", "c"]


def test_the_longest_run_and_one_longer_than_that() -> None:
    one, *_ = authors()
    one.writes(append(*[0] * RUN_MAX))
    one.writes(append(1))
    assert list_reading.length(one.rows, 0, STORED) == RUN_MAX + 1
    assert check_rows(one.rows) == 2


# -- T1 -------------------------------------------------------------------------------------------


def judged(site: Site, top: Event | list[Event], *ops: Edit) -> object:
    """True, or why an event with these ops on top of others is refused."""
    return site.verdict(child(top, OWNER, *ops))


def root(*values: int, field: str = "a") -> ListInsert:
    return ListInsert(field, None, True, len(values), values)


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def top(site: Site) -> Event:
    """An event that inserts three elements, admitted."""
    first = beginning()
    event = child(first, OWNER, root(1, 2, 3))
    site.admit(first, event)
    return event


@pytest.mark.parametrize("at", [0, 2])
def test_what_is_there_can_be_named(site: Site, top: Event, at: int) -> None:
    element = Element(top.id, 0, at)
    assert judged(site, top, ListSet("a", element, 9)) is True
    assert judged(site, top, ListDelete("a", (Span(element, 3 - at),))) is True
    assert judged(site, top, ListInsert("a", element, False, 1, [9])) is True


@pytest.mark.parametrize(
    ("op", "at", "field"), [(0, 3, "a"), (1, 0, "a"), (0, 0, "b"), (0, 65_535, "a"), (4095, 0, "a")]
)
def test_what_was_not_inserted_into_the_field_cannot_be_named(
    site: Site, top: Event, op: int, at: int, field: str
) -> None:
    element = Element(top.id, op, at)
    for edit in (
        ListSet(field, element, 9),
        ListDelete(field, (Span(element, 1),)),
        ListInsert(field, element, False, 1, [9]),
    ):
        assert judged(site, top, edit) is Reason.TARGET


def test_a_span_must_be_whole(site: Site, top: Event) -> None:
    for first, length in ((0, 4), (2, 2), (1, 65_535)):
        span = Span(Element(top.id, 0, first), length)
        assert judged(site, top, ListDelete("a", (span,))) is Reason.TARGET


def test_an_event_deletes_an_element_once(site: Site, top: Event) -> None:
    one, two = (Span(Element(top.id, 0, first), 2) for first in (0, 1))
    last = Span(Element(top.id, 0, 2), 1)
    for together in ((one, two), (two, one), (last, last)):
        assert judged(site, top, ListDelete("a", together)) is Reason.TARGET
        apart = [ListDelete("a", (span,)) for span in together]
        assert judged(site, top, *apart) is Reason.TARGET
    assert judged(site, top, ListDelete("a", (last, one))) is True
    own = ListInsert("a", Element(top.id, 0, 2), True, 2, [4, 5])
    span = Span(Element(b"", 0, 0), 2)
    assert judged(site, top, own, ListDelete("a", (span,)), ListDelete("a", (one,))) is True
    assert judged(site, top, own, ListDelete("a", (span, span))) is Reason.TARGET


def test_a_sealed_run_is_no_longer_than_what_is_sealed_can_hold(top: Event) -> None:
    end = Element(top.id, 0, 2)
    for count, octets in ((1, 18), (100, 117)):
        for short in (0, 1):
            sealed = Sealed(bytes(32), bytes(16), bytes(octets - short))
            op = ListInsert("a", end, True, count, sealed)
            if short:
                with pytest.raises(Malformed, match="more values than what is sealed can hold"):
                    child(top, OWNER, op)
            else:
                child(top, OWNER, op)


def test_what_its_author_had_not_seen_cannot_be_named(site: Site, top: Event) -> None:
    before = site.events()[0]
    assert judged(site, before, ListSet("a", Element(top.id, 0, 0), 9)) is Reason.TARGET
    unknown = Element(bytes(32), 0, 0)
    assert judged(site, top, ListSet("a", unknown, 9)) is Reason.TARGET
    assert judged(site, top, ListSet("a", Element(before.id, 0, 0), 9)) is Reason.TARGET


def test_an_element_of_another_object_cannot_be_named(site: Site, top: Event) -> None:
    other = genesis(CHIEF.grant(UPDATE), model="Other")
    alike = child(other, OWNER, root(1, 2, 3))  # the same place in the log, the same list
    site.admit(other, alike)
    assert judged(site, alike, ListSet("a", Element(top.id, 0, 0), 9)) is Reason.TARGET


def test_of_its_own_event_only_earlier_ops_can_be_named(site: Site, top: Event) -> None:
    own = Element(b"", 0, 0)
    more = ListInsert("a", Element(top.id, 0, 2), True, 1, [4])
    assert judged(site, top, more, ListSet("a", own, 9)) is True
    assert judged(site, top, more, ListInsert("a", own, True, 1, [5])) is True
    assert judged(site, top, more, ListSet("a", own._replace(at=1), 9)) is Reason.TARGET
    assert judged(site, top, more, ListSet("b", own, 9)) is Reason.TARGET
    assert judged(site, top, ListSet("a", own, 9), more) is Reason.TARGET
    assert judged(site, top, ListSet("a", own._replace(op=1), 9), more) is Reason.TARGET
    assert judged(site, top, ListInsert("a", own, True, 1, [4])) is Reason.TARGET


def test_nothing_is_a_right_child_in_the_middle_of_a_run(site: Site, top: Event) -> None:
    assert judged(site, top, ListInsert("a", Element(top.id, 0, 1), True, 1, [9])) is Reason.TARGET
    assert judged(site, top, ListInsert("a", Element(top.id, 0, 2), True, 1, [9])) is True


def test_a_second_child_on_a_side_is_for_those_who_had_not_seen_the_first(
    site: Site, top: Event
) -> None:
    for side in (ListInsert("a", Element(top.id, 0, 2), True, 1, [4]),
                 ListInsert("a", Element(top.id, 0, 1), False, 1, [4]),
                 ListInsert("a", Element(top.id, 0, 0), False, 1, [4])):  # fmt: skip
        first = child(top, CHIEF, side)
        site.admit(first)
        assert judged(site, first, side) is Reason.TARGET
        assert judged(site, top, side) is True
        again = child(top, CLERK, side)
        site.admit(again)
        assert judged(site, [first, again], side) is Reason.TARGET
    assert judged(site, top, root(9)) is Reason.TARGET
    assert judged(site, site.events()[0], root(9)) is True


def test_one_event_puts_one_child_on_a_side(site: Site, top: Event) -> None:
    end = ListInsert("a", Element(top.id, 0, 2), True, 1, [4])
    assert judged(site, top, end, ListInsert("b", None, True, 1, [1]), end) is Reason.TARGET
    assert judged(site, site.events()[0], root(1), root(2)) is Reason.TARGET
    assert judged(site, site.events()[0], root(1), root(2, field="b")) is True
    left = ListInsert("a", Element(b"", 0, 0), False, 1, [4])
    assert judged(site, top, end, left, left) is Reason.TARGET


def test_a_refused_event_leaves_no_row(site: Site, top: Event) -> None:
    before = dict(site.store.scan(b"", b"\xff"))
    bad = child(
        top, OWNER, ListSet("a", Element(top.id, 0, 0), 9), ListSet("b", Element(top.id, 0, 0), 9)
    )
    site.ingest([bad])
    assert site.refused == {bad.id: "TYPE-1/target"}
    assert dict(site.store.scan(b"", b"\xff")) == before


def test_nobody_writes_beside_what_is_inert() -> None:
    """What nothing effective was built on is in no past (REC-1), so nothing may point at it."""
    first = beginning()
    start = child(first, OWNER, root(1, 2))
    unseen = child(start, CLERK, ListInsert("a", Element(start.id, 0, 1), True, 1, ["void"]))
    left = child(unseen, CLERK, ListInsert("a", Element(start.id, 0, 1), False, 1, ["void"]))
    end = child(start, OWNER, CLERK.revoke(UPDATE))
    author = Author(OWNER)
    author.hears([first, start, unseen, left, end])
    told = [element.effective for element in everything(author.rows, 0, STORED)]
    assert told.count(False) == 2
    author.writes(append(3))
    author.inserts(1, "x")
    author.inserts(0, "first")
    assert author.values() == ["first", 1, "x", 2, 3]
    check_rows(author.rows)


def test_beside_an_inert_child_another_one_is_seen() -> None:
    first = beginning()
    start = child(first, OWNER, root(1))
    end = ListInsert("a", Element(start.id, 0, 0), True, 1, ["seen"])
    seen = child(start, OWNER, end)
    unseen = next(
        event
        for t in range(1, 99)
        if (event := child(start, CLERK, end, t=start.t + t)).id < seen.id  # before it
    )
    author = Author(OWNER)
    author.hears([first, start, seen, unseen, child(seen, OWNER, CLERK.revoke(UPDATE))])
    author.inserts(1, "x")
    assert author.values() == [1, "x", "seen"]


def test_an_insert_behind_what_is_left_of_a_run_comes_behind_it() -> None:
    one, *_ = authors()
    one.writes(append(*range(10)))
    one.writes(delete(0, 5))
    one.inserts(2, "x")
    assert one.values() == [5, 6, "x", 7, 8, 9]


def test_a_list_of_inert_elements_only_is_begun_anew() -> None:
    first = beginning()
    unseen = child(first, CLERK, root(1))
    author = Author(OWNER)
    author.hears([first, unseen, child(first, OWNER, CLERK.revoke(UPDATE))])
    author.writes(append("new"), insert(0, "newer"))
    assert author.values() == ["newer", "new"]


def test_an_index_beyond_the_end_is_no_place() -> None:
    one, *_ = authors()
    one.writes(append(1))
    for index in (-1, 2):
        with pytest.raises(IndexError):
            list_reading.place_for_insert(one.rows, 0, STORED, index)
