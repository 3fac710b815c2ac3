"""Figures that tests find out: what a whole run came to beside its goals, and lines in passing.

Whoever does the work counts it, when it was done and checked::

    count("kills")   -->   the test's own, in its report   -->   the sum of all that passed, in a
    in any worker                                                table at the end of the run

Invariant: nothing that failed is counted, and nothing twice in one figure.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from hypothesis.stateful import RuleBasedStateMachine, invariant

GOALS: Final[Mapping[str, int]] = {
    "seeds": 300,
    "cluster-hours": 10,
    "events admitted": 100_000,
    "faults": 5_000,
    "kills": 100,
    "power cuts": 300,
    "damages": 300,
    "hypothesis steps": 200_000,
    "fuzzed inputs": 8_000,
}
"""Every figure, and what a run of the whole suite comes to at least; docs/testing.md explains."""

Figures = Mapping[str, float]

_done: Final[dict[str, float]] = dict.fromkeys(GOALS, 0)


def count(figure: str, number: float = 1) -> None:
    """Something was done, and what it is done for held."""
    _done[figure] += number


@contextmanager
def counting() -> Iterator[dict[str, float]]:
    """What is counted in this process until the block ends; filled then."""
    before, found = dict(_done), dict[str, float]()
    yield found
    found.update((name, now - before[name]) for name, now in _done.items() if now > before[name])


def total(parts: Iterable[Figures]) -> Figures:
    """The sum, with every figure in it."""
    found = dict.fromkeys(GOALS, 0.0)
    for part in parts:
        for name, number in part.items():
            found[name] += number
    return found


def missed(done: Figures) -> list[str]:
    """The figures below their goals."""
    return [name for name, goal in GOALS.items() if done[name] < goal]


def table(done: Figures, *, whole: bool) -> list[str]:
    """A line for each figure; of a run of the `whole` suite with its goal."""
    lines = []
    for name, goal in GOALS.items():
        line = f"{name:<18}{done[name]:>12,.0f}"
        if whole:
            line += f"   goal {goal:>9,}" + ("   MISSED" if name in missed(done) else "")
        if whole or done[name]:
            lines.append(line)
    return lines


# -- hypothesis --------------------------------------------------------------------------------


def count_examples(test: Any) -> None:
    """Have a property count the examples it holds for; what `assume` sorts out is none."""
    inner = test.hypothesis.inner_test

    @functools.wraps(inner)
    def counted(*args: Any, **kwargs: Any) -> Any:
        result = inner(*args, **kwargs)
        count("hypothesis steps")
        return result

    test.hypothesis.inner_test = counted


class Machine(RuleBasedStateMachine):
    """A state machine whose steps are counted: rules that ran, after which its invariants held."""

    _begun = False

    @invariant(check_during_init=True)
    def _a_step_was_done(self) -> None:
        if self._begun:
            count("hypothesis steps")
        self._begun = True


def say(figure: str) -> None:
    """Show a line: ``pytest -s``, or ``-rP`` afterwards."""
    sys.stdout.write(f"\n{figure}")
