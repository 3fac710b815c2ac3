"""The 23 callbacks on two real nodes: who is called, how often, in what order and with what.

Every kind of field is changed in every situation there is, by the observing node or by the other,
in an object of its own or of the other, by somebody who may or by a stranger. What must come of it
is worked out here from the names alone, and not by the table of the library.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import pytest

import dinemic
from dinemic.node import Node
from dinemic_engine.edits import Set
from dinemic_engine.ids import ObjectId, to_text
from dinemic_engine.ops import ADMIN, READ, UPDATE, Remove, Revoke
from support.clocks import BOUND_SECONDS
from support.nodes import acting, exchange, forge, object_id, send

PAST = {"create": "created", "update": "updated", "delete": "deleted", "remove": "removed"}


def names_of(family: str, when: str, *, authorized: bool, owned: bool) -> list[str]:
    """What is called for one change, in order, by what the callbacks are named."""
    word = family if when == "before" else PAST[family]
    if family == "create":
        return [f"on_{word}", *([f"on_owned_{word}"] if owned and when == "after" else [])]
    if family == "remove" and when == "after":
        return []
    about = "authorized" if authorized else "unauthorized"
    return [f"on_{word}", f"on_{about}_{word}", *([f"on_owned_{word}"] if owned else [])]


EVERY = sorted(
    {
        name
        for family, when, authorized, owned in product(
            PAST, ("before", "after"), (True, False), (True, False)
        )
        for name in names_of(family, when, authorized=authorized, owned=owned)
    }
)


class Person(dinemic.DModel, access="open"):
    name = dinemic.DField("name")
    salary = dinemic.DField("salary", True)
    albums = dinemic.DList("albums")
    secrets = dinemic.DList("secrets", True)
    notes = dinemic.DDict("notes")
    diary = dinemic.DDict("diary", True)
    visits = dinemic.DCounter("visits")
    tags = dinemic.DSet("tags")


class Safe(dinemic.DModel):
    name = dinemic.DField("name")


class Clerk(dinemic.DModel):
    pass


class Call(NamedTuple):
    name: str
    args: tuple[Any, ...]
    context: dinemic.Context | None


class Calls(dinemic.DAction):
    """Keeps every call of all 23 methods."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def taken(self) -> list[Call]:
        """The calls since the last time."""
        found, self.calls = self.calls, []
        return found


def _keep(name: str) -> Callable[..., None]:
    def method(self: Calls, *args: Any) -> None:
        self.calls.append(Call(name, args, self.context))

    return method


for _name in EVERY:
    setattr(Calls, _name, _keep(_name))


class Case(NamedTuple):
    """A situation, as the observing node sees it."""

    local: bool
    owned: bool
    authorized: bool

    def __str__(self) -> str:
        words = zip(self, ("local", "owned", "authorized"), strict=True)
        return " ".join(word if holds else f"not {word}" for holds, word in words)


CASES = [Case(*flags) for flags in product((True, False), repeat=3)]
case_by_case = pytest.mark.parametrize("case", CASES, ids=str)


@dataclass
class Scene:
    """Two nodes, an object, and who changes it; node `a` has the listener."""

    case: Case
    a: Node
    b: Node
    writer: Clerk
    guest: Clerk
    db_id: str
    object_id: ObjectId
    caller: str
    calls: Calls

    @property
    def author(self) -> Node:
        return self.a if self.case.local else self.b

    @property
    def owner(self) -> Node:
        return self.a if self.case.owned else self.b

    def handle(self) -> Person:
        """The object in the hands of who changes it; inside `acting` of the author."""
        return Person(self.db_id, self.caller)

    def act(self, change: Callable[[Person], None]) -> None:
        with acting(self.author):
            change(self.handle())
        self.settle()

    def settle(self) -> None:
        """Let the observing node have everything, and its listener be told."""
        send(self.b, self.a)
        assert self.a.listeners.drain(BOUND_SECONDS)

    def stranger_sends(self, *ops: Any) -> str:
        """Give node `a` an event that no node makes, signed by the writer; why it is refused."""
        target = self.object_id
        keys = self.author.keyring.get(object_id(self.writer))
        assert keys is not None
        heads = self.author.view.heads(target)
        t = max(self.author.view.event(head).t for head in heads) + 1
        raw = forge(keys.signing, target, heads, t, *ops)
        ((_, reason),) = self.a.ingest(self.b.node_id, [raw]).invalid
        assert self.a.listeners.drain(BOUND_SECONDS)
        return reason


