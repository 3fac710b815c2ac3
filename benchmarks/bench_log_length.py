"""What a longer log costs: ``p.name.set(...)`` with few and with many events behind it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from itertools import count
from typing import NamedTuple

import trio

from benchmarks.harness import Goal, Report, Side, Size, cost_ratio, costs, rate, take_turns
from benchmarks.workloads import Person, fresh_node, hash_of, retold
from dinemic.node import Node


class Parameters(NamedTuple):
    """Events of the short and of the long log before timing; operations in a block, and blocks."""

    short: int
    long: int
    ops: int
    blocks: int


PARAMETERS: dict[Size, Parameters] = {
    "small": Parameters(short=10, long=200, ops=20, blocks=3),
    "large": Parameters(short=1_000, long=100_000, ops=100, blocks=50),
}
_EVENTS_OF_OTHERS = 100
"""Events of each other object in the home with many objects."""


def run(size: Size) -> Report:
    """Time it."""
    return trio.run(_measure, size)


async def _measure(size: Size) -> Report:
    short, long, ops, blocks = PARAMETERS[size]
    number = count()

    def write(person: Person, events: int) -> None:
        for _ in range(events):
            person.name.set(f"name {next(number)}")

    async with AsyncExitStack() as homes:
        sides: list[Side] = []
        written: list[tuple[Node, Person]] = []
        for name, own, others in (
            ("short log", short, 0),
            ("long log", long, 0),
            ("short log, full store", short, long),
        ):
            node = await homes.enter_async_context(fresh_node())
            for _ in range(others // _EVENTS_OF_OTHERS):
                write(Person([]), _EVENTS_OF_OTHERS - 1)
            person = Person([])
            write(person, own - 1)
            node.flush()
            sides.append(Side(name, ops, partial(write, person, ops), settle=node.flush))
            written.append((node, person))
        timings = take_turns(sides, blocks)
        told = [retold(node, person) for node, person in written]
        counts = [node.view.tip().seq for node, _ in written]
    goal = Goal("<=", 1.3) if size == "large" else None
    return Report(
        "log-length",
        str(__doc__),
        hash_of(told, counts),
        [
            cost_ratio(
                timings,
                "long log",
                "short log",
                goal=goal,
                name=f"set at {long:,} events / at {short:,}",
            ),
            cost_ratio(
                timings,
                "short log, full store",
                "short log",
                goal=goal,
                name=f"set with {long:,} events of others / without",
            ),
        ],
        [
            *(rate(timings, name) for name in timings),
            *costs(timings),
        ],
    )
