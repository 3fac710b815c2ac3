"""Timing by comparison: sides measured in turns, and the ratio between them.

A machine's speed drifts: other programs, heat, neighbours on the same host. Two numbers taken one
after the other compare the machine with itself as much as the code. So the sides of a benchmark
take turns in short blocks,

    block 1   A B C      a ratio A/B is taken inside each block, where drift is small;
    block 2   A B C      what is reported is the median of these ratios, and their range
    ...

and every claim about speed is such a ratio. The work is fixed by the size and not by the clock, so
the state it leaves is the same in every run and on every machine: `Report.result` is a hash of
it. A change that makes a benchmark faster and changes the hash made something else faster.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from statistics import median
from time import perf_counter_ns
from typing import Literal, NamedTuple, TypeAlias

Size = Literal["small", "large"]


class Side(NamedTuple):
    """One thing to time. `run` does `ops` operations; `settle` follows, and is not timed."""

    name: str
    ops: int
    run: Callable[[], object]
    settle: Callable[[], object] | None = None


Timings: TypeAlias = dict[str, list[float]]
"""Microseconds per operation, by side: one number for each block."""


def take_turns(sides: Sequence[Side], blocks: int, *, warm_up: int = 1) -> Timings:
    """Run every side once in each block, in the order given; the first blocks do not count."""
    timings: Timings = {side.name: [] for side in sides}
    for block in range(warm_up + blocks):
        for side in sides:
            begin = perf_counter_ns()
            side.run()
            spent = perf_counter_ns() - begin
            if side.settle is not None:
                side.settle()
            if block >= warm_up:
                timings[side.name].append(spent / 1e3 / side.ops)
    return timings


class Goal(NamedTuple):
    """What a ratio should be: at least or at most `bound`."""

    kind: Literal[">=", "<="]
    bound: float

    def is_met(self, value: float) -> bool:
        """Whether `value` keeps the goal."""
        return value >= self.bound if self.kind == ">=" else value <= self.bound


@dataclass(frozen=True, slots=True)
class Ratio:
    """How two sides compare: the median over the blocks, the least and the greatest."""

    name: str
    median: float
    least: float
    greatest: float
    goal: Goal | None = None

    @property
    def verdict(self) -> str:
        """``met``, ``missed``, or nothing where there is no goal."""
        if self.goal is None:
            return ""
        return "met" if self.goal.is_met(self.median) else "missed"


def cost_ratio(
    timings: Timings, side: str, base: str, *, name: str = "", goal: Goal | None = None
) -> Ratio:
    """Time of `side` over time of `base`: 2.0 is twice as slow."""
    ratios = [a / b for a, b in zip(timings[side], timings[base], strict=True)]
    named = name or f"time of {side} / time of {base}"
    return Ratio(named, median(ratios), min(ratios), max(ratios), goal)


def rate_ratio(
    timings: Timings, side: str, base: str, *, name: str = "", goal: Goal | None = None
) -> Ratio:
    """Rate of `side` over rate of `base`: 2.0 is twice as fast."""
    named = name or f"rate of {side} / rate of {base}"
    return cost_ratio(timings, base, side, name=named, goal=goal)


@dataclass(frozen=True, slots=True)
class Figure:
    """A number in a unit, good for this machine and this run only."""

    name: str
    value: float
    unit: str
    goal: Goal | None = None

    @property
    def verdict(self) -> str:
        """``met``, ``missed``, or nothing where there is no goal."""
        if self.goal is None:
            return ""
        return "met" if self.goal.is_met(self.value) else "missed"


@dataclass(frozen=True, slots=True)
class Report:
    """What one benchmark found."""

    name: str
    about: str
    result: str
    """Hash of the state the work left: the same in every run of the same size."""
    ratios: list[Ratio] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)


def costs(timings: Timings, unit: str = "us") -> list[Figure]:
    """The median cost of each side."""
    return [Figure(name, median(blocks), unit) for name, blocks in timings.items()]


def machine() -> dict[str, str | int]:
    """What the figures of a run hold for."""
    return {
        "python": platform.python_version(),
        "platform": f"{sys.platform} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1,
        "cryptography": version("cryptography"),
        "rocksdict": version("rocksdict"),
        "cbor2": version("cbor2"),
    }


def as_json(size: Size, reports: Sequence[Report]) -> dict[str, object]:
    """Everything a run found, as plain values; `compare.py` reads it."""
    return {"machine": machine(), "size": size, "reports": [asdict(report) for report in reports]}


def as_table(report: Report) -> str:
    """The report as lines of text."""
    lines = [f"{report.name}: {report.about}"]
    for ratio in report.ratios:
        spread = f"({ratio.least:.2f} .. {ratio.greatest:.2f})"
        lines.append(_line(ratio.name, f"{ratio.median:.2f}", spread, ratio))
    for figure in report.figures:
        lines.append(_line(figure.name, f"{figure.value:,.1f}", figure.unit, figure))
    lines.append(f"  result {report.result}")
    return "\n".join(lines)


def _line(name: str, value: str, beside: str, judged: Ratio | Figure) -> str:
    goal = f"goal {judged.goal.kind} {judged.goal.bound:g}: {judged.verdict}" if judged.goal else ""
    return f"  {name:<52}{value:>10}  {beside:<18}{goal}".rstrip()
