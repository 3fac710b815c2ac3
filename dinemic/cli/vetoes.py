"""The commands `vetoes list` and `vetoes lift`: what this home's guards refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click

from dinemic.cli.common import Home, find_object, of_a_home, print_json, reading
from dinemic.cli.tables import print_table
from dinemic.cli.words import op_json, op_text, plural, time_text
from dinemic.config import Config
from dinemic.logs import printable
from dinemic.node import DRAIN_S, Node
from dinemic_engine.event import Event
from dinemic_engine.ids import ObjectId, db_id, short, to_text
from dinemic_engine.vetoes import Veto, Withheld


class _Listed(NamedTuple):
    """An event without effect in this home."""

    object: str
    event: Event
    veto: Veto | None


@click.group(invoke_without_command=True)
@click.pass_context
def vetoes(context: click.Context) -> None:
    """List what the guards of a home refused; have it judged again.

    A veto hides an event in this home and nowhere else: the event stays in the log and is passed
    on. Without a command it is `dinemic vetoes list`.
    """
    if context.invoked_subcommand is None:
        context.invoke(list_vetoes, objects=(), home=None, as_json=False)


@vetoes.command("list")
@click.argument("objects", nargs=-1)
@of_a_home
def list_vetoes(objects: tuple[str, ...], home: Path | None, as_json: bool) -> None:
    """List the events that have no effect in a home: refused by a guard, or yet to be seen by one.

    OBJECTS are ids or beginnings of ids; without any, those of all objects are listed.

    Example: dinemic vetoes list Person:mfzw
    """
    with reading(home) as here:
        found = list(_listed(here, [find_object(here.view, text) for text in objects]))
    if as_json:
        print_json({"vetoes": [_json(each) for each in found]})
        return
    rows = [
        (
            each.object,
            short(each.event.id),
            time_text(each.event.t),
            "; ".join(map(op_text, each.event.ops)),
            "waits for the guards" if each.veto is None else printable(each.veto.guard),
            "" if each.veto is None else printable(each.veto.reason),
        )
        for each in found
    ]
    if rows:
        print_table(("object", "event", "time", "what", "guard", "reason"), rows)
    waiting = sum(each.veto is None for each in found)
    told = f"{plural(len(found) - waiting, 'veto', 'vetoes')}"
    click.echo(told if not waiting else f"{told}, {plural(waiting, 'event')} waiting")


@vetoes.command("lift")
@click.argument("events", nargs=-1, required=True)
@of_a_home
def lift_vetoes(events: tuple[str, ...], home: Path | None, as_json: bool) -> None:
    """Take vetoes back: the guards are asked again.

    EVENTS are ids of events, or beginnings of them, as `dinemic vetoes list` shows them. Guards are
    part of a program: what they want to see takes effect, or is refused again, when that program
    runs with this home; what no guard of the home wants to see takes effect now. No node may be
    running with the home.

    Example: dinemic vetoes lift 9uq08fojpq
    """
    config = Config.load({"home": home, "store": "rocksdb"}, os.environ)
    with reading(home) as here:
        known = [each for each in _listed(here, []) if each.veto is not None]
    lifted = [_find(known, text) for text in dict.fromkeys(events)]
    node = Node.open(config)
    try:
        for each in lifted:
            node.lift_veto(each.event.id)
        node.listeners.drain(DRAIN_S)
        rows = [node.view.withheld(each.event.object) for each in lifted]
    finally:
        node.close()
    waits = [
        any(each.event.id == found.event for found in withheld)
        for each, withheld in zip(lifted, rows, strict=True)
    ]
    if as_json:
        told = [
            {"event": to_text(each.event.id), "waiting": waiting}
            for each, waiting in zip(lifted, waits, strict=True)
        ]
        print_json({"lifted": told})
        return
    for each, waiting in zip(lifted, waits, strict=True):
        what = "waits for its guard" if waiting else "has effect now"
        click.echo(f"event {short(each.event.id)} of {each.object} {what}")


def _listed(here: Home, objects: list[tuple[str, ObjectId]]) -> Iterator[_Listed]:
    for model, object_id in objects or here.view.objects(removed=True):
        withheld: list[Withheld] = here.view.withheld(object_id)
        for each in withheld:
            yield _Listed(db_id(model, object_id), here.view.event(each.event), each.veto)


def _find(known: list[_Listed], text: str) -> _Listed:
    """The vetoed event that `text` is, or is the beginning of.

    Raises:
        click.BadParameter: it fits none, or several.
    """
    found = [each for each in known if text and to_text(each.event.id).startswith(text)]
    if len(found) != 1:
        raise click.BadParameter(f"{text[:60]!r} fits {plural(len(found), 'vetoed event')}")
    return found[0]


def _json(each: _Listed) -> dict[str, object]:
    return {
        "object": each.object,
        "event": to_text(each.event.id),
        "author": to_text(each.event.author),
        "t": each.event.t,
        "time": time_text(each.event.t),
        "ops": [op_json(op) for op in each.event.ops],
        "waiting": each.veto is None,
        "guard": None if each.veto is None else each.veto.guard,
        "reason": None if each.veto is None else each.veto.reason,
    }
