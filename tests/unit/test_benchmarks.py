"""The benchmarks run, and what they do does not change; how fast is never judged here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import compare, run
from benchmarks.harness import (
    Figure,
    Goal,
    Ratio,
    Report,
    Side,
    Spent,
    as_table,
    cost_ratio,
    rate_ratio,
    take_turns,
)

RESULTS = {
    "append": "11d0f44be306ed3a",
    "log-length": "09f089340648686e",
    "ingest": "07f8089b51381a5e",
    "dicts": "9a636e059a48553c",
    "grants": "a5afb7247240bb98",
    "listeners": "e35137a6ef37cba8",
    "lists": "9cb6d1837e42045a",
    "reconcile": "a52af5d490740173",
    "read": "e2e9a060e3388877",
    "sealed": "76452b6ad4c0e6a7",
    "store": "b02a7648c6b17326",
    "audit": "0d961a381f6a87bf",
    "network": "efc7300e55ba0065",
}
"""What the small size of each leaves behind; another only with other work or another format."""


@pytest.mark.parametrize("name", run.BENCHMARKS)
def test_a_benchmark_leaves_the_result_it_always_left(name: str) -> None:
    report = run.BENCHMARKS[name]("small")

    assert report.name == name
    assert report.result == RESULTS[name]
    assert report.ratios
    for ratio in report.ratios:
        assert 0 < ratio.least <= ratio.median <= ratio.greatest
        assert ratio.cpu > 0
        assert ratio.goal is None, "a small size shows nothing about a goal"
    assert all(figure.value > 0 for figure in report.figures)


def test_the_command_prints_a_table_under_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["store"]) == 0

    head, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith("measured on: python 3.")
    assert "cores" in head
    assert lines[-1] == f"  result {RESULTS['store']}"


def test_the_command_prints_json_that_a_comparison_reads(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run.main(["store", "--json"]) == 0
    found = tmp_path / "found.json"
    found.write_text(capsys.readouterr().out)

    assert json.loads(found.read_text())["size"] == "small"
    assert compare.main([str(found), str(found)]) == 0
    assert "+0 %" in capsys.readouterr().out


def test_a_name_that_is_no_benchmark_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        run.main(["apend"])

    assert exit_.value.code == 2
    assert "apend" in capsys.readouterr().err


def test_a_comparison_refuses_runs_that_did_other_work(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    names = [tmp_path / "before.json", tmp_path / "after.json"]
    for name, result in zip(names, ["one", "other"], strict=True):
        reports = [{"name": "store", "result": result, "ratios": []}]
        name.write_text(json.dumps({"size": "small", "reports": reports}))

    assert compare.main([str(name) for name in names]) == 1
    assert "one became other" in capsys.readouterr().out


def test_a_comparison_tells_a_change_from_noise() -> None:
    def found(median: float, least: float, greatest: float) -> dict[str, Any]:
        ratio = {"name": "a / b", "median": median, "least": least, "greatest": greatest}
        return {
            "size": "small",
            "reports": [{"name": "store", "result": "same", "ratios": [ratio]}],
        }

    noise, _ = compare.compare(found(1.0, 0.9, 1.1), found(1.05, 1.0, 1.2))
    change, _ = compare.compare(found(1.0, 0.9, 1.1), found(2.0, 1.9, 2.1))

    assert "ranges overlap" in noise[-1]
    assert change[-1].endswith("+100 %")


def test_sides_take_turns_and_the_first_block_does_not_count() -> None:
    order: list[str] = []
    sides = [
        Side("a", 1, lambda: order.append("a"), settle=lambda: order.append("settle a")),
        Side("b", 1, lambda: order.append("b")),
    ]

    timings = take_turns(sides, 2, warm_up=1)

    assert order == ["a", "settle a", "b"] * 3
    assert {name: len(blocks) for name, blocks in timings.items()} == {"a": 2, "b": 2}


def test_a_ratio_is_taken_inside_each_block_so_drift_cancels() -> None:
    # A machine that becomes ten times slower in the middle.
    timings = {
        "a": [Spent(2.0, 3.0), Spent(2.0, 3.0), Spent(20.0, 30.0)],
        "b": [Spent(1.0, 1.0), Spent(1.0, 1.0), Spent(10.0, 10.0)],
    }

    assert cost_ratio(timings, "a", "b", name="a/b") == Ratio("a/b", 2.0, 2.0, 2.0, cpu=3.0)
    assert rate_ratio(timings, "a", "b").median == 0.5


def test_a_goal_is_met_on_its_own_side_of_the_bound() -> None:
    assert Goal(">=", 0.4).is_met(0.4)
    assert not Goal(">=", 0.4).is_met(0.39)
    assert Goal("<=", 1.3).is_met(1.3)
    assert not Goal("<=", 1.3).is_met(1.31)


def test_a_table_tells_whether_a_goal_is_met() -> None:
    ratio = Ratio("a / b", 0.3, 0.2, 0.4, cpu=0.3, goal=Goal(">=", 0.4))
    figure = Figure("a, events/s", 9_000.0, "1/s", goal=Goal(">=", 8_000))

    lines = as_table(Report("both", "", "hash", [ratio], [figure])).splitlines()

    assert lines[1].endswith("goal >= 0.4: missed")
    assert lines[2].endswith("goal >= 8000: met")
