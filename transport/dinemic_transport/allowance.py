"""What one peer may cost this node (GOS-3): beyond it, its link is not read for a while.

Not reading is flow control and no punishment: the transport holds the peer up, nothing is dropped
and nobody is blamed. What a peer sends unasked is charged as it comes, and given back when it is
found to be of use::

    news ---charged---> judged ---admitted, known---> given back: any rate, as fast as it is judged
                          +-------refused, waiting--> paid for with time: 200 a second

So an honest writer is held up by nothing but this node's own speed, with `NEWS_BURST` events in
flight, and a flood of what is of no use costs little. Why admitted events are not rationed:
docs/decisions/014.

How much of a peer is read before it is judged grows with what it has brought, as the window of TCP
does, and shrinks with what was in vain. Who has brought nothing is *unproven*: judged in small
batches, one at a time for all such peers together (turns.py, docs/decisions/023).
"""

from __future__ import annotations

from typing import Final

from dinemic_transport.budget import Budget
from dinemic_transport.messages import (
    Have,
    Message,
    Peers,
    Ping,
    Pong,
    Prune,
    Summary,
    weight,
)
from dinemic_transport.queues import BATCH_EVENTS

NEWS_PER_SECOND: Final = 200
NEWS_BURST: Final = 1000
"""Events that came unasked and are not judged yet, or were of no use."""

UNPROVEN_EVENTS: Final = 64
"""With so many events in line, whatever they came for, an unproven peer is not read."""

UNPROVEN_BATCH_EVENTS: Final = 8
"""Some 2 ms of work on one thread: others wait no longer for it. Enough to see who means ill."""

NEWS_BYTES_PER_SECOND: Final = 4 << 20
NEWS_BYTES_BURST: Final = 8 << 20
"""Of what came unasked, known already or not: reading and hashing is all that costs."""

CHECKS_PER_SECOND: Final = 500
CHECKS_BURST: Final = 2500
"""Signatures checked in vain of what came by a catch-up."""

CONTROL_PER_SECOND: Final = 50
CONTROL_BURST: Final = 500
"""Messages without an answer; requests are bounded by how many may be out."""


class Allowance:
    """The budgets of one connection."""

    def __init__(self) -> None:
        self._news = Budget(NEWS_BURST, 1 / NEWS_PER_SECOND)
        self._octets = Budget(NEWS_BYTES_BURST, 1 / NEWS_BYTES_PER_SECOND)
        self._checks = Budget(CHECKS_BURST, 1 / CHECKS_PER_SECOND)
        self._control = Budget(CONTROL_BURST, 1 / CONTROL_PER_SECOND)
        self._standing = 0
        """Events of use less those in vain."""

    @property
    def is_unproven(self) -> bool:
        """Whether the peer has brought no more of use than in vain."""
        return not self._standing

    @property
    def in_line_max(self) -> int:
        """With so many events in line to be judged the peer is not read."""
        return UNPROVEN_EVENTS + 2 * self._standing

    @property
    def batch_max(self) -> int:
        """How many events are judged at once."""
        return min(UNPROVEN_BATCH_EVENTS + self._standing, BATCH_EVENTS)

    @property
    def ready_at(self) -> float:
        """When the peer may be read again."""
        budgets = (self._news, self._octets, self._checks, self._control)
        return max(budget.ready_at for budget in budgets)

    def said(self, message: Message, now: float) -> None:
        """A message came."""
        if isinstance(message, Summary | Ping | Pong | Peers | Have | Prune):
            self._control.spend(1, now)
            self._octets.spend(weight(message), now)

    def news(self, raw: bytes, now: float) -> None:
        """An event came unasked that has to be judged."""
        self._news.spend(1, now)
        self._octets.spend(len(raw), now)

    def known(self, raw: bytes, now: float) -> None:
        """An event came unasked that needs no judging."""
        self._octets.spend(len(raw), now)

    def judged(self, events: tuple[bytes, ...], admitted: int, duplicate: int) -> None:
        """What became of news."""
        self._news.give_back(admitted + duplicate)
        if admitted:
            self._octets.give_back(sum(map(len, events)) * admitted / len(events))

    def proven(self, admitted: int, in_vain: int) -> None:
        """What became of events, whatever they came for."""
        self._standing = max(0, min(self._standing + admitted - in_vain, NEWS_BURST))

    def checked(self, in_vain: int, now: float) -> None:
        """Events of a catch-up were judged; so many of them for nothing."""
        self._checks.spend(in_vain, now)
