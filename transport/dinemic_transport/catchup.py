"""One catch-up: make two sets of one model's events equal, driven from one side (REC-3).

::

            +---- more to ask ----------------------------------+
            v                                                   |
    ask --> Ask ... Answer --> learn --> fetch: Want ... Events +--> done
                                         offer: Events ... Got

Each turn asks one question, then moves what the answer settled: first the events we lack, in
windows of `WANT_IDS_MAX`, then those the peer lacks, in batches of about `BATCH_BYTES`. One
request is out at a time and the next leaves when the last is judged, so neither side ever has more
than one window of the other's events to hold, and a slow one is not overrun.

What must read the replica is handed out as a *job*, a value with ``run(replica)`` for a worker
thread; the outcome comes back by `completed`. Everything else is instant.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from dinemic_engine.errors import TransportError
from dinemic_engine.limits import WANT_IDS_MAX
from dinemic_engine.ranges import HIGHEST, LOWEST, Bound, Fingerprint, Key, successor
from dinemic_engine.reconcile import Gap, Reconciler, Segment, Settled, answer_untrusted
from dinemic_transport.messages import (
    Answer,
    Ask,
    Row,
    Want,
)
from dinemic_transport.replica import Ingested, Replica

BATCH_BYTES: Final = 2 << 20
"""Events loaded for one window or offer stop growing here; the rest follows in the next."""

_OFFER_KEYS: Final = 256
_LOAD_IDS_FIRST: Final = 4


# -- jobs: what a worker thread does for a session -----------------------------------------------


@dataclass(frozen=True, slots=True)
class AskJob:
    """Find the next question."""

    model: str
    reconciler: Reconciler

    def run(self, replica: Replica) -> tuple[Segment, ...]:
        """The question; empty when there is nothing left to ask."""
        return self.reconciler.ask(_Side(replica, self.model))


@dataclass(frozen=True, slots=True)
class LearnJob:
    """Take the answer to the last question."""

    model: str
    reconciler: Reconciler
    answer: tuple[Segment, ...]

    def run(self, replica: Replica) -> Settled:
        """What it settled."""
        self.reconciler.learn_untrusted(_Side(replica, self.model), self.answer)
        return self.reconciler.settle()


@dataclass(frozen=True, slots=True)
class OfferJob:
    """Load the next events the peer lacks."""

    model: str
    gap: Gap

    def run(self, replica: Replica) -> Loaded:
        """Up to a batch of them, and the gap that is left."""
        lower, upper, known = self.gap.lower, self.gap.upper, self.gap.known
        keys = replica.keys(self.model, lower, upper, _OFFER_KEYS)
        lacking = [key for key in keys if key not in known]
        events, loaded = _load(replica, self.model, [event_id for _, event_id in lacking])
        if loaded < len(lacking):
            return Loaded(events, Gap(lacking[loaded], upper, known))
        if len(keys) == _OFFER_KEYS:
            return Loaded(events, Gap(successor(keys[-1]), upper, known))
        return Loaded(events, None)


@dataclass(frozen=True, slots=True)
class AnswerJob:
    """Answer the peer's question."""

    model: str
    asked: tuple[Segment, ...]

    def run(self, replica: Replica) -> Answer:
        """The message to send."""
        return Answer(self.model, answer_untrusted(_Side(replica, self.model), self.asked))


@dataclass(frozen=True, slots=True)
class ServeJob:
    """Load what the peer wants; what this node does not have, or not in that model, is left out."""

    ticket: int
    model: str
    ids: tuple[bytes, ...]

    def run(self, replica: Replica) -> Loaded:
        """Up to a batch of them; the peer asks again for what did not fit."""
        return Loaded(_load(replica, self.model, self.ids)[0], None)


