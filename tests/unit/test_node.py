"""One node: what it does with received events and with time, and what it counts."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

import dinemic
import dinemic.gate
from dinemic.node import Node
from dinemic_engine import limits
from dinemic_engine.edits import Set
from dinemic_engine.event import open_event_untrusted
from dinemic_engine.ids import EventId
from dinemic_engine.keys import SigningKey
from dinemic_engine.outcomes import Ingested
from dinemic_engine.ranges import HIGHEST, LOWEST
from support.clocks import Clock, wait_until
from support.models import Person, Wall
from support.nodes import (
    Ear,
    acting,
    exchange,
    forge,
    object_id,
    open_node,
    opened,
    raw_events,
    send,
    t_of,
    trace,
)

PEER = bytes(range(32))


# -- received events -----------------------------------------------------------------------------


def test_events_get_in_whatever_the_order_repetition_and_batches(
    two: tuple[Node, Node], tmp_path: Path, rng: random.Random
) -> None:
    a, _ = two
    with acting(a):
        p, q = Person([]), Wall([])
        for number in range(30):
            p.name.set(number)
            q.text.set(number)
    events = raw_events(a)
    for _ in range(3):
        shuffled = events * 2
        rng.shuffle(shuffled)
        with opened(tmp_path / str(rng.random())) as node:
            while shuffled:
                size = rng.randint(1, 20)
                node.ingest(PEER, shuffled[:size])
                shuffled = shuffled[size:]
            assert trace(node)[1] == trace(a)[1]
            assert sorted(raw_events(node)) == sorted(events)
            status = node.status()
            assert (status.waiting, status.held, status.refused) == (0, 0, {})
            assert status.admitted == len(events)


def test_orphans_wait_and_are_neither_shown_nor_passed_on(two: tuple[Node, Node]) -> None:
    a, b = two
    with acting(a):
        p = Person([])
        p.name.set("one")
        p.name.set("two")
    genesis, one, last = raw_events(a)
    first, second = (open_event_untrusted(raw).id for raw in (genesis, one))
    assert b.ingest(PEER, [last]) == Ingested(0, 0, 1, (), missing=(second,))
    assert b.ingest(PEER, [last, one]) == Ingested(0, 0, 2, (), missing=(first,))
    assert b.status().waiting == 2
    assert raw_events(b) == []
    assert b.fingerprint("Person", LOWEST, HIGHEST).count == 0
    with acting(b):
        assert not Person(p.get_db_id()).exists()
    assert b.ingest(PEER, [genesis]) == Ingested(3, 0, 0, ())
    assert b.status().waiting == 0
    with acting(b):
        assert Person(p.get_db_id()).name.get() == "two"
    assert b.ingest(PEER, [genesis, one, last]) == Ingested(0, 3, 0, ())


def test_a_whole_log_backwards_in_one_batch_gets_in(two: tuple[Node, Node]) -> None:
    a, b = two
    with acting(a):
        p = Person([])
        for number in range(600):
            p.name.set(number)
    events = raw_events(a)
    assert b.ingest(PEER, events[::-1]) == Ingested(601, 0, 0, ())
    assert trace(a)[1] == trace(b)[1]


def test_what_is_wrong_is_named_by_position_and_what_is_good_gets_in(
    two: tuple[Node, Node],
) -> None:
    a, b = two
    with acting(a):
        p = Person([])
        p.name.set("Bob")
    genesis, one = raw_events(a)
    stranger = SigningKey(bytes(32))
    parent = open_event_untrusted(one)
    forged = forge(stranger, parent.object, [parent.id], parent.t + 1, Set("name", "Eve"))
    bad_signature = one[:-1] + bytes((one[-1] ^ 1,))
    batch = [
        b"",
        one[:-1],
        bad_signature,
        forged,
        one,
        forged,
        bad_signature,
        b"\xff" * 100,
        genesis,
    ]
    result = b.ingest(PEER, batch)
    assert result == Ingested(
        2,
        2,
        0,
        (
            (0, "EV-1/envelope"),
            (1, "EV-1/envelope"),
            (2, "EV-9/signature"),
            (3, "AUTH-5/closed"),
            (7, "EV-1/envelope"),
        ),
    )
    with acting(b):
        assert Person(p.get_db_id()).name.get() == "Bob"
    assert b.status().refused == {
        "EV-1/envelope": 3,
        "EV-9/signature": 1,
        "AUTH-5/closed": 1,
    }


def test_one_bad_signature_first_does_not_shut_out_the_good_one(two: tuple[Node, Node]) -> None:
    a, b = two  # the id is of what was signed, so both have the same
    with acting(a):
        Person([])
    (genesis,) = raw_events(a)
    bad = genesis[:-1] + bytes((genesis[-1] ^ 1,))
    assert b.ingest(PEER, [bad, genesis]) == Ingested(1, 0, 0, ((0, "EV-9/signature"),))


def test_a_refused_orphan_is_counted_when_its_parent_comes(two: tuple[Node, Node]) -> None:
    a, b = two
    with acting(a):
        Person([])
    (genesis,) = raw_events(a)
    parent = open_event_untrusted(genesis)
    forged = forge(
        SigningKey(bytes(32)), parent.object, [parent.id], parent.t + 1, Set("name", "Eve")
    )
    assert b.ingest(PEER, [forged]) == Ingested(0, 0, 1, (), missing=(parent.id,))
    assert b.ingest(PEER, [genesis]) == Ingested(1, 0, 0, ()), "whoever sent that is not to blame"
    assert b.status().refused == {"AUTH-5/closed": 1}
    assert b.status().waiting == 0


def test_more_orphans_than_there_is_room_for_are_dropped_and_come_again(
    two: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ORPHANS_PER_SOURCE_MAX", 3)
    a, b = two
    with acting(a):
        p = Person([])
        for number in range(10):
            p.name.set(number)
    events = raw_events(a)
    missing = (open_event_untrusted(events[0]).id,)
    kept = Ingested(0, 0, 3, (), missing)
    assert b.ingest(PEER, events[1:]) == kept, "what was dropped does not wait"
    assert b.status().waiting == 3
    assert b.ingest(PEER, events[:1]).admitted == 4
    assert b.ingest(PEER, events).admitted == 7
    assert trace(a)[1] == trace(b)[1]


def test_only_subscribed_models_are_kept(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as a:
        p = Person([])
        Wall([]).text.set("x")
        p.name.set("Bob")
        with opened(tmp_path / "b", models=["Person"]) as b:
            assert b.models() == ("Person",)
            send(a, b)
            assert b.model_names() == ("Person",)
            assert dinemic.object_list() == [p.get_db_id()]


def test_concurrent_edits_end_equal_on_three_nodes(tmp_path: Path, rng: random.Random) -> None:
    nodes = [open_node(tmp_path / name) for name in "abc"]
    try:
        with acting(nodes[0]):
            walls = [Wall([]).get_db_id() for _ in range(3)]
        exchange(*nodes)
        for _ in range(60):
            node = rng.choice(nodes)
            with acting(node):
                wall = Wall(rng.choice(walls))
                if rng.random() < 0.2:
                    wall.text.delete()
                else:
                    wall.text.set(rng.random())
            if rng.random() < 0.3:
                send(*rng.sample(nodes, 2))
        exchange(*nodes)
        exchange(*nodes)
        assert len({trace(node)[1] for node in nodes}) == 1
        assert len({node.fingerprint("Wall", LOWEST, HIGHEST) for node in nodes}) == 1
        reads = []
        for node in nodes:
            with acting(node):
                reads.append(
                    [(Wall(wall).text.get(), Wall(wall).conflicts("text")) for wall in walls]
                )
        assert reads[0] == reads[1] == reads[2]
    finally:
        for node in nodes:
            node.close()


def test_more_heads_than_parents_merge_in_two_steps(two: tuple[Node, Node]) -> None:
    a, b = two
    with acting(a):
        wall = Wall([])
    send(a, b)
    genesis = EventId(object_id(wall))
    t = t_of(raw_events(a)[0])
    branches = [
        forge(SigningKey(bytes((n,)) * 32), object_id(wall), [genesis], t + n, Set("text", n))
        for n in range(1, 21)
    ]
    for node in two:
        assert node.ingest(PEER, branches).admitted == 20
        assert len(node.view.heads(object_id(wall))) == 20
    assert len(wall.text.conflicts()) == 20
    wall.text.set("once")
    assert wall.text.get() == "once", "read your writes, also beside unmerged heads"
    assert len(wall.text.conflicts()) == 1 + 20 - limits.PARENTS_MAX
    wall.text.set("twice")
    assert [conflict.value for conflict in wall.text.conflicts()] == ["twice"]
    exchange(a, b)
    assert trace(a)[1] == trace(b)[1]


def test_many_heads_by_others_keep_nobody_from_sealing_or_from_using_a_grant(node: Node) -> None:
    chief, late = Wall([]), Wall([])
    p = Person([chief.get_db_id()])
    p.salary.set("the epoch is on this branch")
    p.append_update_authorized(late.get_db_id())  # and so is the grant
    *_, newest = p.history()
    keys = node.keyring.get(object_id(chief))
    assert keys is not None
    parent = EventId(object_id(p))
    branches = [
        forge(keys.signing, object_id(p), [parent], newest.t + n, Set("name", n))
        for n in range(1, 40)
    ]
    assert node.ingest(PEER, branches).admitted == 39
    assert len(node.view.heads(object_id(p))) == 40
    p.salary.set("by the owner")
    assert p.salary.get() == "by the owner"
    Person(p.get_db_id(), late.get_db_id()).name.set("by the late one")
    assert p.name.get() == "by the late one"


def test_admitted_events_are_announced_once_by_model_and_nothing_else_is(
    two: tuple[Node, Node],
) -> None:
    a, b = two
    with acting(a):
        p = Person([])
        Wall([])
        p.name.set("x")
    ear = Ear(b)
    events = raw_events(a)
    b.ingest(PEER, events[:1])
    b.ingest(PEER, [*events, *events, b"junk"])
    assert sorted(ear.heard) == sorted(events)
    assert set(ear.models) == {"Person", "Wall"}
    ear.heard.clear()
    ear.models.clear()
    with acting(b):
        q = Person([])
        with pytest.raises(dinemic.UpdateRejected):
            Person(p.get_db_id()).name.set("Eve")
    assert ear.models == ["Person"]
    assert [open_event_untrusted(raw).object for raw in ear.heard] == [object_id(q)]
    b.close()
    assert ear.stopped == 1


# -- time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("durability", ["group", "sync"])
def test_an_event_dated_ahead_is_held_and_gets_in_when_it_is_due(
    tmp_path: Path, clock: Clock, durability: str
) -> None:
    with opened(tmp_path / "b", durability=durability) as b:
        with opened(tmp_path / "a"):
            p = Person([])
            p.name.set("present")
            clock.offset_s = 60.3
            p.name.set("from the future")
            present, future = raw_events(p._node)[:2], raw_events(p._node)[2:]
        clock.offset_s = 0
        assert b.ingest(PEER, present + future) == Ingested(2, 0, 1, ())
        status = b.status()
        assert (status.held, status.waiting, status.refused) == (1, 0, {})
        assert Person(p.get_db_id()).name.get() == "present"
        assert len(raw_events(b)) == 2
        assert b.ingest(PEER, future) == Ingested(0, 0, 1, ()), "again, and still once"
        wait_until(lambda: b.status().held == 0)
        wait_until(lambda: Person(p.get_db_id()).name.get() == "from the future")
        assert b.status().admitted == 3


def test_children_of_a_held_event_follow_it_in(two: tuple[Node, Node], clock: Clock) -> None:
    a, b = two
    with acting(a):
        p = Person([])
        clock.offset_s = 90
        for number in range(5):
            p.name.set(number)
    clock.offset_s = 0
    events = raw_events(a)
    assert b.ingest(PEER, events[::-1]) == Ingested(1, 0, 5, ())
    clock.offset_s = 60
    with acting(b):
        Wall([])  # wakes the keeper, which looks at the clock again
    wait_until(lambda: b.status().held == 0 and b.status().admitted == 6)
    assert b.status().waiting == 0
    with acting(b):
        assert Person(p.get_db_id()).name.get() == 4


def test_a_node_whose_clock_fell_behind_refuses_to_author_and_says_so(
    tmp_path: Path, clock: Clock
) -> None:
    with opened(tmp_path) as node:
        p = Person([])
        p.name.set("now")
        clock.offset_s = -120
        before = trace(node)
        with pytest.raises(dinemic.UpdateRejected, match="clock") as caught:
            p.name.set("then")
        assert caught.value.by == "ORD-4"
        assert trace(node) == before
        clock.offset_s = -30
        p.name.set("a little behind")
        assert p.name.get() == "a little behind", "later than what its author had seen"


def test_a_frozen_clock_still_orders_ones_own_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time_ns() // 1000
    monkeypatch.setattr(dinemic.gate, "_now_us", lambda: now)
    with opened(tmp_path):
        p = Person([])
        for number in range(50):
            p.name.set(number)
            assert p.name.get() == number
        assert [event.t - now for event in p.history()] == list(range(51))


# -- counters ------------------------------------------------------------------------------------


def test_status_counts_what_happened(two: tuple[Node, Node]) -> None:
    a, b = two
    with acting(a):
        p = Person([])
        p.name.set("x")
        with pytest.raises(dinemic.NotOwned):
            Person(p.get_db_id(), "Person:" + "a" * 52).name.set("y")
        send(a, b)
        send(a, b)
        with acting(b):
            Wall([])
        send(b, a)
        status = dinemic.status()
    assert (status.authored, status.admitted, status.duplicate) == (2, 1, 2)
    assert (status.objects, status.events) == (2, 3)
    assert (status.waiting, status.held, status.refused) == (0, 0, {})
    assert status.network is None
    assert status.home == str(a.config.home)
    other = b.status()
    assert (other.authored, other.admitted, other.duplicate) == (1, 2, 2)
    assert other.node_id != status.node_id
