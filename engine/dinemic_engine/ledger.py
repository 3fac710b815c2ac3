"""The one entrance: local edits and received events alike go `prepare`, then `accept`.

    draft      ops and a key            ->  a signed event, in memory only
    prepare    events that passed T0    ->  a Proposal: rows of one batch, verdicts, what must wait
    accept     a Proposal               ->  one atomic write; only then does memory switch

`prepare` writes nothing, so a proposal can be dropped; a crash before `accept` changed nothing and
one after it lost nothing. A ledger is not thread-safe: its owner holds one lock around
draft-prepare-accept.

Admission keeps the set of events closed under parents at every instant (ORD-1): an event enters
only in a batch that holds its parents or after they were written, and a batch is written whole.
The tip row chains a hash over the order of arrival; at open the part that no flush had confirmed
is walked, so a hole a power cut left in the middle is found and never passed off as a shorter log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from dinemic_engine import access, log, order, state, verdicts
from dinemic_engine.canonical import Sealed
from dinemic_engine.errors import BrokenChain, InvalidEvent, Reason, StoreCorrupt, UnknownObject
from dinemic_engine.event import Event, open_envelope_untrusted, sign_event
from dinemic_engine.ids import AuthorId, EventId, ObjectId, short
from dinemic_engine.keys import SigningKey
from dinemic_engine.limits import PARENTS_MAX
from dinemic_engine.ops import ROLES, Create, Op, Set
from dinemic_engine.ranges import id_term
from dinemic_engine.store import Store, keyspace
from dinemic_engine.store.keyspace import AUTHORIZED, VOID, Head, ObjectRow, Place, Tip
from dinemic_engine.store.overlay import Overlay, Readable, Recent


@dataclass(frozen=True, slots=True)
class Admitted:
    """The event enters the log, with effect or without."""

    event: Event
    model: str
    flags: int
    """`keyspace.AUTHORIZED`, or why it is void: `REVOKED` (AUTH-4) or `CLOSED` (AUTH-5)."""
    inert: bool = False
    """Void, and nothing effective was built on it: it is not passed on (REC-1)."""
    flipped: tuple[tuple[Event, int], ...] = ()
    """Events whose verdict it changed, with their flags now."""
    revived: tuple[EventId, ...] = ()
    """Inert events that count again with it, so that they are passed on after all."""

    @property
    def authorized(self) -> bool:
        """AUTH-5's flag."""
        return bool(self.flags & AUTHORIZED)

    @property
    def void(self) -> bool:
        """Whether it has no effect (T2)."""
        return bool(self.flags & VOID)


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The event is in the log already."""

    event: Event


@dataclass(frozen=True, slots=True)
class Refused:
    """No node ever admits the event (T1)."""

    event: Event
    error: InvalidEvent


@dataclass(frozen=True, slots=True)
class Orphan:
    """Parents are unknown here; judged when they come (ORD-9)."""

    event: Event
    missing: tuple[EventId, ...]


@dataclass(frozen=True, slots=True)
class Ahead:
    """Dated too far ahead of this node's clock; judged when due (ORD-4)."""

    event: Event


@dataclass(frozen=True, slots=True)
class Surplus:
    """Void, and its author has enough inert events here: not kept unless it is needed (REC-1)."""

    event: Event


Outcome: TypeAlias = Admitted | Duplicate | Refused | Orphan | Ahead | Surplus


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of a batch of received events, by position in the batch where it matters."""

    admitted: int
    duplicate: int
    waiting: int
    """Parents unknown, or dated ahead: kept for now, nobody's fault (ORD-4, ORD-9)."""
    invalid: tuple[tuple[int, str], ...]
    """(position, reason) of events the sender should never have passed on: T0 and T1 refusals."""


@dataclass(slots=True)
class Proposal:
    """What `accept` would write, and what became of each event, in the order given."""

    outcomes: list[Outcome]
    rows: Overlay
    tip: Tip
    parent_tip: Tip
    lifted: Container[bytes] | None
    """Objects whose inert events are not counted; None is all."""

    @property
    def admitted(self) -> list[Admitted]:
        """The events that `accept` would let in, in the order given."""
        return [outcome for outcome in self.outcomes if type(outcome) is Admitted]


