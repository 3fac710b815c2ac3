"""The 23 callbacks: when each is called and with what, and what a running one knows.

    create   before  on_create           after  on_created  on_owned_created
    update   before  on_update           after  on_updated             and of both the
    delete   before  on_delete           after  on_deleted             authorized, unauthorized
    remove   before  on_remove                                         and owned ones

*Before* is a guard: raising rejects. *After* is an effect. One change concerns the plain callback,
the authorized or the unauthorized one (that is about its author) and, if the changed object's key
is here, the owned one; they are called in this order.
"""

from __future__ import annotations

import contextvars
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

from dinemic_engine.canonical import Value
from dinemic_engine.event import Event
from dinemic_engine.ids import db_id, to_text
from dinemic_engine.ops import Op
from dinemic_engine.store import Rows
from dinemic_engine.types.change import Change

if TYPE_CHECKING:
    from dinemic.actions import DAction

Family = Literal["create", "update", "delete", "remove"]
When = Literal["before", "after"]
Kind = Literal["plain", "authorized", "unauthorized", "owned"]

KINDS: Final[tuple[Kind, ...]] = ("plain", "authorized", "unauthorized", "owned")

CALLBACKS: Final[dict[tuple[Family, When, Kind], str]] = {
    ("create", "before", "plain"): "on_create",
    ("create", "after", "plain"): "on_created",
    ("create", "after", "owned"): "on_owned_created",
    ("update", "before", "plain"): "on_update",
    ("update", "before", "authorized"): "on_authorized_update",
    ("update", "before", "unauthorized"): "on_unauthorized_update",
    ("update", "before", "owned"): "on_owned_update",
    ("update", "after", "plain"): "on_updated",
    ("update", "after", "authorized"): "on_authorized_updated",
    ("update", "after", "unauthorized"): "on_unauthorized_updated",
    ("update", "after", "owned"): "on_owned_updated",
    ("delete", "before", "plain"): "on_delete",
    ("delete", "before", "authorized"): "on_authorized_delete",
    ("delete", "before", "unauthorized"): "on_unauthorized_delete",
    ("delete", "before", "owned"): "on_owned_delete",
    ("delete", "after", "plain"): "on_deleted",
    ("delete", "after", "authorized"): "on_authorized_deleted",
    ("delete", "after", "unauthorized"): "on_unauthorized_deleted",
    ("delete", "after", "owned"): "on_owned_deleted",
    ("remove", "before", "plain"): "on_remove",
    ("remove", "before", "authorized"): "on_authorized_remove",
    ("remove", "before", "unauthorized"): "on_unauthorized_remove",
    ("remove", "before", "owned"): "on_owned_remove",
}
"""The method that is called for each situation; where there is none, none is."""

NAMES: Final = tuple(CALLBACKS.values())
"""All 23, in an order that never changes: rows name a callback by its place here."""


def called(family: str, when: When, *, authorized: bool | None, owned: bool) -> tuple[str, ...]:
    """The methods one change concerns, in the order they are called.

    With `authorized` None, not known yet, those of either case.
    """
    found = _CALLED.get((family, when, authorized, owned))
    if found is None:
        kinds = set(KINDS)
        if authorized is not None:
            kinds.discard("unauthorized" if authorized else "authorized")
        if not owned:
            kinds.discard("owned")
        found = tuple(
            name
            for (of, at, kind), name in CALLBACKS.items()
            if of == family and at == when and kind in kinds
        )
        _CALLED[family, when, authorized, owned] = found
    return found


_CALLED: Final[dict[tuple[str, When, bool | None, bool], tuple[str, ...]]] = {}


def families(callbacks: frozenset[str], when: When) -> list[Family]:
    """The families of which `callbacks` has one of that time, each once."""
    found = [
        family for (family, at, _), name in CALLBACKS.items() if at == when and name in callbacks
    ]
    return list(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class Context:
    """What a callback may ask beyond its arguments, as `self.context` while it runs."""

    author: str
    """The author's public signing key, base32."""
    caller: str | None
    """The full id of the object that key is known as here, if any."""
    event: str
    """The event's id; empty for a local edit that is not made yet."""
    t: int
    """Microseconds since the Unix epoch."""
    authorized: bool
    """Whether the author may change this by its own or a granted right."""
    owned: bool
    """Whether the changed object's private key is here."""
    detached: bool
    """Whether it was made by a stranger that knew nothing of the object but its genesis."""
    local: bool
    """Whether it was made on this node."""
    element: str
    """Which part of the field changed: a dict key, or the id of an element; else empty."""
    ops: tuple[Op, ...]
    """Everything the event does, of which this call is one part."""
    verified: bool = True
    """Always: an event whose signature is not good gets nowhere near a listener."""


running_context: Final[ContextVar[Context | None]] = ContextVar("dinemic_context", default=None)
"""The context of the callback that runs here."""

_guarding: Final[ContextVar[bool]] = ContextVar("dinemic_guarding", default=False)


def in_guard() -> bool:
    """Whether a guard runs here: it may read, and whatever it writes is a `UsageError`."""
    return _guarding.get()


class ListenerHost(Protocol):
    """What listeners ask of their node."""

    def write_rows(self, rows: Rows) -> None:
        """Write a batch, under the lock that guards all writing."""

    def scan_rows(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The store's rows with ``start <= key < end``, in key order."""

    def event(self, event_id: bytes) -> tuple[str, Event]:
        """The model and the event of that id, which was admitted here."""

    def open_value(self, object_id: bytes, stored: str, element: str, value: bytes) -> Value:
        """An encoded value of a `Change`, made anew each time it is asked for.

        Opened if a key here does that, else `Sealed`. What an access list holds is a full id.
        """

    def owned(self, object_id: bytes) -> bool:
        """Whether the object's private key is here."""

    def caller_of(self, object_id: bytes, author: bytes) -> str | None:
        """The full id of the object whose key `author` is, if known."""

    def judge(self, object_id: bytes) -> None:
        """Ask the guards about the object's events that wait for them; called on a worker."""

    def resume(self) -> None:
        """Wake every object with such events: other guards are applied than before."""


@dataclass(frozen=True, slots=True, eq=False)
class Applied:
    """A listener as it was applied."""

    listener: DAction
    surroundings: contextvars.Context
    """Those of `apply`, in which its node is the current one."""

    def call(self, name: str, context: Context, *args: object, guard: bool) -> None:
        """Call one of its methods; raises what that raises."""

        def run() -> None:
            running_context.set(context)
            _guarding.set(guard)
            getattr(self.listener, name)(*args)

        self.surroundings.copy().run(run)


def arguments(
    host: ListenerHost, family: str, model: str, event: Event, change: Change
) -> tuple[Value, ...]:
    """What a callback of that family is called with, made anew: it may do with it what it likes.

    No value is shown as ``""``. What is created is created by its genesis, whose author is the
    object itself.
    """

    def shown(value: bytes | None) -> Value:
        if value is None:
            return ""
        return host.open_value(event.object, change.stored, change.element, value)

    name = db_id(model, event.object)
    if family == "create":
        return name, to_text(event.author)
    if family == "update":
        return name, change.stored, shown(change.old), shown(change.new)
    if family == "delete":
        return name, change.stored, shown(change.old)
    return (name,)
