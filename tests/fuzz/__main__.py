"""The long run: `python -m fuzz [TARGET ...] --seconds 60`, in the folder of the tests.

With atheris installed (libFuzzer for Python; no dependency, for it has wheels for few systems) the
search is led by what inputs cover, and half of them are made by `mutation`. Without it all are, and
an input that reaches a new line is one to go on from. Either way each target has a process of its
own, of which `--jobs` run at a time, and begins with the kept inputs and its seeds.

A finding is written to `fuzz-findings`, and the exit code is 1; `--replay FILE` shows it again.
Once it is mended, its smallest case becomes a seed. `--keep` chooses the kept inputs anew, with
those that were found: what reaches new lines, the shortest first and within a bound.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from fuzz.run import lines_of
from fuzz.target import Target, keep, kept
from fuzz.targets import TARGETS

KEPT_BYTES_MAX: Final = 6_000
KEPT_INPUT_BYTES_MAX: Final = 1_500
"""What one target keeps, and of one input: all of them together stay readable in a review."""

FINDINGS: Final = Path("fuzz-findings")

_COUNT: Final = re.compile(r"^(?:stat::number_of_executed_units|inputs): +(\d+)", re.MULTILINE)
"""Who says how many inputs were tried: libFuzzer, or the search of ours."""


def main() -> int:
    """Run what the command line says; the exit code."""
    parser = argparse.ArgumentParser(prog="fuzz", description="Fuzz all that takes outside bytes.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="all if none is named")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", "-j", type=int, default=1, help="targets at a time")
    parser.add_argument("--keep", action="store_true", help="keep what reaches new lines")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="try one input")
    options = parser.parse_args()
    names = options.targets or list(TARGETS)
    if options.replay is not None:
        target = TARGETS[names[0]]
        target.seeds()  # what is imported late is no input's work
        target.try_one(options.replay.read_bytes())
        return 0
    _say(f"{'target':14} {'inputs':>9} {'corpus':>7} findings\n")
    inputs = findings = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        begin = ((name, [*kept(name), *TARGETS[name].seeds()]) for name in names)
        runs = [pool.submit(_fuzz, *target, options.seconds, options.seed) for target in begin]
        for run in runs:
            result = run.result()
            _say(f"{result.name:14} {result.inputs:>9} {len(result.reached):7} {result.findings}\n")
            _say(result.told)
            inputs, findings = inputs + result.inputs, findings + result.findings
            if options.keep and not result.findings:
                keep(result.name, chosen(TARGETS[result.name], result.reached))
    each = f"{len(names)} targets, {options.seconds} s each"
    _say(f"{each}: {inputs:,} inputs, {findings} findings\n")
    return 1 if findings else 0


class _Result(NamedTuple):
    """What came of a target."""

    name: str
    inputs: int
    reached: Sequence[bytes]
    """The inputs that reach something new, and those it began with."""
    findings: int
    """A process that failed without one counts as one."""
    told: str
    """What it said, if there are findings."""


def _fuzz(name: str, begin: Sequence[bytes], seconds: int, seed: int) -> _Result:
    """Run a target in a process of its own, from the inputs it begins with."""
    with tempfile.TemporaryDirectory(prefix="dinemic-fuzz-") as directory:
        corpus = Path(directory, "corpus")
        corpus.mkdir()
        for number, data in enumerate(begin):
            (corpus / f"seed-{number}").write_bytes(data)
        run = subprocess.run(
            [sys.executable, "-m", "fuzz.run", name, str(seconds), str(seed), directory],
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        reached = [path.read_bytes() for path in corpus.iterdir()]
        findings = [*Path(directory).glob("crash-*"), *Path(directory).glob("timeout-*")]
        for path in findings:
            FINDINGS.mkdir(exist_ok=True)
            (FINDINGS / f"{name}-{path.name}").write_bytes(path.read_bytes())
    told = f"{run.stdout}\n{run.stderr}"
    count = int((_COUNT.findall(told) or ["0"])[-1])
    failed = run.returncode != 0 or not count
    lines = [line for line in told.splitlines() if not line.startswith("INFO")]
    shown = "\n".join([*lines, ""])[-4000:] if failed or findings else ""
    return _Result(name, count, reached, len(findings) or int(failed), shown)


def chosen(target: Target, inputs: Iterable[bytes]) -> list[bytes]:
    """Those that reach lines which no seed and no shorter one does, as many as may be kept."""
    covered: set[object] = set()
    for seed in target.seeds():
        covered |= lines_of(target, seed)
    found: list[bytes] = []
    room = KEPT_BYTES_MAX
    for data in sorted(set(inputs), key=lambda each: (len(each), each)):
        if len(data) <= min(KEPT_INPUT_BYTES_MAX, room):
            lines = lines_of(target, data)
            if not lines <= covered:
                covered |= lines
                room -= len(data)
                found.append(data)
    return found


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
