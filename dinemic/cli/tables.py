"""Rows in columns: drawn by rich on a terminal where it is installed, else aligned with spaces."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from dinemic.logs import printable

_GAP = "  "


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print `rows` under `headers`; what does not print is escaped, whoever wrote it."""
    cells = [[printable(cell) for cell in row] for row in rows]
    if not (sys.stdout.isatty() and _draw(headers, cells)):
        widths = [max(map(len, column)) for column in zip(headers, *cells, strict=True)]
        for row in (headers, *cells):
            padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            click.echo(_GAP.join(padded).rstrip())


def _draw(headers: Sequence[str], cells: Sequence[Sequence[str]]) -> bool:
    """Draw with rich, which wraps what is too wide; False if it is not installed."""
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    table = Table(*headers, box=None, pad_edge=False, header_style="bold")
    for row in cells:
        table.add_row(*[Text(cell, overflow="fold") for cell in row])  # Text: no markup
    Console(no_color=bool(os.environ.get("NO_COLOR"))).print(table)
    return True
