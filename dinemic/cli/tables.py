"""Rows in columns: drawn by rich on a terminal where it is installed, else aligned with spaces."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from dinemic.logs import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_GAP = "  "


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print `rows` under `headers`; what does not print is escaped, whoever wrote it."""
    console = terminal()
    if console is not None:
        console.print(drawn(headers, rows))
        return
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headers, *cells, strict=True)]
    for row in (headers, *cells):
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        click.echo(_GAP.join(padded).rstrip())


def terminal() -> Console | None:
    """The terminal that is printed on, if it is one and rich is installed to draw on it."""
    if not sys.stdout.isatty():
        return None
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console(no_color=bool(os.environ.get("NO_COLOR")))


def drawn(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table for `terminal`, which wraps what is too wide; escaped like everything."""
    from rich.table import Table
    from rich.text import Text

    table = Table(*headers, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*[Text(printable(cell), overflow="fold") for cell in row])  # Text: no markup
    return table
