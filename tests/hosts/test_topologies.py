"""Seven hosts in network namespaces: whatever the network looks like, they end equal.

One set of hosts goes through everything, rewired on the way, for each costs a process. Limits on
time are shortened (`Host.hurry`); the long test has the real ones. `pytest -s` shows the times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from support.figures import say
from support.fleet import Fleet
from support.hosts import Host, hosts
from support.namespaces import Namespace, islands, line, mesh, namespaces, ring, star, wire

pytestmark = pytest.mark.root

SEVEN: Final = range(7)
RELAY: Final = 7
LIAR: Final = 8
SLOW: Final = 9
NAMES: Final = [*(f"h{number}" for number in SEVEN), "relay", "liar", "slow"]
TESTS: Final = str(Path(__file__).parents[1])

PORT: Final = 7643
DELAY_SECONDS: Final = 0.15
CUTS: Final = (
    islands((0, 1, 2), (3, 4, 5, 6)),
    islands((0, 3, 5), (1, 2, 4, 6)),
    islands((0,), (1, 6), (2, 3, 4, 5)),
)
TOPOLOGIES: Final = (
    ("full mesh", mesh(*SEVEN), 0),
    ("line", line(*SEVEN), 0),
    ("star", star(3, 0, 1, 2, 4, 5, 6), 0),
    ("ring", ring(*SEVEN), 0),
    ("ring, 20 % of the packets lost", ring(*SEVEN), 20),
    ("full mesh, 20 % of the packets lost", mesh(*SEVEN), 20),
)


@contextmanager
def everybody(directory: Path) -> Iterator[tuple[list[Host], list[Namespace]]]:
    """Seven hosts and three more, each in its namespace."""
    with (
        namespaces(len(NAMES)) as net,
        hosts(directory, *NAMES, prefixes=[place.prefix for place in net]) as running,
    ):
        for host in running[RELAY:]:
            host.run(f"import sys; sys.path.insert(0, {TESTS!r})")
        yield running, list(net)


@pytest.mark.parametrize(
    ("prepare", "rounds", "seconds"),
    [
        (Host.hurry, 40, 30.0),
        pytest.param(Host.as_ever, 200, 300.0, marks=[pytest.mark.long, pytest.mark.timeout(3600)]),
    ],
    ids=["hurried", "real-limits"],
)
def test_seven_hosts_end_equal_in_every_topology(
    tmp_path: Path, prepare: Callable[[Host], None], rounds: int, seconds: float
) -> None:
    with everybody(tmp_path) as (running, net):
        honest = net[:RELAY]
        relay_address = f"{net[RELAY].address}:{PORT}"
        addresses = [f"{place.address}:{PORT}" for place in honest]
        fleet = Fleet(running[:RELAY], addresses, more_peers=[relay_address], prepare=prepare)

        for name, wiring, loss_percent in TOPOLOGIES:
            wire(honest, wiring, loss_percent=loss_percent)
            fleet.write(20)
            say(f"{name}: equal after {fleet.converge(seconds):.1f} s")
            if loss_percent:
                assert all(place.lost() for place in honest)

        with fleet.writing():
            for cut in CUTS:
                wire(honest, cut)
                fleet.await_rounds(rounds)
        wire(honest, mesh(*SEVEN))
        say(f"three cuts while all write: equal after {fleet.converge(seconds):.1f} s")

        wire(honest, islands((0, 1, 2), (3, 4, 5, 6)))
        running[RELAY].run(
            "from support.relay import Relay\n"
            f"relay = Relay({addresses[3]!r}, {relay_address!r}, delay_seconds={DELAY_SECONDS})"
        )
        fleet.write(20)
        say(f"two halves and a slow relay between: equal after {fleet.converge(seconds):.1f} s")
        assert running[RELAY].run("relay.connections") > 0
        running[RELAY].run("relay.close()")

        wire(honest, mesh(*SEVEN))
        running[LIAR].run(f"from support.bad_neighbours import *; liar = Liar({addresses!r})")
        running[SLOW].run(f"from support.bad_neighbours import *; slow = SlowReader({addresses!r})")
        with fleet.writing():
            fleet.await_rounds(rounds)
        say(f"with a liar and one that hardly reads: equal after {fleet.converge(seconds):.1f} s")
        assert running[LIAR].run("liar.cut_off") > 3
        assert running[SLOW].run("slow.read") > 1000
        assert any(fleet.all("dinemic.status().refused"))
        for host in fleet.members:
            assert "Traceback" not in host.tail()