class Ledger:
    """Events of all objects in one store."""

    def __init__(self, store: Store) -> None:
        """Open the rows of `store`, or begin in an empty one.

        Raises:
            StoreCorrupt: the store is of another layout, or lost rows from its middle.
        """
        self._store = store
        self._rows = Recent(store)
        self._tip = check_tip(store)
        self._flushed = (self._tip.flushed_seq, self._tip.flushed_digest)

    @property
    def tip(self) -> Tip:
        """How much has been admitted."""
        return self._tip

    def flush(self) -> None:
        """Put everything accepted so far on disk; may run beside `prepare` and `accept`."""
        tip = self._tip
        self._store.flush()
        self._flushed = (tip.seq, tip.digest)

    # -- draft --------------------------------------------------------------------------------

    def draft(
        self, object_id: ObjectId | None, ops: Sequence[Op], key: SigningKey, now_us: int
    ) -> Event:
        """A signed event on top of what is here (ORD-2); nothing is written.

        Raises:
            UnknownObject: no such object here, or it was removed.
            InvalidEvent: the ops break a rule of the format.
        """
        if object_id is None:
            return sign_event(key, None, now_us, (), ops)
        no = self.need(object_id)
        heads = keyspace.unpack_heads(self._rows.get(keyspace.heads_key(no)) or b"")
        if len(heads) > PARENTS_MAX:
            heads = self._chosen(no, heads, AuthorId(key.public), ops)
        t = order.next_t(now_us, [head.t for head in heads])
        return sign_event(key, object_id, t, [EventId(head.id) for head in heads], ops)

    def _chosen(
        self, no: int, heads: list[Head], author: AuthorId, ops: Sequence[Op]
    ) -> list[Head]:
        """As many heads as one event can name; the others merge with the next.

        The newest, but first those that what the author may do rests on: a grant of each role, and
        the epochs `ops` seal under. Else many heads by others would keep an author from using them.
        """
        newest_first = sorted(heads, reverse=True)
        needed: list[tuple[int, int]] = []
        sealed = [op.value for op in ops if type(op) is Set and type(op.value) is Sealed]
        for commit in sorted({value.epoch for value in sealed}):
            made = state.made_at(self._rows, no, commit)
            if made is not None:
                needed.append((made.chain, made.seq))
        row = _object_row(self._rows, no)
        for role in ROLES:
            grant = access.holder(self._rows, row, no, author, role)
            if grant is not None:
                needed.append((grant.act.chain, grant.act.seq))
        chosen: list[Head] = []
        for chain, seq in needed:
            covering = [head for head in newest_first if self._covers(no, head, chain, seq)]
            if not any(head in chosen for head in covering):
                chosen += covering[:1]
        rest = [head for head in newest_first if head not in chosen]
        return (chosen + rest)[:PARENTS_MAX]

    def _covers(self, no: int, head: Head, chain: int, seq: int) -> bool:
        place = Place(no, head.t, head.chain, head.seq, head.base, 0)
        return log.covers(self._rows, place, chain, seq)

    def need(self, object_id: ObjectId) -> int:
        """The local number of an object that can be written to.

        Raises:
            UnknownObject: no such object here, or it was removed.
        """
        value = self._rows.get(keyspace.object_key(object_id))
        if value is None:
            raise UnknownObject(f"no object {short(object_id)}... is known here")
        no = keyspace.unpack_u32(value)
        row = _object_row(self._rows, no)
        if row.removed_by:
            raise UnknownObject(f"{row.model} {short(object_id)}... was removed")
        return no

    # -- prepare ------------------------------------------------------------------------------

    def knows(self, event_id: bytes) -> bool:
        """Whether an event of that id is admitted."""
        return self._store.get(keyspace.place_key(event_id)) is not None

    def prepare(
        self, events: Sequence[Event], now_us: int, lifted: Container[bytes] | None = ()
    ) -> Proposal:
        """Judge events whose bytes and signature are good; nothing is written.

        Of the objects in `lifted` any number of inert events is kept; None means of all.

        The outcomes come in the order of `events`; the judging goes by (t, id), so parents and
        children may share a batch in any order.
        """
        proposal = Proposal([], Overlay(self._rows), self._tip, self._tip, lifted)
        if len(events) == 1:  # every local edit
            proposal.outcomes = [self._judge(proposal, events[0], now_us)]
        else:
            proposal.outcomes = self._judge_batch(proposal, events, now_us)
        return proposal

    def _judge_batch(
        self, proposal: Proposal, events: Sequence[Event], now_us: int
    ) -> list[Outcome]:
        outcomes: dict[int, Outcome] = {}
        for index in sorted(range(len(events)), key=lambda i: (events[i].t, events[i].id)):
            outcomes[index] = self._judge(proposal, events[index], now_us)
        for index, outcome in outcomes.items():
            # Not older than a parent in the same batch, which so came after it: refused, as it
            # would be in a batch of its own.
            if type(outcome) is Orphan and all(
                proposal.rows.get(keyspace.place_key(parent)) for parent in outcome.missing
            ):
                outcomes[index] = self._judge(proposal, outcome.event, now_us)
        return [outcomes[index] for index in range(len(events))]

    def _judge(self, proposal: Proposal, event: Event, now_us: int) -> Outcome:
        rows = proposal.rows
        if rows.get(keyspace.place_key(event.id)) is not None:
            return Duplicate(event)
        if order.is_ahead(event.t, now_us):
            return Ahead(event)
        parents: list[Place] = []
        missing: list[EventId] = []
        for parent in event.parents:
            value = rows.get(keyspace.place_key(parent))
            if value is None:
                missing.append(parent)
            else:
                parents.append(keyspace.unpack_place(value))
        if missing:
            return Orphan(event, tuple(missing))
        try:
            return self._admit(proposal, event, parents) or Surplus(event)
        except InvalidEvent as error:
            return Refused(event, error)

    def _admit(self, proposal: Proposal, event: Event, parents: list[Place]) -> Admitted | None:
        """Check T1 and put the event's rows into the proposal; None if it is surplus.

        Raises:
            InvalidEvent: refused; the proposal is as before.
        """
        rows = proposal.rows
        if parents:
            no = parents[0].no
            row = self._object(proposal, event, no)
            placement = log.place(rows, no, event, parents, row.chains)
            trial = Overlay(rows, placement.rows)
            flags = AUTHORIZED if access.judge(trial, row, event, placement.place) else 0
            if row.cuts and event.author != row.owner:
                flags = access.verdict(trial, row, event, placement.place)
            if (
                flags & VOID
                and proposal.lifted is not None
                and event.object not in proposal.lifted
                and not verdicts.has_room(rows, no, event)
            ):
                return None
        else:
            access.judge_genesis(event)
            no, row = self._new_object(proposal, event)
            placement = log.place(rows, no, event, parents, 0)
            flags = AUTHORIZED
        place = placement.place._replace(flags=flags)
        rows.rows.update(placement.rows)
        self._write_event(proposal, event, place, row.model_no)
        changed = row
        if placement.chains != row.chains:
            changed = changed._replace(chains=placement.chains)
        changed = state.keep_facts(rows, changed, place, event)
        if not flags & VOID:
            authorized = bool(flags & AUTHORIZED)
            changed = state.advance(rows, changed, place, event, authorized=authorized)
        changes = verdicts.settle(rows, changed, event, place)
        for key in changes.inert:
            self._recount(proposal, row.model_no, key, -1)
        for key in changes.revived:
            self._recount(proposal, row.model_no, key, +1)
        if changes.row is not row or not parents:
            rows.rows[keyspace.object_row_key(no)] = changes.row.pack()
        inert = bool(changes.inert) and (event.t, event.id) in changes.inert
        revived = tuple([EventId(event_id) for _, event_id in changes.revived])
        return Admitted(event, row.model, flags, inert, tuple(changes.flipped), revived)

    def _object(self, proposal: Proposal, event: Event, no: int) -> ObjectRow:
        """The row of object number `no`, which the parents belong to and the event must name."""
        row = _object_row(proposal.rows, no)
        if row.id != event.object:
            raise BrokenChain(Reason.WRONG_OBJECT, f"parents are not of {short(event.object)}")
        return row

    def _new_object(self, proposal: Proposal, event: Event) -> tuple[int, ObjectRow]:
        """A number and a row for the object this genesis begins; written by the caller."""
        create = event.ops[0]
        assert isinstance(create, Create), "T0 lets a genesis begin with CREATE only"
        rows = proposal.rows
        tip = proposal.tip
        no = tip.objects
        model_value = rows.get(keyspace.model_key(create.model))
        if model_value is None:
            model_no = tip.models
            rows.rows[keyspace.model_key(create.model)] = keyspace.pack_u32(model_no)
            proposal.tip = tip = tip._replace(models=model_no + 1)
        else:
            model_no = keyspace.unpack_u32(model_value)
        proposal.tip = tip._replace(objects=no + 1)
        rows.rows[keyspace.object_key(event.id)] = keyspace.pack_u32(no)
        rows.rows[keyspace.by_model_key(create.model, event.id)] = keyspace.pack_u32(no)
        row = ObjectRow(
            event.id,
            create.model,
            model_no,
            event.author,
            create.suite,
            create.sealing,
            create.policy,
            0,
            0,
            0,
            b"",
        )
        return no, row

    def _write_event(self, proposal: Proposal, event: Event, place: Place, model_no: int) -> None:
        """The rows every event has, whatever its ops."""
        rows = proposal.rows.rows
        tip = proposal.tip
        arrival = keyspace.pack_arrival(place.no, event.t, event.id)
        seq = tip.seq + 1
        proposal.tip = tip = Tip(
            seq,
            hashlib.sha256(tip.digest + arrival).digest(),
            *self._flushed,
            tip.objects,
            tip.models,
        )
        rows[keyspace.TIP_KEY] = tip.pack()
        rows[keyspace.arrival_key(seq)] = arrival
        rows[keyspace.event_key(place.no, event.t, event.id)] = event.raw
        rows[keyspace.place_key(event.id)] = place.pack()
        self._recount(proposal, model_no, (event.t, event.id), +1)

    def _recount(
        self, proposal: Proposal, model_no: int, order: tuple[int, bytes], by: int
    ) -> None:
        """Let an event count in its model's reconciled set (+1), or not (-1)."""
        rows = proposal.rows
        rows.rows[keyspace.range_key(model_no, *order)] = b"" if by > 0 else None
        key = keyspace.fingerprint_key(model_no)
        value = rows.get(key)
        count, total = (0, 0) if value is None else keyspace.unpack_sum(value)
        total = (total + by * id_term(order[1])) % (1 << 256)
        rows.rows[key] = keyspace.pack_sum(count + by, total)

    # -- accept -------------------------------------------------------------------------------

    def accept(self, proposal: Proposal) -> None:
        """Write a proposal in one batch, then switch memory to it.

        Raises:
            StoreError: nothing was written and the ledger is as before.
        """
        assert proposal.parent_tip is self._tip, "a proposal from before another one was accepted"
        if not proposal.rows.rows:
            return
        self._rows.write(proposal.rows.rows)
        self._tip = proposal.tip


