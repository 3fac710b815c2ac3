"""When the handshake of a stranger begins: some at once are free, then few a second (CHAN-4).

A handshake, a greeting and a first frame cost this node 4 ms before it knows what a peer is worth,
and whoever is cut off for faults comes back as another node. What it cannot change at will is
where it comes from. So handshakes are rationed by host: a burst is free, the next wait for their
turn, and when all places are taken by such as wait, the rest is sent away::

    of one host  |||||||||  |    |    |    |    |   x x x
                 64 free    2 a second, in turn     8 wait or are under way: refused

    strangers ---> together 256 free, then 16 a second, in 64 places
    known hosts -> the same again

So many hosts hold up no more than each other. A host is *known* that has held a link for
`KNOWN_SECONDS`: from then on a flood of strangers, of whatever number, is not before it in line.

Each turn ahead has a place, so nobody waits longer than 8 / 2 = 64 / 16 = 4 s, less than a
dialler's patience. Invariant: in any stretch of t seconds at most 64 + 8 + 2 t handshakes of one
host begin, and 256 + 64 + 16 t of one line; the middle terms are those that waited for the other.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from dinemic_transport.budget import Budget

HANDSHAKES_PER_HOST_MAX: Final = 8
HANDSHAKES_MAX: Final = 64
"""Places, for those that wait for their turn and those under way. An honest one needs its place for
a few round trips, one that never ends for 10 s."""

HANDSHAKES_PER_HOST_BURST: Final = 64
HANDSHAKES_BURST: Final = 256
"""Free: a site behind one address, or a large cluster, that all comes back at once."""

HANDSHAKES_PER_HOST_PER_SECOND: Final = 2
HANDSHAKES_PER_SECOND: Final = 16
"""At 4 ms each a host costs 1 % of a core and all strangers 6: gossip does not feel it."""

KNOWN_SECONDS: Final = 20.0
"""A link that lasted so long was worth its handshake."""

KNOWN_HOSTS_MAX: Final = 1024

_BUDGETS_MAX: Final = 1024
"""When there are more, those not in use are dropped: all but about 500, by the rates above."""


class _Line:
    """What all hosts of a kind may use together."""

    def __init__(self) -> None:
        self.budget: Final = Budget(HANDSHAKES_BURST, 1 / HANDSHAKES_PER_SECOND)
        self.places_taken = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """A place among the handshakes, to be given back when its handshake is over."""

    host: str
    begins: float
    """When the handshake may begin."""
    line: _Line


class Handshakes:
    """The handshakes that others begin, by host."""

    def __init__(self) -> None:
        self._places_taken: Counter[str] = Counter()
        self._budgets: dict[str, Budget] = {}
        self._known: dict[str, None] = {}
        """Hosts, the one that was found worth it last at the end."""
        self._strangers = _Line()
        self._acquaintances = _Line()

    def __len__(self) -> int:
        """How many wait or are under way."""
        return self._places_taken.total()

    def take(self, host: str, now: float) -> Turn | None:
        """A turn for a connection from `host`; None, and nothing is used, if no place is left."""
        line = self._acquaintances if host in self._known else self._strangers
        if (
            self._places_taken[host] >= HANDSHAKES_PER_HOST_MAX
            or line.places_taken >= HANDSHAKES_MAX
        ):
            return None
        budget = self._budget(host, now)
        begins = max(now, budget.ready_at, line.budget.ready_at)
        for each in (budget, line.budget):
            each.spend(1, now)
        self._places_taken[host] += 1
        line.places_taken += 1
        return Turn(host, begins, line)

    def over(self, turn: Turn) -> None:
        """The handshake is over, well or badly, or never began."""
        turn.line.places_taken -= 1
        count_down(self._places_taken, turn.host)

    def lasted(self, host: str, seconds: float) -> None:
        """A link that `host` opened is over, and lasted so long."""
        if seconds < KNOWN_SECONDS:
            return
        self._known.pop(host, None)
        if len(self._known) >= KNOWN_HOSTS_MAX:
            del self._known[next(iter(self._known))]
        self._known[host] = None

    def _budget(self, host: str, now: float) -> Budget:
        budget = self._budgets.get(host)
        if budget is None:
            if len(self._budgets) >= _BUDGETS_MAX:
                used = {name: each for name, each in self._budgets.items() if not each.is_full(now)}
                self._budgets = used
            budget = Budget(HANDSHAKES_PER_HOST_BURST, 1 / HANDSHAKES_PER_HOST_PER_SECOND)
            self._budgets[host] = budget
        return budget


def count_down(counts: Counter[str], name: str) -> None:
    """One less of `name`; nothing is kept of what there is none of."""
    counts[name] -= 1
    if not counts[name]:
        del counts[name]
