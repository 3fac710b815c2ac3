"""A node on a disk that has no room left, a real one: a small tmpfs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dinemic.doctor import diagnose, rebuild
from dinemic_engine.errors import StoreError, StoreFull
from support.crash_work import Person, check_log
from support.nodes import acting, open_node, opened, trace

pytestmark = pytest.mark.root
SIZE = "4m"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(path)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(disk: Path) -> Path:
    """A file that leaves no room for a page."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


def write_without_end(person: Person) -> None:
    for number in range(1000):
        person.name.set(f"{number} {'x' * 4000}")


def test_i_13_a_full_disk_refuses_writes_loses_none_and_goes_on_after_a_restart(disk: Path) -> None:
    home = disk / "home"
    node = open_node(home, "rocksdb")
    with acting(node):
        person = Person([])
        person.name.set("before")
        node.flush()
        filler = fill(disk)
        with pytest.raises(StoreFull):
            write_without_end(person)
        before = trace(node)
        seq, digest = before[0].seq, before[0].digest.hex()  # type: ignore[attr-defined]
        shown = person.name.get()
        with pytest.raises(StoreError):  # RocksDB takes no more until it is opened again
            person.name.set("after")
        filler.unlink()
        with pytest.raises(StoreError):
            person.name.set("after")
        assert trace(node) == before
        assert person.name.get() == shown
        db_id = person.get_db_id()
    with pytest.raises(StoreError):  # it cannot be put in order before it is closed
        node.close()
    assert diagnose(home).whole
    assert check_log(home / "store", [(seq, digest)]) == seq
    with opened(home, "rocksdb"):
        person = Person(db_id)
        assert person.name.get() == shown
        person.name.set("after")
        assert person.name.get() == "after"


def test_a_repair_without_room_leaves_everything_as_it_was(disk: Path) -> None:
    home = disk / "home"
    with opened(home, "rocksdb"):
        person = Person([])
        for number in range(150):
            person.name.set(f"{number} {'y' * 4000}")
    (table,) = (home / "store").glob("*.sst")
    content = bytearray(table.read_bytes())
    content[len(content) // 2] ^= 1
    table.write_bytes(content)
    filler = fill(disk)
    with pytest.raises(StoreError):
        rebuild(home)
    assert {file.name for file in home.glob("store*")} <= {"store", "store.rebuilding"}
    assert table.read_bytes() == content
    filler.unlink()
    made = rebuild(home)
    assert made.kept.is_dir()
    assert diagnose(home).whole
