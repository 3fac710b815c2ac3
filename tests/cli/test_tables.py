"""Tables: drawn by rich on a terminal that has it, else plain; never with a stranger's codes."""

from __future__ import annotations

import re
import sys

import pytest

from dinemic.cli.tables import print_table

ROWS = [("a", "[bold]not markup[/bold]"), ("long name", "\x1b[31mred\nforged")]


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")


def test_a_pipe_gets_aligned_columns(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name", "value"), ROWS)
    assert capsys.readouterr().out == (
        "name       value\na          [bold]not markup[/bold]\nlong name  \\x1b[31mred\\nforged\n"
    )


def test_a_terminal_gets_a_drawn_table_with_the_same_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rich", reason="the table is plain without it")
    on_a_terminal(monkeypatch)
    print_table(("name", "value"), ROWS)
    drawn = capsys.readouterr().out
    assert "\x1b[1m" in drawn  # the headers, in bold
    assert "\x1b[31m" not in drawn
    text = re.sub(r"\x1b\[\d*m", "", drawn)
    assert [line.split() for line in text.splitlines()] == [
        ["name", "value"],
        ["a", "[bold]not", "markup[/bold]"],
        ["long", "name", "\\x1b[31mred\\nforged"],
    ]


def test_a_narrow_terminal_loses_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rich", reason="the table is plain without it")
    on_a_terminal(monkeypatch)
    monkeypatch.setenv("COLUMNS", "20")
    print_table(("v",), [("0123456789" * 5,)])
    text = re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out)
    assert "".join(text.split()) == "v" + "0123456789" * 5


def test_a_terminal_without_rich_gets_the_plain_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_terminal(monkeypatch)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    print_table(("name", "value"), ROWS[:1])
    assert capsys.readouterr().out == "name  value\na     [bold]not markup[/bold]\n"


def test_no_rows_is_the_headers_alone(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name", "value"), [])
    assert capsys.readouterr().out == "name  value\n"
