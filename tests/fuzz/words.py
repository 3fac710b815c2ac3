"""Target for the command line: words of a command that only reads, on a home that is there."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Final

from click.testing import CliRunner, Result

from dinemic.cli import main
from dinemic_engine import canonical
from dinemic_engine.canonical import Value
from dinemic_engine.ids import db_id, short, to_text
from fuzz.target import Target, arguments
from support.homes import make_home
from support.sample_store import Sample

READS: Final = ("objects", "log", "show", "replay", "access", "vetoes", "keys", "status", "peers")
OPTIONS: Final = ("--json", "--removed", "--until", "--without", "--as", "--", "-h")
"""No other option is tried: some name a file that is written, or wait."""


def command_line(data: bytes) -> None:
    """An array of words: an answer or an error in words, never a traceback."""
    match arguments(data):
        case [str(command), *words] if command in READS:
            pass
        case _:
            return
    said = [word for word in words if isinstance(word, str) and _is_tried(word)]
    result = _invoke(command, said)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code in (0, 1, 2)
    if not any("\x1b" in word for word in said):  # click repeats words it does not know
        assert "\x1b" not in result.output


def _is_tried(word: str) -> bool:
    option = word.partition("=")[0]
    return option in OPTIONS or not word.startswith("-")


def _invoke(command: str, words: list[str]) -> Result:
    home, _ = _home()
    names = [command, "list"] if command in ("keys", "vetoes") else [command]
    return CliRunner().invoke(main, [*names, "--home", home, *words])


@functools.cache
def _home() -> tuple[str, Sample]:
    """A home for this process, and what is in it."""
    home = Path(_keeper().name, "home")
    return str(home), make_home(home)


@functools.cache
def _keeper() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="dinemic-fuzz-")


def _command_lines() -> list[bytes]:
    _, sample = _home()
    person = db_id("Person", sample.person)
    seeds: list[list[Value]] = [
        ["objects"],
        ["objects", "Person:*", "--json", "--removed"],
        ["objects", "Person:["],
        ["log", person],
        ["log", short(sample.person), "--json"],
        ["show", to_text(sample.person)],
        ["show", "nobody"],
        ["replay", person, "--until", "2026-01-01T00:00:00"],
        ["replay", person, "--without", to_text(sample.owner.public)],
        ["access", person, "--json"],
        ["access", "P"],
        ["vetoes", "--json"],
        ["keys"],
        ["keys", "--json"],
        ["status"],
        ["peers", "--json"],
    ]
    found = [canonical.encode(seed) for seed in seeds]
    for each in found:
        command_line(each)  # what is imported late is no input's work
    return found


TARGETS: Final = {"command_line": Target(command_line, _command_lines, calls=300_000)}
