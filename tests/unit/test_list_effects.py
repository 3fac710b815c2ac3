"""What inserts, deletions and LIST_SETs come to, in whatever order they take effect."""

from __future__ import annotations

from collections.abc import Callable

from dinemic_engine import canonical, log
from dinemic_engine.canonical import Sealed
from dinemic_engine.edits import Edit, Element, ListDelete, ListInsert, ListSet, Span
from dinemic_engine.event import Event
from dinemic_engine.ops import UPDATE
from dinemic_engine.store.overlay import Overlay
from dinemic_engine.types import Change, list_reading, sequence
from support.graphs import CLERK, OWNER, Site, child
from support.list_rows import check_rows, list_rows, seen_by
from support.lists import STORED, Author, append, beginning, delete, drafted, insert, put

SEALED = Sealed(bytes(32), bytes(16), b"c" * 147)


def encoded(value: canonical.Value) -> bytes:
    return canonical.encode(value)


class Effects:
    """One log, with effects turned on and off by hand."""

    def __init__(self, *events: Event) -> None:
        self.site = Site()
        self.site.ingest([beginning(), *events])
        assert not self.site.refused
        self.rows = Overlay(self.site.store)

    def turn(self, event: Event, *, on: bool) -> list[Change]:
        """Give an event effect, or take it; what readers see changed."""
        seen: list[Change] = []
        place = log.place_of(self.rows, event.id)
        for index, op in enumerate(event.ops):
            assert isinstance(op, ListInsert | ListSet | ListDelete)
            if on:
                sequence.advance(self.rows, place, event, index, op, seen, authorized=True)
            else:
                sequence.retract(self.rows, place, event, index, op, seen)
        check_rows(self.rows)
        return seen

    @property
    def values(self) -> list[object]:
        return [value for _, value in seen_by(self.rows)]


def start(*values: canonical.Value) -> Event:
    return child(beginning(), OWNER, ListInsert("a", None, True, len(values), values))


def gone(event: Event, at: int, count: int = 1) -> Edit:
    return ListDelete("a", (Span(Element(event.id, 0, at), count),))


def test_a_deletion_of_what_is_void_counts_when_that_has_effect_again() -> None:
    first = start(1, 2, 3)
    deletion = child(first, OWNER, gone(first, 1))
    effects = Effects(first, deletion)
    effects.turn(first, on=False)
    effects.turn(deletion, on=False)
    assert effects.values == []
    effects.turn(deletion, on=True)
    effects.turn(first, on=True)
    assert effects.values == [1, 3]


def test_what_two_deleted_is_back_when_both_are_taken_back() -> None:
    first = start(*range(100))
    one = child(first, OWNER, gone(first, 10, 60))
    other = child(first, OWNER, gone(first, 40, 50), t=one.t + 1)
    effects = Effects(first, one, other)
    assert effects.values == [*range(10), *range(90, 100)]
    effects.turn(one, on=False)
    assert effects.values == [*range(40), *range(90, 100)]
    effects.turn(other, on=False)
    assert effects.values == list(range(100))


def test_what_three_deleted_is_back_with_the_last_of_them() -> None:
    first = start(1, 2)
    deletions = [child(first, OWNER, gone(first, 0), t=first.t + at) for at in (1, 2, 3)]
    effects = Effects(first, *deletions)
    for deletion in deletions:
        assert effects.values == [2]
        effects.turn(deletion, on=False)
    assert effects.values == [1, 2]


def test_the_largest_list_set_wins_and_the_next_after_it() -> None:
    first = start("a")
    element = Element(first.id, 0, 0)
    one = child(first, OWNER, ListSet("a", element, "one"))
    two = child(first, CLERK, ListSet("a", element, "two"), t=one.t + 1)
    effects = Effects(first, two, one)
    assert effects.values == ["two"]
    assert list_reading.writes(effects.rows, 0, STORED, element) == [
        (two.t, two.id, 0),
        (one.t, one.id, 0),
    ]
    assert len(list_reading.conflicts(effects.rows, 0, STORED, element)) == 2
    effects.turn(two, on=False)
    assert effects.values == ["one"]
    effects.turn(one, on=False)
    assert effects.values == ["a"]


def test_a_list_set_that_had_seen_another_is_alone_in_conflicts() -> None:
    first = start("a")
    element = Element(first.id, 0, 0)
    one = child(first, OWNER, ListSet("a", element, "one"))
    two = child(one, CLERK, ListSet("a", element, "two"))
    effects = Effects(first, one, two)
    assert list_reading.conflicts(effects.rows, 0, STORED, element) == [(two.t, two.id, 0)]


