"""Reading: ``p.name.get()``, against writing and against the rate of bare checks."""

from __future__ import annotations

from itertools import count
from typing import NamedTuple

import trio

from benchmarks.harness import Report, Side, Size, cost_ratio, costs, take_turns
from benchmarks.workloads import Person, fresh_node, hash_of, retold, verifying


class Parameters(NamedTuple):
    """Objects, operations in a block, and blocks."""

    objects: int
    ops: int
    blocks: int


PARAMETERS: dict[Size, Parameters] = {
    "small": Parameters(objects=3, ops=30, blocks=3),
    "large": Parameters(objects=200, ops=1_000, blocks=30),
}


def run(size: Size) -> Report:
    """Time it."""
    return trio.run(_measure, size)


async def _measure(size: Size) -> Report:
    objects, ops, blocks = PARAMETERS[size]
    async with fresh_node() as node:
        people = [Person([]) for _ in range(objects)]
        for number, person in enumerate(people):
            person.name.set(f"name {number}")
        first = people[0]
        turn = count()
        read: list[object] = []

        def get_one() -> None:
            for _ in range(ops):
                first.name.get()

        def get_many() -> None:
            read.clear()
            for i in range(ops):
                read.append(people[i % objects].name.get())

        def get_absent() -> None:
            for _ in range(ops):
                first.salary.get()

        def write() -> None:
            for _ in range(ops // 10):
                first.name.set(f"name {next(turn)}")

        timings = take_turns(
            [
                Side("get", ops, get_one),
                Side("get, many objects", ops, get_many),
                Side("get, never written", ops, get_absent),
                Side("set", ops // 10, write, settle=node.flush),
                Side("verify", ops // 10, verifying(ops // 10)),
            ],
            blocks,
        )
        return Report(
            "read",
            str(__doc__),
            hash_of(retold(node, *people), [str(value) for value in read]),
            [cost_ratio(timings, "get", "set"), cost_ratio(timings, "get", "verify")],
            costs(timings),
        )
