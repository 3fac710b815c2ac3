"""The node of this process: `prepare`, `launch`, `shutdown`, and the lists over it."""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import os
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dinemic.config import Config
from dinemic.filters import compile_filter
from dinemic.logs import set_loglevel
from dinemic.node import Node, Status
from dinemic_engine.errors import NotLaunched, UsageError
from dinemic_engine.ids import db_id

if TYPE_CHECKING:
    from dinemic.outlet import Outlet, Window

_NETWORK_OPTIONS = frozenset(
    [
        "listen",
        "peers",
        "discover",
        "cluster",
        "cluster_key",
        "allow",
        "deny",
        "transport",
        "iroh_relay",
        "metrics",
    ]
)

_lock = threading.RLock()
_node: Node | None = None
_entered: contextvars.ContextVar[Node | None] = contextvars.ContextVar("dinemic_node", default=None)


def current() -> Node:
    """The node that objects made here belong to: that of `open_node`, else the launched one.

    Raises:
        NotLaunched: there is none.
        UsageError: this process is a fork of the one that opened it.
    """
    node = _entered.get() or _node
    if node is None:
        raise NotLaunched("no node is open here; call dinemic.launch() or dinemic.prepare() first")
    node.check_open()
    return node


def prepare(home: str | os.PathLike[str] | None = None, **options: object) -> Node:
    """Open store and keyring, without a network; the same options again change nothing.

    Options are those of `launch`. Raises as it does.
    """
    global _node
    with _lock:
        given = _options(home, options)
        if _node is not None:
            _check_same(_node, given)
            return _node
        config = Config.load(given, os.environ)
        if config.loglevel is not None:
            set_loglevel(config.loglevel)
        _node = Node.open(config)
        return _node


def launch(home: str | os.PathLike[str] | None = None, **options: object) -> Node:
    """Open the node if needed and start its network in the background; returns at once.

    Options, each also in ``dinemic.toml`` of the home and as ``DINEMIC_...`` in the environment:

    - `listen`: ``host:port`` to listen on; by default any free port of every interface.
    - `peers`: addresses ``host:port`` or ``node@host:port`` to dial besides those found.
    - `discover`: find and be found, by mDNS and through peers; True by default.
    - `cluster`: the network's name; nodes of other names are not talked to.
    - `cluster_key`: a secret shared by the network; without it anybody on the LAN gets in.
    - `allow`: node ids to talk to and nobody else.
    - `deny`: node ids not to talk to, also if they are allowed.
    - `transport`: ``"tcp"``, or ``"iroh"`` (an extra) to dial nodes by key, also behind NAT.
    - `iroh_relay`: ``"n0"`` or the URL of a relay; without one iroh asks no server for anything.
    - `models`: names of the models to hold; ``("*",)`` is every one.
    - `relay`: keep and pass on what others make, without a key of any object; make nothing.
    - `store`: ``"rocksdb"`` or ``"memory"``.
    - `durability`: ``"group"`` (on disk within 10 ms) or ``"sync"`` (before a write returns).
    - `passphrase`: protects the private keys on disk.
    - `loglevel`: as `set_loglevel`.
    - `metrics`: ``host:port`` to serve figures for Prometheus on; nobody is asked who he is there.

    Raises:
        UsageError: an unknown option, a wrong value, or a second call with other options.
        StoreLocked: another process has the home open.
        StoreError: the home cannot be used.
        TransportError: an address cannot be listened on.
    """
    with _lock:
        given = _options(home, options)
        if _node is None or _node.network is not None:
            node = prepare(home, **options)
        else:  # prepared before: what only the network uses may still be said
            node = _node
            _check_same(node, {name: given[name] for name in given.keys() - _NETWORK_OPTIONS})
            told = _asked(node, {name: given[name] for name in given.keys() & _NETWORK_OPTIONS})
            node.config = replace(node.config, **told)
        _connect(node)
        return node


