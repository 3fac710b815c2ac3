"""An iroh endpoint that listens where it is told and nowhere else, and asks no server unasked.

iroh opens a socket for each version of IP, and listens on every interface of a version that no
address is given for. So where a node listens on one address, the other version is kept to
loopback, and what comes in there is from this machine.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from iroh import Endpoint, EndpointBuilder, IrohError, RelayMode

from dinemic_engine.errors import TransportError, UsageError
from dinemic_transport import addresses
from dinemic_transport.discovery import machine_hosts
from dinemic_transport.iroh_calls import finished, why

PUBLIC_RELAY: Final = "n0"
"""The relays and the address lookup that iroh's makers run for everybody."""

_LOOPBACK: Final = {4: "127.0.0.1:0", 6: "[::1]:0"}


class Listening:
    """How one node's endpoint is opened: its key, where it listens, and by what relay it is found.

    `listen` is ``ip:port``, None every interface; `relay` is ``"n0"``, a URL, or None.
    """

    def __init__(self, seed: bytes, alpn: bytes, *, listen: str | None, relay: str | None) -> None:
        """Raises UsageError: `listen` is no IP address and port, or `relay` no URL."""
        self.relay_mode: Final = _relay_mode(relay)
        self._seed = seed
        self._alpn = alpn
        self._place = None if listen is None else _ip_and_port(listen)
        self._is_public = relay == PUBLIC_RELAY

    async def open(self) -> Endpoint:
        """A new endpoint.

        Raises:
            TransportError: it cannot listen there, or only elsewhere too.
        """
        if self._place is None:
            return await self._bind()
        ip, port = self._place
        ours = addresses.join(str(ip), port)
        other = 6 if ip.version == 4 else 4
        try:
            return await self._bind(ours, _LOOPBACK[other])
        except TransportError:
            endpoint = await self._bind(ours)
        if len(endpoint.bound_sockets()) > 1 and _machine_has(other):
            await finished(endpoint.close())
            raise TransportError(f"cannot listen on {ours} and on nothing else")
        return endpoint

    def places(self, endpoint: Endpoint) -> list[str]:
        """Where an endpoint of ours listens for others, ``ip:port`` each."""
        bound = [addresses.split_untrusted(socket) for socket in endpoint.bound_sockets()]
        ours = None if self._place is None else str(self._place[0])
        return [addresses.join(host, port) for host, port in bound if ours in (None, host)]

    async def _bind(self, *places: str) -> Endpoint:
        builder = EndpointBuilder()  # type: ignore[no-untyped-call]
        if self._is_public:
            builder.apply_n0()
        else:
            builder.apply_minimal()
        builder.relay_mode(self.relay_mode)
        builder.secret_key(self._seed)
        builder.alpns([self._alpn])
        for place in places:
            builder.bind_addr(place)
        try:
            return await finished(builder.bind())
        except IrohError as error:
            where = places[0] if places else "any port"
            raise TransportError(f"cannot listen on {where}: {why(error)}") from error


def _ip_and_port(listen: str) -> tuple[addresses.Ip, int]:
    host, port = addresses.split_untrusted(listen)
    try:
        return ipaddress.ip_address(host), port
    except ValueError:
        raise UsageError(f"iroh listens on an IP address, not on a name: {listen!r}") from None


def _relay_mode(relay: str | None) -> RelayMode:
    if relay is None:
        return RelayMode.disabled()
    if relay == PUBLIC_RELAY:
        return RelayMode.default_mode()
    try:
        return RelayMode.custom_from_urls([relay])
    except IrohError as error:
        raise UsageError(f"not the URL of a relay, nor {PUBLIC_RELAY!r}: {relay!r}") from error


def _machine_has(version: int) -> bool:
    """Whether any interface has an address of this version of IP."""
    return any((":" in host) == (version == 6) for host in machine_hosts())
