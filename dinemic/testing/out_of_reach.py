"""Clock, randomness and the world outside, out of reach of code that must do without.

Functions of the standard library are replaced in their modules, and wherever the module of that
code keeps them under a name of its own (``from time import time``); what opens files, sockets and
processes tells the interpreter's audit hooks, so those are heard of however they were reached.
Other threads notice nothing.
"""

from __future__ import annotations

import datetime
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, ModuleType
from typing import Any, Final

_CLOCKS: Final = (
    "gmtime localtime monotonic monotonic_ns perf_counter perf_counter_ns process_time "
    "process_time_ns strftime time time_ns"
)
_HEARD: Final = ("open", "os.", "shutil.", "socket.", "subprocess.", "tempfile.", "time.sleep")
"""How the names of audit events begin that mean the world outside."""

_here: Final = threading.local()
"""`found` is a list while something runs in this thread that must reach for nothing."""


class OutOfReach(Exception):
    """Raised where something is reached for that is out of reach."""


@contextmanager
def out_of_reach(module: ModuleType) -> Iterator[list[str]]:
    """A block whose code, of that module, reaches nothing; what it tried to is in the list."""
    _listen()
    places = [*_PLACES, *_borrowed(module)]
    before = [getattr(place, name) for place, name, _ in places]
    found: list[str] = []
    for place, name, replacement in places:
        setattr(place, name, replacement)
    _here.found = found
    try:
        yield found
    finally:
        _here.found = None
        for (place, name, _), real in zip(places, before, strict=True):
            setattr(place, name, real)


def _refuse(what: str) -> None:
    """Note what was reached for, and raise; nothing in a thread that may reach for everything."""
    found: list[str] | None = getattr(_here, "found", None)
    if found is not None:
        found.append(what)
        raise OutOfReach(f"{what} is out of reach of a guard")


def _refusing(what: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> Any:
        _refuse(what)
        return real(*args, **options)

    return call


class _Datetime(datetime.datetime):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        _refuse("datetime.now")
        return datetime.datetime.now(tz)

    @classmethod
    def utcnow(cls) -> Any:
        _refuse("datetime.utcnow")
        return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)

    @classmethod
    def today(cls) -> Any:
        _refuse("datetime.today")
        return datetime.datetime.now()


def _replaced() -> Iterator[tuple[ModuleType, str, object]]:
    for name in _CLOCKS.split():
        yield time, name, _refusing(f"time.{name}", getattr(time, name))
    for name in random.__all__:
        real = getattr(random, name)
        if not isinstance(real, type):
            yield random, name, _refusing(f"random.{name}", real)
    yield random, "_urandom", _refusing("os.urandom", os.urandom)
    yield os, "urandom", _refusing("os.urandom", os.urandom)
    yield datetime, "datetime", _Datetime


_REAL: Final = {id(getattr(place, name)): (place, name) for place, name, _ in _replaced()}
_PLACES: Final = tuple(_replaced())


def _borrowed(module: ModuleType) -> list[tuple[ModuleType, str, object]]:
    """Where a module keeps one of them under a name of its own."""
    by_place = {(place, name): replacement for place, name, replacement in _PLACES}
    return [
        (module, name, by_place[_REAL[id(value)]])
        for name, value in list(vars(module).items())
        if id(value) in _REAL and module not in (time, random, os, datetime)
    ]


_listening = False


def _listen() -> None:
    """Hear of audit events from now on: a hook cannot be taken away, only be deaf."""
    global _listening
    if not _listening:
        _listening = True
        sys.addaudithook(_heard)


def _heard(event: str, args: tuple[object, ...]) -> None:
    if getattr(_here, "found", None) is None or not event.startswith(_HEARD):
        return
    if not _is_importing():  # the first import inside of a function reads files
        _refuse(event)


def _is_importing() -> bool:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
