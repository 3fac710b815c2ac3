"""What the network of a node is doing, as values for people and programs to look at."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from operator import add

from dinemic_transport.rows import Divergence, ModelStatus

__all__ = ["Counters", "Divergence", "ModelStatus", "NetworkStatus", "PeerStatus"]


@dataclass(frozen=True, slots=True)
class Counters:
    """What passed through a session so far, in events."""

    sent: int = 0
    received: int = 0
    admitted: int = 0
    duplicate: int = 0
    waiting: int = 0
    refused: int = 0
    """By the rules every node judges alike."""
    dropped: int = 0
    """News not sent, or not taken in, for want of room: found again by a catch-up."""
    catchups: int = 0
    """Catch-ups driven from here."""
    comparisons: int = 0
    """Comparisons of verdicts driven from here; between honest nodes there are hardly any."""
    divergences: int = 0
    """Alarms: the peer has the same events of a model and judges them differently (VETO-4)."""

    def __add__(self, other: Counters) -> Counters:
        return Counters(*map(add, astuple(self), astuple(other)))


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """One peer with a link. `state` is greeting, open or closed; `score` sinks with its faults."""

    node_id: str
    address: str
    dialled: bool
    state: str
    synced: bool
    catching_up: str | None
    behind: int
    """How many events more than this node the peer has, in all models."""
    lag_seconds: float
    """For how long the model that has differed longest does; 0 while none is known to."""
    score: float
    models: tuple[ModelStatus, ...]
    counters: Counters


@dataclass(frozen=True, slots=True)
class NetworkStatus:
    """What the network is doing. `error` is why it stopped, if it did by itself."""

    node_id: str
    addresses: tuple[str, ...]
    known_addresses: int
    synced: bool
    peers: tuple[PeerStatus, ...]
    counters: Counters = Counters()
    """Of all links since the network runs, also of those that are over."""
    divergences: int = 0
    """Alarms since the network runs, of all peers. Those that are on are in `peers`, by model."""
    clock_behind_us: int | None = None
    """How far this host's clock is behind the median of the peers', negative if it is ahead.

    Beyond 30 s this node makes no events (ORD-5). None while fewer than three peers say theirs.
    """
    error: str | None = None
