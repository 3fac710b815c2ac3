"""A guard that answers from more than it is told is found, and named (VETO-2)."""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import dinemic
from dinemic.testing import Undetermined, World, check_guard
from dinemic.testing.out_of_reach import OutOfReach, out_of_reach
from support import bad_listeners


class Person(dinemic.DModel, access="open"):
    name = dinemic.DField("name")


class Peeking(dinemic.DAction):
    """Lets a name be given once, by looking at what is here when it is asked."""

    def on_update(self, object_id: str, field: str, old_value: Any, new_value: Any) -> None:
        names = [person.name.get() for person in Person.objects()]
        if new_value in names:
            raise ValueError(f"{new_value} is taken")


def test_a_guard_that_answers_from_what_it_is_told_passes() -> None:
    check_guard(bad_listeners.Sober)


@pytest.mark.parametrize(
    ("listener", "why"),
    [
        (bad_listeners.Clocked, r"Clocked.on_update uses time\.time"),
        (bad_listeners.Dated, r"Dated.on_delete uses datetime\.now"),
        (bad_listeners.Dicing, r"Dicing.on_create uses random\.random"),
        (bad_listeners.Reading, r"Reading.on_update uses open"),
        (bad_listeners.Calling, r"Calling.on_remove uses socket\."),
        (bad_listeners.Counting, r"Counting.on_update answers .* when asked in another order"),
        (bad_listeners.Hashing, r"Hashing.on_update answers .* in one process and .* in another"),
    ],
)
def test_a_guard_that_does_not_is_named_with_the_reason(
    listener: type[dinemic.DAction], why: str
) -> None:
    with pytest.raises(Undetermined, match=f"VETO-2: {why}"):
        check_guard(listener)


def test_what_is_no_guard_or_cannot_be_found_again_is_refused() -> None:
    with pytest.raises(dinemic.UsageError, match="has no guard"):
        check_guard(bad_listeners.Mere)

    class Local(bad_listeners.Sober):
        pass

    with pytest.raises(dinemic.UsageError, match="define it in a module"):
        check_guard(Local)


def test_a_world_watches_guards_at_their_work() -> None:
    listeners = [(bad_listeners.Dated, "Person:*"), (bad_listeners.Clocked, "Person:*")]
    with World(nodes=2, listeners=listeners, watch_guards=True) as world:
        with pytest.raises(dinemic.UpdateRejected, match="out of reach"):
            world[0].create(Person, name="Ada")
        world.settle()
        with pytest.raises(Undetermined, match=r"Clocked.on_update uses time\.time"):
            world.check()


def test_a_world_finds_a_guard_that_looks_around() -> None:
    with World(nodes=2, listeners=[(Peeking, "Person:*")], watch_guards=True) as world:
        world[0].create(Person, name="Ada")
        world.settle()
        with pytest.raises(Undetermined, match=r"Peeking.on_update answers yes, and no"):
            world.check()


def test_guards_that_part_nodes_are_found_without_being_watched() -> None:
    with World(nodes=2, listeners=[(Peeking, "Person:*")]) as world:
        world.partition([0], [1])
        world[0].create(Person, name="Ada")
        world[1].create(Person, name="Ada")
        world.heal()
        world.settle()
        with pytest.raises(AssertionError, match="I-08: of nodes 0 and 1 only"):
            world.check()


def test_everything_is_in_reach_again_and_always_was_for_other_threads(tmp_path: Path) -> None:
    seen: list[float] = []
    with out_of_reach(bad_listeners) as found:
        thread = threading.Thread(target=lambda: seen.append(time.time()))
        thread.start()
        thread.join()
        with pytest.raises(OutOfReach):
            os.urandom(1)
        with pytest.raises(OutOfReach):
            random.SystemRandom().random()
        with pytest.raises(OutOfReach):
            (tmp_path / "file").write_text("")
    assert seen
    assert found[:2] == ["os.urandom", "os.urandom"]
    assert time.time() >= seen[0]
    (tmp_path / "file").write_text("")
