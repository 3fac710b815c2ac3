"""Everything that happened in a simulation, in order: as one hash, as counts, the last in words."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Final

_LINES_KEPT: Final = 400


@dataclass
class Trace:
    """Two simulations did the same if and only if their `digest` is the same."""

    faults: Counter[str] = field(default_factory=Counter)
    """How often each kind of fault was injected."""
    frames: int = 0
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_LINES_KEPT))
    """What happened last, in words. Frames are not among it."""
    _hash: hashlib._Hash = field(default_factory=hashlib.sha256)

    @property
    def digest(self) -> str:
        """The hash over everything so far."""
        return self._hash.hexdigest()

    def add(self, seconds: float, what: str) -> None:
        """Something happened."""
        line = f"{seconds:12.6f} {what}"
        self._hash.update(line.encode() + b"\n")
        self.lines.append(line)

    def fault(self, seconds: float, kind: str, what: str = "") -> None:
        """A fault was injected."""
        self.faults[kind] += 1
        self.add(seconds, f"{kind} {what}".rstrip())

    def frame(self, seconds: float, source: int, target: int, frame: bytes) -> None:
        """A frame was sent."""
        self.frames += 1
        self._hash.update(f"{seconds:.6f} {source}>{target} {len(frame)} ".encode() + frame)
