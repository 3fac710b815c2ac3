"""A node under strain: a disk that fails, many threads at once, closing under way."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import dinemic
import dinemic.gate
from dinemic.config import Config
from dinemic.keyring import Keyring
from dinemic.node import Node
from dinemic_engine.errors import StoreError, StoreFull
from dinemic_engine.outcomes import Ingested
from support.clocks import BOUND_SECONDS, Clock, wait_until
from support.models import Person, Wall
from support.nodes import FailingStore, acting, exchange, open_node, opened, raw_events, send, trace

PEER = bytes(range(32))


# -- a failing disk ------------------------------------------------------------------------------


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[tuple[Node, FailingStore]]:
    store = FailingStore()
    config = Config.load({"home": tmp_path, "store": "memory", "durability": "sync"}, {})
    node = Node(config, store, Keyring.open(tmp_path / "keys"))
    with acting(node):
        yield node, store
    store.failing.clear()
    node.close()


def test_a_full_disk_is_an_error_and_everything_is_as_before(
    failing: tuple[Node, FailingStore],
) -> None:
    node, store = failing
    p = Person([])
    p.name.set("before")
    p.salary.set("before")
    before, status = trace(node), node.status()
    store.failing["write"] = StoreFull("no room")
    for attempt in (
        lambda: p.name.set("lost"),
        lambda: p.salary.set("lost"),
        p.name.delete,
        p.remove,
        lambda: Person([]),
        lambda: Wall([]),
    ):
        with pytest.raises(StoreFull):
            attempt()
    assert trace(node) == before
    assert node.status() == status
    assert p.name.get() == p.salary.get() == "before"
    assert dinemic.object_list() == dinemic.object_list_owned() == [p.get_db_id()]
    store.failing.clear()
    p.name.set("after")
    p.salary.set("after")
    Wall([])
    assert p.name.get() == p.salary.get() == "after"
    assert [event.verdict for event in p.history()] == ["authorized"] * 5


def test_received_events_that_could_not_be_kept_can_come_again(
    failing: tuple[Node, FailingStore], tmp_path: Path
) -> None:
    node, store = failing
    with opened(tmp_path / "other") as other:
        p = Person([])
        p.name.set("Bob")
        events = raw_events(other)
    store.failing["write"] = StoreFull("no room")
    with pytest.raises(StoreFull):
        node.ingest(PEER, events)
    assert raw_events(node) == []
    store.failing.clear()
    assert node.ingest(PEER, events) == Ingested(2, 0, 0, ())
    assert Person(p.get_db_id()).name.get() == "Bob"


def test_a_failed_flush_stops_authoring_for_good(failing: tuple[Node, FailingStore]) -> None:
    node, store = failing
    p = Person([])
    store.failing["flush"] = StoreError("the disk is gone")
    with pytest.raises(StoreError, match="disk is gone"):
        p.name.set("maybe")
    store.failing.clear()  # a later flush that works says nothing about what was lost
    before = trace(node)
    for attempt in (lambda: p.name.set("more"), lambda: Person([])):
        with pytest.raises(StoreError, match=r"did not reach the disk: .*gone"):
            attempt()
    assert trace(node) == before


def test_a_failed_group_commit_is_told_to_the_next_writer(tmp_path: Path) -> None:
    store = FailingStore()
    config = Config.load({"home": tmp_path, "store": "memory"}, {})
    node = Node(config, store, Keyring.open(tmp_path / "keys"))
    with acting(node):
        p = Person([])
        store.failing["flush"] = StoreError("the disk is gone")
        flushes = store.flushes
        p.name.set("maybe")
        wait_until(lambda: store.flushes > flushes)
        wait_until(lambda: node._gate.flush_failure != "")
        with pytest.raises(StoreError, match="did not reach the disk"):
            p.name.set("more")
        with pytest.raises(StoreError):
            node.flush()
    store.failing.clear()
    node.close()


def test_the_keeper_outlives_a_full_disk(
    failing: tuple[Node, FailingStore], tmp_path: Path, clock: Clock
) -> None:
    node, store = failing
    with opened(tmp_path / "other") as other:
        p = Person([])
        clock.offset_s = 90
        p.name.set("held")
        events = raw_events(other)
    clock.offset_s = 0
    assert node.ingest(PEER, events).waiting == 1
    clock.offset_s = 90
    store.failing["write"] = StoreFull("no room")
    node._gate.wake.set()
    wait_until(lambda: node.status().held == 0)
    store.failing.clear()
    clock.offset_s = 0
    assert node.ingest(PEER, events).waiting == 1, "it comes again, and is held again"
    clock.offset_s = 90
    node._gate.wake.set()
    wait_until(lambda: Person(p.get_db_id()).name.get() == "held")


def test_the_keeper_leaves_the_lock_to_the_writers(tmp_path: Path) -> None:
    """A waiting keeper would slow every write down: it asks for the lock if events are held."""
    store = FailingStore()
    config = Config.load({"home": tmp_path, "store": "memory"}, {})
    node = Node(config, store, Keyring.open(tmp_path / "keys"))
    with node._gate.lock:
        for _ in range(3):
            flushes = store.flushes
            node._gate.wake.set()
            wait_until(lambda before=flushes: store.flushes > before)  # type: ignore[misc]
    node.close()


def test_sync_is_on_disk_before_a_write_returns(failing: tuple[Node, FailingStore]) -> None:
    node, store = failing
    p = Person([])
    for number in range(5):
        flushes = store.flushes
        p.name.set(number)
        assert store.flushes > flushes
    flushes = store.flushes
    node.flush()
    assert store.flushes > flushes


# -- threads -------------------------------------------------------------------------------------

THREADS = 8
ROUNDS = 25


@pytest.fixture
def _many_switches() -> Iterator[None]:
    """Threads change places a thousand times more often than they would."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)


