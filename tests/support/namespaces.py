"""Hosts of their own: Linux network namespaces on one bridge, with partitions made by nftables."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Namespace:
    """One host: its namespace, and its address on the shared network."""

    name: str
    address: str

    @property
    def prefix(self) -> list[str]:
        """What to put before a command to run it there."""
        return ["ip", "netns", "exec", self.name]

    def part_from(self, *others: Namespace) -> None:
        """Drop every packet from `others` that arrives here."""
        _run(*self.prefix, "nft", "add", "table", "ip", "part")
        hook = "{ type filter hook input priority 0; }"
        _run(*self.prefix, "nft", "add", "chain", "ip", "part", "input", hook)
        for other in others:
            rule = ["add", "rule", "ip", "part", "input", "ip", "saddr", other.address, "drop"]
            _run(*self.prefix, "nft", *rule)

    def heal(self) -> None:
        """Let everything through again."""
        _run(*self.prefix, "nft", "delete", "table", "ip", "part")


@contextmanager
def namespaces(count: int) -> Iterator[Sequence[Namespace]]:
    """`count` namespaces joined by a bridge in one more, away from the machine's own network."""
    tag = f"dn{secrets.token_hex(3)}"
    bridge = f"{tag}sw"
    made: list[Namespace] = []
    try:
        _run("ip", "netns", "add", bridge)
        _run("ip", "-n", bridge, "link", "add", "br0", "type", "bridge")
        _run("ip", "-n", bridge, "link", "set", "br0", "up")
        for number in range(1, count + 1):
            host = Namespace(f"{tag}h{number}", f"10.213.7.{number}")
            _run("ip", "netns", "add", host.name)
            made.append(host)
            pair = ["type", "veth", "peer", "name", f"p{number}", "netns", bridge]
            _run("ip", "-n", host.name, "link", "add", "eth0", *pair)
            _run("ip", "-n", bridge, "link", "set", f"p{number}", "master", "br0", "up")
            _run("ip", "-n", host.name, "addr", "add", f"{host.address}/24", "dev", "eth0")
            _run("ip", "-n", host.name, "link", "set", "eth0", "up")
            _run("ip", "-n", host.name, "link", "set", "lo", "up")
        yield made
    finally:
        for name in [host.name for host in made] + [bridge]:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
