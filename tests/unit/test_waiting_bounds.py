"""What waits is bounded, comes out when it can be judged, and never comes out twice (ORD-4, -9)."""

from __future__ import annotations

import dataclasses
import itertools

from dinemic_engine import limits
from dinemic_engine.edits import Set
from dinemic_engine.event import Event
from dinemic_engine.ids import EventId
from dinemic_engine.waiting import Waiting
from support.graphs import OWNER, Site, T, child, genesis

SOURCE, OTHER = b"source", b"other"


def writes(count: int) -> list[Event]:
    first = genesis()
    return [child(first, OWNER, Set("a", n), t=T + 1 + n) for n in range(count)]


def drained(ready: list[tuple[bytes, Event]]) -> list[Event]:
    return [event for _, event in ready]


def test_an_orphan_comes_out_when_its_last_parent_is_there() -> None:
    waiting = Waiting()
    event, one, two = writes(3)
    assert waiting.add_orphan(SOURCE, event, [one.id, two.id])
    assert waiting.arrived([one.id]) == []
    assert waiting.arrived([event.id]) == []
    assert waiting.arrived([two.id]) == [(SOURCE, event)]
    assert waiting.arrived([one.id, two.id]) == []
    assert len(waiting) == 0


def test_both_parents_may_come_at_once() -> None:
    waiting = Waiting()
    event, one, two = writes(3)
    assert waiting.add_orphan(SOURCE, event, [one.id, two.id])
    assert drained(waiting.arrived([one.id, two.id])) == [event]


def test_an_orphan_sent_again_is_kept_once_and_charged_once() -> None:
    waiting = Waiting()
    event, parent = writes(2)
    for source in (SOURCE, OTHER, SOURCE):
        assert waiting.add_orphan(source, event, [parent.id])
    assert waiting.counts() == (1, 0)
    assert drained(waiting.arrived([parent.id])) == [event]


def test_one_source_has_room_for_a_number_of_orphans_and_others_keep_theirs() -> None:
    waiting = Waiting()
    events = writes(limits.ORPHANS_PER_SOURCE_MAX + 1)
    lacking = [bytes(32)]
    kept = [waiting.add_orphan(SOURCE, event, lacking) for event in events]
    assert kept == [True] * limits.ORPHANS_PER_SOURCE_MAX + [False]
    assert waiting.add_orphan(OTHER, events[-1], lacking)
    assert len(drained(waiting.arrived(lacking))) == limits.ORPHANS_PER_SOURCE_MAX + 1
    assert waiting.add_orphan(SOURCE, events[0], lacking), "room again"


def test_held_events_and_orphans_share_the_room_of_a_source() -> None:
    waiting = Waiting()
    events = writes(limits.ORPHANS_PER_SOURCE_MAX + 1)
    for event in events[:-1]:
        assert waiting.hold(SOURCE, event)
    assert not waiting.hold(SOURCE, events[-1])
    assert not waiting.add_orphan(SOURCE, events[-1], [bytes(32)])
    assert len(waiting) == limits.ORPHANS_PER_SOURCE_MAX


