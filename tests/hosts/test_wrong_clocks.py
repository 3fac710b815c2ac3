"""Hosts whose clocks are wrong: what is ahead of a clock is held, nothing is lost, and it heals.

Time is moved in the hosts' processes (`Host.set_clock`); which clock is called wrong is a matter of
which one is moved.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.fleet import Fleet
from support.hosts import Host, RemoteError, hosts

HOUR = 3600.0
BEHIND = "clock is more than a minute behind"


@contextmanager
def right_and_wrong(directory: Path) -> Iterator[tuple[Fleet, Host, Host]]:
    """A fleet of two, in which the clock of the second is to be moved."""
    with hosts(directory, "right", "wrong") as (right, wrong):
        yield Fleet([right, wrong]), right, wrong


def test_a_clock_an_hour_behind_holds_what_comes_and_heals(tmp_path: Path) -> None:
    with right_and_wrong(tmp_path) as (fleet, right, wrong):
        wrong.set_clock(-HOUR)
        right.run("new = Person([])\nfor n in range(20): new.name.set(n)\nnew_id = new.get_db_id()")
        name = right.run("new_id")
        wrong.wait("dinemic.status().held > 0")
        late = wrong.run("late = Person([])\nlate.name.set('an hour ago')\nlate.get_db_id()")

        right.wait(f"Person({late!r}).name.get() == 'an hour ago'")  # what is past is no trouble
        assert wrong.run(f"Person({name!r}).exists()") is False
        with pytest.raises(RemoteError, match=BEHIND):
            wrong.run("mine.name.set('on top of what is ahead')")

        wrong.set_clock(0)
        fleet.converge(30)
        assert wrong.run(f"Person({name!r}).name.get()") == 19
        wrong.run("mine.name.set('in time again')")
        fleet.converge(30)


def test_a_clock_eight_hours_ahead_is_waited_for(tmp_path: Path) -> None:
    with right_and_wrong(tmp_path) as (fleet, right, wrong):
        wrong.set_clock(8 * HOUR)
        wrong.run("for n in range(20): mine.name.set(f'tomorrow {n}')")
        right.run("shared.name.set('today')")
        right.wait("dinemic.status().held > 0")
        wrong.wait("shared.name.get() == 'today'")

        assert right.run("dinemic.status().refused") == {}
        assert right.run("dinemic.object_list()") == wrong.run("dinemic.object_list()")
        right.set_clock(8 * HOUR)  # eight hours pass
        fleet.converge(30)


def test_a_clock_that_stands_still_still_orders_what_is_written(tmp_path: Path) -> None:
    with right_and_wrong(tmp_path) as (fleet, right, wrong):
        wrong.set_clock(0, frozen=True)
        wrong.run("for n in range(50): mine.name.set(n)")
        fleet.converge(30)
        times = wrong.run("[event.t for event in mine.history()]")
        assert times == sorted(set(times))

        right.set_clock(120)  # two minutes pass
        right.run("shared.name.set('two minutes later')")
        wrong.wait("dinemic.status().held == 1")
        wrong.set_clock(120)
        fleet.converge(30)
        assert fleet.values() == {"two minutes later"}


def test_a_clock_set_back_while_a_host_is_off_is_noticed_and_heals(tmp_path: Path) -> None:
    with right_and_wrong(tmp_path) as (fleet, _, wrong):
        fleet.converge(30)
        wrong.kill()
        with hosts(tmp_path, "wrong") as (again,):
            again.set_clock(-HOUR)
            fleet.replace(1, again)
            assert again.run("mine.exists()")
            with pytest.raises(RemoteError, match=BEHIND):
                again.run("mine.name.set('an hour ago')")
            again.set_clock(0)
            again.run("mine.name.set('now')")
            fleet.meet(30)
