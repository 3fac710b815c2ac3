"""What one node tells all its peers: news at once, rows a little later (GOS-1).

`announce` is the one entrance, for every event this node has admitted, whoever made it::

    admitted --> announce --> to each session: news at once, or its name along a lazy link (news.py)
                     |
                     +------> the model is dirty --settled--> read its row --> to each session
    named, or a parent of what waits --tick--> asked for, of one session at a time (missing.py)

So an event is passed on once by each node, and only by nodes that admitted it. Events that came by
a catch-up are not news: whoever else lacks them finds out by the row. A model's row is read once
for all sessions, when it has been quiet for `SETTLE_SECONDS`, or `SETTLE_SECONDS_MAX` after the
first change while it never is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from dinemic_transport.arrivals import event_id_untrusted
from dinemic_transport.messages import Row
from dinemic_transport.news import Heard
from dinemic_transport.session import Session
from dinemic_transport.states import State

SETTLE_SECONDS: Final = 0.05
SETTLE_SECONDS_MAX: Final = 1.0


@dataclass(frozen=True, slots=True)
class Refresh:
    """The models whose rows are to be read; None for every one."""

    models: tuple[str, ...] | None


class Gossip:
    """All sessions of one node, and what is to be told to them."""

    def __init__(self, identify: Callable[[bytes], bytes] = event_id_untrusted) -> None:
        self.heard = Heard()
        """For every session of this node."""
        self._identify = identify
        self._sessions: dict[Session, None] = {}
        self._dirty: dict[str, tuple[float, float]] = {}
        """Models whose set has changed since their row was read: first and last change."""

    @property
    def synced(self) -> bool:
        """Whether a session is open, and every open one knows that both sides are equal."""
        sessions = [session for session in self._sessions if session.state is State.OPEN]
        return bool(sessions) and not self._dirty and all(session.synced for session in sessions)

    def add(self, session: Session) -> None:
        """A new session; it greets at the next `refreshed` with every row."""
        self._sessions[session] = None

    def remove(self, session: Session) -> None:
        """The session is over. Idempotent."""
        if session in self._sessions:
            del self._sessions[session]
            self.heard.missing.gone(session.peer)

    def announce(self, model: str, events: Sequence[bytes], now: float) -> None:
        """Tell of signed events of `model` that this node has just admitted."""
        self._touch(model, now)
        heard = self.heard
        news: list[tuple[bytes, bytes]] = []
        for raw in events:
            event_id = self._identify(raw)
            heard.admitted.add(event_id)
            heard.missing.admitted(event_id)
            if event_id not in heard.quiet:
                news.append((event_id, raw))
        others = frozenset(event_id for event_id, _ in news if event_id in heard.news)
        for session in self._sessions:
            session.push(model, news, now, others=others)

    def lost(self, model: str, now: float) -> None:
        """Events of `model` were admitted, and there was no room to announce them."""
        self._touch(model, now)
        for session in self._sessions:
            session.lose(model, now)

    def _touch(self, model: str, now: float) -> None:
        first, _ = self._dirty.get(model, (now, now))
        self._dirty[model] = first, now
        for session in self._sessions:
            session.touch(model, now)

    def deadline(self) -> float:
        """When `tick` or `take_due` has something to do; sessions may bring it forward."""
        if any(session.wants_rows for session in self._sessions):
            return -math.inf
        settled = min(map(_settled_at, self._dirty.values()), default=math.inf)
        return min(settled, self.heard.missing.deadline())

    def tick(self, now: float) -> None:
        """Ask for what was named long enough ago, and did not come."""
        for peer, model, ids in self.heard.missing.take_due(self.heard.news, now):
            for session in self._sessions:
                if session.peer == peer:
                    session.graft(model, ids, now)

    def take_due(self, now: float) -> Refresh | None:
        """The rows to read now, for `refreshed`."""
        if any(session.wants_rows for session in self._sessions):
            self._dirty.clear()
            return Refresh(None)
        due = [model for model, changed in self._dirty.items() if _settled_at(changed) <= now]
        for model in due:
            del self._dirty[model]
        return Refresh(tuple(due)) if due else None

    def refreshed(self, refresh: Refresh, rows: Iterable[Row], now: float) -> None:
        """The rows asked for, as they were read from the replica since `take_due`."""
        rows = list(rows)
        stale = frozenset(self._dirty)
        for session in self._sessions:
            if refresh.models is None or not session.wants_rows:
                session.refresh(rows, stale, now)


def _settled_at(changed: tuple[float, float]) -> float:
    first, last = changed
    return min(last + SETTLE_SECONDS, first + SETTLE_SECONDS_MAX)
