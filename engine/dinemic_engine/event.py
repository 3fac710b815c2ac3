"""Events and their bytes: signing, and opening by everything bytes can show (EV-1 .. EV-9).

An event is an untagged COSE_Sign1 (RFC 9052 section 4.2) in deterministic CBOR:

    84                        array(4)
      43 a10127               protected  { 1: -8 }  (alg: EdDSA)
      a0                      unprotected {}
      5x.. payload            bstr, see below
      5840 signature          bstr(64)

Signed, and hashed into the event id, is the Sig_structure

    84 6a "Signature1" 43 a10127 4f "dinemic/event/1" 5x.. payload

and the payload is ``[1, object | null, author, t, parents, ops]``. Everything but the payload is
constant, so opening the envelope is a comparison and not a parse.

Signed together with others, an event has a path to what was signed in its unprotected header
(`batches`), and the same id:

      a1 3a00010000 58.. path         unprotected { -65537: path }
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, cast

from dinemic_engine import batches, canonical, limits
from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.edits import ListInsert, Set, only_edits
from dinemic_engine.errors import LimitExceeded, Malformed, Reason
from dinemic_engine.ids import AuthorId, EventId, ObjectId
from dinemic_engine.keys import SigningKey, verify
from dinemic_engine.ops import Create, Epoch, Grant, Op, SetPolicy, read_op


@dataclass(frozen=True, slots=True)
class Event:
    """One signed transaction on one object. `raw` is the whole COSE_Sign1."""

    id: EventId
    object: ObjectId
    author: AuthorId
    t: int
    parents: tuple[EventId, ...]
    ops: tuple[Op, ...]
    raw: bytes

    def __hash__(self) -> int:  # the values in ops need not be hashable
        return hash(self.id)

    @property
    def is_genesis(self) -> bool:
        """Whether this event begins its object (EV-5)."""
        return not self.parents


# -- envelope -----------------------------------------------------------------------------------

_HEAD: Final = bytes.fromhex("84 43a10127 a0")
_HEAD_WITH_PATH: Final = bytes.fromhex("84 43a10127 a1 3a00010000 58")
_SIGNED_HEAD: Final = b"\x84\x6aSignature1" + bytes.fromhex("43a10127") + b"\x4fdinemic/event/1"
_SIGNATURE_HEAD: Final = b"\x58\x40"
_TAIL_BYTES: Final = 2 + 64


class Envelope(NamedTuple):
    """The parts of a COSE_Sign1 of ours; the signature is not yet checked."""

    id: EventId
    payload: bytes
    signed: bytes
    """What an event signed alone has signed, and what every id is the hash of."""
    signature: bytes
    raw: bytes
    path: bytes = b""
    """To what was signed, for an event signed together with others (EV-10)."""


def open_envelope_untrusted(raw: bytes) -> Envelope:
    """Split signed bytes and name them, without decoding the payload or checking the signature.

    Raises:
        LimitExceeded: longer than EVENT_BYTES_MAX.
        Malformed: neither of our two forms of an untagged COSE_Sign1.
    """
    _check_size(raw)
    path, begin = b"", len(_HEAD)
    if not raw.startswith(_HEAD):
        path = _path(raw)
        begin = len(_HEAD_WITH_PATH) + 1 + len(path)
    tail = len(raw) - _TAIL_BYTES
    if tail < begin + 2 or raw[tail : tail + 2] != _SIGNATURE_HEAD:
        raise Malformed(Reason.ENVELOPE, "no signature where one ends")
    body = raw[begin:tail]
    start = _payload_start(body)
    signed = _SIGNED_HEAD + body
    return Envelope(_event_id(signed), body[start:], signed, raw[tail + 2 :], raw, path)


def _path(raw: bytes) -> bytes:
    if not raw.startswith(_HEAD_WITH_PATH):
        raise Malformed(Reason.ENVELOPE, "not an untagged COSE_Sign1 with alg EdDSA")
    begin = len(_HEAD_WITH_PATH) + 1
    size = int.from_bytes(raw[begin - 1 : begin])
    path = raw[begin : begin + size]
    if len(path) < size or not batches.is_path_untrusted(path):
        raise Malformed(Reason.ENVELOPE, f"a path of {size} bytes")
    return path


def _check_size(raw: bytes) -> None:
    if len(raw) > limits.EVENT_BYTES_MAX:
        raise LimitExceeded(Reason.TOO_LARGE, f"{len(raw)} bytes")


def _event_id(signed: bytes) -> EventId:
    """The hash of exactly what is signed (EV-2)."""
    return EventId(hashlib.sha256(signed).digest())


def _payload_start(body: bytes) -> int:
    """Offset of the content in an encoded byte string that must fill `body` exactly."""
    size = len(body)
    first = body[0]
    if first == 0x58:
        start, length, least = 2, body[1], 24
    elif first == 0x59:
        start, length, least = 3, int.from_bytes(body[1:3], "big"), 1 << 8
    elif first == 0x5A:
        start, length, least = 5, int.from_bytes(body[1:5], "big"), 1 << 16
    else:  # a payload holds two 32-byte fields: never as short as 23, never as long as 2^32
        raise Malformed(Reason.ENVELOPE, "payload is no byte string of a possible length")
    if length < least or start + length != size:
        raise Malformed(Reason.ENVELOPE, "payload length is wrong or not minimal")
    return start


# -- opening ------------------------------------------------------------------------------------


def open_event_untrusted(raw: bytes) -> Event:
    """Signed bytes from anywhere, checked by everything bytes alone can show (T0).

    Raises:
        InvalidEvent: the kind and `reason` say which rule; the sender is to blame.
    """
    return read_event_untrusted(open_envelope_untrusted(raw))


def read_event_untrusted(envelope: Envelope, *, verified: bool = False) -> Event:
    """The event in an envelope; the signature is checked last because it costs most.

    With `verified` the signature is taken as good: for bytes this node checked before it stored
    them, never for bytes from outside.
    """
    payload = canonical.decode_untrusted(envelope.payload, depth_max=limits.PAYLOAD_DEPTH_MAX)
    event = _event(envelope.id, payload, envelope.raw)
    if not verified:
        if envelope.path:
            batches.verify_in_batch(event.author, event.id, envelope.path, envelope.signature)
        else:
            verify(event.author, envelope.signature, envelope.signed)
    return event


def _event(event_id: EventId, payload: Value, raw: bytes) -> Event:
    """The event whose payload decodes to `payload`, if that has the shape of one (EV-3)."""
    if not isinstance(payload, list) or not payload:
        raise Malformed(Reason.SHAPE, "payload is not an array of six")
    if type(payload[0]) is not int or payload[0] != limits.EVENT_VERSION:
        raise Malformed(Reason.VERSION, f"version {payload[0]!r:.40}")
    if len(payload) != 6:
        raise Malformed(Reason.SHAPE, "payload is not an array of six")
    _, object_id, author, t, parents, ops = payload
    if type(author) is not bytes or len(author) != 32:
        raise Malformed(Reason.SHAPE, "author is not 32 bytes")
    if type(t) is not int or not 0 <= t <= limits.T_US_MAX:
        raise Malformed(Reason.TIME_RANGE, "t is not an unsigned 63-bit integer")
    parent_ids = _parents(parents)
    if object_id is None:
        if parent_ids:
            raise Malformed(Reason.GENESIS, "no object, but parents")
        object_id = event_id
    elif type(object_id) is not bytes or len(object_id) != 32:
        raise Malformed(Reason.SHAPE, "object is neither null nor 32 bytes")
    elif not parent_ids:
        raise Malformed(Reason.PARENT_LIST, "an event on an object needs a parent")
    if not isinstance(ops, list) or not ops:
        raise Malformed(Reason.SHAPE, "ops is not an array of at least one")
    if len(ops) > limits.OPS_MAX:
        raise LimitExceeded(Reason.TOO_MANY, f"{len(ops)} ops")
    read_ops = tuple([read_op(op) for op in ops])
    _check_places(read_ops, is_genesis=not parent_ids)
    return Event(
        event_id,
        ObjectId(object_id),
        AuthorId(author),
        t,
        parent_ids,
        read_ops,
        raw,
    )


def _parents(parents: object) -> tuple[EventId, ...]:
    if not isinstance(parents, list):
        raise Malformed(Reason.PARENT_LIST, "parents is not an array")
    if len(parents) > limits.PARENTS_MAX:
        raise LimitExceeded(Reason.TOO_MANY, f"{len(parents)} parents")
    previous = b""
    for parent in parents:
        if type(parent) is not bytes or len(parent) != 32 or parent <= previous:
            raise Malformed(Reason.PARENT_LIST, "parents are not sorted unique 32-byte ids")
        previous = parent
    return tuple(parents)


def _check_places(ops: Sequence[Op], *, is_genesis: bool) -> None:
    """CREATE first in a genesis and nowhere else; a genesis holds nothing that names its own id."""
    if is_genesis:
        if type(ops[0]) is not Create:
            raise Malformed(Reason.GENESIS, "a genesis begins with CREATE")
        for op in ops[1:]:
            if type(op) not in (Grant, Set):
                raise Malformed(Reason.GENESIS, "a genesis holds CREATE, then GRANT and SET only")
            if type(op) is Set and type(op.value) is Sealed:
                raise Malformed(Reason.GENESIS, "nothing is sealed before the object has an id")
        return
    if only_edits(ops):
        return
    for op in ops:
        if type(op) is Create:
            raise Malformed(Reason.GENESIS, "CREATE outside of a genesis")
    if sum(type(op) is SetPolicy for op in ops) > 1:
        raise Malformed(Reason.SHAPE, "one event changes the policy once")
    commits = [op.commit for op in ops if type(op) is Epoch]
    if len(set(commits)) < len(commits):
        raise Malformed(Reason.SHAPE, "one event seals an epoch once")


# -- signing ------------------------------------------------------------------------------------


def sign_event(
    key: SigningKey,
    object_id: ObjectId | None,
    t: int,
    parents: Sequence[EventId],
    ops: Sequence[Op],
) -> Event:
    """A new event by the holder of `key`; `object_id` is None for a genesis.

    What is signed has passed the same checks a receiver makes, so a caller's mistake surfaces
    here and never as a refusal elsewhere. Spelling is not checked again: `encode` just chose it.

    Raises:
        InvalidEvent: the ops break a rule of the format.
    """
    parts: list[Value] = [
        limits.EVENT_VERSION,
        object_id,
        key.public,
        t,
        cast("Value", sorted(parents)),
        cast("Value", [op.fields() for op in ops]),
    ]
    only = ops[0] if len(ops) == 1 else None
    is_plain = only is not None and _is_plain(only)  # nearly every event
    if is_plain:
        payload = canonical.encode_checked(parts)
    else:
        payload = canonical.encode(parts, depth_max=limits.PAYLOAD_DEPTH_MAX)
    body = _bstr_head(len(payload)) + payload
    signed = _SIGNED_HEAD + body
    raw = _HEAD + body + _SIGNATURE_HEAD + key.sign(signed)
    _check_size(raw)
    # What the caller could still change is read back.
    return _event(_event_id(signed), parts if is_plain else canonical.decode(payload), raw)


def sign_together(key: SigningKey, events: Sequence[bytes]) -> list[bytes]:
    """The same events of the holder of `key`, under one signature (EV-10).

    `events` are signed ones: 2, 4, 8, ... of them, at most ``2**BATCH_LEVELS_MAX``.

    Raises:
        InvalidEvent: one has no envelope, or would be too large.
        ValueError: not such a number of them.
    """
    envelopes = [open_envelope_untrusted(raw) for raw in events]
    signature, paths = batches.sign_batch(key, [each.id for each in envelopes])
    signed = [
        b"".join(
            (
                *(_HEAD_WITH_PATH, bytes((len(path),)), path),
                *(each.signed[len(_SIGNED_HEAD) :], _SIGNATURE_HEAD, signature),
            )
        )
        for each, path in zip(envelopes, paths, strict=True)
    ]
    for raw in signed:
        _check_size(raw)
    return signed


_PLAIN: Final = frozenset({str, bytes, bool, type(None)})
"""Types of which every instance is a value, and none can be changed."""


def _is_plain(op: Op) -> bool:
    """Whether an op sets or inserts one value of such a type."""
    if type(op) is Set:
        return type(op.value) in _PLAIN
    return (
        type(op) is ListInsert
        and type(op.values) is list
        and len(op.values) == 1
        and type(op.values[0]) in _PLAIN
    )


def _bstr_head(length: int) -> bytes:
    if length < 1 << 8:
        return bytes((0x58, length))
    if length < 1 << 16:
        return b"\x59" + length.to_bytes(2, "big")
    return b"\x5a" + length.to_bytes(4, "big")
