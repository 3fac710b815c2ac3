"""Hosts that stop in the middle of it, killed or suspended: the others go on, and they catch up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.figures import say
from support.fleet import Fleet
from support.hosts import Host, hosts


def test_kill_9_under_load_loses_nothing_that_was_written(tmp_path: Path) -> None:
    with hosts(tmp_path, "a", "b", "c") as members:
        fleet = Fleet(members)
        killed = members[2]
        with fleet.writing():
            for _ in range(2):
                fleet.await_rounds(20)
                done = killed.run("rounds")
                killed.kill()
                a, b = (host.run("rounds") for host in members[:2])
                members[0].wait(f"rounds > {a + 20}")  # the others go on
                members[1].wait(f"rounds > {b + 20}")
                killed = Host(killed.home, log=tmp_path / "c.log")
                members[2] = killed
                fleet.replace(2, killed)
                name = killed.run("mine.name.get()")
                assert int(name.rpartition(" ")[2]) >= done - 1
                fleet.write_on(2)
        say(f"twice killed: equal after {fleet.meet(30):.1f} s")
        assert len(fleet.values()) == 1


@pytest.mark.parametrize(
    ("prepare", "seconds"),
    [(Host.hurry, 10.0), pytest.param(Host.as_ever, 100.0, marks=pytest.mark.long)],
    ids=["short", "90 s"],
)
def test_a_suspended_host_delays_nobody_and_catches_up(
    tmp_path: Path, prepare: Callable[[Host], None], seconds: float
) -> None:
    with hosts(tmp_path, "a", "b", "c") as members:
        a, b, c = members
        fleet = Fleet(members, prepare=prepare)
        c.suspend()
        try:
            for number in range(200):
                a.run(f"shared.name.set('meanwhile {number}')")
                b.wait(f"shared.name.get() == 'meanwhile {number}'", 5)
            a.wait("len(dinemic.status().network.peers) == 1", seconds)  # it is given up
            b.run("for n in range(2000): mine.name.set(n)")
        finally:
            c.resume()
        c.run("mine.name.set('back')")
        say(f"suspended and back: equal after {fleet.converge(60):.1f} s")
        assert fleet.values() == {"meanwhile 199"}
