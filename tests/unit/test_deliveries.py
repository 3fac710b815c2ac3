"""The queues of after-callbacks: what is kept, in which order, how long, and what is dropped."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from dinemic import deliveries
from dinemic.actions import DAction
from dinemic.listeners import Cause
from dinemic_engine import canonical
from dinemic_engine.edits import Set
from dinemic_engine.errors import StoreCorrupt, StoreError, StoreFull
from dinemic_engine.store import keyspace, layout
from dinemic_engine.types.change import Change
from support.listening import EVE, FILTER, WITHIN_S, Host, Told, changes_of, write_of


class Stuck(Told):
    """Waits inside its first call until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = threading.Event()
        self.go_on = threading.Event()

    def on_updated(self, object_id: str, field: str, old_value: Any, new_value: Any) -> None:
        self.inside.set()
        assert self.go_on.wait(WITHIN_S)
        super().on_updated(object_id, field, old_value, new_value)


def test_changes_are_told_in_order_and_then_forgotten() -> None:
    host, told = Host(), Told()
    host.listeners.apply(told, FILTER)
    for number in range(100):
        host.set(number, number)
    host.settle()
    assert told.values == list(range(100))
    assert not host.rows(b"n")
    assert host.listeners.status().delivered == 100
    assert host.listeners.status().queued == 0


def test_a_change_waits_in_the_store_until_its_callback_returned() -> None:
    host, stuck = Host(), Stuck()
    host.listeners.apply(stuck, FILTER)
    host.set(1, "one")
    assert stuck.inside.wait(WITHIN_S)
    assert len(host.rows(b"n")) == 1, "a crash now tells it again"
    assert host.listeners.status().queued == 1
    stuck.go_on.set()
    host.settle()
    assert not host.rows(b"n")


def test_what_was_not_told_is_told_by_the_next_process_once_and_before_what_is_new() -> None:
    host = Host()
    host.listeners.apply(Told(), FILTER)
    host.settle()
    host = host.again()  # nobody applied it here yet
    for number in range(5):
        host.set(number, number)
    host = host.again()
    host.set(5, 5)
    assert host.listeners.status().queued == 6
    assert host.listeners.status().away == 1
    told = Told()
    host.listeners.apply(told, FILTER)
    host.set(6, 6)
    host.settle()
    assert told.values == [0, 1, 2, 3, 4, 5, 6]
    assert host.listeners.status()[:3] == (1, 0, 0)
    host = host.again()
    later = Told()
    host.listeners.apply(later, FILTER)
    host.settle()
    assert later.values == []


def test_only_what_a_listener_of_before_has_callbacks_for_is_kept_for_it() -> None:
    class Deletions(DAction):
        def __init__(self) -> None:
            self.seen: list[str] = []

        def on_owned_deleted(self, object_id: str, field: str, value: Any) -> None:
            self.seen.append(field)

    host = Host()
    host.listeners.apply(Deletions(), FILTER)
    host = host.again()
    host.set(1, "an update")
    gone = Change("value_gone", "", canonical.encode(1), None)
    host.show(write_of(2, Set("x", 1)), gone)
    assert host.listeners.status().queued == 0, "the object is not owned here"
    host.mine.add(write_of(2, Set("x", 1)).object)
    host.show(write_of(3, Set("x", 1)), gone)
    deletions = Deletions()
    host.listeners.apply(deletions, FILTER)
    host.settle()
    assert deletions.seen == ["value_gone"]


def test_the_same_class_under_another_filter_is_another_listener() -> None:
    host = Host()
    for text in (FILTER, "Person:*"):
        host.listeners.apply(Told(), text)
    host = host.again()
    host.set(1, 1)
    host.listeners.apply(one := Told(), FILTER)
    host.settle()
    assert one.values == [1]
    assert host.listeners.status().queued == 1


def test_two_of_one_class_and_filter_are_told_apart_by_the_order_they_are_applied() -> None:
    host = Host()
    host.listeners.apply(first := Told(), FILTER)
    host.listeners.apply(second := Told(), FILTER)
    host.set(1, 1)
    host.settle()
    assert first.values == second.values == [1]
    host = host.again()
    host.set(2, 2)
    host.listeners.apply(first := Told(), FILTER)
    host.set(3, 3)
    host.listeners.apply(second := Told(), FILTER)
    host.settle()
    assert first.values == second.values == [2, 3]
    assert host.listeners.status().away == 0


