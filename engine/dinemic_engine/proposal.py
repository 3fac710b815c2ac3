"""A batch of events being judged, one after another: what `accept` would write of it.

Each event is judged on top of the rows of those before it, first by itself and its past (T1:
`admission`), then by all that is known (T2: `access`), and goes one of these ways::

    judge --- known here: Duplicate       too far ahead: Ahead        parents unknown: Orphan
      |
      '-- T1 --- no: Refused, no node ever takes it
           |
           '-- T2 --- void, and its author has enough inert events here: Surplus
                |
                '-- Admitted: its rows, its facts, its effects if it stands, and what that changes
                    in the verdicts, heads and tails of others (verdicts.py)

Nothing reaches the store from here, and what is not `Admitted` leaves no row. Invariant: a batch
ends as its events would if they came one by one in their order, parents first.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from dinemic_engine import access, admission, arrivals, indexes, log, order, state, verdicts, vetoes
from dinemic_engine.edits import only_edits, only_plain_writes
from dinemic_engine.errors import BrokenChain, InvalidEvent, Reason
from dinemic_engine.event import Event
from dinemic_engine.ids import EventId, short
from dinemic_engine.indexes import Indexes
from dinemic_engine.log import Placement
from dinemic_engine.ops import Create
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
from dinemic_engine.store import keyspace, layout
from dinemic_engine.store.layout import AUTHORIZED, VOID, ObjectRow, Place, Tip
from dinemic_engine.store.overlay import Overlay, Readable
from dinemic_engine.types.change import Change


class Proposal:
    """What `accept` would write, and what became of each event."""

    __slots__ = (
        "_arrivals",
        "_flushed",
        "_indexes",
        "_lifted",
        "_recount",
        "_withhold",
        "admitted",
        "outcomes",
        "parent_tip",
        "rows",
        "tip",
        "watched",
    )

    def __init__(
        self,
        rows: Readable,
        tip: Tip,
        flushed: tuple[int, bytes],
        indexes: Indexes,
        *,
        lifted: Container[bytes] | None = None,
        withhold: Withhold | None = None,
        watched: bool = False,
    ) -> None:
        """Begin on top of `rows`, which hold what `tip` counts; `flushed` of that is on disk.

        `lifted`, `withhold` and `watched` are those of `Ledger.prepare`.
        """
        self.outcomes: list[Outcome] = []
        """In the order the events were given."""
        self.rows = Overlay(rows)
        self.tip = self.parent_tip = tip
        self.watched = watched
        self.admitted: list[Admitted] = []
        """The events that `accept` would let in, in the order they were judged: parents first."""
        self._arrivals: list[bytes] = []
        """Their ``L`` rows."""
        self._recount = Recount()
        """What they change in the reconciled sets; its rows are written last."""
        self._flushed = flushed
        self._indexes = indexes
        self._lifted = lifted
        self._withhold = withhold

    @property
    def changing(self) -> Sequence[Admitted | Answered]:
        """The outcomes that may change what a reader sees, in the order that happens."""
        answered = [outcome for outcome in self.outcomes if type(outcome) is Answered]
        return [*self.admitted, *answered]

    def judge(self, events: Sequence[Event], now_us: int) -> None:
        """Judge all the events there are for this proposal; once."""
        if len(events) == 1:  # every local edit
            self.outcomes = [self._judge(events[0], now_us)]
        else:
            self.outcomes = self._judge_batch(events, now_us)
        if self._arrivals:
            self.tip = arrivals.extend(self.rows.rows, self.tip, self._arrivals, self._flushed)
            self._recount.write(self.rows)

    def _judge_batch(self, events: Sequence[Event], now_us: int) -> list[Outcome]:
        outcomes: dict[int, Outcome] = {}
        for index in sorted(range(len(events)), key=lambda i: (events[i].t, events[i].id)):
            outcomes[index] = self._judge(events[index], now_us)
        for index, outcome in outcomes.items():
            # Not older than a parent in the same batch, which so came after it: refused, as it
            # would be in a batch of its own.
            if type(outcome) is Orphan and all(
                self.rows.get(keyspace.place_key(parent)) for parent in outcome.missing
            ):
                outcomes[index] = self._judge(outcome.event, now_us)
        return [outcomes[index] for index in range(len(events))]

    def _judge(self, event: Event, now_us: int) -> Outcome:
        rows = self.rows
        if order.is_ahead(event.t, now_us):
            return Duplicate(event) if self._is_here(event) else Ahead(event)
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
            return self._admit(event, parents)
        except InvalidEvent as error:
            return Refused(event, error)

    def _is_here(self, event: Event) -> bool:
        return self.rows.get(keyspace.place_key(event.id)) is not None

    def _admit(self, event: Event, parents: list[Place]) -> Admitted | Duplicate | Surplus:
        """Check T1 and put the rows of an event that is new into the proposal.

        Raises:
            InvalidEvent: refused; the proposal is as before.
        """
        rows = self.rows
        if parents:
            no = parents[0].no
            row = log.object_row(rows, no)
            if row.id != event.object:
                raise BrokenChain(Reason.WRONG_OBJECT, f"parents are not of {short(event.object)}")
            placement = log.place(rows, no, event, parents, row.chains)
            if not placement.follows and self._is_here(event):
                return Duplicate(event)
            if event.author == row.owner and only_plain_writes(event.ops):
                authorized, flags = True, AUTHORIZED  # there is nothing to judge
            else:
                authorized, flags = self._judged(event, row, parents[0], placement)
            if (
                flags & VOID
                and self._lifted is not None
                and event.object not in self._lifted
                and not verdicts.has_room(rows, no, event)
            ):
                return Surplus(event)
        else:
            if self._is_here(event):
                return Duplicate(event)
            admission.judge_genesis(event)
            no, row = self._new_object(event)
            placement = log.place(rows, no, event, parents, 0)
            authorized, flags = True, AUTHORIZED
        place = Place(*placement.place[:-1], flags)
        rows.rows.update(placement.rows)
        self._write_event(event, place, row.model_no)
        changed = row
        if placement.chains != row.chains:
            changed = changed._replace(chains=placement.chains)
        indexed = self._indexes.of(row.model)
        seen: list[Change] | None = [] if self.watched or indexed else None
        withheld = row.hidden or (
            self._withhold is not None and self._withhold(row.model, event, authorized)
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
            self._recount.follow(changes, place.no)
            changed, flipped = changes.row, tuple(changes.flipped)
            inert = (event.t, event.id) in changes.inert
            revived = tuple([EventId(event_id) for _, event_id in changes.revived])
        if indexed and seen:
            indexes.follow(rows, row.model_no, no, indexed, seen)
        if changed is not row or not parents:
            rows.rows[keyspace.object_row_key(no)] = changed.pack()
        told = tuple(seen or ())
        admitted = Admitted(event, row.model, flags, inert, flipped, revived, told, withheld)
        self.admitted.append(admitted)
        return admitted

    def _judged(
        self, event: Event, row: ObjectRow, parent: Place, placement: Placement
    ) -> tuple[bool, int]:
        """(authorized by its past, flags by all that is known) of an event with that first parent.

        Raises:
            InvalidEvent: T1 refuses it.
        """
        place = placement.place
        trial = Overlay(self.rows if self.rows.rows else self.rows.store, placement.rows)
        stranger = event.author != row.owner
        known = stranger and placement.follows and admission.holds_on(row, parent, event)
        authorized = admission.judge(trial, row, event, place, known=known)
        state.check_targets(trial, place, event)
        if row.cuts and stranger:
            return authorized, access.verdict(trial, row, event, place)
        return authorized, AUTHORIZED if authorized else 0

    def _new_object(self, event: Event) -> tuple[int, ObjectRow]:
        """A number and a row for the object this genesis begins; written by the caller."""
        create = event.ops[0]
        assert isinstance(create, Create), "T0 lets a genesis begin with CREATE only"
        rows = self.rows
        tip = self.tip
        no = tip.objects
        model_value = rows.get(keyspace.model_key(create.model))
        if model_value is None:
            model_no = tip.models
            rows.rows[keyspace.model_key(create.model)] = layout.pack_u32(model_no)
            self.tip = tip = tip._replace(models=model_no + 1)
        else:
            model_no = layout.unpack_u32(model_value)
        self.tip = tip._replace(objects=no + 1)
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

    def _write_event(self, event: Event, place: Place, model_no: int) -> None:
        """The rows every event has, whatever its ops."""
        rows = self.rows.rows
        arrival = layout.pack_arrival(place.no, event.t, event.id)
        self._arrivals.append(arrival)
        rows[keyspace.event_key(place.no, event.t, event.id)] = event.raw
        rows[keyspace.place_key(event.id)] = place.pack()
        effective = not place.flags & VOID
        self._recount.admit(model_no, place.no, arrival[4:], effective=effective)
