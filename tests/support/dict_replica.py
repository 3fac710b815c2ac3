"""A `Replica` in a dict, and events to put in it: what session and runner tests use for a node.

A made event is ``t (8 bytes) | model | NUL | filler`` with its SHA-256 as id: no signatures and no
parents, so ten thousand cost nothing. A filler that begins with `REFUSED` makes every replica
refuse it. With `read_signed` a replica takes signed genesis events instead, and with `read_forced`
it is a peer that means ill: it keeps and sends whatever is in the envelope of an event.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Sequence

import cbor2

from dinemic_engine.errors import Malformed, Reason
from dinemic_engine.event import open_envelope_untrusted, open_event_untrusted
from dinemic_engine.ops import Create
from dinemic_engine.ranges import HIGHEST, LOWEST, Bound, Fingerprint, Key, Totals, head_term
from dinemic_transport.replica import Ingested

MODEL = "Person"
REFUSED = b"refused"
BAD_BYTES = b"not an event"

Read = Callable[[bytes], tuple[bytes, int, str]]
"""(id, t, model) of an event's bytes."""


def made_event(t: int, filler: bytes = b"", model: str = MODEL) -> bytes:
    return t.to_bytes(8, "big") + model.encode() + b"\0" + filler


def made_events(
    count: int, *, start: int = 1_000_000, step: int = 1000, filler: bytes = b"", model: str = MODEL
) -> list[bytes]:
    return [made_event(start + step * number, filler, model) for number in range(count)]


def identify(raw: bytes) -> bytes:
    """The id of a made event; like the engine's, it refuses what is no event."""
    if raw == BAD_BYTES:
        raise Malformed(Reason.ENVELOPE, "not a made event")
    return hashlib.sha256(raw).digest()


def read_made(raw: bytes) -> tuple[bytes, int, str]:
    return identify(raw), int.from_bytes(raw[:8], "big"), raw[8:].partition(b"\0")[0].decode()


def read_signed(raw: bytes) -> tuple[bytes, int, str]:
    event = open_event_untrusted(raw)
    genesis = event.ops[0]
    assert isinstance(genesis, Create)
    return event.id, event.t, genesis.model


def read_forced(raw: bytes) -> tuple[bytes, int, str]:
    """An event of `MODEL` whose signature, shape and author nobody has looked at."""
    envelope = open_envelope_untrusted(raw)
    return envelope.id, cbor2.loads(envelope.payload)[3], MODEL


def parents_forced(raw: bytes) -> list[bytes]:
    """The parents an event names, whoever made it."""
    named: list[bytes] = cbor2.loads(open_envelope_untrusted(raw).payload)[4]
    return named


class KeySet:
    """A set of keys with fingerprints of any range; a reconciler's `Side`.

    `fingerprints` and `keys_read` count what it was asked for.
    """

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self.fingerprints = 0
        self.keys_read = 0
        self._keys = sorted(keys)
        self._covered: set[bytes] = set()
        """Ids of events that others name as parents: they are no heads."""
        self._sums: list[int] | None = None
        self._heads: int | None = None

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys)

    def add(self, key: Key, parents: Iterable[bytes] = ()) -> None:
        insort(self._keys, key)
        self._covered.update(parents)
        self._sums = self._heads = None

    def fingerprint(self, lower: Bound, upper: Bound) -> Fingerprint:
        self.fingerprints += 1
        if self._sums is None:
            self._sums = [0]
            for _, event_id in self._keys:
                digest = hashlib.sha256(b"dinemic/fp/1" + event_id).digest()
                self._sums.append(self._sums[-1] + int.from_bytes(digest, "big"))
        begin, end = bisect_left(self._keys, lower), bisect_left(self._keys, upper)
        return Fingerprint(end - begin, (self._sums[end] - self._sums[begin]) % (1 << 256))

    def heads(self) -> Fingerprint:
        """Of keys without parents as if each were of an object of its own."""
        heads = [event_id for _, event_id in self._keys if event_id not in self._covered]
        if self._heads is None:
            self._heads = sum(map(head_term, heads)) % (1 << 256)
        return Fingerprint(len(heads), self._heads)

    def keys(self, lower: Bound, upper: Bound, limit: int, skip: int = 0) -> list[Key]:
        begin, end = bisect_left(self._keys, lower) + skip, bisect_left(self._keys, upper)
        found = self._keys[begin : min(end, begin + limit)]
        self.keys_read += len(found)
        return found


