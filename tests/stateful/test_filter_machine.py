"""An index of filters that come and go finds what trying all of them finds, in their order."""

from __future__ import annotations

from itertools import product
from typing import Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from dinemic.filters import Filter, FilterIndex, compile_filter
from dinemic_engine.ids import to_text
from support.figures import Machine

BOB, EVE = to_text(b"b" * 32), to_text(b"e" * 32)
PARTS: Final = (
    ("Person", "Dog", "*", "?og"),
    (BOB, EVE, "[id]", "*"),
    ("value_name", "dict_notes", "dict_*", "*"),
    ("red", "a:b", "?ed", "*"),
)
FILTERS: Final = [
    compile_filter(":".join(parts)) for size in (1, 2, 3, 4) for parts in product(*PARTS[:size])
]

MOST: Final = 12
"""Filters at a time: as many as a node has, and enough to share buckets."""

Name = tuple[str, ...]
NAMES: Final[list[Name]] = [
    name for size in (2, 3, 4) for name in product(*(parts[:2] for parts in PARTS[:size]))
]
"""Objects, their fields, and elements of those."""


def concerns(filter: Filter, name: Name) -> bool:
    """Whether it matches the name, or that of the field around an element."""
    return any(filter.matches(":".join(name[:size])) for size in {len(name), min(len(name), 3)})


class Filters(Machine):
    def __init__(self) -> None:
        super().__init__()
        self.index: FilterIndex[object] = FilterIndex()
        self.added: list[tuple[Filter, object]] = []
        self.name: Name = ("Person", BOB)

    @precondition(lambda self: len(self.added) < MOST)
    @rule(filter=st.sampled_from(FILTERS))
    def add(self, filter: Filter) -> None:
        self.added.append((filter, object()))
        self.index.add(*self.added[-1])

    @precondition(lambda self: self.added)
    @rule(at=st.integers(0, MOST - 1))
    def remove(self, at: int) -> None:
        self.index.remove(*self.added.pop(at % len(self.added)))

    @rule(name=st.sampled_from(NAMES))
    def ask(self, name: Name) -> None:
        self.name = name

    @invariant()
    def it_finds_what_trying_all_finds(self) -> None:
        wanted = [item for filter, item in self.added if concerns(filter, self.name)]
        assert self.index.find(*self.name) == wanted
        model, object_text, *field = self.name
        assert set(wanted) <= set(self.index.perhaps(model, object_text, "".join(field[:1])))
        assert bool(self.index) == bool(self.added)


TestFilters = Filters.TestCase
TestFilters.settings = settings(max_examples=8 * settings().max_examples)
