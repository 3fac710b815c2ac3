r"""Every row of a store: its key, its value, and nothing about when it is written.

Keys begin with one letter. Numbers are big-endian, so keys sort as the numbers do. An object's
rows carry its local number ``no`` (4 bytes, given at admission, never on the wire) and not its
32-byte id, which halves the store.

| key                                    | value                                              |
|----------------------------------------|----------------------------------------------------|
| ``m`` ``format``                       | layout number of this table                        |
| ``m`` ``tip``                          | see `Tip`                                          |
| ``L`` seq 8                            | no, t, id: the events in order of arrival          |
| ``E`` no, t 8, id 32                   | the signed event; key order is replay order        |
| ``I`` id                               | where an event lies: see `Place`                   |
| ``T`` model 4, t 8, id 32              | empty: the reconciled set of a model (REC-1)       |
| ``F`` model 4                          | fingerprints of it (REC-2), of all: see `Sums`     |
| ``M`` name                             | model number 4                                     |
| ``O`` id                               | no 4                                               |
| ``N`` no                               | see `ObjectRow`                                    |
| ``B`` name ``\0`` object id            | no 4: objects by model                             |
| ``H`` no                               | effective heads: t, id, chain, seq, base of each   |
| ``C`` no, author 32                    | the author's chains: (chain 4, tip seq 8)...       |
| ``V`` no, chain 4, seq 8               | a version vector: (chain 4, seq 8)...  (log.py)    |
| ``R`` no, stored key                   | the winning write of a register: see `Written`     |
| ``W`` no, stored key ``\0`` t, id, op 2 | chain 4, seq 8: every effective write of it         |
| ``X`` no, t, id                        | empty: the effective REMOVEs                       |
| ``J`` no, chain 4, seq 8               | t, id: the events of a chain                       |
| ``U`` no, chain 4                      | seq 8: where the chain's inert end begins          |
| ``G`` no, author 32, role 1, t, id, op | a grant: `Act`, subject 32, suite 1, sealing key   |
| ``K`` no, author 32, role 1, t, id, op | a revocation: `Act`                                |
| ``k`` no, chain 4, seq 8, op 2         | rest of a ``K`` key: ends of read and admin roles  |
| ``Y`` no, t, id, op                    | a change of policy: `Act`, the policy              |
| ``D`` no, role 1, author 32            | who holds a role now: subject 32, suite, key       |
| ``P`` no, commit 32, t, id, op         | an EPOCH: `Act`                                    |
| ``Q`` no, who 32, commit 32, t, id, op | who has its key: `Act`, 1 (recipient) or 0 (maker) |
| ``v`` no, t, id                        | a veto of this node: guard, reason                  |
| ``w`` no, t, id                        | empty: an event that this node's guards must see    |
| ``y`` no, stored key ``\0`` t, id, op 2 | chain 4, seq 8: every void write of it              |
| ``A`` no, commit 32, who 32            | empty: who has the key and perhaps may not read    |
| ``Z`` no, t, id, op                    | commit 32, recipients' sum 32: the epochs in force, |
|                                        | each at the first effective EPOCH that seals it    |
| ``d`` no, stored key ``\0``             | a list: root 4, next node 4, elements 8            |
| ``d`` no, stored key ``\0`` number 4    | a node of its tree (types/counted_tree.py)         |
| ``b`` no, stored key ``\0`` chain, seq, | up to 64 elements that one op inserted             |
| op 2, number 2                         | (types/runs.py)                                    |
| ``i`` no, stored key ``\0`` element 16, | (id 32, chain 4, seq 8, op 2)...: what was inserted |
| side 1                                 | on one side of an element, where that is several   |
| ``e`` no, stored key ``\0`` id, op, at 2 | the winning LIST_SET of an element: see `Written` |
| ``h`` no, stored key ``\0`` id, op, at,  | chain 4, seq 8: every effective LIST_SET of it     |
| t, id, op                              |                                                    |
| ``S`` no                               | readers' sum and the newest epoch: see `Sealing`   |
| ``r`` no, stored key ``\0`` key         | the winning write of a dict entry: see `Written`   |
| ``s`` no, stored key ``\0`` size 2 of   | chain 4, seq 8: every effective write of it        |
| key, key, t, id, op                    |                                                    |
| ``t`` no, stored key                   | how many values a dict or set has, 8; or: how many |
|                                        | plain adds a counter has, 8, and their sum, signed |
| ``u`` no, stored key ``\0`` t, id, op   | empty: the effective sealed adds of a counter      |
| ``x`` no, stored key ``\0`` id, op      | an add of a set, effective or not: see `Added`     |
| ``z`` no, stored key ``\0`` hash 32,    | the value it puts in: the effective adds of a set  |
| id, op                                 | that no effective remove names                     |
| ``c`` model ``\0`` stored key          | empty: an index is kept of this register           |
| ``q`` model 4, stored key ``\0``        | empty: an object that shows a value there, by the  |
| hash 16, no                            | first 16 bytes of the value's SHA-256              |
| ``l`` listener 4                       | a listener after-callbacks are called for          |
| ``n`` listener 4, seq 8                | a change it was not yet told of                    |
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, Final, NamedTuple, cast

from dinemic_engine import canonical
from dinemic_engine.errors import InvalidEvent, StoreCorrupt
from dinemic_engine.ops import Policy, read_policy

LAYOUT: Final = b"1"
FORMAT_KEY: Final = b"mformat"
TIP_KEY: Final = b"mtip"

_PLACE: Final = struct.Struct(">IQIQQB")
_HEAD: Final = struct.Struct(">Q32sIQQ")
_CHAIN: Final = struct.Struct(">IQ")
_ACT: Final = struct.Struct(">IQQ32s")
_HOLDER: Final = struct.Struct(">32sB")
_TIP: Final = struct.Struct(">Q32sQ32sII")
_ARRIVAL: Final = struct.Struct(">IQ32s")
_WRITTEN: Final = struct.Struct(">Q32sHBB")
_SEALING: Final = struct.Struct(">32sQ32sH32s32s")
_SUMS: Final = struct.Struct(">Q32sQ32s")
_ADDED: Final = struct.Struct(">32sIB")
_U64: Final = struct.Struct(">Q")
_U32: Final = struct.Struct(">I")
_NO_T_ID: Final = struct.Struct(">cIQ32s")
_OP_TAIL: Final = struct.Struct(">Q32sH")
_MADE: Final = struct.Struct(">32sH")
_ELEMENT: Final = struct.Struct(">32sHH")
_DELIVERY: Final = struct.Struct(">IQ")

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


def chain_and_seq(value: bytes) -> bytes:
    """Chain 4, seq 8 of an ``I`` row, which names the event in rows of its object."""
    return value[12:24]


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


def unpack_act(key: bytes, value: bytes) -> tuple[Act, bytes]:
    """The act of such a row, and what follows it in the value."""
    t, event_id, op = write_key_order(key)
    no = int.from_bytes(key[1:5], "big")
    return Act(t, event_id, op, no, *_ACT.unpack_from(value)), value[_ACT.size :]


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

    def pack(self) -> bytes:
        """The value of an ``R`` row."""
        return _WRITTEN.pack(self.t, self.id, self.op, self.deleted, self.authorized) + self.value


def unpack_written(value: bytes) -> Written:
    """The inverse of `Written.pack`."""
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
    it; its recipients are those of all of them.
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


# -- keys ---------------------------------------------------------------------------------------


def arrival_key(seq: int) -> bytes:
    """The ``L`` key of the event admitted as number `seq`, counting from 1."""
    return b"L" + seq.to_bytes(8, "big")


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


def event_key(no: int, t: int, event_id: bytes) -> bytes:
    """The ``E`` key of an event."""
    return _NO_T_ID.pack(b"E", no, t, event_id)


def range_key(model_no: int, t: int, event_id: bytes) -> bytes:
    """The ``T`` key of an event, or of a bound whose id is a prefix."""
    return b"T" + _U32.pack(model_no) + t.to_bytes(8, "big") + event_id


def range_key_order(key: bytes) -> tuple[int, bytes]:
    """(t, id) of a ``T`` key."""
    return int.from_bytes(key[5:13], "big"), key[13:]


def place_key(event_id: bytes) -> bytes:
    """The ``I`` key of an event."""
    return b"I" + event_id


def fingerprint_key(model_no: int) -> bytes:
    """The ``F`` key of a model."""
    return b"F" + _U32.pack(model_no)


def model_key(name: str) -> bytes:
    """The ``M`` key of a model."""
    return b"M" + name.encode("ascii")


def object_key(object_id: bytes) -> bytes:
    """The ``O`` key of an object."""
    return b"O" + object_id


def object_row_key(no: int) -> bytes:
    """The ``N`` key of an object."""
    return b"N" + _U32.pack(no)


def by_model_key(model: str, object_id: bytes) -> bytes:
    """The ``B`` key of an object."""
    return b"B" + model.encode("ascii") + b"\0" + object_id


def heads_key(no: int) -> bytes:
    """The ``H`` key of an object."""
    return b"H" + _U32.pack(no)


def chains_key(no: int, author: bytes) -> bytes:
    """The ``C`` key of an author in an object."""
    return b"C" + _U32.pack(no) + author


def vector_key(no: int, chain: int, seq: int) -> bytes:
    """The ``V`` key of a vector."""
    return b"V" + _U32.pack(no) + _CHAIN.pack(chain, seq)


def register_key(no: int, stored: bytes) -> bytes:
    """The ``R`` key of a stored key such as ``value_name``."""
    return b"R" + _U32.pack(no) + stored


def writes_prefix(no: int, stored: bytes) -> bytes:
    """What all ``W`` keys of a stored key begin with."""
    return b"W" + _U32.pack(no) + stored + b"\0"


def write_key(no: int, stored: bytes, t: int, event_id: bytes, op: int) -> bytes:
    """The ``W`` key of one write."""
    return write_below(writes_prefix(no, stored), t, event_id, op)


def write_below(prefix: bytes, t: int, event_id: bytes, op: int) -> bytes:
    """The key of one write below the prefix of all writes of its slot."""
    return prefix + _OP_TAIL.pack(t, event_id, op)


def write_key_order(key: bytes) -> tuple[int, bytes, int]:
    """(t, id, op) at the end of a ``W``, ``s``, ``u``, ``G`` or ``P`` key."""
    t, event_id, op = _OP_TAIL.unpack(key[-_OP_TAIL.size :])
    return t, event_id, op


def entries_prefix(no: int, stored: bytes) -> bytes:
    """What all ``r`` keys of a dict begin with."""
    return b"r" + _U32.pack(no) + stored + b"\0"


def entry_key(no: int, stored: bytes, key: bytes) -> bytes:
    """The ``r`` key of a dict entry; `key` is its key in UTF-8."""
    return entries_prefix(no, stored) + key


def entry_writes_prefix(no: int, stored: bytes, key: bytes) -> bytes:
    """What all ``s`` keys of a dict entry begin with, and no other's: the key's size is in it."""
    return b"s" + _U32.pack(no) + stored + b"\0" + len(key).to_bytes(2, "big") + key


def tally_key(no: int, stored: bytes) -> bytes:
    """The ``t`` key of a dict, set or counter."""
    return b"t" + _U32.pack(no) + stored


def sealed_adds_prefix(no: int, stored: bytes) -> bytes:
    """What all ``u`` keys of a counter begin with."""
    return b"u" + _U32.pack(no) + stored + b"\0"


def add_key(no: int, stored: bytes, event_id: bytes, op: int) -> bytes:
    """The ``x`` key of an add of a set."""
    return b"x" + _U32.pack(no) + stored + b"\0" + _MADE.pack(event_id, op)


def members_prefix(no: int, stored: bytes, digest: bytes = b"") -> bytes:
    """What all ``z`` keys of a set begin with; of one value if its hash is given."""
    return b"z" + _U32.pack(no) + stored + b"\0" + digest


def member_key(no: int, stored: bytes, digest: bytes, event_id: bytes, op: int) -> bytes:
    """The ``z`` key of an add that stands."""
    return members_prefix(no, stored, digest) + _MADE.pack(event_id, op)


def member_of(key: bytes) -> tuple[bytes, bytes, int]:
    """(hash of the value, event, op) of a ``z`` key."""
    return key[-66:-34], key[-34:-2], int.from_bytes(key[-2:], "big")


def acts_prefix(letter: bytes, no: int, author: bytes, role: int) -> bytes:
    """What all ``G`` (grant) or ``K`` (revocation) keys of a role of an author begin with."""
    return letter + _U32.pack(no) + author + bytes((role,))


def act_subject(key: bytes) -> tuple[bytes, int]:
    """(author, role) of a ``G`` or ``K`` key."""
    return key[5:37], key[37]


def act_key(prefix: bytes, t: int, event_id: bytes, op: int) -> bytes:
    """The key of one act below `prefix`."""
    return prefix + _OP_TAIL.pack(t, event_id, op)


def end_key(no: int, chain: int, seq: int, op: int = 0) -> bytes:
    """The ``k`` key of the revocation in op number `op` of the event at (`chain`, `seq`)."""
    return b"k" + _U32.pack(no) + _CHAIN.pack(chain, seq) + op.to_bytes(2, "big")


def end_chain(key: bytes) -> int:
    """The chain in a ``k`` key."""
    return int.from_bytes(key[5:9], "big")


def holder_key(no: int, role: int, author: bytes) -> bytes:
    """The ``D`` key of a role of an author."""
    return b"D" + _U32.pack(no) + bytes((role,)) + author


def having_prefix(no: int, who: bytes, commit: bytes = b"") -> bytes:
    """What all ``Q`` keys of somebody who has keys begin with; of one commitment if given."""
    return b"Q" + _U32.pack(no) + who + commit


def having_commit(key: bytes) -> bytes:
    """The commitment in a ``Q`` key."""
    return key[37:69]


def list_prefix(letter: bytes, no: int, stored: bytes) -> bytes:
    """What all ``d``, ``b``, ``i``, ``e`` or ``h`` keys of a list begin with."""
    return letter + _U32.pack(no) + stored + b"\0"


def element_tail(event_id: bytes, op: int, at: int) -> bytes:
    """How an element is told in ``e`` and ``h`` keys."""
    return _ELEMENT.pack(event_id, op, at)


def index_key(model: str, stored: str) -> bytes:
    """The ``c`` key of an index."""
    return b"c" + model.encode("ascii") + b"\0" + stored.encode("ascii")


def indexed_prefix(model_no: int, stored: bytes) -> bytes:
    """What all ``q`` keys of an index begin with."""
    return b"q" + _U32.pack(model_no) + stored + b"\0"


def veto_key(no: int, t: int, event_id: bytes) -> bytes:
    """The ``v`` key of an event."""
    return _NO_T_ID.pack(b"v", no, t, event_id)


def waiting_key(no: int, t: int, event_id: bytes) -> bytes:
    """The ``w`` key of an event."""
    return _NO_T_ID.pack(b"w", no, t, event_id)


def void_writes_prefix(no: int, stored: bytes) -> bytes:
    """What all ``y`` keys of a stored key begin with."""
    return b"y" + _U32.pack(no) + stored + b"\0"


LISTENERS_PREFIX: Final = b"l"
DELIVERIES_PREFIX: Final = b"n"


def listener_key(number: int) -> bytes:
    """The ``l`` key of a listener."""
    return LISTENERS_PREFIX + _U32.pack(number)


def deliveries_prefix(number: int) -> bytes:
    """What all ``n`` keys of a listener begin with."""
    return DELIVERIES_PREFIX + _U32.pack(number)


def delivery_key(number: int, seq: int) -> bytes:
    """The ``n`` key of a change that waits for a listener."""
    return DELIVERIES_PREFIX + _DELIVERY.pack(number, seq)


def delivery_order(key: bytes) -> tuple[int, int]:
    """(listener, seq) of an ``n`` key."""
    number, seq = _DELIVERY.unpack_from(key, 1)
    return number, seq


def doubts_prefix(no: int, commit: bytes, who: bytes = b"") -> bytes:
    """What all ``A`` keys of a commitment begin with; with `who` the whole key."""
    return b"A" + _U32.pack(no) + commit + who


def chain_key(no: int, chain: int, seq: int) -> bytes:
    """The ``J`` key of an event."""
    return b"J" + _U32.pack(no) + _CHAIN.pack(chain, seq)


def pack_order(t: int, event_id: bytes) -> bytes:
    """The value of a ``J`` row."""
    return t.to_bytes(8, "big") + event_id


def unpack_order(value: bytes) -> tuple[int, bytes]:
    """(t, id) of a ``J`` row, or the end of an ``X`` key."""
    return int.from_bytes(value[-40:-32], "big"), value[-32:]


def tail_key(no: int, chain: int) -> bytes:
    """The ``U`` key of a chain."""
    return b"U" + _U32.pack(no) + _U32.pack(chain)


def remove_key(no: int, t: int, event_id: bytes) -> bytes:
    """The ``X`` key of a REMOVE."""
    return b"X" + _U32.pack(no) + pack_order(t, event_id)


def epochs_prefix(no: int, commit: bytes) -> bytes:
    """What all ``P`` keys of one commitment begin with."""
    return b"P" + _U32.pack(no) + commit


def sealing_key(no: int) -> bytes:
    """The ``S`` key of an object."""
    return b"S" + _U32.pack(no)


def of_object(letter: bytes, no: int) -> bytes:
    """What all keys of one letter in one object begin with."""
    return letter + _U32.pack(no)


def after(prefix: bytes) -> bytes:
    """The first key that is above every key beginning with `prefix`."""
    for index in range(len(prefix) - 1, -1, -1):
        if prefix[index] != 0xFF:
            return prefix[:index] + bytes((prefix[index] + 1,))
    raise ValueError("no key is above a prefix of 0xff bytes only")


# -- small values -------------------------------------------------------------------------------


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


class Sums(NamedTuple):
    """Count and sum of a model's reconciled events (ranges.py), and of those with effect."""

    events: int
    total: int
    effective: int
    effective_total: int

    def pack(self) -> bytes:
        """The value of an ``F`` row."""
        total, effective_total = (
            total.to_bytes(32, "big") for total in (self.total, self.effective_total)
        )
        return _SUMS.pack(self.events, total, self.effective, effective_total)


