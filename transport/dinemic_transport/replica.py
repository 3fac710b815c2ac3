"""What the network may ask of a node: the whole interface between transport and the rest.

Every method may block on the store, so the runner calls them on a worker thread, in batches.
`Node` implements it; tests implement it with a dict.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dinemic_engine.outcomes import Ingested
from dinemic_engine.ranges import Bound, Fingerprint, Key, Totals

__all__ = ["Ingested", "Replica"]


class Replica(Protocol):
    """One node's events, seen from the network. Ids and keys are raw bytes."""

    def models(self) -> tuple[str, ...]:
        """The models this node subscribes to; ``("*",)`` is every one."""

    def model_names(self) -> tuple[str, ...]:
        """The subscribed models of which at least one event is here, sorted."""

    def totals(self, model: str) -> Totals:
        """The fingerprints of all of the model's events, and of their heads; of one moment."""

    def fingerprint(
        self, model: str, lower: Bound, upper: Bound, *, effective: bool = False
    ) -> Fingerprint:
        """Fingerprint of the model's events with ``lower <= (t, id) < upper`` (REC-2).

        With `effective` of those among them that have effect for every node; guards are local.
        """

    def keys(
        self,
        model: str,
        lower: Bound,
        upper: Bound,
        limit: int,
        skip: int = 0,
        *,
        effective: bool = False,
    ) -> list[Key]:
        """Up to `limit` keys (t, id) of those events but the lowest `skip`, ascending."""

    def events(self, ids: Sequence[bytes]) -> list[tuple[str, bytes] | None]:
        """For each event id (model, signed bytes), None where it is not here."""

    def ingest(self, source: bytes, events: Sequence[bytes]) -> Ingested:
        """Judge and keep received events, parents first where the sender could.

        `source` is the peer's node id: buffers for events that must wait are bounded per source.
        """

    def forget(self, source: bytes) -> None:
        """The link to a peer is gone: drop what it sent that still waits to be judged (ORD-9)."""