def test_a_listener_under_two_filters_hears_both_in_the_order_things_happened() -> None:
    class Both(DAction):
        def __init__(self) -> None:
            self.seen: list[str] = []

        def on_created(self, object_id: str, key: str) -> None:
            self.seen.append("created")

        def on_updated(self, object_id: str, field: str, old: Any, new: Any) -> None:
            self.seen.append(field)

    host = Host()
    both = Both()
    host.listeners.apply(both, FILTER)
    host.listeners.apply(both, "Person:[id]")
    expected: list[str] = []
    for number in range(60):
        event = write_of(number, Set(f"f{number}", 1))
        host.show(event, Change("", "", None, b""), *changes_of(event))
        expected += ["created", f"value_f{number}"]
    host.settle()
    assert both.seen == expected


def test_what_waits_for_two_filters_of_a_listener_is_read_in_its_order() -> None:
    class Both(Stuck):
        def on_created(self, object_id: str, key: str) -> None:
            self.values.append("created")

    host, both = Host(), Both()
    host.listeners.apply(both, FILTER)
    host.listeners.apply(both, "Person:[id]")
    host.set(0, 0)
    assert both.inside.wait(WITHIN_S)
    for number in range(1, 60):
        host.set(number, number)
    host.show(write_of(60, Set("x", 1)), Change("", "", None, b""))
    both.go_on.set()
    host.settle()
    assert both.values == [*range(60), "created"]


def test_revoking_drops_what_waits_and_keeps_nothing_for_later() -> None:
    host, stuck = Host(), Stuck()
    host.listeners.apply(stuck, FILTER)
    for number in range(3000):
        host.set(number, number)
    assert stuck.inside.wait(WITHIN_S)
    host.listeners.revoke(stuck, FILTER)
    stuck.go_on.set()
    host.settle()
    assert stuck.values == [0], "the call that ran ended"
    assert not host.rows(b"n")
    assert not host.rows(b"l")
    assert not host.listeners.watching
    host.set(9, 9)
    assert not host.rows(b"n")


def test_revoking_one_that_is_not_applied_forgets_those_of_its_class_from_before() -> None:
    host = Host()
    host.listeners.apply(Told(), FILTER)
    host.listeners.apply(Told(), FILTER)
    host.listeners.apply(Told(), "*")
    host = host.again()
    host.set(1, 1)
    host.listeners.revoke(Told(), FILTER)
    assert [layout.unpack_u32(key[1:]) for key in host.rows(b"l")] == [3]
    assert len(host.rows(b"n")) == 1
    host.listeners.revoke(Told(), "no such: filter")


def test_what_a_process_that_ended_while_revoking_left_is_swept() -> None:
    host = Host()
    host.listeners.apply(Told(), FILTER)
    host = host.again()
    host.set(1, 1)
    host.write_rows(dict.fromkeys(host.rows(b"l")))
    assert host.rows(b"n")
    host = host.again()
    assert not host.rows(b"n")


def test_beyond_the_bound_the_oldest_are_dropped_and_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(deliveries, "QUEUED_AWAY_MAX", 10)
    host = Host()
    host.listeners.apply(Told(), FILTER)
    host = host.again()
    for number in range(25):
        host.set(number, number)
    assert host.listeners.status().queued == len(host.rows(b"n")) == 10
    assert host.listeners.status().dropped == 15
    host = host.again()
    told = Told()
    with caplog.at_level(logging.WARNING):
        host.listeners.apply(told, FILTER)
    assert "15" in caplog.text
    host.settle()
    assert told.values == list(range(15, 25))
    caplog.clear()
    host = host.again()
    with caplog.at_level(logging.WARNING):
        host.listeners.apply(Told(), FILTER)
    assert not caplog.records, "it was said once"


def test_what_was_said_to_be_dropped_is_not_counted_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(deliveries, "QUEUED_AWAY_MAX", 10)
    monkeypatch.setattr(deliveries, "QUEUED_MAX", 10)
    host = Host()
    host.listeners.apply(Stuck(), FILTER)
    host = host.again()
    for number in range(15):
        host.set(number, number)
    stuck = Stuck()
    host.listeners.apply(stuck, FILTER)
    assert stuck.inside.wait(WITHIN_S)
    for number in range(3):
        host.set(20 + number, number)
    stuck.go_on.set()
    host.settle()
    host = host.again()
    with caplog.at_level(logging.WARNING):
        host.listeners.apply(Stuck(), FILTER)
    assert "oldest 3 changes" in caplog.text
    assert "oldest 8 changes" not in caplog.text


