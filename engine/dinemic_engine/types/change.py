"""What becomes visible: the answer of a data type to an op that takes effect, or loses it."""

from __future__ import annotations

from typing import NamedTuple


class Change(NamedTuple):
    """One value that a reader sees changed, as encoded bytes; None is no value."""

    stored: str
    """The field as listeners know it: ``value_name``, ``list_albums``, ``dict_notes``."""
    element: str
    """Which part of it: a dict key, or the id of a list element or a set member; else empty."""
    old: bytes | None
    new: bytes | None


class Question(NamedTuple):
    """What guards are asked about one op: may this become so?"""

    family: str
    """``create``, ``update``, ``delete`` or ``remove``."""
    stored: str
    element: str
    """As in `Change`."""
    old: bytes | None
    """What the author saw there: the value in the event's past (VETO-2)."""
    new: bytes | None
