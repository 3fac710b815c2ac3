"""Two operating system processes, each with its own home, over mutual TLS on loopback."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from support.hosts import Host, RemoteError, hosts
from support.relay import Relay

NEW = "p = Person([])\np.name.set('Bob')\np.salary.set('1234')\np.get_db_id()"


def test_the_first_script_of_the_seed(tmp_path: Path) -> None:
    with hosts(tmp_path, "a", "b") as (a, b):
        address = a.launch("pydinemic")
        b.launch("pydinemic", peers=[address])
        for host in (a, b):
            host.run("pydinemic.set_loglevel('error')")
        db_id = a.run(NEW)

        assert db_id.startswith("Person:")
        assert a.run("p.name.get()") == "Bob"
        assert a.run("p.salary.get()") == "1234"
        b.run(f"q = Person({db_id!r}, '')")
        b.wait("q.keys() == ['name', 'salary']")
        assert b.run("q.name.get()") == "Bob"
        with pytest.raises(RemoteError, match="sealed") as raised:
            b.run("q.salary.get()")
        assert raised.value.kind == "Unreadable"
        assert (a.run("p.is_owned()"), b.run("q.is_owned()")) == (True, False)


def test_the_second_script_of_the_seed(tmp_path: Path) -> None:
    with hosts(tmp_path, "a", "b") as (a, b):
        address = a.launch("pydinemic")
        b.launch("pydinemic", peers=[address])
        chief = b.run("chief = Person([])\nchief.get_db_id()")
        a.wait(f"{chief!r} in pydinemic.object_list()")
        worker = a.run(
            f"worker = Person([{chief!r}])\n"
            "worker.name.set('Bob')\nworker.salary.set('44321')\nworker.get_db_id()"
        )
        b.run(f"my_worker = Person({worker!r}, {chief!r})")
        b.wait("'salary' in my_worker.keys()")

        assert b.run("my_worker.salary.get()") == "44321"
        with pytest.raises(RemoteError, match="Unreadable"):
            b.run(f"Person({worker!r}, '').salary.get()")
        b.run("my_worker.salary.set('50000')")
        a.wait("worker.salary.get() == '50000'")


def test_a_closed_object_takes_no_change_from_a_stranger(tmp_path: Path) -> None:
    with hosts(tmp_path, "a", "b") as (a, b):
        b_peers = [a.launch()]
        b.launch(peers=b_peers)
        db_id = a.run(NEW)
        b.run(f"q = Person({db_id!r})")
        b.wait("q.name.get() == 'Bob'")

        with pytest.raises(RemoteError, match="AUTH-5") as raised:
            b.run("q.name.set('Eve')")
        assert raised.value.kind == "UpdateRejected"
        assert b.run("(q.name.get(), dinemic.status().authored)") == ["Bob", 0]


def test_kill_9_loses_nothing_and_both_sides_catch_up(tmp_path: Path) -> None:
    with hosts(tmp_path, "a", "b") as (a, b):
        address = a.launch()
        b.launch(peers=[address])
        mine = a.run(NEW)
        yours = b.run(NEW)
        b.run("for n in range(200): p.name.set(f'before {n}')")
        b.kill()
        a.run("for n in range(300): p.name.set(f'alone {n}')")
        with hosts(tmp_path, "b") as (again,):
            again.launch(peers=[address])
            again.run(f"p, q = Person({yours!r}), Person({mine!r})")
            assert again.run("(p.is_owned(), p.name.get(), p.salary.get())") == [
                True,
                "before 199",
                "1234",
            ]
            assert len(again.run("[event.event_id for event in p.history()]")) == 203
            again.wait("q.name.get() == 'alone 299'")
            a.wait(f"Person({yours!r}).name.get() == 'before 199'")
            assert again.run("dinemic.wait_synced(20)")

            assert a.digest() == again.digest()


def test_ten_thousand_events_each_way_meet_though_the_link_is_cut(tmp_path: Path) -> None:
    with hosts(tmp_path, "a", "b") as (a, b):
        address = a.launch()
        mine = a.run("p = Person([])\nfor n in range(5000): p.name.set(n)\np.get_db_id()")
        b.launch()
        yours = b.run("p = Person([])\nfor n in range(5000): p.name.set(n)\np.get_db_id()")
        with Relay(address) as relay:
            b.run("dinemic.shutdown()")
            relay.cut_at(200_000, 600_000, 1_500_000)
            b.launch(peers=[relay.address])
            b.run(f"p, q = Person({yours!r}), Person({mine!r})")
            b.wait("q.name.get() == 4999", 60)
            a.wait(f"Person({yours!r}).name.get() == 4999", 60)
            assert b.run("dinemic.wait_synced(20)")

            assert relay.connections == 4
            assert a.digest() == b.digest()
            assert a.run("dinemic.status().events") == 10_002
            assert a.run("(dinemic.status().refused, dinemic.status().waiting)") == [{}, 0]


def test_a_home_belongs_to_one_process(tmp_path: Path) -> None:
    with hosts(tmp_path, "a") as (a,):
        a.launch()
        intruder = Host(a.home, log=tmp_path / "intruder.log")
        with pytest.raises(RemoteError, match=str(a.home)) as raised:
            intruder.launch()
        intruder.stop()

        assert raised.value.kind == "StoreLocked"
        assert a.run(NEW).startswith("Person:")


def test_a_wrong_cluster_key_gets_nowhere(tmp_path: Path) -> None:
    with hosts(tmp_path, "a", "b", "c") as (a, b, c):
        address = a.launch(cluster_key="the right key of this cluster")
        b.launch(cluster_key="some other key entirely, no", peers=[address])
        c.launch(cluster_key="the right key of this cluster", peers=[address])
        db_id = a.run(NEW)
        c.wait(f"{db_id!r} in dinemic.object_list()")

        assert b.run("dinemic.wait_synced(1.5)") is False
        assert b.run("dinemic.object_list()") == []
        assert a.run("len(dinemic.status().network.peers)") == 1


def test_garbage_on_the_port_changes_nothing(tmp_path: Path) -> None:
    with hosts(tmp_path, "a", "b") as (a, b):
        address = a.launch()
        db_id = a.run(NEW)
        before = a.digest()
        host, _, port = address.rpartition(":")
        for garbage in (
            b"",
            b"GET / HTTP/1.1\r\n\r\n",
            os.urandom(5000),
            b"\x16\x03\x01" + bytes(900),
        ):
            with socket.create_connection((host, int(port)), timeout=10) as knock:
                knock.sendall(garbage)
                knock.shutdown(socket.SHUT_WR)
                while True:
                    try:
                        if not knock.recv(4096):
                            break
                    except ConnectionResetError:
                        break
        b.launch(peers=[address])
        b.wait(f"{db_id!r} in dinemic.object_list()")

        assert a.digest() == before
        assert "Traceback" not in a.tail()


def test_a_sealed_value_is_in_no_file_and_in_no_packet(tmp_path: Path) -> None:
    secret = "seventeen million and four"
    with hosts(tmp_path, "a", "b") as (a, b):
        address = a.launch()
        with Relay(address) as relay:
            b.launch(peers=[relay.address])
            chief = b.run("chief = Person([])\nchief.get_db_id()")
            a.wait(f"{chief!r} in dinemic.object_list()")
            db_id = a.run(
                f"p = Person([{chief!r}])\np.name.set('in the clear')\n"
                f"p.salary.set({secret!r})\np.get_db_id()"
            )
            b.run(f"q = Person({db_id!r}, {chief!r})")
            b.wait(f"q.salary.get() == {secret!r}")
            for host in (a, b):
                host.run("dinemic.shutdown()")
            traffic = bytes(relay.captured)
    files = [path for home in ("a", "b") for path in (tmp_path / home).rglob("*") if path.is_file()]
    contents = b"".join(path.read_bytes() for path in files)

    assert b"in the clear" in contents  # the search would find it
    assert secret.encode() not in contents
    assert len(traffic) > 2000
    assert secret.encode() not in traffic
    assert b"in the clear" not in traffic  # links are encrypted, plain fields too


def test_two_hosts_find_each_other_by_mdns(tmp_path: Path) -> None:
    with hosts(tmp_path, "a", "b") as (a, b):
        cluster = f"test-{tmp_path.name}-{os.getpid()}"
        a.launch(discover=True, cluster=cluster)
        b.launch(discover=True, cluster=cluster)
        db_id = a.run(NEW)
        if "mDNS" in a.tail():
            pytest.skip("multicast does not work on this machine")
        b.wait(f"{db_id!r} in dinemic.object_list()")

        assert b.run(f"Person({db_id!r}).name.get()") == "Bob"
