"""What comes in from outside: events of peers and of bundles, judged and kept.

Bytes are opened and signatures checked on every core and without the lock; then batches go through
the gate. What cannot be judged yet waits in memory, bounded by source (ORD-4, ORD-9), and is judged
with the batch that brings what it lacked, or when it is due.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from dinemic.gate import Gate
from dinemic.guarding import Guarding
from dinemic.openers import Openers
from dinemic_engine.errors import BundleError, InvalidEvent
from dinemic_engine.event import Envelope, Event, open_envelope_untrusted
from dinemic_engine.ids import short
from dinemic_engine.ops import Create
from dinemic_engine.outcomes import Admitted, Ahead, Duplicate, Ingested, Orphan, Refused, Surplus
from dinemic_engine.waiting import Waiting

INGEST_BATCH: Final = 256
"""Events judged and written in one batch; bounds how long the lock is held."""


class Intake:
    """Lets in what others made, of the models that are `subscribed` to."""

    def __init__(
        self,
        gate: Gate,
        guarding: Guarding,
        subscribed: Callable[[str], bool],
        check_open: Callable[[], None],
        openers: Openers,
    ) -> None:
        self.waiting: Final = Waiting()
        self._gate = gate
        self._guarding = guarding
        self._subscribed = subscribed
        self._check_open = check_open
        self._openers = openers

    def ingest(self, source: bytes, events: Sequence[bytes]) -> Ingested:
        """Judge and keep events a peer sent; see `dinemic_transport.replica.Replica`."""
        self._check_open()
        invalid: list[tuple[int, str]] = []
        fresh: list[tuple[int, Envelope]] = []
        for position, raw in enumerate(events):
            try:
                envelope = open_envelope_untrusted(raw)
            except InvalidEvent as error:
                invalid.append((position, error.reason.value))
            else:
                if not self._gate.ledger.knows(envelope.id):
                    fresh.append((position, envelope))
        opened = self._open_untrusted(fresh, invalid)
        duplicate = len(events) - len(invalid) - len(opened)
        with self._gate.lock:
            self._gate.counters.duplicate += duplicate
            self._gate.counters.refused.update(reason for _, reason in invalid)
        tally = self.judge([(source, event) for _, event in opened.values() if self._wanted(event)])
        for refusal, event in tally.refused:
            if event.id in opened:  # else one that had waited, and is nobody's fault by now
                invalid.append((opened[event.id][0], refusal.reason.value))
        return Ingested(
            tally.admitted,
            duplicate + tally.duplicate,
            len(tally.waiting),
            tuple(sorted(invalid)),
            tuple(parent for parent in tally.lacking if not self._is_here(parent)),
        )

    def forget(self, source: bytes) -> None:
        """A peer is gone: what it sent and nobody could judge gives way; it comes again."""
        with self._gate.lock:
            self.waiting.forget(source)

    def _is_here(self, event_id: bytes) -> bool:
        return event_id in self.waiting or self._gate.ledger.knows(event_id)

    def _open_untrusted(
        self, envelopes: list[tuple[int, Envelope]], invalid: list[tuple[int, str]]
    ) -> dict[bytes, tuple[int, Event]]:
        """By id the good events of a batch, each with its position; the others go to `invalid`.

        A signature is no part of an id: where it does not fit, the next with that id may.
        """
        good: dict[bytes, tuple[int, Event]] = {}
        while envelopes:
            first: dict[bytes, tuple[int, Envelope]] = {}
            again: list[tuple[int, Envelope]] = []
            for position, envelope in envelopes:
                if envelope.id in first:
                    again.append((position, envelope))
                elif envelope.id not in good:
                    first[envelope.id] = position, envelope
            opened = self._openers.open_untrusted([envelope for _, envelope in first.values()])
            for (position, _), event in zip(first.values(), opened, strict=True):
                if isinstance(event, InvalidEvent):
                    invalid.append((position, event.reason.value))
                else:
                    good[event.id] = position, event
            envelopes = again
        return good

    def _wanted(self, event: Event) -> bool:
        """Whether an event's model is subscribed to; only a genesis can begin one (T3)."""
        first = event.ops[0]
        return not isinstance(first, Create) or self._subscribed(first.model)

    def judge(self, batch: list[tuple[bytes, Event]]) -> _Tally:
        """Admit what can be admitted of a batch and of what had been waiting for it; count it."""
        tally = _Tally()
        counters = self._gate.counters
        while batch:
            part, batch = batch[:INGEST_BATCH], batch[INGEST_BATCH:]
            with self._gate.lock:
                proposal = self._gate.prepare([event for _, event in part], self.waiting.vouched)
                self._gate.accept(proposal)
                admitted = proposal.admitted
                for (source, event), outcome in zip(part, proposal.outcomes, strict=True):
                    match outcome:
                        case Admitted(void=void):
                            tally.admitted += 1
                            counters.admitted += 1
                            counters.void += void
                        case Duplicate():
                            tally.duplicate += 1
                            counters.duplicate += 1
                        case Refused(error=error):
                            tally.refused.append((error, event))
                            self._guarding.refused(event)
                            counters.refused[error.reason.value] += 1
                        case Orphan(missing=missing):
                            vouches = self._gate.view.may_write(event.object, event.author)
                            if self.waiting.add_orphan(source, event, missing, vouches=vouches):
                                tally.waiting.add(event.id)
                                tally.lacking.update(dict.fromkeys(missing))
                        case Ahead():
                            if self.waiting.hold(source, event):
                                tally.waiting.add(event.id)
                        case Surplus():
                            if self.waiting.add_surplus(source, event):
                                tally.waiting.add(event.id)
                complete = self.waiting.arrived([found.event.id for found in admitted])
                complete += self.waiting.needed()
                tally.waiting.difference_update(event.id for _, event in complete)
                batch += complete
            if admitted or tally.waiting:
                self._gate.written()
        return tally

    def import_events(self, events: Sequence[Event], now_us: int) -> int:
        """Admit events that passed T0, all or none, parents first; how many of them are new.

        Whoever imports by hand means it: inert ones are kept, and models that are not subscribed.

        Raises:
            BundleError: one is refused, dated ahead of `now_us`, or lacks its parents.
            StoreError: the disk does not take them.
        """
        self._check_open()
        with self._gate.lock:
            self._check_open()
            self._gate.check_flushed()
            proposal = self._gate.prepare(events, None, now_us)
            for event, outcome in zip(events, proposal.outcomes, strict=True):
                if not isinstance(outcome, Admitted | Duplicate):
                    why = outcome.error if isinstance(outcome, Refused) else type(outcome).__name__
                    raise BundleError(f"event {short(event.id)}... cannot be admitted: {why}")
            self._gate.accept(proposal)
            admitted = proposal.admitted
            self._gate.counters.admitted += len(admitted)
            self._gate.counters.duplicate += len(events) - len(admitted)
            self._gate.counters.void += sum(found.void for found in admitted)
            complete = self.waiting.arrived([found.event.id for found in admitted])
            complete += self.waiting.needed()
        self._gate.written()
        self.judge(complete)
        return len(admitted)


@dataclass(slots=True)
class _Tally:
    admitted: int = 0
    duplicate: int = 0
    waiting: set[bytes] = field(default_factory=set)
    lacking: dict[bytes, None] = field(default_factory=dict)
    """Parents that were not here when they were looked for, in order."""
    refused: list[tuple[InvalidEvent, Event]] = field(default_factory=list)
