"""A store on disk: RocksDB through `rocksdict`, and the only file that knows either.

What is relied on, measured with rocksdict 0.3.29 (RocksDB 9.8.4) and held by tests:

* Raw mode only. The other mode unpickles what it finds in the files.
* A write is one write batch, appended to the write-ahead log by one ``write(2)``: kill -9 cannot
  take it back. It is not synced; `flush` syncs, and does so without holding the GIL.
* Every error is a plain `Exception` with a text. `_translate` is the one place that reads it.
* A native iterator is a consistent view, but it *ends* at a block it cannot read: `status()` must
  be asked. While one lives the database stays locked, even after `close()`: so scans hold theirs
  where `close` can take it away. It points into its `ReadOptions` and does not keep them alive:
  freed, its bound is whatever the memory holds next.
* The read-only mode of rocksdict writes a file into the directory it opens and can miss a log
  that the running node deletes meanwhile. See `_open_beside`.

**Where the end is.** RocksDB cannot know: it takes a log or a manifest that was cut short for one
that a crash left, and opens without the rest. So the store keeps a mark of its own, the file
SYNCED. RocksDB numbers every row ever written; `flush` and `close` note the number of which all is
on disk, *after* it is. At the next open, before RocksDB may change a file, the store is read beside
itself and compared::

    rows by number   1 . . . . . . . . 700 . . . . . 730
                     synced            ^mark         ^written
    open finds up to    < 700: StoreCorrupt, no file was touched
                     700..730: fine, a power cut took the rest (kill -9 takes nothing)

The log is replayed in the mode "point in time": up to the first thing that is not whole. So a
power cut that tears what was not synced yet leaves a store that opens with a prefix, and a
flipped byte before the mark is an error. What the mark cannot see is a hole with newer rows behind
it (a log missing or cut before another, a zeroed block of 32 KiB that begins between two batches):
whoever needs to know that too keeps a running hash in rows of its own.

After a failed write (`StoreFull`, say) RocksDB takes no more writes, also when there is room
again; reads go on. Close and open the store to go on writing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    DbClosedError,
    DBCompressionType,
    DBPath,
    DBRecoveryMode,
    Options,
    Rdict,
    RdictIter,
    ReadOptions,
    Snapshot,
    WriteBatch,
)

from dinemic_engine.errors import StoreCorrupt, StoreError, StoreFull, StoreLocked
from dinemic_engine.store import Rows
from dinemic_engine.store.rocks_files import (
    SYNCED_FILE,
    check_kinds,
    holds_store,
    link_files,
    locked,
    logs_in,
    read_synced,
    sync_names,
)

BLOCK_CACHE_BYTES: Final = 64 << 20
"""Decompressed blocks, indexes and filters together: the bound of the store's read memory."""

WRITE_BUFFER_BYTES: Final = 32 << 20
"""Rows kept in memory until they become a file; also what an open after a crash must replay."""

WAL_BYTES_MAX: Final = 96 << 20
"""Logs above this force the buffers behind them to disk."""

OPEN_FILES_MAX: Final = 512
"""Half of the usual limit of 1,024 descriptors; the other half is for the network."""

BLOOM_BITS_PER_KEY: Final = 10
"""1 % false positives: asking for a key that is not there (every new event) reads no block."""

MANIFEST_BYTES_MAX: Final = 8 << 20
"""The list of files starts anew above this; opening beside a running node copies it."""

INFO_LOG_BYTES_MAX: Final = 1 << 20
INFO_LOGS_MAX: Final = 2
"""RocksDB's own diary, of no use to anybody but its developers."""

BESIDE_ATTEMPTS_MAX: Final = 8
"""Opens beside a node that moves its files at that very moment; it does so every few seconds."""


