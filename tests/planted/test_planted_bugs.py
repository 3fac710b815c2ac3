"""The tests notice a broken rule, whichever it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from planted.bugs import BUGS
from support.planting import UNFIT

ROOT = Path(__file__).parents[2]
OPTIONS = "-x", "-q", "-n", "0", "-p", "no:cacheprovider", "--hypothesis-seed=0"


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name: str) -> None:
    bug = BUGS[name]
    run = subprocess.run(
        [sys.executable, "-B", "-m", "support.planting", name, *bug.tests, *OPTIONS],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": "tests"},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    told = run.stdout[-4000:] + run.stderr[-2000:]
    assert run.returncode != UNFIT, f"{bug.module} has changed: plant {name!r} anew\n{told}"
    assert run.returncode == 1, f"nobody noticed that {name} ({bug.rule})\n{told}"


def test_enough_rules_are_broken() -> None:
    assert len(BUGS) >= 25
    assert len({bug.rule for bug in BUGS.values()}) >= 20
