"""Three processes, a partition, a revocation inside it: the same meaning on every host after it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.hosts import Host, RemoteError, hosts
from support.relay import Relay


class Trio:
    """A owns `p`; B acts as bob and C as carol, each with a handle `p` and an object of its own."""

    def __init__(self, a: Host, b: Host, c: Host, *relays: Relay) -> None:
        self.a, self.b, self.c = a, b, c
        self.all = (a, b, c)
        self.relays = relays
        self.bob = str(b.run("bob = Person([])\nbob.get_db_id()"))
        self.carol = str(c.run("carol = Person([])\ncarol.get_db_id()"))
        for name in (self.bob, self.carol):
            a.wait(f"{name!r} in dinemic.object_list()")
        self.p = str(
            a.run(
                f"p = Person([{self.bob!r}, {self.carol!r}])\n"
                "p.name.set('before')\np.salary.set('old')\np.get_db_id()"
            )
        )
        for host, caller in ((b, self.bob), (c, self.carol)):
            host.run(f"p = Person({self.p!r}, {caller!r})")
            host.wait("p.exists() and p.salary.get(None) == 'old'")

    def partition(self) -> None:
        for relay in self.relays:
            relay.sever()

    def heal(self) -> None:
        for relay in self.relays:
            relay.mend()

    def converge(self, seconds: float = 45.0) -> None:
        """Wait until every digest is equal."""
        end = time.monotonic() + seconds
        while len({host.digest() for host in self.all}) > 1:
            assert time.monotonic() < end, [host.digest()[:8] for host in self.all]
            time.sleep(0.05)

    def verdicts(self, host: Host) -> list[tuple[str, str]]:
        """(value written to `name`, rule if void) of the events that write it, in order."""
        found = host.run(
            "[(op.value, e.rule if e.verdict == 'void' else '') for e in p.history()"
            " for op in e.ops if getattr(op, 'field', '') == 'name']"
        )
        return [(value, rule.partition(":")[0]) for value, rule in found]


@contextmanager
def a_cut_off_from_b_and_c(directory: Path) -> Iterator[Trio]:
    """B and C reach A through one relay, and each other always."""
    with hosts(directory, "a", "b", "c") as (a, b, c), Relay(a.launch()) as relay:
        address = b.launch(peers=[relay.address])
        c.launch(peers=[relay.address, address])
        yield Trio(a, b, c, relay)


def test_a_writer_revoked_in_a_partition_loses_what_the_revoker_had_not_seen(
    tmp_path: Path,
) -> None:
    with a_cut_off_from_b_and_c(tmp_path) as three:
        a, b, c = three.all
        b.run("p.name.set('seen')")
        a.wait("p.name.get() == 'seen'")
        three.partition()
        a.run(f"p.revoke_update_authorized({three.bob!r})\np.name.set('alone')")
        b.run("for n in range(3): p.name.set(f'unseen {n}')")
        c.wait("p.name.get() == 'unseen 2'")
        c.run("p.name.set('kept 0')\np.name.set('kept 1')")
        b.wait("p.name.get() == 'kept 1'")
        b.run("for n in range(3, 5): p.name.set(f'unseen {n}')")
        three.heal()
        for host in three.all:
            host.wait("p.name.get() == 'kept 1'")
        three.converge()

        listed = [("before", ""), ("seen", ""), ("alone", "")]
        listed += [(f"unseen {n}", "AUTH-4") for n in range(3)]
        listed += [("kept 0", ""), ("kept 1", "")]
        alone = [(f"unseen {n}", "AUTH-4") for n in (3, 4)]
        assert three.verdicts(b) == listed + alone
        for host in (a, c):  # what nothing was built on need not come, or stay
            assert three.verdicts(host) in [listed, listed + alone[:1], listed + alone]
            why = host.run("[(w.value, w.outcome, w.rule) for w in p.why('name')]")
            assert why[0][:2] == ["kept 1", "wins"]
            assert [
                "unseen 0",
                "void",
                "AUTH-4: the author was revoked, unseen by the author",
            ] in why
        with pytest.raises(RemoteError, match="AUTH-5") as raised:
            b.run("p.name.set('once more')")
        assert raised.value.kind == "UpdateRejected"
        a.run(f"p.append_update_authorized({three.bob!r})")
        b.wait(f"p.is_update_authorized({three.bob!r})")
        b.run("p.name.set('back')")
        for host in three.all:
            host.wait("p.name.get() == 'back'")
        three.converge()


def test_a_reader_revoked_in_a_partition_opens_nothing_its_writers_sealed_knowing_it(
    tmp_path: Path,
) -> None:
    with a_cut_off_from_b_and_c(tmp_path) as three:
        a, b, c = three.all
        three.partition()
        a.run(f"p.revoke_read_authorized({three.bob!r})\np.salary.set('without bob')")
        c.run("p.salary.set('carol knows nothing yet')")
        b.wait("p.salary.get() == 'carol knows nothing yet'")
        three.heal()
        three.converge()
        for host in (a, c):
            assert host.run("p.salary.get()") == "carol knows nothing yet"
        c.run("p.salary.set('carol knows')")
        a.wait("p.salary.get() == 'carol knows'")
        three.converge()

        with pytest.raises(RemoteError) as raised:
            b.run("p.salary.get()")
        assert raised.value.kind == "Unreadable"
        assert b.run(f"p.is_read_authorized({three.bob!r})") is False


def test_a_new_reader_opens_what_was_there_before_or_not_as_asked(tmp_path: Path) -> None:
    with a_cut_off_from_b_and_c(tmp_path) as three:
        a, b, _ = three.all
        with_history, without = b.run(
            "dora, eve = Person([]), Person([])\n(dora.get_db_id(), eve.get_db_id())"
        )
        for name in (with_history, without):
            a.wait(f"{name!r} in dinemic.object_list()")
        a.run(f"p.append_read_authorized({without!r}, history=False)")
        a.run(f"p.append_read_authorized({with_history!r}, history=True)")
        b.run(f"as_dora, as_eve = (Person(p.get_db_id(), x) for x in {(with_history, without)!r})")
        b.wait(f"p.is_read_authorized({with_history!r}) and p.is_read_authorized({without!r})")
        three.converge()

        assert b.run("as_dora.salary.get()") == "old"
        with pytest.raises(RemoteError) as raised:
            b.run("as_eve.salary.get()")
        assert raised.value.kind == "Unreadable"
        a.run("p.salary.set('new')")
        b.wait("as_dora.salary.get() == 'new'")
        assert b.run("as_eve.salary.get()") == "new"
        three.converge()


def test_ending_an_admin_gives_back_what_its_unseen_revocation_had_voided(tmp_path: Path) -> None:
    with (
        hosts(tmp_path, "a", "b", "c") as (a, b, c),
        Relay(a.launch()) as to_a,
        Relay(c.launch(peers=[to_a.address])) as to_c,
    ):
        b.launch(peers=[to_c.address])
        three = Trio(a, b, c, to_a, to_c)
        a.run(f"p.append_admin_authorized({three.carol!r})")
        c.wait(f"p.is_admin_authorized({three.carol!r})")
        three.converge()
        three.partition()
        c.run(f"p.revoke_update_authorized({three.bob!r})")
        b.run("p.name.set('given back')")
        a.run(f"p.revoke_admin_authorized({three.carol!r})")
        to_c.mend()
        b.wait("p.name.get() == 'before'")
        assert three.verdicts(b) == [("before", ""), ("given back", "AUTH-4")]
        three.heal()
        for host in three.all:
            host.wait("p.name.get() == 'given back'")
        three.converge()

        assert [three.verdicts(host)[-1] for host in three.all] == [("given back", "")] * 3
        assert b.run(f"p.is_update_authorized({three.bob!r})") is True
