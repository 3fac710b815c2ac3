"""What a world checks by the text of the rules holds, and is seen not to hold where it does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from dinemic.actions import DAction
from dinemic.fields import DField
from dinemic.models import DModel
from dinemic.testing import InvariantBroken, World
from dinemic.testing.histories import check_histories
from dinemic.testing.plays import STANDARD, NoEve, Reader, Safe
from dinemic.testing.scenario import Scene, draw
from dinemic.testing.telling import Told, check_told
from dinemic_engine.errors import UpdateRejected
from dinemic_engine.ids import db_id
from dinemic_engine.reading import LoggedEvent
from dinemic_engine.store.layout import VOID, ObjectRow
from dinemic_engine.types import counter, list_reading, members
from dinemic_engine.view import View
from support.nodes import object_id

SEEDS = range(4)


PLAY = dataclasses.replace(
    STANDARD,
    listeners=((NoEve, "*"), (Reader, "*")),
)


@pytest.mark.parametrize("seed", SEEDS)
def test_i_06_i_09_i_11_histories_and_what_is_told_are_as_the_rules_say(seed: int) -> None:
    """Nothing else is looked at, so that a bug planted in a rule is found by these checks."""
    with Scene(PLAY, seed) as scene:
        for step in draw(PLAY, seed, 80)[:-1]:
            scene.do(step)
        scene.world.mend()
        scene.world.settle()
        for site in scene.world.honest:
            check_histories(site)
            check_told(site)
            assert site.told


def test_i_06_writers_who_come_and_go_keep_what_was_seen_of_them() -> None:
    verdicts = {flags for seed in range(8) for flags in come_and_go(seed)}
    assert verdicts == {False, True}


def come_and_go(seed: int) -> set[bool]:
    """Two clerks write, are revoked and granted anew: whether events of theirs are void."""
    with World(nodes=3, seed=seed) as world:
        clerks = [world[number].create(Desk) for number in (1, 2)]
        world.settle()
        safe = world[0].create(Safe, [clerk.get_db_id() for clerk in clerks])
        world.settle()
        for step in range(30):
            number = world.rng.randrange(2)
            clerk = clerks[number].get_db_id()
            match world.rng.randrange(10):
                case 0 | 1:
                    world.partition([0, 1 + number], [2 - number])
                case 2:
                    world.heal()
                case 3 | 4:
                    safe.revoke_update_authorized(clerk)
                case 5:
                    safe.append_update_authorized(clerk)
                case _:
                    with suppress(UpdateRejected):
                        world[1 + number].handle(Safe, safe, clerk).label.set(step)
            world.advance(world.rng.random())
        world.heal()
        world.settle()
        check_histories(world[0])
        genesis, *others = world[0].node.view.history(object_id(safe))
        owner = genesis.event.author
        return {bool(each.flags & VOID) for each in others if each.event.author != owner}


@pytest.fixture
def world() -> Iterator[World]:
    """A safe that somebody wrote to, unseen by who then revoked it."""
    with World(nodes=2, seed=1) as world:
        clerk = world[1].create(Desk)
        world.settle()
        safe = world[0].create(Safe, [clerk.get_db_id()], label="first")
        world.settle()
        world[1].handle(Safe, safe, clerk).uses.add(1)
        world.settle()
        world.partition([0], [1])
        theirs = world[1].handle(Safe, safe, clerk)
        theirs.label.set("unseen")
        theirs.uses.add(2)
        theirs.items.extend(["a", "b"])
        safe.label.set("seen")
        safe.tags.add("x")
        safe.items.append("c")
        safe.revoke_update_authorized(clerk.get_db_id())
        world.heal()
        world.settle()
        world.check()
        yield world


class Desk(DModel):
    name = DField("name")


def lie(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, wrong: Callable[[Any], Any]
) -> None:
    """Let what is asked there answer something else."""
    right = getattr(owner, name)
    if isinstance(right, property):
        monkeypatch.setattr(owner, name, property(lambda self: wrong(right.__get__(self))))
    else:
        monkeypatch.setattr(owner, name, lambda *args: wrong(right(*args)))


def test_i_06_an_event_with_another_verdict_is_noticed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for flags, what in (0, "has effect, though revoked"), (VOID, "was not revoked"):
        with monkeypatch.context() as patch:
            lie(patch, View, "history", partial(judged, flags))
            with pytest.raises(InvariantBroken, match=f"I-06.*{what}"):
                check_histories(world[0])


def judged(flags: int, history: Iterable[LoggedEvent]) -> Iterator[LoggedEvent]:
    """The same with another verdict on what others than the owner wrote."""
    genesis, *others = history
    yield genesis
    for each in others:
        is_owners = each.event.author == genesis.event.author
        yield each if is_owners else dataclasses.replace(each, flags=flags)


@pytest.mark.parametrize(
    ("owner", "name", "wrong"),
    [
        (View, "read", lambda found: None),
        (View, "conflicts", lambda found: found[1:]),
        (list_reading, "items", lambda found: [*found][1:]),
        (list_reading, "items", lambda found: 2 * [*found]),
        (members, "members", lambda found: [*found][1:]),
        (counter, "read", lambda found: (found[0], found[1] + 1)),
        (ObjectRow, "is_there", lambda found: not found),
    ],
)
def test_i_11_a_state_that_is_not_what_was_written_is_noticed(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    wrong: Callable[[Any], Any],
) -> None:
    check_histories(world[0])
    lie(monkeypatch, owner, name, wrong)
    with pytest.raises(InvariantBroken, match="I-11"):
        check_histories(world[0])


class Heard(DAction):
    def on_updated(self, object_id: str, field: str, old_value: Any, new_value: Any) -> None:
        pass

    def on_deleted(self, object_id: str, field: str, value: Any) -> None:
        pass


@pytest.mark.parametrize(
    "changes", [[("", "a"), ("", "a")], [("", "a"), ("b", "c")], [("", "first"), ("first", "b")]]
)
def test_i_09_a_change_told_twice_or_not_at_all_is_noticed(
    world: World, changes: list[tuple[str, str]]
) -> None:
    ((_, safe),) = world[0].node.view.objects("Safe")
    heard = Heard()
    told = Told(heard)
    for old, new in changes:
        heard.on_updated(db_id("Safe", safe), "value_label", old, new)
    with pytest.raises(InvariantBroken, match="I-09"):
        told.check(world[0])
