"""T0: an event out of its bytes, or the rules of section 1 that they break.

    raw -> envelope (EV-1) -> payload: CBOR (EV-6, EV-8) -> six parts (EV-3) -> ops -> signature

A step looks at what the one before it found, so where bytes break a rule early, nothing is said of
what is further in. Within a step every rule that is broken is named.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from reference.keys import is_proper, is_signed
from reference.shapes import SHAPE, OpArray, Shapes
from reference.spelling import DEPTH_MAX, Lost, Reader, read, write

EVENT_BYTES_MAX: Final = 1_048_576
_START: Final = bytes.fromhex("8443a10127a0")


@dataclass(frozen=True, eq=False)
class Event:
    """What an event says. Its genesis is the event whose id is `object`."""

    id: bytes
    object: bytes
    author: bytes
    t: int
    parents: tuple[bytes, ...]
    ops: tuple[OpArray, ...]

    @property
    def key(self) -> tuple[int, bytes]:
        """Its place in the order (ORD-3)."""
        return self.t, self.id


@lru_cache(maxsize=10_000)
def open_event(raw: bytes) -> Event | frozenset[str]:
    """The event, or the rules its bytes break. Nothing but the bytes matters, so it is kept."""
    if len(raw) > EVENT_BYTES_MAX:
        return frozenset(["EV-7/size"])
    parts = _open_envelope(raw)
    if parts is None:
        return frozenset(["EV-1/envelope"])
    payload, signature = parts
    value, broken = read(payload, 3 + DEPTH_MAX)  # a value is in an op, in the ops, in the payload
    if isinstance(value, list) and value and (type(value[0]), value[0]) != (int, 1):
        broken.add("EV-3/version")
    if broken:
        return frozenset(broken)
    match value:
        case [_, obj, author, t, parents, ops]:
            shapes = Shapes()
            shapes.payload(obj, author, t, parents, ops)
        case _:
            return frozenset([SHAPE])
    signed = b"\x84\x6aSignature1\x43\xa1\x01\x27" + write(b"dinemic/event/1") + write(payload)
    if isinstance(author, bytes) and len(author) == 32:
        if not is_proper(author):
            shapes.broken.add("EV-9/key")
        elif not is_signed(author, signature, signed):
            shapes.broken.add("EV-9/signature")
    if shapes.broken:
        return frozenset(shapes.broken)
    event_id = hashlib.sha256(signed).digest()
    return Event(event_id, obj or event_id, author, t, tuple(parents), tuple(ops))  # type: ignore[arg-type]  # their shapes are right


def _open_envelope(raw: bytes) -> tuple[bytes, bytes] | None:
    """(payload, signature), if all about them is as it must be (EV-1)."""
    reader = Reader(raw)
    try:
        start = reader.take(6)
        payload = reader.item()
        signature = reader.item()
    except Lost:
        return None
    if reader.broken or reader.left() or start != _START:
        return None
    if not isinstance(payload, bytes) or not isinstance(signature, bytes):
        return None
    return (payload, signature) if len(payload) >= 24 and len(signature) == 64 else None
