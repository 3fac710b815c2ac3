"""Events and their bytes: signing, opening, and the shape of every op (EV-1 .. EV-9).

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
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias, cast

from dinemic_engine import canonical, limits
from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.errors import LimitExceeded, Malformed, Reason
from dinemic_engine.ids import AuthorId, EventId, ObjectId, is_model_name
from dinemic_engine.keys import (
    SigningKey,
    check_sealing_public_untrusted,
    check_signing_public_untrusted,
    verify,
)

# -- op kinds: numbers fixed by docs/format.md; those of the table that are missing here are refused

CREATE: Final = 1
SET: Final = 2
DELETE: Final = 3
GRANT: Final = 12
EPOCH: Final = 15
REMOVE: Final = 16

READ: Final = 1
UPDATE: Final = 2
ADMIN: Final = 3
ROLES: Final = {READ: "read", UPDATE: "update", ADMIN: "admin"}

SUITE_X25519: Final = 1
"""DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305 (RFC 9180)."""
ENCAPSULATED_KEY_BYTES: Final = 32 + 32 + 16
"""HPKE's encapsulated X25519 key, the 32-byte epoch key and the tag."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Who may change fields without a grant: nobody (closed) or anybody (open), per field."""

    is_open: bool = False
    fields: tuple[tuple[str, bool], ...] = ()
    """Exceptions by field name, sorted: True is open."""

    def opens(self, field: str) -> bool:
        """Whether a stranger may change `field` (AUTH-5)."""
        for name, is_open in self.fields:
            if name == field:
                return is_open
        return self.is_open


@dataclass(frozen=True, slots=True)
class Create:
    """The first op of a genesis: model, sealing key of the object, access policy."""

    model: str
    suite: int
    sealing: bytes
    policy: Policy

    def fields(self) -> list[object]:
        """The CBOR array: ``[1, model, [suite, key], [open, {field: open}]]``."""
        policy = [self.policy.is_open, dict(self.policy.fields)]
        return [CREATE, self.model, [self.suite, self.sealing], policy]


@dataclass(frozen=True, slots=True)
class Set:
    """Give a field a value."""

    field: str
    value: Value

    def fields(self) -> list[object]:
        """The CBOR array: ``[2, field, value]``."""
        return [SET, self.field, self.value]


@dataclass(frozen=True, slots=True)
class Delete:
    """Take a field's value away."""

    field: str

    def fields(self) -> list[object]:
        """The CBOR array: ``[3, field]``."""
        return [DELETE, self.field]


@dataclass(frozen=True, slots=True)
class Grant:
    """Give an object a role on this one (AUTH-2)."""

    role: int
    subject: ObjectId
    signing: AuthorId
    suite: int
    sealing: bytes

    def fields(self) -> list[object]:
        """The CBOR array: ``[12, role, subject, signing key, [suite, sealing key]]``."""
        return [GRANT, self.role, self.subject, self.signing, [self.suite, self.sealing]]


