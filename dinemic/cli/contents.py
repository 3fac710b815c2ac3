"""What `show` and `replay` print of lists, dicts, counters and sets."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

import click

from dinemic.cli.tables import print_table
from dinemic.cli.words import Json, plural, value_json, value_text
from dinemic.contents import Content, Unseal, contents
from dinemic_engine.collections_view import Collections
from dinemic_engine.ids import ObjectId
from dinemic_engine.view import View

_SHOWN_MAX: Final = 20
"""Values of one field that are printed in words; as JSON all of them are."""


def contents_json(view: View, object_id: ObjectId, unseal: Unseal) -> dict[str, Json]:
    """By stored key: ``values`` of a list or set, ``entries`` of a dict, ``sum`` of a counter."""
    found: dict[str, Json] = {}
    for stored, content, locked in contents(Collections(view.rows), object_id, unseal):
        shown: Json
        if isinstance(content, int):
            shown = {"sum": content}
        elif isinstance(content, dict):
            shown = {"entries": {key: value_json(value) for key, value in content.items()}}
        else:
            shown = {"values": [value_json(value) for value in content]}
        found[stored] = {**shown, "locked": locked}
    return found


def print_contents(view: View, object_id: ObjectId, unseal: Unseal) -> None:
    """One table for each that is not empty."""
    for stored, content, locked in contents(Collections(view.rows), object_id, unseal):
        kind, _, name = stored.partition("_")
        click.echo()
        if isinstance(content, int):
            click.echo(f"{kind} {name}: {content}{_without(locked)}")
            continue
        words = {"list": ("element", ""), "dict": ("entry", "entries"), "set": ("value", "")}
        count = plural(len(content), *words[kind])
        click.echo(f"{kind} {name}: {count}{_without(locked)}")
        head = ("key" if isinstance(content, dict) else "", "value")
        print_table(head, list(islice(_rows(kind, content), _SHOWN_MAX)))
        if len(content) > _SHOWN_MAX:
            click.echo(f"and {len(content) - _SHOWN_MAX} more")


def _without(locked: int) -> str:
    return f" ({locked} sealed, not opened)" if locked else ""


def _rows(kind: str, content: Content) -> Iterator[tuple[str, str]]:
    assert not isinstance(content, int), "a counter has no rows"
    if isinstance(content, dict):
        for key, value in content.items():
            yield value_text(key), value_text(value)
        return
    for index, value in enumerate(content):
        yield str(index) if kind == "list" else "", value_text(value)
