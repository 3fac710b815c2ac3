"""Network addresses as people write them: ``host:port``, IPv6 hosts in brackets."""

from __future__ import annotations

from dinemic_engine.errors import UsageError

HOST_CHARACTERS_MAX = 255


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
    if not colon or not port_is_good or not host_is_good or int(digits) > 65535:
        raise UsageError(f"not an address of the form host:port: {address[:120]!r}")
    return host, int(digits)


def join(host: str, port: int) -> str:
    """``host:port``, or ``[host]:port`` for IPv6."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
