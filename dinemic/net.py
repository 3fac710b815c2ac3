"""The network of a node, for ordinary threads: trio, sockets and peers on a thread of their own.

Everything here may be called from any thread, also from one that runs trio itself: a call waits at
most for the network thread to come by, which never waits for anything long.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import trio

from dinemic_engine.errors import NotLaunched, TransportError, UsageError
from dinemic_engine.ids import short, to_text
from dinemic_transport import addresses as address_form
from dinemic_transport.channel import TcpTransport
from dinemic_transport.discovery import MdnsDiscovery
from dinemic_transport.link import Discovery
from dinemic_transport.replica import Replica
from dinemic_transport.runner import Runner
from dinemic_transport.status import Divergence, NetworkStatus, PeerStatus

__all__ = ["Divergence", "Network", "NetworkStatus", "PeerStatus"]

if TYPE_CHECKING:
    from dinemic_transport.iroh_transport import IrohTransport

START_SECONDS_MAX: Final = 30.0
STOP_SECONDS_MAX: Final = 5.0

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class Network:
    """The network of one node. `start` it once; after `stop` make another.

    `node_seed` is the seed of the node key; the other options are those of `dinemic.launch`.
    Without `discover` it looks for nobody and nobody is told of it, be it by mDNS or by peers.
    """

    def __init__(
        self,
        replica: Replica,
        node_seed: bytes,
        *,
        listen: str | None = None,
        peers: Sequence[str] = (),
        discover: bool = True,
        cluster: str = "dinemic",
        cluster_key: bytes | None = None,
        allow: frozenset[bytes] | None = None,
        deny: frozenset[bytes] = frozenset(),
        transport: Literal["tcp", "iroh"] = "tcp",
        iroh_relay: str | None = None,
    ) -> None:
        """Mint the certificates; no traffic yet.

        Raises:
            UsageError: an option is no address, no model name or otherwise impossible, or the
                transport is an extra that is not installed.
        """
        channel = _make_transport(
            transport,
            node_seed,
            iroh_relay=iroh_relay,
            listen=listen,
            cluster=cluster,
            cluster_key=cluster_key,
            allow=allow,
            deny=deny,
        )
        for address in peers:
            channel.check_address_untrusted(address)
        self._node_id: Final = channel.node_id
        self._over: Final[Literal["tcp", "udp"]] = "udp" if transport == "iroh" else "tcp"
        self._cluster: Final = cluster
        self._is_open: Final = cluster_key is None
        self._runner: Final = Runner(
            replica,
            channel,
            node_id=channel.node_id,
            cluster=cluster,
            rand=random.SystemRandom().random,
            peers=peers,
            discover=self._discoveries if discover else lambda _: (),
            exchange=discover,
        )
        self._thread: threading.Thread | None = None
        self._started: Future[tuple[str, ...]] = Future()
        self._token: trio.lowlevel.TrioToken | None = None
        self._nursery: trio.Nursery | None = None
        self._error: str | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where this node listens, ``host:port`` each; empty before `start`."""
        return self._runner.addresses

    @property
    def clock_behind_us(self) -> int | None:
        """How far this host's clock is behind the median of the peers' (ORD-5); None if unknown."""
        return self._runner.clock_behind_us

    def start(self) -> None:
        """Return when the node listens; everything else goes on in the background.

        Raises:
            TransportError: it cannot listen.
            UsageError: it was started before.
        """
        if self._thread is not None:
            raise UsageError("this network was started before")
        if self._is_open:
            _log.warning(
                "no cluster key: every node of cluster %r that reaches this one may connect",
                self._cluster,
            )
        self._thread = threading.Thread(target=self._run, name="dinemic-network", daemon=True)
        self._thread.start()
        self._started.result(START_SECONDS_MAX)

    def stop(self) -> None:
        """Close every link and end the thread. Idempotent; `announce` is then without effect."""
        if self._thread is None or self._thread is threading.current_thread():
            return
        self._runner.stop()
        self._thread.join(STOP_SECONDS_MAX)
        if self._thread.is_alive():
            _log.warning("the network has not stopped after %.0f s", STOP_SECONDS_MAX)

    def announce(self, model: str, events: Sequence[bytes]) -> None:
        """Tell the peers of signed events of `model` just admitted here; never blocks.

        To be called for every event admitted, own or received: this is also how events are passed
        on. A peer known to have an event is not sent it.
        """
        self._runner.announce(model, events)

    def status(self) -> NetworkStatus:
        """What every link is doing; after `stop` or a failure, that there is none."""
        try:
            status = self._ask(self._runner.status)
        except NotLaunched:
            status = NetworkStatus(to_text(self._node_id), (), 0, False, ())
        return replace(status, error=self._error)

    def wait_synced(self, timeout: float) -> bool:
        """Wait until a peer is connected and every connected peer is known to be equal.

        Equal in every model both sides asked for, verdicts too (VETO-4), and nothing is under way.
        False if that does not come about within `timeout` seconds, or the network is not running.
        """
        answer: Future[bool] = Future()

        async def wait() -> None:
            try:
                with trio.move_on_after(timeout):
                    await self._runner.wait_synced()
            finally:
                answer.set_result(self._runner.synced)

        def begin() -> None:
            if self._nursery is None:
                answer.set_result(False)
            else:
                self._nursery.start_soon(wait)

        try:
            self._ask(begin)
        except NotLaunched:
            return False
        return answer.result()

    # -- the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as group:  # noqa: BLE001 - the end of the thread: it must be told
            error = _first(group)
            if not self._started.done():
                self._started.set_exception(error)
            else:
                self._error = f"{type(error).__name__}: {error}"
                _log.error("the network of node %s failed", short(self._node_id), exc_info=group)
        else:
            if not self._started.done():
                self._started.set_exception(TransportError("stopped before it had started"))

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                async with trio.open_nursery() as running:
                    self._started.set_result(await running.start(self._runner.run))
            finally:
                self._nursery = None
            nursery.cancel_scope.cancel()

    def _discoveries(self, addresses: Sequence[str]) -> list[Discovery]:
        places = [address_form.split_untrusted(address) for address in addresses]
        port = places[0][1]  # iroh has another for IPv6, which is not announced
        hosts = [host for host, its_port in places if its_port == port]
        return [MdnsDiscovery(self._node_id, port, self._cluster, hosts=hosts, over=self._over)]

    def _ask(self, call: Callable[[], _T]) -> _T:
        """What `call()` returns on the network thread.

        Raises:
            NotLaunched: it does not run.
        """
        answer: Future[_T] = Future()

        def run() -> None:
            try:
                answer.set_result(call())
            except BaseException as error:  # noqa: BLE001 - handed to whoever asked
                answer.set_exception(error)

        thread, token = self._thread, self._token
        if thread is None or token is None or not thread.is_alive():
            raise NotLaunched("the network of this node is not running")
        try:
            token.run_sync_soon(run)
        except trio.RunFinishedError:
            raise NotLaunched("the network of this node has stopped") from None
        while True:
            try:
                return answer.result(timeout=1.0)
            except TimeoutError:
                if not thread.is_alive() and not answer.done():
                    raise NotLaunched("the network of this node has stopped") from None


def _make_transport(
    kind: Literal["tcp", "iroh"], node_seed: bytes, *, iroh_relay: str | None, **options: Any
) -> TcpTransport | IrohTransport:
    if kind == "tcp":
        return TcpTransport(node_seed, **options)
    try:
        from dinemic_transport.iroh_transport import IrohTransport
    except ModuleNotFoundError as error:
        if error.name != "iroh":
            raise
        raise UsageError(
            "transport 'iroh' needs a package that is not installed: pip install 'dinemic[iroh]'"
        ) from None
    return IrohTransport(node_seed, relay=iroh_relay, **options)


def _first(error: BaseException) -> BaseException:
    """What is inside nested exception groups: the first, and mostly the only one."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