def test_changes_tell_what_a_reader_sees_come_change_and_go() -> None:
    first = start("a", "b")
    element = Element(first.id, 0, 1)
    written = child(first, OWNER, ListSet("a", element, "B"))
    deletion = child(written, OWNER, gone(first, 0, 2))
    effects = Effects(first, written, deletion)
    name = [Element(first.id, 0, at).text() for at in (0, 1)]
    back = [Change("list_a", each, None, encoded(v)) for each, v in zip(name, "aB", strict=True)]
    assert effects.turn(deletion, on=False) == back
    assert effects.turn(written, on=False) == [
        Change("list_a", name[1], encoded("B"), encoded("b"))
    ]
    assert effects.turn(first, on=False) == [
        Change("list_a", name[0], encoded("a"), None),
        Change("list_a", name[1], encoded("b"), None),
    ]
    assert effects.turn(written, on=True) == []
    assert effects.turn(deletion, on=True) == []
    assert effects.turn(first, on=True) == []
    assert effects.turn(deletion, on=False) == back


def test_a_list_set_that_loses_or_sets_what_is_gone_changes_nothing() -> None:
    first = start("a", "b")
    late = child(first, OWNER, ListSet("a", Element(first.id, 0, 0), "late"), t=first.t + 5)
    early = child(first, OWNER, ListSet("a", Element(first.id, 0, 0), "early"))
    deletion = child(first, OWNER, gone(first, 1), t=first.t + 2)
    useless = child(first, OWNER, ListSet("a", Element(first.id, 0, 1), "B"), t=first.t + 3)
    effects = Effects(first, late, early, deletion, useless)
    for event in (early, useless):
        assert effects.turn(event, on=False) == []
        assert effects.turn(event, on=True) == []
    assert effects.values == ["late"]


def test_the_first_admission_tells_its_changes_with_the_id_of_its_event() -> None:
    first = start("a")
    site = Site()
    site.admit(beginning())
    (admitted,) = site.ledger.prepare([first], first.t, watched=True).admitted
    assert admitted.changes == (
        Change("list_a", Element(first.id, 0, 0).text(), None, encoded("a")),
    )


def test_a_sealed_run_is_read_as_the_whole_and_a_position() -> None:
    first = child(beginning(), OWNER, ListInsert("a", None, True, 70, [0] * 70))
    event = child(first, OWNER, ListInsert("a", Element(first.id, 0, 69), True, 130, SEALED))
    site = Site()
    site.ingest([beginning(), first])
    rows = Overlay(site.store)
    # The seal rule wants an epoch (SEAL-3); what a list makes of the op is another matter.
    place = log.place_of(rows, first.id)._replace(seq=9)
    rows.rows[b"J" + bytes(4) + bytes(4) + (9).to_bytes(8, "big")] = (
        event.t.to_bytes(8, "big") + event.id
    )
    sequence.keep(rows, place, event, 0, event.ops[0])  # type: ignore[arg-type]
    seen: list[Change] = []
    sequence.advance(rows, place, event, 0, event.ops[0], seen, authorized=True)  # type: ignore[arg-type]
    items = list(list_reading.items(rows, 0, STORED, 70))
    assert [(item.value, item.position) for item in items] == [(SEALED, at) for at in range(130)]
    assert list_reading.at(rows, 0, STORED, 199) == items[-1]
    assert seen[-1].new == encoded([SEALED, 129])
    holding = [row for row in list_rows(rows).values() if SEALED.ciphertext in row]
    assert len(holding) == 1


def test_values_too_large_to_copy_are_read_from_their_event() -> None:
    values = ["x" * 3000 + str(at) for at in range(100)]
    author = Author(OWNER)
    author.hears([beginning()])
    event = author.writes(append(*values))
    assert author.values() == values
    item = list_reading.at(author.rows, 0, STORED, 77)
    assert item is not None
    assert (item.value, item.element) == (values[77], Element(event.id, 0, 77))
    assert sum(len(row) for row in list_rows(author.rows).values()) < 3000


def test_values_too_large_to_copy_are_read_before_there_is_an_event() -> None:
    values = ["x" * 3000 + str(at) for at in range(70)]
    author = Author(OWNER)
    author.hears([beginning()])
    rows = Overlay(author.rows)
    drafted(rows, 0, append(*values)(rows))
    assert [value for _, value in seen_by(rows)] == values


