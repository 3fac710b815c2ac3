"""What this node made lately, signed again, many events by one signature (EV-10).

Each event is signed alone when it is made, so nobody waits for anything. But who catches up later
pays for every signature, so when there is nothing else to do an author puts one over many, in place
of theirs in its own store. An event that went out meanwhile is as good with the old one.
"""

from __future__ import annotations

from typing import Final

from dinemic.gate import Gate
from dinemic.keyring import Keys
from dinemic_engine.event import Event
from dinemic_engine.ids import AuthorId, EventId, ObjectId

BATCH_MAX: Final = 32
"""Events under one signature: it then costs each 3 us to check, its path as much and 160 bytes."""

BATCH_MIN: Final = 4
"""A quarter of a signature is the least that is worth writing an event again."""

LARGE_BYTES: Final = 4096
"""A larger event stays alone: writing it again costs more than its signature."""

REMEMBERED: Final = 1 << 17
"""Events made and not yet signed again, some 100 bytes each; of more the oldest stay alone."""

_Whose = tuple[AuthorId, ObjectId]
"""An author, and the object whose keys its key is among; the node's own if there are none here."""


class Batcher:
    """Signs again together what was made."""

    def __init__(self, gate: Gate, keyring: Keys) -> None:
        self._gate = gate
        self._keyring = keyring
        self._made: dict[_Whose, list[EventId]] = {}
        self._due: dict[_Whose, list[EventId]] = {}
        """Those of `_made` that are enough for a batch."""
        self._count = 0

    @property
    def has_work(self) -> bool:
        """Whether there is something to sign."""
        return bool(self._due)

    def made(self, event: Event, of: ObjectId) -> None:
        """Note an event that was just let in, signed with a key of `of`; under the gate's lock."""
        if len(event.raw) > LARGE_BYTES:
            return
        whose = (event.author, of)
        ids = self._made.get(whose)
        if ids is None:
            ids = self._made[whose] = []
        ids.append(event.id)
        if len(ids) >= BATCH_MIN:
            self._due[whose] = ids
        self._count += 1
        if self._count > REMEMBERED:
            oldest = next(iter(self._made))
            self._count -= len(self._made.pop(oldest))
            self._due.pop(oldest, None)

    def sign_together(self, *, to_the_end: bool = False) -> None:
        """Sign what is due; unless `to_the_end`, until something else is to be done.

        Raises:
            StoreError: the store does not take a batch, or gives no key: it stays as it was.
        """
        while to_the_end or not self._gate.wake.is_set():
            with self._gate.lock:
                if not self._due:
                    return
                whose, ids = self._due.popitem()
                count = min(BATCH_MAX, 1 << (len(ids).bit_length() - 1))
                batch = ids[-count:]
                del ids[-count:]
                self._count -= count
                if len(ids) >= BATCH_MIN:
                    self._due[whose] = ids
                elif not ids:
                    del self._made[whose]
                author, of = whose
                keys = self._keyring.get(of)
                key = self._keyring.node_key if keys is None else keys.signing
                if key.public == author:  # else it went away meanwhile
                    self._gate.ledger.sign_together(key, batch)
