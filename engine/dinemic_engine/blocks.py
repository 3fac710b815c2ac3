r"""Sums over any stretch of a model's order, from a few rows: the tree behind fingerprints (REC-2).

The order is cut into *blocks* of about `BLOCK_EVENTS` events. About `FANOUT` of them side by side
are a block of the next level, and so on. The row of a block holds the sums of its events and lies
at the bound where the block ends::

    level 2   |--------------------------- 4,103 --------------------------|
    level 1   |--- 128 --|--- 135 --|--- 128 --|   ...   |--- 128 --|- 39 -|--- 128 --|
    T rows    ........................................................................... .. .
                                                                           ^          ^
                                                          edge of level 2 -+          +- of level 1

A stretch is the sum of the blocks that lie in it and of a rest at either end, which is a stretch of
smaller blocks. So it costs a few dozen rows a level, wherever it begins and however long it is.

What is new is nearly always late in the order, so what lies behind the *edge* of a level, the end
of its last block, is in no row of it. One row says for each level where its edge is and what the
sums of all before it are; with those of the whole model that is all there is to know of the rest.
So an append writes no row here, but for one in `BLOCK_EVENTS` that closes a block; an event that
comes before the edges changes one row a level.

Invariants. A row holds the sums of the ``T`` rows from the bound before it, in its level, to its
own. A bound of a level is one of the level below. No block holds more than twice what its level is
made for; one that lost most of its events has joined the next, if both are in one block above.
Where the bounds are depends on the order of arrival, and no answer does.

Readers take no snapshot and need none: bounds of different levels that were read at different
moments still cut the order into pieces, and each piece is read at one moment. What is there all
the time is counted once, and what comes or goes meanwhile once or not at all.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from heapq import merge
from operator import itemgetter
from typing import Final

from dinemic_engine.errors import StoreCorrupt
from dinemic_engine.ids import ID_BYTES
from dinemic_engine.ranges import HIGHEST, LOWEST, id_term, separator
from dinemic_engine.store import keyspace
from dinemic_engine.store.overlay import Overlay, Readable
from dinemic_engine.store.sums import (
    EFFECTIVE,
    LEVELS,
    NO_SUMS,
    Edge,
    Sums,
    pack_edges,
    unpack_sums,
)

BLOCK_EVENTS = 128
"""Rows a reader counts one by one at either end; each closed block costs a row of 100 bytes."""

FANOUT = 32
"""So the levels are blocks of 128, 4,096, 131,072 and four million, any number of these.

