"""What rows hold: the values of a store, packed, and nothing about their keys.

`keyspace` says which row holds which. Numbers are big-endian; what has a fixed size has no head,
and the rest is CBOR.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, Final, NamedTuple, cast

from dinemic_engine import canonical
from dinemic_engine.errors import InvalidEvent, StoreCorrupt
from dinemic_engine.ops import Policy, read_policy

_PLACE: Final = struct.Struct(">IQIQQB")
_HEAD: Final = struct.Struct(">Q32sIQQ")
HEAD_BYTES: Final = _HEAD.size
"""Of each head in an ``H`` row."""
_CHAIN: Final = struct.Struct(">IQ")
_ACT: Final = struct.Struct(">IQQ32s")
_HOLDER: Final = struct.Struct(">32sB")
_TIP: Final = struct.Struct(">Q32sQ32sII")
_ARRIVAL: Final = struct.Struct(">IQ32s")
_WRITTEN: Final = struct.Struct(">Q32sHBB")
_SEALING: Final = struct.Struct(">32sQ32sH32s32s")
_ADDED: Final = struct.Struct(">32sIB")
_U64: Final = struct.Struct(">Q")
_U32: Final = struct.Struct(">I")
_OBJECTS_REMEMBERED: Final = 4096
"""Object rows kept decoded, about 1 KiB each."""
AUTHORIZED: Final = 1
"""Flag of `Place`: the author holds the role each op of the event needs (AUTH-5)."""
REVOKED: Final = 2
"""Flag of `Place`: void, the author's grant was revoked unseen (AUTH-4)."""
CLOSED: Final = 4
"""Flag of `Place`: void, the field was closed unseen (AUTH-5)."""
VOID: Final = REVOKED | CLOSED


class Place(NamedTuple):
    """Where an admitted event lies: its object, its time, its position in the log (log.py)."""

    no: int
    t: int
    chain: int
    seq: int
    base: int
    flags: int

    def pack(self) -> bytes:
        """The value of an ``I`` row."""
        return _PLACE.pack(*self)


def unpack_place(value: bytes) -> Place:
    """The inverse of `Place.pack`."""
    return Place(*_PLACE.unpack(value))


class Act(NamedTuple):
    """An op that changes who may do what: where it lies, and by whom."""

    t: int
    event: bytes
    op: int
    no: int
    chain: int
    seq: int
    base: int
    by: bytes

    @property
    def place(self) -> Place:
        """Where its event lies."""
        return Place(self.no, self.t, self.chain, self.seq, self.base, 0)


def pack_act(place: Place, by: bytes) -> bytes:
    """The beginning of the value of a ``G``, ``K``, ``Y``, ``P`` or ``Q`` row."""
    return _ACT.pack(place.chain, place.seq, place.base, by)


def read_act(t: int, event: bytes, op: int, no: int, value: bytes) -> tuple[Act, bytes]:
    """The act in the value of such a row, whose key tells the rest; and what follows it."""
    return Act(t, event, op, no, *_ACT.unpack_from(value)), value[_ACT.size :]


class Head(NamedTuple):
    """An effective event that no effective event has in its past."""

    t: int
    id: bytes
    chain: int
    seq: int
    base: int


class Tip(NamedTuple):
    """How much has been admitted: the store's proof that nothing fell out of its middle."""

    seq: int
    digest: bytes
    """Running hash over the ``L`` rows: SHA-256(previous | value)."""
    flushed_seq: int
    flushed_digest: bytes
    """The same at the last flush known to have reached the disk when this row was written."""
    objects: int
    models: int

    def pack(self) -> bytes:
        """The value of the tip row."""
        return _TIP.pack(*self)


NOTHING: Final = Tip(0, bytes(32), 0, bytes(32), 0, 0)


def unpack_tip(value: bytes) -> Tip:
    """The inverse of `Tip.pack`.

    Raises:
        StoreCorrupt: not of its size.
    """
    if len(value) != _TIP.size:
        raise StoreCorrupt(f"a tip row of {len(value)} bytes")
    return Tip(*_TIP.unpack(value))


