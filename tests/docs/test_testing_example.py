"""The example of docs/testing.md that finds an undetermined guard is the one that is run here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "unfair_guard.py"
DOCUMENT = (ROOT / "docs" / "testing.md").read_text("utf-8")


def test_the_example_finds_the_guard_that_counts_and_says_what_the_document_says() -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)], capture_output=True, text=True, check=True, env=os.environ
    )
    (shown,) = re.findall(r"^VETO-2: ThreeNotes.*$", DOCUMENT, re.M)
    assert done.stdout.startswith(shown.removesuffix("..."))


def test_the_document_shows_the_example() -> None:
    (shown,) = re.findall(r"^```py\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)
    for part in re.split(r"\n\n\n", shown):
        assert part.strip() in EXAMPLE.read_text("utf-8")
