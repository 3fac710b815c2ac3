"""Who has said what about which model, and when a difference is worth a look (REC-5, VETO-4).

A row is a count and a fingerprint of all events of one model, and fingerprints of the effective
ones and of the heads. Per model a session keeps three of them: ours, the last of ours it said, and
the last the peer said. While news is under way the rows differ for a moment, so a difference starts
a catch-up only when it has lasted::

    equal ---rows differ---> differing ---GRACE---> due ---> catch-up ---moved---> GRACE, due
      ^                          |                              |
      +-------rows equal---------+<-----------------------------+---nothing--> RETRY, due

Rows that stand for the same events and differ all the same leave nothing to catch up: the two nodes
judge differently, and a comparison finds what (comparison.py). Rows that differ in the heads alone
stand for other events, which only lists can find (listing.py). Both cost more than they settle, so
they are repeated ever more rarely. An alarm ends when the fingerprints of the effective events are
equal.

Invariant: every model whose rows differ is due at some time, or being caught up or compared.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from dinemic_engine.errors import TransportError
from dinemic_engine.ranges import NOTHING
from dinemic_transport.messages import Row

GRACE_SECONDS: Final = 0.5
"""How long rows may differ before a catch-up: news and the row after it are mostly under way."""

RETRY_SECONDS: Final = (1.0, 30.0)
"""First and last pause after a catch-up that moved nothing: the peer may hold what we refuse."""

COMPARE_SECONDS: Final = (1.0, 300.0)
"""First and last pause after a comparison, of verdicts or of lists: who lies has us compare."""

MODELS_MAX: Final = 16_384
"""Models one peer may name: a row costs about half a kilobyte here."""

_NOTHING: Final = NOTHING.wire()


@dataclass(frozen=True, slots=True)
class Divergence:
    """An event that two nodes with the same events judge differently: one of them has a bug.

    It is the first such event of its model, in the order. It has effect here and not there, or the
    other way round.
    """

    model: str
    event_id: str
    effective_here: bool


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One model with one peer. `equal` is None while it is not known."""

    model: str
    equal: bool | None
    here: int
    there: int
    seconds: float
    """For how long `equal` has been what it is; since it last changed here, while not known."""
    behind: int = 0
    """How many events more the peer has: at least so many are missing here."""
    divergence: Divergence | None = None
    """The alarm that is on; it goes off when the same events are effective on both sides."""


class Due(NamedTuple):
    """Rows that have differed for long enough: ours and the peer's."""

    mine: Row
    theirs: Row
    match: Match


class Match(enum.Enum):
    """How our row and the peer's relate."""

    EQUAL = "equal"
    JUDGED = "the same events, judged differently"
    """There is nothing to catch up."""
    HIDDEN = "other events, made so that their sums are equal"
    """Sets are closed under parents, so with other heads they are others: see ranges.py."""
    UNEQUAL = "other events"


@dataclass(slots=True)
class _Entry:
    """What is known about one model."""

    mine: Row
    said: Row
    theirs: Row
    stale: bool = False
    """Our set has changed since `mine` was read."""
    lost: bool = False
    """News of ours was not sent: whoever drives usually, this side sees to a catch-up."""
    match: Match | None = None
    since: float = 0.0
    due: float = math.inf
    pause: float = 0.0
    compare_from: float = -math.inf
    compare_pause: float = 0.0
    divergence: Divergence | None = None

    @property
    def equal(self) -> bool | None:
        """Whether the rows are equal; None before they were compared."""
        return None if self.match is None else self.match is Match.EQUAL

    def arm(self, now: float, grace: float) -> None:
        """Become due in a while, if the rows differ."""
        match self.match:
            case Match.JUDGED | Match.HIDDEN:
                self.due = max(now + grace, self.compare_from)
            case Match.UNEQUAL | None:
                self.due = now + max(grace, self.pause)
            case Match.EQUAL:
                self.due = math.inf


