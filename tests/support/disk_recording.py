"""What a power cut leaves of a directory, at any moment of a process that changed it.

The process runs with `disk_recorder.c` preloaded, which notes every call that changes a file or a
name, and every sync, in one order. Played back, a journal gives at each place what was on the disk
for sure and what was only on its way there::

    create a   write a   sync a   rename a b   write b   [cut]   sync folder
    `-- name --'-- data --'        `- name -'   `data'
                   on disk            either way, until the sync that comes too late

A file's data is on disk once that file was synced, a name once its directory was: nothing else is
relied on. What was not synced meets one of three fates:

* `Luck.BARE`: all of it is gone.
* `Luck.ORDERED`: a disk that does one thing after another was interrupted; the last write is torn.
* `Luck.SCATTERED`: of each sector any version since the sync, of names any changes, of lengths
  any. What is in between reads as zeros.

Invariant: played to the end and with nothing lost, a journal makes exactly what the directory
holds. `Disk.tree` with ``Luck.NONE`` is there to be compared: a call that was not seen (a write
through a mapping or inside the C library's own streams, `fallocate`, `copy_file_range`, a bare
system call) shows there. The store and the keyring make none of these. A sync that was not seen
(`msync`, `sync`) would show as something lost.

What it does not do: a sector is never torn inside, a rename within a directory happens or does not
(from one to another it is two changes), and a sync keeps its promise.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Final

SECTOR: Final = 512
_SOURCE: Final = Path(__file__).with_name("disk_recorder.c")

# A record is kind 1, inode 8, number 8, two lengths of 4, and two pieces of those lengths:
#   C created file, D directory, L another name   inode, path
#   U name is gone                                path
#   R renamed, X exchanged                        inode, inode of what was at the second; two paths
#   W written                                     inode, offset; data
#   T cut or grown                                inode, size
#   S synced                                      inode
#   H heard by who listens                        data
_HEAD: Final = struct.Struct("=BQQII")


@dataclass(frozen=True, slots=True)
class Record:
    """One call."""

    kind: str
    inode: int
    number: int
    first: bytes
    second: bytes


def read_journal(path: Path) -> list[Record]:
    """The calls of a process, of which the last may have been half noted when it was killed."""
    content, at, found = path.read_bytes(), 0, []
    while at + _HEAD.size <= len(content):
        kind, inode, number, first, second = _HEAD.unpack_from(content, at)
        at += _HEAD.size
        end = at + first + second
        if end > len(content):
            break
        found.append(
            Record(chr(kind), inode, number, content[at : at + first], content[at + first : end])
        )
        at = end
    return found


def build_recorder(folder: Path) -> Path | str:
    """The library to preload, or why there is none."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None or not Path("/proc/self/fd").is_dir():
        return "needs Linux and a C compiler"
    library = folder / "disk_recorder.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(_SOURCE)]
    subprocess.run(command, check=True)
    return library


class Luck(Enum):
    """What becomes of what was not synced."""

    NONE = "nothing is lost"
    BARE = "all of it is lost"
    ORDERED = "the end of it is lost"
    SCATTERED = "any of it is lost"


@dataclass(frozen=True, slots=True)
class Write:
    offset: int
    data: bytes

    def to(self, content: bytes) -> bytes:
        content = content.ljust(self.offset, b"\0")
        return content[: self.offset] + self.data + content[self.offset + len(self.data) :]


@dataclass(frozen=True, slots=True)
class Resize:
    size: int

    def to(self, content: bytes) -> bytes:
        return content[: self.size].ljust(self.size, b"\0")


Change = Write | Resize


@dataclass(eq=False)
class File:
    content: bytes = b""


@dataclass(eq=False)
class Folder:
    names: dict[str, File | Folder] = field(default_factory=dict)


Naming = Mapping[str, "File | Folder | None"]
"""A change of some names of one directory at once; None: the name is gone."""

Tree = Mapping[str, bytes | None]
"""Contents by path below the directory; None: a directory."""


