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
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from dinemic_engine.errors import TransportError
from dinemic_engine.limits import WANT_IDS_MAX
from dinemic_engine.reconcile import Gap, Reconciler, Segment, Settled
from dinemic_transport.jobs import AskJob, Job, LearnJob, Loaded, OfferJob
from dinemic_transport.messages import Answer, Ask, Want
from dinemic_transport.replica import Ingested


class Catchup:
    """The state of one catch-up. `advance` says what comes next until `done`."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.moved = 0
        """Events admitted on either side so far: whether it was worth it."""
        self.done = False
        self._exchanged = False
        self._all_known = True
        self._reconciler = Reconciler()
        self._busy = False
        """A job runs, or an answer of the peer is awaited."""
        self._asked = False
        self._need: deque[bytes] = deque()
        self._have: deque[Gap] = deque()
        self._ticket = 0
        self._window: Window | None = None
        self._offered = 0
        """Events that are with the peer to be judged."""

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
        if not self._asked or (answer.model, answer.effective) != (self.model, False):
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
        self._offered = len(loaded.events)
        return self._ticket

    def got_untrusted(self, ticket: int, admitted: int, known: int) -> None:
        """The peer has judged an offer.

        Raises:
            TransportError: nothing was offered under that ticket.
        """
        if not self._offered or ticket != self._ticket:
            raise TransportError("an acknowledgement of nothing offered")
        self._exchange(self._offered, admitted, known)
        self._offered, self._busy = 0, False

    def window_untrusted(self, ticket: int, model: str) -> Window:
        """The window that is out, for events that came under `ticket`.

        Raises:
            TransportError: no such window is, or its last events have come.
        """
        window = self._window
        if window is None or window.last_arrived or (ticket, model) != (self._ticket, self.model):
            raise TransportError("events under a ticket that is not out")
        return window

    def ingested(self, outcome: Ingested, count: int) -> None:
        """So many events of the window are judged; more of them may follow."""
        self._exchange(count, outcome.admitted, outcome.duplicate)

    def fetched(self) -> int:
        """The window is judged: how many of its ids the peer named and did not deliver.

        A window may come in instalments, so ids are given up only if it brought nothing.
        """
        assert self._window is not None, "a window was out"
        missing, self._window, self._busy = self._window, None, False
        if not missing.delivered:
            self._all_known = self._all_known and not missing.ids
            return len(missing.ids)
        self._need.extendleft(reversed(missing.ids))
        return 0

    @property
    def all_known(self) -> bool:
        """Whether something was exchanged, and each side had all of it already; once `done`."""
        return self._exchanged and self._all_known

    def _exchange(self, count: int, admitted: int, known: int) -> None:
        self.moved += admitted
        self._exchanged = self._exchanged or count > 0
        self._all_known = self._all_known and known == count

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