def scene(two: tuple[Node, Node], case: Case, model: type[Any] = Person) -> Scene:
    """The situation of a case: strangers may read, so that they can seal, and no more."""
    a, b = two
    with acting(a if case.local else b):
        writer = Clerk([])
    with acting(b):
        guest = Clerk([])
    exchange(a, b)
    is_owner = case.authorized and case.local == case.owned
    with acting(a if case.owned else b):
        made = model([])
        if case.authorized and not is_owner:
            made.append_update_authorized(writer.get_db_id())
            made.append_admin_authorized(writer.get_db_id())
        made.append_read_authorized(writer.get_db_id())
        made.encrypt("makes the key that strangers seal with")
    exchange(a, b)
    caller = "" if is_owner else writer.get_db_id()
    calls = Calls()
    with acting(a):
        calls.apply("Person:*")
        calls.apply("Safe:*")
    return Scene(case, a, b, writer, guest, made.get_db_id(), object_id(made), caller, calls)


def check(
    scene: Scene, family: str, args: tuple[Any, ...], *, before: tuple[Any, ...] | None = None
) -> None:
    """What was called for one change: guards, then effects, each once, with these arguments.

    `before` are the arguments of the guards, where they are others.
    """
    case = scene.case
    about: dict[str, bool] = {"authorized": case.authorized, "owned": case.owned}
    guards = names_of(family, "before", **about)
    effects = names_of(family, "after", **about)
    calls = scene.calls.taken()
    assert [call.name for call in calls] == guards + effects
    for call in calls:
        expected = args if before is None or call.name in effects else before
        assert call.args == (scene.db_id, *expected), call.name
        assert [type(arg) for arg in call.args[1:]] == [type(arg) for arg in expected]
    check_contexts(scene, calls)


def check_contexts(scene: Scene, calls: list[Call]) -> None:
    case = scene.case
    key = to_text(author_key(scene))
    for call in calls:
        assert call.context is not None
        assert (call.context.local, call.context.owned) == (case.local, case.owned), call.name
        assert (call.context.authorized, call.context.author) == (case.authorized, key)
        assert call.context.verified
    assert len({call.context.event for call in calls if call.context}) == (1 if calls else 0)


def author_key(scene: Scene) -> bytes:
    keys = scene.author.keyring.get(object_id(scene.writer) if scene.caller else scene.object_id)
    assert keys is not None
    return keys.signing.public


def test_there_are_exactly_these_23() -> None:
    assert len(EVERY) == 23
    assert sorted(name for name in vars(dinemic.DAction) if name.startswith("on_")) == EVERY


# -- fields ---------------------------------------------------------------------------------------


class Step(NamedTuple):
    """A change of one field, and what it is told as."""

    family: str
    stored: str
    values: tuple[Any, ...]
    """Old and new, or of a delete the old one."""
    act: Callable[[Person], None]
    guards: tuple[Any, ...] | None = None
    """The values the guards are given, where those are others."""


