"""Small files that only their owner may read, written whole or not at all, and what is in them.

A file is written under another name, synced and renamed, and its directory is synced before the
call returns; a crash leaves the whole file or an unfinished one under the other name.

The content is one canonical CBOR array, ``[form, version, ..., sum]``; the last element is the
SHA-256 of the array of the others, so that damage is told from a wrong passphrase.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from dinemic_engine import canonical
from dinemic_engine.canonical import Value
from dinemic_engine.errors import InvalidEvent, StoreCorrupt, StoreError, StoreFull

UNFINISHED_PREFIX: Final = ".unfinished-"

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def make_directory(directory: Path) -> None:
    """Make `directory` and what is missing above it, closed to other users and durable."""
    if directory.is_dir():
        return
    make_directory(directory.parent)
    directory.mkdir(mode=0o700, exist_ok=True)  # exists by now: another thread made it
    sync_directory(directory.parent)


def names_in(directory: Path) -> frozenset[str]:
    """The names in a directory that other users may not enter.

    Raises:
        StoreError: they may.
    """
    mode = directory.stat().st_mode
    if mode & _OTHERS:
        raise StoreError(f"other users may enter {directory}: chmod 700 it if that is a mistake")
    return frozenset(os.listdir(directory))


def read(path: Path, bytes_max: int) -> bytes:
    """The whole of a small file that nobody else may read.

    Raises:
        StoreCorrupt: gone, larger, or no file.
        StoreError: other users may read it.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe would wait
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise StoreCorrupt(f"{path} is gone") from None
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise StoreCorrupt(f"{path} is not a file")
        if mode & _OTHERS:
            raise StoreError(f"other users may read {path}: chmod 600 it if that is a mistake")
        data = os.read(descriptor, bytes_max + 1)
    finally:
        os.close(descriptor)
    if len(data) > bytes_max:
        raise StoreCorrupt(f"{path} is larger than any key file")
    return data


def write(path: Path, data: bytes) -> None:
    """Make a file that was not there, durably; after an error it is not there either."""
    with placing(path) as file:
        file.write(data)


@contextlib.contextmanager
def placing(path: Path, mode: int = 0o600) -> Iterator[BinaryIO]:
    """A file to write into, at `path` and on disk when the block has ended without an error."""
    placed = path.parent / (UNFINISHED_PREFIX + os.urandom(8).hex())
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(placed, flags, mode), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        placed = placed.rename(path)
        sync_directory(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):  # the first error is the one to report
            placed.unlink()
        raise


def sync_directory(directory: Path) -> None:
    """On return the names in `directory` are on disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """The system's errors as ours, naming the path."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFull(f"no room left for {path}") from error
        raise StoreError(f"{path}: {error}") from error


# -- content --------------------------------------------------------------------------------------


def encode(form: str, version: int, *elements: Value) -> bytes:
    """The bytes of a file of that form and version."""
    body: list[Value] = [form, version, *elements]
    return canonical.encode([*body, _sum(body)])


def decode_untrusted(path: Path, data: bytes, form: str, version: int) -> list[Value]:
    """The elements between the version and the sum.

    Raises:
        StoreCorrupt: not the bytes `encode` made, or of another form.
        StoreError: of a version made by a later release.
    """
    try:
        value = canonical.decode_untrusted(data)
    except InvalidEvent:  # its detail may quote the file
        raise StoreCorrupt(f"{path} was cut short or damaged") from None
    match value:
        case [*body, bytes(found)] if found == _sum(body):
            pass
        case _:
            raise StoreCorrupt(f"{path} was damaged")
    match body:
        case [found_form, found_version, *elements] if (
            found_form == form and type(found_version) is int
        ):
            if found_version != version:
                raise StoreError(
                    f"{path} is of version {found_version}; this release reads {version}"
                )
            return elements
        case _:
            raise StoreCorrupt(f"{path} is not a {form} file")


def _sum(body: list[Value]) -> bytes:
    return hashlib.sha256(canonical.encode(body)).digest()
