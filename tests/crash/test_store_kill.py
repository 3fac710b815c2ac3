"""Other processes: one killed while it writes, one that holds the lock, one on a full disk."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dinemic_engine.errors import StoreError, StoreLocked
from dinemic_engine.store.conformance import HIGHEST, LOWEST
from dinemic_engine.store.rocks import RocksStore

BATCH_ROWS = 7

# Batch n: rows n|0 .. n|6 and the row "last", which every batch overwrites. With `reopen_every`,
# the store is closed and opened now and then: logs turn into files, files are merged and deleted.
WRITER = """
import itertools
import sys
from pathlib import Path
from dinemic_engine.store.rocks import RocksStore

path, reopen_every, value_bytes = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
store = RocksStore(path)
first = int(store.get(b"last") or -1) + 1
for number in itertools.count(first):
    rows = {b"%08d|%d" % (number, row): b"v" * value_bytes for row in range(7)}
    store.write(rows | {b"last": b"%d" % number})
    print(number, flush=True)
    if reopen_every and number % reopen_every == reopen_every - 1:
        store.close()
        store = RocksStore(path)
"""

# Writes until the file size limit, stops at the first error, tells it, lifts the limit, opens anew.
FILLER = """
import resource
import signal
import sys
from pathlib import Path
from dinemic_engine.errors import StoreError, StoreFull
from dinemic_engine.store.rocks import RocksStore

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write fails instead, as on a full disk
path = Path(sys.argv[1])
store = RocksStore(path)
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, most))
written = 0
try:
    while written < 1000:
        store.write({b"%08d|%d" % (written, row): b"v" * 500 for row in range(7)})
        written += 1
except StoreFull:
    pass
try:
    store.write({b"one more": b""})
    again = "written"
except StoreFull:
    again = "full"
readable = sum(1 for _ in store.scan(b"", b"\\xff")) // 7
try:
    store.close()
except StoreError:
    pass
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
store = RocksStore(path)
kept = sum(1 for _ in store.scan(b"", b"\\xff"))
store.write({b"room": b"again"})
store.close()
print(written, again, readable, kept)
"""


@contextmanager
def writing(path: Path, *, reopen_every: int = 0, value_bytes: int = 100) -> Iterator[Writer]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(reopen_every), str(value_bytes)],
        stdout=subprocess.PIPE,
        text=True,
    )
    writer = Writer(process)
    try:
        yield writer
    finally:
        writer.kill()


class Writer:
    """A process running WRITER and the numbers of the batches it has acknowledged."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.process = process
        self.lines = process.stdout
        self.acknowledged = -1

    def wait_for(self, number: int) -> None:
        while self.acknowledged < number:
            line = self.lines.readline()
            assert line, "the writer ended by itself"
            self.acknowledged = int(line)

    def kill(self) -> None:
        self.process.kill()
        for line in self.lines:
            if line.endswith("\n"):
                self.acknowledged = int(line)
        self.lines.close()
        self.process.wait()


def whole_batches(store: RocksStore) -> int:
    """How many batches the store holds: 0, 1, 2 ... without a gap, each one whole."""
    *rows, (name, last) = store.scan(LOWEST, HIGHEST)
    count = len(rows) // BATCH_ROWS
    wanted = [b"%08d|%d" % (number, row) for number in range(count) for row in range(BATCH_ROWS)]
    assert [key for key, _ in rows] == wanted
    assert (name, last) == (b"last", b"%d" % (count - 1))
    return count


def test_every_acknowledged_batch_survives_kill_9_whole(tmp_path: Path) -> None:
    count = 0
    for reopen_every in (0, 0, 3, 50):
        with writing(tmp_path, reopen_every=reopen_every) as writer:
            writer.wait_for(count + 60)
        store = RocksStore(tmp_path)
        count = whole_batches(store)
        assert count - 1 - writer.acknowledged in (0, 1)  # one may be written and not yet told
        store.close()


def test_a_store_is_locked_while_another_process_holds_it_and_free_when_that_is_killed(
    tmp_path: Path,
) -> None:
    with writing(tmp_path) as writer:
        writer.wait_for(5)
        with pytest.raises(StoreLocked, match=str(tmp_path)):
            RocksStore(tmp_path)
        writer.wait_for(writer.acknowledged + 20)  # and it writes on undisturbed
    store = RocksStore(tmp_path)
    assert whole_batches(store) > writer.acknowledged
    store.close()


def test_reading_beside_a_node_that_turns_over_its_files_shows_no_gap(tmp_path: Path) -> None:
    with writing(tmp_path, reopen_every=4, value_bytes=5000) as writer:
        writer.wait_for(3)
        at_first = RocksStore(tmp_path, read_only=True)
        seen = whole_batches(at_first)
        files = {file.name for file in tmp_path.glob("*.sst")}
        for _ in range(40):
            writer.wait_for(writer.acknowledged + 2)
            beside = RocksStore(tmp_path, read_only=True)
            assert whole_batches(beside) > writer.acknowledged
            beside.close()
        while files & {file.name for file in tmp_path.glob("*.sst")}:
            writer.wait_for(writer.acknowledged + 4)  # until every file of the first is gone
        assert whole_batches(at_first) == seen
        at_first.close()


def test_a_full_disk_stops_writing_loses_nothing_and_a_reopen_goes_on(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FILLER, str(tmp_path)], capture_output=True, text=True, check=True
    )
    written, again, readable, kept = done.stdout.split()
    assert 10 < int(written) < 1000
    assert again == "full"
    assert int(readable) == int(written)
    assert int(kept) == int(written) * BATCH_ROWS
    store = RocksStore(tmp_path)
    assert store.get(b"room") == b"again"
    store.close()


def test_an_error_names_the_path_and_no_row(tmp_path: Path) -> None:
    store = RocksStore(tmp_path)
    store.write({b"secret key": b"secret value"})
    store.close()
    with pytest.raises(StoreError) as caught:
        store.get(b"secret key")
    assert str(tmp_path) in str(caught.value)
    assert "secret" not in str(caught.value)
