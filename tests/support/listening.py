"""A node as its listeners see it, without a network or rules: changes are made by hand.

The rows of the listeners are real, in a memory store that `again` keeps for the next process.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast

from dinemic import running
from dinemic.actions import DAction
from dinemic.callbacks import NAMES
from dinemic.listeners import Cause, Listeners
from dinemic.node import Node
from dinemic_engine import canonical
from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.edits import Delete, Set, stored_key
from dinemic_engine.errors import StoreError
from dinemic_engine.event import Event, sign_event
from dinemic_engine.guards import Asked
from dinemic_engine.ids import EventId, ObjectId, db_id
from dinemic_engine.keys import SigningKey
from dinemic_engine.ops import Op
from dinemic_engine.store import Rows
from dinemic_engine.store.memory import MemoryStore
from dinemic_engine.types.change import Change, Question
from dinemic_engine.vetoes import Veto

T = 1_700_000_000_000_000
OWNER = SigningKey(b"\1" * 32)
STRANGER = SigningKey(b"\2" * 32)
BOB = ObjectId(b"b" * 32)
EVE = ObjectId(b"e" * 32)
FILTER: Final = "Person:[id]:*"
WITHIN_S = 30.0
"""How long a test waits for what takes microseconds."""


def text_of(object_id: bytes, model: str = "Person") -> str:
    return db_id(model, object_id)


def write_of(number: int, *ops: Op, of: ObjectId = BOB, by: SigningKey = OWNER) -> Event:
    """The event number `number` of an object."""
    return sign_event(by, of, T + number, [EventId(b"p" * 32)], ops)


def changes_of(event: Event) -> list[Change]:
    """What a plain SET or DELETE makes visible where there was no value."""
    found: list[Change] = []
    for op in event.ops:
        assert isinstance(op, Set | Delete)
        new = canonical.encode(op.value) if isinstance(op, Set) else None
        found.append(Change(stored_key(op), "", None if new else canonical.encode("old"), new))
    return found


class Host:
    """A `ListenerHost`, and for `DAction` the node itself."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.store = store or MemoryStore()
        self.lock = threading.RLock()
        self.events: dict[bytes, tuple[str, Event]] = {}
        self.mine: set[bytes] = set()
        self.opened: dict[bytes, Value] = {}
        """What sealed values hold, by ciphertext, of those a key here opens."""
        self.waiting: dict[bytes, list[Asked]] = {}
        self.answers: list[tuple[bytes, Veto | None]] = []
        self.resumed = 0
        self.failing: StoreError | None = None
        self.sent = 0
        self.listeners = Listeners(self)
        self.listeners.start()

    def again(self) -> Host:
        """The next process on the same home."""
        self.listeners.stop()
        host = Host(self.store)
        host.events, host.mine, host.opened = self.events, self.mine, self.opened
        host.sent = self.sent
        return host

    # -- what a node does -----------------------------------------------------------------------

    def show(
        self,
        event: Event,
        *changes: Change,
        model: str = "Person",
        authorized: bool = True,
        detached: bool = False,
        local: bool = False,
    ) -> None:
        """Let an event make changes visible; those of its ops if none are given."""
        cause = Cause(model, event.object, event.id, authorized, detached, local)
        self.show_all([(cause, event, changes or changes_of(event))])

    def show_all(self, batch: Sequence[tuple[Cause, Event, Sequence[Change]]]) -> None:
        """As `show`, for several events in one batch."""
        with self.lock:
            for cause, event, _ in batch:
                self.events[event.id] = (cause.model, event)
            rows = self.listeners.deliveries([(cause, seen) for cause, _, seen in batch])
            self.write_rows(rows)
            self.listeners.sent()

    def set(self, number: int, value: Value, field: str = "name", of: ObjectId = BOB) -> Event:
        """Show an event that sets a field."""
        event = write_of(number, Set(field, value), of=of)
        self.show(event)
        return event

    def ask(
        self, event: Event, *questions: Question, local: bool = False, **about: Any
    ) -> Veto | None:
        """What the guards say, asked in this thread."""
        return self.listeners.ask(asked(event, *questions, **about), local=local)

    def withhold(self, asked: Asked) -> None:
        """Let an event wait for the guards, and see to it that they are asked."""
        self.waiting.setdefault(asked.event.object, []).append(asked)
        self.listeners.wake(asked.event.object)

    def settle(self) -> None:
        """Wait until everything due was asked and told."""
        assert self.listeners.drain(WITHIN_S)

    def rows(self, letter: bytes) -> dict[bytes, bytes]:
        return dict(self.store.scan(letter, bytes((letter[0] + 1,))))

    # -- what listeners ask of it ---------------------------------------------------------------

    def write_rows(self, rows: Rows) -> None:
        with self.lock:
            if self.failing is not None:
                raise self.failing
            self.store.write(rows)

    def scan_rows(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self.store.scan(start, end)

    def event(self, event_id: bytes) -> tuple[str, Event]:
        return self.events[event_id]

    def open_value(self, object_id: bytes, stored: str, element: str, value: bytes) -> Value:
        found = canonical.decode_untrusted(value)
        return self.opened.get(found.ciphertext, found) if isinstance(found, Sealed) else found

    def owned(self, object_id: bytes) -> bool:
        return object_id in self.mine

    def caller_of(self, object_id: bytes, author: bytes) -> str | None:
        return text_of(EVE) if author == STRANGER.public else None

    def judge(self, object_id: bytes) -> None:
        while self.waiting.get(object_id):
            asked = self.waiting[object_id][0]
            if self.listeners.is_away(asked):
                return
            veto = self.listeners.ask(asked, local=False)
            self.answers.append((asked.event.id, veto))
            del self.waiting[object_id][0]

    def resume(self) -> None:
        self.resumed += 1
        for object_id in list(self.waiting):
            self.listeners.wake(object_id)

    def check_open(self) -> None:
        """It always is."""


def asked(
    event: Event,
    *questions: Question,
    model: str = "Person",
    authorized: bool = True,
    detached: bool = False,
) -> Asked:
    """An event as guards see it; its plain SETs if there are no questions."""
    found = questions or tuple(
        Question("update" if change.new else "delete", *change) for change in changes_of(event)
    )
    return Asked(model, event, authorized, detached, found)


@contextmanager
def on_host(host: Host) -> Iterator[None]:
    """Listeners applied in the block are applied to `host`."""
    token = running._entered.set(cast(Node, host))
    try:
        yield
    finally:
        running._entered.reset(token)


class Told(DAction):
    """Keeps the value of every update it is told of."""

    def __init__(self) -> None:
        self.values: list[Any] = []

    def on_updated(self, object_id: str, field: str, old_value: Any, new_value: Any) -> None:
        self.values.append(new_value)


class Calls(DAction):
    """Keeps every call in order: (callback, *arguments), or for one with a name, which it was."""

    def __init__(self, name: str = "", into: list[Any] | None = None) -> None:
        self.name = name
        self.calls: list[Any] = [] if into is None else into


def _recorder(name: str) -> Any:
    def record(self: Calls, *args: Any) -> None:
        self.calls.append(self.name + name if self.name else (name, *args))

    return record


for _name in NAMES:
    setattr(Calls, _name, _recorder(_name))
