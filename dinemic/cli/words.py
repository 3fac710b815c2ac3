"""Times, values, ops and authors in words, and as JSON.

In words nothing of a stranger reaches the terminal unescaped. As JSON every value has one form,
and an object in the place of a value is always one of these:

    {"base32": "nbsq"}                   bytes, lower case without padding
    {"map": {"a": 1}}                    a map
    {"float": "inf"}                     infinity, which JSON has no number for
    {"sealed": true, "epoch": "mfzw"}    a value that was not opened
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, assert_never

from dinemic.logs import printable
from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.edits import (
    CounterAdd,
    Delete,
    DictDelete,
    DictSet,
    ListDelete,
    ListInsert,
    ListSet,
    Set,
    SetAdd,
    SetRemove,
)
from dinemic_engine.ids import ObjectId, db_id, short, to_text
from dinemic_engine.ops import (
    ADMIN,
    READ,
    ROLES,
    UPDATE,
    Create,
    Epoch,
    Grant,
    Op,
    Policy,
    Remove,
    Revoke,
    SetPolicy,
)
from dinemic_engine.view import View

Json = Any
"""What `json` takes: the standard library has no narrower type for it."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


# -- times --------------------------------------------------------------------------------------


def time_text(t: int) -> str:
    """Microseconds since the Unix epoch as ISO 8601 in UTC, always with six decimals."""
    try:
        moment = _EPOCH + timedelta(microseconds=t)
    except OverflowError:  # beyond the year 9999
        return f"{t}us"
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def time_from_text(text: str) -> int:
    """The inverse: ISO 8601, in UTC unless it names another zone, or microseconds in digits.

    Raises:
        ValueError: neither.
    """
    if text.isascii() and text.isdigit():
        return int(text)
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1)


# -- values -------------------------------------------------------------------------------------


def value_text(value: Value, length_max: int | None = None) -> str:
    """A value as Python would write it: quoted, and what does not print escaped."""
    if isinstance(value, Sealed):
        return f"<sealed, epoch {short(value.epoch)}>"
    text = repr(value)
    if length_max is not None and len(text) > length_max:
        return text[: length_max - 3] + "..."
    return text


def value_json(value: Value) -> Json:
    """A value as JSON, in the forms above."""
    match value:
        case bytes():
            return {"base32": base64.b32encode(value).decode("ascii").rstrip("=").lower()}
        case Sealed():
            return {"sealed": True, "epoch": to_text(value.epoch)}
        case float() if math.isinf(value):
            return {"float": str(value)}
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            return {"map": {key: value_json(item) for key, item in value.items()}}
        case Sequence():
            return [value_json(item) for item in value]
        case _:
            assert_never(value)


# -- ops ----------------------------------------------------------------------------------------

_SHOWN_MAX: Final = 60
"""Characters of a value in a line of a log; `show` and JSON have all of it."""


def op_text(op: Op) -> str:
    """What an op does, in words."""
    match op:
        case Create():
            return f"create {op.model}, {policy_text(op.policy)}"
        case Set():
            return f"set {op.field} = {value_text(op.value, _SHOWN_MAX)}"
        case Delete():
            return f"delete {op.field}"
        case ListInsert():
            shown = op.values if op.count > 1 or isinstance(op.values, Sealed) else op.values[0]
            return f"insert into {op.field}: {value_text(shown, _SHOWN_MAX)}"
        case ListSet():
            return f"set an element of {op.field} = {value_text(op.value, _SHOWN_MAX)}"
        case ListDelete():
            count = sum(span.length for span in op.spans)
            return f"delete {plural(count, 'element')} of {op.field}"
        case DictSet():
            key = printable(op.key)
            return f"set {op.field}[{key}] = {value_text(op.value, _SHOWN_MAX)}"
        case DictDelete():
            return f"delete {op.field}[{printable(op.key)}]"
        case CounterAdd():
            return f"add to {op.field}: {value_text(op.amount, _SHOWN_MAX)}"
        case SetAdd():
            return f"put into {op.field}: {value_text(op.value, _SHOWN_MAX)}"
        case SetRemove():
            return f"take {plural(len(op.adds), 'value')} out of {op.field}"
        case Grant():
            return f"grant {ROLES[op.role]} to {short(op.subject)}"
        case Revoke():
            return f"revoke {ROLES[op.role]} of key {short(op.signing)}"
        case SetPolicy():
            return f"access becomes {policy_text(op.policy)}"
        case Epoch():
            readers = len(op.recipients)
            return f"new sealing key for {readers} reader{'s' if readers > 1 else ''}"
        case Remove():
            return "remove the object"
        case _:
            assert_never(op)


