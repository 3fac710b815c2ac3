"""A world plays by its seed, does to nodes what it says, and sees what does not hold."""

from __future__ import annotations

import os
import subprocess
import sys
from random import Random
from typing import Any

import pytest
import trio

import dinemic
from dinemic.testing import InvariantBroken, World, draw, perform
from dinemic.testing.hpke import encrypt_with
from dinemic.testing.plays import STANDARD
from dinemic.testing.site import Site
from dinemic_engine import sealing
from dinemic_engine.ids import AuthorId, ObjectId
from dinemic_engine.keys import SealingKey


class Person(dinemic.DModel, access="open"):
    name = dinemic.DField("name")
    salary = dinemic.DField("salary", True)
    tags = dinemic.DList("tags")


class NoEve(dinemic.DAction):
    def __init__(self) -> None:
        self.told: list[Any] = []

    def on_update(self, object_id: str, field: str, old_value: Any, new_value: Any) -> None:
        if new_value == "Eve":
            raise ValueError("no Eve")

    def on_updated(self, object_id: str, field: str, old_value: Any, new_value: Any) -> None:
        self.told.append(new_value)


def names(world: World, of: dinemic.DModel) -> list[Any]:
    return [site.handle(Person, of).name.get() for site in world.honest]


# -- one seed decides everything --------------------------------------------------------------


