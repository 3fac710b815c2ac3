"""Whom to dial when, and which links to keep: the address book of a node (CHAN-2, CHAN-5, GOS-5).

An address is a hint: given by the user, found, or told by a peer. Only a handshake tells who is
there. An address is dialled when nothing speaks against it::

    known --due--> dialling --link--> joined --20 s--> back-off forgotten
      ^               |                  |                   |
      +---back-off----+------------------+-------------------+ the link ends

Never ourselves, never a node we are linked to or are dialling already, never one cut off for
faults, and after a failure only when its back-off is over: 0.5 s doubling to 60 s, jittered so
that nodes started together do not meet in step. Two nodes that dial each other at once have two
links; both ends keep the one dialled by the smaller id, so they keep the same.

Up to `ACTIVE` links a node dials whatever it knows of; then only what the user gave. So small
networks are a full mesh, larger ones a random graph in which everybody dials until it has `ACTIVE`
links, and sends peers it did not choose away when it has more than `ACTIVE_MAX` (overlay.py). The
addresses that are known and not linked to stand by (HyParView: Leitao, Pereira, Rodrigues, DSN
2007, calls them the passive view). Of a public /16, or an IPv6 /32, more than `PER_NETWORK` are
linked to only for want of others: such a network may be all one party's.

What a peer tells is a *claim* until a dial of it has led to its node. A liar may tell anything, so
a claim has a line of its own in the book, which takes nothing from any other line: given, found,
or told by somebody else with another node id. And claims are bounded: in number for each peer, the
worst making room, in dials at once and a minute, and in failures; while there are links enough
none is tried.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from dinemic_transport import addresses
from dinemic_transport.budget import Budget

BACKOFF_SECONDS: Final = (0.5, 60.0)
YIELD_SECONDS: Final = 0.5
"""The larger id gives the smaller this long to dial first: one link to make instead of two."""

FOUND_AGAIN_SECONDS: Final = 5.0
"""A node that was away and is found again is not kept waiting for a long back-off."""

STEADY_SECONDS: Final = 20.0
"""A link that lasted so long was good; one that ends at once, however open, will do so again."""

BAN_SECONDS: Final = (60.0, 3600.0)
ADDRESSES_MAX: Final = 1024
BANS_MAX: Final = 1024
ADDRESS_CHARACTERS_MAX: Final = 300

CLAIMS_PER_PEER_MAX: Final = 32
CLAIM_FAILURES_MAX: Final = 5
"""Half a minute of dials: a claim that none of them proved is forgotten."""

TOLD_FAILURES_MAX: Final = 100
"""An hour or two: nobody may tell again of a node that was reached and went away."""

CLAIM_DIALS_MAX: Final = 8
"""At once: half of what the runner dials, so that false claims hold up nothing else."""

CLAIM_DIALS_BURST: Final = 64
CLAIM_DIAL_SECONDS: Final = 1.0
"""All peers' claims together: so many dials at once, then one a second, whoever they are."""

ACTIVE: Final = 6
"""Links a node makes; a network of one more is a full mesh."""

PER_NETWORK: Final = 2
RESTING_SECONDS: Final = 600.0
RESTING_MAX: Final = 1024
FEW: Final = 3
"""With fewer links than this a node also dials those that had no room for it."""


@dataclass(slots=True)
class _Address:
    """One address that may be a peer's."""

    address: str
    given: bool
    """By the user: kept for ever. Otherwise found, and replaceable."""
    node_id: bytes | None
    due: float
    source: bytes | None = None
    """The peer that told us of it."""
    reached: bool = False
    """Whether a dial of it has led to a node."""
    failures: int = 0
    dialling: bool = False

    @property
    def is_claim(self) -> bool:
        """Whether it is no more than what some peer says."""
        return self.source is not None and not self.reached


@dataclass(slots=True)
class _Link:
    """A link we hold."""

    dialled: bool
    since: float
    network: str | None
    counts: bool = True
    """Whether there is a model both ends want; nobody needs it where there is none."""


@dataclass(slots=True)
class _Ban:
    until: float
    times: int


@dataclass(frozen=True, slots=True)
class Dial:
    """An address to dial now, and the node id to insist on, if one is known."""

    address: str
    expect: bytes | None


