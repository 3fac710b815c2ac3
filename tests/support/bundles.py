"""Bundles for tests: of events as they are, and with anything wrong that a file can have."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence

from dinemic_engine import bundle
from dinemic_engine.event import Event

SUM_BYTES = 32


def by_object(events: Iterable[Event]) -> list[list[Event]]:
    """Events as a bundle holds them: objects as they first come, each in the order of (t, id)."""
    found: dict[bytes, list[Event]] = {}
    for event in events:
        found.setdefault(event.object, []).append(event)
    return [sorted(each, key=lambda event: (event.t, event.id)) for each in found.values()]


def bundle_of(objects: Iterable[Iterable[Event | bytes]]) -> bytes:
    """The bundle of events, or bytes in their place, object by object."""
    out = io.BytesIO()
    raws = [
        [each.raw if isinstance(each, Event) else each for each in events] for events in objects
    ]
    bundle.write(out, raws)
    return out.getvalue()


def summed(body: bytes) -> bytes:
    """A bundle that was changed and got the sum that fits."""
    return body + hashlib.sha256(body).digest()


def moved(events: Sequence[Event], at: int, to: int) -> list[Event]:
    """The events with one of them at another place."""
    rest = [*events[:at], *events[at + 1 :]]
    return [*rest[:to], events[at], *rest[to:]]
