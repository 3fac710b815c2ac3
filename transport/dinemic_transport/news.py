"""News on one link: what is pushed along it, what is only named, and what was asked for (GOS-1).

Plumtree (Leitao, Pereira, Rodrigues: Epidemic Broadcast Trees, SRDS 2007), with an own answer for
each direction of a link. Every link begins *eager*: events go along it at once. Where they keep
coming too late the receiver prunes, and the link is *lazy* in that direction: names are sent. What
is named and does not come from elsewhere is grafted, and the link is eager again::

               3 late in a row: Prune
        eager ------------------------> lazy      own events go along both, for nobody else
          ^------------------------------+        can be sooner; those of others are named
              a gap: Graft(ids)                   along lazy links, 64 at once or after 100 ms

So what is left of the eager links is a tree that spans the network, by the fastest paths, and the
names are what mends it. One late event proves nothing, for the push of own events along lazy links
takes short cuts through the tree.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from dinemic_engine.limits import WANT_IDS_MAX
from dinemic_transport.messages import Have
from dinemic_transport.missing import Missing

NAMES_SECONDS: Final = 0.1
NAMES_BATCH: Final = 64
"""Names wait so long for others, or until there are so many."""

LATE_IN_A_ROW: Final = 3
"""So many events that were here already, with none between that was not, and a link is pruned."""

PROMISE_SECONDS: Final = 30.0
"""How long a peer may send no news at all while it owes some that it named."""

GRAFTED_MAX: Final = 2048
"""Ids one peer may have us look up, and we it; what is asked for beyond is not heard."""

GRAFTED_BATCH: Final = 64
RECENT_MAX: Final = 8192
ADMITTED_MAX: Final = 32_768


class Recent:
    """The last `count` ids that were added."""

    def __init__(self, count: int = RECENT_MAX) -> None:
        self._count = count
        self._ids: OrderedDict[bytes, None] = OrderedDict()

    def __contains__(self, event_id: object) -> bool:
        return event_id in self._ids

    def add(self, event_id: bytes) -> None:
        """Remember an id, for as long as it is one of the last."""
        self._ids[event_id] = None
        self._ids.move_to_end(event_id)
        if len(self._ids) > self._count:
            self._ids.popitem(last=False)

    def discard(self, event_id: bytes) -> None:
        """Forget an id."""
        self._ids.pop(event_id, None)


class Heard:
    """What the sessions of one node know together of the events that passed lately."""

    def __init__(self) -> None:
        self.quiet = Recent()
        """They came by a catch-up, so they are no news to anybody else."""
        self.news = Recent()
        """They came as news: somebody else's events."""
        self.admitted = Recent(ADMITTED_MAX)
        self.missing = Missing()


class News:
    """The news of one link, in both directions."""

    def __init__(self) -> None:
        self.seen = Recent()
        """Events the peer surely has: it sent or named them, or was sent them."""
        self.lazy = False
        """Whether the peer wants names of others' events, not the events."""
        self.pruned = False
        """Whether we have told the peer the same."""
        self._late = 0
        self._names: dict[str, list[bytes]] = {}
        self._names_count = 0
        self._names_due = math.inf
        self._promised: set[bytes] = set()
        self._promise_until = math.inf
        self._grafted: dict[bytes, str] = {}

    # -- what goes out --

    def name(self, model: str, ids: Iterable[bytes], now: float) -> None:
        """Put names in line; `take_names` gives them when there are enough or it is time."""
        line = self._names.setdefault(model, [])
        count = len(line)
        line += ids
        self._names_count += len(line) - count
        if self._names_count >= NAMES_BATCH:
            self._names_due = now
        elif self._names_count:
            self._names_due = min(self._names_due, now + NAMES_SECONDS)

    def take_names(self, now: float) -> list[Have]:
        """The names to send now, without those the peer has said itself meanwhile."""
        if now < self._names_due:
            return []
        names, self._names = self._names, {}
        self._names_count, self._names_due = 0, math.inf
        news = {
            model: [event_id for event_id in ids if event_id not in self.seen]
            for model, ids in names.items()
        }
        return [
            Have(model, tuple(ids[first : first + WANT_IDS_MAX]))
            for model, ids in news.items()
            for first in range(0, len(ids), WANT_IDS_MAX)
        ]

    def graft_untrusted(self, model: str, ids: Iterable[bytes]) -> None:
        """The peer asks for news by name; what is beyond the bound is not heard."""
        self.lazy = False
        self.put_back(model, ids)

    def put_back(self, model: str, ids: Iterable[bytes]) -> None:
        """Ids that were taken and not sent, or are asked for now."""
        for event_id in ids:
            if len(self._grafted) < GRAFTED_MAX:
                self._grafted[event_id] = model

    @property
    def is_grafted(self) -> bool:
        """Whether `take_grafted` has something to give."""
        return bool(self._grafted)

    def take_grafted(self) -> tuple[str, tuple[bytes, ...]] | None:
        """Model and ids of what the peer asked for, a batch in order, if there is any."""
        if not self._grafted:
            return None
        model = next(iter(self._grafted.values()))
        ids = [event_id for event_id, name in self._grafted.items() if name == model]
        batch = tuple(ids[:GRAFTED_BATCH])
        for event_id in batch:
            del self._grafted[event_id]
        return model, batch

    # -- what comes in --

    def came(self, event_id: bytes, now: float, *, late: bool) -> bool:
        """An event came as news, too late or not; whether the peer is to be pruned for it."""
        self.seen.add(event_id)
        if self._promised:
            promised = event_id in self._promised
            self._promised.discard(event_id)
            self._promise_until = now + PROMISE_SECONDS if self._promised else math.inf
            if promised:
                return False
        return self.judged(late=int(late), admitted=int(not late))

    def judged(self, *, late: int, admitted: int) -> bool:
        """What became of a batch of news; whether the peer is to be pruned for it."""
        self._late = 0 if admitted else self._late + late
        if self.pruned or self._late < LATE_IN_A_ROW:
            return False
        self.pruned = True
        self._late = 0
        return True

    def ask(self, ids: Iterable[bytes], now: float) -> tuple[bytes, ...]:
        """The peer is asked for news by name: for these of them."""
        room = GRAFTED_MAX - len(self._promised)
        asked = tuple(event_id for event_id in ids if event_id not in self._promised)[:room]
        if asked:
            self._promised.update(asked)
            self._promise_until = now + PROMISE_SECONDS
            self.pruned, self._late = False, 0
        return asked

    def take_broken(self, now: float) -> int:
        """How many events the peer has named and does not deliver; each is given once."""
        if now < self._promise_until:
            return 0
        count = len(self._promised)
        self._promised.clear()
        self._promise_until = math.inf
        return count

    def allow(self, seconds: float) -> None:
        """Give the peer so much more time to keep what it promised."""
        self._promise_until += seconds

    @property
    def names_due(self) -> float:
        """When `take_names` has something to give."""
        return self._names_due

    def deadline(self) -> float:
        """When `take_broken` has something to give."""
        return self._promise_until
