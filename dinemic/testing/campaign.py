"""Seed after seed until the time is over, with a table of what was played and what was found.

A campaign can be cut off at any moment and go on later: what is done is kept in a small file, one
seed after another, and seeds are tried in their order.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dinemic.testing.failures import FOLDER, save
from dinemic.testing.invariants import InvariantBroken
from dinemic.testing.scenario import Play, Tally, draw, perform, shrink
from dinemic_engine.errors import UsageError

STEPS: Final = 100
"""Steps of one seed: long enough for faults to meet, short enough to be read when it fails."""


@dataclass
class Campaign:
    """How far a campaign has come."""

    next_seed: int = 0
    tally: Tally = field(default_factory=Tally)

    @classmethod
    def load(cls, path: Path) -> Campaign:
        """The campaign kept in a file, or a new one if there is no such file.

        Raises:
            UsageError: the file holds something else.
        """
        if not path.exists():
            return cls()
        try:
            kept = json.loads(path.read_text("utf-8"))
            return cls(int(kept["next_seed"]), Tally(**kept["tally"]))
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{path} keeps no campaign: {error}") from error

    def keep(self, path: Path) -> None:
        """Write it to a file, whole or not at all."""
        new = path.with_name(f"{path.name}.new")
        kept = {"next_seed": self.next_seed, "tally": self.tally._asdict()}
        new.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
        os.replace(new, path)

    def run(
        self,
        play: Play,
        goes_on: Callable[[], bool],
        *,
        source: str = "dinemic.testing.plays",
        name: str = "STANDARD",
        folder: Path = Path(FOLDER),
        steps: int = STEPS,
    ) -> Iterator[str]:
        """Play one seed after another while `goes_on`; yields a line for each finding.

        `source` and `name` say where `play` is found again, by the test file that is written.
        """
        while goes_on():
            seed = self.next_seed
            drawn = draw(play, seed, steps)
            try:
                tally, _ = perform(play, seed, drawn)
            except InvariantBroken as error:
                fewer, again = shrink(play, seed, drawn)
                path = save(folder, source, name, seed, fewer, again or error)
                tally = Tally(seeds=1, findings=1)
                yield f"seed {seed}: {again or error}\n  kept as {path}"
            self.tally = self.tally.plus(tally)
            self.next_seed = seed + 1


def table(tally: Tally) -> str:
    """The counts, one a line."""
    rows = {
        "seeds": f"{tally.seeds:,}",
        "cluster-hours": f"{tally.hours:,.1f}",
        "events admitted": f"{tally.events:,}",
        "edits": f"{tally.edits:,}",
        "faults": f"{tally.faults:,}",
        "of these crashes": f"{tally.crashes:,}",
        "checks": f"{tally.checks:,}",
        "findings": f"{tally.findings:,}",
    }
    return "\n".join(f"{name:<18}{value:>14}" for name, value in rows.items())