class ObjectRow(NamedTuple):
    """What an object's genesis fixed, and whether a REMOVE stands."""

    id: bytes
    model: str
    model_no: int
    owner: bytes
    suite: int
    sealing: bytes
    policy: Policy
    chains: int
    """Chains handed out so far (log.py)."""
    cuts: int
    """REVOKE and POLICY ops admitted so far: without any, what T1 found stays so."""
    tails: int
    """Chains that end in inert events (REC-1)."""
    withheld: int
    """Events without effect on this node: vetoed, or not yet seen by its guards (vetoes.py)."""
    hidden: bool
    """Whether the genesis is one of them."""
    removed_by: bytes
    """(t 8, id 32) of the first REMOVE in the order that has effect, or empty: there is none."""

    @property
    def is_there(self) -> bool:
        """Whether a reader sees the object: not removed, and let in by the guards."""
        return not (self.removed_by or self.hidden)

    def pack(self) -> bytes:
        """The value of an ``N`` row."""
        return canonical.encode(
            [
                self.id,
                self.model,
                self.model_no,
                self.owner,
                self.suite,
                self.sealing,
                cast("canonical.Value", self.policy.array()),
                self.chains,
                self.cuts,
                self.tails,
                self.withheld,
                self.hidden,
                self.removed_by,
            ]
        )


@lru_cache(maxsize=_OBJECTS_REMEMBERED)
def unpack_object(value: bytes) -> ObjectRow:
    """The inverse of `ObjectRow.pack`.

    Every read of a field begins here. Remembered by the row's bytes, so nothing can be out of date.

    Raises:
        StoreCorrupt: no row of ours.
    """
    try:
        fields = cast("list[Any]", canonical.decode_untrusted(value))
        fields[6] = read_policy(fields[6])
        return ObjectRow(*fields)
    except (InvalidEvent, TypeError, IndexError) as error:
        raise StoreCorrupt(f"an object row that is none: {error}") from error


class Written(NamedTuple):
    """A write to a register: its place in the order, and the value as encoded bytes."""

    t: int
    id: bytes
    op: int
    deleted: bool
    authorized: bool
    value: bytes

    @property
    def key(self) -> tuple[int, bytes, int]:
        """The order of writes: the event's K, then the op's position in the event."""
        return (self.t, self.id, self.op)


def pack_written(
    t: int, event_id: bytes, op: int, value: bytes | None, *, authorized: bool
) -> bytes:
    """The value of an ``R`` row; None: the write takes the value away."""
    return _WRITTEN.pack(t, event_id, op, value is None, authorized) + (value or b"")


def is_before(row: bytes, other: bytes) -> bool:
    """Whether the write of one ``R`` row is smaller than that of another: by t, id, op."""
    return row[:_ORDER_BYTES] < other[:_ORDER_BYTES]


def has_value(row: bytes) -> bool:
    """Whether the write of an ``R`` row gives a value, and does not delete one."""
    return not row[_ORDER_BYTES]


def value_in(row: bytes | None) -> bytes | None:
    """The encoded value that an ``R`` row gives; None: it gives none, or there is no row."""
    return row[_WRITTEN.size :] if row is not None and has_value(row) else None


_ORDER_BYTES: Final = 8 + 32 + 2


def unpack_written(value: bytes) -> Written:
    """The inverse of `pack_written`."""
    t, event_id, op, deleted, authorized = _WRITTEN.unpack_from(value)
    return Written(t, event_id, op, bool(deleted), bool(authorized), value[_WRITTEN.size :])


class Added(NamedTuple):
    """An add of a set: the hash of its value, how many effective removes name it, its effect."""

    hash: bytes
    named: int
    effective: bool

    def pack(self) -> bytes:
        """The value of an ``x`` row."""
        return _ADDED.pack(*self)


def unpack_added(value: bytes) -> Added:
    """The inverse of `Added.pack`."""
    digest, named, effective = _ADDED.unpack(value)
    return Added(digest, named, bool(effective))


class Sealing(NamedTuple):
    """The readers of an object and its newest sealing epoch, small enough to read per write.

    A sum is over SHA-256(reader's signing key), mod 2^256, the owner included: equal sums are
    equal sets of readers. The place of an epoch in the order is that of the first EPOCH that seals
    it; its recipients are those of all of them. Without an epoch all but the readers is zero, which
    a commitment may be too: ask `t`, for no EPOCH is dated 0.
    """

    readers: bytes
    t: int
    id: bytes
    op: int
    commit: bytes
    recipients: bytes

    def pack(self) -> bytes:
        """The value of an ``S`` row."""
        return _SEALING.pack(*self)


