"""Flipped, cut and missing bytes: an error or all rows, never fewer rows in silence."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from dinemic_engine.errors import StoreCorrupt
from dinemic_engine.store.conformance import HIGHEST, LOWEST
from dinemic_engine.store.rocks import RocksStore
from dinemic_engine.store.rocks_files import SYNCED_FILE
from support.figures import count

ROWS = [(b"%04d" % number, b"%d " % number * 60) for number in range(400)]
PAGE = 4096


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A closed store: all rows in one sorted table, the log empty."""
    path = tmp_path / "table"
    store = RocksStore(path)
    store.write(dict(ROWS))
    store.close()
    return path


def killed(tmp_path: Path, *, synced: int) -> tuple[Path, int]:
    """What kill -9 leaves, and how many bytes of the log were flushed.

    All rows are in the write-ahead log, one batch each, and `synced` of them were flushed.
    """
    running, path = tmp_path / "running", tmp_path / "killed"
    store = RocksStore(running)
    flushed = 0
    for number, (key, value) in enumerate(ROWS, 1):
        store.write({key: value})
        if number == synced:
            store.flush()
            flushed = the_only(running, "*.log").stat().st_size
    shutil.copytree(running, path)
    store.close()
    return path, flushed


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """All rows in the write-ahead log, and flushed."""
    return killed(tmp_path, synced=len(ROWS))[0]


def the_only(path: Path, pattern: str) -> Path:
    (file,) = path.glob(pattern)
    return file


def read_all(path: Path, *, read_only: bool = True) -> list[tuple[bytes, bytes]]:
    """All rows, by scans in both directions and by keys; read-only leaves the damage as it is."""
    store = RocksStore(path, read_only=read_only)
    try:
        rows = list(store.scan(LOWEST, HIGHEST))
        assert list(store.scan(LOWEST, HIGHEST, reverse=True)) == rows[::-1]
        assert store.get_many([key for key, _ in rows]) == [value for _, value in rows]
        return rows
    finally:
        store.close()


def outcome(path: Path, *, read_only: bool = True) -> list[tuple[bytes, bytes]] | None:
    """All rows that can be read, or None for `StoreCorrupt`."""
    try:
        return read_all(path, read_only=read_only)
    except StoreCorrupt:
        return None


def is_refused_untouched(path: Path) -> bool:
    """Whether the store does not open, read-only or not, and every file stays as it is."""
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    for read_only in (True, False):
        with pytest.raises(StoreCorrupt, match=str(path)):
            RocksStore(path, read_only=read_only)
    return before == {file.name: file.read_bytes() for file in path.iterdir()}


def flipped(content: bytes, at: int, mask: int) -> bytes:
    return content[:at] + bytes([content[at] ^ mask]) + content[at + 1 :]


def test_a_flipped_byte_in_a_table_is_an_error_or_without_effect(
    table: Path, rng: random.Random
) -> None:
    file = the_only(table, "*.sst")
    whole = file.read_bytes()
    noticed = 0
    for _ in range(60):
        file.write_bytes(flipped(whole, rng.randrange(len(whole)), 1 << rng.randrange(8)))
        rows = outcome(table)
        assert rows is None or rows == ROWS
        noticed += rows is None
        count("damages")
    assert noticed > 40  # the rest hit properties nobody reads
    file.write_bytes(whole)
    assert read_all(table, read_only=False) == ROWS


