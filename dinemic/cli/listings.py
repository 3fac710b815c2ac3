"""The commands that list: `objects`, `log` and `audit`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import click

from dinemic import bundles
from dinemic.cli.common import Home, find_object, of_a_home, print_json, reading
from dinemic.cli.tables import print_table
from dinemic.cli.words import Author, Authors, Json, op_json, op_text, plural, time_text
from dinemic.filters import compile_filter
from dinemic.logs import printable
from dinemic_engine.audit import AuditReport
from dinemic_engine.audit import audit as audit_store
from dinemic_engine.findings import Finding
from dinemic_engine.ids import ObjectId, db_id, short, to_text
from dinemic_engine.reading import LoggedEvent
from dinemic_engine.store import keyspace, layout
from dinemic_engine.types import register

FINDINGS_FOUND: Final = 1
"""Exit code of an audit that is not clean."""


@click.command()
@click.argument("filter", default="", metavar="[FILTER]")
@click.option("--removed", is_flag=True, help="Also list removed objects.")
@of_a_home
def objects(filter: str, removed: bool, home: Path | None, as_json: bool) -> None:
    """List the objects of a home, by model and id.

    FILTER is one as listeners have: "Person:[id]" is one model, "*" everything.

    Example: dinemic objects "Person:[id]"
    """
    try:
        matches = compile_filter(filter).matches if filter else None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="FILTER") from error
    with reading(home) as here:
        found = [
            _described(here, model, object_id)
            for model, object_id in here.view.objects(removed=removed)
            if matches is None or matches(db_id(model, object_id))
        ]
    if as_json:
        print_json({"objects": found})
        return
    rows = [
        (each["id"], each["changed"], "removed" if each["removed"] else ", ".join(each["fields"]))
        for each in found
    ]
    print_table(("object", "changed", "fields"), rows)
    click.echo(plural(len(rows), "object"))


def _described(here: Home, model: str, object_id: ObjectId) -> dict[str, Json]:
    no, row = here.view.need(object_id)
    heads = layout.unpack_heads(here.store.get(keyspace.heads_key(no)) or b"")
    fields = [stored.removeprefix(register.PREFIX) for stored in here.view.keys(object_id)]
    return {
        "id": db_id(model, object_id),
        "model": model,
        "changed": time_text(max(head.t for head in heads)),
        "removed": bool(row.removed_by),
        "fields": fields,
    }


@click.command()
@click.argument("object")
@of_a_home
def log(object: str, home: Path | None, as_json: bool) -> None:
    """Print the events of an object in replay order, the oldest first.

    OBJECT is its id or the beginning of one. A line tells the event's id, its time in UTC, who
    signed it and what it does; "unauthorized" marks a stranger's change that an open rule let in,
    "void" one without effect, and by which rule; "vetoed" and "waiting" one that the guards of this
    home refused or have yet to see.
    With --json every line is one JSON document.

    Example: dinemic log Person:mfzw
    """
    with reading(home) as here:
        _, object_id = find_object(here.view, object)
        authors = Authors(here.view, object_id)
        for logged in here.view.history(object_id):
            author = authors.of(logged.event.author)
            if as_json:
                print_json(_event_json(logged, author), line=True)
            else:
                click.echo(printable(_event_text(logged, author)))


def _event_text(logged: LoggedEvent, author: Author) -> str:
    event = logged.event
    ops = "; ".join(map(op_text, event.ops))
    flag = {"authorized": "", "unauthorized": "  (unauthorized)"}.get(logged.verdict)
    if flag is None:
        flag = f"  ({logged.verdict}, {logged.rule})"
    return f"{short(event.id)}  {time_text(event.t)}  {author.text():<17}  {ops}{flag}"


def _event_json(logged: LoggedEvent, author: Author) -> dict[str, Json]:
    event = logged.event
    return {
        "event": to_text(event.id),
        "t": event.t,
        "time": time_text(event.t),
        "author": author.json(),
        "authorized": logged.authorized,
        "verdict": logged.verdict,
        "rule": logged.rule or None,
        "parents": [to_text(parent) for parent in event.parents],
        "ops": [op_json(op) for op in event.ops],
    }


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
@of_a_home
@click.pass_context
def audit(context: click.Context, file: Path | None, home: Path | None, as_json: bool) -> None:
    """Verify a whole home, or a bundle, again from its signed bytes; change nothing.

    Opens every event, checks its signature and whether its author was allowed to make it, and
    compares all that is stored beside the events with what they make. Exit code 1 if anything is
    not as it must be. The digest is equal on two homes exactly if their objects are. With FILE, a
    bundle, that is verified and no home is looked at.

    Example: dinemic audit --home ./server
    """
    if file is not None and home is not None:
        raise click.UsageError("either FILE or --home, not both")
    with telling(as_json) as progress:
        if file is not None:
            report = bundles.audit(file, progress)
            where = {"file": str(file)}
        else:
            with reading(home, check=False) as here:
                report = audit_store(here.store, progress)
                where = {"home": str(here.config.home)}
    if as_json:
        print_json(where | _report_json(report))
    else:
        _print_report(report, where)
    if not report.ok:
        context.exit(FINDINGS_FOUND)


@contextlib.contextmanager
def telling(as_json: bool) -> Iterator[bundles.Progress | None]:
    """A function that shows on a terminal how many events are done; None if nobody looks."""
    if as_json or not sys.stderr.isatty():
        yield None
        return

    def tell(events: int) -> None:
        click.echo(f"\r{events} events", nl=False, err=True)

    yield tell
    click.echo("\r", nl=False, err=True)


def _print_report(report: AuditReport, where: dict[str, str]) -> None:
    for kind, name in where.items():
        click.echo(printable(f"{kind:<11} {name}"))
    click.echo(f"objects     {report.objects}")
    click.echo(f"events      {report.events}")
    click.echo(f"signatures  {report.signatures} good")
    click.echo(f"digest      {to_text(report.digest)}")
    print_findings(report.findings)


def print_findings(findings: Sequence[Finding]) -> None:
    """What an audit found, one thing a line, or that it found nothing."""
    if not findings:
        click.secho("clean", fg="green")
        return
    click.secho(plural(len(findings), "finding"), fg="red", bold=True)
    rows = [
        (
            finding.kind,
            short(finding.object) if finding.object else "",
            short(finding.event) if finding.event else "",
            finding.detail,
        )
        for finding in findings
    ]
    print_table(("row", "object", "event", "what"), rows)


def _report_json(report: AuditReport) -> dict[str, Json]:
    return {
        "ok": report.ok,
        "objects": report.objects,
        "events": report.events,
        "signatures": report.signatures,
        "digest": to_text(report.digest),
        "findings": [finding_json(finding) for finding in report.findings],
    }


def finding_json(finding: Finding) -> dict[str, Json]:
    """One finding as JSON."""
    return {
        "kind": finding.kind,
        "object": to_text(finding.object) if finding.object else None,
        "event": to_text(finding.event) if finding.event else None,
        "detail": finding.detail,
    }