def test_the_bytes_of_a_source_and_of_all_sources_are_bounded() -> None:
    waiting = Waiting()
    (one,) = writes(1)
    ids = [EventId(number.to_bytes(32, "big")) for number in range(90)]
    events = [dataclasses.replace(one, id=at, raw=bytes(1_000_000)) for at in ids]
    kept = 0
    for number, event in enumerate(events):
        kept += waiting.add_orphan(b"source %d" % (number // 9), event, [bytes(32)])
    in_one = limits.ORPHAN_BYTES_PER_SOURCE_MAX // len(events[0].raw)
    assert kept * len(events[0].raw) <= limits.ORPHAN_BYTES_MAX
    assert kept == min(in_one * 10, limits.ORPHAN_BYTES_MAX // len(events[0].raw))
    assert not waiting.hold(b"a new source", events[-1])
    assert len(drained(waiting.arrived([bytes(32)]))) == kept
    assert waiting == Waiting()
    assert waiting.hold(b"a new source", events[-1])


def test_room_comes_back_with_each_event_that_goes() -> None:
    waiting = Waiting()
    (one,) = writes(1)
    size = limits.ORPHAN_BYTES_PER_SOURCE_MAX // 2
    for number in range(30):  # two fit; if one that went still counted, the third would not
        event = dataclasses.replace(one, id=EventId(bytes((number,)) * 32), raw=bytes(size))
        assert waiting.add_orphan(SOURCE, event, [bytes((number, 1))])
        assert len(waiting.arrived([bytes((number - 1, 1))] if number else [])) == bool(number)
    assert len(waiting) == 1


def test_forgetting_a_source_keeps_the_order_of_the_rest() -> None:
    waiting = Waiting()
    events = writes(40)
    for number in (3, 1, 4, 15, 9, 2, 6, 5, 35, 8, 7, 32, 38, 0, 28):
        assert waiting.hold((SOURCE, OTHER)[number % 2], events[number])
    waiting.forget(SOURCE)
    left = [event for _, event in waiting.due(T + 10**6)]
    assert left == sorted(left, key=lambda event: event.t)
    assert left == [events[n] for n in (1, 3, 5, 7, 9, 15, 35)]


def test_a_source_that_is_gone_gives_its_room_back() -> None:
    waiting = Waiting()
    events = writes(40)
    for event in events[:10]:
        assert waiting.add_orphan(SOURCE, event, [bytes(32), events[-1].id])
    for event in events[10:20]:
        assert waiting.hold(SOURCE, event)
    for event in events[20:25]:
        assert waiting.add_orphan(OTHER, event, [bytes(32)])
    for event in events[25:30]:
        assert waiting.hold(OTHER, event)
    waiting.forget(SOURCE)
    waiting.forget(b"nobody")
    assert waiting.counts() == (5, 5)
    assert {source for source, _ in waiting.arrived([bytes(32), events[-1].id])} == {OTHER}
    assert {source for source, _ in waiting.due(T + 10**6)} == {OTHER}
    assert waiting == Waiting()


def test_held_events_come_out_in_order_and_not_before_they_are_due() -> None:
    waiting = Waiting()
    events = writes(20)
    for event in reversed(events):
        assert waiting.hold(SOURCE, event)
        assert waiting.hold(OTHER, event), "the same event from two sources is one"
    assert waiting.next_due_us() == events[0].t - limits.HOLD_US
    assert waiting.due(events[0].t - limits.HOLD_US - 1) == []
    assert drained(waiting.due(events[4].t - limits.HOLD_US)) == events[:5]
    assert waiting.next_due_us() == events[5].t - limits.HOLD_US
    assert drained(waiting.due(events[-1].t)) == events[5:]
    assert waiting.next_due_us() is None
    assert waiting == Waiting()


def test_orphans_find_their_place_in_any_order() -> None:
    first = genesis()
    left = child(first, OWNER, Set("a", 1))
    right = child(first, OWNER, Set("a", 2))
    merge = child([left, right], OWNER, Set("a", 3))
    last = child(merge, OWNER, Set("a", 4))
    digests = set()
    for order in itertools.permutations([first, left, right, merge, last]):
        site = Site()
        for event in order:
            site.ingest([event])
        assert site.waiting == Waiting()
        digests.add(site.view.digest_all())
    assert len(digests) == 1


def test_what_waits_is_not_admitted_fingerprinted_or_cited() -> None:
    site = Site()
    first = genesis()
    orphan = child(child(first, OWNER, Set("a", 1)), OWNER, Set("a", 2))
    ahead = child(first, OWNER, Set("a", 3), t=T + 10 * limits.HOLD_US)
    site.ingest([first, orphan, ahead], now=T)
    assert site.waiting.counts() == (1, 1)
    assert site.view.fingerprint("Person").count == 1
    assert site.view.raw(orphan.id) is None
    assert site.view.raw(ahead.id) is None
    draft = site.ledger.draft(first.object, [Set("a", 4)], OWNER.key, T)
    assert draft.parents == (first.id,)
