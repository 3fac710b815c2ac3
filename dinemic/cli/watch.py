"""`status --watch`: looks at a running node, again and again."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import click

from dinemic.cli import figures
from dinemic.cli.common import print_json
from dinemic.cli.tables import drawn, terminal
from dinemic.logs import printable
from dinemic_engine.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Group

Rates: TypeAlias = dict[str, float] | None
Show: TypeAlias = Callable[[figures.Document, Rates], None]


def follow(home: Path, interval: float, stop: threading.Event, *, as_json: bool) -> None:
    """Show what the node does every `interval` seconds, until it ends or `stop` is set.

    Raises:
        UsageError: no node was launched with that home.
    """
    before = None
    with _screen(as_json) as show:
        while not stop.is_set():
            with figures.asked(home) as document:
                if document is None:
                    break
                show(document, figures.rates(before, document))
            before = document
            stop.wait(interval)
        else:
            return
    if before is None:
        raise UsageError(f"no node was launched with {home}: see `dinemic node`")
    if as_json:
        print_json({"running": False, "home": str(home)}, line=True)
    else:
        click.echo("the node has ended")


@contextlib.contextmanager
def _screen(as_json: bool) -> Iterator[Show]:
    """What shows one look: in place on a terminal that can, else on a line of its own."""
    console = None if as_json else terminal()
    if as_json:
        yield lambda document, rates: print_json(document | {"rates": rates}, line=True)
    elif console is None:
        yield lambda document, rates: click.echo(printable(figures.line(document, rates)))
    else:
        from rich.live import Live

        # what is longer than the terminal ends in dots, so there is nothing to scroll or flicker
        with Live(console=console, auto_refresh=False) as live:
            yield lambda document, rates: live.update(_picture(document, rates), refresh=True)


def _picture(document: figures.Document, rates: Rates) -> Group:
    """The figures, what happens a second, and the peers that are furthest behind first."""
    from rich.console import Group
    from rich.text import Text

    peers = sorted(figures.peers_of(document), key=lambda peer: (-peer["behind"], peer["node_id"]))
    speed = "  ".join(f"{value:.1f} {name}" for name, value in (rates or {}).items())
    lines = [*figures.figures(document), ("a second", speed or "...")]
    return Group(
        *[Text(printable(f"{name:<11} {words}")) for name, words in lines],
        Text(),
        drawn(figures.PEER_HEADERS, [figures.peer_row(peer, full=False) for peer in peers]),
    )
