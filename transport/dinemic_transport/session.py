"""One session: the conversation with one peer over one link, as a value (REC-3, REC-5, GOS-4).

A session is fed with messages, finished jobs and the time, and is asked what to send, what to run
and when to look again. It knows no sockets, tasks or clock::

              receive_untrusted, completed, push, refresh, tick
                                   |
        GREETING --Hello--> LISTING --last rows--> OPEN --refusal, silence, Bye--> CLOSED
                                   |
                  next_message, next_job, deadline, synced

Both sides say `Hello` first, with a row (count and fingerprint) for each model. From then on each
says a new row whenever its set has changed and settled, so both know at any time whether they are
equal, for about 60 bytes a change. Rows that stay different start a `Catchup`, driven by the
smaller node id, or by a side that knows it dropped news for want of room. Nothing is remembered
from an earlier session; one that was cut loses no more than what was under way.

Invariant: a model both sides want is *settled* here exactly if our row is current, equals the row
the peer said last, and no news was dropped. Every queue has a bound. News beyond it is dropped and
found again by a catch-up; a peer that breaks the rules or does not read is closed.
"""

from __future__ import annotations

import enum
import math
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from dinemic_engine.errors import InvalidEvent, TransportError
from dinemic_engine.event import open_envelope_untrusted
from dinemic_engine.limits import EVENT_BYTES_MAX
from dinemic_engine.ranges import Fingerprint
from dinemic_transport import catchup as jobs
from dinemic_transport.catchup import Catchup, Job, Outcome
from dinemic_transport.messages import (
    ALL_MODELS,
    EVENTS_PER_MESSAGE_MAX,
    Answer,
    Ask,
    Bye,
    Events,
    Got,
    Hello,
    Message,
    Part,
    Ping,
    Pong,
    Row,
    Summary,
    Want,
    events_messages,
    rows_pages,
)
from dinemic_transport.replica import Ingested

HELLO_SECONDS: Final = 10.0
PING_SECONDS: Final = 20.0
SILENCE_SECONDS: Final = 60.0
PROBE_SECONDS: Final = 5.0
"""How long a peer that may be gone has to answer when a new link to it has turned up."""

REQUEST_SECONDS: Final = 300.0
"""How long a request may bring nothing: far above what slow listeners of the peer may take."""

GRACE_SECONDS: Final = 0.5
"""How long rows may differ before a catch-up: news and the row after it are mostly under way."""

RETRY_SECONDS: Final = (1.0, 30.0)
"""First and last pause after a catch-up that moved nothing: the peer may hold what we refuse."""

RECHECK_SECONDS: Final = (30.0, 300.0)
"""All rows are said again after 30 s +- 50 %, at growing intervals while they are equal."""

PUSH_BYTES_MAX: Final = 1 << 20
INBOX_BYTES_MAX: Final = 8 << 20
OUTBOX_BYTES_MAX: Final = 32 << 20
REQUESTS_MAX: Final = 4
MODELS_MAX: Final = 16_384
RECENT_MAX: Final = 8_192
BATCH_EVENTS: Final = 256
_LIGHT_BYTES: Final = 64

SCORE_MAX: Final = 100.0
SCORE_MIN: Final = -100.0
SCORE_T0: Final = -50.0
SCORE_T1: Final = -20.0
SCORE_UNDELIVERED: Final = -10.0
SCORE_HALF_LIFE: Final = 600.0

_NOTHING: Final = Fingerprint(0, 0).wire()


class State(enum.Enum):
    """Where a session is; `_ALLOWED` says what may arrive there."""

    GREETING = "greeting"
    LISTING = "listing"
    OPEN = "open"
    CLOSED = "closed"


_ALLOWED: Final[dict[State, tuple[type[Message], ...]]] = {
    State.GREETING: (Hello, Bye),
    State.LISTING: (Summary, Bye),
    State.OPEN: (Summary, Ask, Answer, Want, Events, Part, Got, Ping, Pong, Bye),
    State.CLOSED: (),
}


def event_id_untrusted(raw: bytes) -> bytes:
    """The id of a signed event; its signature and payload are not looked at.

    Raises:
        InvalidEvent: not the envelope of an event.
    """
    return open_envelope_untrusted(raw).event_id


