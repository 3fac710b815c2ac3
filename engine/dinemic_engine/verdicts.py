"""Verdicts change as knowledge grows: which events a change of access concerns, and what follows.

A revocation that comes late voids what its target wrote unseen; an owner's revocation of the admin
who made it gives that back. What must be looked at again follows from the rule of `access`:

    a REVOKE of S was admitted, or its standing changed     S's events it had not seen
    the standing of a GRANT to S changed                    S's events after it
    a POLICY was admitted                                   all strangers' events it had not seen

and nothing else, so the cost is that of the events concerned. An event whose verdict changes may
itself hold grants and revocations; their targets come next. Admins are made and ended by owners
only, so this ends after two rounds. Each verdict is computed from the facts and never from other
verdicts, so the order of looking does not matter (I-01).

After that, heads and tails. A void event counts as long as something effective was built on it: it
is in that event's past, and the log is closed under parents. The void end of a chain that nothing
effective has seen is *inert* (REC-1): out of the fingerprints, so it is not reconciled or passed
on. Since an effective event covers all before it on its chain, the inert events of a chain are
those beyond what the heads have seen.

A writer that goes on after its revocation could fill disks with them, so only some are kept
(`has_room`). One that has no room is not admitted: *surplus*. It may be needed all the same, as the
past of something effective by an author who had not seen the revocation; `waiting` says how that
is found out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from dinemic_engine import access, limits, log, state, vetoes
from dinemic_engine.edits import only_edits
from dinemic_engine.event import Event
from dinemic_engine.ids import AuthorId
from dinemic_engine.ops import Grant, Revoke, SetPolicy
from dinemic_engine.store import keyspace
from dinemic_engine.store.layout import AUTHORIZED, VOID, ObjectRow, Place
from dinemic_engine.store.overlay import Overlay, Readable
from dinemic_engine.types.change import Change


@dataclass(slots=True)
class Changes:
    """What admitting one event changed beyond its own fields."""

    row: ObjectRow
    seen: list[Change] | None = None
    """What a reader sees changed, if somebody wants to know."""
    flipped: list[tuple[Event, int]] = field(default_factory=list)
    """Events whose verdict changed, with their flags now."""
    revived: list[tuple[int, bytes]] = field(default_factory=list)
    """(t, id) of events that were inert and count again in the reconciled set."""
    turned: list[tuple[int, bytes, int]] = field(default_factory=list)
    """(t, id, by) of events that took effect (+1) or lost it (-1)."""
    inert: list[tuple[int, bytes]] = field(default_factory=list)
    """(t, id) of events that do not count any more, the admitted one included if it is inert."""


@dataclass(frozen=True, slots=True)
class _Concern:
    """Events of `author` to look at again: those not in the past of `unseen`, later than `t`."""

    author: AuthorId
    unseen: Place | None
    t: int


def settle(
    rows: Overlay, row: ObjectRow, event: Event, place: Place, seen: list[Change] | None = None
) -> Changes:
    """Bring verdicts, effects, heads and tails up to date with an event just admitted.

    Its own facts, and its effects if it stands, are in `rows` already.
    """
    changes = Changes(row, seen)
    stands = not place.flags & VOID
    if not only_edits(event.ops):
        concerns = _concerns(rows, changes, event, place, admitted=True, stands=stands)
        _revisit(rows, changes, place.no, concerns)
    if changes.flipped:
        log.find_heads(rows, place.no, changes.row.chains)
    elif stands:
        log.add_head(rows, event, place)
    if changes.flipped:
        _settle_tails(rows, changes, place.no, range(changes.row.chains))
    elif not stands:
        _settle_tails(rows, changes, place.no, [place.chain])
    elif changes.row.tails:
        _settle_tails(rows, changes, place.no, _tailed(rows, place.no))
    own = (event.t, event.id)
    if stands:  # it was never inert, though the tail it ends may hold it
        changes.revived = [order for order in changes.revived if order != own]
    elif own not in changes.inert:
        changes.inert.append(own)
    return changes


def _concerns(
    rows: Overlay,
    changes: Changes,
    event: Event,
    place: Place,
    *,
    admitted: bool,
    stands: bool,
) -> list[_Concern]:
    """What an event's grants and revocations concern, as it comes or its verdict changes."""
    row, found = changes.row, []
    acts = [op for op in event.ops if isinstance(op, Grant | Revoke)]
    for author, role in dict.fromkeys((op.signing, op.role) for op in acts):
        state.settle_holder(rows, row, place.no, author, role, changes.seen)
    for op in event.ops:
        if isinstance(op, Grant):
            if not admitted:
                found.append(_Concern(op.signing, None, event.t))
        elif isinstance(op, Revoke):
            if stands or not admitted:
                found.append(_Concern(op.signing, place, 0))
        elif isinstance(op, SetPolicy):
            found += [
                _Concern(author, place, 0)
                for author in log.authors_of(rows, place.no)
                if author != row.owner
            ]
    return list(dict.fromkeys(found))