def _connect(node: Node) -> None:
    """Start the network of an open node if it has none, and tell others of it."""
    if node.network is None:
        from dinemic.net import Network

        config = node.config
        network = Network(
            node,
            node.keyring.node_key.seed,
            listen=config.listen,
            peers=config.peers,
            discover=config.discover,
            cluster=config.cluster,
            cluster_key=config.cluster_key,
            allow=config.allow,
            deny=config.deny,
            transport=config.transport,
            iroh_relay=config.iroh_relay,
        )
        outlet = _open_outlet(node)
        node.network = network  # before it starts: what is written meanwhile is announced
        try:
            network.start()
        except BaseException:
            node.network = None
            outlet.stop()
            raise
        node.outlet = outlet
        outlet.start()


def _open_outlet(node: Node) -> Outlet:
    """The windows that others look through: in the home, and on the port for figures if asked."""
    from dinemic import live, metrics
    from dinemic.outlet import Looks, Outlet

    look = Looks(node.status)
    windows: list[Window] = []
    address = None
    if node.config.metrics is not None:
        window, address = metrics.open_window(node.config.metrics, look)
        windows.append(window)
    in_home = live.open_window(node.config.home, look)
    if in_home is not None:
        windows.append(in_home)
    return Outlet(windows, address)


def shutdown() -> None:
    """Stop traffic, put everything on disk, release the home. Idempotent; `launch` works again."""
    global _node
    with _lock:
        node, _node = _node, None
        if node is not None:
            node.close()


atexit.register(shutdown)


def _forget_inherited() -> None:
    """In a forked child: no node is open here; whoever had the lock is not here either."""
    global _lock, _node
    _lock = threading.RLock()
    _node = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_inherited)


def _options(
    home: str | os.PathLike[str] | None, options: Mapping[str, object]
) -> Mapping[str, object]:
    return options if home is None else {**options, "home": home}


def _asked(node: Node, given: Mapping[str, object]) -> dict[str, Any]:
    """The options that were given, as they would be in force; the node's home if none was."""
    config = Config.load({"home": node.config.home, **given}, os.environ)
    return {name: getattr(config, name) for name, value in given.items() if value is not None}


def _check_same(node: Node, given: Mapping[str, object]) -> None:
    """Return if `node` is open with these options, however they are spelt."""
    node.check_open()
    asked = _asked(node, given)
    changed = [name for name, value in asked.items() if value != getattr(node.config, name)]
    if changed:
        raise UsageError(
            f"a node is open with another {', '.join(sorted(changed))}; call shutdown() first"
        )


@contextlib.contextmanager
def acting(node: Node) -> Iterator[None]:
    """Objects, handles and listeners made in the block belong to `node`."""
    token = _entered.set(node)
    try:
        yield
    finally:
        _entered.reset(token)


@contextlib.asynccontextmanager
async def open_node(
    home: str | os.PathLike[str] | None = None, *, network: bool = True, **options: object
) -> AsyncIterator[Node]:
    """A node for the length of a block, for trio programs; several may be open at once.

    Objects made inside the block belong to it. Options and errors as `launch`; `network=False`
    is `prepare`.
    """
    from trio import CancelScope
    from trio.to_thread import run_sync

    def open_it() -> Node:
        node = Node.open(Config.load(_options(home, options), os.environ))
        try:
            if network:
                _connect(node)
        except BaseException:
            node.close()
            raise
        return node

    node = await run_sync(open_it)
    try:
        with acting(node):
            yield node
    finally:
        with CancelScope(shield=True):
            await run_sync(node.close)


def object_list(filter: str = "") -> list[str]:
    """The full ids of the objects known here that match `filter`, sorted; all without one.

    Raises:
        ValueError: a malformed filter.
    """
    view = current().view
    found = [db_id(model, object_id) for model, object_id in view.objects()]
    if filter:
        matches = compile_filter(filter).matches
        found = [name for name in found if matches(name)]
    return sorted(found)


def object_list_owned(filter: str = "") -> list[str]:
    """As `object_list`, of the objects whose private keys are here."""
    owned = current().keyring.owned()
    view = current().view
    names = {db_id(model, object_id) for model, object_id in view.objects() if object_id in owned}
    return [name for name in object_list(filter) if name in names]


def status() -> Status:
    """Counters of the node, and how far each peer is known to agree."""
    return current().status()


def wait_synced(timeout: float = 30.0) -> bool:
    """Wait until every connected peer is known to hold the same events and judge them alike.

    True when that is so; False after `timeout` seconds, or at once without a network.
    """
    network = current().network
    return network.wait_synced(timeout) if network is not None else False
