"""The events a peer sends, on their way to the node: checked, charged, in line, judged, scored.

::

    Events, Part --> an event? asked for? here already? --> Inbox --> IngestJob --> the node
                          |                    |                                      |
                        T0: -50           no more work          score, budgets, Got, Prune

Invariant: what is in line was asked for (tickets above 0), or is an offer or news (GOS-3).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from dinemic_engine.errors import InvalidEvent, TransportError
from dinemic_engine.event import open_envelope_untrusted
from dinemic_transport.allowance import Allowance
from dinemic_transport.catchup import Window
from dinemic_transport.jobs import IngestJob
from dinemic_transport.messages import Events, Got, Part
from dinemic_transport.news import Heard, News, Recent
from dinemic_transport.queues import Inbox
from dinemic_transport.replica import Ingested
from dinemic_transport.score import Score


def event_id_untrusted(raw: bytes) -> bytes:
    """The id of a signed event; its signature and payload are not looked at.

    Raises:
        InvalidEvent: not the envelope of an event.
    """
    return open_envelope_untrusted(raw).id


class Arrivals:
    """What one peer sends of events. `count` adds to the counters of its session."""

    def __init__(
        self,
        peer: bytes,
        *,
        identify: Callable[[bytes], bytes],
        heard: Heard,
        count: Callable[..., None],
        now: float,
    ) -> None:
        self.score = Score(now)
        self.news = News()
        self.allowance = Allowance()
        self._refused = Recent()
        """What the peer sent and no node admits: it is not asked for it again, nor blamed twice."""
        self._peer = peer
        self._identify = identify
        self._heard = heard
        self._count = count
        self._inbox = Inbox()
        self._offered = Got(0, 0)
        """What has become so far of the events the peer offers."""

    def __bool__(self) -> bool:
        return bool(self._inbox)

    def clear(self) -> None:
        """Drop what is in line."""
        self._inbox.clear()

    @property
    def ready_at(self) -> float:
        """When the peer may be read again; infinite until some of what is in line is taken."""
        if self._inbox.events >= self.allowance.in_line_max:
            return math.inf
        return self.allowance.ready_at

    def take_job(self) -> IngestJob:
        """The oldest batch in line."""
        return self._inbox.take(self._peer, self.allowance.batch_max)

    # -- what comes --

    def take_untrusted(self, message: Events | Part, window: Window | None, now: float) -> bool:
        """Check events against what was asked for, and put them in line for the node.

        Whether the peer is to be told that its news comes late (`Prune`).

        Raises:
            TransportError: they are none, not those asked for, or too many.
        """
        if isinstance(message, Events):
            self._inbox.check_whole_untrusted()
            return self._take(message, message.events, window, now, last=message.last)
        raw = self._inbox.join_untrusted(message)
        return raw is not None and self._take(message, [raw], window, now, last=False)

    def _take(
        self,
        message: Events | Part,
        events: Sequence[bytes],
        window: Window | None,
        now: float,
        *,
        last: bool,
    ) -> bool:
        accepted: list[bytes] = []
        prune = False
        for raw in events:
            try:
                event_id = self._identify(raw)
            except InvalidEvent as error:
                self._count(refused=1)
                self.punish(Score.T0, now, str(error))
                continue
            if not message.ticket:
                late = event_id in self._heard.admitted
                prune = self.news.came(event_id, now, late=late) or prune
                if late:
                    self.allowance.known(raw, now)
                    self._count(duplicate=1)
                    continue
                self.allowance.news(raw, now)
                self._heard.news.add(event_id)
            else:
                if window is not None:
                    window.arrived_untrusted(event_id)
                self._heard.quiet.add(event_id)
                self.news.seen.add(event_id)
            accepted.append(raw)
        if window is not None:
            window.last_arrived = last
        self._count(received=len(events))
        if not self._inbox.put(message.ticket, message.model, accepted, last=last):
            if message.ticket:
                raise TransportError("more events than a request can bring")
            self._count(dropped=len(accepted))
        return prune

    # -- the node's verdicts --

    def judged(self, job: IngestJob, outcome: Ingested, now: float) -> Got | bool:
        """Count and score what became of a batch.

        The message that closes the peer's offer, if this was the last of one; True if the peer is
        to be told that its news comes late.

        Raises:
            TransportError: the peer is to be cut off.
        """
        self._count(
            admitted=outcome.admitted,
            duplicate=outcome.duplicate,
            waiting=outcome.waiting,
            refused=len(outcome.invalid),
        )
        self.score.reward(outcome.admitted, now)
        refused = [self._identify(job.events[position]) for position, _ in outcome.invalid]
        for event_id in refused:
            self._refused.add(event_id)
            self._heard.quiet.discard(event_id)  # others' may be good
        lacking = [event_id for event_id in outcome.missing if event_id not in self._refused]
        self._heard.missing.named(self._peer, job.model, lacking, now)
        in_vain = outcome.waiting + len(outcome.invalid)
        self.allowance.proven(outcome.admitted, in_vain)
        if job.ticket:
            self.allowance.checked(in_vain, now)
        else:
            self.allowance.judged(job.events, outcome.admitted, outcome.duplicate)
        for _, reason in outcome.invalid:
            self.punish(Score.T0 if reason.startswith("EV-") else Score.T1, now, reason)
        if not job.ticket:
            return self.news.judged(late=outcome.duplicate, admitted=outcome.admitted)
        if job.ticket > 0:
            return False
        admitted = self._offered.admitted + outcome.admitted
        self._offered = Got(-job.ticket, admitted, self._offered.known + outcome.duplicate)
        if not job.last:
            return False
        got, self._offered = self._offered, Got(0, 0)
        return got

    def punish(self, points: float, now: float, reason: str) -> None:
        """Take points off the peer.

        Raises:
            TransportError: it is to be cut off.
        """
        if self.score.punish(points, now):
            raise TransportError(f"too many faults, the last: {reason}")
