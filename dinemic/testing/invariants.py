"""What must hold of simulated nodes, by the numbers that tests/README.md gives it.

Between nodes that are connected and have settled everything shared is equal (I-01), and so is what
nodes with the same guards show (I-08). Of each node alone: its store, with every signature checked
again and every event judged and folded anew, comes out as it is (I-02, I-05), and nothing it had on
disk is gone (I-13). What the text of the rules says of its objects is in histories.py (I-06, I-11),
what its listeners are told in telling.py (I-09).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from dinemic_engine.audit import audit
from dinemic_engine.ids import short
from dinemic_engine.store.layout import VOID
from dinemic_engine.view import View

if TYPE_CHECKING:
    from dinemic.testing.site import Site


class InvariantBroken(AssertionError):
    """Something that must always hold does not."""

    def __init__(self, invariant: str, what: str) -> None:
        super().__init__(f"{invariant}: {what}")
        self.invariant = invariant


def events_of(site: Site) -> list[tuple[str, object, object]]:
    """For each model what two nodes compare first: its name, all its events, the effective ones."""
    view = site.node.view
    return [
        (name, view.fingerprint(name), view.fingerprint(name, effective=True))
        for name in view.models()
    ]


def check_equal(sites: Sequence[Site]) -> None:
    """Return if connected nodes agree in all they share, and in what they show to like guards.

    Raises:
        InvariantBroken: they do not; the message names the nodes and what differs.
    """
    for one, other in pairwise(sites):
        _check_shared(one, other)
    by_guards: dict[tuple[object, ...], list[Site]] = {}
    for site in sites:
        by_guards.setdefault(tuple(site.node.listeners.names()), []).append(site)
    for alike in by_guards.values():
        for one, other in pairwise(alike):
            _check_shown(one, other)


def _check_shared(one: Site, other: Site) -> None:
    if events_of(one) != events_of(other):
        raise InvariantBroken("I-01", f"{_names(one, other)} hold {_first_difference(one, other)}")
    ours, theirs = one.node.view, other.node.view
    for model, object_id in ours.objects(removed=True):
        name = f"{model}:{short(object_id)}..."
        if ours.heads(object_id) != theirs.heads(object_id):
            raise InvariantBroken("I-01", f"{_names(one, other)} have other heads of {name}")
        if ours.digest(object_id) != theirs.digest(object_id):
            raise InvariantBroken("I-01", f"{_names(one, other)} have another state of {name}")


def _check_shown(one: Site, other: Site) -> None:
    ours, theirs = one.node.view, other.node.view
    for model, object_id in ours.objects(removed=True):
        vetoes, others = (
            {each.event: each.veto for each in view.withheld(object_id)} for view in (ours, theirs)
        )
        for event_id in sorted(vetoes.keys() ^ others.keys()):
            who, veto = (one, vetoes[event_id]) if event_id in vetoes else (other, others[event_id])
            if _is_void(who, object_id, event_id):
                continue  # it would show nothing anyhow, and not everybody has it (REC-1)
            by = f"{veto.guard} ({veto.reason})" if veto else "a guard that was not asked"
            raise InvariantBroken(
                "I-08",
                f"of {_names(one, other)} only {who.number} refuses event {short(event_id)} of "
                f"{model}:{short(object_id)}...: {by}",
            )
        if ours.view_digest(object_id) != theirs.view_digest(object_id):
            what = f"{_names(one, other)} show another {model}:{short(object_id)}..."
            raise InvariantBroken("I-08", what)


def _is_void(site: Site, object_id: bytes, event_id: bytes) -> bool:
    logged = site.node.view.history(object_id)
    return any(each.event.id == event_id and each.flags & VOID for each in logged)


def _first_difference(one: Site, other: Site) -> str:
    ours, theirs = (dict(_raw(site)) for site in (one, other))
    for number, mine, others in ((one.number, ours, theirs), (other.number, theirs, ours)):
        for raw in mine.keys() - others.keys():
            return f"other events of {mine[raw]}: {len(mine.keys() - others.keys())} only {number}"
    return "the same events and judge them differently"


def _raw(site: Site) -> Iterable[tuple[bytes, str]]:
    return ((raw, model) for model, raw in site.events())


def _names(one: Site, other: Site) -> str:
    return f"nodes {one.number} and {other.number}"


def check_replay(site: Site) -> None:
    """Return if what a node holds is what its events make, judged and folded from nothing.

    Raises:
        InvariantBroken: it is not; the message names the first row that differs.
    """
    rows = site.disk.rows
    report = audit(rows)
    if not report.ok:
        raise InvariantBroken("I-05", f"node {site.number}: {report.findings[0]}")
    if View(rows).digest_all() != report.digest:
        raise InvariantBroken("I-05", f"node {site.number} has another state than its replay")


def check_kept(site: Site) -> None:
    """Return if every event that a node ever had on disk is there.

    Raises:
        InvariantBroken: one is not.
    """
    view = site.node.view
    for event_id in sorted(site.synced):
        if view.raw(event_id) is None:
            what = f"node {site.number} lost event {short(event_id)}..., which it had on disk"
            raise InvariantBroken("I-13", what)
