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
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field

from dinemic_engine import access, guards, indexes, log, order, state, verdicts, vetoes
from dinemic_engine.edits import named_events, only_edits, only_plain_writes, sealed_in
from dinemic_engine.errors import BrokenChain, InvalidEvent, Reason, StoreCorrupt, UnknownObject
from dinemic_engine.event import Event, open_envelope_untrusted, sign_event
from dinemic_engine.guards import Asked
from dinemic_engine.ids import AuthorId, EventId, ObjectId, short
from dinemic_engine.indexes import Indexes
from dinemic_engine.keys import SigningKey
from dinemic_engine.limits import PARENTS_MAX
from dinemic_engine.ops import ROLES, Create, Op
from dinemic_engine.outcomes import (
    Admitted,
    Ahead,
    Answered,
    Duplicate,
    Orphan,
    Outcome,
    Refused,
    Surplus,
    Withhold,
)
from dinemic_engine.recount import Recount
from dinemic_engine.store import Store, keyspace, layout
from dinemic_engine.store.layout import AUTHORIZED, VOID, Head, ObjectRow, Place, Tip
from dinemic_engine.store.overlay import Overlay, Readable, Recent
from dinemic_engine.types.change import Change
from dinemic_engine.vetoes import Veto


@dataclass(slots=True)
class Proposal:
    """What `accept` would write, and what became of each event, in the order given."""

    outcomes: list[Outcome]
    rows: Overlay
    tip: Tip
    parent_tip: Tip
    lifted: Container[bytes] | None
    """Objects whose inert events are not counted; None is all."""
    withhold: Withhold | None = None
    watched: bool = False
    admitted: list[Admitted] = field(default_factory=list)
    """The events that `accept` would let in, in the order they were judged: parents first."""
    recount: Recount = field(default_factory=Recount)
    """What they change in the reconciled sets; its rows are written last."""

    @property
    def changing(self) -> Sequence[Admitted | Answered]:
        """The outcomes that may change what a reader sees, in the order that happens."""
        answered = [outcome for outcome in self.outcomes if type(outcome) is Answered]
        return [*self.admitted, *answered]