NO_SUMS: Final = Sums(0, 0, 0, 0)


def add_to_sums(value: bytes | None, term: int, by: int, effective_by: int) -> bytes:
    """An ``F`` row after `by` events more that add `term`, of which `effective_by` have effect.

    Every write goes through here; `Sums` says what the parts are.
    """
    events, total, effective, effective_total = _SUMS.unpack(value or _NO_SUMS)
    if by:
        total = ((int.from_bytes(total, "big") + by * term) % _MODULUS).to_bytes(32, "big")
    if effective_by:
        number = int.from_bytes(effective_total, "big") + effective_by * term
        effective_total = (number % _MODULUS).to_bytes(32, "big")
    return _SUMS.pack(events + by, total, effective + effective_by, effective_total)


_MODULUS: Final = 1 << 256
_NO_SUMS: Final = NO_SUMS.pack()


def unpack_sums(value: bytes | None) -> Sums:
    """The inverse of `Sums.pack`; no row is no event."""
    if value is None:
        return NO_SUMS
    count, total, effective_count, effective = _SUMS.unpack(value)
    return Sums(
        count, int.from_bytes(total, "big"), effective_count, int.from_bytes(effective, "big")
    )


def pack_chains(chains: Iterable[tuple[int, int]]) -> bytes:
    """The value of a ``C`` or ``V`` row: (chain, seq) pairs."""
    return b"".join([_CHAIN.pack(chain, seq) for chain, seq in chains])


