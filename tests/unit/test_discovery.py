"""Finding peers by mDNS and by hand (CHAN-5)."""

from __future__ import annotations

import functools
import logging
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from dinemic_engine import ids
from dinemic_engine.errors import TransportError, UsageError
from dinemic_transport.discovery import (
    ADDRESSES_PER_PEER_MAX,
    HINTS_MAX,
    MdnsDiscovery,
    StaticDiscovery,
    announced_hosts,
    cluster_tag,
)

OURS, THEIRS = b"\1" * 32, b"\2" * 32
TXT = {b"v": b"1", b"id": ids.to_text(THEIRS).encode(), b"c": cluster_tag("c").encode()}
FOUND_SECONDS_MAX = 20
"""Found in about 0.3 s here; a loaded machine may take its time."""


def mdns(node_id: bytes, port: int, cluster: str) -> MdnsDiscovery:
    return MdnsDiscovery(node_id, port, cluster, hosts=["127.0.0.1"])


@pytest.fixture(scope="module")
def _multicast() -> None:
    """Skip where loopback carries no multicast."""
    group = socket.inet_aton("224.0.0.251") + socket.inet_aton("127.0.0.1")
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        try:
            receiver.bind(("", 0))
            receiver.settimeout(2)
            receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, group[4:])
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, struct.pack("B", 1))
            sender.sendto(b"x", ("224.0.0.251", receiver.getsockname()[1]))
            receiver.recv(1)
        except OSError as error:
            pytest.skip(f"no multicast on loopback: {error}")


# -- what is announced and what is believed ------------------------------------------------------


def test_a_peer_of_our_cluster_gives_one_hint_per_address() -> None:
    hints = mdns(OURS, 1, "c")._hints_untrusted(TXT, ["192.0.2.1", "2001:db8::1"], 7000)
    assert hints == [("192.0.2.1:7000", THEIRS), ("[2001:db8::1]:7000", THEIRS)]


@pytest.mark.parametrize(
    "change",
    [
        {b"v": b"2"},
        {b"v": None},
        {b"c": cluster_tag("another").encode()},
        {b"c": None},
        {b"id": ids.to_text(OURS).encode()},
        {b"id": b""},
        {b"id": None},
        {b"id": b"\xff" * 52},
        {b"id": ids.to_text(THEIRS).upper().encode()},
        {b"id": TXT[b"id"] + b"a"},
    ],
)
def test_ourselves_another_cluster_and_malformed_announcements_are_ignored(
    change: dict[bytes, bytes | None],
) -> None:
    assert mdns(OURS, 1, "c")._hints_untrusted({**TXT, **change}, ["192.0.2.1"], 7000) == []


@pytest.mark.parametrize("port", [None, 0, -1, 65536])
def test_a_port_that_nobody_can_dial_is_ignored(port: int | None) -> None:
    assert mdns(OURS, 1, "c")._hints_untrusted(TXT, ["192.0.2.1"], port) == []


def test_addresses_are_few_and_none_that_would_reach_many() -> None:
    hosts = ["0.0.0.0", "224.0.0.1", "::", *(f"192.0.2.{n}" for n in range(20))]
    hints = mdns(OURS, 1, "c")._hints_untrusted(TXT, hosts, 7000)
    assert len(hosts) > ADDRESSES_PER_PEER_MAX
    assert hints == [(f"192.0.2.{n}:7000", THEIRS) for n in range(ADDRESSES_PER_PEER_MAX - 3)]


@given(
    st.dictionaries(st.sampled_from([*TXT, b"x"]), st.none() | st.binary(max_size=60)),
    st.lists(st.text(max_size=20) | st.sampled_from(["192.0.2.1", "fe80::1%lo"]), max_size=4),
    st.none() | st.integers(),
    st.booleans(),
)
def test_no_announcement_breaks_the_reader(
    properties: Mapping[bytes, bytes | None], hosts: Sequence[str], port: int | None, valid: bool
) -> None:
    hints = mdns(OURS, 1, "c")._hints_untrusted(TXT if valid else properties, hosts, port)
    assert all(node_id == THEIRS for _, node_id in hints)


