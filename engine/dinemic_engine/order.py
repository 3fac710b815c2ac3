"""The order of an object's events: one sort key, and why it is enough (ORD-2, ORD-3, ORD-4).

``K(e) = (t, id)``. It is

- total: two events with one t differ in their id, which is a hash of their content;
- causal: an event is refused unless its t is above the t of each of its parents, so sorting by t
  can never put an event before something its author had seen;
- safe from clocks that run ahead: an event dated more than `HOLD_US` after this node's clock waits
  outside the log until it is due, so nobody can win every later conflict by dating far ahead. It
  is held and not refused, because two nodes may disagree about "now" but not about the log.

The same pair is part of the store key of every event, so reading a log in key order *is* replaying
it. There is no traversal, no vote and no arrival time in the order.
"""

from __future__ import annotations

from collections.abc import Iterable

from dinemic_engine.limits import HOLD_US


def next_t(now_us: int, heads_t: Iterable[int]) -> int:
    """The time to write into a new event: now, or just above the newest head (ORD-2)."""
    return max(now_us, 1 + max(heads_t, default=-1))


def is_ahead(t: int, now_us: int) -> bool:
    """Whether an event of time `t` must still wait at `now_us` (ORD-4)."""
    return t > now_us + HOLD_US
