"""Asking and telling: order, arguments, and that no callback hurts anybody but itself."""

from __future__ import annotations

import logging
import random
import threading
from typing import Any

import pytest

from dinemic import callbacks
from dinemic.actions import DAction
from dinemic.callbacks import CALLBACKS, NAMES, called
from dinemic.listeners import in_guard
from dinemic_engine import canonical
from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.edits import (
    CounterAdd,
    Delete,
    DictDelete,
    DictSet,
    Element,
    ListDelete,
    ListInsert,
    ListSet,
    Made,
    Set,
    SetAdd,
    SetRemove,
    Span,
)
from dinemic_engine.errors import NotLaunched
from dinemic_engine.event import sign_event
from dinemic_engine.ids import to_text
from dinemic_engine.keys import SealingKey
from dinemic_engine.ops import (
    READ,
    SUITE_X25519,
    UPDATE,
    Create,
    Grant,
    Op,
    Policy,
    Remove,
    Revoke,
    SetPolicy,
)
from dinemic_engine.types.change import Change, Question
from support.clocks import wait_until
from support.listening import (
    BOB,
    EVE,
    OWNER,
    STRANGER,
    WITHIN_S,
    Host,
    T,
    Told,
    asked,
    changes_of,
    text_of,
    write_of,
)

FILTER = "Person:[id]:*"
SEALING = SealingKey(b"\3" * 32).public


class Calls(DAction):
    """Every callback with its arguments, in the order they came."""

    def __init__(self, name: str = "", into: list[Any] | None = None) -> None:
        self.name = name
        self.calls: list[Any] = [] if into is None else into


def _recorder(name: str) -> Any:
    def record(self: Calls, *args: Any) -> None:
        self.calls.append((self.name + name, *args) if not self.name else self.name + name)

    return record


for _name in NAMES:
    setattr(Calls, _name, _recorder(_name))


def question(family: str, *, old: Value = None, new: Value = None) -> Question:
    values = [None if value is None else canonical.encode(value) for value in (old, new)]
    stored = "value_name" if family in ("update", "delete") else ""
    return Question(family, stored, "", *values)


# -- which callbacks, in which order --------------------------------------------------------------


def test_there_are_twenty_three_callbacks() -> None:
    assert len(NAMES) == len(set(NAMES)) == 23
    assert all(hasattr(DAction, name) for name in NAMES)


@pytest.mark.parametrize("owned", [False, True])
@pytest.mark.parametrize("authorized", [False, True])
@pytest.mark.parametrize("family", ["create", "update", "delete", "remove"])
def test_a_change_is_asked_of_the_plain_then_the_authors_then_the_owned_guard(
    family: str, authorized: bool, owned: bool
) -> None:
    host, calls = Host(), Calls()
    host.listeners.apply(calls, "*")
    if owned:
        host.mine.add(BOB)
    event = write_of(1, Set("name", "new"))
    assert host.ask(event, question(family, old="old", new="new"), authorized=authorized) is None
    kinds = ["plain", "authorized" if authorized else "unauthorized", *(["owned"] * owned)]
    expected = [CALLBACKS[key] for kind in kinds if (key := (family, "before", kind)) in CALLBACKS]
    arguments = {
        "create": (to_text(event.author),),
        "update": ("value_name", "old", "new"),
        "delete": ("value_name", "old"),
        "remove": (),
    }[family]
    assert calls.calls == [(name, text_of(BOB), *arguments) for name in expected]
    assert len(expected) == (1 if family == "create" else 2 + owned)


