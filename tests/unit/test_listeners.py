"""Who is called for a change, in which order and with what; and who may listen at all."""

from __future__ import annotations

from typing import Any

import pytest

from dinemic.actions import DAction
from dinemic.callbacks import CALLBACKS, NAMES
from dinemic_engine import canonical
from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.edits import Delete, DictSet, Set
from dinemic_engine.ids import to_text
from dinemic_engine.types.change import Change, Question
from support.listening import BOB, FILTER, Calls, Host, Told, changes_of, text_of, write_of


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


# -- what callbacks are given ---------------------------------------------------------------------


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


def test_of_events_that_change_nothing_visible_nobody_is_told() -> None:
    host = Host()
    host.listeners.apply(Told(), FILTER)
    event = write_of(1, Set("name", 1))
    assert changes_of(event)
    host.show_all([])
    assert host.listeners.deliveries([]) == {}
    host.listeners.sent()
    assert host.listeners.status().queued == 0
