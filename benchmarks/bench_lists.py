"""Lists: edits one by one and in transactions, plain and sealed; of few elements and a million.

``edits`` are five appends and then one insert anywhere; in transactions they come in hundreds of
appends and of inserts in the same proportion. Those on lists of other lengths are inserts anywhere.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from typing import NamedTuple

import trio

import dinemic
from benchmarks.harness import (
    Figure,
    Goal,
    Ratio,
    Report,
    Side,
    Size,
    Timings,
    cost_ratio,
    costs,
    rate,
    take_turns,
)
from benchmarks.workloads import fresh_node, verifying
from dinemic_engine import canonical


class Shelf(dinemic.DModel):
    """The model that is written to."""

    albums = dinemic.DList("albums")
    private = dinemic.DList("private", is_encrypted=True)


class Parameters(NamedTuple):
    """Elements of the short and the long list, edits in a block and in a transaction, blocks."""

    short: int
    long: int
    ops: int
    together: int
    blocks: int


PARAMETERS: dict[Size, Parameters] = {
    "small": Parameters(short=20, long=2_000, ops=12, together=5, blocks=3),
    "large": Parameters(short=1_000, long=1_000_000, ops=600, together=100, blocks=10),
}
_GROWTH = 1_000
"""Elements that are put into the long list at once, somewhere."""


class _Editor:
    """Edits one list of one object, in an order that is the same in every run."""

    def __init__(self, shelf: Shelf, *, sealed: bool = False) -> None:
        self._shelf = shelf
        self.list = shelf.private if sealed else shelf.albums
        self._rng = random.Random(6)
        self._length = 0
        self._made = 0

    def _value(self) -> str:
        self._made += 1
        return f"album {self._made}"

    def _anywhere(self) -> int:
        return self._rng.randrange(self._length + 1)

    def grow(self, length: int) -> None:
        """Insert runs anywhere until there are so many elements."""
        while self._length < length:
            at, count = self._anywhere(), min(_GROWTH, length - self._length)
            with self._shelf.transaction():
                for more in range(count):
                    self.list.insert(at + more, self._value())
            self._length += count

    def append(self) -> None:
        """Put one at the end."""
        self.list.append(self._value())
        self._length += 1

    def insert(self) -> None:
        """Put one somewhere."""
        self.list.insert(self._anywhere(), self._value())
        self._length += 1

    def one_by_one(self, ops: int) -> Callable[[], None]:
        """Edits, one event each."""

        def run() -> None:
            for number in range(ops):
                if number % 6 == 5:
                    self.insert()
                else:
                    self.append()

        return run

    def together(self, ops: int, size: int) -> Callable[[], None]:
        """Edits in transactions of `size`, of which every sixth inserts."""

        def run() -> None:
            for number in range(ops // size):
                with self._shelf.transaction():
                    for _ in range(size):
                        if number % 6 == 5:
                            self.insert()
                        else:
                            self.append()

        return run

    def inserting(self, ops: int) -> Callable[[], None]:
        """Inserts anywhere, one event each."""

        def run() -> None:
            for _ in range(ops):
                self.insert()

        return run

    def reading(self, ops: int) -> Callable[[], None]:
        """Reads at any index."""
        rng = random.Random(7)

        def run() -> None:
            for _ in range(ops):
                self.list.at(rng.randrange(self._length))

        return run


def run(size: Size) -> Report:
    """Time it."""
    return trio.run(_measure, size)


async def _measure(size: Size) -> Report:
    short, long, ops, together, blocks = PARAMETERS[size]
    async with fresh_node() as node:
        single, grouped, few, many = [_Editor(Shelf([])) for _ in range(4)]
        sealed, sealed_grouped = [_Editor(Shelf([]), sealed=True) for _ in range(2)]
        few.grow(short)
        many.grow(long)
        for editor in (single, grouped, sealed, sealed_grouped):
            editor.grow(short)
        sides = [
            Side("edits", ops, single.one_by_one(ops), settle=node.flush),
            Side("sealed edits", ops, sealed.one_by_one(ops), settle=node.flush),
            Side(
                "edits in transactions",
                6 * together,
                grouped.together(6 * together, together),
                settle=node.flush,
            ),
            Side(
                "sealed edits in transactions",
                6 * together,
                sealed_grouped.together(6 * together, together),
                settle=node.flush,
            ),
            Side("at, short", ops, few.reading(ops)),
            Side("at, long", ops, many.reading(ops)),
            Side("at, sealed", ops, sealed.reading(ops)),
            Side("insert, short", ops // 6, few.inserting(ops // 6), settle=node.flush),
            Side("insert, long", ops // 6, many.inserting(ops // 6), settle=node.flush),
            Side("verify", ops // 6, verifying(ops // 6)),
        ]
        timings = take_turns(sides, blocks)
        editors = (single, grouped, few, many, sealed, sealed_grouped)
        result = _content([editor.list for editor in editors])
    return Report("lists", str(__doc__), result, *_judged(timings, size, short, long))


def _judged(
    timings: Timings, size: Size, short: int, long: int
) -> tuple[list[Ratio], list[Figure]]:
    large = size == "large"
    ratios = [
        cost_ratio(
            timings,
            "at, long",
            "at, short",
            name=f"at, of {long:,} / of {short:,}",
            goal=Goal("<=", 3.0) if large else None,
        ),
        cost_ratio(timings, "insert, long", "insert, short", name="insert, the same"),
    ]
    ratios += [
        cost_ratio(timings, sealed, plain, name=name, goal=Goal("<=", 2.0) if large else None)
        for name, sealed, plain in (
            ("sealed edits / plain", "sealed edits", "edits"),
            ("the same in transactions", "sealed edits in transactions", "edits in transactions"),
            ("at, sealed / plain", "at, sealed", "at, short"),
        )
    ]
    figures = [
        rate(timings, "edits", goal=Goal(">=", 5_000) if large else None),
        rate(timings, "edits in transactions", goal=Goal(">=", 50_000) if large else None),
    ]
    return ratios, [*figures, *costs(timings)]


def _content(lists: list[dinemic.DList]) -> str:
    """A hash of all values: the same in every run of the same work."""
    digest = hashlib.sha256()
    for each in lists:
        digest.update(canonical.encode(len(each)))
        for value in each:
            digest.update(canonical.encode(value))
    return digest.hexdigest()[:16]
