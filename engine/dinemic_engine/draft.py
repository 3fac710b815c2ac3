"""Ops of an event that is not made yet, and the object as it would be with them.

    draft = Draft(store, object_id)          pins the object: its heads, and the rows of that moment
    draft.add(op)                            on top of what is pinned and of the ops before it
    ledger.draft(..., ops, on=draft.heads)   the event, as its author saw things

What others write meanwhile is not seen, and is concurrent to the event. So what ops point at, and
where in a list they insert, stays as right as it was when they were added. Nothing is written:
ops lie on an overlay, under an event that stands for the one to come (`runs.DRAFT`), and what they
make is named with an empty event, as in ops.

Values inserted one after another into a list are gathered and become one op, a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, cast

from dinemic_engine import canonical, limits, log
from dinemic_engine.canonical import Value
from dinemic_engine.edits import Edit, ListInsert
from dinemic_engine.errors import LimitExceeded, Reason, UnknownObject
from dinemic_engine.ids import ObjectId, short
from dinemic_engine.ops import Op, read_op
from dinemic_engine.store import Store, keyspace, layout
from dinemic_engine.store.layout import Head
from dinemic_engine.store.overlay import Overlay, Readable
from dinemic_engine.types import list_reading, take
from dinemic_engine.types.runs import DRAFT, draft_place

_REMEMBERED: Final = 8192
"""Rows of a snapshot that are kept in memory: of lists 1 KiB each, mostly less."""


@dataclass(slots=True)
class _Run:
    """Values that will be inserted into a list in one op, from index `start` on."""

    name: str
    start: int
    length: int
    """Of the list without them."""
    values: list[Value] = field(default_factory=list)


class _Remembered:
    """A snapshot of which each row is read once, but for a draft that reads very many."""

    def __init__(self, snapshot: Readable) -> None:
        self._snapshot = snapshot
        self._known: dict[bytes, bytes | None] = {}

    def get(self, key: bytes) -> bytes | None:
        """The value at `key`, or None."""
        value = self._known.get(key)
        if value is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            value = self._known[key] = self._snapshot.get(key)
        return value

    def scan(
        self, start: bytes, end: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """The rows of ``start <= key < end``."""
        return self._snapshot.scan(start, end, reverse=reverse)


class Draft:
    """One event in the making. Not thread-safe."""

    def __init__(self, store: Store, object_id: ObjectId) -> None:
        """Pin the object.

        Raises:
            UnknownObject: no such object here, or it was removed.
        """
        self._snapshot = store.snapshot()
        self._rows = Overlay(_Remembered(self._snapshot))
        value = self._rows.get(keyspace.object_key(object_id))
        row = None
        if value is not None:
            self.no = layout.unpack_u32(value)
            row = self._rows.get(keyspace.object_row_key(self.no))
        if row is None or not layout.unpack_object(row).is_there:
            self._snapshot.close()
            raise UnknownObject(f"no object {short(object_id)}... is here")
        self.heads: Sequence[Head] = log.heads(self._rows, self.no)
        self._place = draft_place(self.no)
        self._ops: list[Edit] = []
        self._event = replace(DRAFT, ops=cast("tuple[Op, ...]", self._ops))  # grows with them
        self._run: _Run | None = None

    @property
    def rows(self) -> Readable:
        """The rows as they would be with all ops so far."""
        self._end_run()
        return self._rows

    @property
    def ops(self) -> list[Edit]:
        """The ops so far."""
        self._end_run()
        return self._ops

    def add(self, op: Edit) -> None:
        """Put an op behind those before it; its values are copied.

        Raises:
            InvalidEvent: it breaks a rule of the format; the draft is as before.
        """
        self._end_run()
        self._add(_copied(op))

    def _add(self, op: Edit) -> None:
        if len(self._ops) >= limits.OPS_MAX:
            raise LimitExceeded(Reason.TOO_MANY, f"more than {limits.OPS_MAX} ops in one event")
        index = len(self._ops)
        self._ops.append(op)
        take(self._rows, self._place, self._event, index, op, None, authorized=True)

    # -- lists --------------------------------------------------------------------------------

    def length(self, name: str) -> int:
        """How many elements a list has with all ops so far."""
        if self._run is not None and self._run.name == name:
            return self._run.length + len(self._run.values)
        return list_reading.length(self._rows, self.no, _stored(name))

    def insert(self, name: str, index: int, value: Value) -> None:
        """Insert one value into a list, at an index of 0..length.

        Raises:
            InvalidEvent: no value a list can hold; the draft is as before.
        """
        if type(value) is not str or not value.isascii():  # which is a value, and short to tell
            spelled = canonical.encode([value])  # the array is a level of nesting
            if not isinstance(value, _IMMUTABLE):
                (value,) = cast("list[Value]", canonical.decode(spelled))
        run = self._run
        if (
            run is None
            or run.name != name
            or index != run.start + len(run.values)
            or len(run.values) == limits.RUN_MAX
        ):
            length = self.length(name)
            self._end_run()
            run = self._run = _Run(name, index, length)
        run.values.append(value)

    def _end_run(self) -> None:
        """Turn the values gathered into an op."""
        run, self._run = self._run, None
        if run is not None:
            stored = _stored(run.name)
            parent, right = list_reading.place_for_insert(self._rows, self.no, stored, run.start)
            self._add(ListInsert(run.name, parent, right, len(run.values), run.values))

    def close(self) -> None:
        """Let go of the rows. Idempotent."""
        self._snapshot.close()


_IMMUTABLE: Final = (str, int, float, bytes, type(None))


def _copied(op: Edit) -> Edit:
    """The op as it will be read from the event."""
    fields = cast("Value", op.fields())
    spelled = canonical.encode(fields, depth_max=limits.PAYLOAD_DEPTH_MAX - 2)
    return cast("Edit", read_op(canonical.decode(spelled)))


def _stored(name: str) -> bytes:
    return b"list_" + name.encode("ascii")
