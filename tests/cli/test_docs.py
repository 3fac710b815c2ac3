"""docs/cli.md tells of every command and option, and each command's help of itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from dinemic.cli import main

DOCS = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()


def commands(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command by its full name, those of groups in their place."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{before}{name} ")
        else:
            yield before + name, command


COMMANDS = dict(commands(main))
NAMES = sorted(COMMANDS)


def section(name: str) -> str:
    found = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", DOCS, re.DOTALL | re.MULTILINE)
    assert found, f"docs/cli.md has no section for {name}"
    return found[1]


def test_these_are_the_commands() -> None:
    assert NAMES == [
        "access",
        "audit",
        "demo",
        "doctor",
        "export",
        "import",
        "keys export",
        "keys import",
        "keys list",
        "log",
        "node",
        "objects",
        "peers",
        "replay",
        "show",
        "status",
        "vetoes lift",
        "vetoes list",
    ]
    listed = re.findall(r"^    dinemic ([a-z]+(?: [a-z]+)?) ", DOCS.partition("## JSON")[0], re.M)
    assert sorted(listed) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_option_and_argument_of_a_command_is_documented(name: str) -> None:
    usage = section(name).split("\n\n")[0]
    options = {"object", "objects", "events", "filter", "file"}
    for parameter in COMMANDS[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.opts[0] in usage
        else:
            assert parameter.human_readable_name.strip("[]").removesuffix("S") in usage.upper()
    documented = set(re.findall(r"--[a-z-]+", usage))
    assert documented == {parameter.opts[0] for parameter in COMMANDS[name].params} - options


@pytest.mark.parametrize("name", NAMES)
def test_every_command_takes_home_and_json_and_shows_an_example(name: str) -> None:
    result = CliRunner().invoke(main, [*name.split(), "--help"])
    assert result.exit_code == 0
    assert "--home" in result.output
    assert "--json" in result.output
    assert f"Example: dinemic {name}" in result.output


def test_the_version_is_that_of_the_package() -> None:
    import dinemic

    result = CliRunner().invoke(main, ["--version"])
    assert (result.exit_code, result.output) == (0, f"dinemic, version {dinemic.__version__}\n")
