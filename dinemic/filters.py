"""Filters: which objects, and which of their events, a name pattern means.

`[id]` (or `[ID]`) stands for one id of 52 characters, `*` for any run of characters, colons
included, `?` for one character; all else is literal, and a filter matches a name as a whole.

An object and its making and removal are named `Model:ID`, a change of a field `Model:ID:field`, and
one of an element `Model:ID:field:element` too: a filter that matches the field matches those of its
elements.

    Person:[id]      every object of the model       Person:*      the same, and all below them
    Person:[id]:*    every field of every one        *             everything
    Person:[id]:value_name    one field              Person:mfzw...:dict_notes:red   one element

A filter is cut at its stars into pieces of fixed length, so matching goes through a name once per
piece and no filter, however written, takes more than linear time in the name. Of many filters an
index tries only those that agree with a name in what they say literally about model, id and field.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

FILTER_CHARACTERS_MAX = 1024
_TOKEN = re.compile(r"\[(?:id|ID)\]|.", re.DOTALL)
_ID = "[a-z2-7]{52}"


@dataclass(frozen=True, slots=True)
class Filter:
    """A compiled filter; `text` is what the user wrote."""

    text: str
    _first: re.Pattern[str]
    _middle: tuple[re.Pattern[str], ...]
    _last: re.Pattern[str] | None
    _last_length: int

    def matches(self, name: str) -> bool:
        """Whether the whole of `name` fits."""
        if self._last is None:
            return self._first.fullmatch(name) is not None
        found = self._first.match(name)
        if found is None:
            return False
        position = found.end()
        for piece in self._middle:
            found = piece.search(name, position)
            if found is None:
                return False
            position = found.end()
        tail = len(name) - self._last_length
        return tail >= position and self._last.match(name, tail) is not None


def compile_filter(text: str) -> Filter:
    """The filter written as `text`.

    Raises:
        ValueError: empty, too long, or with a character no name can have.
    """
    if not text:
        raise ValueError(f"a filter is text such as 'Person:[id]', not {text!r:.80}")
    if len(text) > FILTER_CHARACTERS_MAX or not text.isascii() or not text.isprintable():
        raise ValueError(f"a filter is up to 1,024 printable ASCII characters: {text!r:.80}")
    pieces = [_piece(piece) for piece in text.split("*")]
    first, _ = pieces[0]
    if len(pieces) == 1:
        return Filter(text, first, (), None, 0)
    last, last_length = pieces[-1]
    middle = tuple(pattern for pattern, length in pieces[1:-1] if length)
    return Filter(text, first, middle, last, last_length)


def _piece(text: str) -> tuple[re.Pattern[str], int]:
    """A pattern of fixed length, and that length."""
    parts: list[str] = []
    length = 0
    for token in _TOKEN.findall(text):
        if len(token) > 1:
            parts.append(_ID)
            length += 52
        else:
            parts.append("." if token == "?" else re.escape(token))
            length += 1
    return re.compile("".join(parts), re.DOTALL), length


# -- many filters --------------------------------------------------------------------------------

_Item = TypeVar("_Item")
_ANY: Final = None
_Bucket = tuple[str | None, str | None, str | None]
"""The model, id and field of every name a filter matches, each `_ANY` where it leaves that open.

The field is empty where only objects match.
"""


@dataclass(frozen=True, slots=True)
class _Entry(Generic[_Item]):
    order: int
    filter: Filter
    item: _Item


class FilterIndex(Generic[_Item]):
    """Items under filters, and which of them a name concerns, in the order they were added.

    A filter lies in one bucket, by what it says literally; a name is looked up in five. One thread
    at a time may change an index; any may read it meanwhile, as a bucket is replaced whole.
    """

    def __init__(self) -> None:
        self._buckets: dict[_Bucket, tuple[_Entry[_Item], ...]] = {}
        self._added = 0

    def __bool__(self) -> bool:
        return bool(self._buckets)

    def add(self, filter: Filter, item: _Item) -> None:
        """Put `item` last."""
        bucket = _bucket(filter.text)
        entry = _Entry(self._added, filter, item)
        self._added += 1
        self._buckets[bucket] = (*self._buckets.get(bucket, ()), entry)

    def remove(self, filter: Filter, item: _Item) -> None:
        """Take out what was added so."""
        bucket = _bucket(filter.text)
        left = tuple(entry for entry in self._buckets[bucket] if entry.item is not item)
        if left:
            self._buckets[bucket] = left
        else:
            del self._buckets[bucket]

    def find(
        self, model: str, object_text: str, stored: str = "", element: str = ""
    ) -> list[_Item]:
        """The items whose filter matches an object, its field `stored`, or that element of it."""
        candidates = self._candidates(model, object_text, stored)
        if not candidates:
            return []
        name = f"{model}:{object_text}:{stored}" if stored else f"{model}:{object_text}"
        found = [entry for entry in candidates if _concerns(entry.filter, name, element)]
        found.sort(key=lambda entry: entry.order)
        return [entry.item for entry in found]

    def perhaps(self, model: str, object_text: str, stored: str) -> list[_Item]:
        """At least what `find` finds for that field and any element of it, in no order."""
        return [entry.item for entry in self._candidates(model, object_text, stored)]

    def _candidates(self, model: str, object_text: str, stored: str) -> list[_Entry[_Item]]:
        buckets = self._buckets
        found: list[_Entry[_Item]] = []
        for bucket in (
            (model, object_text, stored),
            (model, object_text, _ANY),
            (model, _ANY, stored),
            (model, _ANY, _ANY),
            (_ANY, _ANY, _ANY),
        ):
            found += buckets.get(bucket, ())
        return found


def _concerns(filter: Filter, name: str, element: str) -> bool:
    return filter.matches(name) or (element != "" and filter.matches(f"{name}:{element}"))


def _bucket(text: str) -> _Bucket:
    """Where a filter lies: what it says up to its first wildcard, which may run over colons."""
    model, *below = text.split(":", 3)
    if not below or not _is_literal(model):
        return (_ANY, _ANY, _ANY)
    object_text = _ANY if below[0] in ("[id]", "[ID]") else below[0]
    if object_text is not _ANY and not _is_literal(object_text):
        return (model, _ANY, _ANY)
    if len(below) == 1:
        return (model, object_text, "")
    return (model, object_text, below[1] if _is_literal(below[1]) else _ANY)


def _is_literal(part: str) -> bool:
    return not any(character in part for character in "*?[")