With less than 4, blocks could not be split into parts of the right size.
"""

BEGINNING: Final = keyspace.pack_bound(LOWEST)
END: Final = keyspace.pack_bound(HIGHEST)


def _made_for(level: int) -> int:
    """The events a block of `level` is closed at."""
    return BLOCK_EVENTS * int(FANOUT ** (level - 1))


# -- reading --------------------------------------------------------------------------------------
# Places in the order are bytes here, t 8 | id 32, and a bound is a prefix of one or just above it.


class Blocks:
    """The order of one model as it lies in `rows`."""

    def __init__(self, rows: Readable, model_no: int) -> None:
        self._rows = rows
        self._model_no = model_no

    def sums(self, lower: bytes, upper: bytes) -> Sums:
        """The sums of the events from `lower` to before `upper`."""
        return self._sums(LEVELS, lower, upper)

    def orders(self, lower: bytes, upper: bytes) -> Iterator[tuple[bytes, bool]]:
        """Those events one by one, ascending: t | id, and whether it has effect."""
        prefix = keyspace.range_prefix(self._model_no)
        for key, value in self._rows.scan(prefix + lower, prefix + upper):
            yield key[len(prefix) :], value == EFFECTIVE

    def orders_after(
        self, lower: bytes, upper: bytes, skipped: int, *, effective: bool
    ) -> Iterator[bytes]:
        """Those events, or the effective ones, but not the lowest `skipped` of them."""
        at = lower
        if skipped:
            below = self.sums(BEGINNING, lower)
            skipped += below.effective if effective else below.events
            at, skipped = self._pass(skipped, effective=effective)
        for order, has_effect in self.orders(at, upper):
            if has_effect or not effective:
                if skipped > 0:
                    skipped -= 1
                elif order >= lower:  # always, unless the set has changed meanwhile
                    yield order

    def closed(self, level: int, lower: bytes, upper: bytes) -> Iterator[tuple[bytes, Sums]]:
        """(bound, sums) of the blocks of a level that end within ``lower <= bound <= upper``."""
        prefix = keyspace.blocks_prefix(self._model_no, level)
        for key, value in self._rows.scan(prefix + lower, prefix + upper + b"\0"):
            yield key[len(prefix) :], unpack_sums(value)

    def _sums(self, level: int, lower: bytes, upper: bytes) -> Sums:
        if lower >= upper:
            return NO_SUMS
        if level == 0:
            return sum_of(self.orders(lower, upper))
        found = list(self.closed(level, lower, upper))
        if not found:
            return self._sums(level - 1, lower, upper)
        sums = NO_SUMS
        first, last = found[0][0], found[-1][0]
        if lower not in (first, BEGINNING):
            sums = self._sums(level - 1, lower, first)
        if lower != BEGINNING:
            del found[0]  # it begins before the stretch, or ends where that begins
        for _, block in found:
            sums = sums.plus(block)
        return sums.plus(self._sums(level - 1, last, upper))

    def _pass(self, count: int, *, effective: bool) -> tuple[bytes, int]:
        """The last bound with no more than `count` events before it, and how many are left."""
        at = BEGINNING
        for level in range(LEVELS, 0, -1):
            for bound, sums in self.closed(level, at + b"\0", END):
                inside = sums.effective if effective else sums.events
                if inside > count:
                    break
                at, count = bound, count - inside
        return at, count


def sum_of(orders: Iterable[tuple[bytes, bool]]) -> Sums:
    """The sums of events given as t | id, and whether it has effect."""
    events = total = effective = effective_total = 0
    for order, has_effect in orders:
        term = id_term(order[8:])
        events += 1
        total += term
        if has_effect:
            effective += 1
            effective_total += term
    return Sums(events, total, effective, effective_total)


# -- keeping --------------------------------------------------------------------------------------


Moved = tuple[bytes, int, int, int]
"""An event that enters or leaves a set, or gains or loses effect: its t | id, what it adds to the
count of all and to that of the effective ones, and its term."""


def total_of(moved: list[Moved]) -> Sums:
    """What they add to the sums all together."""
    events = total = effective = effective_total = 0
    for _, by, effective_by, term in moved:
        events += by
        total += by * term
        effective += effective_by
        effective_total += effective_by * term
    return Sums(events, total, effective, effective_total)


def is_affected(edge: Edge, total: bytes, first: bytes) -> bool:
    """Whether there is anything to `keep`: nearly no append does more than fill a block.

    `edge` is that of the first level, `total` the ``F`` row as it becomes, `first` the lowest place
    at which something changes.
    """
    bound, before = edge
    return int.from_bytes(total[:8], "big") - before[0] >= BLOCK_EVENTS or first < bound


def keep(
    rows: Overlay, model_no: int, edges: tuple[Edge, ...], total: bytes, moved: list[Moved]
) -> None:
    """Let the blocks follow what `moved` in a model, whose ``F`` row becomes `total`.

    Called once for a model and batch, when the ``T`` rows of the batch are in `rows`.
    """
    keeping = _Keeping(rows, model_no, list(edges), moved)
    keeping.count_before_edges(sorted(moved))
    keeping.close(unpack_sums(total))
    keeping.write()


class _Keeping:
    """The blocks of one model while a batch changes them."""

    def __init__(self, rows: Overlay, model_no: int, edges: list[Edge], moved: list[Moved]) -> None:
        self._batch = rows
        self._model_no = model_no
        self._edges = edges
        # Not the whole batch: a scan sorts what is new in an overlay.
        self._rows = Overlay(rows.store)
        prefix = keyspace.range_prefix(model_no)
        for order, *_ in moved:
            self._rows.rows[prefix + order] = rows.rows[prefix + order]
        self._blocks = Blocks(self._rows, model_no)

    def write(self) -> None:
        """Put what has changed into the batch."""
        self._batch.rows.update(self._rows.rows)
        value = pack_edges(self._edges)
        self._batch.rows[keyspace.edges_key(self._model_no)] = value

    # -- before the edges --

    def count_before_edges(self, moved: list[Moved]) -> None:
        """Let the closed blocks follow; `moved` ascends."""
        touched: list[tuple[int, bytes]] = []
        for level, edge in enumerate(self._edges, 1):
            at, before = 0, edge.before
            while at < len(moved) and moved[at][0] < edge.bound:
                bound, sums = self._block_of(level, moved[at][0])
                end = bisect_left(moved, bound, key=itemgetter(0))
                by = total_of(moved[at:end])
                self._put(level, bound, sums.plus(by))
                touched.append((level, bound))
                at, before = end, before.plus(by)
            self._edges[level - 1] = Edge(edge.bound, before)
        for level, bound in touched:  # level by level, from below
            self._resize(level, bound)

    def _resize(self, level: int, bound: bytes) -> None:
        """Split a block that is too large, join one that is small with the next."""
        value = self._rows.get(keyspace.block_key(self._model_no, level, bound))
        if value is None:
            return  # it has joined the next
        sums = unpack_sums(value)
        if sums.events > 2 * _made_for(level):
            self._split(level, bound, sums)
        elif 4 * sums.events < _made_for(level):
            self._join(level, bound, sums)

    def _split(self, level: int, bound: bytes, sums: Sums) -> None:
        enough = -(-sums.events // (sums.events // _made_for(level)))
        for end, part in self._parts(level, self._begin_of(level, bound), bound, enough):
            self._put(level, end, part)

    def _join(self, level: int, bound: bytes, sums: Sums) -> None:
        above = keyspace.block_key(self._model_no, level + 1, bound)
        if level < LEVELS and self._rows.get(above) is not None:
            return  # the block above ends here, too
        following = next(self._blocks.closed(level, bound + b"\0", END), None)
        if following is None or sums.events + following[1].events > 2 * _made_for(level):
            return
        self._rows.rows[keyspace.block_key(self._model_no, level, bound)] = None
        self._put(level, following[0], following[1].plus(sums))

    # -- behind the edges --

    def close(self, total: Sums) -> None:
        """Close what is full behind the edges; `total` are the sums of the whole model.

        On every level: events that come before the edge of one are behind those of the next.
        """
        limit = Edge(END, total)
        for level, edge in enumerate(self._edges, 1):
            beyond = limit.before.events - edge.before.events
            if beyond > 2 * _made_for(level):
                self._close_in_parts(level, edge, limit.bound)
            elif beyond >= _made_for(level):
                bound = limit.bound if level > 1 else self._end_of_all()
                self._close_at(level, bound, limit.before)
            limit = self._edges[level - 1]

    def _close_in_parts(self, level: int, edge: Edge, upper: bytes) -> None:
        before = edge.before
        for end, part in self._parts(level, edge.bound, upper, _made_for(level)):
            before = before.plus(part)
            if part.events >= _made_for(level):
                self._close_at(level, end, before)

    def _close_at(self, level: int, bound: bytes, before: Sums) -> None:
        """Move the edge of a level to `bound`; `before` are the sums of all before it."""
        self._put(level, bound, before.plus(self._edges[level - 1].before, -1))
        self._edges[level - 1] = Edge(bound, before)

    def _end_of_all(self) -> bytes:
        prefix = keyspace.range_prefix(self._model_no)
        key, _ = next(self._rows.scan(prefix, prefix + END, reverse=True))
        return _end_of(key[len(prefix) :])

    # -- rows --

    def _put(self, level: int, bound: bytes, sums: Sums) -> None:
        self._rows.rows[keyspace.block_key(self._model_no, level, bound)] = sums.pack()

    def _block_of(self, level: int, order: bytes) -> tuple[bytes, Sums]:
        """The block an event before the edge lies in."""
        found = next(self._blocks.closed(level, order + b"\0", END), None)
        if found is None:
            raise StoreCorrupt(f"the last block of level {level} of model {self._model_no} is gone")
        return found

    def _begin_of(self, level: int, bound: bytes) -> bytes:
        prefix = keyspace.blocks_prefix(self._model_no, level)
        before = next(self._rows.scan(prefix, prefix + bound, reverse=True), None)
        return before[0][len(prefix) :] if before is not None else BEGINNING

    def _parts(
        self, level: int, lower: bytes, upper: bytes, size: int
    ) -> Iterator[tuple[bytes, Sums]]:
        """(end, sums) of parts of `size` events or more, and of the rest, from `lower` to `upper`.

        Cut between the events or blocks that a block of the level is made of.
        """
        if level > 1:
            part = NO_SUMS
            for end, child in self._blocks.closed(level - 1, lower + b"\0", upper):
                part = part.plus(child)
                if part.events >= size and end != upper:
                    yield end, part
                    part = NO_SUMS
            yield upper, part
            return
        events = list(self._blocks.orders(lower, upper))
        for at in range(size, len(events), size):
            yield _between(events[at - 1][0], events[at][0]), sum_of(events[at - size : at])
        rest = events[-(len(events) % size or size) :]
        yield upper if upper != END else _end_of(rest[-1][0]), sum_of(rest)


def _end_of(order: bytes) -> bytes:
    """A short bound above an event and all of its time."""
    return (int.from_bytes(order[:8], "big") + 1).to_bytes(8, "big")


def _between(below: bytes, above: bytes) -> bytes:
    """The shortest bound that is above the one and not above the other."""
    keys = [(int.from_bytes(order[:8], "big"), order[8:]) for order in (below, above)]
    return keyspace.pack_bound(separator(*keys))


# -- judging --------------------------------------------------------------------------------------

_UPWARDS: Final = range(1, LEVELS + 1)


def is_key(key: bytes) -> bool:
    """Whether an ``f`` or ``o`` row can have this key."""
    if key[:1] == b"o":
        return len(key) == len(keyspace.edges_key(0))
    begins = len(keyspace.blocks_prefix(0, 0))
    return begins + 8 <= len(key) <= begins + 8 + ID_BYTES and key[begins - 1] in _UPWARDS


def check(rows: Readable, model_no: int) -> Iterator[tuple[bytes, bytes | None, bytes | None]]:
    """(key, value, what it must be) of each row here, given the ``T`` rows: for audits.

    None must be: a block too many, or too large.
    """
    before = [NO_SUMS] * (LEVELS + 1)
    bounds = [b""] * (LEVELS + 1)
    counted = NO_SUMS
    prefix = keyspace.range_prefix(model_no)
    scans = [_from(rows, level, keyspace.blocks_prefix(model_no, level)) for level in _UPWARDS]
    for at, level, key, value in merge(*scans, _from(rows, LEVELS + 1, prefix)):
        if level > LEVELS:
            counted = counted.plus(sum_of([(at, value == EFFECTIVE)]))
            continue
        closed = counted.plus(before[level], -1)
        fits = (level == 1 or bounds[level - 1] == at) and closed.events <= 2 * _made_for(level)
        yield key, value, closed.pack() if fits else None
        before[level], bounds[level] = counted, at
    key = keyspace.edges_key(model_no)
    edges = [Edge(bounds[level], before[level]) for level in _UPWARDS]
    yield key, rows.get(key), pack_edges(edges) if any(bounds) else None


def _from(rows: Readable, level: int, prefix: bytes) -> Iterator[tuple[bytes, int, bytes, bytes]]:
    """The rows below `prefix`, to be merged: by bound, and from the lowest level up."""
    for key, value in rows.scan(prefix, keyspace.after(prefix)):
        yield key[len(prefix) :], level, key, value
