"""A world of nodes in one process: real ones, on simulated time, network and disks.

::

    with World(nodes=3, seed=7) as world:
        ada = world[0].create(Person, name="Ada")
        world.settle()
        world.partition([0], [1, 2])
        world[1].handle(Person, ada).name.set("Eve")
        world.crash(2)
        world.heal()
        world.restart(2)
        world.settle()
        world.check()

Time passes in `advance`, `wait` and `settle` and nowhere else. The seed decides everything: keys,
travel times, the order of tasks, what a crash takes. The same calls on a world of the same seed
give the same `trace.digest`, in any process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from random import Random
from types import TracebackType
from typing import Final

from dinemic.testing.byzantine import Byzantine
from dinemic.testing.histories import check_histories
from dinemic.testing.invariants import (
    InvariantBroken,
    check_equal,
    check_kept,
    check_replay,
    events_of,
)
from dinemic.testing.network import MemoryLink, MemoryNetwork
from dinemic.testing.site import Ground, Listening, Pace, Site
from dinemic.testing.telling import check_told
from dinemic.testing.trace import Trace
from dinemic.testing.virtual_time import VirtualTime

TRAVEL_S: Final = 0.02
"""No frame takes longer from node to node, unless `delay` says so."""

_SETTLE_STEP_S: Final = 0.5


class World:
    """Nodes 0, 1, ... in one process, `byzantine` ones last; a context manager, one at a time.

    `listeners` are applied on every honest node, each made anew by its callable whenever the node
    starts; with `watch_guards` it is seen to it that their guards answer from what they are told
    and nothing else (determinism.py). `judges` are called for every honest node in `check`, and
    raise what they find.
    """

    def __init__(
        self,
        nodes: int = 3,
        seed: int = 0,
        *,
        byzantine: int = 0,
        listeners: Sequence[Listening] = (),
        judges: Sequence[Callable[[Site], object]] = (),
        watch_guards: bool = False,
        pace: Pace | None = None,
    ) -> None:
        self.seed: Final = seed
        self.rng: Final = Random(f"world/{seed}")
        """For whoever plays in this world, so that it can be repeated."""
        self.trace: Final = Trace()
        self.seconds = 0.0
        """How long honest nodes were up, together, up to the last time each went down."""
        self._admitted = 0
        self._travel = Random(f"travel/{seed}")
        self._travel_s = (0.0, TRAVEL_S)
        self._judges = tuple(judges)
        self._network = MemoryNetwork(delay=lambda: self._travel.uniform(*self._travel_s))
        self._network.watch = self._watch
        self._time = VirtualTime(Random(f"order/{seed}"), self._between)
        ground = Ground(
            self._time, self._network, self.trace, f"world-{seed}", pace or Pace(), watch_guards
        )
        self._pace = ground.pace
        self._sites: list[Site] = []
        self._liars: list[Byzantine] = []
        for number in range(nodes + byzantine):
            peers = [f"node-{other}:1" for other in range(number)]
            if number < nodes:
                site = Site(ground, number, str(seed), peers, listeners)
            else:
                liar = Byzantine(ground, number, str(seed), peers)
                self._liars.append(liar)
                site = liar.site
            self._sites.append(site)
        self._numbers = {site.node_id: site.number for site in self._sites}
        self._honest = self._sites[:nodes]
        self._cuts: set[tuple[int, int]] = set()

    def __enter__(self) -> World:
        self._time.__enter__()
        for site in self._sites:
            site.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            for site in self._sites:
                if site.is_up:
                    self._down(site)
        finally:
            self._time.__exit__(kind, error, traceback)

    def __getitem__(self, number: int) -> Site:
        return self._sites[number]

    def __len__(self) -> int:
        return len(self._sites)

    def __iter__(self) -> Iterator[Site]:
        return iter(self._sites)

    @property
    def honest(self) -> list[Site]:
        """The honest nodes that run."""
        return [site for site in self._honest if site.is_up]

    @property
    def liars(self) -> list[Byzantine]:
        """The nodes that mean ill."""
        return self._liars

    # -- time -----------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Seconds since this world began."""
        return self._time.now()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._time.advance(seconds)

    def wait(self, holds: Callable[[], bool], seconds: float = 60.0) -> bool:
        """Let time pass until something holds; False if that took more than `seconds`."""
        return self._time.wait(holds, seconds)

    def settle(self, seconds: float = 900.0) -> None:
        """Let time pass until connected nodes hold the same events and nobody has work to do.

        Raises:
            InvariantBroken: that takes more than `seconds`.
        """
        end = self.now + seconds
        while not self._is_settled():
            if self.now >= end:
                raise InvariantBroken("I-10", f"not settled after {seconds:.0f} s: {self._apart()}")
            self.advance(_SETTLE_STEP_S)

    def _is_settled(self) -> bool:
        return all(site.is_quiet for site in self.honest) and not self._apart()

    def _apart(self) -> str:
        """Connected nodes that hold other events, in words."""
        for group in self.groups():
            first = events_of(group[0])
            for site in group[1:]:
                if events_of(site) != first:
                    return f"nodes {group[0].number} and {site.number} hold other events"
        return ""

    # -- faults ---------------------------------------------------------------------------------

    def partition(self, *groups: Sequence[int]) -> None:
        """Cut all links between nodes of different groups; a node in no group is alone."""
        place = {number: at for at, group in enumerate(groups) for number in group}
        for one, other in combinations(range(len(self)), 2):
            if place.get(one, ~one) != place.get(other, ~other):
                self.cut(one, other)
        self._fault("partition", str([list(group) for group in groups]))

    def cut(self, one: int, other: int) -> None:
        """Break the links between two nodes and let them make none until `heal`."""
        self._cuts.add((min(one, other), max(one, other)))
        self._network.cut(self[one].node_id, self[other].node_id)

    def heal(self) -> None:
        """Undo every `partition` and `cut`."""
        for one, other in sorted(self._cuts):
            self._network.heal(self[one].node_id, self[other].node_id)
        self._cuts.clear()
        self.trace.add(self.now, "heal")

    def drop(self, one: int, other: int) -> None:
        """Lose what is under way between two nodes: their links break, and may be made again."""
        if self._network.breaks(self[one].node_id, self[other].node_id):
            self._fault("drop", f"{one}-{other}")

    def delay(self, least_s: float, most_s: float) -> None:
        """Let frames travel that long from now on."""
        self._travel_s = (least_s, most_s)
        self._fault("delay", f"{least_s:.3f}..{most_s:.3f}")

    def rough(self, *, reorder: float = 0.0, duplicate: float = 0.0) -> None:
        """Deliver batches of events in another order, and some events twice, with these chances."""
        self._pace.reorder, self._pace.duplicate = reorder, duplicate

    def crash(self, number: int, *, power: bool = True) -> None:
        """End a node at once. Without `power` loss its process was killed, and no write is lost."""
        site = self[number]
        self._down(site)
        lost = site.disk.lose(self.rng) if power else 0
        self._fault("power cut" if power else "kill", f"{number}, {lost} batches lost")

    def restart(self, number: int) -> None:
        """Start a node again on what its disk holds; nothing if it runs.

        Raises:
            StoreFull: its disk is full, and the node is down as before.
        """
        if not self[number].is_up:
            self[number].start()
            self.trace.add(self.now, f"restart {number}")

    def skew(self, number: int, seconds: float) -> None:
        """Set a node's clock that far off."""
        self[number].skew_s = seconds
        self._fault("skew", f"{number} {seconds:+.1f} s")

    def fill_disk(self, number: int, full: bool = True) -> None:
        """Let a node's disk take nothing more; or make room, and restart it if that is needed."""
        if full:
            self[number].disk.is_full = True
            self._fault("full disk", str(number))
        else:
            self.trace.add(self.now, f"room on the disk of {number}")
            self._make_room(self[number])

    def _make_room(self, site: Site) -> None:
        site.disk.is_full = False
        if site.is_up and site.disk.is_stuck:
            self._down(site)
            self.restart(site.number)

    def mend(self) -> None:
        """Undo all faults that last: heal, clocks, disks, and restart who is down."""
        self.heal()
        for site in self:
            site.skew_s = 0.0
            self._make_room(site)
            self.restart(site.number)
        self._travel_s = (0.0, TRAVEL_S)
        self.rough()

    # -- what must hold -------------------------------------------------------------------------

    def groups(self) -> list[list[Site]]:
        """The honest nodes that run, those together that reach each other."""
        left, found = self.honest, []
        while left:
            group = [left.pop(0)]
            for site in group:
                near = [other for other in left if self._reach(site, other)]
                group += near
                left = [other for other in left if other not in near]
            found.append(sorted(group, key=lambda site: site.number))
        return found

    def _reach(self, one: Site, other: Site) -> bool:
        numbers = sorted((one.number, other.number))
        return (numbers[0], numbers[1]) not in self._cuts

    def check(self, *, replay: bool = True) -> None:
        """Return if everything holds that must hold of nodes that have settled.

        Without `replay` no node's events are judged and folded again, which takes most of the time.

        Raises:
            InvariantBroken: something does not.
        """
        for site in self.honest:
            with site:
                for watched in site.watched:
                    watched.review(self.rng)
        for group in self.groups():
            check_equal(group)
        for site in self.honest:
            check_told(site)
            self.check_one(site, replay=replay)
            for judge in self._judges:
                judge(site)
        if replay:
            for group in self.groups():
                check_histories(group[0])  # the others are equal to it, and to their replays
        if not self._liars:
            for site in self.honest:
                alarms = site.runner.status().divergences
                if alarms:
                    raise InvariantBroken("VETO-4", f"{alarms} false alarms on {site.number}")
        self.trace.add(self.now, f"checked: {self._summary()}")

    def check_one(self, site: Site, *, replay: bool = True) -> None:
        """Return if everything holds that must hold of a node at any moment; raises as `check`."""
        check_kept(site)
        if replay:
            check_replay(site)

    def _summary(self) -> str:
        digests = [site.node.view.digest_all().hex()[:16] for site in self.honest]
        return " ".join(digests)

    # -- inside ---------------------------------------------------------------------------------

    def _down(self, site: Site) -> None:
        self.seconds += (self.now - site.since) if site in self._honest else 0.0
        self._admitted += site.admitted if site in self._honest else 0
        site.go_down()

    @property
    def admitted(self) -> int:
        """Events that honest nodes let in, each counted on every node."""
        return self._admitted + sum(site.admitted for site in self.honest)

    def _fault(self, kind: str, what: str) -> None:
        self.trace.fault(self.now, kind, what)

    def _between(self) -> None:
        for site in self._sites:
            site.attend()

    def _watch(self, link: MemoryLink, frame: bytes) -> None:
        self.trace.frame(self.now, self._numbers[link.own], self._numbers[link.peer], frame)
