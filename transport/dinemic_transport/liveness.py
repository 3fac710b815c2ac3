"""Whether the peer of a session is still there, and when it is to hear from us.

::

    made ------ HELLO_SECONDS: greeted, or over
    heard ----- SILENCE_SECONDS ----- heard: longer silence, and the session is over
    pinged ---- PING_SECONDS ---- pinged: so an honest peer is never silent, and its clock is known
    probe -- PROBE_SECONDS: heard, or over
"""

from __future__ import annotations

import math
from typing import Final

HELLO_SECONDS: Final = 10.0
PING_SECONDS: Final = 20.0
SILENCE_SECONDS: Final = 60.0
PROBE_SECONDS: Final = 5.0
"""How long a peer that may be gone has to answer when a new link to it has turned up."""


class Liveness:
    """The time-outs of one session, made at `now`."""

    def __init__(self, now: float) -> None:
        self._heard_at = now
        self._ping_at = math.inf
        self._greet_until = now + HELLO_SECONDS
        self._probe_until = math.inf

    def heard(self, now: float) -> None:
        """The peer has said something."""
        self._heard_at = now
        self._probe_until = math.inf

    def greeted(self, now: float) -> None:
        """Both sides have said who they are."""
        self._greet_until = math.inf
        self._ping_at = now + PING_SECONDS

    def probe(self, now: float) -> bool:
        """The peer may be gone: give it a little time; False if it has been given that already."""
        if self._probe_until < math.inf:
            return False
        self._probe_until = now + PROBE_SECONDS
        return True

    def take_ping(self, now: float) -> bool:
        """Whether a ping is due; if so, it is taken to be sent."""
        if now < self._ping_at:
            return False
        self._ping_at = now + PING_SECONDS
        return True

    def allow(self, seconds: float) -> None:
        """Give the peer so much more time: nobody listened for so long."""
        self._heard_at += seconds
        self._probe_until += seconds
        self._greet_until += seconds

    @property
    def ping_at(self) -> float:
        """When a ping is due."""
        return self._ping_at

    def deadline(self) -> float:
        """When the peer must have been heard."""
        return min(self._heard_at + SILENCE_SECONDS, self._probe_until, self._greet_until)

    def ended(self, now: float) -> str | None:
        """Why the session is over at `now`, if it is."""
        if now >= min(self._heard_at + SILENCE_SECONDS, self._probe_until):
            return "the peer fell silent"
        if now >= self._greet_until:
            return "no greeting in time"
        return None
