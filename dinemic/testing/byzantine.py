"""A peer that means ill: it speaks the protocol as everybody does, and lies in it.

Behind its runner is a real node, so it holds what the others hold and knows how to make an event
look right. What it makes up lies in a `Liar`, which tells the network of both::

    runner ----> Liar: made-up events, told to some, some never sent ----> Node
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any, Final, NamedTuple, cast

from dinemic.models import DModel
from dinemic.testing.site import Ground, Rough, Site
from dinemic_engine.edits import Set
from dinemic_engine.errors import InvalidEvent
from dinemic_engine.event import open_envelope_untrusted, sign_event
from dinemic_engine.ids import EventId, ObjectId, parse_db_id_untrusted
from dinemic_engine.keys import SigningKey
from dinemic_engine.ranges import HIGHEST, LOWEST, Bound, Fingerprint, Key, Totals
from dinemic_transport.replica import Replica

FIELD: Final = "mischief"
"""The register that made-up events write."""
AHEAD_US: Final = 365 * 86_400_000_000
_MADE_UP_MAX: Final = 512
"""Made-up events one liar keeps telling of."""


class _MadeUp(NamedTuple):
    model: str
    key: Key
    raw: bytes
    sent: bool
    """Whether it is sent to whoever asks for it."""
    story: int
    """Who hears of it: those asking in every second turn if 0 or 1, everybody if -1."""


class Liar:
    """The events of a node and made-up ones, as the network is told of them."""

    def __init__(self, replica: Rough) -> None:
        self._replica = replica
        self._made_up: dict[bytes, _MadeUp] = {}
        self._turn = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._replica, name)

    def tell(self, made_up: _MadeUp) -> None:
        """Tell of one more event from now on."""
        if len(self._made_up) >= _MADE_UP_MAX:
            del self._made_up[next(iter(self._made_up))]
        self._made_up[made_up.key[1]] = made_up

    def totals(self, model: str) -> Totals:
        """As the node, with what is made up; who asks next hears of the other story."""
        self._turn += 1
        true: Totals = self._replica.totals(model)
        false = self._false(model, LOWEST, HIGHEST)
        return replace(
            true, events=_both(true.events, false), effective=_both(true.effective, false)
        )

    def fingerprint(
        self, model: str, lower: Bound, upper: Bound, *, effective: bool = False
    ) -> Fingerprint:
        """As the node, with what is made up."""
        true: Fingerprint = self._replica.fingerprint(model, lower, upper, effective=effective)
        return _both(true, self._false(model, lower, upper))

    def _false(self, model: str, lower: Bound, upper: Bound) -> Fingerprint:
        return Fingerprint.of(key[1] for key in self._told(model, lower, upper))

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
        """As the node, with what is made up."""
        true: list[Key] = self._replica.keys(model, lower, upper, limit + skip, effective=effective)
        return sorted({*true, *self._told(model, lower, upper)})[skip : skip + limit]

    def _told(self, model: str, lower: Bound, upper: Bound) -> list[Key]:
        return [
            each.key
            for each in self._made_up.values()
            if each.model == model
            and each.story in (-1, self._turn % 2)
            and lower <= each.key < upper
        ]

    def events(self, ids: Sequence[bytes]) -> list[tuple[str, bytes] | None]:
        """As the node, with what is made up, but for what it keeps to itself."""
        true: list[tuple[str, bytes] | None] = self._replica.events(ids)
        found = map(self._made_up.get, ids)
        return [
            known if each is None else (each.model, each.raw) if each.sent else None
            for known, each in zip(true, found, strict=True)
        ]


class Byzantine:
    """A node of a world that means ill. Its deeds take an object as it is known here."""

    def __init__(self, ground: Ground, number: int, seed: str, peers: Sequence[str]) -> None:
        self._ground = ground
        self._rng = Random(f"byzantine/{seed}/{number}")
        self._stranger = SigningKey(self._rng.randbytes(32))
        self.site: Final = Site(
            ground, number, seed, peers, (), replica=self._lie, identify=_identify
        )
        """The node behind it."""

    def _lie(self, replica: Rough) -> Replica:
        self._liar = Liar(replica)
        return cast(Replica, self._liar)

    def knows(self, of: DModel) -> bool:
        """Whether the object has come here: one can only meddle with what one knows."""
        return self.site.is_up and self.site.node.view.find(_raw_id(of)) is not None

    def forge(self, of: DModel) -> None:
        """Tell of events by a stranger: one signed rightly, one wrongly, one for another object."""
        raw = self._make(of, self._stranger, self._heads(of))
        broken = bytearray(self._make(of, self._stranger, self._heads(of)))
        broken[-self._rng.randint(1, 64)] ^= 1 << self._rng.randrange(8)
        misplaced = sign_event(
            self._stranger,
            ObjectId(self._rng.randbytes(32)),
            self.site.now_us(),
            [EventId(head) for head in self._heads(of)],
            [Set(FIELD, "misplaced")],
        ).raw
        self._send("forge", of, [raw, bytes(broken), misplaced])

    def backdate(self, of: DModel, caller: DModel | None = None) -> None:
        """Tell of an event dated right behind the genesis, as if nothing else had been known."""
        genesis = EventId(_raw_id(of))
        self._send("back-date", of, [self._make(of, self._key(caller), [genesis], early=True)])

    def predate(self, of: DModel, caller: DModel | None = None) -> None:
        """Tell of an event that is dated a year ahead."""
        raw = self._make(of, self._key(caller), self._heads(of), self.site.now_us() + AHEAD_US)
        self._send("date ahead", of, [raw])

    def flood(self, of: DModel, count: int = 200) -> None:
        """Send events that are none, and rightly signed ones without a known parent."""
        junk = [self._rng.randbytes(self._rng.randint(1, 400)) for _ in range(count // 2)]
        orphans = [
            self._make(of, self._stranger, [EventId(self._rng.randbytes(32))])
            for _ in range(count - count // 2)
        ]
        self.site.runner.announce(of.get_model(), [*junk, *orphans])
        self._ground.fault("flood", of.get_model())

    def withhold(self, of: DModel, caller: DModel | None = None) -> None:
        """Tell of an event, and never send it."""
        raw = self._make(of, self._key(caller), self._heads(of))
        self._tell(of, raw, sent=False)
        self._ground.fault("withhold", of.get_model())

    def equivocate(self, of: DModel, caller: DModel | None = None) -> None:
        """Make two events on top of the same heads, and tell every peer of only one of them."""
        key, heads = self._key(caller), self._heads(of)
        for story in range(2):
            self._tell(of, self._make(of, key, heads), story=story)
        self._ground.fault("equivocate", of.get_model())

    # -- making -------------------------------------------------------------------------------

    def _send(self, fault: str, of: DModel, events: list[bytes]) -> None:
        """Push events, and tell of them to whoever asks later."""
        for raw in events:
            self._tell(of, raw)
        self.site.runner.announce(of.get_model(), events)
        self._ground.fault(fault, of.get_model())

    def _tell(self, of: DModel, raw: bytes, *, sent: bool = True, story: int = -1) -> None:
        place = (self.site.now_us(), _identify(raw))
        self._liar.tell(_MadeUp(of.get_model(), place, raw, sent, story))

    def _key(self, caller: DModel | None) -> SigningKey:
        """The key of an object of this node, perhaps granted something, or a stranger's."""
        keys = None if caller is None else self.site.node.keyring.get(_raw_id(caller))
        return self._stranger if keys is None else keys.signing

    def _heads(self, of: DModel) -> list[EventId]:
        return self.site.node.view.heads(_raw_id(of))[:16]

    def _make(
        self,
        of: DModel,
        key: SigningKey,
        parents: Sequence[EventId],
        t: int | None = None,
        *,
        early: bool = False,
    ) -> bytes:
        view = self.site.node.view
        known = [view.event(each).t for each in parents if view.raw(each) is not None]
        after = max(known, default=0) + 1
        when = after if early else max(after, self.site.now_us() if t is None else t)
        value = self._rng.randrange(1 << 30)
        return sign_event(key, _raw_id(of), when, list(parents), [Set(FIELD, value)]).raw


def _both(one: Fingerprint, other: Fingerprint) -> Fingerprint:
    return Fingerprint(one.count + other.count, (one.total + other.total) % (1 << 256))


def _raw_id(of: DModel) -> ObjectId:
    return parse_db_id_untrusted(of.get_db_id())[1]


def _identify(raw: bytes) -> bytes:
    """The id of an event, and something for what is none."""
    try:
        return open_envelope_untrusted(raw).id
    except InvalidEvent:
        return hashlib.sha256(raw).digest()
