"""What a user of listeners sees: DAction, `on`, and the guards that come with the library."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Iterator
from typing import Any

import pytest

import dinemic
from dinemic.actions import DAction, ReadOnly, RejectDetached, RejectUnauthorized, on
from dinemic.callbacks import NAMES
from dinemic_engine import canonical
from dinemic_engine.canonical import Value
from dinemic_engine.edits import Set
from dinemic_engine.errors import NotLaunched
from dinemic_engine.types.change import Question
from dinemic_engine.vetoes import Veto
from support.listening import BOB, FILTER, Host, Told, changes_of, on_host, text_of, write_of


@pytest.fixture
def host() -> Iterator[Host]:
    """A node that listeners applied in the test are applied to."""
    found = Host()
    with on_host(found):
        yield found


def test_both_modules_have_the_same_listeners() -> None:
    import pydinemic

    for name in ("DAction", "on", "RejectUnauthorized", "RejectDetached", "ReadOnly", "Context"):
        assert getattr(pydinemic, name) is getattr(dinemic, name)


def test_each_of_the_23_methods_is_documented_takes_its_arguments_and_does_nothing() -> None:
    counts = {"creat": 2, "updat": 4, "delet": 3, "remov": 1}
    for name in NAMES:
        method = getattr(DAction(), name)
        assert method.__doc__
        (count,) = (number for word, number in counts.items() if word in name)
        assert len(inspect.signature(method).parameters) == count
        assert method(*["x"] * count) is None


def test_without_a_node_applying_says_what_to_call_first() -> None:
    for call in (Told().apply, Told().revoke):
        with pytest.raises(NotLaunched, match=r"launch\(\)"):
            call("*")
    with pytest.raises(NotLaunched, match=r"launch\(\)"):
        on("*", "updated")(print)
    with pytest.raises(NotLaunched, match=r"prepare\(\)"):
        Told().apply("*")


@pytest.mark.parametrize("filter", ["", "Persön:*", "a\nb", "*" * 1025])
def test_a_malformed_filter_is_refused(host: Host, filter: str) -> None:
    with pytest.raises(ValueError, match="filter"):
        Told().apply(filter)
    assert host.listeners.names() == []
    Told().revoke(filter)  # nothing can be applied under it


def test_applied_listeners_are_told_until_revoked(host: Host) -> None:
    told = Told()
    told.apply(FILTER)
    told.revoke("Person:*")
    host.set(1, "one")
    host.settle()
    told.revoke(FILTER)
    host.set(2, "two")
    host.settle()
    assert told.values == ["one"]


def test_a_listener_nobody_holds_on_to_is_told(host: Host) -> None:
    seen: list[Any] = []

    class Watch(DAction):
        def on_updated(self, object_id: str, field: str, old_value: Any, new_value: Any) -> None:
            seen.append((object_id, field, old_value, new_value))

    Watch().apply(FILTER)
    gc.collect()
    host.set(1, "Bob")
    host.settle()
    assert seen == [(text_of(BOB), "value_name", "", "Bob")]


def test_a_subclass_need_not_call_the_constructor_and_may_compare_as_it_likes(host: Host) -> None:
    class Odd(Told):
        __hash__ = None  # type: ignore[assignment]

        def __init__(self) -> None:
            self.values: list[Any] = []

        def __eq__(self, other: object) -> bool:
            raise RuntimeError

        def __bool__(self) -> bool:
            return False

    odd, other = Odd(), Odd()
    odd.apply(FILTER)
    other.apply(FILTER)
    host.set(1, 1)
    host.settle()
    assert odd.values == other.values == [1]
    odd.revoke(FILTER)
    host.set(2, 2)
    host.settle()
    assert (odd.values, other.values) == ([1], [1, 2])


def test_inherited_methods_and_those_of_an_instance_are_called(host: Host) -> None:
    class Child(Told):
        pass

    child, single = Child(), DAction()
    seen: list[Any] = []
    single.on_updated = lambda *args: seen.append(args[-1])  # type: ignore[method-assign]
    child.apply(FILTER)
    single.apply(FILTER)
    host.set(1, 1)
    host.settle()
    assert child.values == seen == [1]


def test_callbacks_belong_to_the_node_they_were_applied_to(host: Host) -> None:
    from dinemic import running

    current: list[Any] = []

    class Where(DAction):
        def on_update(self, *args: Any) -> None:
            current.append(running.current())

        def on_updated(self, *args: Any) -> None:
            current.append(running.current())

    Where().apply(FILTER)
    event = write_of(1, Set("name", 1))
    with on_host(Host()):
        host.ask(event, local=True)
        host.show(event)
        host.settle()
    assert current == [host, host]


# -- functions ------------------------------------------------------------------------------------


def test_a_function_is_called_for_the_events_it_names(host: Host) -> None:
    seen: list[Any] = []

    @on("Person:[id]:value_name", "updated", "authorized_updated", "deleted")
    def watch(object_id: str, field: str, *values: Any) -> None:
        seen.append((field, *values, watch.listener.context.event != ""))  # type: ignore[attr-defined]

    host.set(1, "Bob")
    host.set(2, "other", field="other")
    host.settle()
    assert seen == [("value_name", "", "Bob", True)] * 2
    watch.listener.revoke("Person:[id]:value_name")  # type: ignore[attr-defined]
    host.set(3, "Rob")
    host.settle()
    assert len(seen) == 2


def test_a_function_may_be_a_guard(host: Host) -> None:
    @on(FILTER, "update")
    def never(*args: Any) -> None:
        raise ValueError("never")

    veto = host.ask(write_of(1, Set("name", 1)))
    assert veto is not None
    assert veto.reason == "never"
    assert veto.guard == f"{__name__}.test_a_function_may_be_a_guard.<locals>.never"


def test_a_function_is_known_by_its_name_in_the_next_process() -> None:
    seen: list[Any] = []

    def apply() -> None:
        @on(FILTER, "updated")
        def later(*args: Any) -> None:
            seen.append(args[-1])

    host = Host()
    with on_host(host):
        apply()
    host = host.again()
    host.set(1, 1)
    with on_host(host):
        apply()
    host.settle()
    assert seen == [1]


@pytest.mark.parametrize("events", [(), ("update", "changed"), ("on_update",), ("",)])
def test_an_event_there_is_not_is_refused_with_those_there_are(
    host: Host, events: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError, match="unauthorized_remove") as caught:
        on(FILTER, *events)
    assert all(name.removeprefix("on_") in str(caught.value) for name in NAMES)


def test_a_coroutine_function_is_refused(host: Host) -> None:
    async def never(*args: Any) -> None:
        raise AssertionError

    with pytest.raises(TypeError, match="on_update"):
        on(FILTER, "update")(never)


# -- ready-made guards ----------------------------------------------------------------------------


def ask(
    host: Host,
    family: str,
    stored: str = "value_name",
    old: Value = None,
    *,
    authorized: bool = False,
    detached: bool = False,
) -> Veto | None:
    before = None if old is None else canonical.encode(old)
    after = canonical.encode("new") if family == "update" else None
    question = Question(family, "" if family == "remove" else stored, "", before, after)
    event = write_of(1, Set("name", "new"))
    return host.ask(event, question, authorized=authorized, detached=detached)


@pytest.mark.parametrize("family", ["update", "delete", "remove"])
@pytest.mark.parametrize("stored", ["value_name", "list_read_authorized_objects"])
def test_reject_unauthorized_rejects_what_strangers_do(
    host: Host, family: str, stored: str
) -> None:
    RejectUnauthorized().apply("Person:*")
    assert ask(host, family, stored) is not None
    assert ask(host, family, stored, authorized=True) is None


@pytest.mark.parametrize("family", ["update", "delete", "remove"])
def test_reject_detached_rejects_what_knew_only_the_genesis(host: Host, family: str) -> None:
    RejectDetached().apply("Person:*")
    assert ask(host, family, detached=True) is not None
    assert ask(host, family, detached=False) is None


@pytest.mark.parametrize("family", ["update", "delete"])
def test_a_read_only_field_gets_a_value_once_whoever_the_author(host: Host, family: str) -> None:
    ReadOnly("name", "list_bones").apply("Person:*")
    for authorized in (False, True):
        values: list[Value] = ["Bob", 0, False, b"", [], {}]
        for old in values:
            assert ask(host, family, old=old, authorized=authorized) is not None
        assert ask(host, family, authorized=authorized) is None
        assert ask(host, family, old="", authorized=authorized) is None
        assert ask(host, family, "list_bones", "x", authorized=authorized) is not None
        assert ask(host, family, "value_other", "x", authorized=authorized) is None
        assert ask(host, family, "value_bones", "x", authorized=authorized) is None


def test_read_only_without_names_means_every_field_but_not_the_access_lists(host: Host) -> None:
    ReadOnly().apply(FILTER)
    assert ask(host, "update", "dict_notes", "x") is not None
    assert ask(host, "delete", "list_update_authorized_objects", "x") is None
    ReadOnly("list_update_authorized_objects").apply(FILTER)
    assert ask(host, "delete", "list_update_authorized_objects", "x") is not None


def test_changes_made_visible_pass_no_guard_again(host: Host) -> None:
    ReadOnly().apply("*")
    event = write_of(1, Set("name", 1))
    assert changes_of(event)
    host.show(event)
    host.settle()
    assert host.listeners.status().failed == 0
