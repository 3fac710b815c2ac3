"""Writing: events/s of ``p.name.set(...)`` on one object, against the rate of bare checks."""

from __future__ import annotations

from itertools import count
from typing import NamedTuple

import trio

from benchmarks.harness import Goal, Report, Side, Size, costs, rate, rate_ratio, take_turns
from benchmarks.workloads import Person, fresh_node, retold, verifying
from dinemic_engine.keys import SigningKey


class Parameters(NamedTuple):
    """How much is done: operations in a block, and blocks."""

    ops: int
    blocks: int


PARAMETERS: dict[Size, Parameters] = {
    "small": Parameters(ops=30, blocks=3),
    "large": Parameters(ops=1_000, blocks=30),
}


def run(size: Size) -> Report:
    """Time it."""
    return trio.run(_measure, size)


async def _measure(size: Size) -> Report:
    ops, blocks = PARAMETERS[size]
    key = SigningKey(bytes(32))
    async with fresh_node() as node:
        person = Person([])
        number = count()

        def write() -> None:
            for _ in range(ops):
                person.name.set(f"name {next(number)}")

        def sign() -> None:
            for _ in range(ops):
                key.sign(b"as long as what is signed of an event that sets one short text" * 3)

        timings = take_turns(
            [
                Side("set", ops, write, settle=node.flush),
                Side("verify", ops, verifying(ops)),
                Side("sign", ops, sign),
            ],
            blocks,
        )
        goal = Goal(">=", 8_000) if size == "large" else None
        return Report(
            "append",
            str(__doc__),
            retold(node, person),
            [rate_ratio(timings, "set", "verify"), rate_ratio(timings, "set", "sign")],
            [rate(timings, "set", goal=goal), *costs(timings)],
        )
