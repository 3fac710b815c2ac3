"""Listeners: subclasses of `DAction` that are asked before a change, and told after it.

::

    class Watch(dinemic.DAction):
        def on_updated(self, object_id, field, old_value, new_value):
            print(object_id, field, old_value, new_value)

    Watch().apply("Person:[id]:*")
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final, TypeVar

from dinemic import running
from dinemic.callbacks import NAMES, Context, running_context
from dinemic_engine.errors import NotLaunched

_Function = TypeVar("_Function", bound=Callable[..., Any])

_ACCESS_LISTS_END: Final = "_authorized_objects"


class DAction:
    """A listener: define any of the 23 methods in a subclass, and `apply` an instance.

    They are called for local and remote changes alike, on every node that has the listener.

    *Before*: a guard. It is called before a change has effect here, in the thread of a local edit,
    and sees the world as the author saw it. Raising anything rejects: a local edit is not made and
    raises `UpdateRejected`, a remote event stays without effect on this node. A guard may read
    anything and write nothing.

    *After*: told of what became visible here, once for each change, in order, by a thread of its
    own; also when a value comes back because a later one lost its effect. It may read and write
    anything. What it raises is logged and changes nothing. What it was not told when the process
    ended it is told when a listener of its class is applied under that filter again.

    For one change the plain method comes first, then the one for an authorized or an unauthorized
    author, then, where the object's own key is on this node, the owned one. `object_id` is
    ``Model:id``, `field` the stored key such as ``value_name``, and no value is ``""``. Sealed
    values are opened where a key here does that, else they are a `dinemic.Sealed`.
    """

    def apply(self, filter: str) -> None:
        """Listen to what `filter` matches until `revoke`, or until the node is shut down.

        ``Person:[id]`` matches making and removal of every Person, ``Person:[id]:*`` changes of its
        fields, ``Person:*`` both, ``Person:[id]:value_name`` one field. Under several filters a
        listener is called for each that matches; the same again changes nothing.

        Raises:
            NotLaunched: no node is open.
            UsageError: the node is a relay.
            ValueError: a malformed filter.
            TypeError: one of the 23 methods is a coroutine or a generator.
        """
        try:
            node = running.current()
        except NotLaunched as error:
            raise NotLaunched(
                "listeners belong to a node: call dinemic.launch(), or dinemic.prepare() to apply "
                "them before the first event comes in, and then apply()"
            ) from error
        node.listeners.apply(self, filter)

    def revoke(self, filter: str) -> None:
        """Listen no more under exactly that filter, and forget what was to be told; else nothing.

        Raises:
            NotLaunched: no node is open.
        """
        running.current().listeners.revoke(self, filter)

    @property
    def context(self) -> Context | None:
        """Of the callback that runs in this thread: the author, the event and more; else None."""
        return running_context.get()

    def overridden(self) -> frozenset[str]:
        """Those of the 23 methods that are not the empty ones of `DAction`.

        Raises:
            TypeError: one is a coroutine or a generator: calling it would run nothing of it.
        """
        found: set[str] = set()
        for name in NAMES:
            method = getattr(self, name)
            if getattr(method, "__func__", None) is getattr(DAction, name):
                continue
            if (
                inspect.iscoroutinefunction(method)
                or inspect.isgeneratorfunction(method)
                or inspect.isasyncgenfunction(method)
            ):
                raise TypeError(f"{name} of {type(self).__qualname__} must be a plain function")
            found.add(name)
        return frozenset(found)

    # -- an object comes into being -----------------------------------------------------------

    def on_create(self, object_id: str, key: str, /) -> None:
        """Before an object is let in; `key` is its public signing key, base32."""

    def on_created(self, object_id: str, key: str, /) -> None:
        """An object became visible."""

    def on_owned_created(self, object_id: str, key: str, /) -> None:
        """An object whose private key is here became visible."""

    # -- a field gets a value -----------------------------------------------------------------

    def on_update(self, object_id: str, field: str, old_value: Any, new_value: Any, /) -> None:
        """Before a field, or an element of one, gets a value."""

    def on_authorized_update(
        self, object_id: str, field: str, old_value: Any, new_value: Any, /
    ) -> None:
        """Before it does, by an author who may change it."""

    def on_unauthorized_update(
        self, object_id: str, field: str, old_value: Any, new_value: Any, /
    ) -> None:
        """Before it does, by a stranger, whom an open object lets write."""

    def on_owned_update(
        self, object_id: str, field: str, old_value: Any, new_value: Any, /
    ) -> None:
        """Before it does, in an object whose private key is here."""

    def on_updated(self, object_id: str, field: str, old_value: Any, new_value: Any, /) -> None:
        """A field, or an element of one, shows another value."""

    def on_authorized_updated(
        self, object_id: str, field: str, old_value: Any, new_value: Any, /
    ) -> None:
        """It does, by an author who may change it."""

    def on_unauthorized_updated(
        self, object_id: str, field: str, old_value: Any, new_value: Any, /
    ) -> None:
        """It does, by a stranger."""

    def on_owned_updated(
        self, object_id: str, field: str, old_value: Any, new_value: Any, /
    ) -> None:
        """It does, in an object whose private key is here."""

    # -- a field loses its value --------------------------------------------------------------

    def on_delete(self, object_id: str, field: str, value: Any, /) -> None:
        """Before a field, or an element of one, loses its value."""

    def on_authorized_delete(self, object_id: str, field: str, value: Any, /) -> None:
        """Before it does, by an author who may change it."""

    def on_unauthorized_delete(self, object_id: str, field: str, value: Any, /) -> None:
        """Before it does, by a stranger."""

    def on_owned_delete(self, object_id: str, field: str, value: Any, /) -> None:
        """Before it does, in an object whose private key is here."""

    def on_deleted(self, object_id: str, field: str, value: Any, /) -> None:
        """A field, or an element of one, shows no value any more."""

    def on_authorized_deleted(self, object_id: str, field: str, value: Any, /) -> None:
        """It does not, by an author who may change it."""

    def on_unauthorized_deleted(self, object_id: str, field: str, value: Any, /) -> None:
        """It does not, by a stranger."""

    def on_owned_deleted(self, object_id: str, field: str, value: Any, /) -> None:
        """It does not, in an object whose private key is here."""

    # -- an object is removed -----------------------------------------------------------------

    def on_remove(self, object_id: str, /) -> None:
        """Before an object is removed."""

    def on_authorized_remove(self, object_id: str, /) -> None:
        """Before it is, by an author who may."""

    def on_unauthorized_remove(self, object_id: str, /) -> None:
        """Before it is, by a stranger."""

    def on_owned_remove(self, object_id: str, /) -> None:
        """Before it is, and its private key is here."""


def on(filter: str, *events: str) -> Callable[[_Function], _Function]:
    """Decorate a function to be called as the methods ``on_<event>`` of a listener are.

    ``@dinemic.on("Person:[id]:value_name", "updated", "deleted")``. The listener is applied at once
    and is the function's attribute `listener`: that has its `context`, and its `revoke`.

    Raises:
        ValueError: an event there is not, or none.
        NotLaunched, TypeError: as `DAction.apply`.
    """
    names = [f"on_{event}" for event in events]
    if not names or not set(names).issubset(NAMES):
        known = ", ".join(name.removeprefix("on_") for name in NAMES)
        raise ValueError(f"no such events: {', '.join(events) or 'none given'}; there are {known}")

    def decorate(function: _Function) -> _Function:
        # A class of the function's name: that is what what waits for it is known by (deliveries).
        methods: dict[str, object] = dict.fromkeys(names, staticmethod(function))
        kind = type(function.__name__, (DAction,), methods)
        kind.__module__, kind.__qualname__ = function.__module__, function.__qualname__
        listener = kind()
        listener.apply(filter)
        function.listener = listener  # type: ignore[attr-defined]
        return function

    return decorate


# -- ready-made guards ---------------------------------------------------------------------------


class RejectUnauthorized(DAction):
    """Keeps strangers from changing, deleting and removing what the filter matches."""

    def on_unauthorized_update(
        self, object_id: str, field: str, old_value: Any, new_value: Any, /
    ) -> None:
        """Reject."""
        raise PermissionError(f"only authorized objects may change {field}")

    def on_unauthorized_delete(self, object_id: str, field: str, value: Any, /) -> None:
        """Reject."""
        raise PermissionError(f"only authorized objects may delete {field}")

    def on_unauthorized_remove(self, object_id: str, /) -> None:
        """Reject."""
        raise PermissionError("only authorized objects may remove this")


class RejectDetached(DAction):
    """Rejects what a stranger made who knew nothing of the object but its genesis."""

    def on_update(self, object_id: str, field: str, old_value: Any, new_value: Any, /) -> None:
        """Reject if detached."""
        self._check()

    def on_delete(self, object_id: str, field: str, value: Any, /) -> None:
        """Reject if detached."""
        self._check()

    def on_remove(self, object_id: str, /) -> None:
        """Reject if detached."""
        self._check()

    def _check(self) -> None:
        if self.context is not None and self.context.detached:
            raise PermissionError("made without knowledge of the object's log")


class ReadOnly(DAction):
    """Lets fields get a value once: whoever the author, it is not changed or deleted after that.

    `fields` are names (``"name"``) or stored keys (``"value_name"``); without any it is every field
    the filter matches, but not the access lists. Elements of lists and dicts can be added and not
    changed. Empty text counts as no value. To keep only strangers out there is
    `RejectUnauthorized`, on a filter such as ``Person:[id]:value_name``.
    """

    def __init__(self, *fields: str) -> None:
        self._fields = frozenset(fields)

    def on_update(self, object_id: str, field: str, old_value: Any, new_value: Any, /) -> None:
        """Reject if there is a value."""
        self._check(field, old_value)

    def on_delete(self, object_id: str, field: str, value: Any, /) -> None:
        """Reject if there is a value."""
        self._check(field, value)

    def _check(self, field: str, value: Any) -> None:
        name = field.partition("_")[2]
        if self._fields:
            meant = field in self._fields or name in self._fields
        else:
            meant = not field.endswith(_ACCESS_LISTS_END)
        if meant and not (isinstance(value, str) and value == ""):
            raise PermissionError(f"{field} is read-only once it has a value")
