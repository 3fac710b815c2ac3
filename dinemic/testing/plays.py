"""The play this project tests itself with: every kind of field, open and closed, guards, a liar."""

from __future__ import annotations

from contextlib import suppress
from random import Random
from typing import Any, Final

from dinemic.actions import DAction
from dinemic.collections import DCounter, DDict, DSet
from dinemic.fields import DField
from dinemic.lists import DList
from dinemic.models import DModel
from dinemic.testing.edits import draw_edit
from dinemic.testing.scenario import Play, edit
from dinemic_engine.errors import UpdateRejected

BURST: Final = 25
"""Edits that an object makes in a row in the standard play."""

TOLD: Final = "Board:[id]:value_title"
"""What a `Reader` is told of in the standard play: all that there is would cost a sixth more."""


class Board(DModel, access="open"):
    """Anybody may change it."""

    title = DField("title")
    posts = DList("posts")
    pins = DDict("pins")
    likes = DCounter("likes")
    tags = DSet("tags")


class Safe(DModel):
    """Changed by whom it grants that, with sealed fields."""

    label = DField("label")
    code = DField("code", True)
    items = DList("items")
    notes = DDict("notes", True)
    uses = DCounter("uses")
    tags = DSet("tags")


SEALED: Final = frozenset({Safe.code.stored, Safe.notes.stored})


class NoEve(DAction):
    """A guard that refuses one value, wherever all can read what is written."""

    def on_update(self, object_id: str, field: str, old_value: Any, new_value: Any) -> None:
        """Refuse it. What is sealed opens on some nodes only, which would then differ."""
        if new_value == "Eve" and field.partition(":")[0] not in SEALED:
            raise ValueError("no Eve")


class Reader(DAction):
    """Is told of what changes; the world sees to it that it is told all of it, once."""

    def on_updated(self, object_id: str, field: str, old_value: Any, new_value: Any) -> None:
        """A value was given."""

    def on_deleted(self, object_id: str, field: str, value: Any) -> None:
        """A value was taken away."""


def burst(handle: DModel, rng: Random) -> None:
    """Several edits, one after another."""
    for _ in range(rng.randint(1, BURST)):
        with suppress(UpdateRejected):  # the guard's
            draw_edit(type(handle), rng).apply(handle)


STANDARD: Final = Play(
    models=(Board, Safe),
    actions=(edit, burst),
    listeners=((NoEve, "*"), (Reader, TOLD)),
    nodes=4,
    byzantine=1,
)
