"""The command `node`: a node in the foreground, until it is told to stop."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

import click

from dinemic.cli.common import of_a_home, print_json
from dinemic.logs import LEVELS, printable
from dinemic_engine.errors import TransportError
from dinemic_engine.ids import short, to_text

if TYPE_CHECKING:
    from dinemic.node import Node

_LOOK_SECONDS: Final = 0.25
"""How often the peers are looked at, to tell who came and went."""


@click.command()
@click.option("--listen", metavar="HOST:PORT", help="Where to listen; port 0 is any free one.")
@click.option(
    "--peer", "peers", metavar="HOST:PORT", multiple=True, help="Dial this. May be repeated."
)
@click.option("--cluster", metavar="NAME", help="The network's name.  [default: dinemic]")
@click.option("--no-discover", is_flag=True, help="Neither find nor be found.")
@click.option(
    "--allow",
    metavar="NODE",
    multiple=True,
    help="Talk to this node id and to no other. May be repeated.",
)
@click.option(
    "--model",
    "models",
    metavar="NAME",
    multiple=True,
    help="Hold this model. May be repeated.  [default: all]",
)
@click.option(
    "--durability",
    type=click.Choice(["group", "sync"]),
    help="When writes go to disk.  [default: group]",
)
@click.option("--loglevel", type=click.Choice([*LEVELS]), help="What is logged on stderr.")
@of_a_home
def node(
    listen: str | None,
    peers: tuple[str, ...],
    cluster: str | None,
    no_discover: bool,
    allow: tuple[str, ...],
    models: tuple[str, ...],
    durability: str | None,
    loglevel: str | None,
    home: Path | None,
    as_json: bool,
) -> None:
    """Run a node until Ctrl-C or SIGTERM; then put everything on disk and end with code 0.

    A line tells of each peer that comes or goes; with --json each line is one JSON document.
    What is not given here comes from DINEMIC_... in the environment and dinemic.toml in the home.
    The secrets only from there, because other users see the command line: DINEMIC_CLUSTER_KEY and
    DINEMIC_PASSPHRASE.

    Example: dinemic node --listen 0.0.0.0:4711 --peer 192.0.2.7:4711
    """
    from dinemic import running

    with _told_to_stop() as stop:
        running_node = running.launch(
            home,
            listen=listen,
            peers=peers or None,
            cluster=cluster,
            discover=False if no_discover else None,
            allow=allow or None,
            models=models or None,
            durability=durability,
            loglevel=loglevel,
        )
        try:
            _follow(running_node, stop, as_json=as_json)
        finally:
            running.shutdown()
    _say({"event": "stopped"}, "stopped", as_json=as_json)


@contextlib.contextmanager
def _told_to_stop() -> Iterator[threading.Event]:
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


def _follow(node: Node, stop: threading.Event, *, as_json: bool) -> None:
    """Tell of the node and its peers until `stop` is set.

    Raises:
        TransportError: the network ended by itself.
    """
    network = node.network
    assert network is not None, "launch starts it"
    where = list(network.addresses)
    started = {"event": "started", "node": to_text(node.node_id), "home": str(node.config.home)}
    text = f"node {to_text(node.node_id)}\nhome {printable(str(node.config.home))}"
    text += "".join(f"\nlistening on {address}" for address in where)
    _say({**started, "addresses": where}, text, as_json=as_json)
    connected: dict[bytes, str] = {}
    while True:
        status = network.status()
        if status.error is not None:
            raise TransportError(f"the network has stopped: {status.error}")
        now = {peer.node_id: peer.address for peer in status.peers if peer.state == "open"}
        for change, peers in (
            ("connected", now.keys() - connected.keys()),
            ("disconnected", connected.keys() - now.keys()),
        ):
            for peer in sorted(peers):
                address = (now | connected)[peer]
                document = {"event": change, "node": to_text(peer), "address": address}
                _say(document, f"{change}: {short(peer)} at {address}", as_json=as_json)
        connected = now
        if stop.wait(_LOOK_SECONDS):
            return


def _say(document: Mapping[str, object], text: str, *, as_json: bool) -> None:
    if as_json:
        print_json(document, line=True)
    else:
        click.echo(text)