def _object_row(rows: Readable, no: int) -> ObjectRow:
    value = rows.get(keyspace.object_row_key(no))
    if value is None:
        raise StoreCorrupt(f"object number {no} has events and no row")
    return keyspace.unpack_object(value)


def check_tip(store: Store) -> Tip:
    """The tip row of a store, after walking the arrivals that no flush had confirmed.

    Writes the layout marker into an empty store.

    Raises:
        StoreCorrupt: another layout, or the arrivals do not lead to the tip.
    """
    layout = store.get(keyspace.FORMAT_KEY)
    value = store.get(keyspace.TIP_KEY)
    if layout is None:
        if value is not None or next(store.scan(b"", b"\xff"), None) is not None:
            raise StoreCorrupt("there are rows here, but no layout marker")
        store.write({keyspace.FORMAT_KEY: keyspace.LAYOUT})
        return keyspace.NOTHING
    if layout != keyspace.LAYOUT:
        raise StoreCorrupt(
            f"the store has layout {layout!r:.20}, this version reads {keyspace.LAYOUT!r}"
        )
    if value is None:
        if store.get(keyspace.arrival_key(1)) is not None:
            raise StoreCorrupt("there are events here, but no tip")
        return keyspace.NOTHING
    tip = keyspace.unpack_tip(value)
    if store.get(keyspace.arrival_key(tip.seq + 1)) is not None:
        raise StoreCorrupt(f"there are more events here than the {tip.seq} the tip counts")
    digest, expected = tip.flushed_digest, tip.flushed_seq + 1
    start, end = keyspace.arrival_key(expected), keyspace.arrival_key(tip.seq + 1)
    for key, arrival in store.scan(start, end):
        if key != keyspace.arrival_key(expected) or not _is_whole(store, arrival):
            break
        digest = hashlib.sha256(digest + arrival).digest()
        expected += 1
    if expected != tip.seq + 1 or digest != tip.digest:
        raise StoreCorrupt(
            f"{tip.seq} events were admitted, but number {expected} is missing or changed"
        )
    return tip


def _is_whole(store: Store, arrival: bytes) -> bool:
    """Whether the event an ``L`` row names is there, with the content of its id."""
    no, t, event_id = keyspace.unpack_arrival(arrival)
    raw = store.get(keyspace.event_key(no, t, event_id))
    if raw is None:
        return False
    try:
        return open_envelope_untrusted(raw).id == event_id
    except InvalidEvent:
        return False
