r"""One object's log as a graph: where an event lies in it, its heads, and who is in whose past.

Every judgement of the protocol asks one question again and again: *is x in the past of e?* Walking
parents answers it in time that grows with the log. Version vectors answer it with a look-up.

Each author's events form a *chain*: an event extends its author's chain when the chain's last
event is in its past, else (a restored backup, a key on two machines) it starts another. Inside a
chain everything earlier is in the past of everything later, so an event's past is completely told
by one number per chain, its *vector*:

    chain 0 (owner)   1 --- 2 --- 3 ------- 4          vector of 4:  {0: 4, 1: 2}
                       \               /
    chain 1 (chief)     1 --------- 2                  vector of 2:  {0: 1, 1: 2}

    x is in past(e) or is e   <=>   vector(e)[x.chain] >= x.seq

A vector changes only where another chain comes in, so most events store none: a place holds
``base``, the seq of the last event of its chain that did (0: none, the vector is its own seq).
One author writing alone therefore costs no vector at all, and a merge costs as many entries as the
object has chains, which is the number of its writers and not of its events.

Chain numbers are local to a node and never leave it. Invariant: the admitted events are closed
under parents, and t grows along every edge (I-02).

Source of the idea: version vectors (Parker et al. 1983), chain decomposition of a partial order
(Jagadish 1990).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dinemic_engine.errors import BrokenChain, Reason, StoreCorrupt
from dinemic_engine.event import Event, open_envelope_untrusted, read_event_untrusted
from dinemic_engine.ids import AuthorId, short
from dinemic_engine.store import keyspace, layout
from dinemic_engine.store.layout import VOID, Head, ObjectRow, Place
from dinemic_engine.store.overlay import Overlay, Readable


class Placement(NamedTuple):
    """What admitting an event would make of the log."""

    place: Place
    chains: int
    """Chains of the object afterwards."""
    rows: dict[bytes, bytes | None]
    """The log's own rows: chains and, where it is news, the vector."""
    follows: bool = False
    """Whether it has one parent, and that is the end of its author's only chain.

    So its past is the parent's and the parent; and it is new here, for an event that is here lies
    on a chain of its author, beyond its parent.
    """


def place(
    rows: Readable, no: int, event: Event, parents: Sequence[Place], chains: int
) -> Placement:
    """An event's place in the log of object number `no`, which has `chains` chains so far.

    `parents` are the places of `event.parents`, in that order, all of them admitted.

    Raises:
        BrokenChain: a parent belongs to another object (ORD-1) or is not older (ORD-2).
    """
    for parent, parent_id in zip(parents, event.parents, strict=True):
        if parent.no != no:
            raise BrokenChain(Reason.WRONG_OBJECT, f"parent {short(parent_id)}")
        if parent.t >= event.t:
            raise BrokenChain(Reason.CLOCK, f"t is not above that of parent {short(parent_id)}")
    own_key = keyspace.chains_key(no, event.author)
    own_value = rows.get(own_key)
    if len(parents) == 1:
        chain, seq, base = parents[0].chain, parents[0].seq, parents[0].base
        if own_value == layout.pack_position(chain, seq):  # the end of the author's only chain
            return Placement(
                Place(no, event.t, chain, seq + 1, base, 0),
                chains,
                {
                    own_key: layout.pack_position(chain, seq + 1),
                    keyspace.chain_key(no, chain, seq + 1): layout.pack_order(event.t, event.id),
                },
                follows=True,
            )
    own = list(layout.unpack_chains(own_value)) if own_value else []
    extended = _extendable(rows, own, parents)
    if extended is None:
        chain, seq, base = chains, 1, 0
        chains += 1
        own.append((chain, seq))
    else:
        index, before = extended
        chain, seq, base = before.chain, before.seq + 1, before.base
        own[index] = (chain, seq)
    news = [
        parent
        for parent in parents
        if parent.chain != chain and seen(rows, no, chain, base, parent.chain) < parent.seq
    ]
    changed: dict[bytes, bytes | None] = {}
    if news:
        merged = vector(rows, no, chain, base)
        for parent in news:
            _merge(merged, vector(rows, no, parent.chain, parent.base))
            _merge(merged, {parent.chain: parent.seq})
        merged.pop(chain, None)
        base = seq
        changed[keyspace.vector_key(no, chain, base)] = layout.pack_chains(merged.items())
    changed[own_key] = layout.pack_chains(own)
    changed[keyspace.chain_key(no, chain, seq)] = layout.pack_order(event.t, event.id)
    return Placement(Place(no, event.t, chain, seq, base, 0), chains, changed)