@dataclass(frozen=True, slots=True)
class Epoch:
    """A new sealing key, sealed for each reader (SEAL-1)."""

    suite: int
    commit: bytes
    recipients: tuple[tuple[AuthorId, bytes], ...]
    """(reader's signing key, epoch key sealed to the reader's sealing key), sorted by reader."""
    links: tuple[tuple[bytes, bytes], ...] = ()
    """(commitment of an older epoch, its key sealed under this one), sorted."""

    def fields(self) -> list[object]:
        """The CBOR array: ``[15, suite, commit, [[reader, sealed]...], [[older, sealed]...]]``."""
        return [
            EPOCH,
            self.suite,
            self.commit,
            [list(recipient) for recipient in self.recipients],
            [list(link) for link in self.links],
        ]


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove the whole object (AUTH-6)."""

    def fields(self) -> list[object]:
        """The CBOR array: ``[16]``."""
        return [REMOVE]


Op: TypeAlias = Create | Set | Delete | Grant | Epoch | Remove


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

    @property
    def is_genesis(self) -> bool:
        """Whether this event begins its object (EV-5)."""
        return not self.parents


# -- envelope -----------------------------------------------------------------------------------

_HEAD: Final = bytes.fromhex("84 43a10127 a0")
_SIGNED_HEAD: Final = b"\x84\x6aSignature1" + bytes.fromhex("43a10127") + b"\x4fdinemic/event/1"
_SIGNATURE_HEAD: Final = b"\x58\x40"
_TAIL_BYTES: Final = 2 + 64


class Envelope(NamedTuple):
    """The three parts of a COSE_Sign1 of ours; the signature is not yet checked."""

    id: EventId
    payload: bytes
    signed: bytes
    signature: bytes
    raw: bytes


def open_envelope_untrusted(raw: bytes) -> Envelope:
    """Split signed bytes and name them, without decoding the payload or checking the signature.

    Raises:
        LimitExceeded: longer than EVENT_BYTES_MAX.
        Malformed: not our one form of an untagged COSE_Sign1.
    """
    _check_size(raw)
    tail = len(raw) - _TAIL_BYTES
    if not raw.startswith(_HEAD) or tail < 8 or raw[tail : tail + 2] != _SIGNATURE_HEAD:
        raise Malformed(Reason.ENVELOPE, "not an untagged COSE_Sign1 with alg EdDSA")
    body = raw[6:tail]
    start = _payload_start(body)
    signed = _SIGNED_HEAD + body
    return Envelope(_event_id(signed), body[start:], signed, raw[tail + 2 :], raw)


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
    read_ops = tuple([_read_op(op) for op in ops])
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
    for op in ops:
        if type(op) is Create:
            raise Malformed(Reason.GENESIS, "CREATE outside of a genesis")


# -- ops ----------------------------------------------------------------------------------------

_NAME_CHARACTERS: Final = frozenset(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"
)


def check_field_name(name: object) -> str:
    """`name` if it can name a field: 1..128 of ``[A-Za-z0-9_.-]`` (EV-7).

    Raises:
        Malformed: it cannot.
    """
    if type(name) is not str or not 0 < len(name) <= limits.NAME_BYTES_MAX:
        raise Malformed(Reason.NAME, f"a field name is 1..{limits.NAME_BYTES_MAX} characters")
    if not _NAME_CHARACTERS.issuperset(name):
        raise Malformed(Reason.NAME, f"only letters, digits and _.- can name a field: {name!r}")
    return name


def _read_op(op: object) -> Op:
    if not isinstance(op, list) or not op:
        raise Malformed(Reason.SHAPE, "an op is an array that begins with its kind")
    kind = op[0]
    reader = _READERS.get(kind) if type(kind) is int else None
    if reader is None:
        raise Malformed(Reason.SHAPE, f"unknown op kind {kind!r:.40}")
    length, read = reader
    if len(op) != length:
        raise Malformed(Reason.SHAPE, f"op kind {kind} has {length} elements, not {len(op)}")
    return read(op)


def _read_set(op: list[object]) -> Op:
    value = cast("Value", op[2])
    if type(value) is list or type(value) is dict:
        _check_no_sealed_inside(value)
    return Set(check_field_name(op[1]), value)


def _check_no_sealed_inside(value: Value) -> None:
    """Only a whole value can be sealed (EV-6)."""
    if isinstance(value, Sealed):
        raise Malformed(Reason.VALUE, "a sealed value inside another value")
    if isinstance(value, list):
        for item in value:
            _check_no_sealed_inside(item)
    elif isinstance(value, dict):
        for item in value.values():
            _check_no_sealed_inside(item)


def _read_delete(op: list[object]) -> Op:
    return Delete(check_field_name(op[1]))


def _read_create(op: list[object]) -> Op:
    model, sealing, policy = op[1:]
    if type(model) is not str or not is_model_name(model):
        raise Malformed(Reason.NAME, "a model name is an ASCII identifier of at most 128 bytes")
    suite, public = _read_sealing(sealing)
    return Create(model, suite, public, _read_policy(policy))


def _read_policy(policy: object) -> Policy:
    if not isinstance(policy, list) or len(policy) != 2:
        raise Malformed(Reason.SHAPE, "a policy is [open, {field: open}]")
    is_open, fields = policy
    if type(is_open) is not bool or type(fields) is not dict:
        raise Malformed(Reason.SHAPE, "a policy is [open, {field: open}]")
    if len(fields) > limits.POLICY_FIELDS_MAX:
        raise LimitExceeded(Reason.TOO_MANY, f"{len(fields)} fields in a policy")
    rules: list[tuple[str, bool]] = []
    for name, rule in fields.items():
        if type(rule) is not bool:
            raise Malformed(Reason.SHAPE, "a field's rule is true (open) or false (closed)")
        rules.append((check_field_name(name), rule))
    return Policy(is_open, tuple(sorted(rules)))


def _read_sealing(sealing: object) -> tuple[int, bytes]:
    if not isinstance(sealing, list) or len(sealing) != 2:
        raise Malformed(Reason.SHAPE, "a sealing key is [suite, key]")
    suite, public = sealing
    if type(suite) is not int or suite != SUITE_X25519:
        raise Malformed(Reason.SHAPE, f"unknown sealing suite {suite!r:.40}")
    if type(public) is not bytes:
        raise Malformed(Reason.SHAPE, "a sealing key is bytes")
    check_sealing_public_untrusted(public)
    return suite, public


def _read_grant(op: list[object]) -> Op:
    role, subject, signing, sealing = op[1:]
    if type(role) is not int or role not in ROLES:
        raise Malformed(Reason.SHAPE, f"unknown role {role!r:.40}")
    if type(subject) is not bytes or len(subject) != 32:
        raise Malformed(Reason.SHAPE, "the subject of a grant is an object id")
    if type(signing) is not bytes:
        raise Malformed(Reason.SHAPE, "a signing key is bytes")
    check_signing_public_untrusted(signing)
    suite, public = _read_sealing(sealing)
    return Grant(role, ObjectId(subject), AuthorId(signing), suite, public)


def _read_epoch(op: list[object]) -> Op:
    suite, commit, recipients, links = op[1:]
    if type(suite) is not int or suite != SUITE_X25519:
        raise Malformed(Reason.SHAPE, f"unknown sealing suite {suite!r:.40}")
    if type(commit) is not bytes or len(commit) != 32:
        raise Malformed(Reason.SHAPE, "an epoch's commitment is 32 bytes")
    readers = _read_pairs(recipients, limits.RECIPIENTS_MAX, ENCAPSULATED_KEY_BYTES, "recipients")
    if not readers:
        raise Malformed(Reason.SHAPE, "an epoch without recipients")
    older = _read_pairs(links, limits.LINKS_MAX, 32 + 16, "links")
    return Epoch(suite, commit, cast("tuple[tuple[AuthorId, bytes], ...]", readers), older)


def _read_pairs(
    pairs: object, count_max: int, sealed_bytes: int, what: str
) -> tuple[tuple[bytes, bytes], ...]:
    """``[[32 bytes, sealed_bytes bytes]...]``, sorted and unique by the first."""
    if not isinstance(pairs, list):
        raise Malformed(Reason.SHAPE, f"{what} is not an array")
    if len(pairs) > count_max:
        raise LimitExceeded(Reason.TOO_MANY, f"{len(pairs)} {what}")
    previous = b""
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2:
            raise Malformed(Reason.SHAPE, f"{what} holds pairs")
        name, sealed = pair
        if type(name) is not bytes or len(name) != 32 or name <= previous:
            raise Malformed(Reason.SHAPE, f"{what} is not sorted and unique")
        if type(sealed) is not bytes or len(sealed) != sealed_bytes:
            raise Malformed(Reason.SHAPE, f"a sealed key in {what} is {sealed_bytes} bytes")
        previous = name
    return tuple((name, sealed) for name, sealed in pairs)


def _read_remove(op: list[object]) -> Op:
    return Remove()


_READERS: Final[dict[int, tuple[int, Callable[[list[object]], Op]]]] = {
    CREATE: (4, _read_create),
    SET: (3, _read_set),
    DELETE: (2, _read_delete),
    GRANT: (5, _read_grant),
    EPOCH: (5, _read_epoch),
    REMOVE: (1, _read_remove),
}


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
    payload = canonical.encode(
        [
            limits.EVENT_VERSION,
            object_id,
            key.public,
            t,
            sorted(parents),
            cast("Value", [op.fields() for op in ops]),
        ],
        depth_max=limits.PAYLOAD_DEPTH_MAX,
    )
    body = _bstr_head(len(payload)) + payload
    signed = _SIGNED_HEAD + body
    raw = _HEAD + body + _SIGNATURE_HEAD + key.sign(signed)
    _check_size(raw)
    return _event(_event_id(signed), canonical.decode(payload), raw)


def _bstr_head(length: int) -> bytes:
    if length < 1 << 8:
        return bytes((0x58, length))
    if length < 1 << 16:
        return b"\x59" + length.to_bytes(2, "big")
    return b"\x5a" + length.to_bytes(4, "big")
