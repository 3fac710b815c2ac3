"""What the commands share: their options, opening a home for reading, naming an object."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final, TypeVar

import click

from dinemic.config import Config
from dinemic.logs import printable
from dinemic_engine.arrivals import check_tip
from dinemic_engine.errors import DinemicError, InvalidEvent, StoreCorrupt, StoreError
from dinemic_engine.ids import ObjectId, db_id, to_text
from dinemic_engine.store import Store, keyspace
from dinemic_engine.view import View

_Command = TypeVar("_Command", bound=Callable[..., Any])
_LISTED_MAX: Final = 10
"""Objects named when a prefix fits several."""


class Failed(click.ClickException):
    """The command ends with a message on stderr and exit code 2."""

    exit_code = 2

    def format_message(self) -> str:
        """The message; nothing in it moves the cursor or begins a line."""
        return printable(self.message)


class Commands(click.Group):
    """A group whose commands may raise `DinemicError`: a message and exit code, no traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was named."""
        try:
            return super().invoke(ctx)
        except DinemicError as error:
            raise Failed(str(error)) from error


def of_a_home(command: _Command) -> _Command:
    """Give a command the options --home and --json."""
    command = click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)
    return click.option(
        "--home",
        type=click.Path(path_type=Path),
        metavar="DIRECTORY",
        help="The home to look at.  [default: DINEMIC_HOME, else the user's own]",
    )(command)


@dataclass(frozen=True, slots=True)
class Home:
    """A home opened for reading."""

    config: Config
    store: Store
    view: View


@contextlib.contextmanager
def reading(home: Path | None, *, check: bool = True) -> Iterator[Home]:
    """The home at `home`, or the one the environment names, as of this moment.

    With `check` the store's end is walked first, so that a shorter log is not taken for all, and
    an error in the block that only damaged rows can bring about says so.

    Raises:
        StoreError: there is no store, or it cannot be read.
        StoreCorrupt: its rows contradict each other.
    """
    config = Config.load({"home": home}, os.environ)
    path = config.home / "store"
    if not path.is_dir():
        raise StoreError(f"there is no store in {config.home}: no node ever ran with that home")
    from dinemic_engine.store.rocks import RocksStore  # 50 ms that --help does not need

    store = RocksStore(path, read_only=True)
    try:
        if check and store.get(keyspace.FORMAT_KEY) is not None:
            check_tip(store)
        yield Home(config, store, View(store))
    except (StoreCorrupt, InvalidEvent, struct.error) as error:
        if not check:
            raise
        raise StoreCorrupt(f"{path}: {error}; `dinemic audit` names all that is wrong") from error
    finally:
        store.close()


@contextlib.contextmanager
def told_to_stop() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, from before the start until after the end."""
    stop = threading.Event()

    def tell(number: int, frame: FrameType | None) -> None:
        stop.set()

    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(each, tell) for each in signals]
    try:
        yield stop
    finally:
        for each, handler in zip(signals, before, strict=True):
            signal.signal(each, handler)


def find_object(view: View, text: str) -> tuple[str, ObjectId]:
    """Model and id of the object `text` names, removed ones included.

    `text` is a full id, or a beginning of one, with or without the model.

    Raises:
        click.BadParameter: it fits no object, or several.
    """
    found = [
        (model, object_id)
        for model, object_id in view.objects(removed=True)
        if db_id(model, object_id).startswith(text) or to_text(object_id).startswith(text)
    ]
    if len(found) == 1:
        return found[0]
    shown = repr(text[:120])
    if not found:
        raise click.BadParameter(f"no object here is called {shown}")
    names = [db_id(*each) for each in found[:_LISTED_MAX]]
    if len(found) > _LISTED_MAX:
        names.append(f"and {len(found) - _LISTED_MAX} more")
    raise click.BadParameter(f"{shown} fits {len(found)} objects: " + ", ".join(names))


def print_json(document: Mapping[str, object], *, line: bool = False) -> None:
    """One JSON document, over several lines or on one; ASCII, so no text in it can do harm."""
    click.echo(json.dumps(document, indent=None if line else 2, allow_nan=False))