@pytest.mark.parametrize(
    ("listening", "interfaces", "announced"),
    [
        (["0.0.0.0"], None, ["192.0.2.2", "169.254.3.4"]),
        (["0.0.0.0", "::"], None, ["192.0.2.2", "169.254.3.4", "2001:db8::2"]),
        (["0.0.0.0"], ["127.0.0.1"], ["127.0.0.1"]),
        (["0.0.0.0"], ["192.0.2.2"], ["192.0.2.2"]),
        (["127.0.0.1"], None, ["127.0.0.1"]),
        (["192.0.2.2"], None, ["192.0.2.2"]),
        (["not an address"], None, []),
    ],
)
def test_a_node_announces_where_it_can_be_dialled(
    listening: list[str], interfaces: list[str] | None, announced: list[str]
) -> None:
    machine = ["127.0.0.1", "192.0.2.2", "169.254.3.4", "::1", "fe80::5", "2001:db8::2"]
    assert announced_hosts(listening, interfaces, machine) == announced


def test_a_machine_with_loopback_alone_announces_that() -> None:
    assert announced_hosts(["0.0.0.0"], None, ["127.0.0.1", "::1"]) == ["127.0.0.1"]


def test_the_cluster_tag_is_what_it_always_was() -> None:
    assert cluster_tag("dinemic") == "915de204b686fabb"


# -- by hand ------------------------------------------------------------------------------------


def test_static_peers_are_reported_once_each() -> None:
    async def main() -> list[tuple[str, bytes | None]]:
        found: list[tuple[str, bytes | None]] = []
        with trio.move_on_after(60):
            await StaticDiscovery(["127.0.0.1:7", "[::1]:8"]).run(lambda *hint: found.append(hint))
        return found

    found = trio.run(main, clock=MockClock(autojump_threshold=0))
    assert found == [("127.0.0.1:7", None), ("[::1]:8", None)]


@pytest.mark.parametrize("peer", ["nowhere", "host:0", "::1:7"])
def test_a_static_peer_that_is_no_address_is_named_at_once(peer: str) -> None:
    with pytest.raises(UsageError, match=peer):
        StaticDiscovery(["127.0.0.1:7", peer])


# -- for real -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("_multicast")
def test_nodes_of_one_cluster_in_one_process_find_each_other_and_no_others() -> None:
    cluster = f"test-{os.getpid()}-one-process"
    found: list[tuple[int, str, bytes | None]] = []

    async def main() -> None:
        with trio.fail_after(FOUND_SECONDS_MAX):
            async with trio.open_nursery() as nursery:

                def note(number: int, address: str, node_id: bytes | None) -> None:
                    found.append((number, address, node_id))
                    if {1, 2} <= {number for number, *_ in found}:
                        nursery.cancel_scope.cancel()

                for number, name in ((1, cluster), (2, cluster), (3, f"{cluster}-other")):
                    node = mdns(bytes([number]) * 32, 7000 + number, name)
                    nursery.start_soon(node.run, functools.partial(note, number))
                over_udp = MdnsDiscovery(b"\4" * 32, 7004, cluster, hosts=["127.0.0.1"], over="udp")
                nursery.start_soon(over_udp.run, functools.partial(note, 4))

    trio.run(main)
    assert set(found) == {(1, "127.0.0.1:7002", THEIRS), (2, "127.0.0.1:7001", OURS)}


PROCESS = """
import sys, trio
from dinemic_transport.discovery import MdnsDiscovery

async def main(number, cluster):
    async with trio.open_nursery() as nursery:
        def found(address, node_id):
            print(address, node_id.hex(), flush=True)
        node = MdnsDiscovery(bytes([number]) * 32, 7000 + number, cluster, hosts=["127.0.0.1"])
        nursery.start_soon(node.run, found)
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel()

trio.run(main, int(sys.argv[1]), sys.argv[2])
"""


