"""Nodes that many tests of the API begin with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import dinemic
import dinemic.gate
from dinemic.node import Node
from support.clocks import Clock
from support.nodes import open_node, opened


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A node on a memory store, which objects made in the test belong to."""
    with opened(tmp_path) as found:
        yield found


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    """Two nodes on memory stores; `acting` says whose an object is."""
    a, b = open_node(tmp_path / "a"), open_node(tmp_path / "b")
    yield a, b
    a.close()
    b.close()


@pytest.fixture
def stopped() -> Iterator[None]:
    """No node of the process is there before the test, and none is left behind."""
    dinemic.shutdown()
    yield
    dinemic.shutdown()


@pytest.fixture
def three(two: tuple[Node, Node], open_it: Callable[..., Node]) -> tuple[Node, Node, Node]:
    """The two, and a third beside them."""
    return *two, open_it("c")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of all nodes, which can be moved."""
    moved = Clock()
    monkeypatch.setattr(dinemic.gate, "_now_us", moved)
    return moved


@pytest.fixture
def open_it(tmp_path: Path) -> Iterator[Callable[..., Node]]:
    """Opens nodes by name, on memory stores unless said otherwise."""
    with ExitStack() as stack:

        def open_one(name: str, store: str = "memory") -> Node:
            found = open_node(tmp_path / name, store)
            stack.callback(found.close)
            return found

        yield open_one