def _revisit(rows: Overlay, changes: Changes, no: int, concerns: list[_Concern]) -> None:
    waiting = deque(concerns)
    while waiting:
        concern = waiting.popleft()
        for chain, _ in log.tips_of(rows, no, concern.author):
            unseen = concern.unseen
            known = log.reach(rows, unseen, chain) if unseen is not None else 0
            turned: list[tuple[Event, Place, int]] = []
            for seq, t, event_id, place in log.chain_backwards(rows, no, chain):
                if seq <= known or t <= concern.t:
                    break
                event = log.event_at(rows, no, t, event_id)
                flags = access.verdict(rows, changes.row, event, place)
                if flags != place.flags:
                    turned.append((event, place, flags))
            # The oldest first: else each would be the winner of its field when it is taken back,
            # and the next be sought among all those taken back before.
            for event, place, flags in reversed(turned):
                waiting += _flip(rows, changes, event, place, flags)


def _flip(
    rows: Overlay, changes: Changes, event: Event, place: Place, flags: int
) -> list[_Concern]:
    """Give an event its new verdict, and what follows from it."""
    stood, stands = not place.flags & VOID, not flags & VOID
    now = place._replace(flags=flags)
    rows.rows[keyspace.place_key(event.id)] = now.pack()
    row, seen = changes.row, changes.seen
    withheld = vetoes.is_withheld(rows, row, place.no, event.t, event.id)
    if stood and not withheld:
        row = state.retract(rows, row, place, event, seen)
    if stood != stands:
        state.shelve(rows, place, event, back=stands)
    if stands and not withheld:
        row = state.advance(rows, row, now, event, seen, authorized=bool(flags & AUTHORIZED))
    changes.row = row
    changes.flipped.append((event, flags))
    if stood == stands:
        return []
    changes.turned.append((event.t, event.id, +1 if stands else -1))
    return _concerns(rows, changes, event, now, admitted=False, stands=stands)


def show(
    rows: Overlay, row: ObjectRow, event: Event, place: Place, seen: list[Change] | None
) -> ObjectRow:
    """Give an event that was withheld its effects; the object row afterwards.

    Nothing that nodes share changes: whoever it grants something to could use it before.
    """
    if place.flags & VOID:
        return row
    row = state.advance(rows, row, place, event, seen, authorized=bool(place.flags & AUTHORIZED))
    acts = [op for op in event.ops if isinstance(op, Grant | Revoke)]
    for author, role in dict.fromkeys((op.signing, op.role) for op in acts):
        state.settle_holder(rows, row, place.no, author, role, seen)
    return row


def _settle_tails(rows: Overlay, changes: Changes, no: int, chains: Iterable[int]) -> None:
    """Find where each of `chains` becomes inert, and what that adds to or takes from the set."""
    heads = [Place(no, head.t, head.chain, head.seq, head.base, 0) for head in log.heads(rows, no)]
    tails = changes.row.tails
    for chain in chains:
        tip = log.tip_of(rows, no, chain)
        key = keyspace.tail_key(no, chain)
        value = rows.get(key)
        begins = max((log.reach(rows, head, chain) for head in heads), default=0) + 1
        began = int.from_bytes(value, "big") if value else tip + 1
        if begins == began:
            continue
        rows.rows[key] = begins.to_bytes(8, "big") if begins <= tip else None
        tails += (begins <= tip) - (value is not None)
        lower, upper = min(begins, began), max(begins, began)
        moved = log.chain_between(rows, no, chain, lower, min(upper, tip + 1))
        (changes.inert if begins < began else changes.revived).extend(moved)
    changes.row = changes.row._replace(tails=tails)


def _tailed(rows: Overlay, no: int) -> list[int]:
    """The chains that end in inert events."""
    prefix = keyspace.of_object(b"U", no)
    return [int.from_bytes(key[-4:], "big") for key, _ in rows.scan(prefix, keyspace.after(prefix))]


def has_room(rows: Readable, no: int, event: Event) -> bool:
    """Whether one more inert event by its author may be kept (REC-1).

    A verdict that changes may leave more than the bound: those were written while it was allowed.
    """
    tails: list[tuple[int, int, int]] = []
    for chain, tip in log.tips_of(rows, no, event.author):
        value = rows.get(keyspace.tail_key(no, chain))
        if value is not None:
            tails.append((chain, int.from_bytes(value, "big"), tip + 1))
    if sum(end - begins for _, begins, end in tails) >= limits.INERT_EVENTS_MAX:
        return False
    octets = len(event.raw)
    for tail in tails:
        for order in log.chain_between(rows, no, *tail):
            octets += len(rows.get(keyspace.event_key(no, *order)) or b"")
            if octets > limits.INERT_BYTES_MAX:
                return False
    return True
