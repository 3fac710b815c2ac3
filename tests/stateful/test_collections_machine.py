"""Lists, dicts, counters and sets of one writer beside Python's own: plain, sealed, transactions.

After every step both read the same, and at times a second node is given everything and agrees.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    precondition,
    rule,
)

import dinemic
from dinemic_engine import canonical
from dinemic_engine.audit import audit
from support.figures import Machine
from support.nodes import acting, object_id, open_node, send


class Plain(dinemic.DModel):
    many = dinemic.DList("x")
    keyed = dinemic.DDict("x")
    count = dinemic.DCounter("x")
    some = dinemic.DSet("x")


class Sealed(dinemic.DModel):
    many = dinemic.DList("x", True)
    keyed = dinemic.DDict("x", True)
    count = dinemic.DCounter("x", True)
    some = dinemic.DSet("x", True)


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.text(max_size=3),
    st.lists(st.none(), max_size=2),
)
KEYS = st.text("ab\0ż", max_size=2)
INDEXES = st.integers(-12, 12)
SLICES = st.builds(
    slice,
    st.none() | INDEXES,
    st.none() | INDEXES,
    st.none() | st.sampled_from([-3, -2, -1, 1, 2, 3]),
)


def spelled(value: Any) -> bytes:
    return canonical.encode(value)


class Collections(Machine):
    """`many`, `keyed`, `count` and `some` are what the fields should be."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        home = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.node = open_node(home / "a")
        self.mirror = open_node(home / "b")
        self.many: list[Any] = []
        self.keyed: dict[str, Any] = {}
        self.count = 0
        self.some: set[bytes] = set()
        self.open: ExitStack | None = None
        self.saved: tuple[Any, ...] = ()

    def teardown(self) -> None:
        self.node.close()
        self.mirror.close()
        self.stack.close()

    @initialize(sealed=st.booleans())
    def make(self, sealed: bool) -> None:
        with acting(self.node):
            self.made: Plain | Sealed = Sealed([]) if sealed else Plain([])

    # -- lists --

    @rule(value=VALUES)
    def append(self, value: Any) -> None:
        self.made.many.append(value)
        self.many.append(value)

    @rule(values=st.lists(VALUES, max_size=70))
    def extend(self, values: list[Any]) -> None:
        self.made.many.extend(values)
        self.many.extend(values)

    @rule(index=INDEXES, value=VALUES)
    def insert(self, index: int, value: Any) -> None:
        if -len(self.many) <= index <= len(self.many):
            self.made.many.insert(index, value)
            self.many.insert(index, value)

    @rule(index=INDEXES, value=VALUES)
    def put(self, index: int, value: Any) -> None:
        if -len(self.many) <= index < len(self.many):
            self.made.many[index] = value
            self.many[index] = value

    @rule(index=INDEXES)
    def delete(self, index: int) -> None:
        if -len(self.many) <= index < len(self.many):
            del self.made.many[index]
            del self.many[index]

    @rule(part=SLICES)
    def cut(self, part: slice) -> None:
        assert self.made.many[part] == self.many[part]
        del self.made.many[part]
        del self.many[part]

    # -- dicts, counters, sets --

    @rule(key=KEYS, value=VALUES)
    def enter(self, key: str, value: Any) -> None:
        self.made.keyed[key] = value
        self.keyed[key] = value

    @rule(key=KEYS)
    def leave(self, key: str) -> None:
        self.made.keyed.delete(key)
        self.keyed.pop(key, None)

    @rule(amount=st.integers(-(1 << 63), (1 << 63) - 1))
    def add(self, amount: int) -> None:
        self.made.count.add(amount)
        self.count += amount

    @rule(value=VALUES)
    def join(self, value: Any) -> None:
        self.made.some.add(value)
        self.some.add(spelled(value))

    @rule(value=VALUES)
    def discard(self, value: Any) -> None:
        self.made.some.discard(value)
        self.some.discard(spelled(value))

    # -- transactions, and another node --

    @precondition(lambda self: self.open is None)
    @rule()
    def begin(self) -> None:
        self.saved = (list(self.many), dict(self.keyed), self.count, set(self.some))
        self.events = self.node.view.tip().seq
        self.open = ExitStack()
        self.open.enter_context(self.made.transaction())

    @precondition(lambda self: self.open is not None)
    @rule(drops=st.booleans())
    def end(self, drops: bool) -> None:
        assert self.open is not None
        assert self.node.view.tip().seq == self.events
        opened, self.open = self.open, None
        if drops:
            opened.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
            self.many, self.keyed, self.count, self.some = self.saved
            assert self.node.view.tip().seq == self.events
        else:
            opened.close()
            assert self.node.view.tip().seq <= self.events + 1

    @precondition(lambda self: self.open is None)
    @rule()
    def another_node_agrees(self) -> None:
        send(self.node, self.mirror)
        assert self.mirror.view.digest_all() == self.node.view.digest_all()
        assert audit(self.node._store).findings == ()
        with acting(self.mirror):
            theirs = type(self.made)(self.made.get_db_id())
        assert len(theirs.many) == len(self.many)
        assert theirs.keyed.keys() == self.made.keyed.keys()
        assert self.mirror.view.digest(object_id(theirs)) == self.node.view.digest(
            object_id(self.made)
        )

    @invariant()
    def reads_are_those_of_python(self) -> None:
        if not hasattr(self, "made"):
            return
        found = list(self.made.many)
        assert [spelled(value) for value in found] == [spelled(value) for value in self.many]
        assert len(self.made.many) == len(self.many)
        for at in {0, len(self.many) // 2, len(self.many) - 1} if self.many else ():
            assert spelled(self.made.many[at]) == spelled(self.many[at])
        entries = {key: spelled(value) for key, value in self.made.keyed.items()}
        assert entries == {key: spelled(value) for key, value in self.keyed.items()}
        assert list(entries) == sorted(self.keyed, key=str.encode)
        assert len(self.made.keyed) == len(self.keyed)
        assert self.made.count.get() == self.count
        assert {spelled(value) for value in self.made.some} == self.some
        assert len(self.made.some) == len(self.some)


TestCollections = Collections.TestCase
TestCollections.settings = settings(max_examples=25, stateful_step_count=40)
