"""Guards: what they may do, which events wait for them, and those of an earlier process."""

from __future__ import annotations

from typing import Any

import pytest

from dinemic import callbacks
from dinemic.actions import DAction
from dinemic.callbacks import called
from dinemic.listeners import in_guard
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
from support.listening import (
    BOB,
    EVE,
    FILTER,
    OWNER,
    STRANGER,
    Calls,
    Host,
    T,
    asked,
    text_of,
    write_of,
)

SEALING = SealingKey(b"\3" * 32).public

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
