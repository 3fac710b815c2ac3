"""The states a power cut can leave a store in, from what its files were at two moments.

    at the last flush    what is in it is on the disk
    now                  what came since may be there, in any part and any order

A file that grew has any length between the two and may have holes where pages never came, also one
that takes out some batches of a log exactly; one that is new may be there or not. That is more than
a disk can do, for RocksDB syncs its tables before it
names them; so some of these states must be refused, and none may pass for more than it is.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Mapping
from pathlib import Path

PAGE = 4096
_SILENT = ("LOG", "LOCK", "IDENTITY", "OPTIONS", "rocksdict")
"""Files that say nothing about rows."""

_RECORD = struct.Struct("<4xHB")

Files = Mapping[str, bytes]


def batches(log: bytes) -> list[tuple[int, int]]:
    """Where each batch of a log begins and ends, as far as its first block of 32 KiB goes."""
    found, at = [], 0
    while at + _RECORD.size <= min(len(log), 8 * PAGE):
        length, kind = _RECORD.unpack_from(log, at)
        if kind != 1:  # a batch in one piece
            break
        found.append((at, at + _RECORD.size + length))
        at = found[-1][1]
    return found


def files_of(store: Path) -> Files:
    """The files of a store that may be moving them."""
    while True:
        try:
            found = {
                file.name: file.read_bytes()
                for file in sorted(store.iterdir())
                if not file.name.startswith(_SILENT)
            }
        except FileNotFoundError:
            continue
        if {file.name for file in store.iterdir() if not file.name.startswith(_SILENT)} == set(
            found
        ):
            return found


def lay(files: Files, store: Path) -> None:
    """Make a store of files."""
    store.mkdir()
    for name, content in files.items():
        (store / name).write_bytes(content)


def torn(before: Files, now: Files, rng: random.Random) -> tuple[Files, bool]:
    """One of the states; and whether only logs were cut short in it, which must not hurt."""
    state = dict(now)
    harmless = True
    for name, content in now.items():
        kept = before.get(name, b"")
        if content == kept:
            continue
        tail = len(content) - len(kept)
        fresh = [batch for batch in batches(content) if batch[0] >= len(kept)]
        if name.endswith(".log") and rng.random() < 0.1 and len(fresh) > 2:
            first, last = sorted(rng.choices(fresh[:-1], k=2))
            state[name] = content[: first[0]] + content[last[1] :]
            harmless = False
        elif name.endswith(".log"):
            cut = len(kept) + rng.randint(0, tail)
            state[name] = content[:cut]
            if rng.random() < 0.5 and cut > len(kept):
                at = rng.randrange(len(kept), cut)
                at -= at % rng.choice((1, 512, PAGE))
                hole = rng.choice((512, PAGE, 8 * PAGE))
                start = max(at, len(kept))
                end = min(start + hole, cut)
                state[name] = content[:start] + bytes(end - start) + content[end:cut]
                harmless = False
        elif rng.random() < 0.3:
            harmless = False
            if name in before:
                state[name] = kept
            elif rng.random() < 0.5:
                del state[name]
            else:
                state[name] = content[: rng.randint(0, tail)]
    logs = [name for name in now if name.endswith(".log")]
    return state, harmless and len(logs) == 1
