"""What happens in a world, as a list of steps: drawn at random, played, shrunk and kept in a file.

A step is plain data, ``("verb", {arguments})``, and says nothing of ids: objects go by their number
in the order they were made. So any part of a list of steps is a list of steps that can be played,
which is what shrinking lives on::

    draw(seed) --> steps --> play --> InvariantBroken
                     ^                     |
                     '--- leave some out --'     until nothing can be left out
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, NamedTuple

from dinemic.models import DModel
from dinemic.testing.edits import draw_edit
from dinemic.testing.invariants import InvariantBroken
from dinemic.testing.site import Listening, Pace, Site
from dinemic.testing.world import World
from dinemic_engine.errors import DinemicError, StoreFull

Step = tuple[str, dict[str, Any]]
Action = Callable[[Any, Random], object]
"""``action(handle, rng)`` does something with an object; what it draws, it draws from `rng`."""


def edit(handle: DModel, rng: Random) -> None:
    """The action that changes one of the fields that the object's model declares."""
    draw_edit(type(handle), rng).apply(handle)


@dataclass(frozen=True)
class Play:
    """What can happen: who takes part, with which objects, and what they do."""

    models: Sequence[type[DModel]]
    actions: Sequence[Action] = (edit,)
    listeners: Sequence[Listening] = ()
    nodes: int = 3
    byzantine: int = 0
    judges: Sequence[Callable[[Site], object]] = ()
    watch_guards: bool = False
    pace: Pace = field(default_factory=Pace)

    def world(self, seed: int) -> World:
        """A world for it."""
        return World(
            self.nodes,
            seed,
            byzantine=self.byzantine,
            listeners=self.listeners,
            judges=self.judges,
            watch_guards=self.watch_guards,
            pace=Pace(self.pace.job_s, self.pace.callback_s),
        )


class Tally(NamedTuple):
    """What was played, for a table."""

    seeds: int = 0
    hours: float = 0.0
    """Hours that honest nodes were up, added up."""
    events: int = 0
    """Events admitted, on each node."""
    edits: int = 0
    faults: int = 0
    crashes: int = 0
    checks: int = 0
    findings: int = 0

    def plus(self, other: Tally) -> Tally:
        """Both together."""
        both = {name: getattr(self, name) + getattr(other, name) for name in self._fields}
        return Tally(**both)


