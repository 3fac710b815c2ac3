"""Opened runs: what is read stays, what is not read goes, and memory is bounded."""

from __future__ import annotations

import pytest

from dinemic import opened_runs
from dinemic.opened_runs import OpenedRuns, RunName, own_copy

READER = bytes(32)


def name(number: int) -> RunName:
    return number.to_bytes(32, "big"), 0, READER


def test_a_run_is_open_for_its_reader_only() -> None:
    runs = OpenedRuns()
    runs.put((bytes(32), 1, b"a"), ["x"], 1)
    assert runs.get((bytes(32), 1, b"a")) == ["x"]
    assert runs.get((bytes(32), 1, b"b")) is None
    assert runs.get((bytes(32), 2, b"a")) is None


def test_what_is_read_again_and_again_stays_and_the_rest_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(opened_runs, "_GENERATION_BYTES", 10_000)
    runs = OpenedRuns()
    runs.put(name(0), ["kept"], 100)
    for number in range(1, 1_000):
        runs.put(name(number), ["x"], 100)
        assert runs.get(name(0)) == ["kept"]
    assert runs.get(name(1)) is None
    here = [number for number in range(1_000) if runs.get(name(number)) is not None]
    assert 1 < len(here) <= 2 * 10_000 // 356


def test_a_run_larger_than_the_memory_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opened_runs, "_GENERATION_BYTES", 1_000)
    runs = OpenedRuns()
    runs.put(name(0), ["x"], 1_001)
    assert runs.get(name(0)) is None


@pytest.mark.parametrize("value", [[1, [2]], {"a": [1]}])
def test_a_copy_is_equal_and_shares_nothing(value: list[object] | dict[str, object]) -> None:
    copy = own_copy(value)  # type: ignore[arg-type]
    assert copy == value
    assert copy is not value
