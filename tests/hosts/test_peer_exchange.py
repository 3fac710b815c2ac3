"""Processes that were each told of one node only: they end linked to all, over mutual TLS."""

from __future__ import annotations

from pathlib import Path

from support.hosts import Host, hosts

NO_MDNS = "import dinemic.net\ndinemic.net.Network._discoveries = lambda self, addresses: []"
LINKED = (
    "{{peer.node_id for peer in dinemic.status().network.peers if peer.state == 'open'}} == {!r}"
)
"""The set comprehension of the nodes there are open links to, compared."""


def start(host: Host, *peers: str, discover: bool = True) -> tuple[str, str]:
    """Launch without mDNS, which would find them too; node id and address."""
    host.run(NO_MDNS)
    address = host.launch(peers=list(peers), discover=discover)
    return str(host.run("dinemic.status().network.node_id")), address


def test_nodes_that_know_the_middle_one_link_directly_and_live_on_without_it(
    tmp_path: Path,
) -> None:
    with hosts(tmp_path, "middle", "a", "b", "quiet") as (middle, a, b, quiet):
        middle_id, address = start(middle)
        quiet_id, _ = start(quiet, address, discover=False)
        quiet.wait(LINKED.format({middle_id}))
        a_id, _ = start(a, address)
        b_id, _ = start(b, address)
        a.wait(LINKED.format({middle_id, b_id}))
        b.wait(LINKED.format({middle_id, a_id}))
        middle.wait(LINKED.format({a_id, b_id, quiet_id}))
        assert quiet.run(LINKED.format({middle_id}))  # it asked for this link and got no other

        middle.kill()
        a.wait(LINKED.format({b_id}))
        db_id = a.run("p = Person([])\np.name.set('Bob')\np.get_db_id()")
        b.wait(f"Person({db_id!r}).name.get() == 'Bob'")
        assert b.run("dinemic.wait_synced(20)")
        assert a.digest() == b.digest()
        assert quiet.run("dinemic.object_list()") == []
