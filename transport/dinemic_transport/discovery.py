"""Finding peers: mDNS on the local network, and addresses given by hand (CHAN-5).

Everything found is a hint. Anybody on the network can announce anything, so what comes in is
checked for shape only, in bounded amounts, and the handshake decides who is who.

`zeroconf` brings an event loop of its own, so it lives in threads, and hints cross over to trio::

    zeroconf's threads --> _hint_untrusted --> trio token --> bounded channel --> found(...)

It is imported when discovery starts, not before: a node that does without does not pay for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import logging
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Literal

import trio

from dinemic_engine import ids
from dinemic_engine.errors import TransportError, UsageError
from dinemic_transport import addresses

if TYPE_CHECKING:
    import zeroconf

SERVICES: Final = {"tcp": "_dinemic._tcp.local.", "udp": "_dinemic._udp.local."}
"""By what the transport runs on: nodes of two kinds have nothing to say to each other."""

MDNS_GROUP: Final = ("224.0.0.251", 5353)

HINTS_MAX: Final = 256
"""Found and not yet taken by the node; more are dropped, they are announced again."""

ADDRESSES_PER_PEER_MAX: Final = 8

RESOLVE_MS_MAX: Final = 1000
"""For a peer's port and addresses; most announce them together with their name."""

REFRESH_SECONDS: Final = 30.0
"""How often this machine's own interfaces are looked at: a cable, a VPN, another network."""

RETRY_SECONDS: Final = 5.0
RETRY_SECONDS_MAX: Final = 60.0

CLOSE_SECONDS_MAX: Final = 0.5
"""For taking the announcement back when discovery ends; the threads finish by themselves."""

_Hint = tuple[str, bytes | None]

_log = logging.getLogger(__name__)


class StaticDiscovery:
    """A `Discovery` of peers given as ``host:port``; who answers there is not known before."""

    def __init__(self, peers: Sequence[str]) -> None:
        """Raises UsageError for what is no address, naming it."""
        for peer in peers:
            if addresses.split_untrusted(peer)[1] == 0:
                raise UsageError(f"a peer is listening on some port, not 0: {peer!r}")
        self._peers = tuple(peers)

    async def run(self, found: Callable[[str, bytes | None], None]) -> None:
        """Report every address once; dialling again is up to who keeps them."""
        for peer in self._peers:
            found(peer, None)
        await trio.sleep_forever()


