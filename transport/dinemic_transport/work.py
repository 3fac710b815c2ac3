"""What is done for one session on a worker thread: one job at a time, and whose turn it is.

::

    the peer asks ---> requests, 4 at most --.
    it sends events -> arrivals.py ----------+--> next_job --> thread --> completed
    we ask of it ----> driver.py ------------'                                |
          what is to be sent goes to departures.py, the rest to whose job it was

Requests and received events take turns, so neither waits for all of the other; what this side asks
comes last. What would load events waits while the link has much to send.

Invariant: a job is handed out when the one before is over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from dinemic_engine.errors import TransportError
from dinemic_engine.ids import to_text
from dinemic_transport.arrivals import Arrivals
from dinemic_transport.departures import Departures
from dinemic_transport.driver import Driver, Offer
from dinemic_transport.jobs import (
    AnswerJob,
    DisputeJob,
    IngestJob,
    Job,
    Loaded,
    Outcome,
    ServeJob,
    TellJob,
    Told,
)
from dinemic_transport.messages import Answer, Confirm, Dispute, Got, Prune, Want
from dinemic_transport.replica import Ingested
from dinemic_transport.rows import Divergence, Rows
from dinemic_transport.score import Score

REQUESTS_MAX: Final = 4
"""Requests of the peer in line; an honest one has two out (catchup.py)."""


class Work:
    """The jobs of one session. `count` adds to its counters."""

    def __init__(
        self,
        rows: Rows,
        arrivals: Arrivals,
        departures: Departures,
        driver: Driver,
        identify: Callable[[bytes], bytes],
        count: Callable[..., None],
    ) -> None:
        self._rows = rows
        self._arrivals = arrivals
        self._news = arrivals.news
        self._departures = departures
        self._driver = driver
        self._identify = identify
        self._count = count
        self._requests: deque[Job] = deque()
        self._job: Job | None = None
        self._served = False
        """Whether the last job was for a request of the peer."""

    @property
    def is_judging(self) -> bool:
        """Whether received events are being judged."""
        return isinstance(self._job, IngestJob)

    @property
    def may_have_job(self) -> bool:
        """Whether it is worth asking `next_job`."""
        asked = self._requests or self._news.is_grafted or self._arrivals
        return bool(asked) or self._driver.is_busy

    def asked_untrusted(self, job: Job) -> None:
        """Put a request of the peer in line.

        Raises:
            TransportError: it asks too much at once.
        """
        if len(self._requests) >= REQUESTS_MAX:
            raise TransportError(f"more than {REQUESTS_MAX} requests at once")
        self._requests.append(job)

    def answered(self, job: Job) -> None:
        """Put in line what learns from an answer to our question; there is one at a time."""
        self._requests.append(job)

    def clear(self) -> None:
        """Drop what is in line."""
        self._requests.clear()

    def next_job(self, now: float) -> Job | None:
        """The next job, unless one is running. Asking may have put messages into line."""
        if self._job is not None:
            return None
        room = self._departures.has_room
        asked = bool(self._requests) or self._news.is_grafted
        self._served = asked and room and not (self._arrivals and self._served)
        if self._served:
            grafted = self._news.take_grafted()
            self._job = TellJob(*grafted) if grafted else self._requests.popleft()
        elif self._arrivals:
            self._ask_on(now)  # the next window leaves while this one is judged
            self._job = self._arrivals.take_job()
        elif room:
            self._job = self._advance(now)
        return self._job

    def over(self, job: Job) -> None:
        """The job that was handed out is over, well or badly."""
        assert job is self._job, "a job that was not handed out"
        self._job = None

    def completed(self, job: Job, outcome: Outcome, now: float) -> None:
        """Take the outcome of a job.

        Raises:
            TransportError: it shows that the peer is to be cut off.
        """
        match job, outcome:
            case IngestJob(), Ingested():
                self._ingested(job, outcome, now)
            case AnswerJob(), Answer():
                self._departures.send(outcome)
            case ServeJob(), Loaded():
                self._departures.send_events(job.ticket, job.model, outcome.events)
            case TellJob(model), Told(events, rest):
                self._news.put_back(model, rest)
                news = [(self._identify(raw), raw) for raw in events]
                self._departures.send_news(model, news, now)
            case DisputeJob(said), Confirm(confirmed=confirmed):
                self._departures.send(outcome)
                event_id = to_text(said.key[1])
                found = Divergence(said.model, event_id, effective_here=not said.effective)
                if confirmed and self._rows.diverge(found):
                    self._count(divergences=1)
            case _:
                step = self._driver.completed(job, outcome, now)
                if isinstance(step, Offer):
                    self._departures.send_events(-step.ticket, step.model, step.events)
                elif step is not None:
                    self._departures.send(step)

    def _ingested(self, job: IngestJob, outcome: Ingested, now: float) -> None:
        """Count and score what became of a batch; close its ticket if it was the last of it."""
        match self._arrivals.judged(job, outcome, now):
            case Got() as got:
                self._departures.send(got)
            case True:
                self._departures.send(Prune())
        if job.ticket > 0:
            for _ in range(self._driver.ingested(job, outcome, now)):
                self._arrivals.punish(Score.UNDELIVERED, now, "named and not delivered")

    def _advance(self, now: float) -> Job | None:
        """Take the drive a step on: send its next requests, or hand out its next job."""
        while isinstance(step := self._driver.advance(now), Want | Dispute):
            self._departures.send(step)
        return step

    def _ask_on(self, now: float) -> None:
        while (want := self._driver.want(now)) is not None:
            self._departures.send(want)
