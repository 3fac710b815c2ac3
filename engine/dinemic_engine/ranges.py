"""Ranges of the order of events: fingerprints of them, and cutting them into equal parts (REC-2).

A set of events is a set of keys ``(t, id)`` on one line. A fingerprint is their count and a sum of
hashes: that of two ranges side by side is the sum of theirs, so a store can keep it ready for any
range (blocks.py). Different sets have equal fingerprints by an accident of 2^-128. Somebody who
makes very many events for it can bring it about for two sets of his own (a generalised birthday),
and hide his own events from a reconciliation that way, and nobody else's: theirs change the sum.
So the heads are summed too (`Totals`): sets closed under parents are equal if their heads are. And
sets found to differ only in these are compared by lists and not by sums (listing.py).

Parts of equal count make the difference of two sets quick to find wherever it is (reconcile.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol

from dinemic_engine.limits import RECONCILE_FANOUT

Key = tuple[int, bytes]
"""An event's place in the order: (t, id). See order.py."""

Bound = tuple[int, bytes]
"""A limit in the order; the bytes may be a prefix of an id. Ranges are lower <= key < upper."""

LOWEST: Final[Bound] = (0, b"")
HIGHEST: Final[Bound] = (1 << 63, b"")

FINGERPRINT_BYTES: Final = 16
SUM_MODULUS: Final = 1 << 256


def id_term(event_id: bytes) -> int:
    """What one event adds to the sum of a fingerprint (REC-2)."""
    return int.from_bytes(hashlib.sha256(b"dinemic/fp/1" + event_id).digest(), "big")


@lru_cache(maxsize=1024)
def head_term(event_id: bytes) -> int:
    """What a head adds to the sum of heads (REC-3); remembered, for what comes will go."""
    return int.from_bytes(hashlib.sha256(b"dinemic/heads/1" + event_id).digest(), "big")


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
        return cls(count, total % SUM_MODULUS)

    def wire(self) -> bytes:
        """The 16 bytes peers compare: SHA-256(count as 8 bytes | sum as 32 bytes)[:16]."""
        packed = self.count.to_bytes(8, "big") + self.total.to_bytes(32, "big")
        return hashlib.sha256(packed).digest()[:FINGERPRINT_BYTES]


@dataclass(frozen=True, slots=True)
class Totals:
    """The fingerprints of one model, of one moment: a set that changed never becomes what it was.

    `heads` counts and sums the heads of its objects, with `head_term` for `id_term`.
    """

    events: Fingerprint
    effective: Fingerprint
    heads: Fingerprint


NOTHING: Final = Fingerprint(0, 0)


class Side(Protocol):
    """One side's set, as far as reconciling it needs."""

    def fingerprint(self, lower: Bound, upper: Bound) -> Fingerprint:
        """Fingerprint of the keys with ``lower <= key < upper``."""

    def keys(self, lower: Bound, upper: Bound, limit: int, skip: int = 0) -> list[Key]:
        """The lowest `limit` keys of that range but for the lowest `skip`, ascending."""


def successor(key: Key) -> Bound:
    """The bound just above `key`: no other key lies between."""
    return key[0], key[1] + b"\0"


# -- cutting a range into parts of equal count ----------------------------------------------------

_READ_MAX: Final = 1024
"""Up to here reading every key is cheaper than skipping to each part."""


def equal_cuts(side: Side, lower: Bound, upper: Bound, count: int) -> list[Bound]:
    """Bounds that cut a range of about `count` keys into `RECONCILE_FANOUT` parts of equal count.

    They ascend strictly inside the range; there are fewer only where there are too few keys, and
    none where there are not two.
    """
    cuts: list[Bound] = []
    keys = side.keys(lower, upper, count) if count <= _READ_MAX else []
    for part in range(1, RECONCILE_FANOUT):
        rank = (len(keys) or count) * part // RECONCILE_FANOUT
        pair = keys[rank - 1 : rank + 1] if keys else side.keys(lower, upper, 2, rank - 1)
        if rank and len(pair) == 2:
            cuts.append(separator(*pair))
    return sorted(set(cuts))


def separator(below: Key, above: Key) -> Bound:
    """The shortest bound with ``below < bound <= above``; usually a time alone."""
    if below[0] < above[0]:
        return above[0], b""
    pairs = enumerate(zip(below[1], above[1], strict=True))
    return above[0], above[1][: next(at for at, (low, high) in pairs if low != high) + 1]
