"""The command `node`: a node in the foreground, until it is told to stop."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import click

from dinemic.cli.common import of_a_home, print_json, told_to_stop
from dinemic.logs import LEVELS, printable
from dinemic_engine.errors import TransportError
from dinemic_engine.ids import short, to_text

if TYPE_CHECKING:
    from dinemic.net import Divergence, PeerStatus
    from dinemic.node import Node

_Links: TypeAlias = "Mapping[str, PeerStatus]"
"""Open links, by the peer's node id."""
_Line: TypeAlias = tuple[Mapping[str, object], str]
"""What is told: as JSON, and in words."""

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
    "--transport",
    type=click.Choice(["tcp", "iroh"]),
    help="How nodes are reached.  [default: tcp]",
)
@click.option("--iroh-relay", metavar="URL", help="With iroh: a relay's URL, or n0 for the public.")
@click.option(
    "--allow",
    metavar="NODE",
    multiple=True,
    help="Talk to this node id and to no other. May be repeated.",
)
@click.option(
    "--deny",
    metavar="NODE",
    multiple=True,
    help="Do not talk to this node id, allowed or not. May be repeated.",
)
@click.option(
    "--model",
    "models",
    metavar="NAME",
    multiple=True,
    help="Hold this model. May be repeated.  [default: all]",
)
@click.option(
    "--relay", is_flag=True, help="Keep and pass on what others make; hold no keys, make nothing."
)
@click.option(
    "--durability",
    type=click.Choice(["group", "sync"]),
    help="When writes go to disk.  [default: group]",
)
@click.option("--loglevel", type=click.Choice([*LEVELS]), help="What is logged on stderr.")
@click.option("--metrics", metavar="HOST:PORT", help="Serve figures for Prometheus here.")
@of_a_home
def node(
    listen: str | None,
    peers: tuple[str, ...],
    cluster: str | None,
    no_discover: bool,
    transport: str | None,
    iroh_relay: str | None,
    allow: tuple[str, ...],
    deny: tuple[str, ...],
    models: tuple[str, ...],
    relay: bool,
    durability: str | None,
    loglevel: str | None,
    metrics: str | None,
    home: Path | None,
    as_json: bool,
) -> None:
    """Run a node until Ctrl-C or SIGTERM; then put everything on disk and end with code 0.

    A line tells of each peer that comes or goes, and of each model a peer with the same events
    judges differently (a divergence). With --json each line is one JSON document.
    What is not given here comes from DINEMIC_... in the environment and dinemic.toml in the home.
    The secrets only from there, because other users see the command line: DINEMIC_CLUSTER_KEY and
    DINEMIC_PASSPHRASE.

    Example: dinemic node --listen 0.0.0.0:4711 --peer 192.0.2.7:4711
    """
    from dinemic import running

    with told_to_stop() as stop:
        running_node = running.launch(
            home,
            listen=listen,
            peers=peers or None,
            cluster=cluster,
            discover=False if no_discover else None,
            transport=transport,
            iroh_relay=iroh_relay,
            allow=allow or None,
            deny=deny or None,
            models=models or None,
            relay=True if relay else None,
            durability=durability,
            loglevel=loglevel,
            metrics=metrics,
        )
        try:
            _follow(running_node, stop, as_json=as_json)
        finally:
            running.shutdown()
    _say({"event": "stopped"}, "stopped", as_json=as_json)


def _follow(node: Node, stop: threading.Event, *, as_json: bool) -> None:
    """Tell of the node and its peers until `stop` is set.

    Raises:
        TransportError: the network ended by itself.
    """
    network = node.network
    assert network is not None, "launch starts it"
    _say(*_started(node, list(network.addresses)), as_json=as_json)
    before: _Links = {}
    while True:
        status = network.status()
        if status.error is not None:
            raise TransportError(f"the network has stopped: {status.error}")
        now = {peer.node_id: peer for peer in status.peers if peer.state == "open"}
        for document, text in _changes(before, now):
            _say(document, text, as_json=as_json)
        before = now
        if stop.wait(_LOOK_SECONDS):
            return


def _started(node: Node, addresses: list[str]) -> _Line:
    node_id, home, metrics = to_text(node.node_id), str(node.config.home), node.status().metrics
    document = {"event": "started", "node": node_id, "home": home, "addresses": addresses}
    text = [f"node {node_id}", f"home {printable(home)}"]
    text += [f"listening on {address}" for address in addresses]
    if metrics is not None:
        text.append(f"metrics on http://{metrics}/metrics")
    return {**document, "metrics": metrics}, "\n".join(text)


def _changes(before: _Links, now: _Links) -> Iterator[_Line]:
    """What to tell of the open links of two moments: peers first, then alarms (VETO-4)."""
    for change, came in (
        ("connected", {name: now[name] for name in now.keys() - before.keys()}),
        ("disconnected", {name: before[name] for name in before.keys() - now.keys()}),
    ):
        for name, peer in sorted(came.items()):
            document = {"event": change, "node": name, "address": peer.address}
            yield document, f"{change}: {short(name)} at {peer.address}"
    for name, peer in sorted(now.items()):
        was = _alarms(before.get(name))
        for model, alarm in _alarms(peer).items():
            if alarm is not None and was.get(model) is None:
                yield _diverged(name, alarm)
            elif alarm is None and was.get(model) is not None:
                document = {"event": "agreement", "node": name, "model": model}
                yield document, f"agreement with {short(name)} in {model} again"


def _diverged(name: str, alarm: Divergence) -> _Line:
    where = "here and not there" if alarm.effective_here else "there and not here"
    text = f"DIVERGENCE with {short(name)} in {alarm.model}: event {short(alarm.event_id)} has "
    text += f"effect {where}; run 'dinemic audit' on both nodes"
    return {"event": "divergence", "node": name, **asdict(alarm)}, text


def _alarms(peer: PeerStatus | None) -> dict[str, Divergence | None]:
    """The alarm that is on, or none, by model."""
    return {} if peer is None else {model.model: model.divergence for model in peer.models}


def _say(document: Mapping[str, object], text: str, *, as_json: bool) -> None:
    if as_json:
        print_json(document, line=True)
    else:
        click.echo(text)
