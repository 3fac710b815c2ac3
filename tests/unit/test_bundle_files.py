"""`export_bundle`, `import_bundle` and `audit`: whole objects in files, all of one or nothing."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import dinemic
from dinemic import bundles
from dinemic.config import Config
from dinemic.keyring import Keyring
from dinemic.node import Node
from dinemic_engine.edits import Set
from dinemic_engine.errors import (
    BundleError,
    NotLaunched,
    StoreError,
    StoreFull,
    UnknownObject,
    Unreadable,
    UsageError,
)
from dinemic_engine.event import Event, sign_event
from dinemic_engine.ids import EventId, db_id
from dinemic_engine.keys import SigningKey
from dinemic_engine.limits import HOLD_US, INERT_EVENTS_MAX
from dinemic_engine.ops import UPDATE
from dinemic_engine.store.memory import MemoryStore
from support.bundles import bundle_of, by_object
from support.graphs import CLERK, OWNER, STRANGER, child, genesis, portable, team
from support.models import Dog, Person
from support.nodes import Ear, FailingStore, acting, exchange, object_id, open_node, opened, trace


def rows(node: Node) -> dict[bytes, bytes]:
    return dict(node._store.scan(b"\0", b"\xff" * 8))


def chain(count: int) -> list[Event]:
    events = [team()]
    for number in range(count):
        events.append(child(events[-1], OWNER, Set("name", number)))
    return events


def put(path: Path, *objects: list[Event]) -> Path:
    path.write_bytes(bundle_of(objects))
    return path


# -- there and back ------------------------------------------------------------------------------


def test_objects_go_from_one_node_to_another(two: tuple[Node, Node], tmp_path: Path) -> None:
    a, b = two
    path = tmp_path / "f"
    with acting(a):
        person, dog = Person([]), Dog([])
        person.name.set("Bob")
        person.salary.set("1234")
        dog.name.set("Rex")
        dog.remove()
        assert dinemic.export_bundle(path) == (2, 6)
    with acting(b):
        assert dinemic.import_bundle(path) == (2, 6, 6)
        there = Person(person.get_db_id())
        assert there.name.get() == "Bob"
        with pytest.raises(Unreadable):
            there.salary.get()
        assert not Dog(dog.get_db_id()).exists()
        assert dinemic.import_bundle(path) == (2, 6, 0)
        assert dinemic.export_bundle(tmp_path / "g") == (2, 6)
    assert (tmp_path / "g").read_bytes() == path.read_bytes()
    assert portable(a._store) == portable(b._store)
    report = dinemic.audit(path)
    assert report.ok
    assert report.digest == a.view.digest_all() == b.view.digest_all()
    assert b.status().admitted == 6


def test_objects_are_named_by_handle_or_id_and_each_is_there_once(
    node: Node, tmp_path: Path
) -> None:
    people = [Person([]) for _ in range(3)]
    several: list[Person | str] = [people[1], people[1].get_db_id()]
    named: list[Person | list[Person | str]] = [several, people[1], [people[1]]]
    for number, names in enumerate(named):
        path = tmp_path / str(number)
        assert dinemic.export_bundle(path, names) == (1, 1)
        raw = node.view.raw(object_id(people[1]))
        assert raw is not None
        assert path.read_bytes() == bundle_of([[raw[1]]])
    assert dinemic.export_bundle(tmp_path / "text", people[2].get_db_id()) == (1, 1)
    assert dinemic.export_bundle(tmp_path / "none", []) == (0, 0)
    assert dinemic.audit(tmp_path / "none").ok


def test_a_bundle_brings_only_what_is_lacking(two: tuple[Node, Node], tmp_path: Path) -> None:
    a, b = two
    with acting(a):
        person = Person([])
        person.name.set("Bob")
    exchange(a, b)
    with acting(a):
        person.name.set("Robert")
        dinemic.export_bundle(tmp_path / "f", [person])
    with acting(b):
        assert dinemic.import_bundle(tmp_path / "f") == (1, 3, 1)
        assert Person(person.get_db_id()).name.get() == "Robert"


def test_void_events_and_their_verdicts_travel_whatever_their_number(
    two: tuple[Node, Node], tmp_path: Path
) -> None:
    first = team()
    revoked = child(first, OWNER, CLERK.revoke(UPDATE))
    unseen = [first]
    for number in range(INERT_EVENTS_MAX + 20):
        unseen.append(child(unseen[-1], CLERK, Set("n", number)))
    held = by_object([*unseen, revoked])
    a, b = two
    for node in two:
        assert bundles.import_into(node, put(tmp_path / "f", *held)).new == len(unseen) + 1
    assert a.status().void + a.status().flipped == len(unseen) - 1
    with acting(a):
        (tmp_path / "f").unlink()
        dinemic.export_bundle(tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == bundle_of(held)
    assert portable(a._store) == portable(b._store)
    assert {each.verdict for each in a.view.history(first.object)} == {"authorized", "void"}


def test_what_waited_for_a_parent_in_the_bundle_is_let_in(node: Node, tmp_path: Path) -> None:
    events = chain(3)
    assert node.ingest(b"peer", [events[3].raw]).waiting == 1
    assert bundles.import_into(node, put(tmp_path / "f", events[:3])) == (1, 3, 3)
    assert node.status().waiting == 0
    assert node.view.raw(events[3].id) is not None


def test_a_model_that_is_not_subscribed_is_taken_all_the_same(tmp_path: Path) -> None:
    with opened(tmp_path / "home", models=("Dog",)) as node:
        assert bundles.import_into(node, put(tmp_path / "f", chain(1))).new == 2
        assert node.view.models() == ["Person"]


def test_what_is_new_is_announced_and_nothing_else(node: Node, tmp_path: Path) -> None:
    events = chain(600)
    node.ingest(b"peer", [event.raw for event in events[:10]])
    ear = Ear(node)
    bundles.import_into(node, put(tmp_path / "f", events))
    assert ear.heard == [event.raw for event in events[10:]]


def test_an_import_is_on_disk_on_return(tmp_path: Path) -> None:
    store = FailingStore()
    node = node_over(store, tmp_path)
    try:
        before = store.flushes
        bundles.import_into(node, put(tmp_path / "f", chain(1)))
        assert store.flushes > before
    finally:
        node.close()


def node_over(store: MemoryStore, home: Path) -> Node:
    config = Config.load({"home": home, "store": "memory"}, {})
    return Node(config, store, Keyring.open(home / "keys", None))


# -- exporting -----------------------------------------------------------------------------------


def test_a_file_that_is_there_is_not_overwritten(node: Node, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("f", "dangling"):
        with pytest.raises(UsageError, match="is there already"):
            dinemic.export_bundle(tmp_path / name)
    assert (tmp_path / "f").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0, 0o644)])
def test_a_bundle_is_readable_as_the_user_wants_files_to_be(
    node: Node, tmp_path: Path, mask: int, mode: int
) -> None:
    before = os.umask(mask)
    try:
        dinemic.export_bundle(tmp_path / "f")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == mode


def test_a_name_of_nothing_exports_nothing(node: Node, tmp_path: Path) -> None:
    person = Person([])
    unknown = db_id("Person", bytes(32))
    for name, error in (
        (unknown, UnknownObject),
        (f"Dog:{person.get_id()}", ValueError),
        (person.get_id(), ValueError),
        ("../../etc/passwd", ValueError),
    ):
        with pytest.raises(error):
            dinemic.export_bundle(tmp_path / "f", [person, name])
    assert not (tmp_path / "f").exists()


def test_a_write_that_fails_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path / "home"):
        Person([])
        target = tmp_path / "out"
        target.mkdir()

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(StoreFull, match="no room left for "):
                dinemic.export_bundle(target / "f")
        assert list(target.iterdir()) == []
        with pytest.raises(StoreError, match="No such file"):
            dinemic.export_bundle(tmp_path / "no" / "f")


def test_without_a_node_nothing_is_exported_or_imported(tmp_path: Path) -> None:
    dinemic.shutdown()
    with pytest.raises(NotLaunched):
        dinemic.export_bundle(tmp_path / "f")
    with pytest.raises(NotLaunched):
        dinemic.import_bundle(put(tmp_path / "f", chain(1)))


def test_an_export_while_others_write_is_a_bundle(node: Node, tmp_path: Path) -> None:
    person = Person([])
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            person.name.set("x")

    writer = threading.Thread(target=write)
    with acting(node):
        writer.start()
        try:
            for number in range(5):
                dinemic.export_bundle(tmp_path / str(number))
        finally:
            done.set()
            writer.join()
    for number in range(5):
        assert dinemic.audit(tmp_path / str(number)).ok


# -- all or nothing ------------------------------------------------------------------------------


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Node]:
    """A node that holds something, and whose objects are not those of the bundles."""
    with opened(tmp_path / "home") as node:
        Dog([]).name.set("Rex")
        yield node


def refusal(node: Node, path: Path) -> BundleError:
    """What an import says that changes nothing."""
    before, counted = rows(node), node.status()
    with pytest.raises(BundleError) as caught:
        bundles.import_into(node, path)
    assert str(caught.value).startswith(f"{path}:")
    assert rows(node) == before
    assert node.status() == counted
    return caught.value


def test_nothing_of_a_bundle_with_any_damage_is_imported(busy: Node, tmp_path: Path) -> None:
    good = bundle_of([chain(1), [genesis(model="Note")]])
    path = tmp_path / "f"
    for size in range(len(good)):
        path.write_bytes(good[:size])
        refusal(busy, path)
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes((good[at] ^ 0x10,)) + good[at + 1 :])
        refusal(busy, path)
    path.write_bytes(good + b"\n")
    refusal(busy, path)
    path.write_bytes(good)
    assert bundles.import_into(busy, path) == (2, 3, 3)


def test_one_refused_event_at_the_end_keeps_all_out_and_is_named(
    busy: Node, tmp_path: Path
) -> None:
    good, other = chain(600), [genesis(model="Note")]
    theirs = child(other[0], STRANGER, Set("text", "Mallory"))
    error = refusal(busy, put(tmp_path / "f", good, [*other, theirs]))
    (finding,) = error.findings
    assert (finding.object, finding.event) == (other[0].object, theirs.id)
    assert "AUTH-5/closed" in str(error)


def test_an_error_counts_the_findings_it_does_not_tell(busy: Node, tmp_path: Path) -> None:
    events = chain(3)
    error = refusal(busy, put(tmp_path / "f", [events[0], events[2], events[3]]))
    assert len(error.findings) == 2
    assert str(error).endswith(": is a parent, and is not there (and 1 more)")


def test_a_bundle_dated_ahead_is_refused_unless_that_is_here_already(
    busy: Node, tmp_path: Path
) -> None:
    key = SigningKey(bytes(31) + b"\x07")
    now = time.time_ns() // 1000
    first = sign_event(key, None, now, (), genesis().ops)
    parents = [EventId(first.id)]
    late = sign_event(key, first.object, now + HOLD_US + 30_000_000, parents, [Set("name", 1)])
    soon = sign_event(key, first.object, now + HOLD_US - 30_000_000, parents, [Set("name", 2)])
    error = refusal(busy, put(tmp_path / "f", [first, soon, late]))
    (finding,) = error.findings
    assert finding.event == late.id
    assert finding.detail.startswith("ORD-4: dated 8")
    assert bundles.import_into(busy, put(tmp_path / "f", [first, soon])).new == 2
    assert busy.import_events([late], late.t) == 1  # as by a clock that was wrong for a while
    assert bundles.import_into(busy, put(tmp_path / "f", [first, soon, late])).new == 0


def test_a_store_that_fails_half_way_leaves_a_part_that_is_closed_and_can_be_completed(
    tmp_path: Path,
) -> None:
    class Filling(FailingStore):
        writes = 0

        def write(self, rows: object) -> None:
            self.writes += 1
            if self.writes == full_at:
                raise StoreFull("no room left")
            super().write(rows)  # type: ignore[arg-type]

    full_at = -1
    store = Filling()
    node = node_over(store, tmp_path)
    events = chain(600)
    try:
        full_at = store.writes + 2
        with pytest.raises(StoreFull):
            bundles.import_into(node, put(tmp_path / "f", events))
        assert node.view.tip().seq == bundles._BATCH_EVENTS
        assert bundles.import_into(node, tmp_path / "f") == (1, 601, 601 - bundles._BATCH_EVENTS)
        assert len(list(node.view.history(events[0].object))) == 601
    finally:
        node.close()


def test_after_a_flush_that_failed_nothing_is_imported(tmp_path: Path) -> None:
    store = FailingStore()
    node = node_over(store, tmp_path)
    try:
        store.failing["flush"] = StoreError("the disk is gone")
        with pytest.raises(StoreError):
            node.flush()
        with pytest.raises(StoreError, match="did not reach the disk"):
            bundles.import_into(node, put(tmp_path / "f", chain(1)))
        assert node.view.tip().seq == 0
    finally:
        store.failing.clear()
        node.close()


def test_a_file_changed_after_it_was_verified_is_refused_where_it_is_another(
    node: Node, tmp_path: Path
) -> None:
    good, theirs = chain(1), child(team(), STRANGER, Set("name", "Mallory"))
    path = put(tmp_path / "f", good)
    forged = replace(good[1], raw=good[1].raw[:-64] + bytes(64))
    for other in ([good[0], theirs], [good[1]], [good[0], forged]):
        with bundles.verified(path) as found:
            put(path, other)
            before = trace(node)
            with pytest.raises(BundleError, match="was changed while it was imported"):
                bundles.admit(node, found)
            assert trace(node) == before
        put(path, good)


def test_a_large_event_makes_a_batch_of_its_own(node: Node, tmp_path: Path) -> None:
    events = [team()]
    for number in range(12):
        events.append(child(events[-1], OWNER, Set("name", bytes([number]) * 1_000_000)))
    batches = list(bundles._batches(event.raw for event in events))
    assert max(sum(map(len, batch)) for batch in batches) < bundles._BATCH_BYTES + (1 << 20)
    assert len(batches) > 2
    assert bundles.import_into(node, put(tmp_path / "f", events)).new == 13


# -- what is no bundle ---------------------------------------------------------------------------


def test_another_file_is_said_to_be_none(busy: Node, tmp_path: Path) -> None:
    path = tmp_path / "f"
    for data in (b"", b"dinemic/bundle/2\n" + bytes(60), bytes(1000)):
        path.write_bytes(data)
        assert refusal(busy, path).findings == ()
        with pytest.raises(BundleError, match=f"^{path}: "):
            dinemic.audit(path)


def test_what_is_no_file_is_said_and_nobody_waits_for_a_pipe(node: Node, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    for name, words in (
        ("none", "No such file"),
        ("pipe", "not a file"),
        ("directory", "Is a dir"),
    ):
        with pytest.raises(StoreError, match=words):
            dinemic.import_bundle(tmp_path / name)
        words = "there is no store" if name == "directory" else words
        with pytest.raises(StoreError, match=words):
            dinemic.audit(tmp_path / name)


def test_nothing_but_the_file_that_was_named_is_touched(node: Node, tmp_path: Path) -> None:
    hole = tmp_path / "a" / "b"
    hole.mkdir(parents=True)
    nasty = [genesis(Set("name", "../../../escaped"), model="Person")]
    before = sorted(tmp_path.rglob("*"))
    path = put(hole / "f", nasty)
    dinemic.audit(path)
    dinemic.import_bundle(path)
    with pytest.raises(BundleError):
        dinemic.import_bundle(put(hole / "f", nasty[:0], chain(2)[1:]))
    path.unlink()
    assert sorted(tmp_path.rglob("*")) == before


# -- audit ---------------------------------------------------------------------------------------


def test_an_audit_takes_a_home_its_store_or_a_bundle(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with opened(home, "rocksdb") as node:
        Person([]).name.set("Bob")
        dinemic.export_bundle(tmp_path / "f")
        node.flush()
        told: list[int] = []
        reports = [
            dinemic.audit(home, told.append),  # beside the node that runs
            dinemic.audit(str(home / "store")),
            dinemic.audit(tmp_path / "f"),
        ]
        assert reports[0].ok
        assert reports[0].events == 2
        assert reports[0] == reports[1] == reports[2]
        assert reports[0].digest == node.view.digest_all()
    assert dinemic.audit(home) == reports[0]


def test_an_audit_of_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store in"):
        dinemic.audit(tmp_path)
    with pytest.raises(StoreError, match="No such file"):
        dinemic.audit(tmp_path / "none")


def test_an_audit_of_a_bundle_tells_its_findings_and_raises_nothing(tmp_path: Path) -> None:
    theirs = child(team(), STRANGER, Set("name", "Mallory"))
    report = dinemic.audit(put(tmp_path / "f", [team(), theirs]))
    assert [each.event for each in report.findings] == [theirs.id]


def test_the_same_objects_may_come_by_bundle_and_by_peer_in_any_order(
    two: tuple[Node, Node], tmp_path: Path
) -> None:
    a, b = two
    events = chain(20)
    put(tmp_path / "f", events)
    a.ingest(b"peer", [event.raw for event in events[:11]])
    bundles.import_into(a, tmp_path / "f")
    bundles.import_into(b, tmp_path / "f")
    assert b.ingest(b"peer", [event.raw for event in events]).duplicate == 21
    assert portable(a._store) == portable(b._store)
    other = open_node(tmp_path / "c")
    try:
        exchange(a, other)
        assert other.view.digest_all() == a.view.digest_all()
    finally:
        other.close()
