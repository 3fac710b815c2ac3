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
| ``T`` model 4, t 8, id 32              | the reconciled set of a model (REC-1): empty if it |
|                                        | has effect, ``v`` if not                           |
| ``F`` model 4                          | sums over it (REC-2) and its heads: see `Totals`   |
| ``f`` model 4, level 1, t 8, id 0..32  | `Sums` of a block, at its end (blocks.py)          |
| ``o`` model 4                          | where the blocks of each level end: see `Edge`     |
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
from typing import Final

from dinemic_engine.store.layout import Act, pack_order, read_act

LAYOUT: Final = b"2"
FORMAT_KEY: Final = b"mformat"
TIP_KEY: Final = b"mtip"
_CHAIN: Final = struct.Struct(">IQ")
_U32: Final = struct.Struct(">I")
_NO_T_ID: Final = struct.Struct(">cIQ32s")
_OP_TAIL: Final = struct.Struct(">Q32sH")
_MADE: Final = struct.Struct(">32sH")
_ELEMENT: Final = struct.Struct(">32sHH")
_DELIVERY: Final = struct.Struct(">IQ")


def chain_and_seq(value: bytes) -> bytes:
    """Chain 4, seq 8 of an ``I`` row, which names the event in rows of its object."""
    return value[12:24]


def arrival_key(seq: int) -> bytes:
    """The ``L`` key of the event admitted as number `seq`, counting from 1."""
    return b"L" + seq.to_bytes(8, "big")


def event_key(no: int, t: int, event_id: bytes) -> bytes:
    """The ``E`` key of an event."""
    return _NO_T_ID.pack(b"E", no, t, event_id)


def range_key(model_no: int, t: int, event_id: bytes) -> bytes:
    """The ``T`` key of an event, or of a bound whose id is a prefix."""
    return range_prefix(model_no) + pack_bound((t, event_id))


def range_prefix(model_no: int) -> bytes:
    """What all ``T`` keys of a model begin with; a packed bound or t | id goes on."""
    return b"T" + _U32.pack(model_no)


def range_key_order(key: bytes) -> tuple[int, bytes]:
    """(t, id) of a ``T`` key."""
    return int.from_bytes(key[5:13], "big"), key[13:]


def pack_bound(bound: tuple[int, bytes]) -> bytes:
    """A limit in the order, t 8 | prefix of an id, as keys have it."""
    return bound[0].to_bytes(8, "big") + bound[1]


def blocks_prefix(model_no: int, level: int) -> bytes:
    """What all ``f`` keys of a level of blocks begin with."""
    return b"f" + _U32.pack(model_no) + bytes((level,))


def block_key(model_no: int, level: int, bound: bytes) -> bytes:
    """The ``f`` key of the block that ends at a packed bound."""
    return blocks_prefix(model_no, level) + bound


def edges_key(model_no: int) -> bytes:
    """The ``o`` key of a model."""
    return b"o" + _U32.pack(model_no)


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


def unpack_act(key: bytes, value: bytes) -> tuple[Act, bytes]:
    """The act of a ``G``, ``K``, ``Y``, ``P`` or ``Q`` row, and what follows it in the value."""
    t, event_id, op = write_key_order(key)
    return read_act(t, event_id, op, int.from_bytes(key[1:5], "big"), value)


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
