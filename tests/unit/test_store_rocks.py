"""What RocksDB adds to the contract: a lock, files, reading beside a running node."""

from __future__ import annotations

import ast
import gc
import itertools
import shutil
import threading
import tracemalloc
from pathlib import Path

import pytest
from rocksdict import Options, Rdict

import dinemic_engine
from dinemic_engine.errors import StoreCorrupt, StoreError, StoreLocked
from dinemic_engine.store.conformance import HIGHEST, LOWEST
from dinemic_engine.store.rocks import RocksStore

ROWS = {b"%04d" % number: b"value %d" % number for number in range(500)}


def rows_in(store: RocksStore) -> dict[bytes, bytes]:
    return dict(store.scan(LOWEST, HIGHEST))


def files_in(path: Path) -> dict[str, tuple[int, bytes]]:
    return {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in path.iterdir()}


def test_the_directory_is_made_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "home" / "store"
    RocksStore(path).close()
    assert path.stat().st_mode & 0o777 == 0o700


def test_a_second_store_on_one_path_is_refused_and_does_no_harm(tmp_path: Path) -> None:
    store = RocksStore(tmp_path)
    store.write(ROWS)
    for _ in range(3):
        with pytest.raises(StoreLocked, match=str(tmp_path)):
            RocksStore(tmp_path)
    store.write({b"more": b"1"})
    store.close()
    store = RocksStore(tmp_path)
    assert rows_in(store) == ROWS | {b"more": b"1"}
    store.close()


def test_close_releases_the_lock_under_live_abandoned_and_failed_scans(tmp_path: Path) -> None:
    store = RocksStore(tmp_path)
    store.write(ROWS)
    live = [store.scan(LOWEST, HIGHEST, reverse=reverse) for reverse in (False, True)]
    next(live[0])
    ended = store.scan(LOWEST, b"0001")
    assert len(list(ended)) == 1
    next(store.scan(LOWEST, HIGHEST))
    store.close()
    errors = []
    for scan in live:
        with pytest.raises(StoreError, match="closed") as caught:
            next(scan)
        errors.append(caught)  # with tracebacks, whose frames must hold nothing native
    again = RocksStore(tmp_path)
    assert rows_in(again) == ROWS
    again.close()
    assert next(ended, None) is None


def test_an_abandoned_scan_is_released_at_once(tmp_path: Path) -> None:
    store = RocksStore(tmp_path)
    store.write(ROWS)
    scans = [store.scan(LOWEST, HIGHEST) for _ in range(20)]
    assert len(store._scans) == 20
    del scans
    gc.collect()
    assert len(store._scans) == 0
    store.close()


def test_a_scan_reads_rows_as_they_are_asked_for(tmp_path: Path) -> None:
    store = RocksStore(tmp_path)
    for first in range(0, 20_000, 1000):
        store.write({b"%06d" % number: bytes(1000) for number in range(first, first + 1000)})
    tracemalloc.start()
    for row in store.scan(LOWEST, HIGHEST):
        assert len(row[1]) == 1000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20  # of 20 MB
    store.close()


def test_scan_bounds_hold_while_memory_is_reused(tmp_path: Path) -> None:
    # The native iterator keeps a pointer to its bound: freed too early it would be another's.
    store = RocksStore(tmp_path)
    store.write(ROWS)
    for number in range(50, 450):
        wanted = [b"%04d" % near for near in range(number - 5, number)]
        forward = store.scan(wanted[0], b"%04d" % number)
        backward = store.scan(wanted[0], b"%04d" % number, reverse=True)
        others = [store.scan(LOWEST, b"0001") for _ in range(3)]
        junk = [bytes(bytearray(b"%04d" % (number * k % 500))) for k in range(20)]
        assert [key for key, _ in forward] == wanted
        assert [key for key, _ in backward] == wanted[::-1]
        assert len(others) + len(junk) == 23
    store.close()


def test_threads_read_whole_batches_while_one_writes(tmp_path: Path) -> None:
    store = RocksStore(tmp_path)
    store.write({b"%02d" % key: b"0" for key in range(20)})
    done = threading.Event()
    failures: list[object] = []

    def read() -> None:
        while not done.is_set():
            values = {value for _, value in store.scan(LOWEST, HIGHEST)}
            if len(values) != 1:
                failures.append(values)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for round_ in range(1, 400):
        store.write({b"%02d" % key: b"%d" % round_ for key in range(20)})
    done.set()
    for reader in readers:
        reader.join()
    assert not failures
    store.close()


def test_closing_under_a_scanning_thread_ends_it_with_an_error(tmp_path: Path) -> None:
    store = RocksStore(tmp_path)
    store.write(ROWS)
    started, outcomes = threading.Event(), []

    def read_for_ever() -> None:
        try:
            for number in itertools.count():
                for _ in store.scan(LOWEST, HIGHEST):
                    pass
                if number == 3:
                    started.set()
        except StoreError as error:
            outcomes.append(str(error))

    reader = threading.Thread(target=read_for_ever)
    reader.start()
    started.wait()
    store.close()
    RocksStore(tmp_path).close()
    reader.join()
    assert outcomes == [f"the store in {tmp_path} is closed"]


def test_a_read_only_store_sees_what_was_written_when_it_was_opened(tmp_path: Path) -> None:
    store = RocksStore(tmp_path)
    store.write({b"a": b"1"})
    store.close()
    store = RocksStore(tmp_path)  # one row in a file, one in the log
    store.write({b"b": b"2"})
    beside = RocksStore(tmp_path, read_only=True)
    store.write({b"a": b"3", b"c": b"4"})
    assert rows_in(beside) == {b"a": b"1", b"b": b"2"}
    assert beside.get_many([b"c", b"a"]) == [None, b"1"]
    later = RocksStore(tmp_path, read_only=True)
    assert rows_in(later) == {b"a": b"3", b"b": b"2", b"c": b"4"}
    store.close()
    assert rows_in(beside) == {b"a": b"1", b"b": b"2"}
    beside.close()
    later.close()