@pytest.mark.parametrize("owned", [False, True])
@pytest.mark.parametrize("authorized", [False, True])
def test_a_change_is_told_to_the_plain_then_the_authors_then_the_owned_callback(
    authorized: bool, owned: bool
) -> None:
    host, calls = Host(), Calls()
    host.listeners.apply(calls, "*")
    if owned:
        host.mine.add(BOB)
    event = write_of(1, Set("name", "new"))
    values = canonical.encode("old"), canonical.encode("new")
    host.show(
        event,
        Change("", "", None, b""),
        Change("value_name", "", *values),
        Change("value_name", "", values[1], None),
        authorized=authorized,
    )
    host.settle()
    authors = "authorized" if authorized else "unauthorized"
    bob = text_of(BOB)
    expected: list[tuple[str, ...]] = [("on_created", bob, to_text(event.author))]
    if owned:
        expected += [("on_owned_created", bob, to_text(event.author))]
    for tail, shown in (("updated", ("old", "new")), ("deleted", ("new",))):
        for kind in ("", f"{authors}_", *(["owned_"] * owned)):
            expected += [(f"on_{kind}{tail}", bob, "value_name", *shown)]
    assert calls.calls == expected


def test_listeners_are_asked_in_the_order_they_were_applied_kind_by_kind() -> None:
    host = Host()
    seen: list[Any] = []
    for name in ("b.", "a.", "c."):
        host.listeners.apply(Calls(name, seen), "*" if name == "a." else FILTER)
    host.ask(write_of(1, Set("name", 1)))
    assert seen == [f"{name}on_{kind}update" for kind in ("", "authorized_") for name in
                    ("b.", "a.", "c.")]  # fmt: skip


def test_the_first_guard_that_raises_is_the_last_that_is_asked() -> None:
    class Second(Calls):
        def on_update(self, *args: Any) -> None:
            raise LookupError("no\nway")

    host, first, third = Host(), Calls(), Calls()
    for listener in (first, Second(), third):
        host.listeners.apply(listener, FILTER)
    veto = host.ask(write_of(1, Set("a", 1), Set("b", 2)))
    assert veto is not None
    assert veto.reason == "no\\nway"
    assert veto.guard.endswith("Second")
    assert [call[0] for call in first.calls] == ["on_update"]
    assert third.calls == []


def test_every_op_of_an_event_is_asked_about() -> None:
    host, calls = Host(), Calls("-")
    host.listeners.apply(calls, FILTER)
    host.ask(write_of(1, Set("a", 1), Delete("b"), Set("c", 1)))
    assert calls.calls == [
        f"-on_{kind}{family}" for family in ("update", "delete", "update") for kind in
        ("", "authorized_")]  # fmt: skip


# -- what a guard may do --------------------------------------------------------------------------


class Silent(Exception):
    pass


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("because"), "because"),
        (Silent(), "Silent"),
        (Mute(), "Mute"),
        (AssertionError(), "AssertionError"),
        (GeneratorExit("x"), "x"),
        (SystemExit(3), "3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (ValueError("x" * 10_000_000), "x" * 500),
        (ValueError("\x1b[2J\u202e" * 100), ("\\x1b[2J\\u202e" * 100)[:500]),
    ],
)
def test_whatever_a_guard_raises_rejects_with_a_short_printable_reason(
    error: BaseException, reason: str
) -> None:
    class Guard(DAction):
        def on_update(self, *args: Any) -> None:
            raise error

    host = Host()
    host.listeners.apply(Guard(), FILTER)
    veto = host.ask(write_of(1, Set("name", 1)))
    assert veto is not None
    assert veto.reason == reason
    assert veto.guard.isprintable()


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_who_interrupts_a_local_edit_interrupts_it(kind: type[BaseException]) -> None:
    class Guard(DAction):
        def on_update(self, *args: Any) -> None:
            raise kind

    host = Host()
    host.listeners.apply(Guard(), FILTER)
    with pytest.raises(kind):
        host.ask(write_of(1, Set("name", 1)), local=True)


