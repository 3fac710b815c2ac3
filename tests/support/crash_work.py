"""What a node does while it is killed, and what must be so when its home is opened again.

A script is a list of names of what `Work` can do. Each acknowledgement is a line of JSON: it says
what the node had answered by then, and so what may not be gone.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import dinemic
from dinemic.config import Config
from dinemic.keyring import Keyring, ObjectKeys
from dinemic.node import Node
from dinemic.outside import Outside
from dinemic.running import acting
from dinemic_engine.audit import audit
from dinemic_engine.edits import Set
from dinemic_engine.event import Event
from dinemic_engine.keys import SigningKey
from dinemic_engine.limits import T_US_MAX
from dinemic_engine.ops import UPDATE
from dinemic_engine.store import Rows, Snapshot, Store
from dinemic_engine.store.rocks import RocksStore
from support.graphs import CLERK, OWNER, T, child, genesis
from support.nodes import object_id

FIELDS = "Person:[id]:*"
VETOED = "Eve"
NAMES = ("Bob", VETOED, "Carol", "Dave")
"""What a peer's object is called, one after the other; guards refuse one of them."""
LOCAL = ("create", "write", "flush", "grant", "seal", "write", "revoke", "seal", "flush", "create")
RECEIVED = ("flips", "flush", "create", "write", "flips", "bring", "flush")
GUARDED = ("listen", "names", "flush", "create", "write", "step", "names")
SYNCED = ("create", "write", "seal", "grant", "revoke", "seal", "together", "write")
SCRIPTS: Final[Mapping[str, tuple[str, ...]]] = {
    "local": LOCAL,
    "received": RECEIVED,
    "guarded": GUARDED,
    "synced": SYNCED,
}
_WRITERS: Final = 3
_T = TypeVar("_T")


class Person(dinemic.DModel):
    name = dinemic.DField("name")
    salary = dinemic.DField("salary", True)


class NoEve(dinemic.DAction):
    """Lets nobody be called Eve; tells whatever it is told."""

    def __init__(self, tell: Callable[[str], object]) -> None:
        self._tell = tell

    def on_update(self, object_id: str, field: str, old_value: Any, new_value: Any) -> None:
        if new_value == VETOED:
            raise PermissionError("no Eve")

    def on_updated(self, object_id: str, field: str, old_value: Any, new_value: Any) -> None:
        if new_value in NAMES:
            self._tell(new_value)


class Steps:
    """Counts what reaches the disk, and kills this process at step `at`: before it, or after."""

    def __init__(self, at: int, *, after: bool) -> None:
        self.count = 0
        self._at = at
        self._after = after
        self._lock = threading.Lock()

    def take(self, step: Callable[[], _T]) -> _T:
        with self._lock:
            self.count += 1
            is_last = self.count == self._at
        if is_last and not self._after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = step()
        if is_last:
            os.kill(os.getpid(), signal.SIGKILL)
        return result


