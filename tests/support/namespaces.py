"""Hosts of their own: Linux network namespaces on one bridge, with partitions made by nftables."""

from __future__ import annotations

import itertools
import re
import secrets
import subprocess
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

Wiring: TypeAlias = Collection[frozenset[int]]
"""Which hosts hear each other: pairs of their numbers, from 0."""


@dataclass(frozen=True, slots=True)
class Namespace:
    """One host: its namespace, and its address on the shared network."""

    name: str
    address: str

    @property
    def prefix(self) -> list[str]:
        """What to put before a command to run it there."""
        return ["ip", "netns", "exec", self.name]

    def part_from(self, *others: Namespace, loss_percent: int = 0) -> None:
        """Drop every packet from `others` that arrives here, and so many of all the rest.

        From now on, whatever was dropped before.
        """
        rules = [f"ip saddr {other.address} drop" for other in others]
        if loss_percent:
            rules.append(f"numgen random mod 100 < {loss_percent} counter drop")
        hook = "type filter hook input priority 0;"
        chain = "\n".join(["table ip part {", "chain input {", hook, *rules, "}", "}"])
        _run(*self.prefix, "nft", "-f", "-", given=f"{_NO_TABLE}{chain}\n")

    def lost(self) -> int:
        """How many packets fell to the loss that is in force."""
        rules = _run(*self.prefix, "nft", "list", "table", "ip", "part")
        return sum(map(int, re.findall(r"counter packets (\d+)", rules)))

    def heal(self) -> None:
        """Let everything through again."""
        _run(*self.prefix, "nft", "-f", "-", given=_NO_TABLE)


_NO_TABLE = "table ip part\ndelete table ip part\n"
"""Without the first line, nftables would not delete what is not there."""


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


# -- topologies ------------------------------------------------------------------------------------


def wire(net: Sequence[Namespace], wiring: Wiring, *, loss_percent: int = 0) -> None:
    """Let just these pairs hear each other, with so many packets lost on every way."""
    for number, host in enumerate(net):
        deaf = [n for n in range(len(net)) if n != number and frozenset({number, n}) not in wiring]
        host.part_from(*(net[n] for n in deaf), loss_percent=loss_percent)


def line(*numbers: int) -> Wiring:
    """Each hears the one before and the one after it."""
    return {frozenset(pair) for pair in itertools.pairwise(numbers)}


def ring(*numbers: int) -> Wiring:
    """A line whose ends hear each other too."""
    return line(*numbers, numbers[0])


def star(middle: int, *others: int) -> Wiring:
    """All hear the one in the middle."""
    return {frozenset({middle, other}) for other in others}


def mesh(*numbers: int) -> Wiring:
    """All hear all."""
    return {frozenset({one, other}) for one in numbers for other in numbers if one != other}


def islands(*groups: Sequence[int]) -> Wiring:
    """A partition: all of a group hear each other, and nobody else."""
    return {pair for group in groups for pair in mesh(*group)}


def _run(*command: str, given: str | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, input=given, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout
