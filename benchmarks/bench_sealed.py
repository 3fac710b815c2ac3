"""Sealed fields: writing and reading them, against plain ones of the same object."""

from __future__ import annotations

from itertools import count
from typing import NamedTuple

import trio

from benchmarks.harness import Report, Side, Size, cost_ratio, costs, rate_ratio, take_turns
from benchmarks.workloads import Person, fresh_node, retold


class Parameters(NamedTuple):
    """Objects that may read beside the owner, operations in a block, and blocks."""

    readers: int
    ops: int
    blocks: int


PARAMETERS: dict[Size, Parameters] = {
    "small": Parameters(readers=2, ops=20, blocks=3),
    "large": Parameters(readers=10, ops=1_000, blocks=20),
}


def run(size: Size) -> Report:
    """Time it."""
    return trio.run(_measure, size)


async def _measure(size: Size) -> Report:
    readers, ops, blocks = PARAMETERS[size]
    async with fresh_node() as node:
        person = Person([Person([]).get_db_id() for _ in range(readers)])
        number = count()

        def set_plain() -> None:
            for _ in range(ops):
                person.name.set(f"name {next(number)}")

        def set_sealed() -> None:
            for _ in range(ops):
                person.salary.set(f"salary {next(number)}")

        def get_plain() -> None:
            for _ in range(ops):
                person.name.get()

        def get_sealed() -> None:
            for _ in range(ops):
                person.salary.get()

        timings = take_turns(
            [
                Side("set plain", ops, set_plain, settle=node.flush),
                Side("set sealed", ops, set_sealed, settle=node.flush),
                Side("get plain", ops, get_plain),
                Side("get sealed", ops, get_sealed),
            ],
            blocks,
        )
        return Report(
            "sealed",
            str(__doc__),
            retold(node, person),
            [
                rate_ratio(timings, "set sealed", "set plain"),
                cost_ratio(timings, "get sealed", "get plain"),
            ],
            costs(timings),
        )
