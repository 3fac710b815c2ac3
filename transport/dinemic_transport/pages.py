"""What is too much for one frame, cut into messages: events, and rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from dinemic_engine.limits import MODELS_PER_HELLO_MAX
from dinemic_engine.ranges import FINGERPRINT_BYTES
from dinemic_transport.messages import (
    EVENTS_PER_MESSAGE_MAX,
    PART_BYTES,
    Events,
    Message,
    Part,
    Row,
)

_EVENT_HEAD_BYTES: Final = 5
_ROWS_BYTES_MAX: Final = 32 << 10


def events_messages(ticket: int, model: str, events: Iterable[bytes]) -> Iterator[Message]:
    """`events` as messages that fit frames, in order; the last message is marked `last`.

    With no events it is one empty message, which still ends its ticket.
    """
    batch: list[bytes] = []
    size = 0
    for raw in events:
        large = len(raw) > PART_BYTES
        cost = len(raw) + _EVENT_HEAD_BYTES
        if batch and (large or size + cost > PART_BYTES or len(batch) == EVENTS_PER_MESSAGE_MAX):
            yield Events(ticket, model, tuple(batch), last=False)
            batch, size = [], 0
        if large:
            total = -(-len(raw) // PART_BYTES)
            for index in range(total):
                data = raw[index * PART_BYTES : (index + 1) * PART_BYTES]
                yield Part(ticket, model, index, total, data)
        else:
            batch.append(raw)
            size += cost
    yield Events(ticket, model, tuple(batch))


def rows_pages(rows: Iterable[Row]) -> list[tuple[Row, ...]]:
    """`rows` cut so that each page fits a message; at least one page."""
    pages: list[tuple[Row, ...]] = []
    page: list[Row] = []
    size = 0
    for row in rows:
        cost = len(row.model) + 2 * FINGERPRINT_BYTES + 16
        if size + cost > _ROWS_BYTES_MAX or len(page) == MODELS_PER_HELLO_MAX:
            pages.append(tuple(page))
            page, size = [], 0
        page.append(row)
        size += cost
    return [*pages, tuple(page)]
