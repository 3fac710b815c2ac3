"""No callback hurts anybody but itself, whatever it does and even while its node ends."""

from __future__ import annotations

import logging
import random
import threading
from typing import Any

import pytest

from dinemic.actions import DAction
from dinemic.listeners import in_guard
from dinemic_engine.edits import Set
from dinemic_engine.errors import NotLaunched
from dinemic_engine.ids import to_text
from support.clocks import wait_until
from support.listening import (
    BOB,
    EVE,
    FILTER,
    WITHIN_S,
    Calls,
    Host,
    Told,
    asked,
    text_of,
    write_of,
)

# -- among listeners ------------------------------------------------------------------------------


def test_what_an_after_callback_raises_is_logged_and_stops_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Bad(Told):
        def on_updated(self, *args: Any) -> None:
            super().on_updated(*args)
            raise SystemExit("bad luck")

    host, bad, good = Host(), Bad(), Told()
    host.listeners.apply(bad, FILTER)
    host.listeners.apply(good, FILTER)
    event = host.set(1, 1)
    host.set(2, 2)
    host.settle()
    assert bad.values == good.values == [1, 2]
    assert host.listeners.status().failed == 2
    assert host.listeners.status().delivered == 4
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    assert to_text(event.id)[:10] in caplog.text
    assert "Bad.on_updated" in caplog.text


def test_what_callbacks_return_is_nothing() -> None:
    class Junk(DAction):
        def on_update(self, *args: Any) -> Any:
            return False

        def on_updated(self, *args: Any) -> Any:
            return NotImplemented

    host = Host()
    host.listeners.apply(Junk(), FILTER)
    assert host.ask(write_of(1, Set("name", 1))) is None
    host.set(1, 1)
    host.settle()
    assert host.listeners.status().failed == 0


def test_a_listener_that_blocks_holds_up_nobody_else() -> None:
    go_on, inside = threading.Event(), threading.Semaphore(0)

    class Blocked(DAction):
        def on_updated(self, *args: Any) -> None:
            inside.release()
            assert go_on.wait(WITHIN_S)

        on_update = on_updated

    host, told = Host(), Told()
    for _ in range(5):
        host.listeners.apply(Blocked(), f"{text_of(BOB)}:*")
    host.listeners.apply(told, "*")
    host.withhold(asked(write_of(1, Set("name", 1))))
    host.set(1, 1)
    for _ in range(6):
        assert inside.acquire(timeout=WITHIN_S)
    free = asked(write_of(1, Set("name", 1), of=EVE))
    host.withhold(free)
    for number in range(2, 50):
        host.set(number, number, of=EVE)
    wait_until(lambda: told.values == [*range(1, 50)] and bool(host.answers))
    assert host.answers == [(free.event.id, None)]
    assert host.listeners.status().judging == 1
    assert not host.listeners.drain(0.01)
    go_on.set()
    host.settle()
    assert host.listeners.status().judging == 0


def test_events_of_one_object_are_asked_about_in_order_and_objects_side_by_side() -> None:
    both = threading.Barrier(2, timeout=WITHIN_S)
    seen: dict[str, list[int]] = {text_of(BOB): [], text_of(EVE): []}

    class Guard(DAction):
        def on_update(self, object_id: str, field: str, old: Any, new: Any) -> None:
            if new == 0:
                both.wait()
            seen[object_id].append(new)

    host = Host()
    host.listeners.apply(Guard(), FILTER)
    for number in range(20):
        for of in (BOB, EVE):
            host.withhold(asked(write_of(number, Set("name", number), of=of)))
    host.settle()
    assert list(seen.values()) == [[*range(20)]] * 2
    assert len(host.answers) == 40


def test_callbacks_apply_and_revoke_listeners_themselves_included() -> None:
    class Once(Told):
        def on_updated(self, *args: Any) -> None:
            super().on_updated(*args)
            host.listeners.revoke(self, FILTER)
            host.listeners.apply(told, FILTER)

        def on_authorized_updated(self, *args: Any) -> None:
            self.values.append("after it was revoked")

    class Guard(DAction):
        def on_update(self, *args: Any) -> None:
            host.listeners.revoke(self, FILTER)
            raise ValueError("once")

        def on_authorized_update(self, *args: Any) -> None:
            raise AssertionError("revoked")

    host, once, told = Host(), Once(), Told()
    host.listeners.apply(once, FILTER)
    host.set(1, 1)
    host.settle()
    host.set(2, 2)
    host.settle()
    assert (once.values, told.values) == ([1], [2])
    host.listeners.apply(Guard(), FILTER)
    assert host.ask(write_of(3, Set("name", 3))) is not None
    assert host.ask(write_of(4, Set("name", 4))) is None


