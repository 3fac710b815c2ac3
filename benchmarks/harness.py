"""Timing by comparison: sides measured in turns, and the ratio between them.

A machine's speed drifts: other programs, heat, neighbours on the same host. Two numbers taken one
after the other compare the machine with itself as much as the code. So the sides of a benchmark
take turns in short blocks,

    block 1   A B C      a ratio A/B is taken inside each block, where drift is small;
    block 2   A B C      what is reported is the median of these ratios, and their range
    ...

and every claim about speed is such a ratio. Beside the clock on the wall the CPU time of the
thread is taken: on a busy machine, where blocks are interrupted, it is the steadier of the two.

The work is fixed by the size and not by the clock, so
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
from time import perf_counter_ns, thread_time_ns
from typing import Literal, NamedTuple, TypeAlias

Size = Literal["small", "large"]


class Side(NamedTuple):
    """One thing to time. `run` does `ops` operations; `settle` follows, and is not timed."""

    name: str
    ops: int
    run: Callable[[], object]
    settle: Callable[[], object] | None = None


class Spent(NamedTuple):
    """Microseconds per operation: on the wall, and on the CPU by the thread that called."""

    wall_us: float
    cpu_us: float


Timings: TypeAlias = dict[str, list[Spent]]
"""By side, one for each block."""


def take_turns(sides: Sequence[Side], blocks: int, *, warm_up: int = 1) -> Timings:
    """Run every side once in each block, in the order given; the first blocks do not count."""
    timings: Timings = {side.name: [] for side in sides}
    for block in range(warm_up + blocks):
        for side in sides:
            wall, cpu = perf_counter_ns(), thread_time_ns()
            side.run()
            cpu, wall = thread_time_ns() - cpu, perf_counter_ns() - wall
            if side.settle is not None:
                side.settle()
            if block >= warm_up:
                spent = Spent(wall / 1e3 / side.ops, max(cpu, 1) / 1e3 / side.ops)
                timings[side.name].append(spent)
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
    cpu: float
    """The median of the ratios in CPU time."""
    goal: Goal | None = None


def cost_ratio(
    timings: Timings, side: str, base: str, *, name: str = "", goal: Goal | None = None
) -> Ratio:
    """Time of `side` over time of `base`: 2.0 is twice as slow."""
    blocks = list(zip(timings[side], timings[base], strict=True))
    wall = [a.wall_us / b.wall_us for a, b in blocks]
    cpu = median(a.cpu_us / b.cpu_us for a, b in blocks)
    named = name or f"time of {side} / time of {base}"
    return Ratio(named, median(wall), min(wall), max(wall), cpu, goal)


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
    cpu: float | None = None
    """The same in CPU time, where it is about time."""
    goal: Goal | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What one benchmark found."""

    name: str
    about: str
    result: str
    """Hash of the state the work left: the same in every run of the same size."""
    ratios: list[Ratio] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)


def costs(timings: Timings) -> list[Figure]:
    """The median cost of each side."""
    medians = {side: _medians(blocks) for side, blocks in timings.items()}
    return [Figure(side, spent.wall_us, "us", spent.cpu_us) for side, spent in medians.items()]


def rate(timings: Timings, side: str, *, goal: Goal | None = None) -> Figure:
    """Operations of a side in a second, each of them an event."""
    wall_us, cpu_us = _medians(timings[side])
    return Figure(f"{side}, events/s", 1e6 / wall_us, "1/s", 1e6 / cpu_us, goal)


def _medians(blocks: Sequence[Spent]) -> Spent:
    return Spent(
        median(spent.wall_us for spent in blocks), median(spent.cpu_us for spent in blocks)
    )


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
        cells = (f"{ratio.median:.2f}", spread, f"cpu {ratio.cpu:.2f}")
        lines.append(_line(ratio.name, *cells, _judged(ratio.median, ratio.goal)))
    for figure in report.figures:
        cpu = "" if figure.cpu is None else f"cpu {figure.cpu:,.1f}"
        cells = (f"{figure.value:,.1f}", figure.unit, cpu)
        lines.append(_line(figure.name, *cells, _judged(figure.value, figure.goal)))
    lines.append(f"  result {report.result}")
    return "\n".join(lines)


def _line(name: str, value: str, beside: str, cpu: str, judged: str) -> str:
    return f"  {name:<52}{value:>10}  {beside:<18}{cpu:<14}{judged}".rstrip()


def _judged(value: float, goal: Goal | None) -> str:
    if goal is None:
        return ""
    return f"goal {goal.kind} {goal.bound:g}: {'met' if goal.is_met(value) else 'missed'}"
