"""Bundles: whole objects in one file, carried where no network goes.

The signed events as they are, each behind its length, and a sum at the end:

    64696e656d69632f62756e646c652f31 0a    "dinemic/bundle/1" and a newline
    length  event                          4 bytes, 1..1,048,576, and that many; as often as needed
    ...
    00000000                               no more events
    count                                  8 bytes: how many there were
    sum                                    32 bytes: SHA-256 of everything before

All numbers are big-endian. Objects follow each other, each with all its events in the order of
(t, id): so a genesis begins its object and parents come before their children. The count stands at
the end so that a bundle can be written in one go, to anything that takes bytes.

The sum shows damage and not forgery: anybody can make one. What can be believed of a bundle is
what its events sign, which `bundle_audit` finds out. Here bytes are told apart, one event at a time
in memory, and no length is believed before it is compared with what an event may have.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final

from dinemic_engine.errors import BundleError
from dinemic_engine.limits import EVENT_BYTES_MAX

_FORMAT: Final = b"dinemic/bundle/"
MAGIC: Final = _FORMAT + b"1\n"
"""What every bundle begins with; a later version has another number there."""

_LENGTH_BYTES: Final = 4
_COUNT_BYTES: Final = 8
_SUM_BYTES: Final = 32


def write(out: BinaryIO, objects: Iterable[Iterable[bytes]]) -> int:
    """Write a bundle of the signed events of each object in turn; how many events there were.

    The events of one object come in the order of (t, id), all of them. Nothing of that is checked
    here.
    """
    digest = hashlib.sha256()
    count = 0

    def put(data: bytes) -> None:
        digest.update(data)
        out.write(data)

    put(MAGIC)
    for events in objects:
        for raw in events:
            assert 0 < len(raw) <= EVENT_BYTES_MAX, "no event is empty or larger (EV-1)"
            put(len(raw).to_bytes(_LENGTH_BYTES, "big"))
            put(raw)
            count += 1
    put(bytes(_LENGTH_BYTES))
    put(count.to_bytes(_COUNT_BYTES, "big"))
    out.write(digest.digest())
    return count


def read_untrusted(file: BinaryIO) -> Iterator[bytes]:
    """The events of a bundle as they stand in it, from where `file` is; not one is opened.

    Whoever iterates to the end has read a whole bundle, and nothing else was in the file.

    Raises:
        BundleError: no bundle, or of a later version; while iterating: cut short, damaged, or not
            ending where it says.
    """
    magic = _read(file, len(MAGIC))
    if magic != MAGIC:
        if magic.startswith(_FORMAT) and len(magic) == len(MAGIC):
            raise BundleError("a bundle of another version; this release reads version 1")
        raise BundleError("not a bundle")
    return _events(file)


def _events(file: BinaryIO) -> Iterator[bytes]:
    digest = hashlib.sha256(MAGIC)
    count = 0

    def take(size: int) -> bytes:
        data = _read(file, size)
        if len(data) < size:
            raise BundleError(f"cut short after {count} events")
        digest.update(data)
        return data

    while length := int.from_bytes(take(_LENGTH_BYTES), "big"):
        if length > EVENT_BYTES_MAX:
            raise BundleError(
                f"event number {count + 1} claims {length} bytes and none has more than "
                f"{EVENT_BYTES_MAX}"
            )
        raw = take(length)
        count += 1
        yield raw
    told = int.from_bytes(take(_COUNT_BYTES), "big")
    if told != count:
        raise BundleError(f"{count} events are here, and it tells of {told}")
    expected = digest.digest()
    found = take(_SUM_BYTES)
    if found != expected:
        raise BundleError("the sum at its end is that of other bytes")
    if file.read(1):
        raise BundleError("something follows its end")


def _read(file: BinaryIO, size: int) -> bytes:
    """`size` bytes, fewer only at the end of the file."""
    parts: list[bytes] = []
    while size and (part := file.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
