"""The files of a RocksDB store as files: which must be there, which can be trusted to be opened.

CURRENT --names--> MANIFEST-n --names--> tables (.sst)     logs (.log): the rows not in tables
SYNCED: ours (see `rocks`)               LOCK: held by who writes
"""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dinemic_engine.errors import StoreCorrupt, StoreError, StoreLocked

try:
    import fcntl
except ImportError:  # Windows: RocksDB locks there in a way of its own
    _has_locks = False
else:
    _has_locks = True

SYNCED_FILE: Final = "SYNCED"
"""Twenty digits: the number of the last row known to be on disk. Deleting it drops the promise."""

_LOCK_FILE: Final = "LOCK"
_FIRST_MANIFEST: Final = "MANIFEST-000001"

# Logs and manifests are blocks of 32 KiB; a block is records of crc 4, length 2, kind 1, data.
_BLOCK_BYTES: Final = 32 << 10
_RECORD: Final = struct.Struct("<4xHB")
_RECYCLED_KINDS: Final = frozenset((5, 6, 7, 8, 11))


def holds_store(path: Path) -> bool:
    """Whether `path` holds a store; False for an empty place or a creation that was cut short.

    RocksDB itself would begin a new database over files whose CURRENT is missing, and would open
    without its write-ahead log as if the rows in it had never been. There always is a log: the
    next is made before the last is deleted.

    Raises:
        StoreCorrupt: part of a store is missing.
    """
    names = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
    tables = any(name.endswith(".sst") for name in names)
    logs = any(name.endswith(".log") for name in names)
    manifests = {name for name in names if name.startswith("MANIFEST-")}
    if not tables and not logs and manifests <= {_FIRST_MANIFEST}:
        # The first log is made right after CURRENT and MANIFEST-000001.
        if SYNCED_FILE in names and read_synced(path):
            raise StoreCorrupt(f"{path}: every table and log is missing")
        return False
    if "CURRENT" not in names:
        raise StoreCorrupt(f"{path}: the file CURRENT is missing")
    if not logs:
        raise StoreCorrupt(f"{path}: the write-ahead log is missing")
    return True


def check_kinds(path: Path, file: Path) -> None:
    """Refuse a log that RocksDB 9.8 would read for ever, with the GIL held.

    It does so at a record of a kind that only recycled logs have, behind one of the usual kinds:
    one flipped bit is enough. We recycle no logs.
    """
    with file.open("rb") as log:
        while block := log.read(_BLOCK_BYTES):
            at = 0
            while at + _RECORD.size <= len(block):
                length, kind = _RECORD.unpack_from(block, at)
                if kind in _RECYCLED_KINDS:
                    raise StoreCorrupt(f"{path}: {file.name} is damaged before byte {log.tell()}")
                if kind == 0:
                    break  # the rest of the block was never written
                at += _RECORD.size + length
            if len(block) < _BLOCK_BYTES:
                return  # where it ended; a running node may have gone on since


def read_synced(path: Path) -> int:
    """The number noted last; 0 where none was, or where a power cut left an empty file."""
    try:
        content = (path / SYNCED_FILE).read_bytes()
    except FileNotFoundError:
        return 0
    digits = content.strip(b"\0")
    if digits and not (len(digits) == 20 and digits.isdigit()):
        raise StoreCorrupt(f"{path}: the file {SYNCED_FILE} is damaged")
    return int(digits or b"0")


def sync_names(path: Path) -> None:
    """On return the names in `path` are on disk, where the system syncs directories at all."""
    if _has_locks:  # POSIX
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def logs_in(path: Path) -> set[str]:
    """The names of the write-ahead logs in `path`."""
    return {entry.name for entry in path.iterdir() if entry.name.endswith(".log")}


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock that RocksDB takes to write; for a process that has not taken it.

    Raises:
        StoreLocked: one has it open.
        StoreError: files cannot be locked here.
    """
    if not _has_locks:
        raise StoreError(f"{path}: a store cannot be held on this system")
    # The lock is the process's and ends with *any* descriptor of the file that it closes. Whoever
    # reads beside does not open it.
    descriptor = os.open(path / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StoreLocked(f"the store in {path} is in use by another process") from None
        yield
    finally:
        os.close(descriptor)


def link_files(path: Path, scratch: Path) -> None:
    """Make `scratch` with the tables and logs of `path`, but logs that would be read for ever.

    They are links where the file system has them, for neither kind is written to again.
    """
    scratch.mkdir(mode=0o700)
    for file in sorted(path.iterdir()):
        if file.suffix == ".log":
            try:
                check_kinds(path, file)
            except StoreCorrupt:
                continue
        elif file.suffix != ".sst":
            continue
        try:
            os.link(file, scratch / file.name)
        except OSError:
            shutil.copyfile(file, scratch / file.name)
