"""A site as one end of a `session_pair.Pair`: real events, ledger and verdicts, and no threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dinemic_engine.errors import InvalidEvent
from dinemic_engine.event import Event, open_envelope_untrusted, open_event_untrusted
from dinemic_engine.outcomes import Admitted, Duplicate, Ingested, Refused
from dinemic_engine.ranges import HIGHEST, LOWEST, Bound, Fingerprint, Key, Totals
from support.graphs import NOW, Site

EVERYTHING = 1 << 30


class SiteReplica:
    """A `Replica` over a site; `now_us` is its clock, before which it holds events (ORD-4)."""

    announce: Callable[[str, Sequence[bytes]], None]

    def __init__(self, now_us: int = NOW) -> None:
        self.announce = lambda model, events: None
        self.site = Site()
        self.now_us = now_us

    @property
    def ids(self) -> frozenset[bytes]:
        """Ids of the events it would send to an empty peer."""
        return frozenset(key[1] for key in self._keys_of_all(effective=False))

    @property
    def effective(self) -> frozenset[Key]:
        """Keys of the events that have effect here."""
        return frozenset(self._keys_of_all(effective=True))

    def _keys_of_all(self, *, effective: bool) -> list[Key]:
        names = self.model_names()
        whole = LOWEST, HIGHEST, EVERYTHING
        return [key for name in names for key in self.keys(name, *whole, effective=effective)]

    def models(self) -> tuple[str, ...]:
        return ("*",)

    def model_names(self) -> tuple[str, ...]:
        return tuple(self.site.view.models())

    def totals(self, model: str) -> Totals:
        return self.site.view.totals(model)

    def fingerprint(
        self, model: str, lower: Bound, upper: Bound, *, effective: bool = False
    ) -> Fingerprint:
        return self.site.view.fingerprint(model, lower, upper, effective=effective)

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
        return self.site.view.range_keys(model, lower, upper, limit, skip, effective=effective)

    def events(self, ids: Sequence[bytes]) -> list[tuple[str, bytes] | None]:
        return [self.site.view.raw(event_id) for event_id in ids]

    def ingest(self, source: bytes, events: Sequence[bytes]) -> Ingested:
        opened: list[Event] = []
        invalid: list[tuple[int, str]] = []
        for position, raw in enumerate(events):
            try:
                open_envelope_untrusted(raw)
                opened.append(open_event_untrusted(raw))
            except InvalidEvent as error:
                invalid.append((position, error.reason.value))
        return self.take(opened, invalid)

    def forget(self, source: bytes) -> None:
        """Nothing: what waits here came from nobody in particular."""

    def take(self, events: Sequence[Event], invalid: Sequence[tuple[int, str]] = ()) -> Ingested:
        """Judge and keep events, and announce what counts, as a node does."""
        before = self.ids
        outcomes = self.site.ingest(events, self.now_us)
        after = self.ids
        news = [found for event_id in after - before for found in self.events([event_id]) if found]
        for model in sorted({model for model, _ in news}):
            self.announce(model, [raw for name, raw in news if name == model])
        kinds = [type(outcome) for outcome in outcomes]
        refused = [(at, "T1") for at, kind in enumerate(kinds) if kind is Refused]
        admitted, duplicate = kinds.count(Admitted), kinds.count(Duplicate)
        waiting = len(kinds) - admitted - duplicate - len(refused)
        return Ingested(admitted, duplicate, waiting, (*invalid, *refused))

    def due(self, now_us: int) -> None:
        """Let the clock go on, and take what it held until then."""
        self.now_us = now_us
        self.take([event for _, event in self.site.waiting.due(now_us)])