class MdnsDiscovery:
    """A `Discovery` by mDNS/DNS-SD over IPv4, of nodes of one cluster name.

    `hosts` are the addresses the node listens on, without ports; the wildcards stand for every
    address of this machine, without loopback if there is any other. `interfaces` narrows what is
    spoken on, and so announced, to the interfaces with these IPv4 addresses; a node that listens
    on loopback only is not announced to others anyway.

    Where mDNS does not work, that is said once at WARNING and tried again every minute.
    """

    def __init__(
        self,
        node_id: bytes,
        port: int,
        cluster: str,
        *,
        hosts: Sequence[str] = ("0.0.0.0",),
        interfaces: Sequence[str] | None = None,
        over: Literal["tcp", "udp"] = "tcp",
    ) -> None:
        self._service_type = SERVICES[over]
        self._node_id = node_id
        self._port = port
        self._cluster_tag = cluster_tag(cluster)
        self._hosts = tuple(hosts)
        self._interfaces = None if interfaces is None else list(interfaces)
        if interfaces is None and all(_is_loopback(host) for host in hosts):
            self._interfaces = ["127.0.0.1"]

    async def run(self, found: Callable[[str, bytes | None], None]) -> None:
        """Announce ourselves and report others until cancelled."""
        into, hints = trio.open_memory_channel[_Hint](HINTS_MAX)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_announcing, into)
            async for address, node_id in hints:
                found(address, node_id)

    async def _keep_announcing(self, into: trio.MemorySendChannel[_Hint]) -> None:
        pause, complained = RETRY_SECONDS, False
        while True:
            try:
                await self._announce(into)
            except TransportError as error:
                level = logging.DEBUG if complained else logging.WARNING
                _log.log(level, "%s; peers on this network are not found by themselves", error)
                complained = True
            await trio.sleep(pause)
            pause = min(2 * pause, RETRY_SECONDS_MAX)

    async def _announce(self, into: trio.MemorySendChannel[_Hint]) -> None:
        """Run the thread until cancelled or TransportError; leave none behind for long."""
        token = trio.lowlevel.current_trio_token()
        stop, ended = threading.Event(), trio.Event()

        def put(hint: _Hint) -> None:
            with contextlib.suppress(trio.WouldBlock, trio.BrokenResourceError):
                into.send_nowait(hint)

        def post(hint: _Hint) -> None:
            with contextlib.suppress(trio.RunFinishedError):
                token.run_sync_soon(put, hint)

        def work() -> None:
            try:
                self._speak_mdns(post, stop)
            finally:
                with contextlib.suppress(trio.RunFinishedError):
                    token.run_sync_soon(ended.set)

        limiter = trio.CapacityLimiter(1)
        try:
            await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=limiter)
        finally:
            stop.set()
            with trio.move_on_after(CLOSE_SECONDS_MAX, shield=True):
                await ended.wait()

    def _speak_mdns(self, post: Callable[[_Hint], None], stop: threading.Event) -> None:
        """The thread: announce, browse and follow the machine's interfaces until told to stop.

        Raises:
            TransportError: mDNS does not work here and now.
        """
        import zeroconf

        def on_change(
            zeroconf: zeroconf.Zeroconf,  # zeroconf passes these by name
            service_type: str,
            name: str,
            state_change: zeroconf.ServiceStateChange,
        ) -> None:
            if state_change.name != "Removed":
                for hint in self._look_up_untrusted(zeroconf, service_type, name):
                    post(hint)

        try:
            network = zeroconf.Zeroconf(interfaces=self._spoken_on(), use_asyncio=False)
            try:
                service = self._service()
                browser = zeroconf.ServiceBrowser(network, self._service_type, handlers=[on_change])
                network.register_service(service, cooperating_responders=True)
                while not stop.wait(REFRESH_SECONDS):
                    if (now := self._service()).addresses != service.addresses:
                        service = now
                        network.update_service(service)
                    network.update_interfaces(self._spoken_on())  # new ones hear the new service
                browser.cancel()
            finally:
                network.close()
        except (OSError, RuntimeError, zeroconf.Error) as error:
            if not stop.is_set():
                raise TransportError(f"mDNS does not work here: {error}") from error

    def _spoken_on(self) -> list[str]:
        """The interfaces of this moment that carry multicast, by address.

        Raises:
            TransportError: there is none.
        """
        wanted = machine_hosts() if self._interfaces is None else self._interfaces
        usable = [host for host in wanted if _version(host) == 4 and _carries_multicast(host)]
        if not usable:
            raise TransportError("mDNS does not work here: no interface carries multicast")
        return usable

    def _service(self) -> zeroconf.ServiceInfo:
        """Our announcement. Its name is our key, so nobody else has it and none is probed for."""
        import zeroconf

        name = ids.to_text(self._node_id)
        return zeroconf.ServiceInfo(
            self._service_type,
            f"{name}.{self._service_type}",
            port=self._port,
            server=f"{name}.local.",
            parsed_addresses=announced_hosts(self._hosts, self._interfaces, machine_hosts()),
            properties={"v": "1", "id": name, "c": self._cluster_tag},
        )

    def _look_up_untrusted(
        self, network: zeroconf.Zeroconf, service_type: str, name: str
    ) -> list[_Hint]:
        """Where an announced name can be dialled; nothing if it is not a peer of ours."""
        import zeroconf

        try:
            info = network.get_service_info(service_type, name, timeout=RESOLVE_MS_MAX)
            if info is None:
                return []
            return self._hints_untrusted(info.properties, info.parsed_scoped_addresses(), info.port)
        except (zeroconf.Error, ValueError, OSError) as error:
            _log.debug("an announcement that cannot be read: %s", type(error).__name__)
            return []

    def _hints_untrusted(
        self, properties: Mapping[bytes, bytes | None], hosts: Sequence[str], port: int | None
    ) -> list[_Hint]:
        """One hint per address, or none: not this version, not this cluster, malformed, or us."""
        if properties.get(b"v") != b"1" or properties.get(b"c") != self._cluster_tag.encode():
            return []
        try:
            text = (properties.get(b"id") or b"").decode("ascii")
            node_id = ids.from_text_untrusted(text)
            usable = [host for host in hosts[:ADDRESSES_PER_PEER_MAX] if _can_be_dialled(host)]
        except (ValueError, UsageError):
            return []
        if node_id == self._node_id or not port or not 1 <= port <= 65535:
            return []
        return [(addresses.join(host, port), node_id) for host in usable]


def cluster_tag(cluster: str) -> str:
    """What the announcement says of the cluster: 16 hex digits of a hash of its name."""
    return hashlib.sha256(cluster.encode()).digest()[:8].hex()


def machine_hosts() -> list[str]:
    """The addresses of this machine's interfaces as they are now."""
    import ifaddr

    return [
        ip.ip if isinstance(ip.ip, str) else ip.ip[0]
        for adapter in ifaddr.get_adapters()
        for ip in adapter.ips
    ]


def announced_hosts(
    listening: Sequence[str], interfaces: Sequence[str] | None, machine: Sequence[str]
) -> list[str]:
    """Where others can dial a node that listens on `listening`, on a machine with these addresses.

    IPv6 link-local addresses mean nothing without a scope, which is another one at each end.
    """
    hosts: list[str] = []
    for host in listening:
        version = {"0.0.0.0": 4, "::": 6}.get(host)
        hosts += [m for m in machine if _version(m) == version] if version else [host]
    if interfaces is not None:
        hosts = [host for host in hosts if host in interfaces or host in listening]
    usable = [host for host in hosts if _version(host) and not host.startswith("fe80:")]
    return [host for host in usable if not _is_loopback(host)] or usable


def _carries_multicast(host: str) -> bool:
    """Whether there is a way to the mDNS group from the interface with this IPv4 address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(host))
            probe.connect(MDNS_GROUP)  # looks the way up, sends nothing
        except OSError:
            return False
    return True


def _version(host: str) -> int:
    """4, 6, or 0 for what is no IP address."""
    try:
        return ipaddress.ip_address(host).version
    except ValueError:
        return 0


def _is_loopback(host: str) -> bool:
    return _version(host) > 0 and ipaddress.ip_address(host).is_loopback


def _can_be_dialled(host: str) -> bool:
    ip = ipaddress.ip_address(host)
    addresses.split_untrusted(addresses.join(host, 0))  # to `ipaddress` a scope is any text
    return not ip.is_unspecified and not ip.is_multicast
