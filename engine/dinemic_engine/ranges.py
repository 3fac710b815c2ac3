"""Ranges of the order of events: fingerprints of them, and cutting them into equal parts (REC-2).

A set of events is a set of keys ``(t, id)`` on one line. A fingerprint is their count and a sum of
hashes: that of two ranges side by side is the sum of theirs, so a store can keep it ready for any
range. Different sets have equal fingerprints by an accident of 2^-128. Somebody who makes very many
events for it can bring it about for two sets of his own (a generalised birthday), and hide his own
events from a reconciliation that way, and nobody else's: theirs change the sum.

Parts of equal count make the difference of two sets quick to find wherever it is (reconcile.py).
In a large range they are found by counting and not by reading, and a count is a fingerprint's.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from operator import itemgetter
from typing import Final, Protocol

from dinemic_engine.ids import ID_BYTES
from dinemic_engine.limits import RECONCILE_FANOUT

Key = tuple[int, bytes]
"""An event's place in the order: (t, id). See order.py."""

Bound = tuple[int, bytes]
"""A limit in the order; the bytes may be a prefix of an id. Ranges are lower <= key < upper."""

LOWEST: Final[Bound] = (0, b"")
HIGHEST: Final[Bound] = (1 << 63, b"")

FINGERPRINT_BYTES: Final = 16


def id_term(event_id: bytes) -> int:
    """What one event adds to the sum of a fingerprint (REC-2)."""
    return int.from_bytes(hashlib.sha256(b"dinemic/fp/1" + event_id).digest(), "big")


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Count and sum mod 2^256 of SHA-256("dinemic/fp/1" | id) over a set of events (REC-2)."""

    count: int
    total: int

    @classmethod
    def of(cls, event_ids: Iterable[bytes]) -> Fingerprint:
        """The fingerprint of a set of events, counted one by one."""
        count = total = 0
        for event_id in event_ids:
            count += 1
            total += id_term(event_id)
        return cls(count, total % (1 << 256))

    def wire(self) -> bytes:
        """The 16 bytes peers compare: SHA-256(count as 8 bytes | sum as 32 bytes)[:16]."""
        packed = self.count.to_bytes(8, "big") + self.total.to_bytes(32, "big")
        return hashlib.sha256(packed).digest()[:FINGERPRINT_BYTES]


class Side(Protocol):
    """One side's set, as far as reconciling it needs."""

    def fingerprint(self, lower: Bound, upper: Bound) -> Fingerprint:
        """Fingerprint of the keys with ``lower <= key < upper``."""

    def keys(self, lower: Bound, upper: Bound, limit: int) -> list[Key]:
        """The lowest `limit` keys of that range, ascending."""


def successor(key: Key) -> Bound:
    """The bound just above `key`: no other key lies between."""
    return key[0], key[1] + b"\0"


# -- cutting a range into parts of equal count ----------------------------------------------------

_READ_MAX: Final = 16_384
"""Up to here reading every key is cheaper than searching, which takes some 100 fingerprints."""


def equal_cuts(side: Side, lower: Bound, upper: Bound, count: int) -> list[Bound]:
    """Bounds that cut a range of about `count` keys into `RECONCILE_FANOUT` parts of equal count.

    They ascend strictly inside the range; there are fewer only where there are too few keys, and
    none where there are not two.
    """
    if count > _READ_MAX:
        return _search_cuts(side, lower, upper, count)
    keys = side.keys(lower, upper, count)
    ranks = {len(keys) * part // RECONCILE_FANOUT for part in range(1, RECONCILE_FANOUT)} - {0}
    return [separator(keys[rank - 1], keys[rank]) for rank in sorted(ranks)]


def separator(below: Key, above: Key) -> Bound:
    """The shortest bound with ``below < bound <= above``; usually a time alone."""
    if below[0] < above[0]:
        return above[0], b""
    pairs = enumerate(zip(below[1], above[1], strict=True))
    return above[0], above[1][: next(at for at, (low, high) in pairs if low != high) + 1]


_ID_BITS: Final = 8 * ID_BYTES


def _position(bound: Bound) -> int:
    return bound[0] << _ID_BITS | int.from_bytes(bound[1].ljust(ID_BYTES, b"\0"), "big")


def _bound(position: int) -> Bound:
    t, tail = divmod(position, 1 << _ID_BITS)
    return t, tail.to_bytes(ID_BYTES, "big").rstrip(b"\0")


def _search_cuts(side: Side, lower: Bound, upper: Bound, count: int) -> list[Bound]:
    """As `equal_cuts`, by sampling ranks on a line of integers where they are needed.

    Halving and interpolating take turns: the first bounds the steps for any distribution, the
    second is quick for even ones. Each step counts within the interval it narrows, so a side that
    counts row by row reads every row a few times only.
    """
    tolerance = count // (8 * RECONCILE_FANOUT)
    samples = [(_position(_first(side, lower, upper)), 0), (_end(side, lower, upper), count)]
    cuts: set[int] = set()
    for part in range(1, RECONCILE_FANOUT):
        target = count * part // RECONCILE_FANOUT
        halve = False
        while True:
            at = bisect_right(samples, target, 1, len(samples) - 1, key=itemgetter(1))
            (low, low_rank), (high, high_rank) = samples[at - 1], samples[at]
            position, rank = min(samples[at - 1 : at + 1], key=lambda near: abs(near[1] - target))
            if abs(rank - target) <= tolerance or high - low < 2:
                cuts.add(position)
                break
            span, wanted, there = high - low, target - low_rank, high_rank - low_rank
            step = span // 2 if halve else span * wanted // there
            middle = _round(low, high, low + step)
            within = side.fingerprint(_bound(low), _bound(middle)).count
            samples.insert(at, (middle, min(low_rank + within, high_rank)))  # sets may grow
            halve = not halve
    return [_bound(position) for position in sorted(cuts) if lower < _bound(position) < upper]


def _round(low: int, high: int, position: int) -> int:
    """About `position`, off the ends by an eighth, and round: a round position is a short bound."""
    span = high - low
    kept = min(max(position, low + (span >> 3)), high - (span >> 3))
    bits = max(0, span.bit_length() - 5)
    return min(max(kept >> bits << bits, low + 1), high - 1)


def _first(side: Side, lower: Bound, upper: Bound) -> Bound:
    return side.keys(lower, upper, 1)[0]


def _end(side: Side, lower: Bound, upper: Bound) -> int:
    """A position above the last key, not far above compared with how far the keys reach."""
    first = _position(_first(side, lower, upper))
    low, high = first, _position(upper)
    while high - low > max(1, (high - first) >> 4):
        middle = _round(low, high, (low + high) // 2)
        above = side.keys(_bound(middle), upper, 1)
        if above:
            low = max(middle, _position(above[0]))
        else:
            high = middle
    return high
