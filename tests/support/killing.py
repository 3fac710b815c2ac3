"""Children that are killed at a chosen step, and what they had said until then."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from support.crash_work import GUARDED, LOCAL, RECEIVED, SYNCED, check
from support.figures import count

KILLED = -9
_TESTS = Path(__file__).parents[1]


@dataclass(frozen=True)
class Killed:
    """How a child ended."""

    said: list[tuple[str, Any]]
    steps: int | None
    """How many there were, of one that came to its end; None: it was killed."""


class Killer:
    """Runs scripts of `crash_work` in children of one warm process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(
        self, home: Path, script: Sequence[str], at: int, *, after: bool, threads: bool = False
    ) -> Killed:
        """Run a script and kill it at step `at`; 0 is never."""
        request = {"home": str(home), "script": [*script], "at": at}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = json.dumps({**request, "after": after, "threads": threads})
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        said = [(kind, value) for kind, value in answer["said"]]
        assert answer["code"] in (0, KILLED), f"step {at} of {script}: the child failed"
        if answer["code"] == KILLED:
            return Killed(said, None)
        (kind, steps) = said.pop()
        assert kind == "steps"
        return Killed(said, steps)


@contextmanager
def killer(log: IO[str] | None = None) -> Iterator[Killer]:
    """For the length of a block; what the children log goes to `log`, or where ours goes."""
    process = subprocess.Popen(
        [sys.executable, "-m", "support.crash_main"],
        cwd=_TESTS,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    try:
        yield Killer(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(30)
        assert process.stdout is not None
        process.stdout.close()


ANYTHING = sorted({*LOCAL, *RECEIVED, *GUARDED, *SYNCED})


def any_script(rng: random.Random) -> list[str]:
    """Some work of every kind, in any order."""
    return ["listen", *rng.choices(ANYTHING, k=15)]


def kill_at_each_step(
    warm: Killer, folder: Path, script: Sequence[str], *, after: bool, threads: bool
) -> int:
    """How many times a script was killed until it came to its end; each time it is checked."""
    at = 0
    while True:
        at += 1
        home = folder / str(at)
        killed = warm.run(home, script, at, after=after, threads=threads)
        check(home, killed.said)
        count("kills", killed.steps is None)
        shutil.rmtree(home)
        if killed.steps is not None:
            return at - 1