def test_one_batch_with_more_than_the_bound_keeps_its_newest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deliveries, "QUEUED_AWAY_MAX", 10)
    host = Host()
    host.listeners.apply(Told(), FILTER)
    host = host.again()
    host.set(0, "before")
    event = write_of(1, *[Set(f"f{number}", number) for number in range(30)])
    host.show(event)
    assert host.listeners.status()[2:] == (10, 0, 0, 21, 0)
    told = Told()
    host.listeners.apply(told, FILTER)
    host.settle()
    assert told.values == list(range(20, 30))


def test_one_that_hangs_is_dropped_from_too_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(deliveries, "QUEUED_MAX", 10)
    host, stuck = Host(), Stuck()
    host.listeners.apply(stuck, FILTER)
    host.set(0, 0)
    assert stuck.inside.wait(WITHIN_S)
    with caplog.at_level(logging.WARNING):
        for number in range(1, 30):
            host.set(number, number)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    stuck.go_on.set()
    host.settle()
    assert stuck.values == [0, *range(20, 30)]
    assert host.listeners.status().queued == 0


def test_a_batch_that_was_not_written_leaves_no_trace() -> None:
    host, told = Host(), Told()
    host.listeners.apply(told, FILTER)
    host.failing = StoreFull("no room")
    with pytest.raises(StoreFull):
        host.set(1, "lost")
    host.failing = None
    assert host.listeners.status().queued == 0
    host.set(2, "kept")
    host.settle()
    assert told.values == ["kept"]


def test_applying_what_cannot_be_kept_applies_nothing() -> None:
    host, told = Host(), Told()
    host.failing = StoreError("no disk")
    with pytest.raises(StoreError):
        host.listeners.apply(told, FILTER)
    host.failing = None
    host.set(1, 1)
    assert host.listeners.names() == []
    assert not host.rows(b"n")
    host.listeners.apply(told, FILTER)
    host.set(2, 2)
    host.settle()
    assert told.values == [2]


def test_told_and_not_noted_is_not_told_again_in_the_same_process() -> None:
    host, stuck = Host(), Stuck()
    host.listeners.apply(stuck, FILTER)
    host.set(1, 1)
    assert stuck.inside.wait(WITHIN_S)
    host.failing = StoreFull("no room")
    stuck.go_on.set()
    host.settle()
    host.failing = None
    host.set(2, 2)
    host.settle()
    assert stuck.values == [1, 2]


@pytest.mark.parametrize("row", [b"", b"\x80", b"\x83\x00\x00\x00", b"\xff" * 40])
def test_rows_that_are_none_are_an_error_and_never_skipped(row: bytes) -> None:
    host = Host()
    host.listeners.apply(Told(), FILTER)
    host.store.write({keyspace.listener_key(1): row})
    with pytest.raises(StoreCorrupt):
        host.again()


def test_a_broken_delivery_stops_that_listener_and_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    host = Host()
    host.listeners.apply(Told(), FILTER)
    host = host.again()
    host.set(1, 1)
    host.store.write(dict.fromkeys(host.rows(b"n"), b"\x80"))
    told, other = Told(), Told()
    host.listeners.apply(told, FILTER)
    host.listeners.apply(other, FILTER)
    host.set(2, 2)
    host.settle()
    assert (told.values, other.values) == ([], [2])
    assert "StoreCorrupt" in caplog.text


def test_the_largest_change_there_can_be_fits_into_a_row() -> None:
    host, told = Host(), Told()
    host.listeners.apply(told, FILTER)
    event = write_of(1, Set("f" * 128, 1))
    value = canonical.encode(b"\0" * ((1 << 20) - len(event.raw)))
    host.show(event, Change("value_" + "f" * 128, "", value, value))
    (row,) = host.rows(b"n").values()
    assert len(row) <= 2 << 20
    host.settle()


def test_a_batch_of_several_events_is_told_as_one_after_the_other() -> None:
    host, told = Host(), Told()
    host.listeners.apply(told, "Person:*")
    batch = []
    for number in range(20):
        event = write_of(number, Set("name", number), of=EVE)
        cause = Cause("Person", EVE, event.id, True, False, False)
        batch.append((cause, event, changes_of(event)))
    host.show_all(batch)
    host.settle()
    assert told.values == list(range(20))
