"""Power cuts between any two calls of a node: what it had said was on disk is there (I-13).

`test_power_cuts.py` makes states from what the files hold, so it takes for synced whatever a flush
left. Here the calls are recorded, and what none of them synced is lost: a flush that syncs nothing,
a key or a name that is left to luck is found out.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dinemic import doctor
from dinemic.bundles import audit
from dinemic.keyring import Keyring
from dinemic_engine.errors import StoreCorrupt
from support.crash_work import SCRIPTS, SYNCED, check
from support.disk_recording import Disk, Luck, Record, build_recorder, lay, tree_of
from support.figures import count
from support.killing import any_script
from support.nodes import opened
from support.recorded_work import REPAIR, record

FIRST = ("create", "grant", "write", "seal", "flush", "write")
SECOND = (
    "create",
    "flush",
    "write",
    "flips",
    "revoke",
    "seal",
    "bring",
    "flush",
    "write",
    "create",
)
BUFFER_BYTES = 32 << 20
STATES = 45
LOSSES = (Luck.BARE, Luck.ORDERED, Luck.SCATTERED)


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = build_recorder(tmp_path_factory.mktemp("recorder"))
    if isinstance(built, str):
        pytest.skip(built)
    return built


@pytest.fixture
def states(tmp_path: Path) -> Iterator[Path]:
    """Where states are laid: in memory if there is such a place, for every check syncs files."""
    memory = Path("/dev/shm")
    place = memory if os.access(memory, os.W_OK) else tmp_path
    folder = Path(tempfile.mkdtemp(prefix="dinemic-cuts-", dir=place))
    yield folder
    for left in folder.iterdir():  # where something did not hold
        shutil.move(left, tmp_path / f"left-{left.name}")
    folder.rmdir()


@dataclass
class Run:
    """What a process did to a disk: played call by call, with power cuts in between."""

    disk: Disk
    calls: list[Record]
    sync: bool
    states: Path
    rng: random.Random
    found: list[tuple[str, Any]] = field(default_factory=list)
    """What was on disk before, as if it had been said."""

    @property
    def promised(self) -> list[tuple[str, Any]]:
        """What may not be gone: marks of the log, and objects whose keys are on disk."""
        kinds = {"created", "synced"} | ({"written"} if self.sync else set())
        return self.found + [each for each in self.disk.heard if each[0] in kinds]

    @property
    def synced(self) -> int:
        """How many events may not be gone."""
        return max((mark[0] for kind, mark in self.promised if kind != "created"), default=0)

    @property
    def keys(self) -> set[bytes]:
        """Objects that somebody may know of by now."""
        named = ("created", "announced")
        return {bytes.fromhex(value) for kind, value in self.disk.heard if kind in named}

    def cuts(self, states: int) -> Iterator[tuple[Luck, Path]]:
        """Directories as power cuts leave them: after whatever was said, and wherever else.

        A directory is removed again, unless the loop ends over it.
        """
        share = states / len(self.calls) / 2
        for number, call in enumerate(self.calls):
            self.disk.play(call)
            chosen = [Luck.BARE] if call.kind == "H" else []
            chosen += [luck for luck in LOSSES[1:] if self.rng.random() < share]
            for luck in chosen:
                left = self.states / f"{number}-{luck.name}"
                lay(self.disk.tree(luck, self.rng), left)
                yield luck, left
                count("power cuts")
                shutil.rmtree(left)


Begin = Callable[..., Run]


@pytest.fixture
def begin(recorder: Path, tmp_path: Path, states: Path, rng: random.Random) -> Begin:
    """Records sessions on the home in `tmp_path`/disk, as it is."""

    def run(
        sessions: Sequence[Sequence[str]],
        durability: str = "group",
        buffer_bytes: int = BUFFER_BYTES,
    ) -> Run:
        root = tmp_path / "disk"
        root.mkdir(exist_ok=True)
        disk, whole = Disk(root), Disk(root)
        calls = record(
            recorder, root / "home", sessions, durability=durability, buffer_bytes=buffer_bytes
        )
        for call in calls:
            whole.play(call)
        assert whole.tree(Luck.NONE, rng) == tree_of(root), "a call was not recorded"
        return Run(disk, calls, durability == "sync", states, rng)

    return run


def opens(run: Run, home: Path) -> bool:
    """Whether a home opens, with all that was promised; if not, the store says that it cannot."""
    if not home.exists():
        assert not run.promised
        assert not run.keys
        return True
    if run.keys:
        keyring = Keyring.open(home / "keys", create=False)
        assert all(keyring.get(each) for each in run.keys)
    try:
        check(home, run.promised)
    except StoreCorrupt:
        return False
    return True


def check_cuts(run: Run, states: int) -> None:
    """What is left opens; if it is refused, then by luck no journaling disk has, and is mended."""
    refused = 0
    for luck, left in run.cuts(states):
        if not opens(run, left / "home"):
            assert luck is Luck.SCATTERED
            refused += 1
            made = doctor.rebuild(left / "home")
            assert made.events >= run.synced
            assert audit(left / "home").ok
    assert refused <= states // 5


@pytest.mark.parametrize(
    ("durability", "second", "buffer_bytes"),
    [("group", SECOND, BUFFER_BYTES), ("group", SECOND, 1 << 16), ("sync", SYNCED, 1 << 16)],
    ids=["group", "small tables", "sync"],
)
def test_i_13_a_power_cut_after_any_call_takes_nothing_that_was_synced(
    begin: Begin, durability: str, second: Sequence[str], buffer_bytes: int
) -> None:
    check_cuts(begin([FIRST, second], durability, buffer_bytes), STATES)


def test_i_13_a_power_cut_while_a_home_is_opened_after_a_power_cut_takes_nothing(
    begin: Begin, tmp_path: Path
) -> None:
    first = begin([FIRST, SECOND])
    for call in first.calls:
        first.disk.play(call)
    shutil.rmtree(tmp_path / "disk")
    lay(first.disk.tree(Luck.ORDERED, first.rng), tmp_path / "disk")
    again = begin([("flush", "write", "flush"), ("write",)])
    again.found += first.promised
    check_cuts(again, STATES // 2)


def test_i_13_a_store_that_is_new_in_an_old_home_is_there_after_a_power_cut(
    begin: Begin, tmp_path: Path
) -> None:
    with opened(tmp_path / "disk" / "home", "rocksdb"):
        pass
    shutil.rmtree(tmp_path / "disk" / "home" / "store")
    check_cuts(begin([FIRST]), STATES // 3)


def test_a_power_cut_during_a_repair_leaves_one_store_or_the_other(
    begin: Begin, tmp_path: Path
) -> None:
    home = tmp_path / "disk" / "home"
    begin([FIRST, SECOND])
    before = audit(home)
    (home / "store" / "CURRENT").unlink()
    repair = begin([REPAIR])
    for _, left in repair.cuts(STATES // 3):
        if ("repaired", None) not in repair.disk.heard:
            doctor.rebuild(left / "home")
        after = audit(left / "home")
        assert after.ok
        assert (after.events, after.digest) == (before.events, before.digest)


@pytest.mark.long
@pytest.mark.parametrize("number", range(30))
def test_a_power_cut_after_any_call_of_anything_takes_nothing_that_was_synced(
    begin: Begin, rng: random.Random, number: int
) -> None:
    told = set(SCRIPTS["guarded"]) - set(SCRIPTS["local"])  # may be told again after a power cut
    scripts = [[each for each in any_script(rng) if each not in told] for _ in range(3)]
    durability = "sync" if number % 3 == 0 else "group"
    check_cuts(begin(scripts, durability, 1 << rng.randint(16, 25)), 5 * STATES)
