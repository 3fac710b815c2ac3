"""Listening: events/s of writing where nobody listens, and where a hundred listeners do.

Each of the hundred is a guard and an effect. ``distinct``: under a filter of its own, none of which
matches what is written; ``one of them``: one is asked and told of every write.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from itertools import count
from typing import NamedTuple

import trio

import dinemic
from benchmarks.harness import Goal, Report, Side, Size, cost_ratio, costs, take_turns
from benchmarks.workloads import Person, fresh_node, retold, verifying
from dinemic_engine.ids import to_text

LISTENERS = 100


class Told(dinemic.DAction):
    """A guard and an effect that do nothing."""

    def on_update(self, object_id: str, field: str, old_value: object, new_value: object) -> None:
        """Let everything pass."""

    def on_updated(self, object_id: str, field: str, old_value: object, new_value: object) -> None:
        """Take note of nothing."""


class Parameters(NamedTuple):
    """How much is done: operations in a block, and blocks."""

    ops: int
    blocks: int


PARAMETERS: dict[Size, Parameters] = {
    "small": Parameters(ops=10, blocks=3),
    "large": Parameters(ops=500, blocks=30),
}


def run(size: Size) -> Report:
    """Time it."""
    return trio.run(_measure, size)


async def _measure(size: Size) -> Report:
    ops, blocks = PARAMETERS[size]
    async with contextlib.AsyncExitStack() as stack:
        sides: list[Side] = []
        people: list[tuple[dinemic.Node, Person]] = []
        for name in ("nobody", "distinct", "one of them"):
            node = await stack.enter_async_context(fresh_node())
            person = Person([])
            if name != "nobody":
                filters = [f"Person:{to_text(bytes([i]) * 32)}:*" for i in range(LISTENERS)]
                if name == "one of them":
                    filters[LISTENERS // 2] = f"{person.get_db_id()}:value_name"
                for each in filters:
                    Told().apply(each)
            people.append((node, person))
            sides.append(Side(name, ops, _writing(person, ops), settle=node.flush))
        timings = take_turns([*sides, Side("verify", ops, verifying(ops))], blocks)
        result = retold(*people[0])
    goal = Goal("<=", 2.0) if size == "large" else None
    return Report(
        "listeners",
        str(__doc__),
        result,
        [
            cost_ratio(
                timings,
                "distinct",
                "nobody",
                goal=goal,
                name=f"set with {LISTENERS} listeners on distinct filters / with none",
            ),
            cost_ratio(timings, "one of them", "nobody", name="the same, one of them told / none"),
        ],
        costs(timings),
    )


def _writing(person: Person, ops: int) -> Callable[[], None]:
    number = count()

    def write() -> None:
        for _ in range(ops):
            person.name.set(f"name {next(number)}")

    return write