class DictReplica:
    """A node's events in a dict. `announce` is called with what is admitted, as a node does.

    It knows no access rules: every event has effect but those in `void`, and every one counts in
    the reconciled set but those in `inert`, which are void too.
    """

    announce: Callable[[str, Sequence[bytes]], None]

    def __init__(
        self,
        events: Iterable[bytes] = (),
        *,
        models: tuple[str, ...] = ("*",),
        read: Read = read_made,
        parents: Callable[[bytes], Iterable[bytes]] = lambda raw: (),
    ) -> None:
        self.announce = lambda model, events: None
        self.ingested: list[tuple[bytes, tuple[bytes, ...]]] = []
        """Every call of `ingest`: source and events."""
        self.forgotten: list[bytes] = []
        self.void: frozenset[bytes] = frozenset()
        self.inert: frozenset[bytes] = frozenset()
        self._read = read
        self._parents = parents
        self._models = models
        self._events: dict[bytes, tuple[str, bytes]] = {}
        self._keys: dict[str, KeySet] = {}
        self._shown: dict[tuple[str, frozenset[bytes]], KeySet] = {}
        for raw in events:
            self._keep(raw)

    @property
    def ids(self) -> frozenset[bytes]:
        return frozenset(self._events)

    def author(self, events: Iterable[bytes]) -> None:
        """Admit events made here, and announce them one by one."""
        for raw in events:
            self._keep(raw)
            self.announce(self._read(raw)[2], [raw])

    def models(self) -> tuple[str, ...]:
        return self._models

    def model_names(self) -> tuple[str, ...]:
        return tuple(sorted(self._keys))

    def totals(self, model: str) -> Totals:
        events = self.fingerprint(model, LOWEST, HIGHEST)
        effective = self.fingerprint(model, LOWEST, HIGHEST, effective=True)
        return Totals(events, effective, self._counted(model, effective=False).heads())

    def fingerprint(
        self, model: str, lower: Bound, upper: Bound, *, effective: bool = False
    ) -> Fingerprint:
        return self._counted(model, effective=effective).fingerprint(lower, upper)

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
        return self._counted(model, effective=effective).keys(lower, upper, limit, skip)

    def _counted(self, model: str, *, effective: bool) -> KeySet:
        keys = self._keys.get(model, KeySet())
        without = self.inert | self.void if effective else self.inert
        if not without:
            return keys
        shown = self._shown.get((model, without))
        if shown is None:
            shown = KeySet(key for key in keys if key[1] not in without)
            self._shown[model, without] = shown
        return shown

    def events(self, ids: Sequence[bytes]) -> list[tuple[str, bytes] | None]:
        return [self._events.get(event_id) for event_id in ids]

    def ingest(self, source: bytes, events: Sequence[bytes]) -> Ingested:
        self.ingested.append((source, tuple(events)))
        invalid: list[tuple[int, str]] = []
        admitted: dict[str, list[bytes]] = {}
        duplicate = 0
        for position, raw in enumerate(events):
            event_id, _, model = self._read(raw)
            if b"\0" + REFUSED in raw:
                invalid.append((position, "AUTH-5/closed"))
            elif event_id in self._events:
                duplicate += 1
            else:
                self._keep(raw)
                admitted.setdefault(model, []).append(raw)
        for model, news in admitted.items():
            self.announce(model, news)
        return Ingested(sum(map(len, admitted.values())), duplicate, 0, tuple(invalid))

    def forget(self, source: bytes) -> None:
        self.forgotten.append(source)

    def _keep(self, raw: bytes) -> None:
        event_id, t, model = self._read(raw)
        if event_id not in self._events:
            self._shown.clear()
            self._events[event_id] = (model, raw)
            self._keys.setdefault(model, KeySet()).add((t, event_id), self._parents(raw))
