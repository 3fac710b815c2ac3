"""A node signs what it made lately again, together, when it has nothing else to do (EV-10)."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import dinemic
import dinemic.batcher
from dinemic.batcher import BATCH_MAX, BATCH_MIN, LARGE_BYTES
from dinemic.config import Config
from dinemic.keeper import QUIET_S
from dinemic.keyring import Keyring
from dinemic.node import Node
from dinemic.outside import Outside
from dinemic_engine.audit import audit
from dinemic_engine.errors import StoreFull
from dinemic_engine.event import Envelope, open_envelope_untrusted, open_event_untrusted
from support.clocks import wait_until
from support.nodes import FailingStore, acting, open_node, opened, raw_events, send, trace


class Note(dinemic.DModel):
    text = dinemic.DField("text")


class Wall(dinemic.DModel, access="open"):
    text = dinemic.DField("text")


@pytest.fixture
def store() -> FailingStore:
    return FailingStore()


@pytest.fixture
def still(tmp_path: Path, store: FailingStore) -> Iterator[Node]:
    """A node that does nothing by itself; what it makes can be made in the test."""
    config = Config.load({"home": tmp_path, "store": "memory"}, {})
    node = Node(config, store, Keyring.open(tmp_path / "keys"), Outside(threads=False))
    with acting(node):
        yield node
    node.close()


def written(count: int) -> Note:
    """A note of so many events."""
    note = Note([])
    for number in range(count - 1):
        note.text.set(number)
    return note


def envelopes(node: Node) -> list[Envelope]:
    return [open_envelope_untrusted(raw) for raw in raw_events(node)]


def sizes(node: Node) -> Counter[int]:
    """How many events of a node have a signature over so many; 1: of their own."""
    return Counter(1 << (len(each.path) // 32) for each in envelopes(node))


def quietly(node: Node) -> None:
    """What the keeper does when for a while nothing was written."""
    if node.keeper.answer():
        node.keeper.flush()
    node.keeper.sign_together()


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (BATCH_MIN - 1, {1: 3}),
        (BATCH_MIN, {4: 4}),
        (BATCH_MAX, {32: 32}),
        (BATCH_MAX + 23, {32: 32, 16: 16, 4: 4, 1: 3}),
        (2 * BATCH_MAX, {32: 64}),
    ],
)
def test_in_the_largest_batches_that_can_be_filled(
    still: Node, count: int, expected: dict[int, int]
) -> None:
    written(count)
    quietly(still)
    assert sizes(still) == expected


def test_each_author_by_itself(still: Node) -> None:
    notes = [written(1) for _ in range(3)]
    for number, note in itertools.product(range(7), notes):
        note.text.set(number)
    quietly(still)
    assert sizes(still) == {8: 24}
    roots = {each.signature for each in envelopes(still)}
    assert len(roots) == len(notes)


def test_no_id_value_or_digest_changes_and_the_audit_is_clean(
    still: Node, store: FailingStore
) -> None:
    note = written(40)
    ids, before = [each.id for each in envelopes(still)], trace(still)
    quietly(still)
    assert ([each.id for each in envelopes(still)], trace(still)) == (ids, before)
    assert note.text.get() == 38
    report = audit(store)
    assert (report.findings, report.signatures) == ((), 40)


def test_peers_take_them_beside_those_signed_alone(still: Node, tmp_path: Path) -> None:
    note = written(40)
    with opened(tmp_path / "early") as early:
        send(still, early)
        quietly(still)
        with opened(tmp_path / "late") as late:
            (taken,) = send(still, late)
            assert (taken.admitted, taken.invalid) == (40, ())
            (again,) = send(still, early)
            assert (again.admitted, again.duplicate, again.invalid) == (0, 40, ())
            assert sizes(early) == {1: 40}  # the first good envelope stays
            assert sizes(late) == {32: 32, 8: 8}
            assert trace(early)[1] == trace(late)[1] == trace(still)[1]
            assert Note(note.get_db_id()).text.get() == 38


def test_with_the_key_that_signed_them_whoever_has_it(still: Node, tmp_path: Path) -> None:
    alice = written(1)
    wall = Wall([])
    with opened(tmp_path / "other") as other:
        theirs = Wall([])
        send(other, still)
    with acting(still):
        for number in range(BATCH_MIN):
            Wall(wall.get_db_id(), caller_id=alice.get_db_id()).text.set(number)  # by alice
            Wall(theirs.get_db_id()).text.set(number)  # by the node
            wall.text.set(number)  # by the object
    quietly(still)
    batched = [open_event_untrusted(each.raw).author for each in envelopes(still) if each.path]
    assert sorted(Counter(batched).values()) == [4, 4, 4]
    assert still.node_id in batched


def test_few_are_kept_until_there_are_enough(still: Node) -> None:
    note = written(BATCH_MIN - 1)
    quietly(still)
    assert sizes(still) == {1: 3}
    note.text.set("enough")
    quietly(still)
    assert sizes(still) == {4: 4}


def test_of_too_many_the_oldest_stay_alone(still: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dinemic.batcher, "REMEMBERED", 2 * BATCH_MIN)
    for _ in range(3):
        written(BATCH_MIN)
    quietly(still)
    assert sizes(still) == {4: 8, 1: 4}


def test_a_key_that_went_away_signs_nothing(still: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    written(BATCH_MIN)
    monkeypatch.setattr(still.keyring, "get", lambda object_id: None)
    quietly(still)
    assert sizes(still) == {1: 4}


def test_nothing_is_signed_twice(still: Node) -> None:
    note = written(BATCH_MAX)
    quietly(still)
    first = set(raw_events(still))
    for number in range(BATCH_MIN):
        note.text.set(number)
    quietly(still)
    assert first < set(raw_events(still))
    assert sizes(still) == {32: 32, 4: 4}


def test_it_gives_way_to_whoever_writes_and_goes_on_later(still: Node) -> None:
    note = written(BATCH_MAX)
    still.keeper.sign_together()  # before anybody answered that something was written
    assert sizes(still) == {1: 32}
    note.text.set("more")
    quietly(still)
    assert sizes(still) == {32: 32, 1: 1}


def test_what_is_large_stays_alone(still: Node) -> None:
    note = written(BATCH_MIN)
    note.text.set("x" * LARGE_BYTES)
    note.text.set("x" * (LARGE_BYTES - 400))
    quietly(still)
    assert sizes(still) == {4: 4, 1: 2}


def test_a_full_disk_leaves_them_as_they_were(still: Node, store: FailingStore) -> None:
    written(BATCH_MAX)
    before = raw_events(still)
    still.keeper.answer()
    store.failing["write"] = StoreFull("no room")
    still.keeper.sign_together()
    assert raw_events(still) == before
    store.failing.clear()


def test_the_end_of_a_node_counts_as_quiet(tmp_path: Path) -> None:
    with opened(tmp_path, "rocksdb"):
        written(BATCH_MAX)
    with opened(tmp_path, "rocksdb") as node:
        assert sizes(node) == {32: 32}


def test_the_keeper_sees_to_it_when_nothing_was_written_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float | None] = []
    wait = threading.Event.wait

    def watched(event: threading.Event, timeout: float | None = None) -> bool:
        asked.append(timeout)
        return wait(event, timeout and min(timeout, 0.001))

    with opened(tmp_path) as node:
        monkeypatch.setattr(node._gate.wake, "wait", watched.__get__(node._gate.wake))
        written(BATCH_MAX)
        wait_until(lambda: sizes(node) == {32: 32})
    assert QUIET_S in asked


def test_a_restart_forgets_what_was_not_signed_again(tmp_path: Path) -> None:
    node = open_node(tmp_path, "rocksdb")
    with acting(node):
        written(BATCH_MIN - 1)
    node.close()
    with opened(tmp_path, "rocksdb") as again:
        again.keeper.sign_together()
        assert sizes(again) == {1: 3}
