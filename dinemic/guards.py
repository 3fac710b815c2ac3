"""Guards: who is asked before a change has effect on this node, and what they say (VETO-1..5).

The first callback that raises, whatever it raises, rejects the whole event, and nobody else is
asked. Those of one object are asked about one event after another, objects side by side. A guard
sees what the author saw, so nodes with the same guards come to the same answers.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, NamedTuple

from dinemic.callbacks import (
    Applied,
    Context,
    ListenerHost,
    arguments,
    called,
    families,
)
from dinemic.filters import FilterIndex
from dinemic.logs import ACTION, printable
from dinemic.workers import Turns
from dinemic_engine.edits import (
    CounterAdd,
    Delete,
    DictDelete,
    DictSet,
    ListDelete,
    Set,
    SetRemove,
    stored_key,
)
from dinemic_engine.errors import NotLaunched
from dinemic_engine.event import Event
from dinemic_engine.ids import short, to_text
from dinemic_engine.ops import (
    ADMIN,
    READ,
    UPDATE,
    Create,
    Epoch,
    Grant,
    Op,
    Remove,
    Revoke,
    SetPolicy,
)
from dinemic_engine.types.change import Change, Family, Question

_log = logging.getLogger(__name__)

ACCESS_LISTS: Final = {
    READ: "list_read_authorized_objects",
    UPDATE: "list_update_authorized_objects",
    ADMIN: "list_admin_authorized_objects",
}
"""The field that a grant or revocation of a role changes in the eyes of listeners."""

_NAME_CHARACTERS_MAX: Final = 200
_REASON_CHARACTERS_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class Asked:
    """An event the guards are asked about; `questions` are those of its ops, in their order."""

    model: str
    object_id: bytes
    event: bytes
    """Its id; empty for a local edit that is not made yet."""
    author: bytes
    t: int
    ops: tuple[Op, ...]
    authorized: bool
    detached: bool
    local: bool
    questions: Sequence[Question]


class Veto(NamedTuple):
    """Which guard rejected an event, and why, each on one printable line."""

    guard: str
    reason: str


class Guards:
    """The before-callbacks applied to one node. One thread at a time adds or removes."""

    def __init__(self, host: ListenerHost) -> None:
        self._host = host
        self._indexes: dict[Family, FilterIndex[Applied]] = {}
        """Only of families that have any."""
        self._turns = Turns()
        self._stopped = False

    def add(self, applied: Applied) -> None:
        """Ask its before-callbacks from now on, after those of all others."""
        for family in families(applied.callbacks, "before"):
            index = self._indexes.get(family)
            if index is None:
                index = FilterIndex()
            index.add(applied.filter, applied)
            self._indexes[family] = index

    def remove(self, applied: Applied) -> None:
        """Ask them no more."""
        for family in families(applied.callbacks, "before"):
            index = self._indexes[family]
            index.remove(applied.filter, applied)
            if not index:
                del self._indexes[family]

    def stop(self) -> None:
        """From now on the node goes down: nobody is asked, and a guard that fails says nothing."""
        self._stopped = True

    def concern(
        self, model: str, object_id: bytes, event: Event, authorized: bool | None = None
    ) -> bool:
        """Whether a guard may have to be asked about an event; True too often rather than never.

        `authorized` is whether its author is, None if that is not known. Takes no lock.
        """
        if not self._indexes:
            return False
        text = to_text(object_id)
        for topic in dict.fromkeys(map(_topic, event.ops)):
            if topic is None:
                continue
            family, stored, element = topic
            index = self._indexes.get(family)
            if index is None:
                continue
            if element is None:
                found = index.perhaps(model, text, stored)
            else:
                found = index.find(model, text, stored, element)
            if found:
                owned = self._host.owned(object_id)
                names = called(family, "before", authorized=authorized, owned=owned)
                if any(not guard.callbacks.isdisjoint(names) for guard in found):
                    return True
        return False

    def turn(self, object_id: bytes) -> AbstractContextManager[None]:
        """Inside, no other thread asks about that object; `ask` takes it by itself."""
        return self._turns.of(object_id)

    def ask(self, asked: Asked) -> Veto | None:
        """What the guards say to an event, asked in this thread: the first veto ends it.

        Raises:
            NotLaunched: the node is going down.
            KeyboardInterrupt, SystemExit: from a guard of a local edit.
        """
        if not self._indexes:
            return None
        host, object_id = self._host, asked.object_id
        with self.turn(object_id):
            if self._stopped:
                raise NotLaunched("this node was shut down: its guards cannot be asked")
            text, owned = to_text(object_id), host.owned(object_id)
            caller = host.caller_of(object_id, asked.author)
            for question in asked.questions:
                index = self._indexes.get(question.family)
                if index is None:
                    continue
                context = Context(
                    author=to_text(asked.author),
                    caller=caller,
                    event=to_text(asked.event) if asked.event else "",
                    t=asked.t,
                    authorized=asked.authorized,
                    owned=owned,
                    detached=asked.detached,
                    local=asked.local,
                    element=question.element,
                    ops=asked.ops,
                )
                guards = index.find(asked.model, text, question.stored, question.element)
                for name in called(
                    question.family, "before", authorized=asked.authorized, owned=owned
                ):
                    for guard in guards:
                        if name in guard.callbacks and not guard.revoked:
                            veto = self._ask(guard, name, context, asked, question)
                            if veto is not None:
                                return veto
        return None

    def _ask(
        self, guard: Applied, name: str, context: Context, asked: Asked, question: Question
    ) -> Veto | None:
        new = asked.author if question.family == "create" else question.new
        change = Change(question.stored, question.element, question.old, new)
        try:
            args = arguments(self._host, question.family, asked.model, asked.object_id, change)
            guard.call(name, context, *args, guard=True)
        except BaseException as error:
            if asked.local and isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            if self._stopped:
                raise NotLaunched("this node was shut down while a guard was asked") from error
            veto = Veto(printable(guard.name)[:_NAME_CHARACTERS_MAX], _reason(error))
            _log.log(
                ACTION,
                "%s.%s rejected %s of %s %s...",
                veto.guard,
                name,
                f"event {short(asked.event)}..." if asked.event else "a local edit",
                asked.model,
                short(asked.object_id),
            )
            return veto
        return None


def _reason(error: BaseException) -> str:
    """What an error says, or its class if it says nothing or cannot."""
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 - user code again
        text = ""
    text = text or type(error).__name__
    return printable(text[:_REASON_CHARACTERS_MAX])[:_REASON_CHARACTERS_MAX]


def _topic(op: Op) -> tuple[Family, str, str | None] | None:
    """The family, field and element an op asks about, if it asks at all.

    No element, None: there is one, which takes more than the op to tell.
    """
    match op:
        case Create():
            return "create", "", ""
        case Remove():
            return "remove", "", ""
        case Grant(role=role):
            return "update", ACCESS_LISTS[role], None
        case Revoke(role=role):
            return "delete", ACCESS_LISTS[role], None
        case SetPolicy() | Epoch():
            return None
        case Delete():
            return "delete", stored_key(op), ""
        case DictDelete(key=key):
            return "delete", stored_key(op), key
        case ListDelete() | SetRemove():
            return "delete", stored_key(op), None
        case Set() | CounterAdd():
            return "update", stored_key(op), ""
        case DictSet(key=key):
            return "update", stored_key(op), key
        case _:
            return "update", stored_key(op), None