def test_a_guard_knows_the_event_and_that_it_may_not_write() -> None:
    class Guard(DAction):
        seen: Any = None

        def on_update(self, *args: Any) -> None:
            assert in_guard()
            self.seen = self.context

    host, guard = Host(), Guard()
    host.listeners.apply(guard, FILTER)
    event = write_of(1, Set("name", "Bob"), by=STRANGER)
    assert host.ask(event, authorized=False, detached=True) is None
    assert guard.context is None
    assert not in_guard()
    assert guard.seen == callbacks.Context(
        author=to_text(STRANGER.public),
        caller=text_of(EVE),
        event=to_text(event.id),
        t=T + 1,
        authorized=False,
        owned=False,
        detached=True,
        local=False,
        element="",
        ops=event.ops,
        verified=True,
    )


def test_a_listener_applied_inside_a_guard_may_write_when_it_is_told() -> None:
    told: list[bool] = []

    class Later(DAction):
        def on_updated(self, *args: Any) -> None:
            told.append(in_guard())

    class Guard(DAction):
        def on_update(self, *args: Any) -> None:
            host.listeners.apply(Later(), FILTER)

    host = Host()
    host.listeners.apply(Guard(), FILTER)
    host.ask(write_of(1, Set("name", 1)))
    host.set(2, 2)
    host.settle()
    assert told == [False]


def test_values_are_made_anew_for_every_callback() -> None:
    class Spoiler(DAction):
        def on_update(self, object_id: str, field: str, old: Any, new: Any) -> None:
            old.clear()
            new["more"] = 1

        on_authorized_update = on_updated = on_authorized_updated = on_update

    host, calls = Host(), Calls()
    host.listeners.apply(Spoiler(), FILTER)
    host.listeners.apply(calls, FILTER)
    event = write_of(1, Set("name", {"a": [1]}))
    values = canonical.encode({"b": 2}), canonical.encode({"a": [1]})
    assert host.ask(event, Question("update", "value_name", "", *values)) is None
    host.show(event, Change("value_name", "", *values))
    host.settle()
    assert len(calls.calls) == 4
    assert all(call[3:] == ({"b": 2}, {"a": [1]}) for call in calls.calls)
    assert host.listeners.status().failed == 0


@pytest.mark.parametrize("value", [None, "", b"\xff\xfe", b"x" * 1_000_000, 2**63 - 1, [], 0.5])
def test_every_value_reaches_every_callback(value: Value) -> None:
    host, calls = Host(), Calls()
    host.listeners.apply(calls, FILTER)
    event = write_of(1, Set("name", value))
    host.ask(event)
    host.show(event)
    host.settle()
    assert [call[4] for call in calls.calls] == [value] * 4


def test_no_value_is_empty_text_and_a_sealed_one_is_opened_or_shown_as_sealed() -> None:
    host, calls = Host(), Calls()
    host.listeners.apply(calls, FILTER)
    mine, foreign = (Sealed(b"e" * 32, b"s" * 16, text) for text in (b"mine", b"foreign"))
    host.opened[b"mine"] = "secret"
    event = write_of(1, Set("name", foreign))
    host.show(event, Change("value_name", "", None, canonical.encode(mine)))
    host.show(event, Change("value_name", "", canonical.encode(mine), canonical.encode(foreign)))
    host.settle()
    assert [call[3:] for call in calls.calls[::2]] == [("", "secret"), ("secret", foreign)]


def test_an_element_is_in_the_context_and_in_the_name_filters_match() -> None:
    class Red(DAction):
        def __init__(self) -> None:
            self.seen: list[tuple[str, Any]] = []

        def on_update(self, object_id: str, field: str, old: Any, new: Any) -> None:
            assert self.context is not None
            self.seen.append((self.context.element, new))

        on_updated = on_update

    host, red = Host(), Red()
    host.listeners.apply(red, "Person:[id]:dict_notes:red")
    event = write_of(1, DictSet("notes", "red", 1), DictSet("notes", "blue", 2))
    questions = [
        Question("update", "dict_notes", key, None, canonical.encode(value))
        for key, value in (("red", 1), ("blue", 2))
    ]
    host.ask(event, *questions)
    host.show(event, *[Change(*each[1:]) for each in questions])
    host.settle()
    assert red.seen == [("red", 1)] * 2


