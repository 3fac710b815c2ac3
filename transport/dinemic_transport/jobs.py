"""What a worker thread does for a session: all that must read the replica, or write to it.

A *job* is a value with ``run(replica)``; a session hands it out, and takes its outcome by
`completed`. Everything else a session does is instant.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from dinemic_engine import listing, reconcile
from dinemic_engine.listing import Lister
from dinemic_engine.ranges import Bound, Fingerprint, Key, successor
from dinemic_engine.reconcile import Gap, Reconciler, Segment, Settled
from dinemic_transport.messages import Answer, Confirm, Dispute, Row
from dinemic_transport.replica import Ingested, Replica

BATCH_BYTES: Final = 1 << 20
"""With the event that reaches this a window or offer is full; the rest follows in the next."""

_OFFER_KEYS: Final = 256
_LOAD_IDS_FIRST: Final = 4
_LOAD_IDS_MAX: Final = 64
"""Behind small events may come as many of the largest size, and be read for nothing."""


@dataclass(frozen=True, slots=True)
class AskJob:
    """Find the next question."""

    model: str
    reconciler: Reconciler | Lister
    effective: bool = False

    def run(self, replica: Replica) -> tuple[Segment, ...]:
        """The question; empty when there is nothing left to ask."""
        return self.reconciler.ask(_Side(replica, self.model, self.effective))


@dataclass(frozen=True, slots=True)
class LearnJob:
    """Take the answer to the last question."""

    model: str
    reconciler: Reconciler | Lister
    answer: tuple[Segment, ...]
    effective: bool = False

    def run(self, replica: Replica) -> Settled:
        """What it settled."""
        side = _Side(replica, self.model, self.effective)
        self.reconciler.learn_untrusted(side, self.answer)
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
    effective: bool = False
    listed: bool = False

    def run(self, replica: Replica) -> Answer:
        """The message to send."""
        side = _Side(replica, self.model, self.effective)
        answer_untrusted = listing.answer_untrusted if self.listed else reconcile.answer_untrusted
        segments = answer_untrusted(side, self.asked)
        return Answer(self.model, segments, self.effective, self.listed)


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
class TellJob:
    """Load news that the peer has asked for by name."""

    model: str
    ids: tuple[bytes, ...]

    def run(self, replica: Replica) -> Told:
        """Up to a batch of them, and the ids of what did not fit."""
        events, loaded = _load(replica, self.model, self.ids)
        return Told(events, self.ids[loaded:])


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
class CheckJob:
    """See which is the first event that only one side gives effect, of those found so far."""

    mine: Row
    found: Settled

    def run(self, replica: Replica) -> Checked:
        """It, unless our set is not that of `mine` any more."""
        model = self.mine.model
        ours = [
            key
            for gap in self.found.have[:1]
            for key in replica.keys(model, gap.lower, gap.upper, len(gap.known) + 1, effective=True)
            if key not in gap.known
        ]
        first = min([*self.found.need[:1], *ours], default=None)
        if first is None or read_row(replica, model) != self.mine:
            return Checked(None, effective=False)
        return Checked(first, effective=first in ours)


@dataclass(frozen=True, slots=True)
class DisputeJob:
    """See whether what the peer says of an event and of our row is so."""

    said: Dispute

    def run(self, replica: Replica) -> Confirm:
        """The message to send."""
        model, key = self.said.model, self.said.key
        (found,) = replica.events([key[1]])
        if found is None or found[0] != model:
            return Confirm(model, confirmed=False)
        effective = replica.keys(model, key, successor(key), 1, effective=True) == [key]
        row = read_row(replica, model)
        same = (row.fingerprint, row.effective) == self.said.row
        return Confirm(model, same and effective is not self.said.effective)


@dataclass(frozen=True, slots=True)
class Checked:
    """A key, if there is one that only one side gives effect, and whether it is this side."""

    key: Key | None
    effective: bool


@dataclass(frozen=True, slots=True)
class Loaded:
    """Signed events, and what is left of the gap they came from."""

    events: tuple[bytes, ...]
    rest: Gap | None


@dataclass(frozen=True, slots=True)
class Told:
    """News that was asked for, and the ids of what is still to be loaded."""

    events: tuple[bytes, ...]
    rest: tuple[bytes, ...]


Job: TypeAlias = (
    AskJob
    | LearnJob
    | OfferJob
    | AnswerJob
    | ServeJob
    | TellJob
    | IngestJob
    | CheckJob
    | DisputeJob
)
Outcome: TypeAlias = (
    tuple[Segment, ...] | Settled | Loaded | Told | Answer | Ingested | Checked | Confirm
)


@dataclass(frozen=True, slots=True)
class _Side:
    """One model of a replica, or the effective events of it, as a reconciler sees it."""

    replica: Replica
    model: str
    effective: bool

    def fingerprint(self, lower: Bound, upper: Bound) -> Fingerprint:
        return self.replica.fingerprint(self.model, lower, upper, effective=self.effective)

    def keys(self, lower: Bound, upper: Bound, limit: int, skip: int = 0) -> list[Key]:
        return self.replica.keys(self.model, lower, upper, limit, skip, effective=self.effective)


def _load(replica: Replica, model: str, ids: Sequence[bytes]) -> tuple[tuple[bytes, ...], int]:
    """The events of `ids` that are here in `model`, and of how many ids; one batch at most.

    They are read in growing portions: the first are few, for each may be of the largest size.
    """
    events: list[bytes] = []
    size = at = 0
    count = _LOAD_IDS_FIRST
    while at < len(ids):
        for found in replica.events(ids[at : at + count]):
            at += 1
            if found is not None and found[0] == model:
                events.append(found[1])
                size += len(found[1])
                if size >= BATCH_BYTES:
                    return tuple(events), at
        count = min(2 * count, _LOAD_IDS_MAX)
    return tuple(events), at


def read_row(replica: Replica, model: str) -> Row:
    """The row of a model, of one moment."""
    found = replica.totals(model)
    fingerprints = [each.wire() for each in (found.events, found.effective, found.heads)]
    return Row(model, found.events.count, *fingerprints)


def summarise(replica: Replica, models: Iterable[str] | None) -> list[Row]:
    """The rows of `models`, or of every model with an event here; for a worker thread."""
    names = replica.model_names() if models is None else models
    return [read_row(replica, name) for name in names]
