"""What tests of hostile cases share: nodes that begin with an honest log, and what must follow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from dinemic.keyring import ObjectKeys
from dinemic.node import Node
from dinemic_engine.errors import Reason
from dinemic_engine.event import Event, open_envelope_untrusted
from dinemic_engine.ids import EventId
from dinemic_engine.limits import INERT_EVENTS_MAX
from dinemic_engine.view import View
from dinemic_transport.arrivals import event_id_untrusted
from support.dict_replica import MODEL
from support.graphs import OWNER, Actor, Site
from support.hostile_access import ACCESS
from support.hostile_cases import FLOOD, FREE, HOMES, STANDS, VOID, WAITS, Case
from support.hostile_sealing import SEALING
from support.nodes import Linked, open_node
from support.session_pair import Announcing, Pair

CASES: Final = {**ACCESS, **SEALING}
PEER: Final = b"p" * 32
ALL: Final = 1 << 30
"""So many are kept of events that were effective when they came, or that somebody imported."""

Make = Callable[..., Node]


def rows(wanted: Callable[[Case], object] = lambda case: True) -> pytest.MarkDecorator:
    """Every row of the tables of which something is so, as `case`."""
    found = {name: case for name, case in CASES.items() if wanted(case)}
    return pytest.mark.parametrize("case", found.values(), ids=found.keys())


def raws(events: Sequence[Event]) -> list[bytes]:
    """The signed bytes of events."""
    return [event.raw for event in events]


@contextmanager
def maker(home: Path) -> Iterator[Make]:
    """Makes nodes that have the homes of the cast, some events, and the keys of some of the cast.

    The owner's keys are those of the case's object: the first argument then is that of the first
    of the events.
    """
    made: list[Node] = []

    def make(events: Sequence[Event], *keys_of: Actor) -> Node:
        made.append(node := open_node(home / str(len(made))))
        outcome = node.ingest(PEER, raws([*HOMES, *events]))
        assert outcome.admitted == len(HOMES) + len(events)
        for who in keys_of:
            subject = events[0].object if who is OWNER else who.subject
            node.keyring.add(subject, ObjectKeys(who.key, who.sealing))
        return node

    try:
        yield make
    finally:
        for node in made:
            node.close()


def said_of(view: View, case: Case) -> dict[EventId, str]:
    """The verdict, or the rule that makes it void, of every event of the object that is there."""
    return {
        logged.event.id: logged.rule.partition(":")[0] or logged.verdict
        for logged in view.history(case.object)
    }


def honest(case: Case) -> View:
    """What the honest log comes to by itself."""
    site = Site()
    site.admit(*HOMES, *case.log)
    return site.view


def check(view: View, case: Case, kept: int = INERT_EVENTS_MAX) -> None:
    """Each hostile event is judged as the row says, and the rest is as if none of them had come.

    `kept` bounds how many inert events of one author are there.
    """
    said, clean = said_of(view, case), honest(case)
    flood = 0
    for raw, verdict in case.judged.items():
        event_id = open_envelope_untrusted(raw).id
        found = said.pop(event_id, None)
        if verdict == FLOOD:
            assert found in (VOID, None)
            flood += found is not None
        elif isinstance(verdict, Reason) or verdict == WAITS:
            assert found is None
            assert view.raw(event_id) is None
        else:
            assert found == verdict
    assert flood == min(kept, list(case.hostile.values()).count(FLOOD))
    assert said == said_of(clean, case), "what honest people did is as it was"
    if not {STANDS, FREE} & set(case.hostile.values()):
        assert view.digest_all() == clean.digest_all()
        assert view.fingerprint(MODEL) == clean.fingerprint(MODEL)
    assert bool(view.need(case.object)[1].removed_by) == case.removed


def connect(small: Announcing, large: Announcing) -> Pair[Announcing, Announcing]:
    """Two replicas of signed events, linked by sessions."""
    return Pair(small, large, event_id_untrusted)


def meets(node: Node, other: Node) -> None:
    """Two honest nodes meet: they end equal, and neither has anything to blame the other for."""
    one, two = Linked(node), Linked(other)
    pair = connect(one, two)
    pair.run(5)
    assert pair.synced
    assert (one.refused, two.refused) == ({}, {})
    assert min(end.session.score.at(pair.now) for end in (pair.small, pair.large)) >= 0
    assert node.view.digest_all() == other.view.digest_all()
    assert node.view.fingerprint(MODEL) == other.view.fingerprint(MODEL)
