"""The commands `export` and `import`: whole objects in a file, where no network goes."""

from __future__ import annotations

import os
from pathlib import Path

import click

from dinemic import bundles
from dinemic.cli.common import find_object, of_a_home, print_json, reading
from dinemic.cli.listings import FINDINGS_FOUND, finding_json, print_findings, telling
from dinemic.cli.words import plural
from dinemic.config import Config
from dinemic.logs import printable
from dinemic.node import Node
from dinemic_engine.errors import BundleError


@click.command("export")
@click.argument("objects", nargs=-1)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="The file to make; it must not be there.",
)
@of_a_home
def export_bundle(objects: tuple[str, ...], out: Path, home: Path | None, as_json: bool) -> None:
    """Write objects into a bundle: a file with all their signed events.

    OBJECTS are ids or beginnings of ids; without any, all objects of the home are exported, removed
    ones too. Private keys stay here and sealed values stay sealed. The home may be in use.

    Example: dinemic export Person:mfzw --out bob.bundle
    """
    with reading(home) as here:
        named = [find_object(here.view, text)[1] for text in objects] or None
        exported = bundles.write(out, here.view, named)
    if as_json:
        print_json({"file": str(out), **exported._asdict()})
        return
    held = f"{plural(exported.objects, 'object')}, {plural(exported.events, 'event')}"
    click.echo(printable(f"{held} written to {out}"))


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@of_a_home
@click.pass_context
def import_bundle(context: click.Context, file: Path, home: Path | None, as_json: bool) -> None:
    """Take the objects of a bundle into a home: all of it, or nothing.

    FILE is verified first, as by `dinemic audit FILE`; with a finding nothing is imported and the
    exit code is 1. No node may be running with the home; one that is not there yet is made. What is
    here already stays, and other nodes get the rest from this one. A keyring with a passphrase
    needs DINEMIC_PASSPHRASE.

    Example: dinemic import bob.bundle --home ./server
    """
    config = Config.load({"home": home, "store": "rocksdb"}, os.environ)
    where = {"file": str(file), "home": str(config.home)}
    try:
        with telling(as_json) as progress, bundles.verified(file, progress) as found:
            node = Node.open(config)
            try:
                imported = bundles.admit(node, found)
            finally:
                node.close()
    except BundleError as error:
        if not error.findings:
            raise
        if as_json:
            findings = [finding_json(each) for each in error.findings]
            print_json({**where, "ok": False, "findings": findings})
        else:
            print_findings(error.findings)
            click.echo("nothing was imported")
        context.exit(FINDINGS_FOUND)
    if as_json:
        print_json({**where, "ok": True, **imported._asdict(), "findings": []})
        return
    held = f"{plural(imported.objects, 'object')}, {plural(imported.events, 'event')}"
    click.echo(printable(f"{held} ({imported.new} new) imported into {config.home}"))
