"""What a node tells of itself (dinemic/live.py), in words: figures, peers, rates.

A document comes from another process, maybe of another release, and carries text of peers:
`asked` says so when something is missing, and whoever prints escapes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from dinemic import live
from dinemic._version import __version__
from dinemic.cli.words import plural
from dinemic_engine.errors import TransportError
from dinemic_engine.ids import short

Document: TypeAlias = dict[str, Any]

PEER_HEADERS: Final = (
    "peer", "address", "link", "state", "lag", "score", "in", "out", "refused",
)  # fmt: skip
_MODELS_NAMED_MAX: Final = 3
_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86400


@contextlib.contextmanager
def asked(home: Path) -> Iterator[Document | None]:
    """What the node that runs with `home` tells; None if there is none.

    Raises:
        TransportError: it cannot be asked, or tells something else than this release does.
    """
    document = live.ask(home)
    try:
        yield document
    except (KeyError, TypeError, AttributeError) as error:
        version = None if document is None else document.get("version")
        if version in (None, __version__):
            raise
        raise TransportError(
            f"the node in {home} is of release {version!r:.40} and tells other things"
        ) from error


def peers_of(document: Document) -> Sequence[Document]:
    """The peers a node has links with."""
    network = document["network"]
    return network["peers"] if network is not None else ()


def peer_row(peer: Document, *, full: bool) -> tuple[str, ...]:
    """A peer under `PEER_HEADERS`, with its `full` id or the beginning of it."""
    counters = peer["counters"]
    return (
        peer["node_id"] if full else short(peer["node_id"]),
        peer["address"],
        "we dialled" if peer["dialled"] else "it dialled",
        peer_state(peer),
        seconds_text(peer["lag_seconds"]) if peer["lag_seconds"] else "",
        f"{peer['score']:.0f}",
        str(counters["received"]),
        str(counters["sent"]),
        str(counters["refused"]),
    )


def peer_state(peer: Document) -> str:
    """Whether a peer is in sync, else what is different, model by model."""
    if peer["state"] != "open":
        return str(peer["state"])
    unequal = [words for words in map(_model_words, peer["models"]) if words]
    if not unequal:
        return "in sync" if peer["synced"] else "settling"
    if len(unequal) > _MODELS_NAMED_MAX:
        more = len(unequal) - _MODELS_NAMED_MAX
        unequal[_MODELS_NAMED_MAX:] = [f"{plural(more, 'model')} more"]
    return "; ".join(unequal)


def _model_words(model: Document) -> str:
    """How a model differs; nothing if it does not."""
    name, here, there = model["model"], model["here"], model["there"]
    if model["divergence"] is not None:
        return f"{name} DIVERGES at {short(model['divergence']['event_id'])}"
    if model["equal"] is None:
        return f"{name} unknown for {seconds_text(model['seconds'])}"
    if model["equal"]:
        return ""
    if here == there:
        return f"{name} differs"
    return f"{name} behind by {there - here}" if here < there else f"{name} ahead by {here - there}"


def figures(document: Document) -> list[tuple[str, str]]:
    """Name and words for each thing to tell of a node, but its peers."""
    network, heard = document["network"], document["listeners"]
    uptime = seconds_text(document["seconds"])
    found = [
        ("node", document["node_id"]),
        ("home", document["home"]),
        ("running", f"dinemic {document['version']}, pid {document['pid']}, for {uptime}"),
    ]
    if document["relay"]:
        found.append(("relay", "it has no object's key and makes nothing"))
    if document["metrics"] is not None:
        found.append(("metrics", f"http://{document['metrics']}/metrics"))
    found += [
        ("objects", str(document["objects"])),
        ("events", f"{document['events']}{_waiting(document)}"),
        (
            "since start",
            _counted(document, ("authored", "admitted", "duplicate", "void", "vetoed")),
        ),
        ("refused", _refusals(document["refused"])),
        ("listeners", f"{heard['applied']}, {plural(heard['queued'], 'change')} to be told of"),
    ]
    if network is None:
        return [*found, ("network", "none")]
    if network["error"] is not None:
        return [*found, ("network", f"has stopped: {network['error']}")]
    peers = plural(sum(peer["state"] == "open" for peer in network["peers"]), "peer")
    synced = "in sync" if network["synced"] else "not in sync"
    counted = _counted(network["counters"], ("sent", "received", "dropped", "catchups"))
    if network["clock_behind_us"] is not None:
        found.append(("clock", f"{-network['clock_behind_us'] / 1e6:+.3f} s from the peers'"))
    return [
        *found,
        ("listening", ", ".join(network["addresses"])),
        ("peers", f"{peers}, {synced}"),
        ("links", counted),
        (
            "alarms",
            f"{_on(document)} on, {network['divergences']} since start",
        ),
    ]


def _on(document: Document) -> int:
    return sum(
        model["divergence"] is not None for peer in peers_of(document) for model in peer["models"]
    )


def _waiting(document: Document) -> str:
    waiting, held = document["waiting"], document["held"]
    return f", and {waiting} waiting, {held} ahead of their time" if waiting or held else ""


def _counted(counters: Document, names: Sequence[str]) -> str:
    return ", ".join(f"{counters[name]} {name}" for name in names)


def _refusals(refused: dict[str, int]) -> str:
    most = sorted(refused.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {reason}" for reason, count in most) or "nothing"


def seconds_text(seconds: float) -> str:
    """A length of time, in its two largest units."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    for unit, name, small, smaller in (
        (_DAY, "d", _HOUR, "h"),
        (_HOUR, "h", _MINUTE, "min"),
        (_MINUTE, "min", 1, "s"),
    ):
        if seconds >= unit:
            return f"{seconds // unit:.0f} {name} {seconds % unit // small:.0f} {smaller}"
    raise AssertionError("a minute at least")


# -- two looks at one node ----------------------------------------------------------------------


def rates(before: Document | None, after: Document) -> dict[str, float] | None:
    """Events a second between two looks: authored, admitted, sent, received, refused.

    None where there is nothing to compare: at the first look, and after another one had taken the
    node's place.
    """
    if before is None or before["pid"] != after["pid"]:
        return None
    seconds = after["seconds"] - before["seconds"]
    if seconds <= 0:
        return None
    was, now = _totals(before), _totals(after)
    return {name: max(0.0, (now[name] - was[name]) / seconds) for name in now}


def _totals(document: Document) -> dict[str, int]:
    network = document["network"]
    passed = network["counters"] if network is not None else {"sent": 0, "received": 0}
    return {
        "authored": document["authored"],
        "admitted": document["admitted"],
        "sent": passed["sent"],
        "received": passed["received"],
        "refused": sum(document["refused"].values()),
    }


def line(document: Document, rate: dict[str, float] | None) -> str:
    """One look on one line."""
    network = document["network"]
    peers = [peer for peer in peers_of(document) if peer["state"] == "open"]
    words = [plural(len(peers), "peer")]
    words.append("in sync" if network is not None and network["synced"] else "not in sync")
    behind = max((peer["behind"] for peer in peers), default=0)
    lag = max((peer["lag_seconds"] for peer in peers), default=0.0)
    words += [f"behind {behind}", f"lag {seconds_text(lag)}", f"events {document['events']}"]
    words += [f"{name} {value:.1f}/s" for name, value in (rate or {}).items()]
    if on := _on(document):
        words.append(f"DIVERGENCE in {plural(on, 'model')}")
    return "  ".join(words)