def test_a_guard_revoked_by_an_earlier_one_is_not_asked() -> None:
    class First(DAction):
        def on_update(self, *args: Any) -> None:
            host.listeners.revoke(second, FILTER)

    host, second = Host(), Calls()
    host.listeners.apply(First(), FILTER)
    host.listeners.apply(second, FILTER)
    assert host.ask(write_of(1, Set("name", 1))) is None
    assert second.calls == []


def test_an_after_callback_may_make_changes_that_it_is_told_of() -> None:
    class Counting(Told):
        def on_updated(self, object_id: str, field: str, old: Any, new: Any) -> None:
            super().on_updated(object_id, field, old, new)
            assert not in_guard()
            if new < 50:
                host.set(new + 1, new + 1)

    host, counting = Host(), Counting()
    host.listeners.apply(counting, FILTER)
    host.set(0, 0)
    host.settle()
    assert counting.values == [*range(51)]


def test_many_threads_apply_and_revoke_while_changes_come(rng: random.Random) -> None:
    host, steady = Host(), Told()
    host.listeners.apply(steady, FILTER)
    failures: list[BaseException] = []

    def change_listeners(seed: int) -> None:
        own = random.Random(seed)
        listeners = [Told() for _ in range(3)]
        try:
            for _ in range(60):
                text = own.choice([FILTER, "Person:*", f"{text_of(BOB)}:value_name", "*"])
                change = own.choice([host.listeners.apply, host.listeners.revoke])
                change(own.choice(listeners), text)
        except BaseException as error:
            failures.append(error)
            raise

    threads = [
        threading.Thread(target=change_listeners, args=(rng.randrange(1 << 30),)) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for number in range(400):
        host.set(number, number)
        host.listeners.guarded("Person", write_of(number, Set("name", number)))
    for thread in threads:
        thread.join(WITHIN_S)
    assert failures == []
    host.settle()
    assert steady.values == [*range(400)]
    status = host.listeners.status()
    assert (status.queued, status.away) == (0, 0)
    assert not host.rows(b"n")
    assert len(host.rows(b"l")) == status.applied


# -- the end --------------------------------------------------------------------------------------


def test_a_guard_that_fails_because_the_node_went_down_says_nothing() -> None:
    class Guard(DAction):
        def on_update(self, *args: Any) -> None:
            host.listeners.stop(0)
            raise ValueError("the store is closed")

    host = Host()
    host.listeners.apply(Guard(), FILTER)
    with pytest.raises(NotLaunched):
        host.ask(write_of(1, Set("name", 1)))
    with pytest.raises(NotLaunched):
        host.ask(write_of(2, Set("name", 2)))
    for call in (host.listeners.apply, host.listeners.revoke):
        with pytest.raises(NotLaunched):
            call(Guard(), FILTER)


def test_what_the_end_of_the_node_cut_short_is_told_by_the_next_process() -> None:
    class Reader(Told):
        def on_updated(self, *args: Any) -> None:
            if stopping:
                inside.set()
                assert stopped.wait(WITHIN_S)
                raise NotLaunched("this node was shut down")
            super().on_updated(*args)

    stopping, inside, stopped = True, threading.Event(), threading.Event()
    host = Host()
    host.listeners.apply(Reader(), FILTER)
    host.set(1, 1)
    host.set(2, 2)
    assert inside.wait(WITHIN_S)
    assert not host.listeners.stop(0.001), "it is still inside"
    stopped.set()
    assert host.listeners.stop(WITHIN_S)
    stopping = False
    host = host.again()
    host.listeners.apply(reader := Reader(), FILTER)
    host.settle()
    assert reader.values == [1, 2]


def test_stopping_from_inside_a_callback_does_not_wait_for_itself() -> None:
    ended: list[bool] = []

    class Ends(DAction):
        def on_updated(self, *args: Any) -> None:
            ended.append(host.listeners.drain(0))
            ended.append(host.listeners.stop(WITHIN_S))

    host = Host()
    host.listeners.apply(Ends(), FILTER)
    host.set(1, 1)
    host.set(2, 2)
    wait_until(lambda: len(ended) == 2)
    assert ended == [True, True]
    assert len(host.rows(b"n")) in (1, 2)


def test_nothing_can_be_told_without_threads_and_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none_left(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    host = Host()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_left)
        host.listeners.apply(Told(), FILTER)
        host.set(1, 1)
        assert not host.listeners.drain(WITHIN_S)
    host = host.again()
    host.listeners.apply(told := Told(), FILTER)
    host.settle()
    assert told.values == [1]
