"""A bundle verified from its bytes: each event opened, each object folded into an empty store.

There are no rows to compare here as `audit` does for a store. What can be wrong is the file, an
event's bytes or signature, its place in the file, that its parents are not there, and what T1
refuses. Without a finding the bundle is closed under parents and no node refuses an event of it
(I-03), so it can be imported whole.

Memory: the events and rows of one object at a time, 32 bytes for each object, and findings up to a
bound; the bytes may be anybody's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO, Final

from dinemic_engine import bundle
from dinemic_engine.audit import AuditReport
from dinemic_engine.errors import BundleError, InvalidEvent
from dinemic_engine.event import Event, open_envelope_untrusted, read_event_untrusted
from dinemic_engine.findings import Findings
from dinemic_engine.fold import digest_of_all, fold, order_of
from dinemic_engine.ids import ObjectId

FINDINGS_MAX: Final = 1000
"""Reading stops above this: whoever made the file also decides how much is wrong with it."""

_BATCH: Final = 256


def audit_bundle(file: BinaryIO, progress: Callable[[int], object] | None = None) -> AuditReport:
    """Verify everything in the bundle that begins where `file` is.

    `progress` is called now and then with the number of events done.

    Raises:
        BundleError: not a bundle, or of a later version.
    """
    return _BundleAudit(progress).run(file)


class _BundleAudit:
    def __init__(self, progress: Callable[[int], object] | None) -> None:
        self._progress = progress
        self._findings = Findings()
        self._events = 0
        self._signatures = 0
        self._digests: dict[ObjectId, bytes] = {}
        self._begun: set[ObjectId] = set()
        self._object: ObjectId | None = None
        """That of the events being read."""
        self._own: dict[bytes, Event] = {}
        """Its events by id, in the order of the file."""

    def run(self, file: BinaryIO) -> AuditReport:
        events = bundle.read_untrusted(file)
        try:
            for raw in events:
                self._take_untrusted(raw)
                if len(self._findings.found) >= FINDINGS_MAX:
                    raise BundleError(f"what follows event number {self._events} was not read")
        except BundleError as error:
            self._findings.add("bundle", str(error))
        self._end_object()
        return AuditReport(
            len(self._digests),
            self._events,
            self._signatures,
            digest_of_all(self._digests),
            tuple(self._findings.found),
        )

    def _take_untrusted(self, raw: bytes) -> None:
        self._events += 1
        if self._progress is not None and self._events % _BATCH == 0:
            self._progress(self._events)
        event_id = None
        try:
            envelope = open_envelope_untrusted(raw)
            event_id = envelope.id
            event = read_event_untrusted(envelope)
        except InvalidEvent as error:
            detail = f"event number {self._events} of the bundle: {error}"
            self._findings.add("event", detail, None, event_id)  # of which object, nobody knows
            return
        self._signatures += 1
        if event.object != self._object:
            self._end_object()
            self._object = event.object
        if event.id in self._own:
            self._findings.add("event", "is there twice", event.object, event.id)
            return
        last = next(reversed(self._own.values()), None)
        if last is not None and order_of(event) < order_of(last):
            detail = "comes after one that is later in the order"
            self._findings.add("order", detail, event.object, event.id)
        self._own[event.id] = event

    def _end_object(self) -> None:
        """Fold what was read of an object, if that can be all of it."""
        object_id, own = self._object, self._own
        if object_id is None:
            return
        self._own = {}
        if object_id in self._begun:
            detail = f"{len(own)} events come after those of another object"
            self._findings.add("order", detail, object_id)
            return
        self._begun.add(object_id)
        if object_id not in own:
            self._findings.add("object", f"{len(own)} events and no genesis", object_id)
            return
        folded = fold(object_id, sorted(own.values(), key=order_of), self._findings)
        if folded.digest is not None:
            self._digests[object_id] = folded.digest