def test_a_read_only_store_outlives_the_files_it_reads(tmp_path: Path) -> None:
    path, aside = tmp_path / "store", tmp_path / "aside"
    store = RocksStore(path)
    store.write(ROWS)
    store.close()
    beside = RocksStore(path, read_only=True)
    path.rename(aside)  # as if compaction had replaced every file
    shutil.rmtree(aside)
    assert rows_in(beside) == ROWS
    beside.close()


def test_a_read_only_store_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "store"
    store = RocksStore(path)
    store.write(ROWS)
    before = files_in(path)
    beside = RocksStore(path, read_only=True)
    with pytest.raises(StoreError):
        beside.write({b"a": b"1"})
    beside.flush()
    assert rows_in(beside) == ROWS
    beside.close()
    assert files_in(path) == before
    with pytest.raises(StoreError, match="closed"):
        beside.flush()
    store.close()


def test_a_read_only_store_leaves_no_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    RocksStore(tmp_path / "store").close()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    beside = RocksStore(tmp_path / "store", read_only=True)
    assert list(scratch.iterdir()) == []
    beside.close()
    assert list(scratch.iterdir()) == []


def test_a_missing_read_only_store_is_named_and_not_created(tmp_path: Path) -> None:
    path = tmp_path / "nothing" / "here"
    with pytest.raises(StoreError, match="no store") as caught:
        RocksStore(path, read_only=True)
    assert str(path) in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StoreError, match="no store"):
        RocksStore(tmp_path, read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_cannot_be_a_directory_is_a_store_error(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("not a directory")
    for path in (file, file / "below"):
        for read_only in (False, True):
            with pytest.raises(StoreError, match="file"):
                RocksStore(path, read_only=read_only)
    assert file.read_text() == "not a directory"


def test_a_path_beyond_ascii_opens(tmp_path: Path) -> None:
    path = tmp_path / "st\u00f6re \u20ac"
    store = RocksStore(path)
    store.write(ROWS)
    beside = RocksStore(path, read_only=True)
    assert rows_in(beside) == ROWS
    beside.close()
    store.close()


@pytest.mark.parametrize("steps", ["nothing", "identity", "manifest", "current"])
def test_a_creation_that_was_cut_short_is_begun_again(tmp_path: Path, steps: str) -> None:
    """The states RocksDB leaves when it is killed while it makes a new database."""
    (tmp_path / "LOCK").touch()
    (tmp_path / "LOG").touch()
    if steps != "nothing":
        (tmp_path / "IDENTITY").write_text("00000000-0000-0000-0000-000000000000")
    if steps in ("manifest", "current"):
        (tmp_path / "MANIFEST-000001").write_bytes(b"")
        (tmp_path / "000001.dbtmp").write_text("MANIFEST-000001\n")
    if steps == "current":
        whole = tmp_path / "whole"
        RocksStore(whole).close()
        manifest = (whole / "CURRENT").read_text().strip()
        (tmp_path / "MANIFEST-000001").write_bytes((whole / manifest).read_bytes())
        (tmp_path / "000001.dbtmp").rename(tmp_path / "CURRENT")
        shutil.rmtree(whole)
    store = RocksStore(tmp_path)
    store.write(ROWS)
    store.close()
    store = RocksStore(tmp_path)
    assert rows_in(store) == ROWS
    store.close()


@pytest.mark.parametrize("lost", ["CURRENT", "MANIFEST-*", "*.sst", "*.log"])
@pytest.mark.parametrize("read_only", [False, True])
def test_a_missing_file_is_noticed_and_nothing_is_begun_anew(
    tmp_path: Path, lost: str, read_only: bool
) -> None:
    store = RocksStore(tmp_path)
    store.write(ROWS)
    store.close()
    missing = {file.name: file.read_bytes() for file in tmp_path.glob(lost)}
    assert missing
    for name in missing:
        (tmp_path / name).unlink()
    for _ in range(2):
        with pytest.raises(StoreCorrupt, match=str(tmp_path)):
            RocksStore(tmp_path, read_only=read_only)
    for name, content in missing.items():
        (tmp_path / name).write_bytes(content)
    store = RocksStore(tmp_path)
    assert rows_in(store) == ROWS
    store.close()


def test_only_one_file_of_the_engine_knows_rocksdict() -> None:
    root = Path(dinemic_engine.__file__).parent
    knowing = []
    for file in root.rglob("*.py"):
        tree = ast.parse(file.read_text("utf-8"))
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names.append(node.module)
            if any(name.partition(".")[0] == "rocksdict" for name in names):
                knowing.append(file.relative_to(root).as_posix())
    assert knowing == ["store/rocks.py"]


def test_a_native_snapshot_gets_what_was_and_iterates_over_what_is(tmp_path: Path) -> None:
    """A trap of rocksdict 0.3.29: where this fails, `_Snapshot.scan` can be a native iterator."""
    native = Rdict(str(tmp_path), Options(raw_mode=True))
    native[b"a"] = b"1"
    snapshot = native.snapshot()
    native[b"a"] = b"2"
    native[b"b"] = b"3"
    assert snapshot[b"a"] == b"1"
    with pytest.raises(Exception, match=r"^key not found$"):
        snapshot[b"b"]
    assert list(snapshot.items()) == [(b"a", b"2"), (b"b", b"3")]
    del snapshot
    native.close()
