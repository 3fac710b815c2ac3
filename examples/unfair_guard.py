"""Finds a guard that would part nodes: it lets the first three notes through, whichever come first.

Run it: ``python unfair_guard.py``. Or let pytest run it, with your own guard in its place.
"""

from typing import Any

import dinemic
from dinemic.testing import Undetermined, check_guard


class ThreeNotes(dinemic.DAction):
    """Refuses the fourth note. Which one that is, is another on every node."""

    def __init__(self) -> None:
        self.seen = 0

    def on_update(self, object_id: str, field: str, old_value: Any, new_value: Any) -> None:
        self.seen += 1
        if self.seen > 3:
            raise ValueError("three notes are enough")


class ShortNotes(dinemic.DAction):
    """Refuses long notes, and so the same ones everywhere."""

    def on_update(self, object_id: str, field: str, old_value: Any, new_value: Any) -> None:
        if len(str(new_value)) > 30:
            raise ValueError("too long")


def test_the_guard_is_fair() -> None:
    check_guard(ShortNotes)


if __name__ == "__main__":
    check_guard(ShortNotes)
    try:
        check_guard(ThreeNotes)
    except Undetermined as found:
        print(found)
