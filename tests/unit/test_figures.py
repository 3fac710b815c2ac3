"""What a run came to: only what held is counted, from every worker, and a whole run has goals."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from support import figures
from support.figures import GOALS, Machine

STEPS = "hypothesis steps"
FEW = settings(max_examples=5, stateful_step_count=4, database=None)


def test_a_property_counts_the_examples_it_held_for() -> None:
    held = 0

    @FEW
    @given(st.integers(0, 1000))
    def even(number: int) -> None:
        nonlocal held
        assume(number % 2 == 0)
        held += 1

    figures.count_examples(even)
    with figures.counting() as done:
        even()
    assert done == {STEPS: held}


def test_an_example_that_fails_counts_nothing() -> None:
    @FEW
    @given(st.none())
    def never(_: None) -> None:
        raise AssertionError

    figures.count_examples(never)
    with figures.counting() as done, pytest.raises(AssertionError):
        never()
    assert done == {}


def test_a_state_machine_counts_the_rules_that_ran() -> None:
    ran = 0

    class Running(Machine):
        @rule()
        def run(self) -> None:
            nonlocal ran
            ran += 1

    with figures.counting() as done:
        run_state_machine_as_test(Running, settings=FEW)
    assert done == {STEPS: ran}
    assert ran >= 4


def test_what_is_below_its_goal_is_marked_where_everything_was_run() -> None:
    done = figures.total([{"kills": GOALS["kills"]}, {"seeds": GOALS["seeds"] - 1}])
    assert set(GOALS) - set(figures.missed(done)) == {"kills"}
    whole = dict(zip(GOALS, figures.table(done, whole=True), strict=True))
    assert "MISSED" in whole["seeds"]
    assert "MISSED" not in whole["kills"]
    assert [line.split() for line in figures.table(done, whole=False)] == [
        ["seeds", "299"],
        ["kills", "100"],
    ]


CONFTEST = """
from support.summing import Summing

def pytest_configure(config):
    config.pluginmanager.register(Summing(config))
"""
TESTS = """
import pytest
from support.figures import count

@pytest.mark.parametrize("number", [2, 3])
def test_that_kills(number):
    count("kills", number)

def test_that_does_nothing():
    pass
"""


@pytest.mark.parametrize(
    ("words", "code", "row"),
    [
        (["-n", "2"], 1, "kills 5 goal 100 MISSED"),
        (["-n", "0", "-k", "kills"], 0, "kills 5"),
        (["-n", "0", "test_it.py::test_that_does_nothing"], 0, None),
    ],
    ids=["everything", "some", "none that count"],
)
def test_a_run_of_everything_is_held_to_the_goals(
    tmp_path: Path, words: list[str], code: int, row: str | None
) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\ntestpaths = .\n")
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(TESTS)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == code, run.stdout + run.stderr
    rows = [" ".join(line.split()) for line in run.stdout.splitlines()]
    assert [line for line in rows if line.startswith("kills")] == ([row] if row else [])
