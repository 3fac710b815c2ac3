"""Figures that tests find out, for whoever looks: ``pytest -s``, or ``-rP`` afterwards."""

from __future__ import annotations

import sys


def say(figure: str) -> None:
    """Show a line."""
    sys.stdout.write(f"\n{figure}")
