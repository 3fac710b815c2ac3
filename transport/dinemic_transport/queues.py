"""What waits between one session and its two neighbours: the node, and the link. Both bounded.

Invariant of `Inbox`: events leave in the order they came, a batch never mixes tickets, and at most
`INBOX_BYTES_MAX` wait, beside the parts of one unfinished event. Of `Outbox`: messages leave in the
order they were put, and news takes at most `NEWS_BYTES_MAX` of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dinemic_engine.errors import TransportError
from dinemic_engine.limits import EVENT_BYTES_MAX
from dinemic_transport.jobs import IngestJob
from dinemic_transport.messages import Events, Have, Message, Part, Pong, weight
from dinemic_transport.pages import events_messages

INBOX_BYTES_MAX: Final = 8 << 20
"""What two windows and two offers bring at most; it bounds what a peer can make us hold."""

INBOX_MESSAGES_MAX: Final = 4096
BATCH_EVENTS: Final = 256

NEWS_BYTES_MAX: Final = 4 << 20
"""News a slow link may have waiting; what comes beyond it is left to a catch-up."""

OUTBOX_BYTES_MAX: Final = 32 << 20
"""Far more than all a peer may ask for at once: beyond it, the peer does not read."""


@dataclass(slots=True)
class _Batch:
    ticket: int
    model: str
    events: list[bytes]
    last: bool
    size: int


class Inbox:
    """The queue between one session and the node."""

    def __init__(self) -> None:
        self.events = 0
        """How many wait."""
        self._batches: deque[_Batch] = deque()
        self._bytes = 0
        self._parts: list[Part] = []

    def __bool__(self) -> bool:
        return bool(self._batches)

    def clear(self) -> None:
        """Drop everything."""
        self._batches.clear()
        self._parts.clear()
        self._bytes = self.events = 0

    def check_whole_untrusted(self) -> None:
        """Raise TransportError if an event is unfinished: nothing may come amid its parts."""
        if self._parts:
            raise TransportError("events amid the parts of one")

    def join_untrusted(self, part: Part) -> bytes | None:
        """The whole event if `part` was its last.

        Raises:
            TransportError: not the part that comes next, or the event is too large.
        """
        first = self._parts[0] if self._parts else part
        if part.index != len(self._parts):
            raise TransportError("a part out of its place")
        if (part.ticket, part.model, part.total) != (first.ticket, first.model, first.total):
            raise TransportError("a part of another event")
        self._parts.append(part)
        if part.index < part.total - 1:
            return None
        raw = b"".join(piece.data for piece in self._parts)
        self._parts.clear()
        if len(raw) > EVENT_BYTES_MAX:
            raise TransportError(f"an event of {len(raw)} bytes")
        return raw

    def put(self, ticket: int, model: str, events: Sequence[bytes], *, last: bool) -> bool:
        """Queue events; False if there is no room, and nothing was queued."""
        size = sum(map(len, events))
        if self._bytes + size > INBOX_BYTES_MAX or len(self._batches) >= INBOX_MESSAGES_MAX:
            return False
        tail = self._batches[-1] if self._batches else None
        if (
            tail is not None
            and (tail.ticket, tail.model) == (ticket, model)
            and (ticket == 0 or not tail.last)
            and len(tail.events) + len(events) <= BATCH_EVENTS
        ):
            tail.events += events
            tail.size += size
            tail.last = last
        elif events or ticket:
            self._batches.append(_Batch(ticket, model, list(events), last, size))
        self._bytes += size
        self.events += len(events)
        return True

    def take(self, source: bytes, events_max: int) -> IngestJob:
        """The oldest batch as a job, or so many events of it."""
        batch = self._batches[0]
        events = tuple(batch.events[:events_max])
        whole = len(events) == len(batch.events)
        if whole:
            self._batches.popleft()
        else:
            del batch.events[:events_max]
        size = sum(map(len, events))
        batch.size -= size
        self._bytes -= size
        self.events -= len(events)
        return IngestJob(source, batch.ticket, batch.model, events, whole and batch.last)


class Outbox:
    """The queue between one session and its link."""

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._news_bytes = 0
        self.size = 0
        """About how many bytes wait."""

    @property
    def has_pong(self) -> bool:
        """Whether an answer to a ping waits: one is enough for many."""
        return any(isinstance(message, Pong) for message in self._messages)

    @property
    def is_full(self) -> bool:
        """Whether more waits than a peer that reads lets gather."""
        return self.size > OUTBOX_BYTES_MAX

    def clear(self) -> None:
        """Drop everything."""
        self._messages.clear()
        self.size = self._news_bytes = 0

    def put(self, message: Message) -> None:
        """Queue a message."""
        self._messages.append(message)
        self._weigh(message, 1)

    def put_events(self, ticket: int, model: str, events: Sequence[bytes]) -> None:
        """Queue events, in as many messages as they need."""
        for message in events_messages(ticket, model, events):
            self.put(message)

    def put_news(self, model: str, events: Sequence[bytes]) -> bool:
        """Queue news; False if there is no room, and nothing was queued."""
        if self._news_bytes + sum(map(len, events)) > NEWS_BYTES_MAX:
            return False
        self.put_events(0, model, events)
        return True

    def put_names(self, have: Have) -> bool:
        """Queue names of news; False if there is no room, and nothing was queued."""
        if self._news_bytes + weight(have) > NEWS_BYTES_MAX:
            return False
        self.put(have)
        return True

    def take(self) -> Message | None:
        """The oldest message, or None."""
        if not self._messages:
            return None
        message = self._messages.popleft()
        self._weigh(message, -1)
        return message

    def _weigh(self, message: Message, sign: int) -> None:
        self.size += sign * weight(message)
        if isinstance(message, Have) or (
            isinstance(message, Events | Part) and message.ticket == 0
        ):
            self._news_bytes += sign * weight(message)
