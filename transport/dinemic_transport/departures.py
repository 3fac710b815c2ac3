"""What leaves for one peer: messages in line, events among them, and names in place of events.

::

    push --> known there? --> lazy link, somebody else's? --no--> Events, 0 --> Outbox --> the link
                                   |                                  |
                                  yes --> name --> Have               no room: lost, so a catch-up

Invariant: what is not sent for want of room is counted, and `lose` is told of its model.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import replace

from dinemic_transport.jobs import BATCH_BYTES
from dinemic_transport.messages import Hello, Message, Ping, Pong
from dinemic_transport.news import News
from dinemic_transport.queues import Outbox


class Departures:
    """The line of one session.

    `count` adds to its counters, `lose` sees to a catch-up, `overflow` ends it: the peer takes
    nothing in.
    """

    def __init__(
        self,
        news: News,
        count: Callable[..., None],
        lose: Callable[[str, float], None],
        overflow: Callable[[], None],
    ) -> None:
        self.outbox = Outbox()
        self._news = news
        self._count = count
        self._lose = lose
        self._overflow = overflow

    @property
    def has_room(self) -> bool:
        """Whether so little waits that more may be loaded and fill memory."""
        return self.outbox.size < BATCH_BYTES

    def take(self, now_us: int) -> Message | None:
        """The next message; our clock goes with those that tell it, as it is now."""
        message = self.outbox.take()
        if isinstance(message, Hello | Ping | Pong):
            return replace(message, now_us=now_us)
        return message

    def send(self, message: Message) -> None:
        """Put a message in line."""
        self.outbox.put(message)
        self._check()

    def send_events(self, ticket: int, model: str, events: Sequence[bytes]) -> None:
        """Put events in line that the peer is to get under `ticket`."""
        self.outbox.put_events(ticket, model, events)
        self._count(sent=len(events))
        self._check()

    def push(
        self,
        model: str,
        events: Sequence[tuple[bytes, bytes]],
        now: float,
        *,
        others: Container[bytes],
        trusted: bool,
    ) -> None:
        """Tell of news, as (id, signed event), unless the peer is known to have it.

        Of `others`, by id, a lazy link gets the names; who is not `trusted` gets all names.
        """
        news: list[tuple[bytes, bytes]] = []
        names: list[bytes] = []
        for event_id, raw in events:
            if event_id in self._news.seen:
                continue
            if not trusted or (self._news.lazy and event_id in others):
                names.append(event_id)
            else:
                news.append((event_id, raw))
        self._news.name(model, names, now)
        self.send_names(now)
        self.send_news(model, news, now)

    def send_news(self, model: str, news: Sequence[tuple[bytes, bytes]], now: float) -> None:
        """Put news in line, as (id, signed event), if there is room."""
        if not news:
            return
        if not self.outbox.put_news(model, [raw for _, raw in news]):
            self._count(dropped=len(news))
            self._lose(model, now)
            return
        self._count(sent=len(news))
        for event_id, _ in news:
            self._news.seen.add(event_id)

    def send_names(self, now: float) -> None:
        """Put the names in line that have waited long enough, if there is room."""
        for have in self._news.take_names(now):
            if not self.outbox.put_names(have):
                self._count(dropped=len(have.ids))
                self._lose(have.model, now)

    def _check(self) -> None:
        if self.outbox.is_full:
            self._overflow()