def _extendable(
    rows: Readable, own: list[tuple[int, int]], parents: Sequence[Place]
) -> tuple[int, Place] | None:
    """The author's chain whose last event is in the past of the parents, and that event's place.

    Only chain, seq and base of the answer are used by the caller. Where the event is no parent
    itself, base is 0, for the parent that has it in its past has seen all that it had seen.
    """
    for index, (chain, tip) in enumerate(own):
        for parent in parents:
            if parent.chain == chain:
                if parent.seq == tip:
                    return index, parent
            elif seen(rows, parent.no, parent.chain, parent.base, chain) >= tip:
                return index, Place(parent.no, 0, chain, tip, 0, 0)
    return None


def _merge(into: dict[int, int], other: dict[int, int]) -> None:
    for chain, seq in other.items():
        if into.get(chain, 0) < seq:
            into[chain] = seq


def vector(rows: Readable, no: int, chain: int, base: int) -> dict[int, int]:
    """The vector stored at `base` of a chain, without the chain itself."""
    if base == 0:
        return {}
    value = rows.get(keyspace.vector_key(no, chain, base))
    return dict(layout.unpack_chains(value)) if value else {}


def seen(rows: Readable, no: int, chain: int, base: int, other: int) -> int:
    """How far an event of `chain` with `base` had seen the chain `other`; 0 is not at all."""
    if base == 0:
        return 0
    return vector(rows, no, chain, base).get(other, 0)


def covers(rows: Readable, event: Place, chain: int, seq: int) -> bool:
    """Whether the event at (`chain`, `seq`) is in the past of `event`, or is it."""
    return reach(rows, event, chain) >= seq


# -- heads ----------------------------------------------------------------------------------------
# Only effective events are heads. A void one is nobody's parent among honest authors, and by REC-1
# it is not even passed on unless something effective was built upon it.


def heads(rows: Readable, no: int) -> list[Head]:
    """The effective events that no effective event has in its past."""
    return layout.unpack_heads(rows.get(keyspace.heads_key(no)) or b"")


def add_head(rows: Overlay, event: Event, place: Place) -> None:
    """An effective event was admitted: it is a head, and what it had seen is none any more."""
    key = keyspace.heads_key(place.no)
    value = rows.get(key) or b""
    kept: list[Head] = []
    if len(event.parents) != 1 or not layout.is_only_head(value, event.parents[0]):
        kept = [
            head
            for head in layout.unpack_heads(value)
            if head.id not in event.parents and not covers(rows, place, head.chain, head.seq)
        ]
    own = layout.pack_head(event.t, event.id, place.chain, place.seq, place.base)
    rows.rows[key] = layout.pack_heads(kept) + own


def find_heads(rows: Overlay, no: int, chains: int) -> list[Head]:
    """The heads found anew after verdicts changed; looks at the end of each chain."""
    last = [head for chain in range(chains) if (head := _last_effective(rows, no, chain))]
    found = [
        head
        for head in last
        if not any(
            other is not head
            and covers(rows, Place(no, other.t, other.chain, other.seq, other.base, 0), *head[2:4])
            for other in last
        )
    ]
    found.sort()
    rows.rows[keyspace.heads_key(no)] = layout.pack_heads(found)
    return found