class Disk:
    """What a directory holds for sure, and what is on its way there."""

    def __init__(self, root: Path) -> None:
        """Begin with what is there now, and take all of it for synced."""
        self.root: Final = root
        self.heard: Final[list[tuple[str, Any]]] = []
        """What the process had said: lines of JSON, [kind, value]."""
        self._nodes: dict[int, File | Folder] = {}
        self._unsynced: list[tuple[File, Change] | tuple[Folder, Naming]] = []
        self._top = self._scan(root)

    def _scan(self, path: Path) -> Folder:
        names: dict[str, File | Folder] = {}
        for each in path.iterdir():
            if each.is_dir():
                names[each.name] = self._scan(each)
            else:
                names[each.name] = File(each.read_bytes())
                self._nodes[each.stat().st_ino] = names[each.name]
        found = self._nodes[path.stat().st_ino] = Folder(names)
        return found

    def play(self, record: Record) -> None:
        """Let a call happen."""
        match record.kind:
            case "C" | "D":
                made = self._nodes[record.inode] = File() if record.kind == "C" else Folder()
                self._name(record.first, made)
            case "L":
                self._name(record.first, self._nodes[record.inode])
            case "U":
                self._name(record.first, None)
            case "R" | "X":
                self._move(record)
            case "W":
                self._change(record.inode, Write(record.number, record.first))
            case "T":
                self._change(record.inode, Resize(record.number))
            case "S":
                self._sync(self._nodes[record.inode])
            case "H":
                lines = record.first.decode().splitlines()
                self.heard.extend((kind, value) for kind, value in map(json.loads, lines))
            case _:
                raise ValueError(f"no call is noted as {record.kind!r}")

    def _change(self, inode: int, change: Change) -> None:
        file = self._nodes[inode]
        assert isinstance(file, File)
        self._unsynced.append((file, change))

    def _name(self, path: bytes, node: File | Folder | None) -> None:
        folder, name = self._place(path)
        self._unsynced.append((folder, {name: node}))

    def _move(self, record: Record) -> None:
        moved = self._nodes[record.inode]
        other = self._nodes[record.number] if record.kind == "X" else None
        folder, old = self._place(record.first)
        target, new = self._place(record.second)
        if folder is target:
            self._unsynced.append((folder, {old: other, new: moved}))
        else:
            self._unsynced += [(target, {new: moved}), (folder, {old: other})]

    def _place(self, path: bytes) -> tuple[Folder, str]:
        """The directory of a path as the process saw it, and the name in it."""
        *above, name = Path(os.fsdecode(path)).relative_to(self.root).parts
        folder = self._top
        for each in above:
            found = _names(folder, self._unsynced)[each]
            assert isinstance(found, Folder)
            folder = found
        return folder, name

    def _sync(self, node: File | Folder) -> None:
        if isinstance(node, File):
            node.content = _content(node, self._unsynced)
        else:
            node.names = _names(node, self._unsynced)
        self._unsynced = [each for each in self._unsynced if each[0] is not node]

    def tree(self, luck: Luck, rng: random.Random) -> Tree:
        """What is there after a power cut now."""
        kept = list(self._unsynced)
        if luck is Luck.BARE:
            kept = []
        elif luck is Luck.ORDERED and kept:
            kept = kept[: rng.randint(1, len(kept))]
            node, change = kept[-1]
            if isinstance(node, File) and isinstance(change, Write):
                kept.pop()
                sectors = list(_sectors(change))
                kept += [(node, each) for each in sectors[: rng.randint(0, len(sectors))]]
        elif luck is Luck.SCATTERED:
            kept = list(_scattered(kept, rng))
        return dict(_walk(self._top, kept, ""))


_Unsynced = Sequence[tuple[File, Change] | tuple[Folder, Naming]]


def _content(file: File, changes: _Unsynced) -> bytes:
    content = file.content
    for node, change in changes:
        if node is file:
            assert isinstance(change, Write | Resize)
            content = change.to(content)
    return content


def _names(folder: Folder, changes: _Unsynced) -> dict[str, File | Folder]:
    names: dict[str, File | Folder | None] = dict(folder.names)
    for node, change in changes:
        if node is folder:
            assert isinstance(change, Mapping)
            names.update(change)
    return {name: node for name, node in names.items() if node is not None}


def _walk(folder: Folder, changes: _Unsynced, above: str) -> Iterator[tuple[str, bytes | None]]:
    for name, node in sorted(_names(folder, changes).items()):
        path = above + name
        if isinstance(node, File):
            yield path, _content(node, changes)
        else:
            yield path, None
            yield from _walk(node, changes, f"{path}/")


def _scattered(changes: _Unsynced, rng: random.Random) -> Iterator[Any]:
    """Of names and lengths any changes; of every sector those up to some moment."""
    share = rng.random()
    until: dict[tuple[File, int], float] = {}
    for number, (node, change) in enumerate(changes):
        if not isinstance(change, Write):
            if rng.random() < share:
                yield node, change
            continue
        assert isinstance(node, File)
        for write in _sectors(change):
            place = node, write.offset // SECTOR
            if place not in until:
                until[place] = (
                    len(changes) if rng.random() < share else rng.randint(0, len(changes))
                )
            if number < until[place]:
                yield node, write


def _sectors(write: Write) -> Iterator[Write]:
    at, end = write.offset, write.offset + len(write.data)
    while at < end:
        until = min(end, at - at % SECTOR + SECTOR)
        yield Write(at, write.data[at - write.offset : until - write.offset])
        at = until


def tree_of(root: Path) -> Tree:
    """What is in a directory."""
    return {
        str(path.relative_to(root)): None if path.is_dir() else path.read_bytes()
        for path in sorted(root.rglob("*"))
    }


def lay(tree: Tree, root: Path) -> None:
    """Make a directory of what was found, closed to other users as all that a node makes is."""
    root.mkdir(mode=0o700)
    for name, content in tree.items():
        path = root / name
        if content is None:
            path.mkdir(mode=0o700)
        else:
            path.touch(mode=0o600)
            path.write_bytes(content)
