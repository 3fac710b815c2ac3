"""One catch-up: make two sets of one model's events equal, driven from one side (REC-3).

::

            +---- more to ask ----------------------------------+
            v                                                   |
    ask --> Ask ... Answer --> learn --> fetch: Want ... Events +--> done
                                         offer: Events ... Got

Each turn asks one question, then moves what the answer settled: first the events we lack, in
windows of up to `WANT_IDS_MAX`, then those the peer lacks, in batches of about `BATCH_BYTES`. Two
of them are out at a time, so one is on its way while the one before is judged::

    we      Want 1, Want 2   judge 1 ======= Want 3   judge 2 ======= Want 4   judge 3 ...
    peer    serve 1 serve 2                  serve 3                  serve 4

and neither side ever has more than two windows of the other's events to hold. A window that came
short (its events are large) makes the next ones as small as what it brought, so what is asked for
beyond a gap, and has to wait for its parents, stays little.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from dinemic_engine.errors import TransportError
from dinemic_engine.limits import WANT_IDS_MAX
from dinemic_engine.listing import Lister
from dinemic_engine.reconcile import Gap, Reconciler, Segment, Settled
from dinemic_transport.jobs import AskJob, Job, LearnJob, Loaded, OfferJob
from dinemic_transport.messages import Answer, Ask, Want
from dinemic_transport.replica import Ingested

OUT_MAX: Final = 2
"""Windows, and offers, that are out at once: more would only wait for the node that judges."""

_WINDOW_IDS_MIN: Final = 4
"""Few enough when events are of the largest size, enough when a peer names what it lacks."""


class Catchup:
    """The state of one catch-up. `advance` says what comes next until `done`."""

    def __init__(self, model: str, *, listed: bool = False) -> None:
        self.model = model
        self.listed = listed
        """Sets are compared by lists, for their sums agree and they are not equal (listing.py)."""
        self.moved = 0
        """Events admitted on either side so far: whether it was worth it."""
        self.done = False
        self._exchanged = False
        self._all_known = True
        self._reconciler = Lister() if listed else Reconciler()
        self._busy = False
        """A job runs, or an answer of the peer is awaited."""
        self._asked = False
        self._need: deque[bytes] = deque()
        self._have: deque[Gap] = deque()
        self._ticket = 0
        self._windows: dict[int, Window] = {}
        """Those that are out, by ticket."""
        self._window_ids = WANT_IDS_MAX
        self._offers: dict[int, int] = {}
        """How many events are with the peer to be judged, by ticket."""

    def advance(self) -> Job | Want | None:
        """The next job to run or message to send; None while waiting, and when done."""
        if self._busy or self.done:
            return None
        if (window := self.want()) is not None:
            return window
        if self._windows:
            return None
        if self._have and len(self._offers) < OUT_MAX:
            self._busy = True
            return OfferJob(self.model, self._have.popleft())
        if self._offers:
            return None
        if not self._reconciler.done:
            self._busy = True
            return AskJob(self.model, self._reconciler)
        self.done = True
        return None

    def want(self) -> Want | None:
        """The next window to ask for, if one may be out besides those that are."""
        if not self._need or len(self._windows) >= OUT_MAX:
            return None
        self._ticket += 1
        count = min(self._window_ids, len(self._need))
        window = self._windows[self._ticket] = Window(self._need.popleft() for _ in range(count))
        return Want(self._ticket, self.model, tuple(window.ids))

    def asked(self, question: tuple[Segment, ...]) -> Ask | None:
        """`AskJob` is done: the message to send, if there is a question."""
        if not question:
            self._busy = False
            self._settled(self._reconciler.settle())
            return None
        self._asked = True
        return Ask(self.model, question, listed=self.listed)

    def answered_untrusted(self, answer: Answer) -> Job:
        """The peer has answered: the job that learns from it.

        Raises:
            TransportError: nothing was asked.
        """
        kind = answer.model, answer.effective, answer.listed
        if not self._asked or kind != (self.model, False, self.listed):
            raise TransportError("an answer to nothing asked")
        self._asked = False
        return LearnJob(self.model, self._reconciler, answer.segments)

    def learned(self, settled: Settled) -> None:
        """`LearnJob` is done."""
        self._busy = False
        self._settled(settled)

    def offer(self, loaded: Loaded) -> int | None:
        """`OfferJob` is done: the ticket to send the events under, if there are any."""
        self._busy = False
        if loaded.rest is not None:
            self._have.appendleft(loaded.rest)
        if not loaded.events:
            return None
        self._ticket += 1
        self._offers[self._ticket] = len(loaded.events)
        return self._ticket

    def got_untrusted(self, ticket: int, admitted: int, known: int) -> None:
        """The peer has judged an offer.

        Raises:
            TransportError: nothing was offered under that ticket.
        """
        offered = self._offers.pop(ticket, None)
        if offered is None:
            raise TransportError("an acknowledgement of nothing offered")
        self._exchange(offered, admitted, known)

    def window_untrusted(self, ticket: int, model: str) -> Window:
        """The window that is out, for events that came under `ticket`.

        Raises:
            TransportError: no such window is, or its last events have come.
        """
        window = self._windows.get(ticket)
        if window is None or window.last_arrived or model != self.model:
            raise TransportError("events under a ticket that is not out")
        return window

    def ingested(self, outcome: Ingested, count: int) -> None:
        """So many events of a window are judged; more of them may follow."""
        self._exchange(count, outcome.admitted, outcome.duplicate)

    def fetched(self, ticket: int) -> int:
        """A window is judged: how many of its ids the peer named and did not deliver.

        A window may come in instalments, so ids are given up only if it brought nothing.
        """
        window = self._windows.pop(ticket)
        if not window.delivered:
            self._all_known = self._all_known and not window.ids
            return len(window.ids)
        if window.ids:
            self._window_ids = max(_WINDOW_IDS_MIN, window.delivered)
            self._need.extendleft(reversed(window.ids))
        else:
            self._window_ids = min(WANT_IDS_MAX, 2 * self._window_ids)
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
        self.delivered = 0
        """How many it has brought."""
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
        self.delivered += 1
