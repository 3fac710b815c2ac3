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

from collections.abc import Sequence
from typing import NamedTuple

from dinemic_engine.errors import BrokenChain, Reason
from dinemic_engine.event import Event
from dinemic_engine.ids import short
from dinemic_engine.store import keyspace
from dinemic_engine.store.keyspace import Head, Place
from dinemic_engine.store.overlay import Readable


class Placement(NamedTuple):
    """What admitting an event would make of the log."""

    place: Place
    chains: int
    """Chains of the object afterwards."""
    rows: dict[bytes, bytes | None]
    """The log's own rows: heads, chains and, where it is news, the vector."""


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
    own = list(keyspace.unpack_chains(own_value)) if own_value else []
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
        changed[keyspace.vector_key(no, chain, base)] = keyspace.pack_chains(merged.items())
    changed[own_key] = keyspace.pack_chains(own)
    named = set(event.parents)
    heads_value = rows.get(keyspace.heads_key(no))
    heads = [head for head in keyspace.unpack_heads(heads_value or b"") if head.id not in named]
    heads.append(Head(event.t, event.id, chain, seq, base))
    changed[keyspace.heads_key(no)] = keyspace.pack_heads(heads)
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
    return dict(keyspace.unpack_chains(value)) if value else {}


def seen(rows: Readable, no: int, chain: int, base: int, other: int) -> int:
    """How far an event of `chain` with `base` had seen the chain `other`; 0 is not at all."""
    if base == 0:
        return 0
    return vector(rows, no, chain, base).get(other, 0)


def covers(rows: Readable, event: Place, chain: int, seq: int) -> bool:
    """Whether the event at (`chain`, `seq`) is in the past of `event`, or is it."""
    if event.chain == chain:
        return event.seq >= seq
    return seen(rows, event.no, event.chain, event.base, chain) >= seq
