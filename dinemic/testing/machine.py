"""A state machine for Hypothesis that searches for a way to make your objects disagree.

::

    class People(ConvergenceMachine):
        models = [Person]
        actions = [rename, move]          # action(handle, rng); without any, every field is edited
        listeners = [(NoEve, "Person:*")]

    TestPeople = People.TestCase          # for pytest and unittest

It plays on several nodes, breaks their network, disks and clocks, and
checks at the end, and now and then, that all of them agree. What fails is shrunk, and the shortest
way to it is kept as a test file in `failures`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, ClassVar

from dinemic.models import DModel
from dinemic.testing.failures import FOLDER, save
from dinemic.testing.invariants import InvariantBroken
from dinemic.testing.scenario import Action, Play, Scene, Step, draw_step, edit
from dinemic.testing.site import Listening
from dinemic.testing.sources import source_of
from dinemic_engine.errors import UsageError

try:
    from hypothesis import strategies as st
    from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
except ImportError as error:
    raise UsageError("this needs Hypothesis: pip install 'dinemic[testing]'") from error

_PICK = st.integers(0, 63)
_SEED = st.integers(0, (1 << 32) - 1)


class ConvergenceMachine(RuleBasedStateMachine):
    """Subclass it with your `models`, and put its ``TestCase`` where your tests are found.

    Its rules are steps of a `Scene`, whose arguments Hypothesis draws.
    """

    __test__ = False  # its TestCase is one

    models: ClassVar[Sequence[type[DModel]]] = ()
    actions: ClassVar[Sequence[Action]] = (edit,)
    listeners: ClassVar[Sequence[Listening]] = ()
    nodes: ClassVar[int] = 3
    byzantine: ClassVar[int] = 0
    failures: ClassVar[str | Path] = FOLDER
    """The folder for test files."""

    @classmethod
    def play(cls) -> Play:
        """What is played."""
        return Play(cls.models, cls.actions, cls.listeners, cls.nodes, cls.byzantine)

    def __init__(self) -> None:
        super().__init__()
        self._play = self.play()
        self._steps: list[Step] = []
        self._seed = 0
        self._failed = False
        self._scene: Scene | None = None

    @initialize(seed=st.integers(0, 255))
    def begin(self, seed: int) -> None:
        """A new world."""
        self._seed = seed
        self._scene = Scene(self._play, seed)
        self._scene.__enter__()

    def step(self, verb: str, **arguments: Any) -> None:
        """Do a step of the scene, and remember it; what breaks is saved."""
        assert self._scene is not None
        self._steps.append((verb, arguments))
        try:
            self._scene.do(self._steps[-1])
        except InvariantBroken as error:
            self._failed = True
            name, source = type(self).__qualname__, source_of(type(self))
            path = save(Path(self.failures), source, name, self._seed, self._steps, error)
            error.add_note(f"kept as {path}")
            raise

    def _node(self, pick: int) -> int:
        return pick % (self._play.nodes + self._play.byzantine)

    def _has_objects(self) -> bool:
        return self._scene is not None and bool(self._scene.objects)

    @rule(node=_PICK, model=_PICK)
    def create(self, node: int, model: int) -> None:
        """Make an object."""
        self.step("create", node=self._node(node), model=model)

    @precondition(_has_objects)
    @rule(of=_PICK, action=_PICK, seed=_SEED, caller=st.none() | _PICK, node=st.none() | _PICK)
    def act(self, of: int, action: int, seed: int, caller: int | None, node: int | None) -> None:
        """Do one of the actions."""
        node = None if node is None else self._node(node)
        self.step("act", of=of, action=action, seed=seed, caller=caller, node=node)

    @precondition(_has_objects)
    @rule(
        node=_PICK,
        of=_PICK,
        subject=_PICK,
        role=st.sampled_from(("read", "update", "admin")),
        grant=st.booleans(),
    )
    def access(self, node: int, of: int, subject: int, role: str, grant: bool) -> None:
        """Grant or revoke."""
        node = self._node(node)
        self.step("access", node=node, of=of, subject=subject, role=role, grant=grant)

    @rule(seconds=st.sampled_from((0.05, 1.0, 30.0)))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.step("pass", seconds=seconds)

    @rule(rng=st.randoms(use_true_random=False))
    def break_something(self, rng: Random) -> None:
        """Cut, crash, skew, fill a disk, or mend one of these."""
        verb, arguments = draw_step(self._play, rng, edits=0)
        self.step(verb, **arguments)

    @rule()
    def check(self) -> None:
        """Mend everything, let the world settle, and check it."""
        self.step("check")

    def teardown(self) -> None:
        """Check for the last time."""
        if self._scene is None:
            return
        try:
            if not self._failed:
                self.step("check")
        finally:
            self._scene.__exit__(None, None, None)
            self._scene = None
