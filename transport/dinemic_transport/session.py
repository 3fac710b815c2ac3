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

Events travel only in models both sides asked for: in by arrivals.py, out by departures.py. Jobs are
handed out one at a time (work.py). Every queue is bounded: news beyond the bound is dropped and
found again by a catch-up. A peer that breaks a rule, falls silent or does not read is closed; who
says too much is not read until `ready_at`. A slow node only delays its own requests, for it goes on
reading.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import replace

from dinemic_engine.errors import TransportError
from dinemic_transport.arrivals import Arrivals, event_id_untrusted
from dinemic_transport.departures import Departures
from dinemic_transport.driver import Driver
from dinemic_transport.jobs import AnswerJob, DisputeJob, IngestJob, Job, Outcome, ServeJob
from dinemic_transport.liveness import Liveness
from dinemic_transport.messages import (
    ALL_MODELS,
    Answer,
    Ask,
    Bye,
    Confirm,
    Dispute,
    Events,
    Got,
    Graft,
    Have,
    Hello,
    Message,
    Part,
    Peers,
    Ping,
    Pong,
    Prune,
    Row,
    Summary,
    Want,
)
from dinemic_transport.news import Heard
from dinemic_transport.pages import rows_pages
from dinemic_transport.rechecks import Rechecks
from dinemic_transport.rows import GRACE_SECONDS, Divergence, ModelStatus, Rows
from dinemic_transport.score import Score
from dinemic_transport.states import ALLOWED, State
from dinemic_transport.status import Counters
from dinemic_transport.wire import decode_untrusted
from dinemic_transport.work import Work


