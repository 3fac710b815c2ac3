"""Dicts, counters and sets: one change each, in a dict of few keys and of a million."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from typing import NamedTuple

import trio

import dinemic
from benchmarks.harness import (
    Goal,
    Report,
    Side,
    Size,
    cost_ratio,
    costs,
    rate,
    take_turns,
)
from benchmarks.workloads import fresh_node, verifying
from dinemic_engine import canonical
from dinemic_engine.edits import DictSet
from dinemic_engine.ids import parse_db_id_untrusted
from dinemic_engine.limits import OPS_MAX


class Shelf(dinemic.DModel):
    """The model that is written to."""

    prices = dinemic.DDict("prices")
    private = dinemic.DDict("private", is_encrypted=True)
    sold = dinemic.DCounter("sold")
    tags = dinemic.DSet("tags")


class Parameters(NamedTuple):
    """Keys of the small and the large dict, changes in a block, blocks."""

    few: int
    many: int
    ops: int
    blocks: int


PARAMETERS: dict[Size, Parameters] = {
    "small": Parameters(few=20, many=2_000, ops=6, blocks=3),
    "large": Parameters(few=1_000, many=1_000_000, ops=300, blocks=10),
}


def _fill(node: dinemic.Node, shelf: Shelf, count: int) -> None:
    """Give a dict `count` keys, a full event at a time."""
    _, object_id = parse_db_id_untrusted(shelf.get_db_id())
    for first in range(0, count, OPS_MAX):
        numbers = range(first, min(first + OPS_MAX, count))
        node.commit(object_id, [DictSet("prices", f"key {n}", n) for n in numbers], None)


def _setting(prices: dinemic.DDict, keys: int, ops: int) -> Callable[[], None]:
    """Give keys that are there another value, one event each."""
    rng = random.Random(5)

    def run() -> None:
        for number in range(ops):
            prices.set(f"key {rng.randrange(keys)}", number)

    return run


def _getting(prices: dinemic.DDict, keys: int, ops: int) -> Callable[[], None]:
    rng = random.Random(6)

    def run() -> None:
        for _ in range(ops):
            prices.get(f"key {rng.randrange(keys)}")

    return run


def _counting(shelf: Shelf, ops: int) -> Callable[[], None]:
    def run() -> None:
        for number in range(ops):
            shelf.sold.add(number)

    return run


def _adding(shelf: Shelf, ops: int) -> Callable[[], None]:
    made = iter(range(1 << 40))

    def run() -> None:
        for _ in range(ops):
            shelf.tags.add(next(made))

    return run


def run(size: Size) -> Report:
    """Time it."""
    return trio.run(_measure, size)


async def _measure(size: Size) -> Report:
    few, many, ops, blocks = PARAMETERS[size]
    async with fresh_node() as node:
        small, large, other = Shelf([]), Shelf([]), Shelf([])
        _fill(node, small, few)
        _fill(node, large, many)
        sides = [
            Side("set, few", ops, _setting(small.prices, few, ops), settle=node.flush),
            Side("set, many", ops, _setting(large.prices, many, ops), settle=node.flush),
            Side("set, sealed", ops, _setting(other.private, few, ops), settle=node.flush),
            Side("get, few", ops, _getting(small.prices, few, ops)),
            Side("get, many", ops, _getting(large.prices, many, ops)),
            Side("counter add", ops, _counting(other, ops), settle=node.flush),
            Side("set add", ops, _adding(other, ops), settle=node.flush),
            Side("verify", ops, verifying(ops)),
        ]
        timings = take_turns(sides, blocks)
        result = _content(small, large, other)
    bound = Goal("<=", 3.0) if size == "large" else None
    sealed = Goal("<=", 2.0) if size == "large" else None
    ratios = [
        cost_ratio(
            timings, "set, many", "set, few", name=f"set, of {many:,} / of {few:,}", goal=bound
        ),
        cost_ratio(timings, "get, many", "get, few", name="get, the same", goal=bound),
        cost_ratio(timings, "set, sealed", "set, few", goal=sealed),
    ]
    return Report(
        "dicts", str(__doc__), result, ratios, [rate(timings, "set, few"), *costs(timings)]
    )


def _content(*shelves: Shelf) -> str:
    """A hash of all keys and values: the same in every run of the same work."""
    digest = hashlib.sha256()
    for shelf in shelves:
        for field in (shelf.prices, shelf.private):
            digest.update(canonical.encode(len(field)))
            for key, value in field.items():
                digest.update(canonical.encode([key, value]))
        tags = sorted(map(canonical.encode, shelf.tags))
        digest.update(canonical.encode([shelf.sold.get(), tags]))
    return digest.hexdigest()[:16]
