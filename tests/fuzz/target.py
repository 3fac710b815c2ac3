"""What a fuzz target is, and how much work one input may cause.

A target takes bytes and returns, whatever they are: what a function documents to raise it catches
itself, so everything that comes out of `run` is a finding. What it promises of good input, a round
trip above all, it asserts.

Work is counted in calls and not in seconds, so that a bound holds on any machine: every call of
Python or C code by the thread that runs the target. An input may cause `calls` of them and
`calls_per_byte` for each of its bytes; a search that takes the square of its input does not fit.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Final

from dinemic_engine import canonical
from dinemic_engine.canonical import Value
from dinemic_engine.errors import InvalidEvent

ROOT: Final = Path(__file__).parents[2]
CORPUS: Final = Path(__file__).parent / "corpus"

INPUT_BYTES_MAX: Final = 1 << 16
"""The longest input that is tried."""


class Finding(AssertionError):
    """An input broke what a target promises."""


@dataclass(frozen=True, slots=True)
class Target:
    """`run` takes any bytes and returns; `seeds` are inputs that get far."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Sequence[bytes]]
    calls: int = 10_000
    calls_per_byte: int = 20

    def try_one(self, data: bytes) -> set[CodeType]:
        """Run an input within its bounds; the `_untrusted` functions it called.

        Raises:
            Finding: it took more work than it may.
        """
        with counted() as work:
            self.run(data)
        allowed = self.calls + self.calls_per_byte * len(data)
        if work.calls > allowed:
            raise Finding(f"{work.calls} calls for {len(data)} bytes; {allowed} are allowed")
        return work.untrusted


class Work:
    """What a piece of code did, as far as it is counted."""

    def __init__(self) -> None:
        self.calls = 0
        self.untrusted: set[CodeType] = set()

    def note(self, frame: FrameType, event: str, _: object) -> None:
        """Count an event; what the interpreter calls for each."""
        if event == "call":
            self.calls += 1
            if frame.f_code.co_name.endswith("_untrusted"):
                self.untrusted.add(frame.f_code)
        elif event == "c_call":
            self.calls += 1


@contextmanager
def counted() -> Iterator[Work]:
    """Counts the calls of this thread until the block ends."""
    work, outer = Work(), sys.getprofile()
    sys.setprofile(work.note)
    try:
        yield work
    finally:
        sys.setprofile(outer)


def arguments(data: bytes) -> list[Value] | None:
    """The arguments an input of a structured target spells, None if it does not spell a list."""
    try:
        found = canonical.decode_untrusted(data)
    except InvalidEvent:
        return None
    return found if isinstance(found, list) else None


# -- the kept corpus ----------------------------------------------------------------------------


def kept(name: str) -> list[bytes]:
    """The kept inputs of a target: a text file with one in each line, in hexadecimal."""
    path = CORPUS / f"{name}.hex"
    return [bytes.fromhex(line) for line in path.read_text("ascii").splitlines()]


def keep(name: str, inputs: Sequence[bytes]) -> None:
    """Make these the kept inputs of a target, the shortest first."""
    lines = [data.hex() for data in sorted(set(inputs), key=lambda each: (len(each), each))]
    (CORPUS / f"{name}.hex").write_text("".join(f"{line}\n" for line in lines), "ascii")
