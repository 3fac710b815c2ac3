"""One session: the conversation with one peer over one link, as a value (REC-3, REC-5, GOS-4).

A session is fed with messages, finished jobs and the time, and is asked what to send, what to run
and when to look again. It knows no sockets, tasks or clock::

              receive_untrusted, completed, push, refresh, tick
                                   |
        GREETING --Hello--> LISTING --rows--> HEARD --our Hello--> OPEN --...--> CLOSED
                                   |
                  next_message, next_job, deadline, synced

Both sides say `Hello` first, with a row (count and fingerprint) for each model. From then on each
says a new row whenever its set has changed and settled, so both know at any time whether they are
equal, for about 80 bytes a change. Rows that stay different (rows.py) start a `Catchup`, driven by
the smaller node id, or by a side that knows it dropped news; where there is nothing to catch up, a
`Comparison` of verdicts. Nothing is remembered from an earlier session, and one that is cut loses
no more than what was under way.

Events travel only in models both sides asked for. Every queue is bounded: news beyond the bound is
dropped and found again by a catch-up, and a peer that breaks a rule, falls silent or does not read
is closed. A slow node only delays its own requests, for it goes on reading.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

from dinemic_engine.errors import InvalidEvent, TransportError
from dinemic_engine.event import open_envelope_untrusted
from dinemic_transport.driver import Driver, Offer
from dinemic_transport.jobs import (
    BATCH_BYTES,
    AnswerJob,
    DisputeJob,
    IngestJob,
    Job,
    Loaded,
    Outcome,
    ServeJob,
)
from dinemic_transport.messages import (
    ALL_MODELS,
    Answer,
    Ask,
    Bye,
    Confirm,
    Dispute,
    Events,
    Got,
    Hello,
    Message,
    Part,
    Peers,
    Ping,
    Pong,
    Row,
    Summary,
    Want,
)
from dinemic_transport.pages import rows_pages
from dinemic_transport.peers import Score
from dinemic_transport.queues import Inbox, Outbox, Recent
from dinemic_transport.replica import Ingested
from dinemic_transport.rows import GRACE_SECONDS, Divergence, ModelStatus, Rows
from dinemic_transport.status import Counters
from dinemic_transport.wire import decode_untrusted

HELLO_SECONDS: Final = 10.0
PING_SECONDS: Final = 20.0
SILENCE_SECONDS: Final = 60.0
PROBE_SECONDS: Final = 5.0
"""How long a peer that may be gone has to answer when a new link to it has turned up."""

RECHECK_SECONDS: Final = (30.0, 300.0)
"""All rows are said again after 30 s +- 50 %, at growing intervals while they are equal."""

REQUESTS_MAX: Final = 4
"""Requests of the peer in line; an honest one has a single one out."""


class State(enum.Enum):
    """Where a session is; `_ALLOWED` says what may arrive there."""

    GREETING = "greeting"
    LISTING = "listing"
    HEARD = "heard"
    OPEN = "open"
    CLOSED = "closed"


_ALLOWED: Final[dict[State, tuple[type[Message], ...]]] = {
    State.GREETING: (Hello, Bye),
    State.LISTING: (Summary, Bye),
    State.HEARD: (Bye,),
    State.OPEN: (
        *(Summary, Ask, Answer, Want, Events, Part, Got, Dispute, Confirm),
        *(Ping, Pong, Bye, Peers),
    ),
    State.CLOSED: (),
}


def event_id_untrusted(raw: bytes) -> bytes:
    """The id of a signed event; its signature and payload are not looked at.

    Raises:
        InvalidEvent: not the envelope of an event.
    """
    return open_envelope_untrusted(raw).id


class Session:
    """The conversation over one link. Made when the link is; greets at the first `refresh`.

    `me` and `peer` are node ids, `cluster` the cluster's hash, `models` our subscriptions and
    `rand()` a number in 0..1 for jitter. `quiet` collects the ids of events that came by catch-up:
    they are no news to anybody else.
    """

    def __init__(
        self,
        me: bytes,
        peer: bytes,
        *,
        cluster: bytes,
        models: Sequence[str],
        now: float,
        rand: Callable[[], float],
        identify: Callable[[bytes], bytes] = event_id_untrusted,
        quiet: Recent | None = None,
    ) -> None:
        self.peer = peer
        self.state = State.GREETING
        self.reason = ""
        """Why the session is closed."""
        self.fault = False
        """Whether it was closed because the peer broke a rule."""
        self.counters = Counters()
        self.score = Score(now)
        self._cluster = cluster
        self._ours = tuple(models)
        self._theirs: tuple[str, ...] = ()
        self._rand = rand
        self._identify = identify
        self._quiet = quiet if quiet is not None else Recent()
        self._seen = Recent()
        """Events the peer surely has: it sent them, or was sent them."""
        self._rows = Rows(drives=me < peer)
        self._greeted = False
        self._outbox = Outbox()
        self._inbox = Inbox()
        self._requests: deque[Job] = deque()
        self._job: Job | None = None
        self._driver = Driver(self._rows, self._count)
        self._offered = Got(0, 0)
        """What has become so far of the events the peer offers."""
        self._told: Peers | None = None
        self._heard_at = self._spoke_at = now
        self._greet_until = now + HELLO_SECONDS
        self._probe_until = math.inf
        self._recheck_at = math.inf
        self._recheck_pause = RECHECK_SECONDS[0]
        self._recheck_catchups = 0
        """How many there had been when the last recheck was planned."""
        self._recheck = False

    # -- what it says about itself --

    @property
    def wants_rows(self) -> bool:
        """Whether it waits for a `refresh` with every row: to greet, or to say them all again."""
        return self.state is not State.CLOSED and (not self._greeted or self._recheck)

    @property
    def synced(self) -> bool:
        """Whether nothing is under way and every model both want is known to be equal.

        Equal in verdicts too: where two nodes diverge they are not in sync (VETO-4).
        """
        return (
            self.state is State.OPEN
            and not self._driver.is_busy
            and not self._inbox
            and not isinstance(self._job, IngestJob)
            and self._rows.all_equal
        )

    @property
    def catching_up(self) -> str | None:
        """The model a catch-up driven from here is under way for."""
        return self._driver.catching_up

    def shares(self, model: str) -> bool:
        """Whether both sides want `model`: only then may its events travel here."""
        return all(model in models or ALL_MODELS in models for models in (self._ours, self._theirs))

    def status(self, now: float) -> tuple[ModelStatus, ...]:
        """Every model both sides want and at least one has had events of, by name."""
        return self._rows.status(now) if self.state is State.OPEN else ()

    def deadline(self) -> float:
        """When `tick` has something to do."""
        if self.state is State.CLOSED:
            return math.inf
        silent = min(self._heard_at + SILENCE_SECONDS, self._probe_until)
        if self.state is not State.OPEN:
            return min(silent, self._greet_until)
        return min(
            silent,
            self._spoke_at + PING_SECONDS,
            self._driver.deadline(),
            math.inf if self._recheck else self._recheck_at,
        )

    # -- output --

    def next_message(self, now: float) -> Message | None:
        """The next message to send; after closing what is left, a `Bye` at most."""
        message = self._outbox.take()
        if message is not None:
            self._spoke_at = now
        return message

    def next_job(self, now: float) -> Job | None:
        """The next job to run, unless one is running: received events first, then requests.

        Whether there is one or not, asking may have put messages into line.
        """
        if self._job is not None or self.state is not State.OPEN:
            return None
        if self._inbox:
            self._job = self._inbox.take(self.peer)
        elif self._outbox.size < BATCH_BYTES:  # loading more would only fill memory
            self._job = self._requests.popleft() if self._requests else self._advance(now)
        return self._job

    def take_told(self) -> Peers | None:
        """What the peer has last told of nodes, once; to be asked for after each frame."""
        told, self._told = self._told, None
        return told

    def take_alarms(self) -> list[Divergence]:
        """What the peer was found to judge differently, once each."""
        return self._rows.take_alarms()

    # -- input: our side --

    def refresh(self, rows: Iterable[Row], stale: frozenset[str], now: float) -> None:
        """Take current rows of ours: all of them if it `wants_rows`, else those that changed.

        Models in `stale` have changed again since their row was read.
        """
        if self.state is State.CLOSED:
            return
        for row in rows:
            if self.state is not State.OPEN or self.shares(row.model):
                self._rows.read(row, stale=row.model in stale)
        if not self._greeted:
            self._greeted = True
            first, *more = rows_pages(self._rows.unsaid(everything=True))
            self._send(Hello(self._cluster, self._ours, first, bool(more)))
            self._say_rows(more)
            if self.state is State.HEARD:
                self._open(now)
        elif self.state is State.OPEN:
            unsaid = self._rows.unsaid(everything=self._recheck)
            if self._recheck:
                self._recheck = False
                self._plan_recheck(now)
            if unsaid:
                self._say_rows(rows_pages(unsaid))
            self._compare(now)

    def touch(self, model: str, now: float) -> None:
        """Our set of `model` has changed; its row follows by `refresh`."""
        if self.state is not State.CLOSED and (self.state is not State.OPEN or self.shares(model)):
            self._rows.touch(model, now)

    def push(self, model: str, events: Sequence[tuple[bytes, bytes]], now: float) -> None:
        """Send news, as (id, signed event), unless the peer is known to have it or wants none."""
        if self.state is not State.OPEN or not self.shares(model):
            return
        news = [(event_id, raw) for event_id, raw in events if event_id not in self._seen]
        if not news:
            return
        if not self._outbox.put_news(model, [raw for _, raw in news]):
            self._count(dropped=len(news))
            self.lose(model, now)
            return
        self._count(sent=len(news))
        for event_id, _ in news:
            self._seen.add(event_id)

    def lose(self, model: str, now: float) -> None:
        """News of `model` was not sent: see to it that a catch-up brings it soon."""
        if self.state is State.OPEN and self.shares(model):
            self._rows.lose(model, now)

    def tell(self, peers: Peers) -> None:
        """Tell the peer of nodes, ours or others."""
        if self.state is State.OPEN:
            self._send(peers)

    def probe(self, now: float) -> None:
        """The peer may be gone: close unless it is heard of within `PROBE_SECONDS`."""
        if self.state is State.OPEN and self._probe_until == math.inf:
            self._send(Ping())
            self._probe_until = now + PROBE_SECONDS

    def close(self, reason: str) -> None:
        """Say goodbye and stop. Idempotent."""
        if self.state is not State.CLOSED:
            self.lost_link(reason)
            self._send(Bye(reason))

    def lost_link(self, reason: str) -> None:
        """Stop without a word, for the link is gone. Idempotent."""
        if self.state is State.CLOSED:
            return
        self.state = State.CLOSED
        self.reason = reason
        self._driver.stop()
        self._outbox.clear()
        self._inbox.clear()
        self._requests.clear()

    def tick(self, now: float) -> None:
        """Do what is due: time-outs, a sign of life, a catch-up, a recheck."""
        if self.state is State.CLOSED:
            return
        if now >= min(self._heard_at + SILENCE_SECONDS, self._probe_until):
            self.close("the peer fell silent")
        elif self.state is not State.OPEN:
            if now >= self._greet_until:
                self.close("no greeting in time")
        elif now >= self._driver.until:
            self._refuse("a request was not answered in time")
        else:
            if now >= self._spoke_at + PING_SECONDS:
                self._spoke_at = now
                self._send(Ping())
            self._recheck = self._recheck or now >= self._recheck_at
            self._driver.start(now)

    # -- input: a finished job --

    def completed(self, job: Job, outcome: Outcome, now: float) -> None:
        """Take the outcome of the job that was handed out last."""
        assert job is self._job, "a job that was not handed out"
        self._job = None
        if self.state is State.CLOSED:
            return
        match job, outcome:
            case IngestJob(), Ingested():
                self._ingested(job, outcome, now)
            case AnswerJob(), Answer():
                self._send(outcome)
            case ServeJob(), Loaded():
                self._send_events(job.ticket, job.model, outcome.events)
            case DisputeJob(said), Confirm(confirmed=confirmed):
                self._send(outcome)
                found = Divergence(said.model, said.key[1], effective_here=not said.effective)
                if confirmed and self._rows.diverge(found):
                    self._count(divergences=1)
            case _:
                step = self._driver.completed(job, outcome, now)
                if isinstance(step, Offer):
                    self._send_events(-step.ticket, step.model, step.events)
                elif step is not None:
                    self._send(step)

    def failed(self, error: TransportError) -> None:
        """The job that was handed out found the peer's message against the rules."""
        self._job = None
        self._refuse(str(error))

    # -- input: the peer --

    def receive_frame_untrusted(self, frame: bytes, now: float) -> None:
        """Take a frame. One that holds no message closes the session."""
        try:
            message = decode_untrusted(frame)
        except TransportError as error:
            self._refuse(str(error))
        else:
            self.receive_untrusted(message, now)

    def receive_untrusted(self, message: Message, now: float) -> None:
        """Take a message. One that is not allowed here and now closes the session."""
        if self.state is State.CLOSED:
            return
        self._heard_at = now
        self._probe_until = math.inf
        try:
            if not isinstance(message, _ALLOWED[self.state]):
                raise TransportError(f"{type(message).__name__} while {self.state.value}")
            self._take(message, now)
        except TransportError as error:
            self._refuse(str(error))

    def _take(self, message: Message, now: float) -> None:
        match message:
            case Hello():
                if message.cluster != self._cluster:
                    raise TransportError("the peer belongs to another cluster")
                self._theirs = message.models
                self._hear_rows(message, now)
            case Summary():
                self._hear_rows(message, now)
            case Ask(model, segments, effective):
                self._queue(AnswerJob(self._shared(model), segments, effective))
            case Dispute(model):
                self._shared(model)
                self._queue(DisputeJob(message))
            case Want(ticket, model, ids):
                self._queue(ServeJob(ticket, self._shared(model), ids))
            case Answer():
                self._requests.append(self._driver.answered_untrusted(message, now))
            case Got():
                self._driver.got_untrusted(message, now)
            case Confirm():
                self._driver.confirmed_untrusted(message, now)
            case Events(events=events, last=last):
                self._inbox.check_whole_untrusted()
                self._take_events(message, events, now, last=last)
            case Part():
                raw = self._inbox.join_untrusted(message)
                if raw is not None:
                    self._take_events(message, [raw], now, last=False)
            case Ping():
                if Pong() not in self._outbox:
                    self._send(Pong())
            case Pong():
                pass
            case Peers():
                self._told = message
            case Bye(reason):
                self.lost_link(f"the peer said: {reason}")

    def _hear_rows(self, message: Hello | Summary, now: float) -> None:
        self._rows.heard_untrusted(row for row in message.rows if self.shares(row.model))
        if self.state is State.OPEN:
            self._compare(now)
        elif message.more:
            self.state = State.LISTING
        elif self._greeted:
            self._open(now)
        else:
            self.state = State.HEARD

    def _open(self, now: float) -> None:
        """Both have said Hello, and the peer all its rows."""
        self.state = State.OPEN
        self._rows.keep(self.shares)
        unsaid = self._rows.unsaid()
        if unsaid:
            self._say_rows(rows_pages(unsaid))
        self._compare(now, grace=0.0)
        self._plan_recheck(now)

    def _take_events(
        self, message: Events | Part, events: Sequence[bytes], now: float, *, last: bool
    ) -> None:
        """Check what came against what was asked for, and put it in line for the node."""
        ticket, model = message.ticket, self._shared(message.model)
        window = self._driver.window_untrusted(ticket, model, now) if ticket > 0 else None
        accepted: list[bytes] = []
        for raw in events:
            try:
                event_id = self._identify(raw)
            except InvalidEvent as error:
                self._count(refused=1)
                self._punish(Score.T0, now, str(error))
                continue
            if window is not None:
                window.arrived_untrusted(event_id)
            if ticket:
                self._quiet.add(event_id)
            self._seen.add(event_id)
            accepted.append(raw)
        if self.state is State.CLOSED:
            return
        if window is not None:
            window.last_arrived = last
        self._count(received=len(events))
        if not self._inbox.put(ticket, model, accepted, last=last):
            if ticket:
                raise TransportError("more events than a request can bring")
            self._count(dropped=len(accepted))

    # -- the node's verdicts --

    def _ingested(self, job: IngestJob, outcome: Ingested, now: float) -> None:
        """Count and score what became of a batch; close its ticket if it was the last of it."""
        self._count(
            admitted=outcome.admitted,
            duplicate=outcome.duplicate,
            waiting=outcome.waiting,
            refused=len(outcome.invalid),
        )
        self.score.reward(outcome.admitted, now)
        for _, reason in outcome.invalid:
            self._punish(Score.T0 if reason.startswith("EV-") else Score.T1, now, reason)
        if job.ticket < 0:
            admitted = self._offered.admitted + outcome.admitted
            self._offered = Got(-job.ticket, admitted, self._offered.known + outcome.duplicate)
            if job.last and self.state is State.OPEN:
                self._send(self._offered)
                self._offered = Got(0, 0)
        elif job.ticket > 0:
            for _ in range(self._driver.ingested(job, outcome, now)):
                self._punish(Score.UNDELIVERED, now, "named and not delivered")

    def _punish(self, points: float, now: float, reason: str) -> None:
        if self.score.punish(points, now):
            self._refuse(f"too many faults, the last: {reason}")

    # -- rows and catch-ups --

    def _say_rows(self, pages: Sequence[tuple[Row, ...]]) -> None:
        for number, page in enumerate(pages, 1):
            self._send(Summary(page, number < len(pages)))

    def _compare(self, now: float, grace: float = GRACE_SECONDS) -> None:
        self._rows.compare(now, grace)
        self._driver.start(now)

    def _advance(self, now: float) -> Job | None:
        """Take the drive a step on: send its next request, or hand out its next job."""
        step = self._driver.advance(now)
        if not isinstance(step, Want | Dispute):
            return step
        self._send(step)
        return None

    def _plan_recheck(self, now: float) -> None:
        """All rows again in a while: it costs little and finds what nothing else did."""
        if self.counters.catchups != self._recheck_catchups:
            self._recheck_catchups = self.counters.catchups
            self._recheck_pause = RECHECK_SECONDS[0]
        self._recheck_at = now + self._recheck_pause * (0.5 + self._rand())
        if self._rows.all_equal:
            self._recheck_pause = min(2 * self._recheck_pause, RECHECK_SECONDS[1])

    def _shared(self, model: str) -> str:
        if not self.shares(model):
            raise TransportError("a model that one of us did not ask for")
        return model

    # -- queues and the end --

    def _queue(self, job: Job) -> None:
        if len(self._requests) >= REQUESTS_MAX:
            raise TransportError(f"more than {REQUESTS_MAX} requests at once")
        self._requests.append(job)

    def _send_events(self, ticket: int, model: str, events: Sequence[bytes]) -> None:
        self._outbox.put_events(ticket, model, events)
        self._count(sent=len(events))
        self._check_outbox()

    def _send(self, message: Message) -> None:
        self._outbox.put(message)
        self._check_outbox()

    def _check_outbox(self) -> None:
        if self._outbox.is_full:
            self.close("the peer does not read")

    def _refuse(self, reason: str) -> None:
        if self.state is not State.CLOSED:
            self.fault = True
            self.close(reason)

    def _count(self, **more: int) -> None:
        counts = {name: getattr(self.counters, name) + count for name, count in more.items()}
        self.counters = replace(self.counters, **counts)
