"""An object as it would be, for a handle on it; `dinemic_engine.replay` has the theory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from typing import NamedTuple

from dinemic.contents import Content, contents
from dinemic.models import DModel
from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.collections_view import Collections
from dinemic_engine.errors import UnknownObject, Unreadable
from dinemic_engine.event import Event
from dinemic_engine.ids import (
    AuthorId,
    ObjectId,
    from_text_untrusted,
    parse_db_id_untrusted,
    short,
    to_text,
)
from dinemic_engine.replay import refold, upto
from dinemic_engine.types import register
from dinemic_engine.view import View


class LeftOut(NamedTuple):
    """An event that has no part in a replay."""

    event_id: str
    reason: str
    """``asked``, ``no genesis``, or the rule it breaks without the others, in words."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """An object as a replay makes it."""

    exists: bool
    """False: there is no genesis in it, or the object is removed."""
    fields: dict[str, Value]
    """The fields that have a value, by name; sealed where this handle cannot open it."""
    digest: bytes
    """The shared digest, equal to that of a node with the same state; empty without a genesis."""
    left_out: list[LeftOut]
    """What was asked to be left out, and what only that allowed, in replay order; what is later
    than `until` is not listed."""
    collections: dict[str, Content] = field(default_factory=dict)
    """By stored key (``list_albums``): the values of a list or set, a dict, the sum of a counter;
    sealed values as for `fields`, but a counter leaves them out."""


def replay(
    obj: DModel,
    *,
    until: int | str | None = None,
    without: DModel | str | Iterable[DModel | str] = (),
) -> Replayed:
    """`obj` as its events up to `until` make it, without some of them or of their authors.

    `until` is microseconds since the Unix epoch or the id of an event, and includes it: the log is
    replayed in its order, (t, event id). `without` names events by id, and authors by public
    signing key, or by an object (id or handle) whose key it is or was when it was granted
    something. What comes after an event that is left out stays, as if its author had built on what
    that event built on; what only that event allowed is refused and left out in its turn.

    Nothing is written. Takes time and memory for the whole log.

    Raises:
        UnknownObject: the object is not known here, or `until` or `without` names what it has not.
        ValueError: no id.
    """
    view, object_id = obj._view, obj._object_id
    events = [logged.event for logged in view.history(object_id)]
    if isinstance(without, DModel | str):
        without = (without,)
    unwanted = {found for each in without for found in _named(view, object_id, events, each)}
    refolded = refold(_upto(events, until), unwanted)
    found = refolded.view.find(object_id)
    return Replayed(
        found is not None and not found[1].removed_by,
        dict(_fields(obj, refolded.view)),
        b"" if found is None else refolded.view.digest(object_id),
        [LeftOut(to_text(each.event), each.reason) for each in refolded.left_out],
        _collections(obj, refolded.view),
    )


def _upto(events: list[Event], until: int | str | None) -> Iterable[Event]:
    """Those of `events`, which come in key order, up to a time or an event, included."""
    if not isinstance(until, str):
        return upto(events, until)
    event_id = from_text_untrusted(until)
    last = next((event for event in events if event.id == event_id), None)
    if last is None:
        raise UnknownObject(f"no event {short(event_id)}... of this object is known here")
    return takewhile(lambda event: (event.t, event.id) <= (last.t, last.id), events)


def _named(
    view: View, object_id: ObjectId, events: list[Event], named: DModel | str
) -> Iterator[bytes]:
    """The event id or author keys that `named` is, or is an object of.

    Raises:
        UnknownObject: it is nothing of this object's.
        ValueError: no id.
    """
    text = named.get_db_id() if isinstance(named, DModel) else named
    raw = parse_db_id_untrusted(text)[1] if ":" in text else from_text_untrusted(text)
    grants = view.grants(object_id)
    keys = {grant.author for grant in grants if raw in (grant.subject, grant.author)}
    known = view.find(raw)
    if known is not None:
        keys.add(AuthorId(known[1].owner))
    if keys:
        yield from keys
    elif any(raw in (event.id, event.author) for event in events):
        yield raw
    else:
        raise UnknownObject(
            f"{short(raw)}... is no event of {short(object_id)}..., nor anybody who made one"
        )


def _collections(obj: DModel, view: View) -> dict[str, Content]:
    """What is in the lists, dicts, counters and sets of a replay, by stored key."""

    def unseal(path: str, value: Sealed) -> Value:
        return obj._node.unseal(obj._object_id, path, value, obj._caller)

    found = contents(Collections(view.rows), obj._object_id, unseal)
    return {stored: content for stored, content, _ in found}


def _fields(obj: DModel, view: View) -> Iterator[tuple[str, Value]]:
    """Name and value of every field in a replay."""
    for stored in view.keys(obj._object_id):
        reading = view.read(obj._object_id, stored)
        assert reading is not None, "a key that has a value"
        value = reading.value
        if isinstance(value, Sealed):
            with contextlib.suppress(Unreadable):  # then it stays sealed
                value = obj._node.unseal(obj._object_id, stored, value, obj._caller)
        yield stored.removeprefix(register.PREFIX), value
