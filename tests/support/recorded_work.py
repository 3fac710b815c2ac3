"""A process that works on a home while `disk_recorder.c` notes what it does to the disk.

Every file below the home's parent is recorded, and what it says on standard output. It ends by
kill -9, with its last session open.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from dinemic import doctor
from dinemic_engine.event import open_event_untrusted
from dinemic_engine.store import rocks
from support.crash_work import Work
from support.disk_recording import Record, read_journal
from support.graphs import CLERK, OWNER
from support.nodes import Linked, opened
from support.planting import interpret

REPAIR: Final = ("repair",)
"""The session that is no node's but the doctor's."""


def record(
    recorder: Path,
    home: Path,
    sessions: Sequence[Sequence[str]],
    *,
    durability: str = "group",
    buffer_bytes: int = rocks.WRITE_BUFFER_BYTES,
) -> list[Record]:
    """Let another process run sessions of `crash_work` scripts, and what it did to the disk."""
    journal = home.parent.with_suffix(".journal")
    request = [str(home), str(journal), sessions, durability, buffer_bytes]
    process = subprocess.run(
        [*interpret("support.recorded_work"), json.dumps(request)],
        cwd=Path(__file__).parents[1],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "LD_PRELOAD": str(recorder),
        },
        stdout=subprocess.DEVNULL,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL, "it came to its end and was killed there"
    return read_journal(journal)


def _say(kind: str, value: Any) -> None:
    os.write(sys.stdout.fileno(), json.dumps([kind, value]).encode() + b"\n")


def _announce(_: str, events: Sequence[bytes]) -> None:
    for raw in events:
        event = open_event_untrusted(raw)
        if event.is_genesis and event.author not in (OWNER.id, CLERK.id):
            _say("announced", event.id.hex())


def _run(home: Path, script: Sequence[str], durability: str, *, is_last: bool) -> None:
    if tuple(script) == REPAIR:
        doctor.rebuild(home)
        _say("repaired", None)
        return
    with opened(home, "rocksdb", durability=durability) as node:
        Linked(node).announce = _announce
        Work(node, _say).run(script)
        if is_last:
            os.kill(os.getpid(), signal.SIGKILL)


def main(home: str, journal: str, sessions: list[list[str]], durability: str, buffer: int) -> None:
    """Run the sessions one after the other, and be killed."""
    to = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    root = os.fsencode(Path(home).parent)
    ctypes.CDLL(None).disk_record(root, to, sys.stdout.fileno())
    rocks.WRITE_BUFFER_BYTES = buffer  # type: ignore[misc]
    for number, script in enumerate(sessions, 1):
        _run(Path(home), script, durability, is_last=number == len(sessions))
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(*json.loads(sys.argv[1]))