KINDS: dict[str, list[Step]] = {
    "plain": [
        Step("update", "value_name", ("", "Bob"), lambda p: p.name.set("Bob")),
        Step("update", "value_name", ("Bob", 7), lambda p: p.name.set(7)),
        Step("delete", "value_name", (7,), lambda p: p.name.delete()),
        Step("update", "value_name", ("", b""), lambda p: p.name.set(b"")),
    ],
    "sealed": [
        Step("update", "value_salary", ("", "1234"), lambda p: p.salary.set("1234")),
        Step("update", "value_salary", ("1234", None), lambda p: p.salary.set(None)),
        Step("delete", "value_salary", (None,), lambda p: p.salary.delete()),
    ],
    "list": [
        Step("update", "list_albums", ("", "Help!"), lambda p: p.albums.append("Help!")),
        Step("update", "list_albums", ("", "Love"), lambda p: p.albums.insert(0, "Love")),
        Step("update", "list_albums", ("Help!", "Let"), lambda p: p.albums.set(1, "Let")),
        Step("delete", "list_albums", ("Let",), lambda p: p.albums.delete(1)),
        Step("delete", "list_albums", ("Love",), lambda p: p.albums.delete(0)),
    ],
    "sealed list": [
        Step("update", "list_secrets", ("", "one"), lambda p: p.secrets.append("one")),
        Step("update", "list_secrets", ("one", "two"), lambda p: p.secrets.set(0, "two")),
        Step("delete", "list_secrets", ("two",), lambda p: p.secrets.delete(0)),
    ],
    "dict": [
        Step("update", "dict_notes", ("", "red"), lambda p: p.notes.set("key", "red")),
        Step("update", "dict_notes", ("red", [1]), lambda p: p.notes.set("key", [1])),
        Step("delete", "dict_notes", ([1],), lambda p: p.notes.delete("key")),
    ],
    "sealed dict": [
        Step("update", "dict_diary", ("", "red"), lambda p: p.diary.set("key", "red")),
        Step("update", "dict_diary", ("red", "blue"), lambda p: p.diary.set("key", "blue")),
        Step("delete", "dict_diary", ("blue",), lambda p: p.diary.delete("key")),
    ],
    "counter": [  # guards are given the amount: every author saw another sum
        Step("update", "counter_visits", ("", 2), lambda p: p.visits.add(2)),
        Step("update", "counter_visits", (2, -1), lambda p: p.visits.add(-3), guards=("", -3)),
    ],
    "set": [
        Step("update", "set_tags", ("", "new"), lambda p: p.tags.add("new")),
        Step("delete", "set_tags", ("new",), lambda p: p.tags.discard("new")),
    ],
}


@pytest.mark.parametrize("kind", KINDS)
@case_by_case
def test_each_change_of_a_field_is_asked_about_and_told(
    two: tuple[Node, Node], case: Case, kind: str
) -> None:
    here = scene(two, case)
    opens = case.owned or case.local
    for step in KINDS[kind]:
        here.act(step.act)
        if "sealed" in kind and not opens:
            check_sealed(here, step)
        else:
            check(here, step.family, (step.stored, *step.values), before=guards_of(step))


def guards_of(step: Step) -> tuple[Any, ...] | None:
    return None if step.guards is None else (step.stored, *step.guards)


def check_sealed(scene: Scene, step: Step) -> None:
    """As `check`, where no key on this node opens the values: they come as a type of their own."""
    calls = scene.calls.taken()
    about: dict[str, bool] = {"authorized": scene.case.authorized, "owned": False}
    names = [name for when in ("before", "after") for name in names_of(step.family, when, **about)]
    assert [call.name for call in calls] == names
    for call in calls:
        db_id, stored, *values = call.args
        assert (db_id, stored) == (scene.db_id, step.stored)
        expected = ["" if value == "" else dinemic.Sealed for value in step.values]
        assert ["" if value == "" else type(value) for value in values] == expected
    check_contexts(scene, calls)


# -- access lists ---------------------------------------------------------------------------------

ROLES = {"read": READ, "update": UPDATE, "admin": ADMIN}


@pytest.mark.parametrize("role", ROLES)
@case_by_case
def test_a_grant_and_a_revocation_are_a_change_of_an_access_list(
    two: tuple[Node, Node], case: Case, role: str
) -> None:
    here = scene(two, case)
    stored, guest = f"list_{role}_authorized_objects", here.guest.get_db_id()
    grant = getattr(Person, f"append_{role}_authorized")
    revoke = getattr(Person, f"revoke_{role}_authorized")
    if case.authorized and not (role == "admin" and here.caller):  # admins make no admins
        here.act(lambda p: grant(p, guest))
        check(here, "update", (stored, "", guest))
        here.act(lambda p: revoke(p, guest))
        check(here, "delete", (stored, guest))
        return
    if case.local:
        with pytest.raises(dinemic.UpdateRejected):
            here.act(lambda p: grant(p, guest))
    else:
        with acting(here.author):
            op = here.author.grant(object_id(here.guest), ROLES[role])
        assert here.stranger_sends(op)
    check_refused(here, "update", (stored, "", guest))
    with acting(here.owner):
        grant(Person(here.db_id), guest)
    exchange(here.a, here.b)
    here.settle()
    here.calls.taken()
    if case.local:
        with pytest.raises(dinemic.UpdateRejected):
            here.act(lambda p: revoke(p, guest))
    else:
        assert here.stranger_sends(Revoke(ROLES[role], author_of(here.guest)))
    check_refused(here, "delete", (stored, guest))


