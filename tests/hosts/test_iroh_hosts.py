"""Processes that reach each other over iroh: the same nodes on another transport."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.hosts import Host, RemoteError, hosts

pytest.importorskip("iroh", reason="the extra 'iroh' is not installed")

KEY = "a key of the cluster"
LINKED = "[peer.state for peer in dinemic.status().network.peers] == ['open'] * {}"


def start(host: Host, *peers: str, cluster_key: str = KEY, discover: bool = False) -> str:
    """Launch over iroh, without mDNS; the address to dial it at."""
    host.run("import dinemic.net\ndinemic.net.Network._discoveries = lambda self, addresses: []")
    place = host.launch(
        transport="iroh", cluster_key=cluster_key, peers=list(peers), discover=discover
    )
    node = host.run("from dinemic_engine.ids import to_text\nto_text(node.node_id)")
    return f"{node}@{place}"


def test_two_processes_share_a_person_and_one_comes_back_after_kill_9(tmp_path: Path) -> None:
    with hosts(tmp_path, "one", "other") as (one, other):
        address = start(one)
        start(other, address)
        db_id = one.run("p = Person([])\np.name.set('Bob')\np.salary.set(7)\np.get_db_id()")
        other.wait(f"Person({db_id!r}).name.get() == 'Bob'")
        one.run("p.name.set('Ann')")
        other.wait(f"Person({db_id!r}).name.get() == 'Ann'")
        assert other.run("dinemic.wait_synced(20)")
        assert one.digest() == other.digest()

        other.kill()
        one.run("p.name.set('Eve')")
        with hosts(tmp_path, "other") as (again,):
            start(again, address)
            again.wait(f"Person({db_id!r}).name.get() == 'Eve'")
            assert again.digest() == one.digest()
            again.stop()


def test_nodes_tell_each_other_of_nodes_over_iroh_too(tmp_path: Path) -> None:
    with hosts(tmp_path, "middle", "a", "b") as (middle, a, b):
        address = start(middle, discover=True)
        start(a, address, discover=True)
        start(b, address, discover=True)
        for host in (middle, a, b):
            host.wait(LINKED.format(2))


def test_another_cluster_key_keeps_processes_apart(tmp_path: Path) -> None:
    with hosts(tmp_path, "one", "stranger") as (one, stranger):
        address = start(one)
        start(stranger, address, cluster_key=KEY + "!")
        one.wait("node.network._runner._transport.refused >= 2")
        assert one.run(LINKED.format(0))
        assert stranger.run(LINKED.format(0))


def test_a_place_alone_is_no_address_over_iroh(tmp_path: Path) -> None:
    with hosts(tmp_path, "one") as (one,):
        with pytest.raises(RemoteError, match="node@host:port"):
            start(one, "127.0.0.1:1")
        start(one)
