"""What a scene does, and what becomes of a failure: shrunk, kept as a test file, repeated."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

import dinemic
from dinemic.testing import InvariantBroken, Play, Scene, draw, perform, repeat, shrink
from dinemic.testing.__main__ import main
from dinemic.testing.campaign import Campaign, table
from dinemic.testing.edits import Edit, draw_value
from dinemic.testing.failures import save
from dinemic.testing.machine import ConvergenceMachine
from dinemic.testing.plays import STANDARD
from dinemic.testing.scenario import Step, Tally
from dinemic.testing.site import Site
from dinemic.testing.sources import load
from dinemic.testing.strategies import edits, graphs, listeners, steps, values
from dinemic_engine import canonical
from dinemic_engine.store import layout


class Person(dinemic.DModel, access="open"):
    name = dinemic.DField("name")
    tags = dinemic.DList("tags")
    notes = dinemic.DDict("notes")
    visits = dinemic.DCounter("visits")
    friends = dinemic.DSet("friends")


def no_removed_person(site: Site) -> None:
    """A judge for tests: it is broken by removing anybody."""
    found = [name for name, object_id in site.node.view.objects(removed=True) if name == "Person"]
    if len(found) != len(list(site.node.view.objects("Person"))):
        raise InvariantBroken("I-99", "somebody was removed")


def rename(person: Any, rng: Random) -> None:
    person.name.set(rng.choice(("Ada", "Bob")))


def remove(person: Any, rng: Random) -> None:
    person.remove()


PLAY = Play([Person], nodes=2, actions=[rename])
BROKEN = Play([Person], nodes=2, actions=[rename, remove], judges=[no_removed_person])
LONG: list[Step] = [
    ("create", {"node": 1, "model": 0}),
    ("pass", {"seconds": 1.0}),
    ("crash", {"node": 0, "power": True}),
    ("act", {"of": 0, "action": 0, "seed": 1}),
    ("act", {"of": 0, "action": 1, "seed": 1}),
    ("act", {"of": 0, "action": 0, "seed": 2}),
    ("skew", {"node": 1, "seconds": 5.0}),
    ("check", {}),
]


class People(ConvergenceMachine):
    models = (Person,)
    actions = (rename,)


class Removing(ConvergenceMachine):
    models = (Person,)

    @classmethod
    def play(cls) -> Play:
        return BROKEN


def test_a_failure_is_shrunk_to_the_steps_that_matter() -> None:
    found, error = shrink(BROKEN, 1, LONG)
    assert [verb for verb, _ in found] == ["create", "act", "check"]
    assert error is not None
    assert error.invariant == "I-99"


@pytest.mark.usefixtures("silent_nodes")
def test_a_fault_of_the_engine_is_found_and_shrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "is_before", lambda now, row: True)  # whoever comes last wins
    found, error = shrink(STANDARD, 0, draw(STANDARD, 0, 100))
    assert error is not None
    assert error.invariant == "I-01"
    assert len(found) <= 6


def test_steps_that_break_nothing_stay_as_they_are() -> None:
    assert shrink(PLAY, 1, LONG) == (LONG, None)


def test_a_kept_failure_is_a_test_that_fails_until_it_is_mended(tmp_path: Path) -> None:
    steps, error = shrink(BROKEN, 1, LONG)
    assert error is not None
    path = save(tmp_path, __file__, "BROKEN", 1, steps, error)
    assert path == save(tmp_path, __file__, "BROKEN", 1, steps, error), "one file, not one a day"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "I-99: somebody was removed" in done.stdout
    said = CliRunner().invoke(main, ["repeat", str(path)])
    assert (said.exit_code, said.output) == (1, "Error: I-99: somebody was removed\n")
    repeat(__file__, "PLAY", 1, steps[:1])
    with pytest.raises(dinemic.UsageError, match="no Play called GONE"):
        repeat(__file__, "GONE", 1, steps)


def test_a_machine_plays_with_the_models_of_the_user(tmp_path: Path) -> None:
    People.failures = tmp_path
    run_state_machine_as_test(
        People, settings=settings(max_examples=4, stateful_step_count=15, deadline=None)
    )
    assert not list(tmp_path.iterdir())


def test_what_a_machine_finds_is_kept(tmp_path: Path) -> None:
    Removing.failures = tmp_path
    quick = settings(
        max_examples=200,
        stateful_step_count=12,
        deadline=None,
        derandomize=True,  # any search may miss what one in a dozen finds; this one does not
        database=None,
        print_blob=False,
        phases=[Phase.generate],  # shrinking is Hypothesis' own, and takes its time
        report_multiple_bugs=False,
    )
    with pytest.raises(InvariantBroken, match="I-99"):
        run_state_machine_as_test(Removing, settings=quick)
    (kept,) = tmp_path.iterdir()
    with pytest.raises(InvariantBroken, match="I-99"):
        load(str(kept)).test_repeats()


def test_a_campaign_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "campaign.json"
    for expected in (2, 4):
        campaign = Campaign.load(path)
        stop = campaign.next_seed + 2
        assert not list(campaign.run(PLAY, lambda: campaign.next_seed < stop, steps=8))  # noqa: B023
        campaign.keep(path)
        assert Campaign.load(path).tally.seeds == expected
    path.write_text("{}")
    with pytest.raises(dinemic.UsageError, match="keeps no campaign"):
        Campaign.load(path)


def test_a_campaign_tells_what_it_finds_and_counts_it(tmp_path: Path) -> None:
    campaign = Campaign()
    playing = campaign.run(
        BROKEN,
        lambda: campaign.next_seed < 3,
        source=__file__,
        name="BROKEN",
        folder=tmp_path,
        steps=25,
    )
    found = list(playing)
    assert campaign.tally.findings == len(found) > 0
    assert "I-99" in found[0]
    assert list(tmp_path.iterdir())
    assert "findings" in table(campaign.tally)


def test_tallies_add_up() -> None:
    assert Tally(1, 2.0, 3).plus(Tally(1, 0.5, 4)) == Tally(2, 2.5, 7)


def test_an_unknown_step_is_an_error() -> None:
    with Scene(PLAY, 1) as scene, pytest.raises(ValueError, match="no step is called 'dance'"):
        scene.do(("dance", {}))


@given(values())
def test_drawn_values_are_values(value: Any) -> None:
    canonical.encode(value)


@given(st.randoms(use_true_random=False))
def test_values_are_drawn_by_the_seed(rng: Random) -> None:
    state = rng.getstate()
    one = draw_value(rng)
    rng.setstate(state)
    assert canonical.encode(draw_value(rng)) == canonical.encode(one)


@settings(max_examples=5)
@given(st.lists(edits(Person), max_size=20))
def test_drawn_edits_can_be_made(drawn: list[Edit]) -> None:
    with Scene(PLAY, 1) as scene:
        person = scene.world[0].create(Person)
        for each in drawn:
            each.apply(person)
        scene.world.settle()
        scene.world.check()


@settings(max_examples=3)
@given(graphs(PLAY, size=15), st.lists(steps(PLAY), max_size=5), listeners())
def test_drawn_graphs_can_be_played(
    graph: list[Step], more: list[Step], guard: dinemic.DAction
) -> None:
    play = Play([Person], nodes=2, listeners=[(type(guard), "Person:*")])
    perform(play, 1, [*graph, *more, ("check", {})])


def test_steps_are_drawn_by_the_seed() -> None:
    assert draw(PLAY, 5, 40) == draw(PLAY, 5, 40) != draw(PLAY, 6, 40)