class Recent:
    """The last `RECENT_MAX` ids that were added."""

    def __init__(self) -> None:
        self._ids: OrderedDict[bytes, None] = OrderedDict()

    def __contains__(self, event_id: bytes) -> bool:
        return event_id in self._ids

    def add(self, event_id: bytes) -> None:
        """Remember an id, for as long as it is one of the last."""
        self._ids[event_id] = None
        self._ids.move_to_end(event_id)
        if len(self._ids) > RECENT_MAX:
            self._ids.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Counters:
    """What passed through a session so far, in events; `refused` by the rules of T0 and T1."""

    sent: int = 0
    received: int = 0
    admitted: int = 0
    duplicate: int = 0
    waiting: int = 0
    refused: int = 0
    dropped: int = 0
    """News not sent, or not taken in, for want of room: found again by a catch-up."""
    catchups: int = 0


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One model with one peer. `equal` is None while it is not known."""

    model: str
    equal: bool | None
    here: int
    there: int
    since: float | None
    """When `equal` became what it is, on the clock the session was fed with."""


@dataclass(slots=True)
class _Model:
    """What a session knows about one model."""

    mine: Row
    theirs: Row
    stale: bool = False
    """Our set has changed since `mine`."""
    lost: bool = False
    """News of ours did not fit: a catch-up is due, whoever drives it."""
    equal: bool | None = None
    since: float | None = None
    due: float = math.inf
    """When to start a catch-up if the rows still differ then."""
    pause: float = 0.0


@dataclass(slots=True)
class _Inbound:
    """Received events on their way into the node."""

    ticket: int
    model: str
    events: list[bytes] = field(default_factory=list)
    last: bool = False
    size: int = 0


class Session:
    """The conversation over one link. Made when the link is; greets at the first `refresh`.

    `me` and `peer` are node ids, `cluster` the cluster's hash, `models` our subscriptions,
    `rand()` a number in 0..1 for jitter; `quiet` collects the ids of events that came by catch-up,
    which are no news to anybody else.
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
        self.score = 0.0
        self.counters = Counters()
        self._drives = me < peer
        self._cluster = cluster
        self._ours = tuple(models)
        self._theirs: tuple[str, ...] = ()
        self._rand = rand
        self._identify = identify
        self._quiet = quiet if quiet is not None else Recent()
        self._seen = Recent()
        """Events the peer surely has: it sent them, or was sent them."""
        self._models: dict[str, _Model] = {}
        self._greeted = False
        self._heard_rows = False
        self._outbox: deque[Message] = deque()
        self._outbox_bytes = 0
        self._inbox: deque[_Inbound] = deque()
        self._inbox_bytes = 0
        self._parts: list[Part] = []
        self._requests: deque[Job] = deque()
        self._job: Job | None = None
        self._catchup: Catchup | None = None
        self._catchup_until = math.inf
        self._heard_at = self._spoke_at = self._score_at = now
        self._greet_until = now + HELLO_SECONDS
        self._probe_until = math.inf
        self._recheck_at = math.inf
        self._recheck_pause = RECHECK_SECONDS[0]
        self._recheck = False

    # -- what it says about itself --

    @property
    def wants_rows(self) -> bool:
        """Whether it waits for a `refresh` with every row: to greet, or to say them all again."""
        return self.state is not State.CLOSED and (not self._greeted or self._recheck)

    @property
    def synced(self) -> bool:
        """Whether nothing is under way and every model both want is known to be equal."""
        return (
            self.state is State.OPEN
            and self._catchup is None
            and not self._inbox
            and not isinstance(self._job, jobs.IngestJob)
            and all(row.equal is True and not row.stale for row in self._models.values())
        )

    def shares(self, model: str) -> bool:
        """Whether both sides want `model`: only then may its events travel here."""
        return all(model in models or ALL_MODELS in models for models in (self._ours, self._theirs))

    def status(self) -> tuple[ModelStatus, ...]:
        """Every model both sides want and at least one has events of, by name."""
        return tuple(
            ModelStatus(name, row.equal, row.mine.count, row.theirs.count, row.since)
            for name, row in sorted(self._models.items())
        )

    def deadline(self) -> float:
        """When `tick` has something to do."""
        if self.state is State.CLOSED:
            return math.inf
        silence = min(self._heard_at + SILENCE_SECONDS, self._probe_until)
        if self.state is not State.OPEN:
            return min(silence, self._greet_until)
        times = [silence, self._spoke_at + PING_SECONDS, self._catchup_until]
        if not self._recheck:
            times.append(self._recheck_at)
        if self._catchup is None:
            times += [row.due for row in self._models.values() if not row.stale]
        return min(times)

    # -- output --

    def next_message(self, now: float) -> Message | None:
        """The next message to send, also after closing: a `Bye` may be among the last."""
        if not self._outbox:
            return None
        message = self._outbox.popleft()
        self._outbox_bytes -= _weight(message)
        self._spoke_at = now
        return message

    def next_job(self, now: float) -> Job | None:
        """The next job to run, when none is running: received events first, then requests."""
        if self._job is not None or self.state is not State.OPEN:
            return None
        if self._inbox:
            self._job = self._ingest_job()
        elif self._outbox_bytes < jobs.BATCH_BYTES:  # loading more would only fill memory
            self._job = self._requests.popleft() if self._requests else self._advance(now)
        return self._job

    # -- input: our side --

    def refresh(self, rows: Iterable[Row], stale: frozenset[str], now: float) -> None:
        """Take current rows of ours: all of them if it `wants_rows`, else those that changed.

        Models in `stale` have changed again since their row was read.
        """
        if self.state is State.CLOSED:
            return
        changed: list[Row] = []
        for row in rows:
            known = self._models.get(row.model)
            if known is None or known.mine != row:
                changed.append(row)
            entry = self._model(row.model)
            entry.mine, entry.stale = row, row.model in stale
        if not self._greeted:
            self._greeted = True
            first, *more = rows_pages(entry.mine for entry in self._models.values())
            self._send(Hello(self._cluster, self._ours, first, bool(more)))
            self._send_rows(more)
            self._open_if_greeted(now)
        elif self.state is State.OPEN:
            if self._recheck:
                self._recheck = False
                self._plan_recheck(now)
                changed = [entry.mine for entry in self._models.values()]
            changed = [row for row in changed if self.shares(row.model)]
            if changed:
                self._send_rows(rows_pages(changed))
            self._compare(now, GRACE_SECONDS)

    def touch(self, model: str) -> None:
        """Our set of `model` has changed; its row follows by `refresh`."""
        if self.state is not State.CLOSED and (self.state is not State.OPEN or self.shares(model)):
            self._model(model).stale = True

    def push(self, model: str, events: Sequence[tuple[bytes, bytes]], now: float) -> None:
        """Send news, as (id, signed event), that the peer wants and is not known to have."""
        if self.state is not State.OPEN or not self.shares(model):
            return
        news = [(event_id, raw) for event_id, raw in events if event_id not in self._seen]
        if not news:
            return
        if self._outbox_bytes + sum(len(raw) for _, raw in news) > PUSH_BYTES_MAX:
            self._count(dropped=len(news))
            self.lose(model, now)
            return
        for event_id, _ in news:
            self._seen.add(event_id)
        self._send_events(0, model, [raw for _, raw in news])

    def lose(self, model: str, now: float) -> None:
        """News of `model` was not sent: see to it that a catch-up brings it soon."""
        if self.state is State.OPEN and self.shares(model):
            entry = self._model(model)
            entry.lost, entry.pause, entry.due = True, 0.0, now + GRACE_SECONDS

    def probe(self, now: float) -> None:
        """The peer may be gone: close unless it is heard of within `PROBE_SECONDS`."""
        if self.state is State.OPEN and self._probe_until == math.inf:
            self._send(Ping())
            self._probe_until = now + PROBE_SECONDS

    def close(self, reason: str) -> None:
        """Say goodbye and stop. Idempotent."""
        if self.state is not State.CLOSED:
            self._outbox.clear()
            self._outbox_bytes = 0
            self._send(Bye(reason))
            self._end(reason)

    def lost_link(self, reason: str) -> None:
        """The link is gone: nothing more can be said. Idempotent."""
        if self.state is not State.CLOSED:
            self._outbox.clear()
            self._outbox_bytes = 0
            self._end(reason)

    def tick(self, now: float) -> None:
        """Do what is due: time-outs, a sign of life, a catch-up, a recheck."""
        if self.state is State.CLOSED:
            return
        if now >= min(self._heard_at + SILENCE_SECONDS, self._probe_until):
            self.close("the peer fell silent")
        elif self.state is not State.OPEN:
            if now >= self._greet_until:
                self.close("no greeting in time")
        elif now >= self._catchup_until:
            self._punish(SCORE_UNDELIVERED, now)
            self.close("a request was not answered in time")
        else:
            if now >= self._spoke_at + PING_SECONDS:
                self._spoke_at = now
                self._send(Ping())
            if now >= self._recheck_at:
                self._recheck = True
            self._start_catchup(now)

    # -- input: a finished job --

    def completed(self, job: Job, outcome: Outcome, now: float) -> str | None:
        """Take the outcome of the job that ran; the model whose events here it changed, if any."""
        assert job is self._job, "a job that was not handed out"
        self._job = None
        if self.state is State.CLOSED:
            changed = isinstance(outcome, Ingested) and outcome.admitted
            return job.model if changed else None
        match job, outcome:
            case jobs.IngestJob(), Ingested():
                return self._ingested(job, outcome, now)
            case jobs.AnswerJob(), Answer():
                self._send(outcome)
            case jobs.ServeJob(), jobs.Loaded():
                self._send_events(job.ticket, job.model, outcome.events)
            case _ if self._catchup is None:
                raise AssertionError(f"the outcome of a {type(job).__name__} without a catch-up")
            case jobs.AskJob(), tuple():
                message = self._catchup.asked(outcome)
                if message is not None:
                    self._request(message, now)
            case jobs.LearnJob(), jobs.Settled():
                self._catchup.learned(outcome)
            case jobs.OfferJob(), jobs.Loaded():
                for message in self._catchup.offer(outcome):
                    self._request(message, now)
                self._count(sent=len(outcome.events))
            case _:
                raise AssertionError(f"{type(outcome).__name__} from a {type(job).__name__}")
        return None

    def failed(self, error: TransportError) -> None:
        """The job that ran found the peer's message against the rules."""
        self._job = None
        self._refuse(str(error))

    # -- input: the peer --

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
                self._greet_untrusted(message, now)
            case Summary(rows, more):
                self._take_rows(rows)
                if self.state is State.LISTING and not more:
                    self._heard_rows = True
                    self._open_if_greeted(now)
                elif self.state is State.OPEN:
                    self._compare(now, GRACE_SECONDS)
            case Ask(model, segments):
                self._queue(jobs.AnswerJob(self._shared(model), segments))
            case Want(ticket, model, ids):
                self._queue(jobs.ServeJob(ticket, self._shared(model), ids))
            case Answer():
                self._progress(now)
                job = self._driving().answered_untrusted(message)
                self._requests.append(job)
            case Got(ticket, admitted):
                self._progress(now)
                self._driving().got_untrusted(ticket, admitted)
            case Events():
                if self._parts:
                    raise TransportError("events amid the parts of one")
                self._take_events(message, message.events, message.last, now)
            case Part():
                self._take_part(message, now)
            case Ping():
                if not any(isinstance(queued, Pong) for queued in self._outbox):
                    self._send(Pong())
            case Pong():
                pass
            case Bye(reason):
                self._end(f"the peer said: {reason}")

    def _greet_untrusted(self, hello: Hello, now: float) -> None:
        if hello.cluster != self._cluster:
            raise TransportError("the peer belongs to another cluster")
        self._theirs = hello.models
        self._take_rows(hello.rows)
        if hello.more:
            self.state = State.LISTING
        else:
            self._heard_rows = True
            self._open_if_greeted(now)

    def _open_if_greeted(self, now: float) -> None:
        """Enter OPEN when both have said Hello and the peer all its rows."""
        if not (self._greeted and self._heard_rows):
            return
        self.state = State.OPEN
        for name in [name for name in self._models if not self.shares(name)]:
            del self._models[name]
        self._plan_recheck(now)
        self._compare(now, 0.0)

    def _take_rows(self, rows: Iterable[Row]) -> None:
        for row in rows:
            if len(self._models) >= MODELS_MAX and row.model not in self._models:
                raise TransportError(f"more than {MODELS_MAX} models")
            if self.shares(row.model):
                self._model(row.model).theirs = row

    def _take_events(
        self, message: Events | Part, events: Sequence[bytes], last: bool, now: float
    ) -> None:
        """Judge the ids of what came and put it in line for the node."""
        ticket, model = message.ticket, self._shared(message.model)
        if ticket > 0:
            self._driving().check_untrusted(message)
            self._progress(now)
        accepted: list[bytes] = []
        for raw in events:
            try:
                event_id = self._identify(raw)
            except InvalidEvent as error:
                self._count(refused=1)
                self._punish(SCORE_T0, now, str(error))
                if self.state is State.CLOSED:
                    return
                continue
            if ticket > 0:
                self._driving().arrived_untrusted(event_id)
            if ticket:
                self._quiet.add(event_id)
            self._seen.add(event_id)
            accepted.append(raw)
        if ticket > 0 and last:
            self._driving().last_arrived()
        self._count(received=len(events))
        self._put(ticket, model, accepted, last, now)

    def _put(self, ticket: int, model: str, events: list[bytes], last: bool, now: float) -> None:
        """Queue events for the node. News beyond the bound is dropped, other excess is refused."""
        size = sum(map(len, events))
        if self._inbox_bytes + size > INBOX_BYTES_MAX:
            if ticket:
                raise TransportError("more events than a request can bring")
            self._count(dropped=len(events))
            return
        tail = self._inbox[-1] if self._inbox else None
        joins = (
            tail is not None
            and (tail.ticket, tail.model, tail.last and ticket != 0) == (ticket, model, False)
            and len(tail.events) + len(events) <= BATCH_EVENTS
        )
        if tail is None or not joins:
            tail = _Inbound(ticket, model)
            self._inbox.append(tail)
        tail.events += events
        tail.size += size
        tail.last = last
        self._inbox_bytes += size

    def _take_part(self, part: Part, now: float) -> None:
        """Collect the parts of one event; with the last, take it."""
        if part.index != len(self._parts):
            raise TransportError("a part out of its place")
        if self._parts and replace(part, index=0, data=b"") != replace(
            self._parts[0], index=0, data=b""
        ):
            raise TransportError("a part of another event")
        self._parts.append(part)
        if part.index == part.total - 1:
            raw = b"".join(piece.data for piece in self._parts)
            self._parts.clear()
            if len(raw) > EVENT_BYTES_MAX:
                raise TransportError(f"an event of {len(raw)} bytes")
            self._take_events(part, [raw], False, now)

    # -- the node's verdicts and the peer's score --

    def _ingest_job(self) -> Job:
        inbound = self._inbox.popleft()
        self._inbox_bytes -= inbound.size
        return jobs.IngestJob(
            self.peer, inbound.ticket, inbound.model, tuple(inbound.events), inbound.last
        )

    def _ingested(self, job: jobs.IngestJob, outcome: Ingested, now: float) -> str | None:
        """Count and score what became of a batch; close its ticket if it was the last of it."""
        self._count(
            admitted=outcome.admitted,
            duplicate=outcome.duplicate,
            waiting=outcome.waiting,
            refused=len(outcome.invalid),
        )
        self.score = min(SCORE_MAX, self._decayed(now) + outcome.admitted)
        for _, reason in outcome.invalid:
            self._punish(SCORE_T0 if reason.startswith("EV-") else SCORE_T1, now, reason)
        if self._catchup is not None and job.ticket > 0:
            self._catchup.moved += outcome.admitted
            self._progress(now)
            if job.last:
                for _ in range(self._catchup.fetched()):
                    self._punish(SCORE_UNDELIVERED, now, "named and not delivered")
        if job.ticket < 0:
            self._offer_admitted += outcome.admitted
            if job.last:
                self._send(Got(-job.ticket, self._offer_admitted))
                self._offer_admitted = 0
        return job.model if outcome.admitted else None

    _offer_admitted = 0

    def _decayed(self, now: float) -> float:
        """The score at `now`: good and bad are forgotten alike."""
        self.score *= 0.5 ** ((now - self._score_at) / SCORE_HALF_LIFE)
        self._score_at = now
        return self.score

    def _punish(self, points: float, now: float, reason: str = "") -> None:
        self.score = self._decayed(now) + points
        if self.score < SCORE_MIN:
            self._refuse(f"too many faults, the last: {reason}")

    # -- rows and catch-ups --

    def _model(self, name: str) -> _Model:
        entry = self._models.get(name)
        if entry is None:
            nothing = Row(name, 0, _NOTHING)
            entry = self._models[name] = _Model(nothing, nothing)
        return entry

    def _send_rows(self, pages: Sequence[tuple[Row, ...]]) -> None:
        for number, page in enumerate(pages, 1):
            self._send(Summary(page, number < len(pages)))

    def _compare(self, now: float, grace: float) -> None:
        """Note which rows are equal now; those that are not are due after `grace`."""
        for entry in self._models.values():
            if entry.stale:
                continue
            equal = entry.mine == entry.theirs
            if equal:
                entry.due, entry.pause, entry.lost = math.inf, 0.0, False
            elif entry.equal is not False and not entry.lost:
                entry.due = now + max(grace, entry.pause)
            if equal is not entry.equal:
                entry.equal, entry.since = equal, now
        self._start_catchup(now)

    def _start_catchup(self, now: float) -> None:
        if self._catchup is not None:
            return
        for name, entry in self._models.items():
            if entry.due <= now and not entry.stale and (self._drives or entry.lost):
                entry.due, entry.lost = math.inf, False
                self._catchup = Catchup(name)
                self._catchup_until = now + REQUEST_SECONDS
                self._recheck_pause = RECHECK_SECONDS[0]
                self._count(catchups=1)
                return

    def _advance(self, now: float) -> Job | None:
        """Take the catch-up a step on: send its next message, or hand out its next job."""
        while self._catchup is not None:
            step = self._catchup.advance()
            if isinstance(step, Want):
                self._request(step, now)
            elif self._catchup.done:
                self._finish_catchup(self._catchup, now)
            else:
                return step
        return None

    def _finish_catchup(self, done: Catchup, now: float) -> None:
        entry = self._model(done.model)
        self._catchup = None
        self._catchup_until = math.inf
        first, last = RETRY_SECONDS
        entry.pause = 0.0 if done.moved else min(last, max(first, 2 * entry.pause))
        if entry.equal is not True or entry.lost:
            entry.due = now + max(GRACE_SECONDS, entry.pause)
        self._start_catchup(now)

    def _plan_recheck(self, now: float) -> None:
        """All rows again in a while: it costs little and finds what nothing else did."""
        self._recheck_at = now + self._recheck_pause * (0.5 + self._rand())
        if all(entry.equal is True for entry in self._models.values()):
            self._recheck_pause = min(2 * self._recheck_pause, RECHECK_SECONDS[1])

    def _driving(self) -> Catchup:
        if self._catchup is None:
            raise TransportError("an answer to nothing asked")
        return self._catchup

    def _progress(self, now: float) -> None:
        self._catchup_until = now + REQUEST_SECONDS if self._catchup is not None else math.inf

    def _shared(self, model: str) -> str:
        if not self.shares(model):
            raise TransportError("a model that one of us did not ask for")
        return model

    # -- queues and the end --

    def _request(self, message: Message, now: float) -> None:
        self._catchup_until = now + REQUEST_SECONDS
        self._send(message)

    def _queue(self, job: Job) -> None:
        if len(self._requests) >= REQUESTS_MAX:
            raise TransportError(f"more than {REQUESTS_MAX} requests at once")
        self._requests.append(job)

    def _send_events(self, ticket: int, model: str, events: Sequence[bytes]) -> None:
        for message in events_messages(ticket, model, events):
            self._send(message)
        self._count(sent=len(events))

    def _send(self, message: Message) -> None:
        self._outbox.append(message)
        self._outbox_bytes += _weight(message)
        if self._outbox_bytes > OUTBOX_BYTES_MAX and self.state is not State.CLOSED:
            self.close("the peer does not read")

    def _refuse(self, reason: str) -> None:
        self.fault = True
        self.close(reason)

    def _end(self, reason: str) -> None:
        self.state = State.CLOSED
        self.reason = reason
        self._catchup = None
        self._inbox.clear()
        self._requests.clear()
        self._parts.clear()
        self._models.clear()

    def _count(self, **more: int) -> None:
        now = {name: getattr(self.counters, name) + count for name, count in more.items()}
        self.counters = replace(self.counters, **now)


def _weight(message: Message) -> int:
    """About how many bytes a message holds, for the bounds of queues."""
    match message:
        case Events(events=events):
            return _LIGHT_BYTES + sum(map(len, events))
        case Part(data=data):
            return _LIGHT_BYTES + len(data)
        case Ask(segments=segments) | Answer(segments=segments):
            return _LIGHT_BYTES * len(segments)
        case _:
            return _LIGHT_BYTES
