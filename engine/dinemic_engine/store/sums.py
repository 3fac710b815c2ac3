"""What rows hold of the sets that nodes make equal: counts, sums, and where blocks end.

The values of ``T``, ``F``, ``f`` and ``o`` rows (`keyspace`). A sum is over the terms of
`dinemic_engine.ranges`, mod 2^256 once it is packed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

_SUMS: Final = struct.Struct(">Q32sQ32s")
_TOTALS: Final = struct.Struct(">Q32sQ32sQ32s")
_MODULUS: Final = 1 << 256
_MODELS_REMEMBERED: Final = 64
EFFECTIVE: Final = b""
"""The value of the ``T`` row of an event that has effect."""
VOID_BUT_COUNTED: Final = b"v"
"""The value of the ``T`` row of one that has none, and that something effective was built on."""


class Sums(NamedTuple):
    """Count and sum of reconciled events of a model (ranges.py), and of those with effect."""

    events: int
    total: int
    effective: int
    effective_total: int

    def plus(self, other: Sums, times: int = 1) -> Sums:
        """These and `times` those; -1 takes them away."""
        return Sums(
            self.events + times * other.events,
            self.total + times * other.total,
            self.effective + times * other.effective,
            self.effective_total + times * other.effective_total,
        )

    def pack(self) -> bytes:
        """The value of an ``f`` row."""
        total = (self.total % _MODULUS).to_bytes(32, "big")
        effective_total = (self.effective_total % _MODULUS).to_bytes(32, "big")
        return _SUMS.pack(self.events, total, self.effective, effective_total)


NO_SUMS: Final = Sums(0, 0, 0, 0)


def unpack_sums(value: bytes) -> Sums:
    """The inverse of `Sums.pack`, also of the beginning of an ``F`` row."""
    count, total, effective, effective_total = _SUMS.unpack_from(value)
    return Sums(
        count, int.from_bytes(total, "big"), effective, int.from_bytes(effective_total, "big")
    )


class Totals(NamedTuple):
    """The sums of a whole model, and count and sum of the heads of its objects (REC-3)."""

    sums: Sums
    heads: int
    heads_total: int

    def pack(self) -> bytes:
        """The value of an ``F`` row."""
        heads_total = (self.heads_total % _MODULUS).to_bytes(32, "big")
        return self.sums.pack() + self.heads.to_bytes(8, "big") + heads_total


NO_TOTALS: Final = Totals(NO_SUMS, 0, 0)
_NO_TOTALS: Final = NO_TOTALS.pack()


def unpack_totals(value: bytes | None) -> Totals:
    """The inverse of `Totals.pack`; no row is no event."""
    if value is None:
        return NO_TOTALS
    heads, heads_total = value[_SUMS.size : _SUMS.size + 8], value[_SUMS.size + 8 :]
    return Totals(
        unpack_sums(value), int.from_bytes(heads, "big"), int.from_bytes(heads_total, "big")
    )


def add_to_totals(
    value: bytes | None,
    events: int,
    total: int,
    effective: int,
    effective_total: int,
    heads: int,
    heads_total: int,
) -> bytes:
    """An ``F`` row after so much more; every write goes through here."""
    before = _TOTALS.unpack(value or _NO_TOTALS)
    after = _added(before[1], total)
    if before[1] == before[3] and total == effective_total:  # as long as nothing is void
        effective_after = after
    else:
        effective_after = _added(before[3], effective_total)
    return _TOTALS.pack(
        before[0] + events,
        after,
        before[2] + effective,
        effective_after,
        before[4] + heads,
        _added(before[5], heads_total),
    )


def _added(total: bytes, number: int) -> bytes:
    return ((int.from_bytes(total, "big") + number) % _MODULUS).to_bytes(32, "big")


LEVELS: Final = 4
"""Levels of blocks (blocks.py)."""


class Edge(NamedTuple):
    """Where the last block of a level ends, and the sums of all before that."""

    bound: bytes
    before: Sums


NO_EDGES: Final = (Edge(b"", NO_SUMS),) * LEVELS


def pack_edges(edges: Iterable[Edge]) -> bytes:
    """The value of an ``o`` row: for each level the sums, the size of the bound, the bound."""
    return b"".join([edge.before.pack() + bytes((len(edge.bound),)) + edge.bound for edge in edges])


@lru_cache(maxsize=_MODELS_REMEMBERED)
def unpack_edges(value: bytes | None) -> tuple[Edge, ...]:
    """The inverse of `pack_edges`; no row is no block. Every write begins here."""
    if value is None:
        return NO_EDGES
    edges: list[Edge] = []
    at = 0
    for _ in range(LEVELS):
        begin = at + _SUMS.size + 1
        edges.append(Edge(value[begin : begin + value[begin - 1]], unpack_sums(value[at:begin])))
        at = begin + value[begin - 1]
    return tuple(edges)