def _last_effective(rows: Readable, no: int, chain: int) -> Head | None:
    for _, t, event_id, place in chain_backwards(rows, no, chain):
        if not place.flags & VOID:
            return Head(t, event_id, place.chain, place.seq, place.base)
    return None


def chain_backwards(rows: Readable, no: int, chain: int) -> Iterator[tuple[int, int, bytes, Place]]:
    """(seq, t, id, place) of a chain's events, the last first."""
    start, end = keyspace.chain_key(no, chain, 0), keyspace.chain_key(no, chain + 1, 0)
    for key, value in rows.scan(start, end, reverse=True):
        t, event_id = layout.unpack_order(value)
        yield int.from_bytes(key[-8:], "big"), t, event_id, place_of(rows, event_id)


def object_row(rows: Readable, no: int) -> ObjectRow:
    """What the genesis of object number `no` fixed, and how it stands.

    Raises:
        StoreCorrupt: the store has events of the object, but not its row.
    """
    value = rows.get(keyspace.object_row_key(no))
    if value is None:
        raise StoreCorrupt(f"object number {no} has events and no row")
    return layout.unpack_object(value)


def place_of(rows: Readable, event_id: bytes) -> Place:
    """Where an admitted event lies.

    Raises:
        StoreCorrupt: the store has rows that tell of the event, but not its place.
    """
    value = rows.get(keyspace.place_key(event_id))
    if value is None:
        raise StoreCorrupt(f"event {short(event_id)} has rows and no place")
    return layout.unpack_place(value)


def event_at(rows: Readable, no: int, t: int, event_id: bytes) -> Event:
    """An admitted event, read back; its signature was checked when it came.

    Raises:
        StoreCorrupt: the store has rows that tell of the event, but not the event.
    """
    raw = raw_at(rows, no, t, event_id)
    return read_event_untrusted(open_envelope_untrusted(raw), verified=True)


def raw_at(rows: Readable, no: int, t: int, event_id: bytes) -> bytes:
    """The signed bytes of an admitted event.

    Raises:
        StoreCorrupt: as `event_at`.
    """
    raw = rows.get(keyspace.event_key(no, t, event_id))
    if raw is None:
        raise StoreCorrupt(f"event {short(event_id)} has rows and is not there")
    return raw


def tips_of(rows: Readable, no: int, author: bytes) -> list[tuple[int, int]]:
    """(chain, seq of its last event) of an author's chains."""
    value = rows.get(keyspace.chains_key(no, author))
    return list(layout.unpack_chains(value or b""))


def tip_of(rows: Readable, no: int, chain: int) -> int:
    """The seq of a chain's last event; 0 if it has none."""
    start, end = keyspace.chain_key(no, chain, 0), keyspace.chain_key(no, chain + 1, 0)
    last = next(rows.scan(start, end, reverse=True), None)
    return int.from_bytes(last[0][-8:], "big") if last is not None else 0


def authors_of(rows: Readable, no: int) -> list[AuthorId]:
    """Everybody who wrote to an object, by key."""
    prefix = keyspace.of_object(b"C", no)
    return [AuthorId(key[-32:]) for key, _ in rows.scan(prefix, keyspace.after(prefix))]


def chain_between(
    rows: Readable, no: int, chain: int, start: int, end: int
) -> list[tuple[int, bytes]]:
    """(t, id) of a chain's events from seq `start` to before `end`, in order."""
    keys = keyspace.chain_key(no, chain, start), keyspace.chain_key(no, chain, end)
    return [layout.unpack_order(value) for _, value in rows.scan(*keys)]


def reach(rows: Readable, event: Place, chain: int) -> int:
    """How far `event` had seen a chain, itself included; 0 is not at all."""
    if event.chain == chain:
        return event.seq
    return seen(rows, event.no, event.chain, event.base, chain)