class Peers:
    """The address book of one node: `me` is its id, `rand()` a number in 0..1.

    It dials until it has `active` links, and what the user named in any case.
    """

    def __init__(self, me: bytes, rand: Callable[[], float], active: int = ACTIVE) -> None:
        self._me = me
        self._rand = rand
        self._active = active
        self._book: dict[tuple[str, bytes | None], _Address] = {}
        """By address, and by node id if a peer told us so."""
        self._claim_dials = Budget(CLAIM_DIALS_BURST, CLAIM_DIAL_SECONDS)
        self._linked: dict[bytes, _Link] = {}
        """By node id."""
        self._resting: dict[bytes, float] = {}
        """Node ids that have links enough, or that we had no room for, until when."""
        self._bans: dict[bytes, _Ban] = {}

    def __len__(self) -> int:
        return len(self._book)

    # -- hints --

    def given(self, address: str, now: float) -> None:
        """An address the user names: it is tried for as long as the node runs."""
        entry = self._book.get((address, None))
        if entry is None:
            self._book[address, None] = _Address(address, True, None, now)
        else:
            entry.given = True

    def found_untrusted(self, address: str, node_id: bytes | None, now: float) -> None:
        """A hint from discovery. A node that has just shown up there is tried at once."""
        if node_id == self._me or len(address) > ADDRESS_CHARACTERS_MAX:
            return
        entry = self._book.get((address, None))
        due = self._due(node_id, now)
        if entry is None:
            if len(self._book) >= ADDRESSES_MAX and not self._evict(self._book.values()):
                return
            self._book[address, None] = _Address(address, False, node_id, due)
        elif node_id is not None and node_id != entry.node_id:
            entry.node_id, entry.failures = node_id, 0
            entry.due = min(entry.due, due)
        else:
            entry.due = min(entry.due, now + FOUND_AGAIN_SECONDS)

    def told_untrusted(self, address: str, node_id: bytes, source: bytes, now: float) -> None:
        """A hint from the peer `source`: `node_id` may be at `address`. It alters no other line.

        It takes the room of an earlier claim, of this peer if that has made too many.
        """
        own = self._book.get((address, None))
        if own is not None and (own.given or own.node_id == node_id):
            return
        if (address, node_id) in self._book or node_id == self._me:
            return
        if len(address) > ADDRESS_CHARACTERS_MAX:
            return
        claims = [entry for entry in self._book.values() if entry.is_claim]
        same = [entry for entry in claims if entry.source == source]
        if len(same) >= CLAIMS_PER_PEER_MAX:
            if not self._evict(same):
                return
        elif len(self._book) >= ADDRESSES_MAX and not self._evict(claims):
            return
        due = self._due(node_id, now)
        self._book[address, node_id] = _Address(address, False, node_id, due, source)

    def _due(self, node_id: bytes | None, now: float) -> float:
        """When to dial a node just found for the first time."""
        return now + (YIELD_SECONDS if node_id is not None and node_id < self._me else 0.0)

    def _evict(self, entries: Iterable[_Address]) -> bool:
        """Drop one of these, a claim rather than not, that failed most; False if none can go."""
        worst = max(
            (entry for entry in entries if not entry.given and not entry.dialling),
            key=lambda entry: (entry.is_claim, entry.failures),
            default=None,
        )
        if worst is None:
            return False
        self._forget(worst)
        return True

    def _forget(self, entry: _Address) -> None:
        del self._book[entry.address, entry.node_id if entry.source is not None else None]

    # -- dialling --

    def next_dial(self, now: float) -> Dial | None:
        """An address to dial now, marked as being dialled until `failed` or `reached`."""
        due = [entry for at, entry in self._dialable() if at <= now]
        if not due:
            return None
        entry = min(due, key=lambda entry: (not entry.given, self._is_crowded(entry), self._rand()))
        if entry.is_claim:
            self._claim_dials.take(now)
        entry.dialling = True
        return Dial(entry.address, None if entry.given else entry.node_id)

    def deadline(self) -> float:
        """When `next_dial` may have an address; a change of any kind may bring it forward."""
        return min((due for due, _ in self._dialable()), default=math.inf)

    def _dialable(self) -> Iterator[tuple[float, _Address]]:
        """Every address nothing but time keeps from being dialled, and when it no longer does."""
        dialling = [entry for entry in self._book.values() if entry.dialling]
        places = {entry.address for entry in dialling}
        busy = {entry.node_id for entry in dialling}
        busy = (busy | self._linked.keys() | {self._me}) - {None}
        has_enough = self.active + sum(not entry.given for entry in dialling) >= self._active
        claims_wait = sum(entry.is_claim for entry in dialling) >= CLAIM_DIALS_MAX
        has_few = self.active < FEW
        for entry in self._book.values():
            if entry.address in places or entry.node_id in busy:
                continue
            if has_enough and not entry.given:
                continue
            due = max(entry.due, self._banned_until(entry.node_id))
            if not has_few and entry.node_id is not None:
                due = max(due, self._resting.get(entry.node_id, -math.inf))
            if not entry.is_claim:
                yield due, entry
            elif not claims_wait:
                yield max(due, self._claim_dials.ready_at), entry

    def failed(self, address: str, now: float) -> None:
        """No link came of dialling `address`."""
        entry = self._dialled(address)
        entry.dialling = False
        self._back_off(entry, now)

    def reached(self, address: str, node_id: bytes) -> None:
        """Dialling `address` has led to `node_id`."""
        entry = self._dialled(address)
        entry.dialling, entry.reached = False, True
        entry.node_id = node_id

    def _dialled(self, address: str) -> _Address:
        """The entry that is being dialled at `address`: there is one, and no other."""
        (entry,) = [e for e in self._book.values() if e.dialling and e.address == address]
        return entry

    def _back_off(self, entry: _Address, now: float) -> None:
        """It failed: dial it again later, or never if a peer told of it and it failed too often."""
        first, last = BACKOFF_SECONDS
        pause = min(last, first * 2 ** min(entry.failures, 16))
        entry.failures += 1
        entry.due = now + pause * (0.5 + self._rand())
        if entry.source is not None:
            failures_max = CLAIM_FAILURES_MAX if entry.is_claim else TOLD_FAILURES_MAX
            if entry.failures >= failures_max:
                self._forget(entry)

    # -- links --

    def linked(self, node_id: bytes) -> bool:
        """Whether we hold a link to that node."""
        return node_id in self._linked

    @property
    def active(self) -> int:
        """How many links there are, without those that share no model."""
        return sum(link.counts for link in self._linked.values())

    @property
    def is_full(self) -> bool:
        """Whether there are links enough."""
        return self.active >= self._active

    def is_given(self, node_id: bytes) -> bool:
        """Whether an address the user named has led to that node."""
        return any(entry.given and entry.node_id == node_id for entry in self._book.values())

    def is_crowded(self, node_id: bytes) -> bool:
        """Whether more nodes of that one's network are linked to than should be."""
        network = self._linked[node_id].network
        return network is not None and self._count_of(network) > PER_NETWORK

    def _is_crowded(self, entry: _Address) -> bool:
        network = addresses.network(entry.address)
        return network is not None and self._count_of(network) >= PER_NETWORK

    def _count_of(self, network: str) -> int:
        return sum(link.network == network for link in self._linked.values())

    def prefers_new(self, node_id: bytes, *, dialled: bool) -> bool:
        """Whether a new link to a node already linked is the one to keep.

        If the two were dialled by different sides, both keep the one dialled by the smaller id. If
        the peer dialled both, it has lost the first. If we did, the first is as good.
        """
        old_is_ours = self._linked[node_id].dialled
        if old_is_ours != dialled:
            return dialled == (self._me < node_id)
        return not dialled

    def joined(self, node_id: bytes, now: float, *, dialled: bool, remote: str = "") -> None:
        """We hold a link to `node_id`, which is at `remote`, and keep it."""
        self._linked[node_id] = _Link(dialled, now, addresses.network(remote))

    def is_of_no_use(self, node_id: bytes) -> None:
        """There is no model that both ends of that link want: it takes no other link's place."""
        self._linked[node_id].counts = False

    def rest(self, node_id: bytes, now: float) -> None:
        """One of us has links enough: do not dial that node for a while, if there are others."""
        if len(self._resting) >= RESTING_MAX:
            del self._resting[min(self._resting, key=self._resting.__getitem__)]
        self._resting[node_id] = now + RESTING_SECONDS * (0.5 + self._rand())

    def has_other(self, now: float) -> bool:
        """Whether some node that is not linked to could be dialled for a change."""
        return any(
            entry.node_id is not None
            and entry.node_id not in self._linked
            and max(self._banned_until(entry.node_id), self._resting.get(entry.node_id, 0.0)) <= now
            for entry in self._book.values()
        )

    def left(self, node_id: bytes, now: float) -> None:
        """The link we kept has ended: its addresses may be dialled again soon."""
        since = self._linked.pop(node_id).since
        for entry in [entry for entry in self._book.values() if entry.node_id == node_id]:
            if not entry.dialling:
                if now >= since + STEADY_SECONDS:
                    entry.failures = 0
                self._back_off(entry, now)

    # -- faults --

    def ban(self, node_id: bytes, now: float) -> float:
        """Keep a node that broke the rules away for 1 minute, twice as long each time; until when.

        Those whose time is over are forgotten first when there are too many.
        """
        ban = self._bans.pop(node_id, None) or _Ban(now, 0)
        first, last = BAN_SECONDS
        ban.until = now + min(last, first * 2**ban.times)
        ban.times = min(ban.times + 1, 16)
        if len(self._bans) >= BANS_MAX:
            del self._bans[min(self._bans, key=lambda banned: self._bans[banned].until)]
        self._bans[node_id] = ban
        return ban.until

    def banned(self, node_id: bytes, now: float) -> bool:
        """Whether links with that node are refused now."""
        return self._banned_until(node_id) > now

    def _banned_until(self, node_id: bytes | None) -> float:
        ban = self._bans.get(node_id) if node_id is not None else None
        return ban.until if ban is not None else -math.inf