class SteppedStore:
    """A `Store` whose writes and flushes are steps."""

    def __init__(self, store: Store, steps: Steps) -> None:
        self._store = store
        self._steps = steps
        self.get = store.get
        self.get_many = store.get_many
        self.close = store.close

    def scan(
        self, start: bytes, end: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        return self._store.scan(start, end, reverse=reverse)

    def snapshot(self) -> Snapshot:
        return self._store.snapshot()

    def write(self, rows: Rows) -> None:
        self._steps.take(lambda: self._store.write(rows))

    def flush(self) -> None:
        self._steps.take(self._store.flush)


class SteppedKeys:
    """A keyring in which every addition is a step."""

    def __init__(self, keyring: Keyring, steps: Steps) -> None:
        self._keyring = keyring
        self._steps = steps
        self.owned = keyring.owned
        self.get = keyring.get

    @property
    def node_key(self) -> SigningKey:
        return self._keyring.node_key

    def __contains__(self, object_id: object) -> bool:
        return object_id in self._keyring

    def add(self, object_id: bytes, keys: ObjectKeys) -> None:
        self._steps.take(lambda: self._keyring.add(object_id, keys))

    def add_all(self, added: Mapping[bytes, ObjectKeys]) -> None:
        self._steps.take(lambda: self._keyring.add_all(added))


@contextmanager
def working(home: Path, steps: Steps, *, threads: bool = False) -> Iterator[Node]:
    """A node on the real store whose every step towards the disk is counted."""
    config = Config.load({"home": home, "durability": "sync" if threads else "group"}, {})
    home.mkdir(parents=True, exist_ok=True)
    store = RocksStore(home / "store")
    try:
        keys = Keyring.open(home / "keys", None)
        node = Node(
            config, SteppedStore(store, steps), SteppedKeys(keys, steps), Outside(threads=threads)
        )
    except BaseException:
        store.close()
        raise
    try:
        with acting(node):
            yield node
    finally:
        node.close()


class Work:
    """What a script names; `ack` says what has been answered."""

    def __init__(self, node: Node, ack: Callable[[str, Any], object]) -> None:
        self._node = node
        self._ack = ack
        self._mine: list[Person] = []
        self._clerk: Person | None = None
        self._guard = NoEve(lambda name: ack("told", name))

    def run(self, script: Sequence[str]) -> None:
        for name in script:
            getattr(self, name)()
            self.acknowledge("written")

    def acknowledge(self, how: str) -> None:
        tip = self._node.view.tip()
        self._ack(how, [tip.seq, tip.digest.hex()])

    def create(self) -> None:
        self._mine.append(Person([]))
        self._ack("created", object_id(self._mine[-1]).hex())

    def _person(self) -> Person:
        if not self._mine:
            self.create()
        return self._mine[-1]

    def write(self) -> None:
        self._person().name.set(f"name {self._node.view.tip().seq}")

    def seal(self) -> None:
        """A new epoch where the readers changed, and a sealed value."""
        self._person().salary.set(self._node.view.tip().seq)

    def grant(self) -> None:
        self._clerk = self._clerk or Person([])
        self._person().append_read_authorized(self._clerk.get_db_id())

    def revoke(self) -> None:
        self.grant()
        assert self._clerk is not None
        self._person().revoke_read_authorized(self._clerk.get_db_id())

    def flush(self) -> None:
        self._node.keeper.flush()
        self.acknowledge("synced")

    def flips(self) -> None:
        """A peer brings what a clerk wrote, then the revocation that takes its effect away."""
        for batch in clerks_events():
            self._node.ingest(b"p" * 32, [event.raw for event in batch])
            self.acknowledge("written")

    def names(self) -> None:
        """A peer calls its object names that a guard wants to see."""
        self._node.ingest(b"p" * 32, [event.raw for event in named_events()])
        self.acknowledge("written")
        self.step()

    def listen(self) -> None:
        self._guard.apply(FIELDS)  # again: nothing

    def step(self) -> None:
        while self._node.listeners.step():
            pass

    def together(self) -> None:
        """Several threads write at once, each sure of its own when a write returns."""

        def write(number: int) -> None:
            with acting(self._node):
                for count in range(2):
                    self._person().name.set(f"thread {number} {count}")

        writers = [threading.Thread(target=write, args=(number,)) for number in range(_WRITERS)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()

    def bring(self) -> None:
        """A batch of a bundle, all or nothing."""
        root = genesis(CLERK.grant(UPDATE), model="Desk")
        events = [root]
        for number in range(5):
            events.append(child(events[-1], CLERK, Set("tray", number)))
        self._node.import_events(events, T_US_MAX)


def clerks_events() -> list[list[Event]]:
    root = genesis(CLERK.grant(UPDATE))
    seen = child(root, CLERK, Set("name", "seen"))
    unseen = [child(seen, CLERK, Set("name", "unseen"))]
    unseen.append(child(unseen[-1], CLERK, Set("name", "nor this")))
    on_top = child(unseen[-1], OWNER, Set("name", "owner"))
    cut = child(seen, OWNER, CLERK.revoke(UPDATE), t=T + 1000)
    return [[root, seen, unseen[0]], [unseen[1], on_top], [cut]]


def named_events() -> list[Event]:
    events = [genesis(Set("name", NAMES[0]), by=CLERK)]
    for name in NAMES[1:]:
        events.append(child(events[-1], CLERK, Set("name", name)))
    return events


# -- afterwards -----------------------------------------------------------------------------------


def check(home: Path, acks: Sequence[tuple[str, Any]]) -> None:
    """The home opens, holds all that was acknowledged, whole and judged right, and goes on.

    I-02: closed under parents. I-05: as a replay makes it. I-09: everybody is told, once. I-13.
    """
    said: dict[str, list[Any]] = {}
    for kind, value in acks:
        said.setdefault(kind, []).append(value)
    check_log(home / "store", said.get("written", []) + said.get("synced", []))
    with working(home, Steps(0, after=False)) as node:
        owned = node.keyring.owned()
        assert {bytes.fromhex(each) for each in said.get("created", [])} <= owned
        for model, found in node.view.objects():
            _, row = node.view.need(found)
            if row.owner not in (OWNER.id, CLERK.id):
                assert found in owned, f"a {model} is here, and nobody can write to it"
        if "told" in said or any(name.known.name.endswith("NoEve") for name in _listeners(node)):
            _check_told(node, said.get("told", []))
        before = node.view.tip().seq
        Work(node, lambda kind, value: None).run(["create", "write", "seal", "flush"])
        assert node.view.tip().seq > before


def check_log(store: Path, marks: Sequence[Sequence[Any]]) -> int:
    """A store is whole and begins with each (count, running hash); how many events it holds."""
    opened = RocksStore(store)
    try:
        report = audit(opened)
        assert report.findings == ()
        digest, at = bytes(32), {0: bytes(32).hex()}
        for seq, (_, value) in enumerate(opened.scan(b"L", b"M"), 1):
            digest = hashlib.sha256(digest + value).digest()
            at[seq] = digest.hex()
        for seq, mark in marks:
            assert at.get(seq) == mark, (
                f"{seq} events had been acknowledged, {len(at) - 1} are here"
            )
        return report.events
    finally:
        opened.close()


def _listeners(node: Node) -> Sequence[Any]:
    return node.listeners._registry.all()


def _check_told(node: Node, told: list[str]) -> None:
    """All that became visible was told once; the last of it may be told again after a kill."""
    again: list[str] = []
    NoEve(again.append).apply(FIELDS)
    node.ingest(b"p" * 32, [event.raw for event in named_events()])
    while node.listeners.step():
        pass
    counts = Counter(told + again)
    assert set(counts) == set(NAMES) - {VETOED}
    doubled = [name for name, count in counts.items() if count > 1]
    assert len(doubled) <= 1
    assert all(counts[name] == 2 and name == again[0] for name in doubled)


# -- the child ------------------------------------------------------------------------------------


def run(home: Path, script: Sequence[str], at: int, *, after: bool, threads: bool, out: int) -> int:
    """Run a script in this process until it is killed; how many steps there were if it is not."""

    def ack(kind: str, value: Any) -> None:
        os.write(out, json.dumps([kind, value]).encode() + b"\n")

    steps = Steps(at, after=after)
    with working(home, steps, threads=threads) as node:
        Work(node, ack).run(script)
    return steps.count