def unpack_sealing(value: bytes) -> Sealing:
    """The inverse of `Sealing.pack`."""
    return Sealing(*_SEALING.unpack(value))


def pack_arrival(no: int, t: int, event_id: bytes) -> bytes:
    """The value of an ``L`` row."""
    return _ARRIVAL.pack(no, t, event_id)


def unpack_arrival(value: bytes) -> tuple[int, int, bytes]:
    """(no, t, id) of an ``L`` row.

    Raises:
        StoreCorrupt: not of its size.
    """
    if len(value) != _ARRIVAL.size:
        raise StoreCorrupt(f"an arrival row of {len(value)} bytes")
    no, t, event_id = _ARRIVAL.unpack(value)
    return no, t, event_id


def pack_order(t: int, event_id: bytes) -> bytes:
    """The value of a ``J`` row."""
    return t.to_bytes(8, "big") + event_id


def unpack_order(value: bytes) -> tuple[int, bytes]:
    """(t, id) of a ``J`` row, or the end of an ``X`` key."""
    return int.from_bytes(value[-40:-32], "big"), value[-32:]


def pack_u32(number: int) -> bytes:
    """A 4-byte value."""
    return _U32.pack(number)


def unpack_u32(value: bytes) -> int:
    """The inverse of `pack_u32`."""
    return int(_U32.unpack(value)[0])


def pack_tally(count: int, total: int = 0) -> bytes:
    """The value of a ``t`` row."""
    size = (total.bit_length() + 8) // 8 if total else 0
    return _U64.pack(count) + total.to_bytes(size, "big", signed=True)


def unpack_tally(value: bytes | None) -> tuple[int, int]:
    """(count, sum) of a ``t`` row; no row is nothing counted."""
    if value is None:
        return 0, 0
    return int.from_bytes(value[:8], "big"), int.from_bytes(value[8:], "big", signed=True)


def pack_chains(chains: Iterable[tuple[int, int]]) -> bytes:
    """The value of a ``C`` or ``V`` row: (chain, seq) pairs."""
    return b"".join([_CHAIN.pack(chain, seq) for chain, seq in chains])


def unpack_chains(value: bytes) -> Iterator[tuple[int, int]]:
    """The inverse of `pack_chains`."""
    return _CHAIN.iter_unpack(value)


def pack_position(chain: int, seq: int) -> bytes:
    """Where an event lies on a chain: the value of a ``W`` row, and of a ``C`` row of one chain."""
    return _CHAIN.pack(chain, seq)


def unpack_position(value: bytes) -> tuple[int, int]:
    """The inverse of `pack_position`."""
    chain, seq = _CHAIN.unpack(value)
    return chain, seq


def pack_holder(subject: bytes, suite: int, sealing: bytes) -> bytes:
    """The value of a ``D`` row, and the end of that of a ``G`` row."""
    return _HOLDER.pack(subject, suite) + sealing


def unpack_holder(value: bytes) -> tuple[bytes, int, bytes]:
    """The inverse of `pack_holder`."""
    subject, suite = _HOLDER.unpack_from(value)
    return subject, suite, value[_HOLDER.size :]


pack_head: Final = _HEAD.pack
"""One head of an ``H`` row, from the fields of a `Head`."""


def pack_heads(heads: Iterable[Head]) -> bytes:
    """The value of an ``H`` row."""
    return b"".join([pack_head(*head) for head in heads])


def is_only_head(value: bytes, event_id: bytes) -> bool:
    """Whether an ``H`` row tells of that head and no other."""
    return len(value) == _HEAD.size and value[8:40] == event_id


def head_ids(value: bytes | None) -> list[bytes]:
    """The ids of the heads in an ``H`` row."""
    if value is None or len(value) == _HEAD.size:
        return [value[8:40]] if value else []
    return [value[at + 8 : at + 40] for at in range(0, len(value), _HEAD.size)]


def unpack_heads(value: bytes) -> list[Head]:
    """The inverse of `pack_heads`."""
    return [Head(*fields) for fields in _HEAD.iter_unpack(value)]
