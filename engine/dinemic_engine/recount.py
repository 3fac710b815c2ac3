"""What a batch of events does to the sets that nodes make equal (REC-1), written once at its end.

While events are judged it is only noted which of them enter or leave a model's set, or gain or lose
effect, and which objects they are of. Then, model by model, their ``T`` rows, the sums and the
blocks over them follow (blocks.py), and the sum of heads by what the ``H`` rows have become. Heads
are effective, and a void event that counts is in the past of an effective one, so the heads of the
objects are the ends of the very set that is summed.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from dinemic_engine import blocks
from dinemic_engine.blocks import Moved
from dinemic_engine.ranges import head_term, id_term
from dinemic_engine.store import keyspace, layout
from dinemic_engine.store.overlay import Overlay
from dinemic_engine.store.sums import EFFECTIVE, VOID_BUT_COUNTED, add_to_totals, unpack_edges
from dinemic_engine.verdicts import Changes


class Recount:
    """The changes of one batch to the reconciled sets."""

    __slots__ = ("_changes",)

    def __init__(self) -> None:
        self._changes: list[_Change] = []

    def admit(self, model_no: int, no: int, order: bytes, *, effective: bool) -> None:
        """An event, t | id, of an object is admitted, and counts."""
        self._changes.append((model_no, no, order, 1, 1 if effective else 0))

    def change(self, model_no: int, no: int, order: bytes, by: int, effective_by: int) -> None:
        """So much an event adds to the count of all, and to that of those with effect."""
        self._changes.append((model_no, no, order, by, effective_by))

    def follow(self, changes: Changes, no: int) -> None:
        """What admitting an event of an object changed in others, or that it does not count."""
        model_no = changes.row.model_no
        for t, event_id in changes.inert:
            self.change(model_no, no, layout.pack_order(t, event_id), -1, 0)
        for t, event_id in changes.revived:
            self.change(model_no, no, layout.pack_order(t, event_id), +1, 0)
        for t, event_id, by in changes.turned:
            self.change(model_no, no, layout.pack_order(t, event_id), 0, by)

    def write(self, rows: Overlay) -> None:
        """Put the rows that follow into the batch."""
        if len(self._changes) == 1 and self._changes[0][3:] == (1, 1):  # every local edit
            _append(rows, *self._changes[0][:3])
            return
        objects: dict[int, set[int]] = {}
        merged: dict[int, dict[bytes, tuple[int, int]]] = {}
        for model_no, no, order, by, effective_by in self._changes:
            objects.setdefault(model_no, set()).add(no)
            of_model = merged.setdefault(model_no, {})
            had, had_effective = of_model.get(order, (0, 0))
            of_model[order] = had + by, had_effective + effective_by
        for model_no, by_event in merged.items():
            moved = [(at, *by, id_term(at[8:])) for at, by in by_event.items() if any(by)]
            if moved:
                _write(rows, model_no, moved, objects[model_no])


_Change = tuple[int, int, bytes, int, int]
"""Numbers of model and object, t | id, what that adds to the count of all, and of the effective."""


def _append(rows: Overlay, model_no: int, no: int, order: bytes) -> None:
    """Let the rows of a model follow one event that came and has effect: `_write`, unrolled."""
    own, before = rows.rows, rows.store
    prefix, fingerprint_key, edges_key = _keys_of(model_no)
    own[prefix + order] = EFFECTIVE
    term = id_term(order[8:])
    heads, heads_total = _heads_moved(rows, no)
    after = add_to_totals(before.get(fingerprint_key), 1, term, 1, term, heads, heads_total)
    own[fingerprint_key] = after
    edges = unpack_edges(before.get(edges_key))
    if blocks.is_affected(edges[0], after, order):
        blocks.keep(rows, model_no, edges, after, [(order, 1, 1, term)])


def _heads_moved(rows: Overlay, no: int) -> tuple[int, int]:
    """What the batch adds to the number of an object's heads, and to their sum."""
    key = keyspace.heads_key(no)
    now = rows.rows.get(key)
    if now is None:
        return 0, 0
    was = rows.store.get(key)
    if was is not None and len(now) == len(was) == layout.HEAD_BYTES:  # one grew on the other
        return 0, head_term(now[8:40]) - head_term(was[8:40])
    come, gone = layout.head_ids(now), layout.head_ids(was)
    return len(come) - len(gone), sum(map(head_term, come)) - sum(map(head_term, gone))


def _write(rows: Overlay, model_no: int, moved: list[Moved], objects: Iterable[int]) -> None:
    """Let the rows of a model follow; `objects` are those with events in the batch."""
    prefix, fingerprint_key, edges_key = _keys_of(model_no)
    for order, by, effective_by, _ in moved:
        value = EFFECTIVE if effective_by > 0 else VOID_BUT_COUNTED
        rows.rows[prefix + order] = value if by >= 0 else None
    heads = heads_total = 0
    for no in objects:
        more_heads, more_total = _heads_moved(rows, no)
        heads, heads_total = heads + more_heads, heads_total + more_total
    sums = blocks.total_of(moved)
    after = add_to_totals(rows.store.get(fingerprint_key), *sums, heads, heads_total)
    rows.rows[fingerprint_key] = after
    edges = unpack_edges(rows.store.get(edges_key))
    if blocks.is_affected(edges[0], after, min(moved)[0]):
        blocks.keep(rows, model_no, edges, after, moved)


@lru_cache(maxsize=256)
def _keys_of(model_no: int) -> tuple[bytes, bytes, bytes]:
    """The beginning of ``T`` keys, the ``F`` key and the ``o`` key of a model."""
    keys = keyspace.fingerprint_key(model_no), keyspace.edges_key(model_no)
    return keyspace.range_prefix(model_no), *keys