class Rows:
    """The rows of one session. With `drives` this side starts catch-ups and comparisons."""

    def __init__(self, *, drives: bool) -> None:
        self._drives = drives
        self._entries: dict[str, _Entry] = {}
        self._foreign = 0
        """Models the peer was the first to name."""
        self._alarms: list[Divergence] = []

    @property
    def all_equal(self) -> bool:
        """Whether every row is current and equal to the peer's."""
        return all(entry.equal is True and not entry.stale for entry in self._entries.values())

    def status(self, now: float) -> tuple[ModelStatus, ...]:
        """Every model known, by name."""
        return tuple(
            ModelStatus(
                name,
                None if entry.stale else entry.equal,
                entry.mine.count,
                entry.theirs.count,
                now - entry.since,
                max(0, entry.theirs.count - entry.mine.count),
                entry.divergence,
            )
            for name, entry in sorted(self._entries.items())
        )

    def keep(self, wanted: Callable[[str], bool]) -> None:
        """Forget every model that is not `wanted`."""
        for name in [name for name in self._entries if not wanted(name)]:
            del self._entries[name]

    def read(self, row: Row, *, stale: bool) -> None:
        """Our set of a model was read; `stale` if it has changed again since then."""
        entry = self._entry(row.model)
        entry.mine, entry.stale = row, stale

    def touch(self, model: str, now: float) -> None:
        """Our set of `model` has changed."""
        entry = self._entry(model)
        if not entry.stale:
            entry.stale, entry.since = True, now

    def heard_untrusted(self, rows: Iterable[Row]) -> None:
        """The peer said these.

        Raises:
            TransportError: more models than anybody has.
        """
        for row in rows:
            if row.model not in self._entries:
                self._foreign += 1
                if self._foreign > MODELS_MAX:
                    raise TransportError(f"more than {MODELS_MAX} models")
            self._entry(row.model).theirs = row

    def unsaid(self, *, everything: bool = False) -> list[Row]:
        """Rows of ours to say now: those that changed since they were said, or all of them."""
        rows: list[Row] = []
        for entry in self._entries.values():
            if everything or entry.mine != entry.said:
                entry.said = entry.mine
                rows.append(entry.mine)
        return rows

    def lose(self, model: str, now: float) -> None:
        """News of `model` was not sent: a catch-up is due soon."""
        entry = self._entry(model)
        entry.lost, entry.pause = True, 0.0
        entry.due = min(entry.due, now + GRACE_SECONDS)

    def compare(self, now: float, grace: float) -> None:
        """Note which rows are equal now; those that no longer are become due after `grace`."""
        for entry in self._entries.values():
            match, was, known = _match(entry.mine, entry.theirs), entry.match, entry.equal
            entry.match = match
            if match is not Match.UNEQUAL:
                entry.pause, entry.lost = 0.0, False
            if entry.mine.effective == entry.theirs.effective:
                entry.divergence = None
                if match is not Match.HIDDEN:
                    entry.compare_pause, entry.compare_from = 0.0, -math.inf
            if match is Match.EQUAL or (match is not was and not entry.lost):
                entry.arm(now, grace)
            if entry.equal is not known:
                entry.since = now

    def deadline(self) -> float:
        """When `take_due` has something to give."""
        dues = (entry.due for entry in self._entries.values() if self._drives or entry.lost)
        return min(dues, default=math.inf)

    def take_due(self, now: float) -> Due | None:
        """The model to catch up or compare now; it is due again only afterwards."""
        for entry in self._entries.values():
            if entry.due <= now and (self._drives or entry.lost):
                match = Match.UNEQUAL if entry.lost or entry.match is None else entry.match
                entry.due, entry.lost = math.inf, False
                return Due(entry.mine, entry.theirs, match)
        return None

    def caught_up(self, model: str, now: float, *, moved: bool) -> None:
        """A catch-up has ended, and moved events or not: the rows will tell if it was enough."""
        entry = self._entry(model)
        first, last = RETRY_SECONDS
        entry.pause = 0.0 if moved else min(last, max(first, 2 * entry.pause))
        self._again(entry, now)

    def may_compare(self, model: str, now: float) -> bool:
        """Whether the last comparison of a model is long enough ago for another."""
        return now >= self._entry(model).compare_from

    def compared(self, model: str, now: float) -> None:
        """A comparison has ended."""
        entry = self._entry(model)
        first, last = COMPARE_SECONDS
        entry.compare_pause = min(last, max(first, 2 * entry.compare_pause))
        entry.compare_from = now + entry.compare_pause
        self._again(entry, now)

    def diverge(self, found: Divergence) -> bool:
        """Raise the alarm about a model; whether none was on."""
        entry = self._entry(found.model)
        if entry.divergence is None:
            self._alarms.append(found)
        was, entry.divergence = entry.divergence, found
        return was is None

    def take_alarms(self) -> list[Divergence]:
        """The alarms that were raised, once each."""
        alarms, self._alarms = self._alarms, []
        return alarms

    def _again(self, entry: _Entry, now: float) -> None:
        if entry.lost:
            entry.due = now + max(GRACE_SECONDS, entry.pause)
        else:
            entry.arm(now, GRACE_SECONDS)

    def _entry(self, model: str) -> _Entry:
        entry = self._entries.get(model)
        if entry is None:
            nothing = Row(model, 0, _NOTHING, _NOTHING, _NOTHING)
            entry = self._entries[model] = _Entry(nothing, nothing, nothing)
        return entry


def _match(mine: Row, theirs: Row) -> Match:
    if mine == theirs:
        return Match.EQUAL
    if not mine.has_same_sum(theirs):
        return Match.UNEQUAL
    return Match.JUDGED if mine.heads == theirs.heads else Match.HIDDEN
