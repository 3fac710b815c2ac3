"""Hypothesis strategies: values, edits of a model, what happens in a world, guards.

They draw what the simulator draws, so a property and a campaign look for the same things; and what
Hypothesis draws it shrinks.
"""

from __future__ import annotations

from typing import Any, Final

from dinemic.actions import DAction
from dinemic.models import DModel
from dinemic.testing.edits import Edit, draw_edit, draw_value
from dinemic.testing.scenario import Play, Step, draw_step
from dinemic_engine.canonical import Value
from dinemic_engine.errors import UsageError

try:
    from hypothesis import strategies as st
except ImportError as error:
    raise UsageError("this needs Hypothesis: pip install 'dinemic[testing]'") from error


_MAKING: Final = frozenset({"create", "act", "access", "remove", "pass", "partition", "heal"})


def values() -> st.SearchStrategy[Value]:
    """Values that a field can hold."""
    return st.randoms(use_true_random=False).map(draw_value)


def edits(model: type[DModel]) -> st.SearchStrategy[Edit]:
    """Edits of the fields that a model declares; ``edit.apply(handle)`` makes one."""
    return st.randoms(use_true_random=False).map(lambda rng: draw_edit(model, rng))


def steps(play: Play) -> st.SearchStrategy[Step]:
    """Steps of a `Scene`: edits, faults, time."""
    return st.randoms(use_true_random=False).map(lambda rng: draw_step(play, rng))


def graphs(play: Play, size: int = 40) -> st.SearchStrategy[list[Step]]:
    """Steps that make event graphs: concurrent edits on several nodes, merged now and then."""
    found = st.randoms(use_true_random=False).map(lambda rng: draw_step(play, rng, edits=17))
    return st.lists(found.filter(lambda step: step[0] in _MAKING), max_size=size)


def listeners() -> st.SearchStrategy[DAction]:
    """Guards that judge by what they are told and nothing else, and so are alike on every node."""
    return st.builds(Picky, st.frozensets(st.integers(0, 7), max_size=4))


class Picky(DAction):
    """Refuses values by a checksum over their text."""

    def __init__(self, refused: frozenset[int] = frozenset({0})) -> None:
        self.refused = refused

    def __repr__(self) -> str:
        return f"Picky({set(self.refused) or '{}'})"

    def on_update(self, object_id: str, field: str, old_value: Any, new_value: Any) -> None:
        """Refuse some values."""
        if sum(repr(new_value).encode()) % 8 in self.refused:
            raise ValueError("one of those that are refused")
