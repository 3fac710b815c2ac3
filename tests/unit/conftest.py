"""Nodes that many tests of the API begin with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from dinemic.node import Node
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
def open_it(tmp_path: Path) -> Iterator[Callable[..., Node]]:
    """Opens nodes by name, on memory stores unless said otherwise."""
    with ExitStack() as stack:

        def open_one(name: str, store: str = "memory") -> Node:
            found = open_node(tmp_path / name, store)
            stack.callback(found.close)
            return found

        yield open_one
