"""A failure as a test file: the steps that lead to it, and where their models and actions are.

The file is plain Python that pytest collects; ``python -m dinemic.testing repeat FILE`` does the
same without pytest. It names the class or `Play` it was found with by the place that was defined
at, so it goes on working for as long as that is there, and can be kept among the tests.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from pprint import pformat
from typing import Final

from dinemic.testing.invariants import InvariantBroken
from dinemic.testing.scenario import Play, Step, perform
from dinemic.testing.sources import load
from dinemic_engine.errors import UsageError

FOLDER: Final = "convergence-failures"

_FILE: Final = '''"""{error}

Found with {name} and seed {seed}. Run it: pytest {file}
"""

from pathlib import Path

from dinemic.testing import repeat

SOURCE = {place}
STEPS = {steps}


def test_repeats() -> None:
    repeat(SOURCE, {name!r}, {seed}, STEPS)
'''


def save(
    folder: Path, source: str, name: str, seed: int, steps: Sequence[Step], error: InvariantBroken
) -> Path:
    """Write a failure to a file in `folder`, one for each name and broken invariant.

    `source` is the file, or the module if it has none, in which `name` is a `Play` or has one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    what = hashlib.sha256(f"{source} {name} {error.invariant}".encode()).hexdigest()[:8]
    path = folder / f"test_{name.lower().replace('.', '_')}_{what}.py"
    body = _FILE.format(
        error=str(error).replace("\\", "\\\\").replace('"""', "'''"),
        name=name,
        seed=seed,
        file=path.name,
        steps=pformat(list(steps), width=96, sort_dicts=False),
        place=_place(source, folder),
    )
    path.write_text(body, "utf-8")
    return path


def _place(source: str, folder: Path) -> str:
    """What the file says for `source`: it may be moved together with the files it needs."""
    if not source.endswith(".py"):
        return repr(source)
    return f"str(Path(__file__).parent / {os.path.relpath(source, folder)!r})"


def repeat(source: str, name: str, seed: int, steps: Sequence[Step]) -> None:
    """Do what a saved failure did.

    Raises:
        InvariantBroken: it still breaks something.
        UsageError: there is no `Play` under that name any more.
    """
    perform(find_play(source, name), seed, steps)


def find_play(source: str, name: str) -> Play:
    """The `Play` called `name` in a file or module, or that of the machine of that name."""
    found: object = load(source)
    for part in name.split("."):
        found = getattr(found, part, None)
    play = getattr(found, "play", found)
    made = play() if callable(play) else play
    if not isinstance(made, Play):
        raise UsageError(f"{source} has no Play called {name}")
    return made
