"""Seeds of the standard play, with every kind of fault, each checked in the end (I-01 ... I-13).

How many are played is a matter of time: the run prints at its end how many that were. Any seed
alone: ``perform(STANDARD, seed, draw(STANDARD, seed, STEPS))``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dinemic.testing.campaign import Campaign
from dinemic.testing.plays import STANDARD
from dinemic.testing.scenario import Tally

PARTS = 32
"""Tests, so that workers share them."""
SEEDS = 10
"""Of one part; the long run plays many more."""
SEEDS_LONG = 200
EVENTS_MIN = 60
FAULTS_MIN = 5
"""What a seed brings at least, on average: a campaign in which nothing happens finds nothing."""


pytestmark = pytest.mark.usefixtures("silent_nodes")


@pytest.fixture
def record(record_property: Callable[[str, object], None]) -> Callable[[Tally], None]:
    """Puts what was played into the table at the end of the run."""
    return lambda tally: record_property("tally", tally._asdict())


def play(first: int, seeds: int, tmp_path: Path, record: Callable[[Tally], None]) -> None:
    campaign = Campaign(first)
    found = list(
        campaign.run(STANDARD, lambda: campaign.next_seed < first + seeds, folder=tmp_path)
    )
    record(campaign.tally)
    assert not found, "\n".join(found)
    assert campaign.tally.events >= seeds * EVENTS_MIN
    assert campaign.tally.faults >= seeds * FAULTS_MIN
    assert campaign.tally.checks == seeds


@pytest.mark.parametrize("part", range(PARTS))
def test_nodes_agree_whatever_happens_to_them(
    part: int, tmp_path: Path, record: Callable[[Tally], None]
) -> None:
    play(part * SEEDS, SEEDS, tmp_path, record)


@pytest.mark.long
@pytest.mark.parametrize("part", range(PARTS))
def test_nodes_agree_whatever_happens_to_them_in_many_seeds(
    part: int, tmp_path: Path, record: Callable[[Tally], None]
) -> None:
    play(100_000 + part * SEEDS_LONG, SEEDS_LONG, tmp_path, record)
