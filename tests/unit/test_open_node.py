"""Nodes of trio programs: opened for a block, several at once, closed whatever happens."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import trio

import dinemic
from dinemic_engine.errors import TransportError
from support.clocks import wait_until
from support.models import Person
from support.nodes import QUIET, send

pytestmark = pytest.mark.usefixtures("stopped")


def test_open_node_serves_trio_programs_and_closes_behind_them(tmp_path: Path) -> None:
    async def main() -> str:
        async with dinemic.open_node(tmp_path, network=False) as node:
            p = Person([])
            p.name.set("Bob")
            assert node.view.tip().seq == 2
            assert await trio.to_thread.run_sync(p.name.get) == "Bob"
            assert await trio.to_thread.run_sync(dinemic.object_list) == [p.get_db_id()]
        with pytest.raises(dinemic.NotLaunched):
            Person([])
        return p.get_db_id()

    made = trio.run(main)
    dinemic.prepare(tmp_path)
    assert Person(made).name.get() == "Bob"


def test_two_nodes_of_one_process_each_keep_their_own(tmp_path: Path) -> None:
    async def main() -> None:
        async with dinemic.open_node(tmp_path / "a", network=False) as a:
            p = Person([])
            async with dinemic.open_node(tmp_path / "b", network=False, store="memory") as b:
                q = Person([])
                assert dinemic.object_list() == [q.get_db_id()]
                p.name.set("of a")
                send(a, b)
                mirror = Person(p.get_db_id())
                assert mirror.name.get() == "of a"
                assert not mirror.is_owned()
                assert p.is_owned()
            assert dinemic.object_list() == [p.get_db_id()]
            assert p.name.get() == "of a"
            with pytest.raises(dinemic.NotLaunched):
                q.name.get()

    trio.run(main)


def test_tasks_with_a_node_each_do_not_mix(tmp_path: Path) -> None:
    found: dict[str, list[str]] = {}

    async def task(name: str) -> None:
        async with dinemic.open_node(tmp_path / name, network=False, store="memory"):
            made = [Person([]).get_db_id()]
            await trio.testing.wait_all_tasks_blocked()
            made.append(Person([]).get_db_id())
            assert dinemic.object_list() == sorted(made)
            found[name] = made

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for name in "abc":
                nursery.start_soon(task, name)

    trio.run(main)
    assert len({one for made in found.values() for one in made}) == 6


def test_open_node_beside_the_launched_one_goes_first_and_gives_way(tmp_path: Path) -> None:
    launched = dinemic.prepare(tmp_path / "launched", store="memory")
    Person([])

    async def main() -> None:
        async with dinemic.open_node(tmp_path / "own", network=False, store="memory"):
            assert dinemic.object_list() == []
        assert len(dinemic.object_list()) == 1

    trio.run(main)
    launched.check_open()


def test_a_cancelled_program_still_closes_its_node(tmp_path: Path) -> None:
    async def main() -> None:
        with trio.CancelScope() as scope:
            async with dinemic.open_node(tmp_path, network=False):
                Person([]).name.set("Bob")
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught

    trio.run(main)
    dinemic.prepare(tmp_path)
    (p,) = Person.objects()
    assert p.name.get() == "Bob"


def test_an_error_in_the_block_comes_out_and_the_node_is_closed(tmp_path: Path) -> None:
    async def main() -> None:
        async with dinemic.open_node(tmp_path, network=False):
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        trio.run(main)
    dinemic.prepare(tmp_path)


def test_a_node_that_cannot_listen_is_closed_again(tmp_path: Path) -> None:
    async def main(port: int) -> None:
        async with dinemic.open_node(tmp_path, listen=f"127.0.0.1:{port}", discover=False):
            raise AssertionError("never open")

    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(TransportError):
        trio.run(main, taken.getsockname()[1])
    dinemic.prepare(tmp_path)


def test_two_nodes_of_one_trio_program_meet(tmp_path: Path) -> None:
    async def main() -> None:
        async with dinemic.open_node(tmp_path / "a", store="memory", **QUIET) as a:
            p = Person([])
            p.name.set("Bob")
            assert a.network is not None
            address = a.network.addresses[0]
            async with dinemic.open_node(
                tmp_path / "b", store="memory", peers=[address], **QUIET
            ) as b:
                assert await trio.to_thread.run_sync(dinemic.wait_synced, 20)
                assert Person(p.get_db_id()).name.get() == "Bob"
                p.name.set("Rob")
                assert b.network is not None
                mirror = Person(p.get_db_id())
                await trio.to_thread.run_sync(wait_until, lambda: mirror.name.get() == "Rob")
                assert a.view.digest_all() == b.view.digest_all()

    trio.run(main)