class Ledger:
    """Events of all objects in one store."""

    def __init__(self, store: Store) -> None:
        """Open the rows of `store`, or begin in an empty one.

        Raises:
            StoreCorrupt: the store is of another layout, or lost rows from its middle.
        """
        self._store = store
        self._rows = Recent(store)
        self._fresh: EventId | None = None
        """The last draft, if it is on top of all heads and nothing was written since.

        An event with its id, so with its parents, would have taken a place among the heads if it
        had effect, and if it is void the draft is, too, and goes nowhere: no need to look for one.
        """
        self.indexes = Indexes(store)
        self._tip = check_tip(store)
        self._flushed = (self._tip.flushed_seq, self._tip.flushed_digest)

    @property
    def tip(self) -> Tip:
        """How much has been admitted."""
        return self._tip

    @property
    def rows(self) -> Readable:
        """The rows of everything accepted, those lately used at hand; for who holds the lock."""
        return self._rows

    def flush(self) -> None:
        """Put everything accepted so far on disk; may run beside `prepare` and `accept`."""
        tip = self._tip
        self._store.flush()
        self._flushed = (tip.seq, tip.digest)

    # -- draft --------------------------------------------------------------------------------

    def draft(
        self,
        object_id: ObjectId | None,
        ops: Sequence[Op],
        key: SigningKey,
        now_us: int,
        on: Sequence[Head] | None = None,
    ) -> Event:
        """A signed event on top of what is here (ORD-2), or of the heads `on`; nothing is written.

        Raises:
            UnknownObject: no such object here, or it was removed.
            InvalidEvent: the ops break a rule of the format.
        """
        if object_id is None:
            return sign_event(key, None, now_us, (), ops)
        no = self.need(object_id)
        heads = log.heads(self._rows, no) if on is None else list(on)
        fresh = on is None
        if len(heads) > PARENTS_MAX:
            heads, fresh = self._chosen(no, heads, AuthorId(key.public), ops), False
        t = order.next_t(now_us, [head.t for head in heads])
        event = sign_event(key, object_id, t, [EventId(head.id) for head in heads], ops)
        self._fresh = event.id if fresh else None
        return event

    def _chosen(
        self, no: int, heads: list[Head], author: AuthorId, ops: Sequence[Op]
    ) -> list[Head]:
        """As many heads as one event can name; the others merge with the next.

        The newest, but first those that what the author does rests on: a grant of each role, the
        epochs `ops` seal under, the events they point at. Else many heads by others would keep an
        author from using them.
        """
        row = _object_row(self._rows, no)
        newest_first = sorted(heads, reverse=True)
        needed: list[tuple[int, int]] = []
        for commit in sorted({value.epoch for op in ops if (value := sealed_in(op)) is not None}):
            made = state.made_at(self._rows, row, no, commit)
            if made is not None:
                needed.append((made.chain, made.seq))
        for role in ROLES:
            grant = access.holder(self._rows, row, no, author, role)
            if grant is not None:
                needed.append((grant.act.chain, grant.act.seq))
        for event_id in sorted({each for op in ops for each in named_events(op)}):
            place = log.place_of(self._rows, event_id)
            needed.append((place.chain, place.seq))
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

    def head(self, event_id: EventId) -> Head:
        """An admitted event as a head, to draft on."""
        place = log.place_of(self._rows, event_id)
        return Head(place.t, event_id, place.chain, place.seq, place.base)

    def need(self, object_id: ObjectId) -> int:
        """The local number of an object that can be written to.

        Raises:
            UnknownObject: no such object here, or it was removed.
        """
        value = self._rows.get(keyspace.object_key(object_id))
        if value is None:
            raise UnknownObject(f"no object {short(object_id)}... is known here")
        no = layout.unpack_u32(value)
        row = _object_row(self._rows, no)
        if row.hidden:
            raise UnknownObject(f"no object {short(object_id)}... is known here")
        if row.removed_by:
            raise UnknownObject(f"{row.model} {short(object_id)}... was removed")
        return no

    # -- prepare ------------------------------------------------------------------------------

    def knows(self, event_id: bytes) -> bool:
        """Whether an event of that id is admitted."""
        return self._store.get(keyspace.place_key(event_id)) is not None

    def prepare(
        self,
        events: Sequence[Event],
        now_us: int,
        lifted: Container[bytes] | None = (),
        *,
        withhold: Withhold | None = None,
        watched: bool = False,
    ) -> Proposal:
        """Judge events whose bytes and signature are good; nothing is written.

        Of the objects in `lifted` any number of inert events is kept; None means of all. What
        `withhold` says yes to has no effect until `answer` lets it pass (VETO-1). With `watched`
        each `Admitted` tells what a reader sees changed.

        The outcomes come in the order of `events`; the judging goes by (t, id), so parents and
        children may share a batch in any order.
        """
        proposal = Proposal(
            [], Overlay(self._rows), self._tip, self._tip, lifted, withhold, watched
        )
        if len(events) == 1:  # every local edit
            proposal.outcomes = [self._judge(proposal, events[0], now_us)]
        else:
            proposal.outcomes = self._judge_batch(proposal, events, now_us)
        if proposal.admitted:
            proposal.rows.rows[keyspace.TIP_KEY] = proposal.tip.pack()
        proposal.recount.write(proposal.rows)
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
        if event.id is not self._fresh and rows.get(keyspace.place_key(event.id)) is not None:
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
                parents.append(layout.unpack_place(value))
        if missing:
            return Orphan(event, tuple(missing))
        try:
            admitted = self._admit(proposal, event, parents)
        except InvalidEvent as error:
            return Refused(event, error)
        if admitted is None:
            return Surplus(event)
        proposal.admitted.append(admitted)
        return admitted

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
            if event.author == row.owner and only_plain_writes(event.ops):
                authorized, flags = True, AUTHORIZED  # there is nothing to judge
            else:
                trial = Overlay(rows if rows.rows else self._rows, placement.rows)
                known = (
                    event.author != row.owner
                    and placement.follows
                    and access.holds_on(row, parents[0], event)
                )
                authorized = access.judge(trial, row, event, placement.place, known=known)
                flags = AUTHORIZED if authorized else 0
                state.check_targets(trial, placement.place, event)
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
            authorized, flags = True, AUTHORIZED
        place = placement.place._replace(flags=flags)
        rows.rows.update(placement.rows)
        self._write_event(proposal, event, place, row.model_no)
        changed = row
        if placement.chains != row.chains:
            changed = changed._replace(chains=placement.chains)
        indexed = self.indexes.of(row.model)
        seen: list[Change] | None = [] if proposal.watched or indexed else None
        withheld = row.hidden or (
            proposal.withhold is not None and proposal.withhold(row.model, event, authorized)
        )
        if withheld:
            changed = vetoes.withhold(rows, changed, place, event)
        edits = only_edits(event.ops)
        if edits and not withheld and not flags & VOID:  # nearly every event
            state.take(rows, place, event, seen, authorized=bool(flags & AUTHORIZED))
        else:
            changed = state.keep_facts(rows, changed, place, event)
            if flags & VOID:
                state.shelve(rows, place, event)
            elif not withheld:
                changed = state.advance(
                    rows, changed, place, event, seen, authorized=bool(flags & AUTHORIZED)
                )
        inert = False
        flipped: tuple[tuple[Event, int], ...] = ()
        revived: tuple[EventId, ...] = ()
        if edits and not changed.tails and not flags & VOID:
            log.add_head(rows, event, place)  # which is all that nearly every event settles
        else:
            changes = verdicts.settle(rows, changed, event, place, seen)
            proposal.recount.follow(changes, place.no)
            changed, flipped = changes.row, tuple(changes.flipped)
            inert = (event.t, event.id) in changes.inert
            revived = tuple([EventId(event_id) for _, event_id in changes.revived])
        if indexed and seen:
            indexes.follow(rows, row.model_no, no, indexed, seen)
        if changed is not row or not parents:
            rows.rows[keyspace.object_row_key(no)] = changed.pack()
        told = tuple(seen or ())
        return Admitted(event, row.model, flags, inert, flipped, revived, told, withheld)

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
            rows.rows[keyspace.model_key(create.model)] = layout.pack_u32(model_no)
            proposal.tip = tip = tip._replace(models=model_no + 1)
        else:
            model_no = layout.unpack_u32(model_value)
        proposal.tip = tip._replace(objects=no + 1)
        rows.rows[keyspace.object_key(event.id)] = layout.pack_u32(no)
        rows.rows[keyspace.by_model_key(create.model, event.id)] = layout.pack_u32(no)
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
            0,
            False,
            b"",
        )
        return no, row

    def _write_event(self, proposal: Proposal, event: Event, place: Place, model_no: int) -> None:
        """The rows every event has, whatever its ops."""
        rows = proposal.rows.rows
        tip = proposal.tip
        arrival = layout.pack_arrival(place.no, event.t, event.id)
        seq = tip.seq + 1
        proposal.tip = Tip(
            seq,
            hashlib.sha256(tip.digest + arrival).digest(),
            *self._flushed,
            tip.objects,
            tip.models,
        )
        rows[keyspace.arrival_key(seq)] = arrival
        rows[keyspace.event_key(place.no, event.t, event.id)] = event.raw
        rows[keyspace.place_key(event.id)] = place.pack()
        effective = not place.flags & VOID
        proposal.recount.admit(model_no, place.no, arrival[4:], effective=effective)

    # -- guards -------------------------------------------------------------------------------

    def asked(self, event: Event) -> Asked:
        """What guards are asked about an event: one of the log, or a draft (VETO-2).

        Raises:
            UnknownObject: no such object here.
            InvalidEvent: it is no draft, and points at what is not in its past.
        """
        rows = Overlay(self._store)  # not what was lately used: this is asked without the lock
        if event.is_genesis:
            return guards.asked_of_genesis(rows, event)
        no = self._no(event.object)
        row = _object_row(rows, no)
        value = rows.get(keyspace.place_key(event.id))
        if value is not None:
            return guards.asked(rows, row, event, layout.unpack_place(value))
        parents = [log.place_of(rows, parent) for parent in event.parents]
        placement = log.place(rows, no, event, parents, row.chains)
        trial = Overlay(rows, placement.rows)
        state.check_targets(trial, placement.place, event)
        return guards.asked(trial, row, event, placement.place)

    def model_of(self, event: Event) -> str:
        """The model of the object an event is of, a draft or one of the log. Under the lock.

        Raises:
            UnknownObject: no such object here.
        """
        first = event.ops[0]
        if isinstance(first, Create):
            return first.model
        value = self._rows.get(keyspace.object_key(event.object))
        if value is None:
            raise UnknownObject(f"no object {short(event.object)}... is known here")
        return _object_row(self._rows, layout.unpack_u32(value)).model

    def _no(self, object_id: bytes) -> int:
        value = self._store.get(keyspace.object_key(object_id))
        if value is None:
            raise UnknownObject(f"no object {short(object_id)}... is known here")
        return layout.unpack_u32(value)

    def waiting(self, object_id: bytes) -> Event | None:
        """The first event of an object, in order, that waits for the guards; None if none does.

        Where they refused the genesis, all after it waits, and nobody is asked.
        """
        no = self._no(object_id)
        first = next(vetoes.waiting(self._store, no), None)
        if first is None:
            return None
        event = log.event_at(self._store, no, *first)
        if _object_row(self._store, no).hidden and not event.is_genesis:
            return None
        return event

    def objects_waiting(self) -> Iterator[ObjectId]:
        """The objects with events that wait for the guards."""
        for no in vetoes.objects_waiting(self._store):
            yield ObjectId(_object_row(self._store, no).id)

    def answer(self, event: Event, veto: Veto | None) -> Proposal:
        """The guards let an event pass that waits for them, or refuse it; nothing is written."""
        proposal = Proposal([], Overlay(self._rows), self._tip, self._tip, None, watched=True)
        rows = proposal.rows
        place = log.place_of(rows, event.id)
        row = _object_row(rows, place.no)
        seen: list[Change] = []
        if rows.get(keyspace.waiting_key(place.no, event.t, event.id)) is not None:
            if veto is None:
                row = verdicts.show(
                    rows, vetoes.release(rows, row, place, event), event, place, seen
                )
                rows.rows[keyspace.object_row_key(place.no)] = row.pack()
                indexed = self.indexes.of(row.model)
                indexes.follow(rows, row.model_no, place.no, indexed, seen)
            else:
                vetoes.refuse(rows, place, event, veto)
        proposal.outcomes = [Answered(event, row.model, place.flags, veto, tuple(seen))]
        return proposal

    def lift(self, event_id: bytes) -> Proposal:
        """Let a vetoed event wait for the guards again; nothing is written.

        Raises:
            KeyError: no such event, or it is not vetoed.
        """
        proposal = Proposal([], Overlay(self._rows), self._tip, self._tip, None)
        value = self._store.get(keyspace.place_key(event_id))
        place = None if value is None else layout.unpack_place(value)
        if place is None or vetoes.veto_of(self._store, place.no, place.t, event_id) is None:
            raise KeyError(event_id)
        event = log.event_at(self._store, place.no, place.t, event_id)
        vetoes.lift(proposal.rows, place, event)
        return proposal

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
        self._fresh = None