@dataclass(frozen=True, slots=True)
class IngestJob:
    """Give received events to the node."""

    source: bytes
    ticket: int
    model: str
    events: tuple[bytes, ...]
    last: bool
    """Whether they end what their ticket covers."""

    def run(self, replica: Replica) -> Ingested:
        """What became of them."""
        if not self.events:
            return Ingested(0, 0, 0, ())
        return replica.ingest(self.source, self.events)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Signed events, and what is left of the gap they came from."""

    events: tuple[bytes, ...]
    rest: Gap | None


Job: TypeAlias = AskJob | LearnJob | OfferJob | AnswerJob | ServeJob | IngestJob
Outcome: TypeAlias = tuple[Segment, ...] | Settled | Loaded | Answer | Ingested


@dataclass(frozen=True, slots=True)
class _Side:
    """One model of a replica, as a reconciler sees it."""

    replica: Replica
    model: str

    def fingerprint(self, lower: Bound, upper: Bound) -> Fingerprint:
        return self.replica.fingerprint(self.model, lower, upper)

    def keys(self, lower: Bound, upper: Bound, limit: int) -> list[Key]:
        return self.replica.keys(self.model, lower, upper, limit)


def _load(replica: Replica, model: str, ids: Sequence[bytes]) -> tuple[tuple[bytes, ...], int]:
    """The events of `ids` that are here in `model`, and of how many ids; one batch at most.

    They are read in growing portions: the first are few, for each may be of the largest size.
    """
    events: list[bytes] = []
    size = at = 0
    count = _LOAD_IDS_FIRST
    while at < len(ids) and size < BATCH_BYTES:
        portion = ids[at : at + count]
        for found in replica.events(portion):
            if found is not None and found[0] == model:
                events.append(found[1])
                size += len(found[1])
        at += len(portion)
        if size * 8 < BATCH_BYTES:
            count *= 2
    return tuple(events), at


def summarise(replica: Replica, models: Iterable[str] | None) -> list[Row]:
    """The rows of `models`, or of every model with an event here; for a worker thread."""
    names = replica.model_names() if models is None else models
    rows: list[Row] = []
    for name in names:
        whole = replica.fingerprint(name, LOWEST, HIGHEST)
        rows.append(Row(name, whole.count, whole.wire()))
    return rows


# -- the side that drives ------------------------------------------------------------------------


class Catchup:
    """The state of one catch-up. `advance` says what comes next until `done`."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.moved = 0
        """Events admitted on either side so far: whether it was worth it."""
        self.done = False
        self._reconciler = Reconciler()
        self._busy = False
        """A job runs, or an answer of the peer is awaited."""
        self._asked = False
        self._need: deque[bytes] = deque()
        self._have: deque[Gap] = deque()
        self._ticket = 0
        self._window: Window | None = None
        self._offered = False

    def advance(self) -> Job | Want | None:
        """The next job to run or message to send; None while waiting, and when done."""
        if self._busy or self.done:
            return None
        if self._need:
            self._busy = True
            self._ticket += 1
            count = min(WANT_IDS_MAX, len(self._need))
            self._window = Window(self._need.popleft() for _ in range(count))
            return Want(self._ticket, self.model, tuple(self._window.ids))
        if self._have:
            self._busy = True
            return OfferJob(self.model, self._have.popleft())
        if not self._reconciler.done:
            self._busy = True
            return AskJob(self.model, self._reconciler)
        self.done = True
        return None

    def asked(self, question: tuple[Segment, ...]) -> Ask | None:
        """`AskJob` is done: the message to send, if there is a question."""
        if not question:
            self._busy = False
            self._settled(self._reconciler.settle())
            return None
        self._asked = True
        return Ask(self.model, question)

    def answered_untrusted(self, answer: Answer) -> Job:
        """The peer has answered: the job that learns from it.

        Raises:
            TransportError: nothing was asked.
        """
        if not self._asked or answer.model != self.model:
            raise TransportError("an answer to nothing asked")
        self._asked = False
        return LearnJob(self.model, self._reconciler, answer.segments)

    def learned(self, settled: Settled) -> None:
        """`LearnJob` is done."""
        self._busy = False
        self._settled(settled)

    def offer(self, loaded: Loaded) -> int | None:
        """`OfferJob` is done: the ticket to send the events under, if there are any."""
        if loaded.rest is not None:
            self._have.appendleft(loaded.rest)
        if not loaded.events:
            self._busy = False
            return None
        self._ticket += 1
        self._offered = True
        return self._ticket

    def got_untrusted(self, ticket: int, admitted: int) -> None:
        """The peer has judged an offer.

        Raises:
            TransportError: nothing was offered under that ticket.
        """
        if not self._offered or ticket != self._ticket:
            raise TransportError("an acknowledgement of nothing offered")
        self._offered = self._busy = False
        self.moved += admitted

    def window_untrusted(self, ticket: int, model: str) -> Window:
        """The window that is out, for events that came under `ticket`.

        Raises:
            TransportError: no such window is, or its last events have come.
        """
        window = self._window
        if window is None or window.last_arrived or (ticket, model) != (self._ticket, self.model):
            raise TransportError("events under a ticket that is not out")
        return window

    def fetched(self) -> int:
        """The window is judged: how many of its ids the peer named and did not deliver.

        A window may come in instalments, so ids are given up only if it brought nothing.
        """
        assert self._window is not None, "a window was out"
        missing, self._window, self._busy = self._window, None, False
        if not missing.delivered:
            return len(missing.ids)
        self._need.extendleft(reversed(missing.ids))
        return 0

    def _settled(self, settled: Settled) -> None:
        self._need.extend(event_id for _, event_id in settled.need)
        self._have.extend(settled.have)


class Window:
    """The ids of one `Want` that have not come yet, in order."""

    def __init__(self, ids: Iterable[bytes]) -> None:
        self.ids = dict.fromkeys(ids)
        self.delivered = False
        """Whether it brought anything."""
        self.last_arrived = False
        """Whether the peer has sent the last of it; that may still wait to be judged."""

    def arrived_untrusted(self, event_id: bytes) -> None:
        """One of its events has come.

        Raises:
            TransportError: it was not asked for, or has come already.
        """
        if event_id not in self.ids:
            raise TransportError("an event other than those asked for")
        del self.ids[event_id]
        self.delivered = True
