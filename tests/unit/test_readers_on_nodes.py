"""Readers that come and go: which epochs are made for them, and what they open (I-07)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import dinemic
from dinemic.node import Node
from dinemic_engine import ops, sealing
from dinemic_engine.canonical import Sealed
from dinemic_engine.edits import Set
from dinemic_engine.ids import AuthorId
from dinemic_engine.ops import Epoch
from support.models import Chief, Person, shared
from support.nodes import acting, exchange, forge, object_id, open_node, send, trace


def epochs(handle: dinemic.DModel) -> list[Epoch]:
    return [op for event in handle.history() for op in event.ops if isinstance(op, Epoch)]


def commits(handle: dinemic.DModel) -> set[bytes]:
    return {epoch.commit for epoch in epochs(handle)}


def old(handle: dinemic.DModel) -> list[Sealed]:
    """The sealed values of the field salary, in order."""
    ops = [op for event in handle.history() for op in event.ops]
    return [op.value for op in ops if isinstance(op, Set) and op.field == "salary"]  # type: ignore[misc]


# -- who comes and who goes -----------------------------------------------------------------------


def test_a_new_reader_opens_the_history_or_what_is_sealed_from_then_on(
    two: tuple[Node, Node],
) -> None:
    a, b = two
    with acting(b):
        late, later = Chief([]), Chief([])
    send(b, a)
    with acting(a):
        p = Person([])
        p.salary.set("before")
        p.bonus.set(1)
        p.append_read_authorized(late.get_db_id(), history=False)
        p.append_read_authorized(later.get_db_id())
    send(a, b)
    with acting(b):
        new, old = (Person(p.get_db_id(), reader.get_db_id()) for reader in (late, later))
        assert (old.salary.get(), old.bonus.get()) == ("before", 1)
        with pytest.raises(dinemic.Unreadable):
            new.salary.get()
    p.salary.set("after")
    send(a, b)
    with acting(b):
        assert new.salary.get() == old.salary.get() == "after"
        with pytest.raises(dinemic.Unreadable):
            new.bonus.get()
    assert p.bonus.get() == 1
    before = trace(a)
    p.append_read_authorized(late.get_db_id())
    assert trace(a) == before, "a reader already"
    p.revoke_read_authorized(late.get_db_id())
    p.append_read_authorized(late.get_db_id())
    send(a, b)
    with acting(b):
        assert new.bonus.get() == 1


def test_history_opens_every_epoch_before_and_costs_no_new_one(node: Node) -> None:
    p, readers = Person([]), [Chief([]) for _ in range(4)]
    for number, reader in enumerate(readers):
        p.salary.set(number)
        p.append_read_authorized(reader.get_db_id(), history=False)
    p.salary.set(4)
    made = commits(p)
    assert len(made) == 5
    last = Chief([])
    p.append_read_authorized(last.get_db_id())
    p.bonus.set("for all")
    assert commits(p) == made
    handle = Person(p.get_db_id(), last.get_db_id())
    values = [node.unseal(object_id(p), "value_salary", each, object_id(last)) for each in old(p)]
    assert values == [0, 1, 2, 3, 4]
    assert handle.bonus.get() == "for all"
    for number, reader in enumerate(readers):
        opened = 0
        for each in old(p):
            try:
                node.unseal(object_id(p), "value_salary", each, object_id(reader))
                opened += 1
            except dinemic.Unreadable:
                pass
        assert opened == 4 - number, "without history stays without, whoever is granted later"


def test_a_removed_reader_does_not_open_the_next_value_of_anybody_who_knows(
    two: tuple[Node, Node],
) -> None:
    """I-07, across a partition: both sides write before they meet, and after."""
    a, b = two
    with acting(b):
        reader, writer, kept = Chief([]), Chief([]), Chief([])
    send(b, a)
    with acting(a):
        p = Person([writer.get_db_id()])
        p.append_read_authorized(reader.get_db_id())
        p.append_read_authorized(kept.get_db_id())
        p.salary.set("at first")
    exchange(a, b)
    p.revoke_read_authorized(reader.get_db_id())
    p.salary.set("after it")
    with acting(b):
        there = Person(p.get_db_id(), writer.get_db_id())
        there.bonus.set("unseen")
        gone = Person(p.get_db_id(), reader.get_db_id())
        assert gone.bonus.get() == "unseen", "its author did not know"
    exchange(a, b)
    assert trace(a)[1] == trace(b)[1]
    with acting(b):
        with pytest.raises(dinemic.Unreadable):
            gone.salary.get()
        there.bonus.set("seen")
        with pytest.raises(dinemic.Unreadable):
            gone.bonus.get()
        stays = Person(p.get_db_id(), kept.get_db_id())
        assert (stays.salary.get(), stays.bonus.get()) == ("after it", "seen")
    exchange(a, b)
    assert p.bonus.get() == "seen"
    with acting(a):
        p.append_read_authorized(reader.get_db_id(), history=False)
        p.salary.set("a reader again")
    exchange(a, b)
    with acting(b):
        assert gone.salary.get() == "a reader again"
        with pytest.raises(dinemic.Unreadable):
            gone.bonus.get()


def test_readers_granted_on_two_sides_at_once_both_read_what_comes_after(
    two: tuple[Node, Node],
) -> None:
    a, b = two
    with acting(b):
        admin, one, other = Chief([]), Chief([]), Chief([])
    send(b, a)
    with acting(a):
        p = Person([])
        p.append_admin_authorized(admin.get_db_id())
    send(a, b)
    with acting(b):
        handle = Person(p.get_db_id(), admin.get_db_id())
        handle.append_read_authorized(other.get_db_id())
        handle.salary.set("for owner and other")
    p.append_read_authorized(one.get_db_id())
    p.salary.set("for owner and one")
    exchange(a, b)
    p.salary.set("for all three")
    send(a, b)
    with acting(b):
        for reader in (one, other):
            assert Person(p.get_db_id(), reader.get_db_id()).salary.get() == "for all three"
    assert trace(a)[1] == trace(b)[1]


def test_a_revoked_reader_gets_nothing_later_from_an_admin_revoked_unseen(tmp_path: Path) -> None:
    a, b, c = nodes = [open_node(tmp_path / name) for name in "abc"]
    with acting(b):
        admin = Person([]).get_db_id()
    with acting(c):
        reader = Person([]).get_db_id()
    exchange(a, b, c)
    with acting(a):
        p = Person([admin])
        p.append_admin_authorized(admin)
        p.salary.set("before")
    exchange(a, b, c)
    p.append_read_authorized(reader, history=False)
    p.revoke_read_authorized(reader)
    p.revoke_admin_authorized(admin)
    p.salary.set("after the removal")  # readers are again those of the epoch before
    with acting(b):  # has seen none of it, and hands on every key it has
        Person(p.get_db_id(), admin).append_read_authorized(reader)
    send(b, c)  # the keys arrive before anybody says that they are void
    send(a, c)
    with acting(c):
        handle = Person(p.get_db_id(), reader)

    assert not handle.is_read_authorized(reader)
    with pytest.raises(dinemic.Unreadable):
        handle.salary.get()
    assert p.salary.get() == "after the removal"
    for node in nodes:
        node.close()


# -- which epochs are made ------------------------------------------------------------------------


def test_writers_in_turn_share_epochs_and_one_who_may_not_read_keeps_its_own(
    node: Node,
) -> None:
    p, writer, other = Person([]), Chief([]), Chief([])
    p.append_update_authorized(writer.get_db_id())
    p.append_update_authorized(other.get_db_id())
    p.append_read_authorized(other.get_db_id())
    handles = [
        p,
        Person(p.get_db_id(), writer.get_db_id()),
        Person(p.get_db_id(), other.get_db_id()),
    ]
    for turn in range(4):
        for handle in handles:
            handle.salary.set(turn)
            assert p.salary.get() == turn
    assert len(commits(p)) == 2, "one of the readers, one of the writer"
    with pytest.raises(dinemic.Unreadable):
        handles[1].salary.get()
    assert handles[2].salary.get() == 3


def test_a_reader_that_was_cheated_makes_a_new_epoch_and_the_owner_reads_it(
    two: tuple[Node, Node],
) -> None:
    a, b = two
    p, handle, chief = shared(two, Person)
    _, row = a.view.need(object_id(p))
    key = b"k" * 32
    good = sealing.make_epoch(object_id(p), key, {AuthorId(row.owner): row.sealing})
    sign = AuthorId(a.view.need(object_id(chief))[1].owner)
    cheat = replace(good, recipients=tuple(sorted([*good.recipients, (sign, bytes(80))])))
    value = sealing.seal(object_id(p), b"value_salary", good.commit, key, bytes(16), "x")
    a.commit(object_id(p), [cheat, Set("salary", value)], None)
    assert p.salary.get() == "x"
    send(a, b)
    with pytest.raises(dinemic.Unreadable):
        handle.salary.get()
    assert trace(a)[1] == trace(b)[1], "whether it opens decides nothing"
    handle.salary.set("y")
    assert handle.salary.get() == "y"
    send(b, a)
    assert p.salary.get() == "y"


def test_a_writer_who_spoils_an_epoch_costs_others_a_new_one_and_no_write(node: Node) -> None:
    p, writer = Person([]), Chief([])
    p.append_update_authorized(writer.get_db_id())
    heads = node.view.heads(object_id(p))
    p.salary.set("one")
    (commit,) = commits(p)
    _, row = node.view.need(object_id(p))
    copied = Epoch(row.suite, commit, ((AuthorId(row.owner), bytes(80)),))
    keys = node.keyring.get(object_id(writer))
    assert keys is not None
    t = next(iter(reversed(list(p.history())))).t + 1
    node.ingest(b"peer", [forge(keys.signing, object_id(p), heads, t, copied)])
    p.salary.set("two")
    assert p.salary.get() == "two"
    assert len(commits(p)) == 2
    p.salary.set("three")
    assert len(commits(p)) == 2


@pytest.mark.parametrize("signer", ["owner", "reader", "updater"])
def test_more_readers_than_one_event_can_name_take_several(
    node: Node, monkeypatch: pytest.MonkeyPatch, signer: str
) -> None:
    readers = [Chief([]) for _ in range(8)]
    updater = Chief([])
    p = Person([reader.get_db_id() for reader in readers])
    p.append_update_authorized(updater.get_db_id())
    callers = {"owner": "", "reader": readers[3].get_db_id(), "updater": updater.get_db_id()}
    monkeypatch.setitem(ops.RECIPIENTS_MAX, ops.SUITE_X25519, 3)

    writer = Person(p.get_db_id(), callers[signer])
    writer.salary.set("1234")
    made = epochs(p)
    assert [len(epoch.recipients) for epoch in made] == [3, 3, 3]
    assert len(commits(p)) == 1
    writer.salary.set("4321")
    writer.encrypt("loose")
    assert epochs(p) == made, "it serves for the next value too"
    for reader in readers:
        assert Person(p.get_db_id(), reader.get_db_id()).salary.get() == "4321"
    assert p.salary.get() == "4321"
    assert len(p.readers("salary") or ()) == 9 + (signer == "updater")


def test_an_epoch_of_several_events_can_be_made_for_a_loose_value(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers = [Chief([]) for _ in range(3)]
    p = Person([reader.get_db_id() for reader in readers])
    monkeypatch.setitem(ops.RECIPIENTS_MAX, ops.SUITE_X25519, 3)
    sealed = p.encrypt("loose")
    assert [len(event.ops) for event in p.history()][1:] == [1, 1]
    for reader in readers:
        assert Person(p.get_db_id(), reader.get_db_id()).decrypt(sealed) == "loose"


def test_an_epoch_is_made_once_per_set_of_readers(node: Node) -> None:
    chief = Chief([])
    p = Person([])
    for number in range(5):
        p.salary.set(number)
        p.bonus.set(number)
    assert len(epochs(p)) == 1
    p.append_update_authorized(chief.get_db_id())
    p.salary.set(5)
    assert len(epochs(p)) == 1, "an updater is no reader"
    p.append_read_authorized(chief.get_db_id())
    p.salary.set(6)
    Person(p.get_db_id(), chief.get_db_id()).salary.set(7)
    assert len(epochs(p)) == 2
