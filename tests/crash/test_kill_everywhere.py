"""kill -9 before and after every write and flush of a node's work, on the real store.

What is killed: admission of local edits, of batches of a peer (with events that lose their effect
to a late revocation) and of a bundle; creation with its keys; grants, epochs and sealed values;
revocations; guards' answers and what listeners are told; flushes, alone and of several threads.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.crash_work import SCRIPTS
from support.killing import Killer, any_script, kill_at_each_step, killer

STEPS_AT_LEAST = {"local": 16, "received": 11, "guarded": 16, "synced": 20}
"""Fewer means that the work, or a way to count it, went missing."""


@pytest.fixture(scope="module")
def warm() -> Iterator[Killer]:
    with killer() as found:
        yield found


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_i_02_i_13_a_kill_at_any_step_loses_nothing_that_was_acknowledged(
    warm: Killer, tmp_path: Path, name: str, after: bool
) -> None:
    kills = kill_at_each_step(warm, tmp_path, SCRIPTS[name], after=after, threads=name == "synced")
    assert kills >= STEPS_AT_LEAST[name]


@pytest.mark.long
@pytest.mark.parametrize("number", range(50))
def test_a_kill_at_any_step_of_anything_loses_nothing_that_was_acknowledged(
    warm: Killer, tmp_path: Path, rng: random.Random, number: int
) -> None:
    """Some 60 kills each: with 50 of them, thousands."""
    script = any_script(rng)
    threads = bool(number % 2)
    for after in (False, True):
        kills = kill_at_each_step(warm, tmp_path / str(after), script, after=after, threads=threads)
        assert kills >= len(set(script)) // 2