def test_an_item_names_the_event_that_gave_its_value() -> None:
    author = Author(OWNER)
    author.hears([beginning()])
    first = author.writes(append("a", "b"))
    second = author.writes(put(1, "B"))
    items = author.items()
    assert [(item.event, item.op, item.t, item.authorized) for item in items] == [
        (first.id, 0, first.t, True),
        (second.id, 0, second.t, True),
    ]
    assert items[1].element == Element(first.id, 0, 1)


def test_ops_of_one_event_are_made_in_view_of_those_before_them() -> None:
    author = Author(OWNER)
    author.hears([beginning()])
    author.writes(append("a", "z"))
    event = author.writes(
        insert(1, "b", "d"), insert(2, "c"), put(1, "B"), delete(0, 1), append("end"), delete(1, 3)
    )
    assert author.values() == ["B", "z", "end"]
    assert event.ops[1].parent == Element(b"", 0, 1)  # type: ignore[union-attr]
    assert author.site.view.digest_all() == fed_backwards(author).view.digest_all()


def fed_backwards(author: Author) -> Site:
    site = Site()
    site.ingest(author.site.events()[::-1])
    return site


def test_guards_are_asked_of_every_element_with_what_its_author_saw() -> None:
    first = start("a", "b")
    element = Element(first.id, 0, 0)
    written = child(first, OWNER, ListSet("a", element, "A"))
    unseen = child(first, CLERK, ListSet("a", element, "unseen"), t=written.t + 1)
    more: list[Edit] = [
        ListInsert("a", Element(first.id, 0, 1), True, 2, ["c", "d"]),
        ListSet("a", Element(b"", 0, 0), "C"),
        ListSet("a", element, "AA"),
        ListDelete("a", (Span(element, 2), Span(Element(b"", 0, 0), 2))),
    ]
    event = child(written, OWNER, *more)
    site = Site()
    site.admit(beginning(), first, written, unseen)
    asked = site.ledger.asked(event).questions
    told = [
        (q.family, q.element, *(v and canonical.decode(v) for v in (q.old, q.new))) for q in asked
    ]
    own = [Element(event.id, 0, at).text() for at in (0, 1)]
    old = [Element(first.id, 0, at).text() for at in (0, 1)]
    assert told == [
        ("update", own[0], None, "c"),
        ("update", own[1], None, "d"),
        ("update", own[0], "c", "C"),
        ("update", old[0], "A", "AA"),
        ("delete", old[0], "AA", None),
        ("delete", old[1], "b", None),
        ("delete", own[0], "C", None),
        ("delete", own[1], "d", None),
    ]
    site.admit(event)
    assert site.ledger.asked(event).questions == asked


def test_a_revocation_takes_an_insert_and_a_deletion_back() -> None:
    first = start(1, 2)
    by_clerk = child(
        first, CLERK, ListInsert("a", Element(first.id, 0, 1), True, 1, [3]), gone(first, 0)
    )
    after = child(by_clerk, OWNER, ListInsert("a", Element(by_clerk.id, 0, 0), True, 1, [4]))
    end = child(first, OWNER, CLERK.revoke(UPDATE))
    site = Site()
    site.admit(beginning(), first, by_clerk, after)
    assert [value for _, value in seen_by(site.store)] == [2, 3, 4]
    site.admit(end)
    assert [value for _, value in seen_by(site.store)] == [1, 2, 4]


def test_the_digest_does_not_depend_on_what_is_inert() -> None:
    first = start(*range(70))
    unseen = child(first, CLERK, ListInsert("a", Element(first.id, 0, 30), False, 1, ["void"]))
    end = child(first, OWNER, CLERK.revoke(UPDATE))
    kept, never = Site(), Site()
    kept.admit(beginning(), first, unseen, end)
    never.admit(beginning(), first, end)
    assert kept.view.digest_all() == never.view.digest_all()
    assert list_rows(kept.store) != list_rows(never.store)


def differs(change: Callable[[Author], object]) -> bool:
    author = Author(OWNER)
    author.hears([beginning()])
    author.writes(append("a", "b", "c"))
    rows = Overlay(author.rows)
    before = list(sequence.digest_items(rows, 0))
    change(author)
    return list(sequence.digest_items(author.rows, 0)) != before


def test_the_digest_covers_order_and_values() -> None:
    assert differs(lambda author: author.writes(put(1, "B")))
    assert differs(lambda author: author.writes(delete(1, 2)))
    assert differs(lambda author: author.writes(insert(1, "x")))
    assert not differs(lambda author: author.items())
