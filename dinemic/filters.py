"""Filters: which objects, and later which events, a name pattern means.

`[id]` (or `[ID]`) stands for one id of 52 characters, `*` for any run of characters, colons
included, `?` for one character; all else is literal, and a filter matches a name as a whole.

    Person:[id]      every object of the model       Person:*      the same, and all below them
    Person:mfzw...   one object                      *             everything

A filter is cut at its stars into pieces of fixed length, so matching goes through a name once per
piece and no filter, however written, takes more than linear time in the name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

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
