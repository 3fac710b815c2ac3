"""The command `demo`: two processes share a Person; one is killed and comes back.

What the hosts are told beside the statements that are shown comes by environment: a home each, a
cluster with a key of its own, and to stay on this machine.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from dinemic.cli.common import of_a_home, print_json
from dinemic.cli.demo_scenes import scenes
from dinemic.cli.demo_stage import Host, Stage, Unexpected
from dinemic.logs import printable
from dinemic_engine.errors import UsageError

FAILED: Final = 1
"""Exit code when something did not come out as it should."""

DEADLINE_SECONDS: Final = 55.0


@click.command()
@click.option("--static", is_flag=True, help="Give the hosts each other's address; no mDNS.")
@click.option("--keep", is_flag=True, help="Keep the homes of the hosts.")
@of_a_home
@click.pass_context
def demo(
    context: click.Context, static: bool, keep: bool, home: Path | None, as_json: bool
) -> None:
    """See two hosts share an object: two processes on this machine, in under a minute.

    They find each other, share a Person whose salary only its owner can read, let a chief read
    another's, and go on after one of them was killed. The exit code is 0 only if everything came
    out as it should. With --home the hosts' homes are made in that directory and kept; else they
    are temporary.

    Example: dinemic demo
    """
    stage = Stage(silent=as_json)
    facts: dict[str, Any] = {"ok": False}
    with _place(home, keep=keep) as place:
        try:
            facts |= _play(stage, place, static=static)
            facts["ok"] = True
        except Unexpected as error:
            facts["failed"] = str(error)
        facts["homes"] = str(place) if keep or home is not None else None
    facts["seconds"] = stage.seconds()
    if as_json:
        print_json({**facts, "transcript": stage.transcript})
    elif facts["ok"]:
        click.secho(f"\nEverything came out as it should, in {facts['seconds']} s.", fg="green")
        if facts["homes"]:
            click.echo(f"The homes are in {printable(facts['homes'])}")
    if not facts["ok"]:
        click.secho(f"NOT AS IT SHOULD BE: {printable(facts['failed'])}", fg="red", err=True)
        context.exit(FAILED)


@contextlib.contextmanager
def _place(home: Path | None, *, keep: bool) -> Iterator[Path]:
    """A directory for both homes, removed at the end unless it is to be kept."""
    if home is not None:
        if any((home / name).exists() for name in "AB"):
            raise UsageError(f"there are homes in {home} already")
        home.mkdir(parents=True, exist_ok=True)
        yield home
        return
    place = Path(tempfile.mkdtemp(prefix="dinemic-demo-"))
    try:
        yield place
    finally:
        if not keep:
            shutil.rmtree(place)


def _play(stage: Stage, place: Path, *, static: bool) -> dict[str, Any]:
    options = {
        "DINEMIC_LISTEN": "127.0.0.1:0",
        "DINEMIC_CLUSTER": f"demo-{secrets.token_hex(4)}",
        "DINEMIC_CLUSTER_KEY": secrets.token_urlsafe(32),
        "DINEMIC_DISCOVER": "no" if static else "yes",
    }
    a, b = (Host(name, place / name, place / f"{name}.log", options) for name in "AB")

    def cut() -> None:
        a.cut()
        b.cut()

    watchdog = threading.Timer(DEADLINE_SECONDS, cut)
    watchdog.daemon = True
    watchdog.start()
    try:
        return scenes(stage, a, b, static=static)
    finally:
        watchdog.cancel()
        a.kill()
        b.kill()
