"""T0: an event out of its bytes, or the rules of section 1 that they break.

    raw -> envelope (EV-1) -> payload: CBOR (EV-6, EV-8) -> six parts (EV-3) -> ops -> signature,
    of the event or, where a path leads there, of the root above it (EV-10)

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
_ALONE: Final = bytes.fromhex("8443a10127a0")
_TOGETHER: Final = bytes.fromhex("8443a10127a13a00010000")


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


@dataclass(frozen=True)
class _Envelope:
    """What an envelope holds."""

    path: bytes | None
    """From the id to the root of what was signed together; of an event signed alone, None."""
    payload: bytes
    signature: bytes


@lru_cache(maxsize=10_000)
def open_event(raw: bytes) -> Event | frozenset[str]:
    """The event, or the rules its bytes break. Nothing but the bytes matters, so it is kept."""
    if len(raw) > EVENT_BYTES_MAX:
        return frozenset(["EV-7/size"])
    envelope = _open_envelope(raw)
    if envelope is None:
        return frozenset(["EV-1/envelope"])
    # A value is in an op, in the ops, in the payload.
    value, broken = read(envelope.payload, 3 + DEPTH_MAX)
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
    content = _signed_form(b"dinemic/event/1", envelope.payload)
    event_id = hashlib.sha256(content).digest()
    if isinstance(author, bytes) and len(author) == 32:
        signed = content
        if envelope.path is not None:
            signed = _signed_form(b"dinemic/batch/1", _root(event_id, envelope.path))
        if not is_proper(author):
            shapes.broken.add("EV-9/key")
        elif not is_signed(author, envelope.signature, signed):
            shapes.broken.add("EV-9/signature")
    if shapes.broken:
        return frozenset(shapes.broken)
    return Event(event_id, obj or event_id, author, t, tuple(parents), tuple(ops))  # type: ignore[arg-type]  # their shapes are right


def _signed_form(context: bytes, payload: bytes) -> bytes:
    """The Sig_structure: what is signed (EV-1, EV-10)."""
    return b"\x84\x6aSignature1\x43\xa1\x01\x27" + write(context) + write(payload)


def _root(event_id: bytes, path: bytes) -> bytes:
    """Where a path leads from an event (EV-10)."""
    position, node = path[0], event_id
    for height, at in enumerate(range(1, len(path), 32)):
        sibling = path[at : at + 32]
        pair = sibling + node if position >> height & 1 else node + sibling
        node = hashlib.sha256(b"\x01" + pair).digest()
    return node


def _open_envelope(raw: bytes) -> _Envelope | None:
    """What is in the envelope, if all about it is as it must be (EV-1, EV-10)."""
    reader = Reader(raw)
    path = None
    try:
        if raw.startswith(_TOGETHER):
            reader.take(len(_TOGETHER))
            found = reader.item()
            if not isinstance(found, bytes) or not _is_path(found):
                return None
            path = found
        elif reader.take(len(_ALONE)) != _ALONE:
            return None
        payload = reader.item()
        signature = reader.item()
    except Lost:
        return None
    if reader.broken or reader.left():
        return None
    if not isinstance(payload, bytes) or not isinstance(signature, bytes):
        return None
    if len(payload) < 24 or len(signature) != 64:
        return None
    return _Envelope(path, payload, signature)


def _is_path(path: bytes) -> bool:
    """Whether it is a position, below 2^k, and k hashes; k from 1 to 7."""
    return len(path) in range(33, 226, 32) and path[0] < 1 << len(path) // 32
