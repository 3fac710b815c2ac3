"""Sealed runs of lists as their readers opened them lately.

The values of one LIST_INSERT are sealed together, so whoever reads one of them opens all. Here they
stay open for a while, and reading a list element by element opens each run once.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final, TypeAlias

from dinemic_engine import canonical
from dinemic_engine.canonical import Value

RunName: TypeAlias = tuple[bytes, int, bytes]
"""The event and op that inserted a run, and the public key of who opened it."""

_GENERATION_BYTES: Final = 2 << 20
"""How much each of the two generations holds, as its values are spelled."""
_RUN_BYTES: Final = 256
"""What a run in memory costs beside its values."""


class OpenedRuns:
    """Runs in two generations: a full young one becomes the old one. Thread-safe.

    What is read again of the old generation is young again, so what is read often stays.
    """

    def __init__(self) -> None:
        self._young: dict[RunName, tuple[Sequence[Value], int]] = {}
        self._old: dict[RunName, tuple[Sequence[Value], int]] = {}
        self._size = 0
        self._lock = threading.Lock()

    def get(self, name: RunName) -> Sequence[Value] | None:
        """The values of a run, not to be changed; None: it is not open."""
        found = self._young.get(name)
        if found is None:
            found = self._old.get(name)
            if found is None:
                return None
            self.put(name, *found)
        return found[0]

    def put(self, name: RunName, values: Sequence[Value], size: int) -> None:
        """Remember a run whose values take `size` bytes; one of more than a generation is not."""
        if size > _GENERATION_BYTES:
            return
        with self._lock:
            self._size += size + _RUN_BYTES
            if self._size > _GENERATION_BYTES:
                self._old, self._young = self._young, {}
                self._size = size + _RUN_BYTES
            self._young[name] = values, size


def own_copy(value: Value) -> Value:
    """A value that the caller may change."""
    if isinstance(value, list | dict):
        return canonical.decode(canonical.encode(value))
    return value