def run_threads(work: Callable[[int], None], count: int = THREADS) -> None:
    """`work(n)` on `count` threads at once; the first error of any is raised."""
    errors: list[BaseException] = []
    begin = threading.Barrier(count)

    def run(number: int) -> None:
        try:
            begin.wait(BOUND_SECONDS)
            work(number)
        except BaseException as error:  # noqa: BLE001 - raised below, in the test's thread
            errors.append(error)

    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND_SECONDS)
        assert not thread.is_alive(), "deadlock"
    if errors:
        raise errors[0]


@pytest.mark.usefixtures("_many_switches")
@pytest.mark.parametrize("store", ["memory", "rocksdb"])
def test_many_threads_write_and_read_without_loss(tmp_path: Path, store: str) -> None:
    node = open_node(tmp_path, store)
    with acting(node):
        shared = Person([])
        own = [Person([]) for _ in range(THREADS)]

    def work(number: int) -> None:
        for step in range(ROUNDS):
            shared.set(f"t{number}", step)
            assert shared.get(f"t{number}") == step
            shared.salary.set([number, step])
            assert isinstance(shared.salary.get(), list)
            own[number].name.set(step)
            assert own[number].name.get() == step
            shared.name.set(number)
            assert shared.name.get() in range(THREADS)

    run_threads(work)
    history = list(shared.history())
    assert len(history) == 1 + 3 * THREADS * ROUNDS
    assert len({event.event_id for event in history}) == len(history)
    assert len(shared.name.conflicts()) == 1, "one lock, one line of events"
    assert all(len(list(p.history())) == 1 + ROUNDS for p in own)
    assert shared.keys() == sorted(["name", "salary", *(f"t{n}" for n in range(THREADS))])
    before = trace(node)[1]
    node.close()
    if store == "rocksdb":
        with opened(tmp_path, "rocksdb") as node:
            assert trace(node)[1] == before


@pytest.mark.usefixtures("_many_switches")
def test_threads_author_and_ingest_at_once(two: tuple[Node, Node]) -> None:
    a, b = two
    with acting(a):
        wall = Wall([])
    send(a, b)
    with acting(b):
        mirror = Wall(wall.get_db_id())

    def work(number: int) -> None:
        for step in range(ROUNDS):
            match number % 4:
                case 0:
                    wall.text.set([number, step])
                case 1:
                    mirror.text.set([number, step])
                case 2:
                    send(a, b)
                case _:
                    send(b, a)

    run_threads(work)
    exchange(a, b)
    assert trace(a)[1] == trace(b)[1]
    assert len(list(wall.history())) == 1 + 4 * ROUNDS
    assert wall.text.get() == mirror.text.get()


def test_objects_can_be_made_on_many_threads(tmp_path: Path) -> None:
    node = open_node(tmp_path)
    made: list[str] = []

    def work(_: int) -> None:
        with acting(node):
            for _ in range(5):
                made.append(Person([]).get_db_id())

    run_threads(work)
    with acting(node):
        assert dinemic.object_list_owned() == sorted(made)
    node.close()


@pytest.mark.parametrize("store", ["memory", "rocksdb"])
def test_closing_under_writers_and_readers_ends_them_with_an_error(
    tmp_path: Path, store: str
) -> None:
    node = open_node(tmp_path, store)
    with acting(node):
        p = Person([])
        p.name.set(0)
    written: list[int] = []

    def work(number: int) -> None:
        if number == 0:
            wait_until(lambda: len(written) > 20)
            node.close()
            return
        for step in range(1_000_000):
            try:
                if number % 2:
                    p.set(f"t{number}", step)
                    written.append(step)
                else:
                    p.name.get()
                    dinemic.node.Node.status(node)
            except (dinemic.NotLaunched, StoreError):
                return
        raise AssertionError("the node was never closed")

    run_threads(work)
    node.close()
    if store == "rocksdb":
        with opened(tmp_path, "rocksdb") as again:
            assert again.view.tip().seq == 2 + len(written), "what returned is there, nothing else"
