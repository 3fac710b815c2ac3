"""What this side asks of the peer, one drive at a time: catch-ups, and comparisons of verdicts.

::

    idle --rows due--> Catchup ----------moved, or not----------> idle
      |                   +----each side knew all of it----+
      +----------same events, judged differently-----------+--> Comparison --> idle

Where sums agree and the sets do not, the catch-up compares lists and not sums (listing.py).
A catch-up that found both sides to know all that is not equal ends in a comparison of the rows it
began with (comparison.py). Invariant: while something is under way its deadline is set, and what
the peer or a job does for it moves the deadline on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dinemic_engine.errors import TransportError
from dinemic_engine.reconcile import Settled
from dinemic_transport.catchup import Catchup, Window
from dinemic_transport.comparison import Comparison
from dinemic_transport.jobs import (
    AskJob,
    Checked,
    CheckJob,
    IngestJob,
    Job,
    LearnJob,
    Loaded,
    OfferJob,
    Outcome,
)
from dinemic_transport.messages import Answer, Ask, Confirm, Dispute, Got, Want
from dinemic_transport.replica import Ingested
from dinemic_transport.rows import Due, Match, Rows

REQUEST_SECONDS: Final = 300.0
"""How long a request may bring nothing: far above what slow listeners of the peer may take."""


@dataclass(frozen=True, slots=True)
class Offer:
    """Events to send to the peer, under minus `ticket`."""

    ticket: int
    model: str
    events: tuple[bytes, ...]


class Driver:
    """The drives of one session, of what is due by its `rows`. `count` adds to its counters."""

    def __init__(self, rows: Rows, count: Callable[..., None]) -> None:
        self.until = math.inf
        """When the peer must have answered."""
        self._rows = rows
        self._count = count
        self._due: Due | None = None
        """What the drive under way is about."""
        self._drive: Catchup | Comparison | None = None

    @property
    def is_busy(self) -> bool:
        """Whether something is under way."""
        return self._drive is not None

    @property
    def catching_up(self) -> str | None:
        """The model a catch-up is under way for."""
        return self._drive.model if isinstance(self._drive, Catchup) else None

    def deadline(self) -> float:
        """When the peer must have answered, or else when there is something to start."""
        return self._rows.deadline() if self._drive is None else self.until

    def allow(self, seconds: float) -> None:
        """Give the peer so much more time to answer."""
        self.until += seconds

    def start(self, now: float) -> None:
        """Begin with what is due, unless something is under way."""
        due = self._rows.take_due(now) if self._drive is None else None
        if due is not None and due.match is Match.JUDGED:
            self._compare(due, now)
        elif due is not None:
            listed = due.match is Match.HIDDEN
            self._due, self._drive = due, Catchup(due.mine.model, listed=listed)
            self._progress(now)
            self._count(catchups=1)

    def stop(self) -> None:
        """Drop what is under way."""
        self._drive, self.until = None, math.inf

    def advance(self, now: float) -> Job | Want | Dispute | None:
        """The next job to run or message to send; None while waiting, or with nothing to do."""
        while self._drive is not None:
            step = self._drive.advance()
            if isinstance(step, Want | Dispute):
                self._progress(now)
            elif self._drive.done:
                self._end(self._drive, now)
                continue
            return step
        return None

    def want(self, now: float) -> Want | None:
        """The next window to ask for, if one may be out besides those that are."""
        want = self._drive.want() if isinstance(self._drive, Catchup) else None
        if want is not None:
            self._progress(now)
        return want

    # -- input: a finished job --

    def completed(self, job: Job, outcome: Outcome, now: float) -> Ask | Offer | None:
        """A job of the drive is done: what to send, if anything."""
        self._progress(now)
        match self._drive, job, outcome:
            case Catchup() | Comparison() as drive, AskJob(), tuple():
                return drive.asked(outcome)
            case Catchup() | Comparison() as drive, LearnJob(), Settled():
                drive.learned(outcome)
            case Catchup() as drive, OfferJob(), Loaded():
                ticket = drive.offer(outcome)
                return None if ticket is None else Offer(ticket, drive.model, outcome.events)
            case Comparison() as drive, CheckJob(), Checked():
                drive.checked(outcome)
            case drive, _, _:
                name = type(drive).__name__
                raise AssertionError(f"{type(outcome).__name__} of a {type(job).__name__}, {name}")
        return None

    def ingested(self, job: IngestJob, outcome: Ingested, now: float) -> int:
        """Events asked for are judged: how many others the peer had named and did not deliver."""
        drive = self._drive
        if not isinstance(drive, Catchup):
            return 0
        drive.ingested(outcome, len(job.events))
        self._progress(now)
        return drive.fetched(job.ticket) if job.last else 0

    # -- input: the peer --

    def answered_untrusted(self, answer: Answer, now: float) -> Job:
        """The peer has answered: the job that learns from it.

        Raises:
            TransportError: nothing was asked.
        """
        if self._drive is None:
            raise TransportError("an answer to nothing asked")
        job = self._drive.answered_untrusted(answer)
        self._progress(now)
        return job

    def confirmed_untrusted(self, answer: Confirm, now: float) -> None:
        """The peer has answered a dispute.

        Raises:
            TransportError: there was none.
        """
        if not isinstance(self._drive, Comparison):
            raise TransportError("a confirmation of nothing disputed")
        self._drive.confirmed_untrusted(answer)
        self._progress(now)

    def got_untrusted(self, got: Got, now: float) -> None:
        """The peer has judged an offer.

        Raises:
            TransportError: nothing was offered under that ticket.
        """
        self._catchup().got_untrusted(got.ticket, got.admitted, got.known)
        self._progress(now)

    def window_untrusted(self, ticket: int, model: str, now: float) -> Window:
        """The window that is out, for events that came under `ticket`.

        Raises:
            TransportError: no such window is, or its last events have come.
        """
        window = self._catchup().window_untrusted(ticket, model)
        self._progress(now)
        return window

    def _catchup(self) -> Catchup:
        if not isinstance(self._drive, Catchup):
            raise TransportError("an answer to nothing asked")
        return self._drive

    # -- from one to the next --

    def _compare(self, due: Due, now: float) -> None:
        self._due, self._drive = due, Comparison(due.mine, due.theirs)
        self._progress(now)
        self._count(comparisons=1)

    def _end(self, drive: Catchup | Comparison, now: float) -> None:
        """See what it was good for, and go on with the next."""
        due = self._due
        assert due is not None, "a drive begins with what is due"
        self.stop()
        match drive:
            case Catchup():
                self._rows.caught_up(drive.model, now, moved=drive.moved > 0)
                if drive.listed:
                    self._rows.compared(drive.model, now)
                if drive.all_known and self._rows.may_compare(drive.model, now):
                    self._compare(due, now)
            case Comparison():
                self._rows.compared(drive.model, now)
                if drive.found is not None and self._rows.diverge(drive.found):
                    self._count(divergences=1)
        self.start(now)

    def _progress(self, now: float) -> None:
        self.until = now + REQUEST_SECONDS