class RocksStore:
    """The `Store` in the directory `path`, which is created with mode 0700 where missing.

    With `read_only` the store shows what had been written when it was opened, whether or not
    another process holds it, changes no file in `path` and can lie on a read-only file system;
    `write` raises `StoreError`. Then it may also be told to open without the rows that its mark
    says must be there (not `whole`), to see what is left.

    Raises:
        StoreLocked: another process, or another store in this one, holds `path`.
        StoreCorrupt: a file is missing or damaged, or rows are gone that had been flushed. Nothing
            was dropped or repaired.
        StoreError: no directory can be made there; or, with `read_only`, no store is there.
    """

    def __init__(self, path: Path, *, read_only: bool = False, whole: bool = True) -> None:
        self._path = path
        self._read_only = read_only
        self._gate = threading.RLock()  # one step of a scan, or close(); a signal handler may close
        self._scans: weakref.WeakSet[_Scan | _Snapshot] = weakref.WeakSet()
        self._mark: int | None = -1
        """The descriptor of the file SYNCED, -1 until there is something to note; None: closed."""
        self._db = _open_beside(path, whole=whole) if read_only else _open(path)
        if not read_only:
            _writing.add(self)

    @property
    def path(self) -> Path | None:
        """The directory, as long as the store is open."""
        return None if self._mark is None else self._path

    def get(self, key: bytes) -> bytes | None:
        """The value at `key`, or None."""
        try:
            value: bytes | None = self._db.get(key)
        except Exception as error:
            raise _translate(self._path, error) from error
        return value

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """One answer per key, in the order asked."""
        # The native multi-get costs as much per key as this loop, at 1 key and at 256.
        get = self._db.get
        try:
            return [get(key) for key in keys]
        except Exception as error:
            raise _translate(self._path, error) from error

    def scan(
        self, start: bytes, end: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Rows with ``start <= key < end`` as of this call, read from disk as they are asked for.

        Raises:
            StoreCorrupt: a block cannot be read. A scan never ends early in silence.
        """
        options = ReadOptions()
        # Beyond its bound an iterator would walk over deleted rows, up to the next live one.
        # A lower bound cannot be given: set_iterate_lower_bound sets the upper one.
        options.set_iterate_upper_bound(end)
        try:
            with self._gate:
                native = self._db.iter(options)
                scan = _Scan(self._path, self._gate, native, options, start, end, reverse)
                del native
                self._scans.add(scan)
        except Exception as error:
            raise _translate(self._path, error) from error
        return scan

    def snapshot(self) -> _Snapshot:
        """The rows of this moment."""
        try:
            with self._gate:
                snapshot = _Snapshot(self._path, self._gate, self._db.snapshot(), self.scan)
                self._scans.add(snapshot)
        except Exception as error:
            raise _translate(self._path, error) from error
        return snapshot

    def write(self, rows: Rows) -> None:
        """Apply a whole batch or nothing. On return it is visible and survives kill -9.

        Raises:
            StoreFull: no room; the batch did not happen, and no other will before a reopen.
        """
        try:
            batch = WriteBatch(raw_mode=True)
            for key, value in rows.items():
                if value is None:
                    batch.delete(key)
                else:
                    batch.put(key, value)
            self._db.write(batch)
        except Exception as error:
            raise _translate(self._path, error) from error

    def flush(self) -> None:
        """On return everything written before the call survives a power cut."""
        try:
            if self._read_only:
                self._db.path()  # nothing to sync; a closed store says so
            else:
                number = self._db.latest_sequence_number()
                self._db.flush_wal(True)
                self._mark_synced(number)
        except Exception as error:
            raise _translate(self._path, error) from error

    def close(self) -> None:
        """Release the files and the lock, also under scans still alive. Idempotent.

        Raises:
            StoreError: the last rows could not be moved from the log into a file (a full disk).
                They are safe in the log, and the lock is released all the same.
        """
        with self._gate:
            for scan in self._scans:
                scan.cut()
            try:
                number = self._db.latest_sequence_number()
                self._db.close()  # after syncing all there is into a file
                if not self._read_only:
                    self._mark_synced(number)
            except DbClosedError:
                return
            except Exception as error:
                raise _translate(self._path, error) from error
            finally:
                if self._mark is not None and self._mark >= 0:
                    os.close(self._mark)
                self._mark = None

    def _mark_synced(self, number: int) -> None:
        """Note that all rows up to `number` are on disk.

        One small write in place, itself not synced: after a power cut the mark may be an older one,
        never one that promises too much. The file stays open, for every group commit comes by.
        """
        with self._gate:  # else it might be closed under us, and its descriptor be another file's
            if self._mark is None:
                return  # closed meanwhile, which noted all there was
            if self._mark < 0:
                flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
                self._mark = os.open(self._path / SYNCED_FILE, flags, 0o600)
            os.pwrite(self._mark, b"%020d" % number, 0)


_writing: Final[weakref.WeakSet[RocksStore]] = weakref.WeakSet()
"""Those of this process that hold the lock of their directory, or did."""


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Keep other processes from opening the store in `path` for writing; reading goes on.

    Raises:
        StoreLocked: it is open, in another process or in this one.
        StoreError: files cannot be locked here.
    """
    # A process does not see its own lock, and would lose it with ours.
    if any(store.path is not None and store.path.samefile(path) for store in list(_writing)):
        raise StoreLocked(f"the store in {path} is in use by this process")
    with locked(path):
        yield


class _Scan:
    """The iterator behind `RocksStore.scan`. The native one lives in one attribute only.

    No local variable may hold it: an error's traceback keeps locals alive, and the database stays
    locked as long as the native iterator lives.
    """

    __slots__ = (
        "__weakref__",
        "_error",
        "_gate",
        "_native",
        "_options",
        "_path",
        "_reverse",
        "_start",
    )

    def __init__(
        self,
        path: Path,
        gate: threading.RLock,
        native: RdictIter,
        options: ReadOptions,
        start: bytes,
        end: bytes,
        reverse: bool,
    ) -> None:
        self._path = path
        self._gate = gate
        self._native: RdictIter | None = native
        self._error: StoreError | None = None
        self._reverse = reverse
        self._start = start
        self._options = options  # the native iterator reads its bound in them until it dies
        if start >= end:
            self._native = None
        elif reverse:
            native.seek_to_last()  # the last row below the upper bound
        else:
            native.seek(start)

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return self

    def __next__(self) -> tuple[bytes, bytes]:
        with self._gate:
            if self._native is None:
                if self._error is not None:
                    raise self._error
                raise StopIteration
            try:
                if self._native.valid():
                    key: bytes = self._native.key()
                    if not (self._reverse and key < self._start):
                        row = key, self._native.value()
                        if self._reverse:
                            self._native.prev()
                        else:
                            self._native.next()
                        return row
                else:
                    self._native.status()
            except Exception as error:
                self._native = None
                self._error = _translate(self._path, error)
                raise self._error from error
            self._native = None
            raise StopIteration

    def cut(self) -> None:
        """Drop the native iterator of a scan that has not ended; the next step raises."""
        if self._native is not None:
            self._native = None
            self._error = _closed(self._path)


class _Snapshot:
    """The `Snapshot` of a `RocksStore`. As in `_Scan`, the native one lives in one attribute.

    Gets are of its moment. The native one's iterators are not: they show what is there now.
    """

    __slots__ = ("__weakref__", "_gate", "_native", "_path", "_scan")

    def __init__(
        self,
        path: Path,
        gate: threading.RLock,
        native: Snapshot,
        scan: Callable[..., Iterator[tuple[bytes, bytes]]],
    ) -> None:
        self._path = path
        self._gate = gate
        self._native: Snapshot | None = native
        self._scan = scan

    def get(self, key: bytes) -> bytes | None:
        """The value at `key`, or None."""
        with self._gate:
            if self._native is None:
                raise _closed(self._path)
            try:
                value: bytes = self._native[key]
            except Exception as error:
                if str(error) == _NOT_FOUND:
                    return None
                raise _translate(self._path, error) from error
            return value

    def scan(
        self, start: bytes, end: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Rows of the moment that are there still, in key order or backwards."""
        for key, _ in self._scan(start, end, reverse=reverse):
            value = self.get(key)
            if value is not None:
                yield key, value

    def close(self) -> None:
        """Let go of the rows. Idempotent."""
        with self._gate:
            self._native = None

    cut = close


def _open(path: Path) -> Rdict:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        options = _options()
        found = holds_store(path)
        if found:
            _open_beside(path).close()  # opening for good deletes what the manifest does not name
        else:
            sync_names(path.parent)  # of its own names RocksDB takes care
        options.create_if_missing(not found)
        return Rdict(str(path), options)
    except StoreError:
        raise
    except Exception as error:
        raise _translate(path, error) from error


def _open_beside(path: Path, *, whole: bool = True) -> Rdict:
    """The store at `path` as it is now, without its lock and without touching its files.

    RocksDB gets a directory of its own with a copy of the manifest, which names the files of one
    moment, and is pointed at `path` for the files themselves. All of them are opened at once, so
    they stay readable when the node deletes them. Two races remain and both mean: once more.
    A file may vanish between copy and open; that is an error. A log may be turned into a table
    the copy does not know, and deleted; that would be a silent hole. Logs go oldest first, so
    when all those listed *before* the copy are there *after* the open, none was missed.
    """
    failure: Exception | None = None
    for _ in range(BESIDE_ATTEMPTS_MAX):
        try:
            return _open_copy(path, whole=whole)
        except Exception as error:  # noqa: BLE001 - raised below when trying again did not help
            failure = error
    if isinstance(failure, StoreError):
        raise failure
    assert failure is not None
    raise _translate(path, failure) from failure


def _open_copy(path: Path, *, whole: bool) -> Rdict:
    if not holds_store(path):
        raise StoreError(f"there is no store in {path}")
    logs, synced = logs_in(path), read_synced(path) if whole else 0
    with tempfile.TemporaryDirectory(prefix="dinemic-") as private:
        manifest = (path / "CURRENT").read_text("ascii").strip()
        shutil.copyfile(path / manifest, Path(private, manifest))
        Path(private, "CURRENT").write_text(f"{manifest}\n", "ascii")
        for file in (Path(private, manifest), *(path / log for log in logs)):
            check_kinds(path, file)
        options = _options()
        options.create_if_missing(False)
        options.set_max_open_files(-1)
        options.set_db_paths([DBPath(str(path), 1 << 62)])
        options.set_wal_dir(str(path))
        db = Rdict(private, options, access_type=AccessType.read_only(False))
    missing = synced - db.latest_sequence_number()
    if missing <= 0 and logs <= logs_in(path):
        return db
    db.close()
    if missing > 0:
        raise StoreCorrupt(
            f"{path}: {missing} row changes are gone that had been synced to disk; "
            f"to go on with what is left, delete the file {SYNCED_FILE}"
        )
    raise StoreError(f"the files in {path} are being replaced too quickly to be read")


def mend(path: Path, scratch: Path) -> None:
    """Make a store in `scratch` of the tables and logs in `path`, each by itself; none is changed.

    For what no manifest holds together any more. RocksDB's repair leaves out every table with a
    damaged block, brings deleted rows back, and calls that a success: what is found here is for
    whoever judges each row by itself, and proves nothing to be all there was.

    Raises:
        StoreError: nothing could be made of them.
    """
    try:
        link_files(path, scratch)
        Rdict.repair(str(scratch), _options())
        Rdict(str(scratch), _options()).close()  # makes the log that every store has
    except Exception as error:
        raise _translate(path, error) from error


def _options() -> Options:
    table = BlockBasedOptions()
    table.set_block_cache(Cache(BLOCK_CACHE_BYTES))
    table.set_bloom_filter(BLOOM_BITS_PER_KEY, False)
    table.set_cache_index_and_filter_blocks(True)
    table.set_pin_l0_filter_and_index_blocks_in_cache(True)
    options = Options(raw_mode=True)
    options.set_block_based_table_factory(table)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_max_total_wal_size(WAL_BYTES_MAX)
    options.set_wal_recovery_mode(DBRecoveryMode.point_in_time())
    options.set_max_open_files(OPEN_FILES_MAX)
    options.set_max_manifest_file_size(MANIFEST_BYTES_MAX)
    options.set_max_log_file_size(INFO_LOG_BYTES_MAX)
    options.set_keep_log_file_num(INFO_LOGS_MAX)
    options.set_stats_dump_period_sec(0)
    return options


def _closed(path: Path) -> StoreError:
    return StoreError(f"the store in {path} is closed")


_NOT_FOUND: Final = "key not found"
"""What a native snapshot raises, as a plain Exception, where a store answers None."""
_LOCKED: Final = ("lock hold by current process", "While lock file")
_FULL: Final = ("No space left on device", "Disk quota exceeded", "File too large")
_MISSING: Final = ("No such file or directory", "does not exist (create_if_missing is false)")


def _translate(path: Path, error: Exception) -> StoreError:
    """Our error for one of rocksdict or of the file system, with its text."""
    text = str(error)
    if isinstance(error, DbClosedError):
        return _closed(path)
    if any(part in text for part in _LOCKED):
        return StoreLocked(f"the store in {path} is in use by another process")
    if any(part in text for part in _FULL):
        return StoreFull(f"{path}: {text}")
    if text.startswith("Corruption") or any(part in text for part in _MISSING):
        return StoreCorrupt(f"{path}: {text}")
    return StoreError(f"{path}: {text}")
