"""What an event can do to its object: one class per op kind, and how each is written and read.

An op is a CBOR array that begins with its kind. The numbers are fixed by docs/format.md. Here are
those about the object and who may do what with it; those that change a field are in `edits`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from dinemic_engine import edits, keys, limits
from dinemic_engine.edits import Edit, check_field_name
from dinemic_engine.errors import LimitExceeded, Malformed, Reason
from dinemic_engine.ids import AuthorId, ObjectId, is_model_name
from dinemic_engine.keys import check_sealing_public_untrusted, check_signing_public_untrusted

CREATE: Final = 1
GRANT: Final = 12
REVOKE: Final = 13
POLICY: Final = 14
EPOCH: Final = 15
REMOVE: Final = 16

READ: Final = 1
UPDATE: Final = 2
ADMIN: Final = 3
ROLES: Final = {READ: "read", UPDATE: "update", ADMIN: "admin"}

SUITE_X25519: Final = keys.SUITE_X25519
SUITE_HYBRID: Final = keys.SUITE_HYBRID
SEALED_KEY_BYTES: Final = {SUITE_X25519: 32 + 32 + 16, SUITE_HYBRID: 1088 + 32 + 32 + 16}
"""What HPKE makes of an epoch key: the encapsulated key (ML-KEM-768, X25519), 32 bytes, the tag."""

RECIPIENTS_MAX: Final = {
    SUITE_X25519: limits.RECIPIENTS_MAX,
    SUITE_HYBRID: limits.HYBRID_RECIPIENTS_MAX,
}


@dataclass(frozen=True, slots=True)
class Policy:
    """Who may change fields without a grant: nobody (closed) or anybody (open), per field."""

    is_open: bool = False
    fields: tuple[tuple[str, bool], ...] = ()
    """Exceptions by field name, sorted: True is open."""

    def array(self) -> list[object]:
        """The CBOR array: ``[open, {field: open}]``."""
        return [self.is_open, dict(self.fields)]

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
        sealing = [self.suite, self.sealing]
        return [CREATE, self.model, sealing, self.policy.array()]


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
class Revoke:
    """End every grant of a role to a signing key that is in this event's past (AUTH-2)."""

    role: int
    signing: AuthorId

    def fields(self) -> list[object]:
        """The CBOR array: ``[13, role, signing key]``."""
        return [REVOKE, self.role, self.signing]


@dataclass(frozen=True, slots=True)
class SetPolicy:
    """Put another access policy in place of the one before (AUTH-5)."""

    policy: Policy

    def fields(self) -> list[object]:
        """The CBOR array: ``[14, [open, {field: open}]]``."""
        return [POLICY, self.policy.array()]


@dataclass(frozen=True, slots=True)
class Epoch:
    """A sealing key, sealed for readers (SEAL-1): a new one, or one of before for more of them."""

    suite: int
    commit: bytes
    recipients: tuple[tuple[AuthorId, bytes], ...]
    """(reader's signing key, epoch key sealed to the reader's sealing key), sorted by reader."""

    def fields(self) -> list[object]:
        """The CBOR array: ``[15, suite, commit, [[reader, sealed]...]]``."""
        return [
            EPOCH,
            self.suite,
            self.commit,
            [list(recipient) for recipient in self.recipients],
        ]


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove the whole object (AUTH-6)."""

    def fields(self) -> list[object]:
        """The CBOR array: ``[16]``."""
        return [REMOVE]


Op: TypeAlias = Create | Edit | Grant | Revoke | SetPolicy | Epoch | Remove

# -- reading -------------------------------------------------------------------------------------


def read_op(op: object) -> Op:
    """One op from decoded CBOR.

    Raises:
        InvalidEvent: no op of this version.
    """
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


def _read_create(op: list[object]) -> Op:
    model, sealing, policy = op[1:]
    if type(model) is not str or not is_model_name(model):
        raise Malformed(Reason.NAME, "a model name is an ASCII identifier of at most 128 bytes")
    suite, public = _read_sealing(sealing)
    return Create(model, suite, public, read_policy(policy))


def read_policy(policy: object) -> Policy:
    """A policy from decoded CBOR.

    Raises:
        InvalidEvent: not ``[open, {field: open}]``.
    """
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
    suite = _read_suite(suite)
    if type(public) is not bytes:
        raise Malformed(Reason.SHAPE, "a sealing key is bytes")
    check_sealing_public_untrusted(public, suite)
    return suite, public


def _read_suite(suite: object) -> int:
    if type(suite) is not int or suite not in SEALED_KEY_BYTES:
        raise Malformed(Reason.SHAPE, f"unknown sealing suite {suite!r:.40}")
    return suite


def _read_grant(op: list[object]) -> Op:
    role, subject, signing, sealing = op[1:]
    role = _read_role(role)
    if type(subject) is not bytes or len(subject) != 32:
        raise Malformed(Reason.SHAPE, "the subject of a grant is an object id")
    if type(signing) is not bytes:
        raise Malformed(Reason.SHAPE, "a signing key is bytes")
    check_signing_public_untrusted(signing)
    suite, public = _read_sealing(sealing)
    return Grant(role, ObjectId(subject), AuthorId(signing), suite, public)


def _read_revoke(op: list[object]) -> Op:
    role, signing = op[1:]
    if type(signing) is not bytes or len(signing) != 32:
        raise Malformed(Reason.SHAPE, "a signing key is 32 bytes")
    return Revoke(_read_role(role), AuthorId(signing))


def _read_role(role: object) -> int:
    if type(role) is not int or role not in ROLES:
        raise Malformed(Reason.SHAPE, f"unknown role {role!r:.40}")
    return role


def _read_set_policy(op: list[object]) -> Op:
    return SetPolicy(read_policy(op[1]))


def _read_epoch(op: list[object]) -> Op:
    suite, commit, recipients = op[1:]
    suite = _read_suite(suite)
    if type(commit) is not bytes or len(commit) != 32:
        raise Malformed(Reason.SHAPE, "an epoch's commitment is 32 bytes")
    return Epoch(suite, commit, _read_recipients(suite, recipients))


def _read_recipients(suite: int, pairs: object) -> tuple[tuple[AuthorId, bytes], ...]:
    """``[[signing key, sealed epoch key]...]``, sorted and unique by the first."""
    if not isinstance(pairs, list) or not pairs:
        raise Malformed(Reason.SHAPE, "recipients is not an array of at least one")
    if len(pairs) > RECIPIENTS_MAX[suite]:
        raise LimitExceeded(Reason.TOO_MANY, f"{len(pairs)} recipients")
    previous = b""
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2:
            raise Malformed(Reason.SHAPE, "recipients holds pairs")
        reader, sealed = pair
        if type(reader) is not bytes or len(reader) != 32 or reader <= previous:
            raise Malformed(Reason.SHAPE, "recipients is not sorted and unique")
        if type(sealed) is not bytes or len(sealed) != SEALED_KEY_BYTES[suite]:
            raise Malformed(Reason.SHAPE, f"a sealed key is {SEALED_KEY_BYTES[suite]} bytes")
        previous = reader
    return tuple((AuthorId(reader), sealed) for reader, sealed in pairs)


def _read_remove(op: list[object]) -> Op:
    return Remove()


_READERS: Final[dict[int, tuple[int, Callable[[list[object]], Op]]]] = {
    CREATE: (4, _read_create),
    **edits.READERS,
    GRANT: (5, _read_grant),
    REVOKE: (3, _read_revoke),
    POLICY: (2, _read_set_policy),
    EPOCH: (4, _read_epoch),
    REMOVE: (1, _read_remove),
}