@pytest.mark.usefixtures("_multicast")
def test_two_processes_on_one_host_find_each_other_whichever_came_first() -> None:
    cluster = f"test-{os.getpid()}-two-processes"
    processes = []
    try:
        for number in (1, 2):
            command = [sys.executable, "-c", PROCESS, str(number), cluster]
            processes.append(
                subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                )
            )
        for number, process in zip((1, 2), processes, strict=True):
            assert process.stdout is not None
            other = 3 - number
            assert process.stdout.readline().split() == [
                f"127.0.0.1:700{other}",
                (bytes([other]) * 32).hex(),
            ]
        for process in processes:
            assert process.stdin is not None
            process.stdin.close()
        assert [process.wait(FOUND_SECONDS_MAX) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()


@pytest.mark.usefixtures("_multicast")
def test_discovery_ends_within_a_second_of_being_cancelled() -> None:
    async def main() -> float:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(mdns(OURS, 7001, "quick").run, lambda *hint: None)
            await trio.sleep(0.1)
            nursery.cancel_scope.cancel()
            start = time.monotonic()
        return time.monotonic() - start

    assert trio.run(main) < 1


# -- where mDNS does not work -------------------------------------------------------------------


def test_where_mdns_fails_it_says_so_once_and_keeps_trying(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="dinemic_transport")
    tries = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            token = trio.lowlevel.current_trio_token()

            def fail(**options: object) -> object:
                tries.append(options)
                if len(tries) == 3:
                    token.run_sync_soon(nursery.cancel_scope.cancel)
                raise OSError(19, "No such device")

            monkeypatch.setattr("zeroconf.Zeroconf", fail)
            nursery.start_soon(mdns(OURS, 7001, "c").run, lambda *hint: None)

    trio.run(main, clock=MockClock(rate=1000))
    levels = [record.levelname for record in caplog.records]
    assert levels[:2] == ["WARNING", "DEBUG"]
    assert levels.count("WARNING") == 1
    assert "No such device" in caplog.records[0].getMessage()


def test_only_interfaces_that_carry_multicast_are_spoken_on() -> None:
    strangers = ["203.0.113.1", "::1", "no address"]  # of no interface here, IPv6, neither
    with pytest.raises(TransportError, match="no interface carries multicast"):
        MdnsDiscovery(OURS, 7001, "c", interfaces=strangers)._spoken_on()


def test_a_flood_of_announcements_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    discovery, found, flooded = mdns(OURS, 7001, "c"), [], threading.Event()

    def flood(post: Callable[[tuple[str, bytes]], None], stop: threading.Event) -> None:
        for number in range(10 * HINTS_MAX):
            post((f"192.0.2.1:{1 + number}", THEIRS))
        flooded.set()
        stop.wait()

    def note(address: str, node_id: bytes | None) -> None:
        found.append(address)
        flooded.wait(10)  # a node that is busy while the flood comes in

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(discovery.run, note)
            await trio.to_thread.run_sync(flooded.wait)
            await wait_all_tasks_blocked(0.01)
            nursery.cancel_scope.cancel()

    monkeypatch.setattr(discovery, "_speak_mdns", flood)
    trio.run(main)
    assert found[0] == "192.0.2.1:1"
    assert HINTS_MAX <= len(found) <= 3 * HINTS_MAX


def test_an_announcement_that_zeroconf_cannot_read_is_no_hint() -> None:
    import zeroconf

    def fail(*arguments: object, **options: object) -> None:
        raise zeroconf.BadTypeInNameException

    network = SimpleNamespace(get_service_info=fail)
    assert mdns(OURS, 1, "c")._look_up_untrusted(network, "_x._tcp.local.", "y") == []  # type: ignore[arg-type]


def test_importing_discovery_does_not_import_zeroconf() -> None:
    code = "import dinemic_transport.discovery, sys; sys.exit('zeroconf' in sys.modules)"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=env, check=False).returncode == 0