class Scene:
    """A world in which steps are done. A context manager."""

    def __init__(self, play: Play, seed: int) -> None:
        self.world: Final = play.world(seed)
        self.objects: Final[list[DModel]] = []
        """In the order they were made; each a handle of the node that made it."""
        self._homes: list[int] = []
        self.edits = 0
        """Those that made something."""
        self.checks = 0
        self._play = play

    def __enter__(self) -> Scene:
        self.world.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.world.__exit__(*error)

    @property
    def tally(self) -> Tally:
        """What was done; complete when the scene is over."""
        faults = self.world.trace.faults
        return Tally(
            1,
            self.world.seconds / 3600,
            self.world.admitted,
            self.edits,
            faults.total(),
            faults["kill"] + faults["power cut"],
            self.checks,
        )

    # -- steps --------------------------------------------------------------------------------

    def do(self, step: Step) -> None:
        """Do one step. What cannot be done, as on a node that is down, does nothing.

        Raises:
            InvariantBroken: something does not hold.
        """
        verb, arguments = step
        method = getattr(self, f"do_{verb}", None)
        if method is None:
            raise ValueError(f"no step is called {verb!r}")
        self.world.trace.add(self.world.now, f"{verb} {arguments}")
        method(**arguments)

    def do_create(self, node: int, model: int) -> None:
        """Make an object, which the first `GRANTED` objects made may read and update."""
        site = self.world[node]
        if not site.is_up:
            return
        kind = self._play.models[model % len(self._play.models)]
        known = [
            each.get_db_id()
            for each in self.objects[:GRANTED]
            if site.node.view.find(each._object_id)
        ]
        if self._attempt(lambda: self.objects.append(site.create(kind, known))):
            self._homes.append(node)

    def do_act(
        self,
        of: int,
        action: int = 0,
        seed: int = 0,
        caller: int | None = None,
        node: int | None = None,
    ) -> None:
        """Do an action on an object, as itself or as another object: the `caller`.

        Without a `node` where the caller was made, or the object.
        """
        if not self.objects:
            return
        target, name = self.objects[of % len(self.objects)], ""
        home = of % len(self.objects)
        if caller is not None:
            home = caller % len(self.objects)
            name = self.objects[home].get_db_id()
        site = self.world[self._homes[home] if node is None else node]
        if not site.is_up:
            return
        chosen = self._play.actions[action % len(self._play.actions)]

        def act() -> None:
            handle = site.handle(type(target), target, name)
            with site:
                chosen(handle, Random(seed))

        self._attempt(act)

    def do_access(self, node: int, of: int, subject: int, role: str, grant: bool) -> None:
        """Grant a role to an object, or revoke it, by the object's own key."""
        site = self.world[node]
        if not (self.objects and site.is_up):
            return
        target = self.objects[of % len(self.objects)]
        who = self.objects[subject % len(self.objects)].get_db_id()
        verb = "append" if grant else "revoke"
        handle = site.handle(type(target), target)
        self._attempt(lambda: getattr(handle, f"{verb}_{role}_authorized")(who))

    def do_cross(self, of: int, subject: int, action: int, seed: int) -> None:
        """Let another object write to one, and revoke that just when it acts, maybe elsewhere."""
        count = len(self.objects)
        if count > 1:
            of %= count
            other = (of + 1 + subject % (count - 1)) % count
            self.do_access(self._homes[of], of, other, "update", grant=True)
            self.do_pass(_TO_HEAR_S)
            self.do_access(self._homes[of], of, other, "update", grant=False)
            self.do_act(of, action, seed, caller=other)

    def do_remove(self, node: int, of: int) -> None:
        """Remove an object."""
        site = self.world[node]
        if self.objects and site.is_up:
            target = self.objects[of % len(self.objects)]
            self._attempt(site.handle(type(target), target).remove)

    def _attempt(self, act: Callable[[], object]) -> bool:
        """Do what may well be refused: of a stranger, of a removed object, on a full disk."""
        try:
            act()
        except (DinemicError, LookupError, ValueError) as error:
            self.world.trace.add(self.world.now, f"  {type(error).__name__}: {error}")
            return False
        self.edits += 1
        return True

    def do_pass(self, seconds: float) -> None:
        """Let time pass."""
        self.world.advance(seconds)

    def do_partition(self, groups: list[list[int]]) -> None:
        """Cut the network into parts."""
        self.world.partition(*groups)

    def do_heal(self) -> None:
        """Join it again."""
        self.world.heal()

    def do_drop(self, one: int, other: int) -> None:
        """Lose what is under way between two nodes."""
        if one != other:
            self.world.drop(one, other)

    def do_delay(self, least_s: float, most_s: float) -> None:
        """Let frames travel longer, or shorter."""
        self.world.delay(least_s, most_s)

    def do_rough(self, reorder: float, duplicate: float) -> None:
        """Let events arrive in another order, and twice."""
        self.world.rough(reorder=reorder, duplicate=duplicate)

    def do_crash(self, node: int, power: bool) -> None:
        """End a node at once; nothing if it is down."""
        if self.world[node].is_up:
            self.world.crash(node, power=power)

    def do_restart(self, node: int) -> None:
        """Start it again; nothing if it runs, or if its disk is full."""
        with suppress(StoreFull):
            self.world.restart(node)

    def do_skew(self, node: int, seconds: float) -> None:
        """Set a clock off."""
        self.world.skew(node, seconds)

    def do_fill(self, node: int, full: bool) -> None:
        """Fill a disk, or make room on it."""
        self.world.fill_disk(node, full)

    def do_mischief(self, liar: int, of: int, kind: str) -> None:
        """Let a node that means ill do something; nothing if it does not know the object."""
        if not (self.objects and self.world.liars):
            return
        who = self.world.liars[liar % len(self.world.liars)]
        target = self.objects[of % len(self.objects)]
        if not who.knows(target):
            return
        mine = [each for each in self.objects if each._object_id in who.site.node.keyring]
        if kind in ("forge", "flood"):
            getattr(who, kind)(target)
        else:
            getattr(who, kind)(target, mine[0] if mine else None)

    def do_check(self) -> None:
        """Mend everything, let the world settle, and check it."""
        self.world.mend()
        self.world.settle()
        self.world.check()
        self.checks += 1


GRANTED: Final = 3
MISCHIEF: Final = ("forge", "backdate", "predate", "flood", "withhold", "equivocate")
_ROLES: Final = ("read", "update", "admin")
_TO_HEAR_S: Final = 2.0
"""In which a grant mostly gets about."""


