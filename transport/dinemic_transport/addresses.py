"""Network addresses as people write them: ``host:port``, IPv6 hosts in brackets."""

from __future__ import annotations

import ipaddress
from typing import TypeAlias

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


def join(host: str, port: int) -> str:
    """``host:port``, or ``[host]:port`` for IPv6."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


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