def unpack_chains(value: bytes) -> Iterator[tuple[int, int]]:
    """The inverse of `pack_chains`."""
    return _CHAIN.iter_unpack(value)


def pack_write_place(chain: int, seq: int) -> bytes:
    """The value of a ``W`` row."""
    return _CHAIN.pack(chain, seq)


def unpack_write_place(value: bytes) -> tuple[int, int]:
    """The inverse of `pack_write_place`."""
    chain, seq = _CHAIN.unpack(value)
    return chain, seq


def pack_holder(subject: bytes, suite: int, sealing: bytes) -> bytes:
    """The value of a ``D`` row, and the end of that of a ``G`` row."""
    return _HOLDER.pack(subject, suite) + sealing


def unpack_holder(value: bytes) -> tuple[bytes, int, bytes]:
    """The inverse of `pack_holder`."""
    subject, suite = _HOLDER.unpack_from(value)
    return subject, suite, value[_HOLDER.size :]


def pack_heads(heads: Iterable[Head]) -> bytes:
    """The value of an ``H`` row."""
    return b"".join([_HEAD.pack(*head) for head in heads])


def is_only_head(value: bytes, event_id: bytes) -> bool:
    """Whether an ``H`` row tells of that head and no other."""
    return len(value) == _HEAD.size and value[8:40] == event_id


def unpack_heads(value: bytes) -> list[Head]:
    """The inverse of `pack_heads`."""
    return [Head(*fields) for fields in _HEAD.iter_unpack(value)]
