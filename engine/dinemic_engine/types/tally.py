"""How many values a dict or a set has: one row, so that `len` reads nothing else."""

from __future__ import annotations

from dinemic_engine.store import keyspace, layout
from dinemic_engine.store.overlay import Overlay


def count_values(rows: Overlay, no: int, stored: bytes, more: int) -> None:
    """Count `more` values in a field, or fewer; nothing is kept of a field that has none."""
    if not more:
        return
    key = keyspace.tally_key(no, stored)
    count = layout.unpack_tally(rows.get(key))[0] + more
    rows.rows[key] = layout.pack_tally(count) if count else None