def test_a_scan_into_a_damaged_block_raises_and_goes_on_raising(table: Path) -> None:
    file = the_only(table, "*.sst")
    whole = file.read_bytes()
    file.write_bytes(flipped(whole, len(whole) // 2, 1))  # data blocks come first in a table
    store = RocksStore(table)
    for reverse in (False, True):
        rows: list[tuple[bytes, bytes]] = []
        scan = store.scan(LOWEST, HIGHEST, reverse=reverse)
        with pytest.raises(StoreCorrupt):
            rows.extend(scan)
        with pytest.raises(StoreCorrupt):
            next(scan, None)
        assert len(rows) < len(ROWS)
    with pytest.raises(StoreCorrupt):
        [store.get(key) for key, _ in ROWS]
    with pytest.raises(StoreCorrupt):
        store.get_many([key for key, _ in ROWS])
    store.close()
    file.write_bytes(whole)
    assert read_all(table, read_only=False) == ROWS  # nothing was dropped or repaired


def test_a_cut_table_is_an_error(table: Path, rng: random.Random) -> None:
    file = the_only(table, "*.sst")
    whole = file.read_bytes()
    for size in [0, 1, len(whole) - 1, *(rng.randrange(len(whole)) for _ in range(10))]:
        file.write_bytes(whole[:size])
        assert is_refused_untouched(table)
    file.write_bytes(whole)
    assert read_all(table, read_only=False) == ROWS


def test_a_flipped_byte_in_the_manifest_is_an_error_or_without_effect(
    table: Path, rng: random.Random
) -> None:
    file = the_only(table, "MANIFEST-*")
    whole = file.read_bytes()
    for _ in range(40):
        file.write_bytes(flipped(whole, rng.randrange(len(whole)), 1 << rng.randrange(8)))
        rows = outcome(table)
        assert rows is None or rows == ROWS
        count("damages")
    file.write_bytes(whole)
    assert read_all(table, read_only=False) == ROWS


def test_a_cut_manifest_is_an_error_or_without_effect(table: Path, rng: random.Random) -> None:
    # RocksDB alone opens an empty database, and deletes the table that holds the rows.
    file = the_only(table, "MANIFEST-*")
    whole = file.read_bytes()
    refused = 0
    for size in [0, len(whole) - 1, *(rng.randrange(len(whole)) for _ in range(20))]:
        file.write_bytes(whole[:size])
        if outcome(table) != ROWS:
            assert is_refused_untouched(table)
            refused += 1
    assert refused > 5
    file.write_bytes(whole)
    assert read_all(table, read_only=False) == ROWS


def test_a_damaged_log_is_an_error_as_far_as_it_was_flushed(log: Path, rng: random.Random) -> None:
    file = the_only(log, "*.log")
    whole = file.read_bytes()
    for _ in range(25):
        file.write_bytes(flipped(whole, rng.randrange(len(whole)), 1 << rng.randrange(8)))
        assert is_refused_untouched(log)
        count("damages")
    for size in [0, 1, 7, len(whole) - 1, *(rng.randrange(len(whole)) for _ in range(10))]:
        file.write_bytes(whole[:size])
        assert is_refused_untouched(log)
    for at in range(0, len(whole), 7 * PAGE):
        file.write_bytes(whole[:at] + bytes(PAGE) + whole[at + PAGE :])
        assert is_refused_untouched(log)
    file.unlink()
    assert is_refused_untouched(log)
    file.write_bytes(whole)
    assert read_all(log, read_only=False) == ROWS


@pytest.mark.parametrize("pattern", ["*.log", "MANIFEST-*"])
@pytest.mark.parametrize("kind", range(5, 13))
def test_a_record_of_another_kind_is_an_error_and_no_endless_loop(
    log: Path, pattern: str, kind: int
) -> None:
    # RocksDB 9.8 reads the kinds of recycled logs (5 to 8, 11) for ever where they do not belong.
    file = the_only(log, pattern)
    whole = file.read_bytes()
    second = 7 + int.from_bytes(whole[4:6], "little")  # crc 4, length 2, kind 1
    file.write_bytes(whole[: second + 6] + bytes([kind]) + whole[second + 7 :])
    assert is_refused_untouched(log)


def test_a_log_torn_where_it_was_not_flushed_gives_at_least_the_flushed_batches(
    tmp_path: Path, rng: random.Random
) -> None:
    """The states a power cut leaves: the file ends early, sectors or pages miss."""
    path, flushed = killed(tmp_path, synced=150)
    file = the_only(path, "*.log")
    whole = file.read_bytes()
    lengths = set()
    for number in range(40):
        at = rng.randrange(flushed, len(whole) - 1)
        torn = [
            whole[:at],
            whole[:at] + bytes(len(whole[at : at + 512])) + whole[at + 512 :],
            whole[:at] + bytes(len(whole[at : at + PAGE])) + whole[at + PAGE :],
            whole[:at] + bytes(len(whole) - at),
        ]
        file.write_bytes(torn[number % len(torn)])
        rows = outcome(path)
        assert rows is not None
        assert 150 <= len(rows) <= len(ROWS)
        assert rows == ROWS[: len(rows)]
        lengths.add(len(rows))
        count("power cuts")
        if number % 10 == 0:  # the same, and it goes on from there
            copy = tmp_path / f"copy-{number}"
            shutil.copytree(path, copy)
            store = RocksStore(copy)
            store.write({b"more": b"1"})
            store.close()
            assert read_all(copy) == [*rows, (b"more", b"1")]
    assert len(lengths) > 10


def test_what_follows_the_end_of_the_log_takes_nothing_away(log: Path, rng: random.Random) -> None:
    file = the_only(log, "*.log")
    whole = file.read_bytes()
    for size in (3, 5000, 100_000):
        file.write_bytes(whole + bytes(size))
        assert outcome(log) == ROWS
        file.write_bytes(whole + rng.randbytes(size))
        assert outcome(log) in (ROWS, None)  # noise may look like damage, never like fewer rows


def test_a_zeroed_block_between_two_batches_is_a_hole_that_the_store_cannot_see(
    tmp_path: Path,
) -> None:
    """RocksDB takes zeros for room it never used. Only a hash over the rows tells (see Tip)."""
    rows = [(b"%04d" % number, bytes(997)) for number in range(100)]  # 1,024 bytes of log each
    store = RocksStore(tmp_path / "running")
    for key, value in rows:
        store.write({key: value})
    store.flush()
    path = tmp_path / "copy"
    shutil.copytree(tmp_path / "running", path)
    store.close()
    file = the_only(path, "*.log")
    whole = file.read_bytes()
    assert len(whole) == 100 << 10
    file.write_bytes(whole[: 32 << 10] + bytes(32 << 10) + whole[64 << 10 :])
    assert read_all(path) == rows[:32] + rows[64:]


def test_without_its_mark_a_store_opens_with_what_is_left(log: Path) -> None:
    file = the_only(log, "*.log")
    file.write_bytes(file.read_bytes()[: 10 * PAGE])
    with pytest.raises(StoreCorrupt, match=f"delete the file {SYNCED_FILE}"):
        RocksStore(log)
    (log / SYNCED_FILE).unlink()
    rows = read_all(log, read_only=False)
    assert 0 < len(rows) < len(ROWS)
    assert rows == ROWS[: len(rows)]


def test_a_mark_that_never_reached_the_disk_is_none_and_a_damaged_one_an_error(log: Path) -> None:
    mark = log / SYNCED_FILE
    assert int(mark.read_bytes()) == len(ROWS)
    for content in (b"", bytes(20)):
        mark.write_bytes(content)
        assert read_all(log) == ROWS
    for content in (b"400", b"-0000000000000000400", b"0x000000000000000400", b"\xff" * 20):
        mark.write_bytes(content)
        assert is_refused_untouched(log)


def test_copies_of_the_files_at_any_moment_open_with_every_batch_until_then(
    tmp_path: Path,
) -> None:
    path = tmp_path / "running"
    store = RocksStore(path)
    for number, (key, value) in enumerate(ROWS[:60]):
        store.write({key: value})
        if number % 10 == 9:
            store.close()
            store = RocksStore(path)
        elif number % 3 == 0:
            store.flush()
        copy = tmp_path / f"copy-{number}"
        shutil.copytree(path, copy)
        assert read_all(copy, read_only=number % 7 != 0) == ROWS[: number + 1]
    store.close()
