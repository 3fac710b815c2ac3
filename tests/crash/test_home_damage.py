"""A home with one byte flipped or one file gone: refused by name, or nothing is missing."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from dinemic.doctor import diagnose
from dinemic_engine.errors import StoreError
from support.crash_work import Steps, Work, working
from support.figures import count

TRIALS = 75
KINDS = ("*.sst", "*.log", "MANIFEST-*", "CURRENT", "OPTIONS-*", "SYNCED")
SILENT = ("LOG*", "LOCK", "IDENTITY", "rocksdict-config.json")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A home whose events lie in several tables and in a log, and how many there are."""
    base = tmp_path_factory.mktemp("whole")
    for _ in range(2):
        with working(base / "home", Steps(0, after=False)) as node:
            Work(node, lambda kind, value: None).run(["create", "grant", "seal", "flips"])
    with working(base / "home", Steps(0, after=False)) as node:
        work = Work(node, lambda kind, value: None)
        work.run(["create", "write", "bring", "seal", "flush"])
        shutil.copytree(base / "home", base / "copy")
        events = node.view.tip().seq
    found = diagnose(base / "copy")
    assert found.whole
    assert found.events == found.told == events
    return base / "copy", events


def is_noticed(home: Path, events: int) -> bool:
    """Whether damage was named; if not, nothing is missing."""
    count("damages")
    try:
        found = diagnose(home)
    except StoreError:
        return True
    if found.whole:
        assert found.events == found.told == events
        return False
    assert all(finding.detail for finding in found.findings)
    return True


@pytest.mark.parametrize("pattern", KINDS)
def test_a_flipped_byte_is_named_or_without_effect(
    whole: tuple[Path, int], tmp_path: Path, rng: random.Random, pattern: str
) -> None:
    shutil.copytree(whole[0], home := tmp_path / "home")
    noticed: Counter[bool] = Counter()
    files = sorted((home / "store").glob(pattern))
    assert files
    for _ in range(TRIALS):
        file = rng.choice(files)
        content = file.read_bytes()
        at = rng.randrange(len(content))
        file.write_bytes(
            content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]
        )
        noticed[is_noticed(home, whole[1])] += 1
        file.write_bytes(content)
    assert diagnose(home).whole, "nothing was changed"
    if pattern in ("*.sst", "*.log", "CURRENT"):
        assert noticed[True] > TRIALS // 2


@pytest.mark.parametrize("pattern", [*KINDS, *SILENT])
def test_a_missing_file_is_named_or_without_effect(
    whole: tuple[Path, int], tmp_path: Path, pattern: str
) -> None:
    shutil.copytree(whole[0], home := tmp_path / "home")
    for file in sorted((home / "store").glob(pattern)):
        content = file.read_bytes()
        file.unlink()
        noticed = is_noticed(home, whole[1])
        assert noticed == (pattern in ("*.sst", "*.log", "MANIFEST-*", "CURRENT"))
        file.write_bytes(content)


def test_a_store_of_which_nothing_is_left_but_its_mark_is_no_new_one(
    whole: tuple[Path, int], tmp_path: Path
) -> None:
    shutil.copytree(whole[0], home := tmp_path / "home")
    for pattern in ("*.sst", "*.log", "MANIFEST-*", "CURRENT"):
        for file in (home / "store").glob(pattern):
            file.unlink()
    assert not diagnose(home).whole