def _object_row(rows: Readable, no: int) -> ObjectRow:
    value = rows.get(keyspace.object_row_key(no))
    if value is None:
        raise StoreCorrupt(f"object number {no} has events and no row")
    return layout.unpack_object(value)


def check_tip(store: Store) -> Tip:
    """The tip row of a store, after walking the arrivals that no flush had confirmed.

    Writes the layout marker into an empty store.

    Raises:
        StoreCorrupt: another layout, or the arrivals do not lead to the tip.
    """
    marker = store.get(keyspace.FORMAT_KEY)
    value = store.get(keyspace.TIP_KEY)
    if marker is None:
        if value is not None or next(store.scan(b"", b"\xff"), None) is not None:
            raise StoreCorrupt("there are rows here, but no layout marker")
        store.write({keyspace.FORMAT_KEY: keyspace.LAYOUT})
        return layout.NOTHING
    if marker != keyspace.LAYOUT:
        raise StoreCorrupt(
            f"the store has layout {marker!r:.20}, this version reads {keyspace.LAYOUT!r}"
        )
    if value is None:
        if store.get(keyspace.arrival_key(1)) is not None:
            raise StoreCorrupt("there are events here, but no tip")
        return layout.NOTHING
    tip = layout.unpack_tip(value)
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
    no, t, event_id = layout.unpack_arrival(arrival)
    raw = store.get(keyspace.event_key(no, t, event_id))
    if raw is None:
        return False
    try:
        return open_envelope_untrusted(raw).id == event_id
    except InvalidEvent:
        return False
