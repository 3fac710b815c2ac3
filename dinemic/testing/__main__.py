"""``python -m dinemic.testing``: repeat a failure, or search for one."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import click

from dinemic.testing.campaign import STEPS, Campaign, table
from dinemic.testing.failures import FOLDER, find_play
from dinemic.testing.invariants import InvariantBroken
from dinemic.testing.sources import load


@click.group()
def main() -> None:
    """The simulator of dinemic."""
    logging.getLogger("dinemic").setLevel(logging.CRITICAL + 1)  # what nodes say of their faults
    logging.getLogger("dinemic_transport").setLevel(logging.CRITICAL + 1)


@main.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
def repeat(file: str) -> None:
    """Do what a saved failure did; exit code 1 if it still fails."""
    try:
        load(file).test_repeats()
    except InvariantBroken as error:
        raise click.ClickException(str(error)) from error
    click.echo("nothing is broken any more")


@main.command()
@click.option("--seconds", default=60.0, show_default=True, help="How long to search.")
@click.option("--seeds", type=int, help="How many seeds to try at most.")
@click.option(
    "--resume", type=click.Path(path_type=Path), help="Go on with the campaign kept here."
)
@click.option(
    "--play",
    default="dinemic.testing.plays:STANDARD",
    show_default=True,
    help="What to play, as module:NAME or FILE.py:NAME.",
)
@click.option("--failures", default=FOLDER, show_default=True, help="Folder for what is found.")
@click.option("--steps", default=STEPS, show_default=True, help="Steps of one seed.")
def campaign(
    seconds: float, seeds: int | None, resume: Path | None, play: str, failures: str, steps: int
) -> None:
    """Play seed after seed and print what was found; exit code 1 if something was."""
    end = time.monotonic() + seconds
    found = Campaign.load(resume) if resume else Campaign()
    last = None if seeds is None else found.next_seed + seeds

    def goes_on() -> bool:
        if resume:
            found.keep(resume)
        return time.monotonic() < end and found.next_seed != last

    source, _, name = play.rpartition(":")
    for line in found.run(
        find_play(source, name),
        goes_on,
        source=source,
        name=name,
        folder=Path(failures),
        steps=steps,
    ):
        click.echo(line)
    click.echo(table(found.tally))
    if found.tally.findings:
        raise SystemExit(1)


if __name__ == "__main__":
    main(prog_name="python -m dinemic.testing")