def draw_step(play: Play, rng: Random, edits: int = 12) -> Step:
    """A random step; about `edits` of 20 change objects, the others are faults or let time pass."""
    nodes = play.nodes + play.byzantine
    node, of = rng.randrange(nodes), rng.randrange(64)
    if rng.randrange(20) < edits:
        match rng.randrange(12):
            case 0 | 1:
                return "create", {"node": node, "model": rng.randrange(len(play.models))}
            case 2:
                role, grant = rng.choice(_ROLES), rng.random() < 0.6
                subject = rng.randrange(64)
                return "access", {
                    "node": node,
                    "of": of,
                    "subject": subject,
                    "role": role,
                    "grant": grant,
                }
            case 3 if rng.random() < 0.2:
                return "remove", {"node": node, "of": of}
            case 3:
                crossed = {"of": of, "subject": rng.randrange(64)}
                crossed |= {"action": rng.randrange(len(play.actions)), "seed": rng.getrandbits(32)}
                return "cross", crossed
            case _:
                act: dict[str, Any] = {"of": of, "action": rng.randrange(len(play.actions))}
                act["seed"] = rng.getrandbits(32)
                match rng.randrange(4):
                    case 0:
                        act["node"] = node
                    case 1:
                        act["caller"] = rng.randrange(64)
                    case 2:  # one of those that may update what is made later
                        act["caller"] = rng.randrange(GRANTED)
                return "act", act
    honest = rng.randrange(play.nodes)
    match rng.randrange(14):
        case 0:
            numbers = list(range(nodes))
            rng.shuffle(numbers)
            at = rng.randrange(1, nodes) if nodes > 1 else 0
            return "partition", {"groups": [sorted(numbers[:at]), sorted(numbers[at:])]}
        case 1:
            return "heal", {}
        case 2 | 3:
            return "drop", {"one": node, "other": rng.randrange(nodes)}
        case 4:
            least = rng.choice((0.0, 0.01, 0.2))
            return "delay", {"least_s": least, "most_s": least + rng.choice((0.01, 0.1, 1.0))}
        case 5:
            return "crash", {"node": honest, "power": rng.random() < 0.7}
        case 6:
            return "restart", {"node": honest}
        case 7:
            seconds = rng.choice((-3600.0, -20.0, -1.0, 1.0, 20.0, 50.0))
            return "skew", {"node": node, "seconds": seconds}
        case 8:
            return "fill", {"node": honest, "full": rng.random() < 0.5}
        case 9:
            return "rough", {"reorder": rng.choice((0.0, 0.5)), "duplicate": rng.choice((0.0, 0.5))}
        case 10 if play.byzantine:
            return "mischief", {"liar": rng.randrange(8), "of": of, "kind": rng.choice(MISCHIEF)}
        case _:
            return "pass", {"seconds": rng.choice((0.001, 0.05, 0.5, 5.0, 60.0))}


def draw(play: Play, seed: int, steps: int) -> list[Step]:
    """Random steps, the last of which checks everything; the same for the same seed."""
    rng = Random(f"steps/{seed}")
    return [*(draw_step(play, rng) for _ in range(steps)), ("check", {})]


def perform(play: Play, seed: int, steps: Sequence[Step]) -> tuple[Tally, str]:
    """Do `steps` in a new world: what was done, and the digest of all that happened.

    Raises:
        InvariantBroken: something does not hold.
    """
    scene = Scene(play, seed)
    with scene:
        for step in steps:
            scene.do(step)
    return scene.tally, scene.world.trace.digest


def shrink(
    play: Play, seed: int, steps: Sequence[Step], tries: int = 200
) -> tuple[list[Step], InvariantBroken | None]:
    """The steps without those that can be left out and still break something, and what breaks.

    Leaves out half of them, then quarters, and so on (delta debugging; Zeller 2002).
    """
    found, error = list(steps), _broken(play, seed, steps)
    size = len(found) // 2
    while size and error is not None:
        at = 0
        while at < len(found) and tries:
            tries -= 1
            fewer = found[:at] + found[at + size :]
            again = _broken(play, seed, fewer) if fewer else None
            if again is None:
                at += size
            else:
                found, error = fewer, again
        size //= 2
    return found, error


def _broken(play: Play, seed: int, steps: Sequence[Step]) -> InvariantBroken | None:
    try:
        perform(play, seed, steps)
    except InvariantBroken as error:
        return error
    return None


__all__ = [
    "Action",
    "MISCHIEF",
    "Play",
    "Scene",
    "Step",
    "Tally",
    "draw",
    "draw_step",
    "edit",
    "perform",
    "shrink",
]
