"""What a forked child may do with a store: nothing, and why it does not even try.

RocksDB's threads belong to the process that opened the first store. A child forked after that has
none of them, and closing or destroying a store there waits for them for ever.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from typing import Final

from dinemic_engine.errors import UsageError

_first_pid: int | None = None
"""The process that opened a RocksDB store first."""

_inherited: Final[weakref.WeakSet[object]] = weakref.WeakSet()


def check_not_forked() -> None:
    """Return if RocksDB works in this process, and note that it is used.

    Raises:
        UsageError: forked from a process that had a store open at some time.
    """
    global _first_pid
    if _first_pid is None:
        _first_pid = os.getpid()
    elif _first_pid != os.getpid():
        raise UsageError(
            "this process was forked from one that had a store open, and RocksDB does not survive "
            "that: start children with 'spawn', or fork before the first launch() or prepare()"
        )


def never_destroy_in_child(holder: object) -> None:
    """Let forked children keep `holder`, and the store it holds, until they end."""
    _inherited.add(holder)


def _keep_inherited() -> None:
    for holder in _inherited:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(holder))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_inherited)
