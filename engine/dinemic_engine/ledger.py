"""The one entrance: local edits and received events alike go `prepare`, then `accept`.

    draft      ops and a key            ->  a signed event, in memory only
    prepare    events that passed T0    ->  a Proposal: rows of one batch, verdicts, what must wait
    accept     a Proposal               ->  one atomic write; only then does memory switch

`prepare` writes nothing, so a proposal can be dropped; a crash before `accept` changed nothing and
one after it lost nothing. A ledger is not thread-safe: its owner holds one lock around
draft-prepare-accept.

Admission keeps the set of events closed under parents at every instant (ORD-1): an event enters
only in a batch that holds its parents or after they were written, and a batch is written whole.
That nothing fell out of it since is checked at open (arrivals.py).
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence

from dinemic_engine import guards, indexes, log, order, parents, state, verdicts, vetoes
from dinemic_engine.arrivals import check_tip
from dinemic_engine.errors import UnknownObject
from dinemic_engine.event import Event, sign_event, sign_together
from dinemic_engine.guards import Asked
from dinemic_engine.ids import AuthorId, EventId, ObjectId, short
from dinemic_engine.indexes import Indexes
from dinemic_engine.keys import SigningKey
from dinemic_engine.limits import PARENTS_MAX
from dinemic_engine.ops import Create, Op
from dinemic_engine.outcomes import Answered, Withhold
from dinemic_engine.proposal import Proposal
from dinemic_engine.store import Store, keyspace, layout
from dinemic_engine.store.layout import Head, Tip
from dinemic_engine.store.overlay import Overlay, Readable, Recent
from dinemic_engine.types.change import Change
from dinemic_engine.vetoes import Veto


class Ledger:
    """Events of all objects in one store."""

    def __init__(self, store: Store) -> None:
        """Open the rows of `store`, or begin in an empty one.

        Raises:
            StoreCorrupt: the store is of another layout, or lost rows from its middle.
        """
        self._store = store
        self._rows = Recent(store)
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

    def sign_together(self, key: SigningKey, ids: Sequence[EventId]) -> None:
        """Put one signature over admitted events of the holder of `key`, in place of each one's.

        Raises:
            InvalidEvent: one would be too large; nothing was written.
            ValueError: their number fills no tree (EV-10).
            StoreError: nothing was written.
        """
        places = [log.place_of(self._store, each) for each in ids]
        orders = [(place.no, place.t, each) for place, each in zip(places, ids, strict=True)]
        signed = sign_together(key, [log.raw_at(self._store, *order) for order in orders])
        keys = [keyspace.event_key(*order) for order in orders]
        self._store.write(dict(zip(keys, signed, strict=True)))

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
        if len(heads) > PARENTS_MAX:
            heads = parents.chosen(self._rows, no, heads, AuthorId(key.public), ops)
        t = order.next_t(now_us, [head.t for head in heads])
        return sign_event(key, object_id, t, [EventId(head.id) for head in heads], ops)

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
        row = log.object_row(self._rows, no)
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
            self._rows,
            self._tip,
            self._flushed,
            self.indexes,
            lifted=lifted,
            withhold=withhold,
            watched=watched,
        )
        proposal.judge(events, now_us)
        return proposal

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
        row = log.object_row(rows, no)
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
        return log.object_row(self._rows, layout.unpack_u32(value)).model

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
        if log.object_row(self._store, no).hidden and not event.is_genesis:
            return None
        return event

    def objects_waiting(self) -> Iterator[ObjectId]:
        """The objects with events that wait for the guards."""
        for no in vetoes.objects_waiting(self._store):
            yield ObjectId(log.object_row(self._store, no).id)

    def answer(self, event: Event, veto: Veto | None) -> Proposal:
        """The guards let an event pass that waits for them, or refuse it; nothing is written."""
        proposal = Proposal(self._rows, self._tip, self._flushed, self.indexes, watched=True)
        rows = proposal.rows
        place = log.place_of(rows, event.id)
        row = log.object_row(rows, place.no)
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
        proposal = Proposal(self._rows, self._tip, self._flushed, self.indexes)
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
