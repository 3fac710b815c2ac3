"""Many filters: which of them an event concerns, and how few are tried to find out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dinemic.filters import Filter, FilterIndex, compile_filter
from dinemic_engine.ids import to_text

BOB, EVE = to_text(b"b" * 32), to_text(b"e" * 32)


def matching(text: str) -> list[tuple[str, ...]]:
    """Of some events, those that a filter concerns."""
    index: FilterIndex[str] = FilterIndex()
    index.add(compile_filter(text), text)
    return [event for event in EVENTS if index.find(*event)]


MADE = ("Person", BOB)
NAME = ("Person", BOB, "value_name")
OF_EVE = ("Person", EVE, "value_name")
NOTES = ("Person", BOB, "dict_notes", "red")
OTHER = ("Person", BOB, "dict_notes", "a:b")
DOG = ("Dog", BOB, "list_bones", "x.0.1")
EVENTS: list[tuple[str, ...]] = [MADE, NAME, OF_EVE, NOTES, OTHER, DOG]
FIELDS = EVENTS[1:5]


@pytest.mark.parametrize(
    ("text", "events"),
    [
        ("Person:[id]", [MADE]),
        ("Person:[ID]", [MADE]),
        (f"Person:{BOB}", [MADE]),
        ("Person:[id]:*", FIELDS),
        ("Person:*", [MADE, *FIELDS]),
        ("*", EVENTS),
        ("Person:[id]:value_name", [NAME, OF_EVE]),
        (f"Person:{EVE}:value_name", [OF_EVE]),
        (f"Person:{BOB}:*", [NAME, NOTES, OTHER]),
        ("Person:[id]:dict_notes", [NOTES, OTHER]),
        ("Person:[id]:dict_notes:red", [NOTES]),
        ("Person:[id]:dict_notes:a:b", [OTHER]),
        ("Person:[id]:dict_notes:*", [NOTES, OTHER]),
        ("Person:[id]:dict_*", [NOTES, OTHER]),
        ("Person:*:dict_notes", [NOTES, OTHER]),
        ("*:list_bones", [DOG]),
        ("*:list_bones:x.?.1", [DOG]),
        ("?og:[id]:*", [DOG]),
        ("Person:[id]:value", []),
        ("Person:[id]:value_", []),
        ("Person:[id]:", []),
        ("Person:", []),
        ("Person", []),
        ("Cat:*", []),
        ("Person:.*:value_name", []),
    ],
)
def test_a_filter_concerns_objects_fields_and_elements(
    text: str, events: list[tuple[str, ...]]
) -> None:
    assert matching(text) == events


PARTS = st.sampled_from(["Person", "Dog", "*", "?", "[id]", BOB, EVE, "value_name", "red", "a", ""])


@given(st.lists(st.lists(PARTS, min_size=1, max_size=5).map(":".join).filter(bool), max_size=8))
def test_an_index_finds_what_trying_every_filter_finds_in_the_order_they_were_added(
    texts: list[str],
) -> None:
    index: FilterIndex[int] = FilterIndex()
    for number, text in enumerate(texts):
        index.add(compile_filter(text), number)
    for model, *below in EVENTS:
        name = ":".join([model, *below[:2]])
        names = [name, f"{name}:{below[2]}"] if below[2:] else [name]
        expected = [
            number
            for number, text in enumerate(texts)
            if any(compile_filter(text).matches(each) for each in names)
        ]
        assert index.find(model, *below) == expected
        assert set(expected) <= set(index.perhaps(model, below[0], *(below[1:2] or [""])))


def test_what_was_removed_is_found_no_more() -> None:
    index: FilterIndex[str] = FilterIndex()
    one, same = compile_filter("Person:*"), compile_filter("Person:*")
    for item, filter in (("a", one), ("b", same), ("c", compile_filter("Person:[id]"))):
        index.add(filter, item)
    index.remove(one, "a")
    assert index.find(*MADE) == ["b", "c"]
    index.remove(same, "b")
    index.remove(compile_filter("Person:[id]"), "c")
    assert not index
    assert index.find(*MADE) == []


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The filters that were tried against a name."""
    found: list[str] = []
    matches = Filter.matches

    def counting(self: Filter, name: str) -> bool:
        found.append(self.text)
        return matches(self, name)

    monkeypatch.setattr(Filter, "matches", counting)
    return found


@pytest.mark.parametrize(
    "form", ["Person:[id]:value_f{}", "Person:{}:value_name", "Model{}:*", "Person:{}", "M{}:[id]"]
)
def test_of_a_hundred_literal_filters_an_event_tries_only_those_that_can_match(
    form: str, tried: list[str]
) -> None:
    index: FilterIndex[int] = FilterIndex()
    for number in range(100):
        index.add(compile_filter(form.format(number)), number)
    index.add(compile_filter("Person:[id]:value_name"), 100)
    assert index.find(*NAME) == [100]
    assert tried == ["Person:[id]:value_name"]


def test_filters_that_begin_with_a_wildcard_are_tried_each(tried: list[str]) -> None:
    index: FilterIndex[int] = FilterIndex()
    for number in range(100):
        index.add(compile_filter(f"*:value_f{number}"), number)
    assert index.find(*NAME) == []
    assert len(tried) == 100


@pytest.mark.parametrize("text", ["*a" * 511 + "b", "?*" * 511 + "b", "*[id]" * 200 + "!"])
def test_a_hostile_filter_takes_as_many_steps_as_it_has_pieces(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    filter = compile_filter(text)
    pieces = text.count("*") + 1
    index: FilterIndex[int] = FilterIndex()
    index.add(filter, 1)
    # That it ends is the proof; the number of pieces is what bounds the searches.
    assert len(filter._middle) + 2 <= pieces + 1
    assert index.find("a" * 100, "a" * 52, "value_" + "a" * 100, "a" * 512) == []
