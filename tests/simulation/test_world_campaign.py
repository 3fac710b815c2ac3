"""Seeds of the standard play, with every kind of fault, each checked in the end (I-01 ... I-13).

How many are played is a matter of time: the run prints at its end how many that were. Any seed
alone: ``perform(STANDARD, seed, draw(STANDARD, seed, STEPS))``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from dinemic.testing.campaign import Campaign
from dinemic.testing.plays import STANDARD
from support.figures import count

PARTS = 38
"""Tests, so that workers share them."""
SEEDS = 8
"""Of one part; the long run plays many more."""
SEEDS_LONG = 200
EVENTS_MIN = 60
FAULTS_MIN = 5
"""What a seed brings at least, on average: a campaign in which nothing happens finds nothing."""


pytestmark = pytest.mark.usefixtures("silent_nodes")


def play(first: int, seeds: int, tmp_path: Path) -> None:
    campaign = Campaign(first)
    found = list(
        campaign.run(STANDARD, lambda: campaign.next_seed < first + seeds, folder=tmp_path)
    )
    tally = campaign.tally
    assert not found, "\n".join(found)
    assert tally.events >= seeds * EVENTS_MIN
    assert tally.faults >= seeds * FAULTS_MIN
    assert tally.checks == seeds
    count("seeds", tally.seeds)
    count("cluster-hours", tally.hours)
    count("events admitted", tally.events)
    count("faults", tally.faults)


@pytest.mark.parametrize("part", range(PARTS))
def test_nodes_agree_whatever_happens_to_them(part: int, tmp_path: Path) -> None:
    play(part * SEEDS, SEEDS, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("part", range(PARTS))
def test_nodes_agree_whatever_happens_to_them_in_many_seeds(part: int, tmp_path: Path) -> None:
    play(100_000 + part * SEEDS_LONG, SEEDS_LONG, tmp_path)
