"""Hosts in network namespaces: the seed's way of finding each other, and a real partition."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.hosts import hosts
from support.namespaces import namespaces

pytestmark = pytest.mark.root


def test_hosts_on_one_network_find_each_other_and_share_a_person(tmp_path: Path) -> None:
    with (
        namespaces(2) as net,
        hosts(tmp_path, "a", "b", prefixes=[host.prefix for host in net]) as (a, b),
    ):
        for host in (a, b):
            host.launch("pydinemic", listen=None, discover=True)
        db_id = a.run("p = Person([])\np.name.set('Bob')\np.salary.set('1234')\np.get_db_id()")
        b.run(f"q = Person({db_id!r}, '')")
        b.wait("'salary' in q.keys()")

        assert b.run("q.name.get()") == "Bob"
        assert a.digest() == b.digest()


def test_a_partition_heals_to_the_same_state_on_three_hosts(tmp_path: Path) -> None:
    with (
        namespaces(3) as net,
        hosts(tmp_path, "a", "b", "c", prefixes=[host.prefix for host in net]) as (a, b, c),
    ):
        addresses = [f"{host.address}:7643" for host in net]
        for host, address in zip((a, b, c), addresses, strict=True):
            host.launch(listen=address, peers=[other for other in addresses if other != address])
        db_id = a.run("chief = Person([])\nchief.get_db_id()")
        for host in (b, c):
            host.wait(f"{db_id!r} in dinemic.object_list()")
        mine = {}
        for host in (b, c):
            mine[host] = host.run(f"p = Person([{db_id!r}])\np.get_db_id()")
        for host in (a, b, c):
            host.wait("len(dinemic.object_list()) == 3")
        net[2].part_from(net[0], net[1])
        net[0].part_from(net[2])
        net[1].part_from(net[2])
        a.run(f"q = Person({mine[c]!r}, {db_id!r})\nq.name.set('from a')\nq.salary.set(1)")
        c.run("p.name.set('from c')\np.salary.set(2)")
        b.wait(f"Person({mine[c]!r}).name.get() == 'from a'")

        assert c.run("p.name.get()") == "from c"
        for place in net:
            place.heal()
        for host in (a, b, c):
            host.wait(f"len(Person({mine[c]!r}).conflicts('name')) == 2", 60)
            host.wait("dinemic.wait_synced(10)", 60)
        digests = {host.digest() for host in (a, b, c)}

        assert len(digests) == 1
        winner = c.run("p.name.get()")
        assert winner in ("from a", "from c")
        assert a.run("q.name.get()") == winner
        assert c.run("[conflict.value for conflict in p.name.conflicts()][0]") == winner
        assert a.run("q.salary.get()") == c.run("p.salary.get()")
