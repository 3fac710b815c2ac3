"""What listeners are told, change by change: a chain without a gap or a knot (I-09).

Of a register each change begins with the value that the one before ended with, and the last ends
with what the node shows once all is told::

    "" -> Ada     Ada -> Bob     Bob -> ""      shown: nothing

A change that is told twice, or never, or out of turn breaks the chain. It begins anew when the node
does: what a power cut took back is told again when peers bring it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dinemic.actions import DAction
from dinemic.testing.invariants import InvariantBroken
from dinemic_engine.canonical import Sealed
from dinemic_engine.ids import parse_db_id_untrusted, short
from dinemic_engine.types import register

if TYPE_CHECKING:
    from dinemic.testing.site import Site


class Told:
    """What one listener of a simulated node was told about registers."""

    def __init__(self, listener: DAction) -> None:
        self.broken: InvariantBroken | None = None
        """The first change that did not begin where the one before had ended."""
        self._ends: dict[tuple[str, str], Any] = {}
        """By object and field the value that the last change ended with."""
        if listener.overridden() >= {"on_updated", "on_deleted"}:  # else it misses changes
            for name in ("on_updated", "on_deleted"):
                setattr(listener, name, self._noting(getattr(listener, name)))

    def _noting(self, callback: Callable[..., None]) -> Callable[..., None]:
        def noting(object_id: str, field: str, old: Any, *new: Any) -> None:
            if field.startswith(register.PREFIX):
                self._note(object_id, field, old, *new or ("",))
            callback(object_id, field, old, *new)

        return noting

    def _note(self, object_id: str, field: str, old: Any, new: Any) -> None:
        before = self._ends.get((object_id, field), old)
        self._ends[object_id, field] = new
        if self.broken is None and not _may_be(before, old):
            what = f"a change of {field} of {object_id} was told that began elsewhere, or twice"
            self.broken = InvariantBroken("I-09", what)

    def check(self, site: Site) -> None:
        """Return if it was told of every change once; when nothing is left to tell.

        Raises:
            InvariantBroken: it was not.
        """
        if self.broken is not None:
            raise self.broken
        for (name, field), end in self._ends.items():
            model, object_id = parse_db_id_untrusted(name)
            found = site.node.view.find(object_id)
            if found is None or not found[1].is_there:
                continue
            reading = site.node.view.read(object_id, field)
            if not _may_be("" if reading is None else reading.value, end):
                what = f"the last change of {field} of {model}:{short(object_id)}... was not told"
                raise InvariantBroken("I-09", f"{what} on node {site.number}")


def _may_be(one: Any, other: Any) -> bool:
    """Whether two values can be the same: of a sealed one that is known only where it opens."""
    return isinstance(one, Sealed) or isinstance(other, Sealed) or bool(one == other)


def check_told(site: Site) -> None:
    """Return if the listeners of a node were told of every visible change exactly once.

    Raises:
        InvariantBroken: one was not.
    """
    if not site.node.listeners.busy:
        for told in site.told:
            told.check(site)
