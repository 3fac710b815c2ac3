"""Listeners over time: restarts, guards that hang, effects that write, notifications once."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dinemic
from dinemic.node import Node
from dinemic_engine.ids import to_text
from support.clocks import BOUND_SECONDS, wait_until
from support.guarded import (
    FIELDS,
    GUARD,
    NoEve,
    Person,
    Safe,
    Told,
    guarding,
    rows,
    settle,
    veto_of,
)
from support.nodes import acting, exchange, object_id, open_node, opened, send

# -- vetoes last ----------------------------------------------------------------------------------


def test_vetoes_outlast_the_process_and_what_is_lifted_is_asked_about_again(
    tmp_path: Path, open_it: Callable[..., Node]
) -> None:
    a = open_it("a")
    with acting(a):
        p = Person([])
        p.name.set("Bob")
        p.name.set("Eve")
    guard = NoEve()
    with opened(tmp_path / "b", "rocksdb") as b:
        guard.apply(FIELDS)
        send(a, b)
        settle(b)
        vetoed = veto_of(b, object_id(p))
        digest = b.view.view_digest(object_id(p))
        assert vetoed == [(GUARD, "no Eve")]
    with opened(tmp_path / "b", "rocksdb") as b:
        assert veto_of(b, object_id(p)) == vetoed
        assert b.view.view_digest(object_id(p)) == digest
        send(a, b)
        again = NoEve()
        again.apply(FIELDS)
        settle(b)
        assert again.asked == [], "there is an answer"
        assert Person(p.get_db_id()).name.get() == "Bob"
        (withheld,) = b.view.withheld(object_id(p))
        b.lift_veto(withheld.event)
        settle(b)
        assert again.asked == [("Bob", "Eve")]
        assert veto_of(b, object_id(p)) == vetoed
        again.refused = "nobody"
        b.lift_veto(withheld.event)
        settle(b)
        assert veto_of(b, object_id(p)) == []
        assert Person(p.get_db_id()).name.get() == "Eve"
        assert again.told == [("Bob", "Eve")]
        assert b.view.view_digest(object_id(p)) == a.view.view_digest(object_id(p))


def test_what_a_guard_wants_to_see_waits_until_it_is_back(
    tmp_path: Path, open_it: Callable[..., Node]
) -> None:
    a = open_it("a")
    with acting(a):
        p = Person([])
    with opened(tmp_path / "b", "rocksdb") as b:
        NoEve().apply(FIELDS)
        send(a, b)
        settle(b)
    p.name.set("Bob")
    p.name.set("Eve")
    with opened(tmp_path / "b", "rocksdb") as b:
        send(a, b)
        settle(b)
        q = Person(p.get_db_id())
        assert q.name.get() == ""
        assert veto_of(b, object_id(p)) == [None, None]
        before = rows(b)
        with pytest.raises(dinemic.UpdateRejected, match="not applied now"):
            q.name.set("Carol")
        assert rows(b) == before
    with opened(tmp_path / "b", "rocksdb") as b:
        settle(b)
        assert veto_of(b, object_id(p)) == [None, None]
        guard = NoEve()
        guard.apply(FIELDS)
        settle(b)
        assert guard.asked == [("", "Bob"), ("Bob", "Eve")]
        assert veto_of(b, object_id(p)) == [(GUARD, "no Eve")]
        assert Person(p.get_db_id()).name.get() == "Bob"
        assert guard.told == [("", "Bob")]


def test_what_waited_for_a_guard_that_is_revoked_takes_effect(
    tmp_path: Path, open_it: Callable[..., Node]
) -> None:
    a = open_it("a")
    with opened(tmp_path / "b", "rocksdb"):
        NoEve().apply(FIELDS)
    with acting(a):
        p = Person([])
        p.name.set("Eve")
    with opened(tmp_path / "b", "rocksdb") as b:
        send(a, b)
        settle(b)
        assert Person(p.get_db_id()).name.get() == ""
        NoEve().revoke(FIELDS)
        settle(b)
        assert Person(p.get_db_id()).name.get() == "Eve"
        assert not [key for key in rows(b) if key[:1] in (b"v", b"w")]


# -- a guard that takes its time ------------------------------------------------------------------


def test_a_guard_that_hangs_holds_up_its_object_and_nothing_else(
    two: tuple[Node, Node],
) -> None:
    go_on, inside = threading.Event(), threading.Event()

    class Hangs(dinemic.DAction):
        def on_update(self, object_id: str, field: str, old: Any, new: Any) -> None:
            if new == "hang":
                inside.set()
                assert go_on.wait(BOUND_SECONDS)

    a, b = two
    other = NoEve()
    with acting(b):
        Hangs().apply(FIELDS)
        other.apply(FIELDS)
    with acting(a):
        p, free = Person([]), Person([])
        p.name.set("hang")
    send(a, b)
    assert inside.wait(BOUND_SECONDS)
    try:
        p.nick.set("later")
        free.name.set("Bob")
        free.name.set("Eve")
        assert send(a, b)[0].admitted == 3, "what comes in is let in"
        with acting(b):
            q, stuck = Person(free.get_db_id()), Person(p.get_db_id())
            wait_until(lambda: bool(q.name.get() == "Bob" and veto_of(b, object_id(free))[0]))
            q.nick.set("Bobby")
            mine = Person([])
            mine.name.set("mine")
            wait_until(lambda: other.told == [("", "Bob"), ("", "Bobby"), ("", "mine")])
            assert (stuck.name.get(), stuck.nick.get()) == ("", "")
        assert a.view.digest(object_id(p)) == b.view.digest(object_id(p))
        assert b.status().listeners.judging == 1
        assert not b.listeners.drain(0.01)
    finally:
        go_on.set()
    settle(b)
    with acting(b):
        assert (stuck.name.get(), stuck.nick.get()) == ("hang", "later")


def test_many_threads_write_while_guards_and_effects_run(tmp_path: Path) -> None:
    class Watch(dinemic.DAction):
        def on_update(self, object_id: str, field: str, old: Any, new: Any) -> None:
            Person(object_id).name.get()
            if new % 7 == 0:
                raise ValueError("no sevens")

        def on_updated(self, object_id: str, field: str, old: Any, new: Any) -> None:
            told.setdefault(object_id, []).append((old, new))

    told: dict[str, list[tuple[Any, Any]]] = {}
    rejected = itertools.count()
    failures: list[BaseException] = []
    with opened(tmp_path) as node:
        people = [Person([]) for _ in range(3)]
        Watch().apply("Person:[id]:value_name")

        def write(start: int) -> None:
            with acting(node):
                for number in range(start, start + 60):
                    try:
                        people[number % 3].name.set(number)
                    except dinemic.UpdateRejected:
                        next(rejected)
                    except BaseException as error:
                        failures.append(error)
                        raise

        threads = [threading.Thread(target=write, args=(60 * each,)) for each in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(BOUND_SECONDS)
        settle(node)
        assert failures == []
        sevens = len(range(0, 240, 7))
        assert next(rejected) == sevens
        assert sum(map(len, told.values())) == 240 - sevens
        for p in people:
            changes = told[p.get_db_id()]
            assert [old for old, _ in changes] == ["", *(new for _, new in changes[:-1])]
            assert changes[-1][1] == p.name.get()


# -- effects --------------------------------------------------------------------------------------


def test_an_effect_writes_to_its_own_object_and_is_told_of_that_too(tmp_path: Path) -> None:
    class Counts(dinemic.DAction):
        def on_update(self, object_id: str, field: str, old: Any, new: Any) -> None:
            asked.append(new)

        def on_updated(self, object_id: str, field: str, old: Any, new: Any) -> None:
            p = Person(object_id)
            if new < 30:
                p.name.set(new + 1)
                assert p.name.get() == new + 1
                Person([]).nick.set(0) if new == 10 else p.notes.set("last", new)

    asked: list[int] = []
    with opened(tmp_path) as node:
        p = Person([])
        Counts().apply("Person:[id]:value_name")
        p.name.set(0)
        settle(node)
        assert asked == [*range(31)]
        assert (p.name.get(), p.notes.get("last")) == (30, 29)
        assert node.status().listeners.failed == 0


def test_callbacks_apply_and_revoke_listeners(tmp_path: Path) -> None:
    class Relay(dinemic.DAction):
        def on_update(self, object_id: str, field: str, old: Any, new: Any) -> None:
            if new == "watch":
                late.apply(FIELDS)

        def on_updated(self, object_id: str, field: str, old: Any, new: Any) -> None:
            if new == "stop":
                late.revoke(FIELDS)
                self.revoke(FIELDS)

    late = NoEve()
    with opened(tmp_path) as node:
        p = Person([])
        relay = Relay()
        relay.apply(FIELDS)
        for value in ("before", "watch", "during"):
            p.name.set(value)
        settle(node)  # what waits when a listener is revoked it is not told
        p.name.set("stop")
        settle(node)
        p.name.set("Eve")
        settle(node)
        assert late.told[:2] == [("before", "watch"), ("watch", "during")]
        assert "Eve" not in {new for _, new in late.told}
        assert (node.status().listeners.applied, node.status().listeners.failed) == (0, 0)


def test_a_late_revocation_tells_of_the_value_that_comes_back(
    three: tuple[Node, Node, Node],
) -> None:
    a, b, c = three
    with acting(b):
        clerk = Person([])
    send(b, a)
    with acting(a):
        p = Safe([clerk.get_db_id()])
        p.name.set("owner's")
    exchange(a, b, c)
    told = NoEve()
    contexts: list[dinemic.Context] = []

    class Watch(dinemic.DAction):
        def on_updated(self, *args: Any) -> None:
            assert self.context is not None
            contexts.append(self.context)

        on_deleted = on_updated

    with acting(c):
        told.apply("Safe:[id]:value_*")
        Watch().apply("Safe:[id]:value_*")
    with acting(b):
        q = Safe(p.get_db_id(), clerk.get_db_id())
        q.name.set("unseen")
        q.set("other", "unseen too")
    send(b, c)
    settle(c)
    p.revoke_update_authorized(clerk.get_db_id())
    (revocation,) = a.view.heads(object_id(p))
    send(a, c)
    settle(c)
    assert told.told == [("owner's", "unseen"), ("", "unseen too"), ("unseen", "owner's")]
    assert told.asked == [("owner's", "unseen"), ("", "unseen too")]
    assert [context.event for context in contexts[2:]] == [to_text(revocation)] * 2
    assert all(context.authorized for context in contexts)
    with acting(c):
        shown = Safe(p.get_db_id())
        assert (shown.name.get(), shown.keys()) == ("owner's", ["name"])


def test_a_late_older_write_is_asked_about_and_told_to_nobody(
    three: tuple[Node, Node, Node],
) -> None:
    a, b, c = three
    guard = guarding(c)
    with acting(a):
        p = Person([])
    exchange(a, b)
    p.name.set("older")
    with acting(b):
        Person(p.get_db_id()).name.set("newer")
    send(b, c)
    settle(c)
    send(a, c)
    settle(c)
    assert guard.asked == [("", "newer"), ("", "older")]
    assert guard.told == [("", "newer")]


def test_what_nobody_was_told_is_told_once_when_the_listener_is_back(
    tmp_path: Path, open_it: Callable[..., Node]
) -> None:
    a = open_it("a")
    with opened(tmp_path / "b", "rocksdb"):
        NoEve().apply(FIELDS)
    with acting(a):
        p = Person([])
        for number in range(20):
            p.name.set(number)
    with opened(tmp_path / "b", "rocksdb") as b:
        NoEve().revoke(FIELDS)
        first = Told()
        first.apply(FIELDS)
    with opened(tmp_path / "b", "rocksdb") as b:
        send(a, b)
        mine = Person([])
        mine.name.set("mine")
        assert b.status().listeners.queued == 21
    with opened(tmp_path / "b", "rocksdb") as b:
        back = Told()
        back.apply(FIELDS)
        settle(b)
        assert back.values == [*range(20), "mine"]
        assert b.status().listeners.queued == 0
    with opened(tmp_path / "b", "rocksdb") as b:
        again = Told()
        again.apply(FIELDS)
        settle(b)
        assert again.values == []
    assert first.values == []


def test_a_node_that_is_closed_amid_telling_goes_on_after_what_was_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, inside = threading.Event(), threading.Event()

    def hold() -> None:
        inside.set()
        assert go_on.wait(BOUND_SECONDS)

    monkeypatch.setattr("dinemic.node.DRAIN_S", 0.01)
    node = open_node(tmp_path, "rocksdb")
    closing = threading.Thread(target=node.close)
    with acting(node):
        cut_short = Told(hold)
        cut_short.apply(FIELDS)
        p = Person([])
        for number in range(5):
            p.name.set(number)
        assert inside.wait(BOUND_SECONDS)
        closing.start()
        wait_until(lambda: node.listeners._stopped)
    go_on.set()
    closing.join(BOUND_SECONDS)
    with opened(tmp_path, "rocksdb") as again:
        back = Told()
        back.apply(FIELDS)
        settle(again)
    assert cut_short.values + back.values == [*range(5)]
    assert len(cut_short.values) == 1