def op_json(op: Op) -> dict[str, Json]:
    """An op as JSON; ``op`` names its kind."""
    match op:
        case Create():
            policy = policy_json(op.policy)
            return {"op": "create", "model": op.model, "access": policy}
        case Set():
            return {"op": "set", "field": op.field, "value": value_json(op.value)}
        case Delete():
            return {"op": "delete", "field": op.field}
        case ListInsert():
            return {
                "op": "list insert",
                "field": op.field,
                "count": op.count,
                "values": value_json(op.values),
            }
        case ListSet():
            return {"op": "list set", "field": op.field, "value": value_json(op.value)}
        case ListDelete():
            count = sum(span.length for span in op.spans)
            return {"op": "list delete", "field": op.field, "count": count}
        case DictSet():
            value = value_json(op.value)
            return {"op": "dict set", "field": op.field, "key": op.key, "value": value}
        case DictDelete():
            return {"op": "dict delete", "field": op.field, "key": op.key}
        case CounterAdd():
            return {"op": "counter add", "field": op.field, "amount": value_json(op.amount)}
        case SetAdd():
            return {"op": "set add", "field": op.field, "value": value_json(op.value)}
        case SetRemove():
            return {"op": "set remove", "field": op.field, "count": len(op.adds)}
        case Grant():
            return {
                "op": "grant",
                "role": ROLES[op.role],
                "subject": to_text(op.subject),
                "key": to_text(op.signing),
            }
        case Revoke():
            return {"op": "revoke", "role": ROLES[op.role], "key": to_text(op.signing)}
        case SetPolicy():
            return {"op": "policy", "access": policy_json(op.policy)}
        case Epoch():
            readers = [to_text(reader) for reader, _ in op.recipients]
            return {"op": "epoch", "epoch": to_text(op.commit), "readers": readers}
        case Remove():
            return {"op": "remove"}
        case _:
            assert_never(op)


def policy_text(policy: Policy) -> str:
    """Who may change fields without a grant, in words."""
    words = ["closed", "open"]
    rule = words[policy.is_open]
    exceptions = [f"{name} {words[is_open]}" for name, is_open in policy.fields]
    return f"{rule}, but {', '.join(exceptions)}" if exceptions else rule


def policy_json(policy: Policy) -> dict[str, Json]:
    """The same as JSON: the rule and its exceptions by field."""
    words = ["closed", "open"]
    exceptions = {name: words[is_open] for name, is_open in policy.fields}
    return {"default": words[policy.is_open], "fields": exceptions}


# -- authors ------------------------------------------------------------------------------------


class Author(NamedTuple):
    """Who signed: a key, what it may do on the object, and the object it belongs to if known."""

    key: bytes
    role: str
    """``owner``, ``admin``, ``update``, ``read``; ``revoked``: a grant names the key, and it holds
    none now; ``stranger``: no grant names it."""
    subject: ObjectId | None

    def text(self) -> str:
        """Role and short id: of the object, or of the key where no object is known."""
        return f"{self.role} {short(self.subject or self.key)}"

    def json(self) -> dict[str, Json]:
        """All three; the subject's id is without its model."""
        subject = to_text(self.subject) if self.subject else None
        return {"key": to_text(self.key), "role": self.role, "subject": subject}


class Authors:
    """Names the authors of one object's events by today's grants."""

    def __init__(self, view: View, object_id: ObjectId) -> None:
        self._view = view
        _, row = view.need(object_id)
        self._known: dict[bytes, Author] = {
            grant.author: Author(grant.author, "revoked", grant.subject)
            for grant in view.grants(object_id)
        }
        for role in (READ, UPDATE, ADMIN):  # the strongest last
            for holder in view.holders(object_id, role):
                author = Author(holder.author, ROLES[role], holder.subject)
                self._known[holder.author] = author
        self._known[row.owner] = Author(row.owner, "owner", object_id)

    def of(self, key: bytes) -> Author:
        """The author with that public key."""
        return self._known.get(key) or Author(key, "stranger", None)

    def all(self) -> list[Author]:
        """The owner and everybody who was granted something."""
        return list(self._known.values())


def object_name(view: View, object_id: ObjectId) -> str:
    """The full id of an object; without a model if it is not known here."""
    found = view.find(object_id)
    return db_id(found[1].model, object_id) if found else to_text(object_id)


def plural(count: int, noun: str, several: str = "") -> str:
    """For example ``1 object``, ``2 objects``; `several` where an s does not do."""
    return f"{count} {noun if count == 1 else several or noun + 's'}"