def author_of(handle: dinemic.DModel) -> Any:
    return handle._view.need(object_id(handle))[1].owner


def check_refused(scene: Scene, family: str, args: tuple[Any, ...]) -> None:
    """The guards were told of what a rule refuses, and nobody of a change."""
    calls = scene.calls.taken()
    about: dict[str, bool] = {"authorized": False, "owned": scene.case.owned}
    assert [call.name for call in calls] == names_of(family, "before", **about)
    assert [call.args for call in calls] == [(scene.db_id, *args)] * len(calls)


# -- objects --------------------------------------------------------------------------------------


@case_by_case
def test_a_removal_is_asked_about_and_what_a_stranger_does_is_refused(
    two: tuple[Node, Node], case: Case
) -> None:
    here = scene(two, case)
    here.act(lambda p: p.name.set("Bob"))
    here.calls.taken()
    if case.authorized:
        here.act(lambda p: p.remove())
        check(here, "remove", ())
        with acting(here.a):
            assert not Person(here.db_id).exists()
        return
    if case.local:
        with pytest.raises(dinemic.UpdateRejected):
            here.act(lambda p: p.remove())
    else:
        assert here.stranger_sends(Remove())
    check_refused(here, "remove", ())
    with acting(here.a):
        assert Person(here.db_id).name.get() == "Bob"


@pytest.mark.parametrize("owned", [True, False], ids=["owned", "not owned"])
def test_an_object_is_made_with_its_first_grants(two: tuple[Node, Node], owned: bool) -> None:
    here = scene(two, Case(owned, owned, True))
    with acting(here.a if owned else here.b):
        made = Person([here.guest.get_db_id()])
        key = made.get_public_sign_key()
    here.settle()
    calls = here.calls.taken()
    db_id, guest = made.get_db_id(), here.guest.get_db_id()
    lists = ["list_read_authorized_objects", "list_update_authorized_objects"]
    expected: list[tuple[str, tuple[Any, ...]]] = []
    for when in ("before", "after"):
        for name in names_of("create", when, authorized=True, owned=owned):
            expected.append((name, (db_id, key)))
        for stored in lists:
            for name in names_of("update", when, authorized=True, owned=owned):
                expected.append((name, (db_id, stored, "", guest)))
    assert [call[:2] for call in calls] == expected
    for call in calls:
        assert call.context is not None
        assert (call.context.local, call.context.owned) == (owned, owned), call.name
        assert (call.context.author, call.context.authorized) == (key, True)


# -- closed objects -------------------------------------------------------------------------------


@pytest.mark.parametrize("owned", [True, False], ids=["owned", "not owned"])
@pytest.mark.parametrize("local", [True, False], ids=["local", "remote"])
def test_of_what_a_closed_object_refuses_the_guards_are_told_and_nobody_else(
    two: tuple[Node, Node], local: bool, owned: bool
) -> None:
    here = scene(two, Case(local, owned, False), Safe)
    with acting(here.owner):
        Safe(here.db_id).name.set("Bob")
    exchange(here.a, here.b)
    here.settle()
    here.calls.taken()
    if local:
        with acting(here.a), pytest.raises(dinemic.UpdateRejected, match="AUTH-5"):
            Safe(here.db_id, here.caller).name.set("Eve")
    else:
        assert here.stranger_sends(Set("name", "Eve"))
    check_refused(here, "update", ("value_name", "Bob", "Eve"))
    with acting(here.a):
        assert Safe(here.db_id).name.get() == "Bob"