# -- which events guards want to see --------------------------------------------------------------

E = Element(b"x" * 32, 0, 0)
OPS: list[tuple[Op, str]] = [
    (Set("a", 1), "update"),
    (Delete("a"), "delete"),
    (ListInsert("a", None, True, 1, [1]), "update"),
    (ListSet("a", E, 1), "update"),
    (ListDelete("a", (Span(E, 1),)), "delete"),
    (DictSet("a", "k", 1), "update"),
    (DictDelete("a", "k"), "delete"),
    (CounterAdd("a", 1), "update"),
    (SetAdd("a", 1), "update"),
    (SetRemove("a", (Made(b"x" * 32, 0),)), "delete"),
    (Grant(READ, EVE, STRANGER.public, SUITE_X25519, SEALING), "update"),  # type: ignore[arg-type]
    (Revoke(UPDATE, STRANGER.public), "delete"),  # type: ignore[arg-type]
    (Remove(), "remove"),
    (SetPolicy(Policy(True, ())), ""),
]


def only(*names: str) -> DAction:
    """A listener with these callbacks."""
    kind: type[DAction] = type("Only", (DAction,), dict.fromkeys(names, lambda self, *args: None))
    return kind()


@pytest.mark.parametrize(("op", "family"), OPS, ids=lambda value: type(value).__name__)
def test_an_event_waits_for_guards_of_its_family_and_for_no_other(op: Op, family: str) -> None:
    event = write_of(1, op)
    for asked_of in ("update", "delete", "remove"):
        host = Host()
        host.listeners.apply(only(f"on_{asked_of}"), "Person:*")
        assert host.listeners.guarded("Person", event) == (asked_of == family), asked_of
        assert not host.listeners.guarded("Dog", event)


def test_a_genesis_waits_for_guards_of_creation() -> None:
    genesis = sign_event(
        OWNER, None, T, [], [Create("Person", SUITE_X25519, SEALING, Policy(False, ()))]
    )
    host = Host()
    assert not host.listeners.guarded("Person", genesis)
    host.listeners.apply(only("on_update", "on_created"), "*")
    assert not host.listeners.guarded("Person", genesis)
    host.listeners.apply(only("on_create"), "Person:[id]")
    assert host.listeners.guarded("Person", genesis)


@pytest.mark.parametrize(
    ("text", "waits"),
    [
        ("Person:[id]:list_a", True),
        ("Person:[id]:list_a:*", True),
        ("Person:[id]:list_b", False),
        ("Person:[id]:value_a", False),
        (f"Person:{to_text(BOB)}:list_a", True),
        (f"Person:{to_text(EVE)}:list_a", False),
        ("Dog:*", False),
    ],
)
def test_an_event_waits_for_guards_that_perhaps_match_an_element(text: str, waits: bool) -> None:
    host = Host()
    host.listeners.apply(only("on_delete"), text)
    assert host.listeners.guarded("Person", write_of(1, ListDelete("a", (Span(E, 1),)))) == waits


def test_guards_of_strangers_do_not_see_what_is_known_to_be_authorized() -> None:
    host = Host()
    host.listeners.apply(only("on_unauthorized_update", "on_owned_update"), FILTER)
    event = write_of(1, Set("a", 1))
    assert host.listeners.guarded("Person", event)
    assert host.listeners.guarded("Person", event, authorized=False)
    assert not host.listeners.guarded("Person", event, authorized=True)
    host.mine.add(BOB)
    assert host.listeners.guarded("Person", event, authorized=True)


def test_what_guards_are_asked_of_matches_what_they_wait_for() -> None:
    for authorized in (True, False):
        for owned in (True, False):
            names = called("update", "before", authorized=None, owned=owned)
            assert set(called("update", "before", authorized=authorized, owned=owned)) <= {*names}


