"""Network addresses as people write them: ``host:port``, IPv6 hosts in brackets.

Whoever is to be dialled may also be named by its node id, in text form: ``node@host:port`` is that
node at that place and nobody else there, ``node`` alone is that node wherever it is, for transports
that can find it.
"""

from __future__ import annotations

import ipaddress
from typing import NamedTuple, TypeAlias

from dinemic_engine import ids
from dinemic_engine.errors import UsageError

HOST_CHARACTERS_MAX = 255
PORT_MAX = 65535

Ip: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


def split_untrusted(address: str) -> tuple[str, int]:
    """Host and port of ``host:port`` or ``[v6]:port``.

    Raises:
        UsageError: no such form, or the port is not 0..65535; the message shows the text.
    """
    host, colon, digits = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    port_is_good = digits.isascii() and digits.isdigit() and len(digits) <= 5
    host_is_good = (
        0 < len(host) <= HOST_CHARACTERS_MAX
        and host.isprintable()
        and not any(character in "[]/@ " for character in host)
        and (":" in host) == bracketed
    )
    if not colon or not port_is_good or not host_is_good or int(digits) > PORT_MAX:
        raise UsageError(f"not an address of the form host:port: {address[:120]!r}")
    return host, int(digits)


class Whereabouts(NamedTuple):
    """Whom to dial, or where, or both; never neither."""

    node_id: bytes | None
    place: tuple[str, int] | None
    """Host and port."""


def whereabouts_untrusted(address: str) -> Whereabouts:
    """What ``host:port``, ``node@host:port`` or ``node`` says.

    Raises:
        UsageError: none of the three; the message shows the text.
    """
    node, at, place = address.rpartition("@")
    if not at and ":" not in place:
        node, place = place, ""
    try:
        node_id = ids.from_text_untrusted(node) if node or at or not place else None
    except ValueError:
        raise UsageError(
            f"not an address of the form host:port, node@host:port or node: {address[:120]!r}"
        ) from None
    return Whereabouts(node_id, split_untrusted(place) if place or at else None)


def join(host: str, port: int) -> str:
    """``host:port``, or ``[host]:port`` for IPv6."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def network(address: str) -> str | None:
    """The /16 (IPv6: /32) of a public address, which one party may hold; None of any other.

    A LAN or a host is one network to begin with, so counting by it says nothing (GOS-5).
    """
    try:
        ip, _ = literal_untrusted(address)
    except UsageError:
        return None
    if not ip.is_global:
        return None
    return str(ipaddress.ip_network((ip, 16 if ip.version == 4 else 32), strict=False))


def literal_untrusted(address: str) -> tuple[Ip, int]:
    """IP and port of an address at which any machine of a network dials the same place.

    Raises:
        UsageError: a name, no usual spelling, port 0, or an IP that is nobody's (unspecified,
            multicast, reserved) or means something only here (a scope, link-local IPv6) or is
            IPv4 dressed up as IPv6. The message shows the text.
    """
    host, port = split_untrusted(address)
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        raise UsageError(f"not an IP address and a port: {address[:120]!r}") from None
    if ip.version == 4:
        is_odd = ip.is_reserved
    else:
        is_odd = ip.is_link_local or ip.scope_id is not None or ip.ipv4_mapped is not None
    if not port or ip.is_unspecified or ip.is_multicast or is_odd:
        raise UsageError(f"not an address that others can dial: {address[:120]!r}")
    if join(str(ip), port) != address:
        raise UsageError(f"not the usual spelling of an address: {address[:120]!r}")
    return ip, port
