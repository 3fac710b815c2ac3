"""One write and one event as a reader is shown them: opened, and with what became of them here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from dinemic_engine import canonical, log
from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.edits import Delete, DictDelete, DictSet, ListDelete, ListInsert, ListSet, Set
from dinemic_engine.event import Event, open_envelope_untrusted, read_event_untrusted
from dinemic_engine.ids import EventId
from dinemic_engine.store.layout import AUTHORIZED, CLOSED, VOID, Written
from dinemic_engine.store.overlay import Readable
from dinemic_engine.vetoes import Withheld


class Reading(NamedTuple):
    """One write to a field, opened from its row: the value, and the event that set it."""

    value: Value
    deleted: bool
    event: EventId
    t: int
    op: int
    authorized: bool


def reading_at(rows: Readable, no: int, t: int, event_id: bytes, op: int) -> Reading:
    """The write that op number `op` of an admitted event is."""
    return reading_of(rows, log.event_at(rows, no, t, event_id), op)


def reading_of(rows: Readable, event: Event, op: int, at: int = 0) -> Reading:
    """The same; of an op that inserts several elements it is element `at`, sealed ones in one."""
    written = event.ops[op]
    value: Value = None
    if isinstance(written, Set | DictSet | ListSet):
        value = written.value
    elif isinstance(written, ListInsert):
        value = written.values if isinstance(written.values, Sealed) else written.values[at]
    deleted = isinstance(written, Delete | DictDelete | ListDelete)
    authorized = bool(log.place_of(rows, event.id).flags & AUTHORIZED)
    return Reading(value, deleted, event.id, event.t, op, authorized)


def reading_in(row: Written) -> Reading:
    """The winning write of a register, opened from its row."""
    value = canonical.decode_untrusted(row.value)
    return Reading(value, False, EventId(row.id), row.t, row.op, row.authorized)


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An admitted event with the verdict this node gives it."""

    event: Event
    model: str
    flags: int
    withheld: Withheld | None = None
    """It has no effect on this node: the guards refused it, or have yet to see it."""

    @property
    def authorized(self) -> bool:
        """AUTH-5's flag."""
        return bool(self.flags & AUTHORIZED)

    @property
    def verdict(self) -> str:
        """``authorized``, ``unauthorized`` (an open field's stranger), or why it has no effect.

        ``void`` is so on every node; ``vetoed`` and ``waiting`` (for the guards) on this one.
        """
        if self.flags & VOID:
            return "void"
        if self.withheld is not None:
            return "waiting" if self.withheld.veto is None else "vetoed"
        return "authorized" if self.authorized else "unauthorized"

    @property
    def rule(self) -> str:
        """Why it has no effect, or empty."""
        if self.flags & VOID or self.withheld is None:
            return why_void(self.flags)
        veto = self.withheld.veto
        return (
            "VETO-1: not yet judged here"
            if veto is None
            else f"VETO-1: {veto.guard}: {veto.reason}"
        )


def why_void(flags: int) -> str:
    """The rule that makes an event with these flags void, and why; empty if it is not."""
    if flags & CLOSED:
        return "AUTH-5: the field was closed, unseen by the author"
    return "AUTH-4: the author was revoked, unseen by the author" if flags & VOID else ""


def load(raw: bytes) -> Event:
    """An event from bytes this node checked before it stored them."""
    return read_event_untrusted(open_envelope_untrusted(raw), verified=True)