def test_a_guard_of_an_earlier_process_is_waited_for_until_it_is_applied() -> None:
    host = Host()
    host.listeners.apply(Calls(), FILTER)
    host = host.again()
    event = write_of(1, Set("name", 1))
    assert host.listeners.guarding
    assert host.listeners.guarded("Person", event)
    assert host.listeners.is_away(asked(event))
    assert not host.listeners.is_away(asked(event, model="Dog"))
    host.withhold(asked(event))
    host.settle()
    assert host.answers == []
    host.listeners.apply(calls := Calls(), FILTER)
    host.settle()
    assert host.answers == [(event.id, None)]
    assert [call[0] for call in calls.calls] == ["on_update", "on_authorized_update"]
    assert not host.listeners.is_away(asked(event))


def test_a_guard_of_an_earlier_process_is_not_waited_for_once_revoked() -> None:
    host = Host()
    host.listeners.apply(Calls(), FILTER)
    host = host.again()
    host.withhold(asked(event := write_of(1, Set("name", 1))))
    host.settle()
    assert host.answers == []
    host.listeners.revoke(Calls(), FILTER)
    host.settle()
    assert host.answers == [(event.id, None)]
    assert not host.listeners.guarding


def test_of_two_guards_of_one_class_and_filter_one_serves_for_both() -> None:
    host = Host()
    host.listeners.apply(Calls(), FILTER)
    host.listeners.apply(Calls(), FILTER)
    host = host.again()
    assert host.listeners.is_away(asked(write_of(1, Set("name", 1))))
    host.listeners.apply(Calls(), FILTER)
    assert not host.listeners.is_away(asked(write_of(1, Set("name", 1))))


# -- isolation ------------------------------------------------------------------------------------


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


# -- who listens ----------------------------------------------------------------------------------


def test_the_same_listener_under_the_same_filter_is_applied_once() -> None:
    host, told = Host(), Told()
    for text in (FILTER, "*", FILTER):
        host.listeners.apply(told, text)
    host.set(1, 1)
    host.settle()
    assert told.values == [1, 1], "once for each filter"
    assert [text for _, text in host.listeners.names()] == [FILTER, "*"]
    host.listeners.revoke(told, FILTER)
    host.set(2, 2)
    host.settle()
    assert told.values == [1, 1, 2]


def test_a_listener_lives_as_long_as_it_is_applied() -> None:
    seen: list[Any] = []
    host = Host()
    host.listeners.apply(Calls("", seen), FILTER)
    host.set(1, 1)
    host.settle()
    assert len(seen) == 2


def test_a_listener_without_callbacks_is_harmless() -> None:
    host = Host()
    host.listeners.apply(DAction(), "*")
    assert not host.listeners.guarding
    assert not host.listeners.watching
    host.set(1, 1)
    assert not host.rows(b"n")


@pytest.mark.parametrize("kind", ["coroutine", "generator", "stream"])
def test_a_callback_that_would_never_run_is_refused(kind: str) -> None:
    class Coroutine(DAction):
        async def on_update(self, *args: Any) -> None:  # type: ignore[override]
            raise ValueError

    class Generator(DAction):
        def on_update(self, *args: Any) -> Any:
            yield

    class Stream(DAction):
        async def on_update(self, *args: Any) -> Any:
            yield

    host = Host()
    listener = {"coroutine": Coroutine, "generator": Generator, "stream": Stream}[kind]()
    with pytest.raises(TypeError, match="on_update"):
        host.listeners.apply(listener, FILTER)
    assert not host.listeners.guarding


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


def test_of_events_that_change_nothing_visible_nobody_is_told() -> None:
    host = Host()
    host.listeners.apply(Told(), FILTER)
    event = write_of(1, Set("name", 1))
    assert changes_of(event)
    host.show_all([])
    assert host.listeners.deliveries([]) == {}
    host.listeners.sent()
    assert host.listeners.status().queued == 0
