"""The command `doctor`: whether a store is whole, and a whole one again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from dinemic.cli.common import of_a_home, print_json
from dinemic.cli.listings import FINDINGS_FOUND, finding_json, print_findings, telling
from dinemic.cli.words import Json, plural
from dinemic.config import Config
from dinemic.logs import printable
from dinemic_engine.errors import UsageError
from dinemic_engine.ids import short, to_text

if TYPE_CHECKING:
    from dinemic.doctor import Diagnosis, Rebuilt, Refilled

_MISSING_SHOWN_MAX: Final = 20
"""Missing events told one by one in words; all of them are with --json."""


@click.command()
@click.option("--quick", is_flag=True, help="Check no signatures.")
@click.option(
    "--repair-from-peers",
    "repairs",
    is_flag=True,
    help="Build the store anew from what is good in it, and fetch the rest from peers.",
)
@click.option(
    "--peer", "peers", metavar="HOST:PORT", multiple=True, help="Dial this. May be repeated."
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(0),
    default=60.0,
    show_default=True,
    help="How long to wait for peers.",
)
@of_a_home
@click.pass_context
def doctor(
    context: click.Context,
    quick: bool,
    repairs: bool,
    peers: tuple[str, ...],
    timeout: float,
    home: Path | None,
    as_json: bool,
) -> None:
    """Prove that the store of a home is whole, or tell what is missing and make a whole one.

    Without --repair-from-peers it only reads, also beside a running node. Exit code 0: whole, 1: it
    is damaged, 2: it cannot be told. With it a damaged store is kept as store.damaged-TIME, what is
    good in it goes into a new one, and a node is started until it has what its peers have; exit
    code 1 if events are known to be missing still, or no peer was met. No node may be running then.

    Example: dinemic doctor --repair-from-peers --peer 192.0.2.7:4711
    """
    from dinemic import doctor as work

    if peers and not repairs:
        raise click.UsageError("--peer is for --repair-from-peers")
    config = Config.load({"home": home}, os.environ)
    if repairs and config.store == "memory":
        raise UsageError("a store in memory keeps nothing that could be repaired")
    with telling(as_json) as progress:
        diagnosis = work.diagnose(config.home, progress, signatures=not quick)
    document: dict[str, Json] = {"home": str(config.home), **_diagnosis_json(diagnosis)}
    if not as_json:
        _print_diagnosis(config.home, diagnosis)
    if not repairs:
        if as_json:
            print_json(document)
        if not diagnosis.whole:
            context.exit(FINDINGS_FOUND)
        return
    if not diagnosis.whole:
        rebuilt = work.rebuild(config.home)
        document["rebuilt"] = _rebuilt_json(rebuilt)
        if not as_json:
            _print_rebuilt(rebuilt)
    refilled = _refill(config.home, peers, timeout)
    document["refilled"] = _refilled_json(refilled)
    if as_json:
        print_json(document)
    else:
        _print_refilled(refilled)
    if refilled.missing or refilled.waiting or not refilled.synced:
        context.exit(FINDINGS_FOUND)


def _refill(home: Path, peers: tuple[str, ...], timeout: float) -> Refilled:
    from dinemic import doctor as work
    from dinemic import running

    node = running.launch(home, peers=peers or None)
    try:
        return work.refill(node, timeout)
    finally:
        running.shutdown()


def _diagnosis_json(found: Diagnosis) -> dict[str, Json]:
    report = found.report
    return {
        "ok": found.whole,
        "objects": report.objects if report else None,
        "events": found.events,
        "events_admitted": found.told,
        "signatures": report.signatures if report else None,
        "digest": to_text(report.digest) if report else None,
        "findings": [finding_json(each) for each in found.findings],
        "rebuilt": None,
        "refilled": None,
    }


def _rebuilt_json(made: Rebuilt) -> dict[str, Json]:
    return {
        "kept": str(made.kept),
        "events": made.events,
        "orphans": made.orphans,
        "lost": list(made.lost),
    }


def _refilled_json(found: Refilled) -> dict[str, Json]:
    missing = [
        {"object": to_text(object_id) if object_id else None, "event": to_text(event_id)}
        for object_id, event_id in found.missing
    ]
    return {
        "synced": found.synced,
        "events": found.events,
        "from_peers": found.from_peers,
        "from_kept": found.from_kept,
        "waiting": found.waiting,
        "missing": missing,
        "unnamed": found.unnamed,
    }


def _print_diagnosis(home: Path, found: Diagnosis) -> None:
    click.echo(printable(f"home        {home}"))
    good = "unknown" if found.events is None else str(found.events)
    told = "unknown" if found.told is None else str(found.told)
    click.echo(f"events      {good} good, {told} were admitted")
    if found.report is not None:
        click.echo(f"signatures  {found.report.signatures} good")
    if found.whole:
        click.secho("whole", fg="green")
    else:
        print_findings(found.findings)


def _print_rebuilt(made: Rebuilt) -> None:
    click.echo(f"salvaged    {plural(made.events, 'event')}; {made.orphans} wait for lost parents")
    for what in made.lost:
        click.echo(f"lost        rows of this node's own, perhaps: {what}")
    click.echo(printable(f"kept        {made.kept}"))


def _print_refilled(found: Refilled) -> None:
    click.echo(f"from peers  {plural(found.from_peers, 'event')}")
    if found.from_kept:
        click.echo(f"from kept   {plural(found.from_kept, 'event')}")
    click.echo(f"events      {found.events}")
    click.echo("in sync" if found.synced else "NOT in sync: no peer, or not enough time")
    if found.waiting:
        click.echo(
            f"waiting     {plural(found.waiting, 'event')}, kept until those missing are back"
        )
    for object_id, event_id in found.missing[:_MISSING_SHOWN_MAX]:
        of = f" of {short(object_id)}" if object_id else ""
        click.echo(f"missing     event {short(event_id)}{of}")
    if len(found.missing) > _MISSING_SHOWN_MAX:
        click.echo(f"missing     and {len(found.missing) - _MISSING_SHOWN_MAX} more")
    if found.unnamed is None:
        click.echo("how many events the damaged store held is not known")
    elif found.unnamed:
        click.echo(f"{found.unnamed} more were there, and nothing tells which; some may be back")
