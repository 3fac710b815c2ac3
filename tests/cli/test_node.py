"""`dinemic node` as its own process: it tells what happens, and ends when it is told to."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from dinemic.cli import main
from support.node_process import Process, processes

Start = Callable[..., Process]


@pytest.fixture
def start() -> Iterator[Start]:
    with processes() as found:
        yield found.node


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_with_code_0_when_told_to(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    node = start("--home", tmp_path / "home")
    started = node.document()
    assert started["event"] == "started"
    assert started["home"] == str(tmp_path / "home")
    assert started["addresses"][0].startswith("127.0.0.1:")
    assert node.end(number) == (0, '{"event": "stopped"}\n', "")


def test_two_nodes_tell_of_each_other_and_keep_their_ids(start: Start, tmp_path: Path) -> None:
    first = start("--home", tmp_path / "1")
    one = first.document()
    second = start("--home", tmp_path / "2", "--peer", one["addresses"][0])
    two = second.document()

    assert first.document() | {"address": ""} == {
        "event": "connected",
        "node": two["node"],
        "address": "",
    }
    assert second.document() == {
        "event": "connected",
        "node": one["node"],
        "address": one["addresses"][0],
    }
    assert second.end(signal.SIGTERM)[0] == 0
    assert first.document()["event"] == "disconnected"
    assert start("--home", tmp_path / "2").document()["node"] == two["node"]


def test_its_lines_are_for_people_without_json(start: Start, tmp_path: Path) -> None:
    node = start("--home", tmp_path / "home", json=False)
    assert node.line().startswith("node ")
    assert node.line() == f"home {tmp_path / 'home'}"
    assert node.line().startswith("listening on 127.0.0.1:")
    assert node.end(signal.SIGINT) == (0, "stopped\n", "")


def test_a_home_in_use_is_refused(start: Start, tmp_path: Path) -> None:
    start("--home", tmp_path / "home").document()
    second = start("--home", tmp_path / "home")
    out, err = second.process.communicate()
    assert (second.process.returncode, out) == (2, "")
    assert str(tmp_path / "home") in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "words",
    [
        ["--listen", "nowhere"],
        ["--peer", "host"],
        ["--allow", "somebody"],
        ["--deny", "somebody"],
        ["--metrics", "9464"],
        ["--model", "no model"],
        ["--cluster", ""],
        ["--durability", "never"],
        ["--loglevel", "loud"],
        ["--store", "memory"],
        ["surplus"],
    ],
)
def test_a_wrong_option_is_an_error_before_anything_is_made(
    words: list[str], tmp_path: Path
) -> None:
    result = CliRunner().invoke(main, ["node", *words, "--home", str(tmp_path / "home")])
    assert result.exit_code == 2
    assert "Error: " in result.stderr
    assert not (tmp_path / "home").exists()
