"""The commands `keys list`, `keys export` and `keys import`: what a home owns, and moving it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from dinemic import key_export, private_files
from dinemic.cli.common import Failed, Home, find_object, of_a_home, print_json, reading
from dinemic.cli.tables import print_table
from dinemic.cli.words import object_name, plural
from dinemic.config import EXPORT_PASSPHRASE, Config
from dinemic.keyring import Keyring, ObjectKeys
from dinemic.logs import printable
from dinemic.node import Node
from dinemic_engine.errors import NotOwned, StoreCorrupt
from dinemic_engine.ids import ObjectId, db_id, to_text

_PASSPHRASE_FILE_BYTES_MAX: Final = 4096
_Command = TypeVar("_Command", bound=Callable[..., Any])


def _with_passphrase(command: _Command) -> _Command:
    """Give a command the option --passphrase-file."""
    return click.option(
        "--passphrase-file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help=f"Read the passphrase from FILE (0600).  [default: {EXPORT_PASSPHRASE}, else ask]",
    )(command)


@click.group()
def keys() -> None:
    """List what a home owns; move ownership to another home.

    Whoever has the private keys of an object owns it. Keys leave a home only as a file sealed with
    a passphrase, and only by `dinemic keys export`.
    """


@keys.command("list")
@of_a_home
def list_keys(home: Path | None, as_json: bool) -> None:
    """List the objects whose private keys are in a home, and the id of its node.

    A keyring with a passphrase needs DINEMIC_PASSPHRASE.

    Example: dinemic keys list
    """
    with reading(home) as here:
        keyring = _keyring(here)
        node = to_text(keyring.node_key.public)
        owned = sorted(object_name(here.view, ObjectId(found)) for found in keyring.owned())
        known = {name: ":" in name for name in owned}
    if as_json:
        objects = [{"id": name, "known": known[name]} for name in owned]
        print_json({"node": node, "objects": objects})
        return
    click.echo(f"node  {node}")
    if owned:
        click.echo()
        rows = [(name, "" if known[name] else "no event of it is here yet") for name in owned]
        print_table(("object", ""), rows)
    click.echo(plural(len(owned), "object"))


@keys.command("export")
@click.argument("objects", nargs=-1, required=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="The file to make; it must not be there.",
)
@_with_passphrase
@of_a_home
def export_keys(
    objects: tuple[str, ...],
    out: Path,
    passphrase_file: Path | None,
    home: Path | None,
    as_json: bool,
) -> None:
    """Write the private keys of objects to a file sealed with a passphrase.

    OBJECTS are ids or beginnings of ids. Whoever has FILE and the passphrase owns the objects. The
    home keeps its keys and may be in use.

    Example: dinemic keys export Person:mfzw --out bob.keys
    """
    with reading(home) as here:
        found = dict.fromkeys(find_object(here.view, text) for text in objects)
        keyring = _keyring(here)
        owned = [_owned(here, keyring, object_id) for _, object_id in found]
    names = [db_id(*each) for each in found]
    key_export.write(out, owned, _passphrase(passphrase_file, new=True))
    if as_json:
        print_json({"file": str(out), "objects": names})
        return
    for name in names:
        click.echo(name)
    click.echo(printable(f"{plural(len(names), 'object')} written to {out}"))


def _owned(here: Home, keyring: Keyring, object_id: ObjectId) -> tuple[ObjectKeys, bytes]:
    """Keys and genesis of an object.

    Raises:
        NotOwned: the keys are not here.
    """
    found = keyring.get(object_id)
    if found is None:
        name = object_name(here.view, object_id)
        raise NotOwned(f"the private keys of {name} are not in this home")
    genesis = here.view.raw(object_id)
    if genesis is None:
        raise StoreCorrupt(f"{object_name(here.view, object_id)} has no genesis")
    return found, genesis[1]


@keys.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@_with_passphrase
@of_a_home
def import_keys(file: Path, passphrase_file: Path | None, home: Path | None, as_json: bool) -> None:
    """Make a home own the objects in a file of `dinemic keys export`: all of them, or none.

    No node may be running with the home; one that is not there yet is made. Keys that are there
    already stay, and other keys for the same object are refused. The objects themselves come from
    other nodes. A keyring with a passphrase needs DINEMIC_PASSPHRASE.

    Example: dinemic keys import bob.keys --home ./server
    """
    exported = key_export.read_untrusted(file, _passphrase(passphrase_file, new=False))
    config = Config.load({"home": home}, os.environ)
    node = Node.open(config)  # its lock on the store makes this process the keyring's only writer
    try:
        before = node.keyring.owned()
        node.keyring.add_all({each.object_id: each.keys for each in exported})
    finally:
        node.close()
    names = [db_id(each.model, each.object_id) for each in exported]
    new = sum(each.object_id not in before for each in exported)
    if as_json:
        print_json({"home": str(config.home), "objects": names, "new": new})
        return
    for name in names:
        click.echo(name)
    click.echo(printable(f"{plural(len(names), 'object')} owned by {config.home}, {new} new"))


def _keyring(here: Home) -> Keyring:
    return Keyring.open(here.config.home / "keys", here.config.passphrase, create=False)


def _passphrase(file: Path | None, *, new: bool) -> str:
    """The passphrase of an export, from the file, the environment or whoever is asked.

    Raises:
        StoreError: the file cannot be read, or others can read it.
        Failed: there is nobody to ask.
    """
    if file is not None:
        with private_files.disk_errors(file):
            data = private_files.read(file, _PASSPHRASE_FILE_BYTES_MAX)
        return os.fsdecode(data).removesuffix("\n").removesuffix("\r")
    given = os.environ.get(EXPORT_PASSPHRASE)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise Failed(
            f"no terminal to ask for a passphrase on: set {EXPORT_PASSPHRASE} "
            "or give --passphrase-file"
        )
    return str(
        click.prompt("Passphrase of the file", hide_input=True, confirmation_prompt=new, err=True)
    )
