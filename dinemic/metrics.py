"""The figures of a node as Prometheus reads them: ``GET /metrics`` on an address of your choice.

The text is the exposition format 0.0.4 of Prometheus, all of it made here from one `Status`. A
label is a rule (of a closed list), a state or the short id of a peer, and of peers only the
PEERS_TOLD_MAX that are furthest behind: no key, value or name of a user is ever told, and nobody
outside can make the page long. Counters begin at zero when the node does.

HTTP is spoken as far as that takes: one request a connection, GET and HEAD, no body. Nobody is
asked who he is, so an address that others reach is warned of.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Final, NamedTuple

from dinemic._version import __version__
from dinemic.outlet import CONNECTIONS_MAX, Window
from dinemic_engine.errors import TransportError
from dinemic_engine.ids import short

if TYPE_CHECKING:
    from dinemic.net import NetworkStatus
    from dinemic.node import Status

PATH: Final = "/metrics"
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
PEERS_TOLD_MAX: Final = 64

_HEAD_END: Final = b"\r\n\r\n"
_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})

_log = logging.getLogger(__name__)


def open_window(address: str, look: Callable[[], Status]) -> tuple[Window, str]:
    """A window on ``host:port`` that shows the figures, and the address it got.

    Raises:
        TransportError: it cannot be listened on.
    """
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
        family, _, _, _, place = found[0]
        listener = socket.create_server(place[:2], family=family, backlog=CONNECTIONS_MAX)
    except (OSError, ValueError) as error:  # ValueError: a name that no resolver takes
        why = getattr(error, "strerror", None) or error
        raise TransportError(f"no metrics: cannot listen on {address}: {why}") from error
    host, port = listener.getsockname()[:2]
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
        _log.warning("metrics on %s: whoever reaches this address can read them", where)
    return Window(listener, lambda said: answer_untrusted(said, look)), where


# -- HTTP ---------------------------------------------------------------------------------------


def answer_untrusted(said: bytes, look: Callable[[], Status]) -> bytes | None:
    """The response to a request, None while its head is not complete."""
    if _HEAD_END not in said:
        return None
    match said.partition(b"\r\n")[0].split(b" "):
        case [b"GET" | b"HEAD" as method, target, version] if version.startswith(b"HTTP/1."):
            if target.partition(b"?")[0] != PATH.encode():
                return _response("404 Not Found", f"the figures are at {PATH}\n")
            return _response("200 OK", exposition(look()), body=method == b"GET")
        case [_, _, version] if version.startswith(b"HTTP/1."):
            return _response("405 Method Not Allowed", "only GET\n", "Allow: GET, HEAD")
        case _:
            return _response("400 Bad Request", "not HTTP/1\n")


def _response(status: str, text: str, *more: str, body: bool = True) -> bytes:
    content = text.encode()
    head = [
        f"HTTP/1.1 {status}",
        f"Content-Type: {CONTENT_TYPE}",
        f"Content-Length: {len(content)}",
        "Cache-Control: no-store",
        "Connection: close",
        *more,
    ]
    return "\r\n".join(head).encode() + _HEAD_END + (content if body else b"")


# -- the text -----------------------------------------------------------------------------------


class _Sample(NamedTuple):
    value: float
    labels: Mapping[str, str] = {}


class _Family(NamedTuple):
    """Samples of one name, without the ``dinemic_`` all begin with."""

    name: str
    kind: str
    help: str
    samples: list[_Sample]


def exposition(status: Status) -> str:
    """The whole page, UTF-8 once encoded."""
    return "".join(map(_text, _families(status)))


def _text(family: _Family) -> str:
    name = f"dinemic_{family.name}"
    lines = [f"# HELP {name} {family.help}", f"# TYPE {name} {family.kind}"]
    for value, labels in family.samples:
        inner = ",".join(f'{key}="{text.translate(_ESCAPES)}"' for key, text in labels.items())
        lines.append(f"{name}{'{' + inner + '}' if inner else ''} {value:.15g}")
    return "\n".join(lines) + "\n"


def _count(name: str, help: str, value: float) -> _Family:
    return _Family(f"{name}_total", "counter", help, [_Sample(value)])


def _gauge(name: str, help: str, value: float) -> _Family:
    return _Family(name, "gauge", help, [_Sample(value)])


def _families(status: Status) -> Iterator[_Family]:
    version = [_Sample(1, {"version": __version__, "relay": str(status.relay).lower()})]
    yield _Family("info", "gauge", "What runs here; always 1.", version)
    yield _gauge("objects", "Objects held.", status.objects)
    yield _gauge("events", "Events held.", status.events)
    yield _count("events_authored", "Events made here.", status.authored)
    yield _count("events_admitted", "Events of others let in.", status.admitted)
    yield _count("events_duplicate", "Events that came and were here.", status.duplicate)
    yield _count("events_void", "Events without effect as they came.", status.void)
    yield _count("events_flipped", "Events that lost their effect late, or got it.", status.flipped)
    yield _count("events_vetoed", "Events the guards of this node refused.", status.vetoed)
    refused = [_Sample(count, {"reason": reason}) for reason, count in status.refused.items()]
    help = "Events refused, by the rule that every node refuses them by."
    yield _Family("events_refused_total", "counter", help, refused)
    yield _gauge("events_waiting", "Events that wait for their parents.", status.waiting)
    yield _gauge("events_held", "Events dated ahead of this clock.", status.held)
    heard = status.listeners
    yield _gauge("listeners", "Listeners, once for each filter.", heard.applied)
    yield _gauge("listener_queue", "Changes listeners are still to be told of.", heard.queued)
    yield _count("listener_calls", "Changes listeners were told of.", heard.delivered)
    yield _count("listener_failures", "Calls of listeners that raised.", heard.failed)
    yield _count("listener_dropped", "Changes nobody is told of any more.", heard.dropped)
    if status.network is not None:
        yield from _of_network(status.network)


def _of_network(network: NetworkStatus) -> Iterator[_Family]:
    peers = network.peers
    states = Counter(peer.state for peer in peers)
    by_state = [_Sample(states[name], {"state": name}) for name in ("greeting", "open")]
    divergent = sum(model.divergence is not None for peer in peers for model in peer.models)
    yield _gauge("network_up", "Whether the network runs.", network.error is None)
    yield _gauge("synced", "Whether all peers are known to be equal.", network.synced)
    yield _Family("peers", "gauge", "Peers with a link, by state.", by_state)
    yield _gauge("known_addresses", "Addresses that may be peers'.", network.known_addresses)
    if network.clock_behind_us is not None:
        seconds = network.clock_behind_us / 1e6
        yield _gauge("clock_behind_seconds", "This clock behind the peers' median.", seconds)
    yield _gauge("divergent_models", "Alarms that are on, by peer and model.", divergent)
    yield _count("divergence_alarms", "Alarms raised.", network.divergences)
    for name, value in asdict(network.counters).items():
        help = f"The counter {name} of all links, in dinemic.status().network.counters."
        yield _count(f"links_{name}", help, value)
    behind = max((peer.behind for peer in peers), default=0)
    yield _gauge("behind_events", "Events more than here with the peer that has most.", behind)
    told = sorted(peers, key=lambda peer: (-peer.behind, -peer.lag_seconds, peer.node_id))
    for name, field, help in (
        ("behind_events", "behind", "How many events more than this node the peer has."),
        ("lag_seconds", "lag_seconds", "For how long the peer and this node have differed."),
        ("score", "score", "What the peer is worth; it sinks with its faults."),
    ):
        samples = [
            _Sample(getattr(peer, field), {"peer": short(peer.node_id)})
            for peer in told[:PEERS_TOLD_MAX]
        ]
        yield _Family(f"peer_{name}", "gauge", help, samples)
