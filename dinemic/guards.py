"""Guards: who is asked before a change has effect on this node, and what they say (VETO-1..5).

The first callback that raises, whatever it raises, rejects the whole event, and nobody else is
asked. When they are asked, and what of, is decided elsewhere (guarding.py): a guard sees what the
author saw, so nodes with the same guards come to the same answers.
"""

from __future__ import annotations

import logging
from typing import Final

from dinemic.callbacks import Context, ListenerHost, arguments, called
from dinemic.logs import ACTION, printable
from dinemic.registry import Registered, Registry
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
from dinemic_engine.guards import Asked
from dinemic_engine.ids import short, to_text
from dinemic_engine.ops import Create, Epoch, Grant, Op, Remove, Revoke, SetPolicy
from dinemic_engine.state import ROLE_LISTS
from dinemic_engine.types.change import Change, Question
from dinemic_engine.vetoes import Veto

_log = logging.getLogger(__name__)

_NAME_CHARACTERS_MAX: Final = 200
_REASON_CHARACTERS_MAX: Final = 500


class Guards:
    """The before-callbacks of the listeners in `registry`."""

    def __init__(self, registry: Registry, host: ListenerHost) -> None:
        self._registry = registry
        self._host = host
        self._stopped = False

    def stop(self) -> None:
        """From now on the node goes down: nobody is asked, and a guard that fails says nothing."""
        self._stopped = True

    def guarded(self, model: str, event: Event, authorized: bool | None = None) -> bool:
        """Whether a guard may want to see an event; True too often rather than never.

        Guards that are away count. `authorized` is whether the author is, None if not known.
        """
        if not self._registry.has("before"):
            return False
        owned = event.is_genesis or self._host.owned(event.object)
        text = to_text(event.object)
        with self._registry.lock:
            for topic in dict.fromkeys(map(_topic, event.ops)):
                if topic is None:
                    continue
                family, stored, element = topic
                index = self._registry.index(family, "before")
                if index is None:
                    continue
                if element is None:
                    found = index.perhaps(model, text, stored)
                else:
                    found = index.find(model, text, stored, element)
                names = called(family, "before", authorized=authorized, owned=owned)
                if any(not guard.callbacks.isdisjoint(names) for guard in found):
                    return True
        return False

    def is_away(self, asked: Asked, *, local: bool = False) -> bool:
        """Whether a guard that would be asked was applied by an earlier process and not in this."""
        return any(
            not guard.at and self._is_missed(guard)
            for question in asked.questions
            for _, guard in self._concerned(asked, question, local)
        )

    def _is_missed(self, guard: Registered) -> bool:
        """Whether none of its class and filter is applied: another one serves as well."""
        return not any(
            other.at and other.known[:2] == guard.known[:2] for other in self._registry.all()
        )

    def ask(self, asked: Asked, *, local: bool) -> Veto | None:
        """What the guards say to an event, asked in this thread: the first veto ends it.

        Raises:
            NotLaunched: the node is going down.
            KeyboardInterrupt, SystemExit: from a guard of a local edit.
        """
        if self._stopped:
            raise NotLaunched("this node was shut down: its guards cannot be asked")
        for question in asked.questions:
            for name, guard in self._concerned(asked, question, local):
                error = self._call(guard, name, asked, question, local)
                if error is not None:
                    return _veto(guard, name, asked, error)
        return None

    def _is_owned(self, event: Event, local: bool) -> bool:
        """Whether the object's key is here: that of one in the making is, and in no keyring yet."""
        return (local and event.is_genesis) or self._host.owned(event.object)

    def _concerned(
        self, asked: Asked, question: Question, local: bool
    ) -> list[tuple[str, Registered]]:
        """The callbacks one question goes to, in the order they are called."""
        owned, text = self._is_owned(asked.event, local), to_text(asked.event.object)
        with self._registry.lock:
            index = self._registry.index(question.family, "before")
            if index is None:
                return []
            guards = index.find(asked.model, text, question.stored, question.element)
        names = called(question.family, "before", authorized=asked.authorized, owned=owned)
        return [(name, guard) for name in names for guard in guards if name in guard.callbacks]

    def _call(
        self, guard: Registered, name: str, asked: Asked, question: Question, local: bool
    ) -> BaseException | None:
        """What a guard raises, if anything."""
        event, applied = asked.event, guard.applied
        if applied is None:  # away, or revoked since it was found
            return None
        try:
            context = Context(
                author=to_text(event.author),
                caller=self._host.caller_of(event.object, event.author),
                event=to_text(event.id),
                t=event.t,
                authorized=asked.authorized,
                owned=self._is_owned(event, local),
                detached=asked.detached,
                local=local,
                element=question.element,
                ops=event.ops,
            )
            change = Change(question.stored, question.element, question.old, question.new)
            args = arguments(self._host, question.family, asked.model, event, change)
            applied.call(name, context, *args, guard=True)
        except BaseException as error:
            if local and isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            if self._stopped:
                raise NotLaunched("this node was shut down while a guard was asked") from error
            return error
        return None


def _veto(guard: Registered, name: str, asked: Asked, error: BaseException) -> Veto:
    guard_name = printable(guard.known.name)[:_NAME_CHARACTERS_MAX]
    _log.log(
        ACTION,
        "%s.%s rejected event %s... of %s %s...",
        guard_name,
        name,
        short(asked.event.id),
        asked.model,
        short(asked.event.object),
    )
    return Veto(guard_name, _reason(error))


def _reason(error: BaseException) -> str:
    """What an error says, or its class if it says nothing or cannot."""
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 - user code again
        text = ""
    text = text or type(error).__name__
    return printable(text[:_REASON_CHARACTERS_MAX])[:_REASON_CHARACTERS_MAX]


def _topic(op: Op) -> tuple[str, str, str | None] | None:
    """The family, field and element an op asks about, if it asks at all.

    No element, None: there is one, which takes more than the op to tell.
    """
    match op:
        case Create():
            return "create", "", ""
        case Remove():
            return "remove", "", ""
        case Grant(role=role):
            return "update", ROLE_LISTS[role], None
        case Revoke(role=role):
            return "delete", ROLE_LISTS[role], None
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
