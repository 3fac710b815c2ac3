"""A relay between processes that never meet, and nodes that deny each other."""

from __future__ import annotations

from pathlib import Path

from support.hosts import Host, hosts

SECRET = "seventeen million and four"
PEERS = "[peer.node_id for peer in dinemic.status().network.peers]"


def node_id(host: Host) -> str:
    """The id of a host's node, which its home keeps."""
    host.run(f"import dinemic\ndinemic.prepare({str(host.home)!r})")
    found = str(host.run("dinemic.status().node_id"))
    host.run("dinemic.shutdown()")
    return found


def test_what_one_wrote_reaches_another_through_a_relay_that_cannot_read_it(
    tmp_path: Path,
) -> None:
    with hosts(tmp_path, "a", "relay", "b") as (a, relay, b):
        a_id, b_id = node_id(a), node_id(b)
        middle = relay.launch(relay=True)
        relay_id = relay.run("dinemic.status().node_id")
        a.launch(peers=[middle], deny=[b_id])
        chief = a.run("chief = Person([])\nchief.get_db_id()")
        db_id = a.run(
            f"p = Person([{chief!r}])\np.name.set('in the clear')\np.salary.set({SECRET!r})\n"
            "p.get_db_id()"
        )
        relay.wait(f"Person({db_id!r}).name.get() == 'in the clear'")
        assert a.run("dinemic.wait_synced(20)")
        assert a.run(PEERS) == [relay_id]
        digest = a.digest()
        a.kill()

        b.launch(peers=[middle], deny=[a_id])
        b.wait(f"Person({db_id!r}).name.get() == 'in the clear'")
        assert b.run("dinemic.wait_synced(20)")
        assert b.run(PEERS) == [relay_id]
        assert b.digest() == relay.digest() == digest

        with hosts(tmp_path, "a") as (again,):  # the owner's key opens it, from what is on disk
            again.launch()
            assert again.run(f"Person({db_id!r}, {chief!r}).salary.get()") == SECRET
        relay.run("dinemic.shutdown()")
    kept = [path for path in (tmp_path / "relay").rglob("*") if path.is_file()]
    contents = b"".join(path.read_bytes() for path in kept)
    assert b"in the clear" in contents  # the search would find it
    assert SECRET.encode() not in contents
    assert not list((tmp_path / "relay" / "keys").glob(f"{db_id.partition(':')[2]}*"))


def test_news_pass_a_relay_both_ways(tmp_path: Path) -> None:
    with hosts(tmp_path, "a", "relay", "b") as (a, relay, b):
        middle = relay.launch(relay=True)
        a.launch("pydinemic", peers=[middle])
        b.launch("pydinemic", peers=[middle])
        db_id = a.run("p = Person([])\np.name.set('first')\np.get_db_id()")
        b.run(f"q = Person({db_id!r})")
        for number in range(5):
            a.run(f"p.name.set('a{number}')")
            b.wait(f"q.name.get() == 'a{number}'")
            b.run(f"q.name.set('b{number}')")
            a.wait(f"p.name.get() == 'b{number}'")
        assert relay.run("(dinemic.status().authored, dinemic.status().refused)") == [0, {}]


def test_a_denied_node_gets_no_link_whoever_dials(tmp_path: Path) -> None:
    with hosts(tmp_path, "a", "b", "c") as (a, b, c):
        b_id = node_id(b)
        address = a.launch(deny=[b_id], allow=[b_id, node_id(c)])
        there = b.launch(peers=[address])
        c.launch(peers=[address, there])
        c_id = c.run("dinemic.status().node_id")
        db_id = a.run("p = Person([])\np.name.set('Bob')\np.get_db_id()")
        c.wait(f"{db_id!r} in dinemic.object_list()")
        b.wait(f"{db_id!r} in dinemic.object_list()")  # by c, for nobody keeps secrets from it
        assert a.run(PEERS) == [c_id]
        assert b.run(PEERS) == [c_id]

        a.run("dinemic.shutdown()")
        a.launch(deny=[b_id], peers=[there])
        assert a.run("dinemic.wait_synced(0.5)") is False
        assert a.run(PEERS) == []
