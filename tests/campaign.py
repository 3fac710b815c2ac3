"""Hours of worlds, kills and fuzzing in turns, with a table of what was done and found.

    make campaign SECONDS=3600

A turn plays worlds of `dinemic.testing` with every kind of fault, kills one random script at each
of its steps on the real store, and fuzzes one reader of outside bytes. How far it came is kept in
``campaign/``, so it can be ended at any time and goes on there: seeds, scripts and targets are
taken in their order. What is found is kept there as well, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from dinemic.testing.campaign import Campaign, table
from dinemic.testing.plays import STANDARD
from fuzz.targets import TARGETS
from support.killing import Killer, any_script, kill_at_each_step, killer

TURN_SECONDS: Final = 60.0
WORLDS_PART: Final = 0.6
FUZZ_PART: Final = 0.2
_FUZZED: Final = re.compile(r"^(\S+) +(\d+) +(\d+) (\d+)$", re.MULTILINE)
"""What `python -m fuzz` says of a target: inputs, corpus, findings."""


@dataclass
class Progress:
    """What was done besides worlds."""

    seconds: float = 0.0
    turns: int = 0
    kills: int = 0
    executions: dict[str, int] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, path: Path) -> Progress:
        """What is kept in a file, or nothing yet."""
        return cls(**json.loads(path.read_text("utf-8"))) if path.exists() else cls()

    def keep(self, path: Path) -> None:
        """Write it, whole or not at all."""
        new = path.with_suffix(".new")
        new.write_text(json.dumps(asdict(self), indent=1) + "\n", "utf-8")
        new.replace(path)


def play(campaign: Campaign, seconds: float, folder: Path) -> list[str]:
    """Worlds, seed after seed; a line for each finding."""
    until = time.monotonic() + seconds
    found = campaign.run(STANDARD, lambda: time.monotonic() < until, folder=folder)
    return list(found)


def kill(warm: Killer, progress: Progress) -> list[str]:
    """One random script, killed before and after each of its steps."""
    script = any_script(random.Random(progress.turns))
    threads = bool(progress.turns % 2)
    for after in (False, True):
        with tempfile.TemporaryDirectory(prefix="dinemic-kill-") as home:
            try:
                progress.kills += kill_at_each_step(
                    warm, Path(home), script, after=after, threads=threads
                )
            except Exception as error:  # noqa: BLE001 - what went wrong is the finding
                return [f"script {script} (after={after}, threads={threads}): {error!r}"]
    return []


def fuzz(progress: Progress, seconds: float) -> list[str]:
    """One target for a while."""
    name = list(TARGETS)[progress.turns % len(TARGETS)]
    words = [name, "--seconds", f"{seconds:.0f}", "--seed", f"{progress.turns + 1}"]
    run = subprocess.run(
        [sys.executable, "-m", "fuzz", *words],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    for target, inputs, _, _ in _FUZZED.findall(run.stdout):
        progress.executions[target] = progress.executions.get(target, 0) + int(inputs)
    return [f"fuzzing {name}: {run.stdout}{run.stderr}"] if run.returncode else []


def tell(campaign: Campaign, progress: Progress) -> None:
    """The table."""
    rows = {
        "hours": f"{progress.seconds / 3600:,.2f}",
        "kills": f"{progress.kills:,}",
        "fuzzed inputs": f"{sum(progress.executions.values()):,}",
        "targets fuzzed": f"{len(progress.executions):,}",
        "findings in all": f"{len(progress.findings):,}",
    }
    print(table(campaign.tally))  # noqa: T201
    for name, value in rows.items():
        print(f"{name:<18}{value:>14}")  # noqa: T201
    for finding in progress.findings:
        print(finding)  # noqa: T201


def main() -> int:
    """Go on for as long as the command line says; the exit code."""
    parser = argparse.ArgumentParser(prog="campaign", description="Hours of worlds and kills.")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--turn", type=float, default=TURN_SECONDS, help="seconds of one turn")
    parser.add_argument("--folder", type=Path, default=Path("campaign"))
    options = parser.parse_args()
    folder: Path = options.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("dinemic", "dinemic_transport"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    worlds, others = folder / "worlds.json", folder / "progress.json"
    campaign, progress = Campaign.load(worlds), Progress.load(others)
    until = time.monotonic() + options.seconds
    with (folder / "killed.log").open("w") as log, killer(log) as warm:
        while (began := time.monotonic()) < until:
            turn = min(options.turn, until - began)
            found = play(campaign, turn * WORLDS_PART, folder)
            found += kill(warm, progress)
            found += fuzz(progress, max(1.0, turn * FUZZ_PART))
            progress.findings += found
            progress.turns += 1
            progress.seconds += time.monotonic() - began
            campaign.keep(worlds)
            progress.keep(others)
    tell(campaign, progress)
    return 1 if progress.findings else 0


if __name__ == "__main__":
    sys.exit(main())