def played(seed: int, hash_seed: str) -> str:
    """The digest of what happens in another process, whose strings hash in another way."""
    code = (
        "import logging; logging.disable(logging.CRITICAL)\n"
        "from dinemic.testing import draw, perform\n"
        "from dinemic.testing.plays import STANDARD\n"
        f"print(perform(STANDARD, {seed}, draw(STANDARD, {seed}, 30))[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_the_same_seed_is_the_same_to_the_last_byte_in_every_process() -> None:
    assert len({played(11, hash_seed) for hash_seed in ("1", "2")}) == 1


def test_another_seed_is_another_history() -> None:
    digests = {perform(STANDARD, seed, draw(STANDARD, 1, 20))[1] for seed in (1, 2)}
    assert len(digests) == 2


def test_trio_is_as_it_was_when_a_world_is_over() -> None:
    from trio._core import _run

    before = _run._r
    with World(nodes=1):
        assert _run._r is not before
    assert _run._r is before
    trio.run(trio.sleep, 0)


def test_simulated_hpke_opens_with_the_real_one(rng: Random) -> None:
    key, reader = SealingKey(rng.randbytes(32)), AuthorId(rng.randbytes(32))
    object_id, epoch_key = ObjectId(rng.randbytes(32)), rng.randbytes(32)
    encrypt = encrypt_with(rng.randbytes)
    epoch = sealing.make_epoch(object_id, epoch_key, {reader: key.public}, encrypt=encrypt)
    assert sealing.open_epoch(object_id, epoch, reader, key) == epoch_key


# -- nodes and faults -------------------------------------------------------------------------


def test_an_edit_reaches_every_node() -> None:
    with World(nodes=3, seed=1) as world:
        ada = world[0].create(Person, name="Ada")
        world.settle()
        assert names(world, ada) == ["Ada"] * 3
        world.check()


def test_a_partition_keeps_edits_apart_until_it_heals() -> None:
    with World(nodes=4, seed=2) as world:
        ada = world[0].create(Person, name="Ada")
        world.settle()
        world.partition([0, 1], [2, 3])
        world[0].handle(Person, ada).name.set("left")
        world.advance(120)
        assert names(world, ada) == ["left", "left", "Ada", "Ada"]
        world[3].handle(Person, ada).name.set("right")
        world.settle()
        assert names(world, ada) == ["left", "left", "right", "right"]
        world.check()
        world.heal()
        world.settle()
        assert names(world, ada) == ["right"] * 4
        world.check()


def test_a_power_cut_takes_what_was_not_flushed_and_nothing_else() -> None:
    lost = 0
    for seed in range(8):
        with World(nodes=1, seed=seed) as world:
            ada = world[0].create(Person, name="kept")
            world[0].flush()
            for number in range(5):
                ada.name.set(number)
            world.crash(0)
            world.restart(0)
            found = world[0].handle(Person, ada).name.get()
            assert found in ("kept", 0, 1, 2, 3, 4)
            lost += found != 4
            world.check()
    assert lost, "a cut that takes nothing is no test"


def test_a_killed_process_loses_nothing_it_wrote() -> None:
    with World(nodes=1, seed=3) as world:
        ada = world[0].create(Person, name="Ada")
        world.crash(0, power=False)
        world.restart(0)
        assert names(world, ada) == ["Ada"]


def test_what_a_power_cut_took_comes_back_from_who_had_it(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = 0
    for seed in range(4):
        with World(nodes=2, seed=seed) as world:
            ada = world[0].create(Person, name="Ada")
            world.settle()
            monkeypatch.setattr(world[1].disk, "flush", lambda: None)  # a disk that lies
            ada.name.set("Bob")
            ada.tags.append("last")
            world.advance(5)
            world.crash(1)
            monkeypatch.undo()
            lost += ", 0 batches" not in world.trace.lines[-1]
            world.restart(1)
            world.settle()
            assert names(world, ada) == ["Bob", "Bob"]
            world.check()
    assert lost, "a cut that takes nothing is no test"


def test_a_full_disk_refuses_edits_and_catches_up_when_there_is_room() -> None:
    with World(nodes=2, seed=5) as world:
        ada = world[0].create(Person, name="Ada")
        world.settle()
        world.fill_disk(1)
        with pytest.raises(dinemic.StoreFull):
            world[1].handle(Person, ada).name.set("lost")
        ada.name.set("Bob")
        world.advance(60)
        assert names(world, ada) == ["Bob", "Ada"]
        world.fill_disk(1, full=False)
        world.settle()
        assert names(world, ada) == ["Bob", "Bob"]
        world.check()


def test_a_clock_that_is_ahead_makes_others_wait_and_never_disagree() -> None:
    with World(nodes=2, seed=6) as world:
        ada = world[0].create(Person, name="Ada")
        world.settle()
        world.skew(0, 90)
        ada.name.set("from the future")
        world.advance(5)
        assert names(world, ada) == ["from the future", "Ada"]
        world.settle()
        assert names(world, ada) == ["from the future"] * 2
        assert 25 < world.now < 120
        world.check()


def test_events_that_come_in_any_order_and_twice_change_nothing() -> None:
    with World(nodes=3, seed=7) as world:
        world.rough(reorder=1.0, duplicate=1.0)
        ada = world[0].create(Person)
        for number in range(40):
            ada.tags.append(number)
        world.settle()
        assert {tuple(site.handle(Person, ada).tags) for site in world} == {tuple(range(40))}
        assert world.trace.faults["duplicate"]
        world.check()


def test_guards_and_listeners_work_without_a_thread() -> None:
    with World(nodes=2, seed=8, listeners=[(NoEve, "Person:*")]) as world:
        ada = world[0].create(Person, name="Ada")
        with pytest.raises(dinemic.UpdateRejected):
            ada.name.set("Eve")
        world.settle()
        assert [[*listener.told] for site in world for listener in site.listeners] == [["Ada"]] * 2  # type: ignore[attr-defined]


def test_sealed_fields_open_for_readers_on_their_nodes() -> None:
    with World(nodes=2, seed=9) as world:
        reader = world[1].create(Person)
        world.settle()
        ada = world[0].create(Person, [reader.get_db_id()], salary=12)
        world.settle()
        assert world[1].handle(Person, ada, reader).salary.get() == 12
        with pytest.raises(dinemic.Unreadable):
            world[1].handle(Person, ada).salary.get()


def test_a_callback_cannot_make_time_pass() -> None:
    caught: list[type[BaseException]] = []

    class Impatient(dinemic.DAction):
        def on_updated(self, object_id: str, field: str, old_value: Any, new_value: Any) -> None:
            try:
                world.advance(1)
            except dinemic.UsageError as error:
                caught.append(type(error))

    with World(nodes=1, listeners=[(Impatient, "*")]) as world:
        world[0].create(Person, name="Ada")
        world.settle()
    assert caught == [dinemic.UsageError]


# -- peers that mean ill ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "deed", ["forge", "backdate", "predate", "flood", "withhold", "equivocate"]
)
def test_a_byzantine_peer_does_not_part_the_others(deed: str) -> None:
    with World(nodes=3, byzantine=1, seed=10) as world:
        liar = world.liars[0]
        helper = liar.site.create(Person)
        assert world.wait(lambda: world[0].handle(Person, helper).exists())
        ada = world[0].create(Person, [helper.get_db_id()], name="Ada")
        world.settle()
        assert world.wait(lambda: liar.knows(ada))
        getattr(liar, deed)(ada)
        world.advance(30)
        ada.name.set("Bob")
        world.settle()
        assert names(world, ada) == ["Bob"] * 3
        world.check()


# -- a check that can fail --------------------------------------------------------------------


def test_a_node_that_shows_something_else_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with World(nodes=2, seed=12) as world:
        ada = world[0].create(Person, name="Ada")
        world.settle()
        world.partition([0], [1])
        ada.name.set("only here")
        world._cuts.clear()  # connected, as far as the check knows
        with pytest.raises(InvariantBroken, match="I-01: nodes 0 and 1 hold other events"):
            world.check()


def test_a_lost_event_that_was_synced_is_found() -> None:
    with World(nodes=1, seed=13) as world:
        world[0].create(Person, name="Ada")
        world[0].flush()
        world[0].synced.add(bytes(32))
        with pytest.raises(InvariantBroken, match="I-13"):
            world.check()


def test_rows_that_are_not_what_the_events_make_are_found() -> None:
    with World(nodes=1, seed=14) as world:
        world[0].create(Person, name="Ada")
        row = next(key for key, _ in world[0].disk.rows.scan(b"R", b"S"))
        world[0].node._store.write({row: None})
        with pytest.raises(InvariantBroken, match="I-05"):
            world.check()


def test_a_judge_is_asked_about_every_node() -> None:
    judged: list[Site] = []
    with World(nodes=2, judges=[judged.append]) as world:
        world.check()
        assert judged == list(world)
