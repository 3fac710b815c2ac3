"""The commands that ask a running node: `status` and `peers`."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Final

import click

from dinemic.cli import figures, watch
from dinemic.cli.common import of_a_home, print_json, reading, told_to_stop
from dinemic.cli.tables import print_table
from dinemic.cli.words import plural
from dinemic.config import Config
from dinemic.logs import printable
from dinemic_engine.errors import UsageError

_INTERVAL_SECONDS: Final = (0.1, 1.0, 3600.0)
"""Least, default and most."""


@click.command()
@click.option("--watch", "watching", is_flag=True, help="Look again and again, until Ctrl-C.")
@click.option(
    "--interval",
    type=click.FloatRange(_INTERVAL_SECONDS[0], _INTERVAL_SECONDS[2]),
    default=_INTERVAL_SECONDS[1],
    metavar="SECONDS",
    help="How often to look with --watch.  [default: 1]",
)
@of_a_home
def status(watching: bool, interval: float, home: Path | None, as_json: bool) -> None:
    """Print what the node that runs with a home is doing; without one, what is in the home.

    The node tells it through the socket live.sock in its home, which only its user can open and
    which tells and takes nothing. With --watch figures, rates and peers are shown until Ctrl-C or
    until the node ends: on a terminal in place if rich is installed, else a line for each look.

    Example: dinemic status --watch
    """
    if math.isnan(interval):  # which is in every range
        raise click.BadParameter("it is not a number", param_hint="--interval")
    where = _home(home)
    if watching:
        with told_to_stop() as stop:
            watch.follow(where, interval, stop, as_json=as_json)
        return
    with figures.asked(where) as document:
        if document is None:
            _print_resting(home, as_json=as_json)
        elif as_json:
            print_json(document)
        else:
            for name, words in figures.figures(document):
                click.echo(printable(f"{name:<11} {words}"))


def _print_resting(home: Path | None, *, as_json: bool) -> None:
    """What can be told of a home no node was launched with."""
    with reading(home) as here:
        tip = here.view.tip()
        found = {"running": False, "home": str(here.config.home)}
        if as_json:
            print_json(found | {"objects": tip.objects, "events": tip.seq})
            return
        click.echo(printable(f"home        {here.config.home}"))
        click.echo("running     no node was launched with this home")
        click.echo(f"objects     {tip.objects}")
        click.echo(f"events      {tip.seq}")


@click.command()
@of_a_home
def peers(home: Path | None, as_json: bool) -> None:
    """List the nodes that the running node has links with, and how far each is known to agree.

    "behind by 3" is of this node: the peer has so many events more. "lag" is for how long a model
    has differed, "score" what the peer is worth, "in", "out" and "refused" count events. Exit code
    2 if no node runs with the home.

    Example: dinemic peers --home ./server
    """
    where = _home(home)
    with figures.asked(where) as document:
        if document is None:
            raise UsageError(f"no node was launched with {where}: see `dinemic node`")
        found = figures.peers_of(document)
        if as_json:
            print_json({"home": document["home"], "node_id": document["node_id"], "peers": found})
            return
        rows = [figures.peer_row(peer, full=True) for peer in found]
        print_table(figures.PEER_HEADERS, rows)
        click.echo(plural(len(rows), "peer"))


def _home(home: Path | None) -> Path:
    return Config.load({"home": home}, os.environ).home