class Session:
    """The conversation over one link. Made when the link is; greets at the first `refresh`.

    `me` and `peer` are node ids, `cluster` the cluster's hash, `models` our subscriptions and
    `rand()` a number in 0..1 for jitter. All sessions of a node share what they `heard`.
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
        heard: Heard | None = None,
    ) -> None:
        self.peer = peer
        self.state = State.GREETING
        self.reason = ""
        """Why the session is closed."""
        self.fault = False
        """Whether it was closed because the peer broke a rule."""
        self.full = False
        """Whether it was closed, on either side, only because there were links enough."""
        self.counters = Counters()
        self.clock_ahead_us: int | None = None
        """The peer's clock less our `now`, as heard last; of use beside that of others (ORD-5)."""
        self._cluster = cluster
        self._ours = tuple(models)
        self._theirs: tuple[str, ...] = ()
        self._heard = heard if heard is not None else Heard()
        self._arrivals = Arrivals(
            peer, identify=identify, heard=self._heard, count=self._count, now=now
        )
        self._news = self._arrivals.news
        self._liveness = Liveness(now)
        self._held_at: float | None = None
        """Since when the link is not read."""
        self._rows = Rows(drives=me < peer)
        self._greeted = False
        self._departures = Departures(self._news, self._count, self.lose, self._overflow)
        self._outbox = self._departures.outbox
        self._driver = Driver(self._rows, self._count)
        self._work = Work(
            self._rows, self._arrivals, self._departures, self._driver, identify, self._count
        )
        self._told: Peers | None = None
        self._rechecks = Rechecks(rand)

    # -- what it says about itself --

    @property
    def wants_rows(self) -> bool:
        """Whether it waits for a `refresh` with every row: to greet, or to say them all again."""
        return self.state is not State.CLOSED and (not self._greeted or self._rechecks.due)

    @property
    def synced(self) -> bool:
        """Whether nothing is under way and every model both want is known to be equal.

        Equal in verdicts too: where two nodes diverge they are not in sync (VETO-4).
        """
        return (
            self.state is State.OPEN
            and not self._driver.is_busy
            and not self._arrivals
            and not self._work.is_judging
            and self._rows.all_equal
        )

    @property
    def catching_up(self) -> str | None:
        """The model a catch-up driven from here is under way for."""
        return self._driver.catching_up

    @property
    def score(self) -> Score:
        """What the peer's events were worth."""
        return self._arrivals.score

    @property
    def ready_at(self) -> float:
        """When the link may be read again; nothing that was said is lost meanwhile (GOS-3)."""
        return self._arrivals.ready_at

    def is_unproven(self, job: Job) -> bool:
        """Whether a job is to judge what came from a peer that has brought nothing of use yet."""
        return isinstance(job, IngestJob) and self._arrivals.allowance.is_unproven

    @property
    def has_message(self) -> bool:
        """Whether `next_message` has one."""
        return self._outbox.size > 0

    @property
    def has_room(self) -> bool:
        """Whether so little waits to be sent that more may be loaded and fill memory."""
        return self._departures.has_room

    @property
    def may_have_job(self) -> bool:
        """Whether it is worth asking `next_job`."""
        return self._work.may_have_job

    def shares(self, model: str) -> bool:
        """Whether both sides want `model`: only then may its events travel here."""
        return all(model in models or ALL_MODELS in models for models in (self._ours, self._theirs))

    @property
    def is_of_use(self) -> bool:
        """Whether there may be a model both sides want."""
        ours, theirs = set(self._ours), set(self._theirs)
        return bool(ours and theirs and (ours & theirs or ALL_MODELS in ours | theirs))

    def status(self, now: float) -> tuple[ModelStatus, ...]:
        """Every model both sides want and at least one has had events of, by name."""
        return self._rows.status(now) if self.state is State.OPEN else ()

    def deadline(self) -> float:
        """When `tick` has something to do."""
        if self.state is State.CLOSED:
            return math.inf
        is_held = self._held_at is not None
        heard = math.inf if is_held else self._liveness.deadline()
        if self.state is not State.OPEN:
            return heard
        ours = min(self._liveness.ping_at, self._news.names_due, self._rechecks.deadline())
        return ours if is_held else min(ours, heard, self._driver.deadline(), self._news.deadline())

    # -- output --

    def next_message(self, now_us: int = 0) -> Message | None:
        """The next message to send; after closing what is left, a `Bye` at most.

        `now_us` is our clock, told to the peer: microseconds since the epoch.
        """
        return self._departures.take(now_us)

    def next_job(self, now: float) -> Job | None:
        """The next job to run, unless one is running: received events and requests in turns.

        Whether there is one or not, asking may have put messages into line.
        """
        return self._work.next_job(now) if self.state is State.OPEN else None

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
            self._departures.send(Hello(self._cluster, self._ours, first, bool(more)))
            self._say_rows(more)
            if self.state is State.HEARD:
                self._open(now)
        elif self.state is State.OPEN:
            unsaid = self._rows.unsaid(everything=self._rechecks.due)
            if self._rechecks.due:
                self._plan_recheck(now)
            if unsaid:
                self._say_rows(rows_pages(unsaid))
            self._compare(now)

    def touch(self, model: str, now: float) -> None:
        """Our set of `model` has changed; its row follows by `refresh`."""
        if self.state is not State.CLOSED and (self.state is not State.OPEN or self.shares(model)):
            self._rows.touch(model, now)

    def push(
        self,
        model: str,
        events: Sequence[tuple[bytes, bytes]],
        now: float,
        *,
        others: Container[bytes] = frozenset(),
    ) -> None:
        """Tell of news, as (id, signed event), unless the peer is known to have it or wants none.

        Of `others`, by id, a lazy link gets the names; so does of all news a peer at fault (GOS-4).
        """
        if self.state is State.OPEN and self.shares(model):
            trusted = self.score.at(now) >= 0
            self._departures.push(model, events, now, others=others, trusted=trusted)

    def graft(self, model: str, ids: Iterable[bytes], now: float) -> None:
        """Ask for events the peer has named, and to be sent news at once from now on."""
        if self.state is State.OPEN and self.shares(model):
            asked = self._news.ask(ids, now)
            if asked:
                self._departures.send(Graft(model, asked))

    def lose(self, model: str, now: float) -> None:
        """News of `model` was not sent: see to it that a catch-up brings it soon."""
        if self.state is State.OPEN and self.shares(model):
            self._rows.lose(model, now)

    def tell(self, peers: Peers) -> None:
        """Tell the peer of nodes, ours or others."""
        if self.state is State.OPEN:
            self._departures.send(peers)

    def probe(self, now: float) -> None:
        """The peer may be gone: close unless it is heard of within `PROBE_SECONDS`."""
        if self.state is State.OPEN and self._liveness.probe(now):
            self._departures.send(Ping())

    def close(self, reason: str, *, full: bool = False) -> None:
        """Say goodbye and stop, maybe only because we have links enough. Idempotent."""
        if self.state is not State.CLOSED:
            self.lost_link(reason)
            self.full = full
            self._departures.send(Bye(reason, full))

    def lost_link(self, reason: str) -> None:
        """Stop without a word, for the link is gone. Idempotent."""
        if self.state is State.CLOSED:
            return
        self.state = State.CLOSED
        self.reason = reason
        self._driver.stop()
        self._outbox.clear()
        self._arrivals.clear()
        self._work.clear()

    def tick(self, now: float) -> None:
        """Do what is due: time-outs, a sign of life, a catch-up, a recheck."""
        if self.state is State.CLOSED:
            return
        ended = self._liveness.ended(now) if self._held_at is None else None
        if ended is not None:
            self.close(ended)
        elif self.state is State.OPEN:
            try:
                self._tick(now)
            except TransportError as error:
                self._refuse(str(error))

    def _tick(self, now: float) -> None:
        if self._held_at is None:
            if now >= self._driver.until:
                raise TransportError("a request was not answered in time")
            for _ in range(self._news.take_broken(now)):
                self._arrivals.punish(Score.UNDELIVERED, now, "named and not delivered")
        if self._liveness.take_ping(now):
            self._departures.send(Ping())
        self._departures.send_names(now)
        self._rechecks.tick(now)
        self._driver.start(now)

    # -- input: a finished job --

    def completed(self, job: Job, outcome: Outcome, now: float) -> None:
        """Take the outcome of the job that was handed out last."""
        self._work.over(job)
        if self.state is State.CLOSED:
            return
        try:
            self._work.completed(job, outcome, now)
        except TransportError as error:
            self._refuse(str(error))

    def failed(self, job: Job, error: TransportError) -> None:
        """The job that was handed out found the peer's message against the rules."""
        self._work.over(job)
        self._refuse(str(error))

    # -- input: the peer --

    def hold(self, now: float) -> None:
        """The link is not read from now on, see `ready_at`: no time runs for the peer meanwhile."""
        if self._held_at is None:
            self._held_at = now

    def read_on(self, now: float) -> None:
        """The link is read again; what the peer owes it owes as much later."""
        if self._held_at is not None:
            seconds, self._held_at = now - self._held_at, None
            self._liveness.allow(seconds)
            self._driver.allow(seconds)
            self._news.allow(seconds)

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
        self._liveness.heard(now)
        self._arrivals.allowance.said(message, now)
        try:
            if not isinstance(message, ALLOWED[self.state]):
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
                self._hear_clock(message, now)
                self._hear_rows(message, now)
            case Summary():
                self._hear_rows(message, now)
            case Ask(model, segments, effective, listed):
                self._work.asked_untrusted(
                    AnswerJob(self._shared(model), segments, effective, listed)
                )
            case Dispute(model):
                self._shared(model)
                self._work.asked_untrusted(DisputeJob(message))
            case Want(ticket, model, ids):
                self._work.asked_untrusted(ServeJob(ticket, self._shared(model), ids))
            case Answer():
                self._work.answered(self._driver.answered_untrusted(message, now))
            case Got():
                self._driver.got_untrusted(message, now)
            case Confirm():
                self._driver.confirmed_untrusted(message, now)
            case Events(ticket, model) | Part(ticket, model):
                self._shared(model)
                window = self._driver.window_untrusted(ticket, model, now) if ticket > 0 else None
                if self._arrivals.take_untrusted(message, window, now):
                    self._departures.send(Prune())
            case Have(model, ids):
                self._hear_names(self._shared(model), ids, now)
            case Graft(model, ids):
                self._news.graft_untrusted(self._shared(model), ids)
            case Prune():
                self._news.lazy = True
            case Ping():
                self._hear_clock(message, now)
                if not self._outbox.has_pong:
                    self._departures.send(Pong())
            case Pong():
                self._hear_clock(message, now)
            case Peers():
                self._told = message
            case Bye(reason, full):
                self.full = full
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
        self._liveness.greeted(now)
        self._rows.keep(self.shares)
        unsaid = self._rows.unsaid()
        if unsaid:
            self._say_rows(rows_pages(unsaid))
        self._compare(now, grace=0.0)
        self._plan_recheck(now)

    def _hear_names(self, model: str, ids: Sequence[bytes], now: float) -> None:
        for event_id in ids:
            self._news.seen.add(event_id)
        news = [event_id for event_id in ids if event_id not in self._heard.admitted]
        self._heard.missing.named(self.peer, model, news, now)

    def _hear_clock(self, message: Hello | Ping | Pong, now: float) -> None:
        if message.now_us:
            self.clock_ahead_us = message.now_us - int(now * 1_000_000)

    # -- rows and catch-ups --

    def _say_rows(self, pages: Sequence[tuple[Row, ...]]) -> None:
        for number, page in enumerate(pages, 1):
            self._departures.send(Summary(page, number < len(pages)))

    def _compare(self, now: float, grace: float = GRACE_SECONDS) -> None:
        self._rows.compare(now, grace)
        self._driver.start(now)

    def _plan_recheck(self, now: float) -> None:
        catchups, all_equal = self.counters.catchups, self._rows.all_equal
        self._rechecks.plan(now, catchups=catchups, all_equal=all_equal)

    def _shared(self, model: str) -> str:
        if not self.shares(model):
            raise TransportError("a model that one of us did not ask for")
        return model

    # -- the end --

    def _overflow(self) -> None:
        self.close("the peer does not read")

    def _refuse(self, reason: str) -> None:
        if self.state is not State.CLOSED:
            self.fault = True
            self.close(reason)

    def _count(self, **more: int) -> None:
        counts = {name: getattr(self.counters, name) + count for name, count in more.items()}
        self.counters = replace(self.counters, **counts)
