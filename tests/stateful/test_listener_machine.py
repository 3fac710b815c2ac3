"""Three nodes with listeners: guards change nothing that is shared, effects are told it all.

Nodes 0 and 1 have the same guards from the beginning, which answer by a hash of their arguments;
node 2 has others, applied and revoked as it comes. Every node has an effect that keeps what it is
told and nothing else. What must hold:

- I-08: nodes with the same events have the same shared digest, whatever their guards say, and nodes
  0 and 1 show the same in the end.
- I-09: each change is told once and in order: the old value is always the one that was told last,
  and what was told adds up to what a handle reads.

Node 0 is on disk and restarts; its guards may come back later than it does. Those of node 1 may
hang for a while, so that what comes in waits. Time is made up.
"""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

import dinemic
import dinemic.gate
from dinemic.node import Node
from dinemic_engine.ids import EventId, ObjectId
from dinemic_engine.ops import ROLES
from dinemic_engine.ranges import HIGHEST, LOWEST
from support.clocks import BOUND_SECONDS
from support.figures import Machine
from support.nodes import acting, exchange, object_id, open_node, raw_events, send

NODES = 3
START_US = 1_800_000_000_000_000
FILTERS = ["Doc:*", "Doc:[id]:*", "Doc:[id]", "Doc:[id]:value_a", "Doc:[id]:list_*"]
KINDS = ["a", "b", "delete", "dict", "list", "set", "counter", "many"]
NUMBER = st.integers(0, NODES - 1)
PICK = st.integers(0, 1_000)
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.integers(-3, 3), st.sampled_from(["", "x", b"", None])
)
ABSENT = "nothing was told"


class Clerk(dinemic.DModel):
    pass


class Doc(dinemic.DModel):
    a = dinemic.DField("a", access="open")
    b = dinemic.DField("b")
    notes = dinemic.DDict("notes", access="open")
    albums = dinemic.DList("albums")
    tags = dinemic.DSet("tags")
    visits = dinemic.DCounter("visits")


class Guard(dinemic.DAction):
    """Rejects some of what it is asked, the same on every node."""

    def __init__(self, salt: int) -> None:
        self.salt = salt
        self.go_on = threading.Event()
        self.go_on.set()

    def _judge(self, *asked: Any) -> None:
        assert self.go_on.wait(BOUND_SECONDS)
        digest = hashlib.sha256(repr((self.salt, *asked)).encode()).digest()
        if digest[0] % 4 == 0:
            raise ValueError(digest.hex())

    def on_create(self, object_id: str, key: str) -> None:
        self._judge("create") if self.salt % 5 == 0 else None

    def on_update(self, object_id: str, field: str, old_value: Any, new_value: Any) -> None:
        self._judge("update", field, *map(_no_id, (old_value, new_value)))

    def on_unauthorized_update(self, *args: Any) -> None:
        assert self.context is not None
        self._judge("stranger", self.context.detached, *map(_no_id, args[1:]))

    def on_delete(self, object_id: str, field: str, value: Any) -> None:
        self._judge("delete", field, _no_id(value))

    def on_remove(self, object_id: str) -> None:
        self._judge("remove")


def _no_id(value: Any) -> Any:
    """A value without what is random: ids of objects."""
    return "id" if isinstance(value, str) and value.startswith("Clerk:") else value


class Odd(Guard):
    """A guard of node 2."""


class Keeps(dinemic.DAction):
    """Keeps the value of everything it is told of; `wrong` is what cannot be."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.shown: dict[tuple[str, str, str], Any] = {}
        self.wrong: list[Any] = []

    def on_created(self, object_id: str, key: str) -> None:
        if object_id in self.made:
            self.wrong.append(("made again", object_id))
        self.made.append(object_id)

    def on_updated(self, object_id: str, field: str, old_value: Any, new_value: Any) -> None:
        self._change(object_id, field, old_value, new_value)

    def on_deleted(self, object_id: str, field: str, value: Any) -> None:
        self._change(object_id, field, value, ABSENT)

    def _change(self, object_id: str, field: str, old: Any, new: Any) -> None:
        assert self.context is not None
        name = object_id, field, self.context.element
        before = self.shown.pop(name, ABSENT)
        if not same(old, "" if before == ABSENT else before) or object_id not in self.made:
            self.wrong.append((name, before, old, new))
        if new != ABSENT:
            self.shown[name] = new

    def of(self, db_id: str, field: str) -> dict[str, Any]:
        """What a field of an object shows, by element."""
        return {
            element: value
            for (of, stored, element), value in self.shown.items()
            if (of, stored) == (db_id, field)
        }


def same(left: Any, right: Any) -> bool:
    return (type(left), left) == (type(right), right)


def ordered(values: Any) -> list[str]:
    return sorted(map(repr, values))


class ListeningNodes(Machine):
    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.now_us = START_US
        self.patch.setattr(dinemic.gate, "_now_us", self.tick)
        self.folder = tempfile.TemporaryDirectory(prefix="dinemic-")
        self.nodes = [self.open(number) for number in range(NODES)]
        self.keeps = [Keeps() for _ in range(NODES)]
        self.guards: list[Guard] = []
        self.filters: list[str] = []
        self.odd: list[tuple[Odd, str]] = []
        self.away = False
        """The guards of node 0 have yet to come back."""
        self.hangs = False
        """Those of node 1 hang."""
        self.docs: list[tuple[str, ObjectId]] = []
        self.clerks: list[str] = []
        for node in self.nodes:
            with acting(node):
                self.clerks.append(Clerk([]).get_db_id())
        exchange(*self.nodes)
        for number in range(NODES):
            self.apply(number, self.keeps[number], "Doc:*")

    def tick(self) -> int:
        self.now_us += 7
        return self.now_us

    def open(self, number: int) -> Node:
        home = Path(self.folder.name, str(number))
        return open_node(home, "rocksdb" if number == 0 else "memory")

    def apply(self, number: int, listener: dinemic.DAction, filter: str) -> None:
        with acting(self.nodes[number]):
            listener.apply(filter)

    @initialize(salts=st.tuples(*[st.integers(0, 99)] * 2), filter=st.sampled_from(FILTERS))
    def have_guards(self, salts: tuple[int, int], filter: str) -> None:
        for number in range(2):
            self.create(number, {0, 1, 2})
        exchange(*self.nodes)
        self.filters = ["Doc:*", filter]
        self.guards = [Guard(salt) for salt in salts for _ in range(2)]
        self.apply_guards(0)
        self.apply_guards(1)

    def apply_guards(self, number: int) -> None:
        for guard, filter in zip(self.guards[number::2], self.filters, strict=True):
            self.apply(number, guard, filter)

    # -- doing --------------------------------------------------------------------------------

    def settle(self) -> None:
        """Wait until everybody was asked and told, but for guards that hang."""
        for number, node in enumerate(self.nodes):
            if not (number == 1 and self.hangs):
                assert node.listeners.drain(BOUND_SECONDS)

    def attempt(self, number: int, act: Callable[[], object]) -> None:
        """Let a node act: an event or none, and an error that says so leaves no trace."""
        node = self.nodes[number]
        self.settle()
        before = node.view.tip()
        with acting(node):
            try:
                act()
            except (dinemic.UpdateRejected, dinemic.UnknownObject):
                assert node.view.tip() == before

    def may_edit(self, number: int) -> bool:
        """Whether an edit would not wait for a guard that hangs."""
        return not (number == 1 and self.hangs)

    def doc(self, pick: int, number: int, as_clerk: bool) -> Doc:
        return Doc(self.docs[pick % len(self.docs)][0], self.clerks[number] if as_clerk else "")

    @rule(number=NUMBER, granted=st.sets(NUMBER, max_size=2), sure=st.integers(0, 3))
    def create_now_and_then(self, number: int, granted: set[int], sure: int) -> None:
        if sure == 0:
            self.create(number, granted)

    def create(self, number: int, granted: set[int]) -> None:
        def act() -> None:
            made = Doc([self.clerks[each] for each in sorted(granted)])
            self.docs.append((made.get_db_id(), object_id(made)))

        if self.may_edit(number):
            self.attempt(number, act)

    @rule(
        number=NUMBER,
        pick=PICK,
        as_clerk=st.booleans(),
        edits=st.lists(
            st.tuples(st.sampled_from(KINDS), VALUES, st.integers(0, 2)), min_size=1, max_size=6
        ),
    )
    def edit(
        self, number: int, pick: int, as_clerk: bool, edits: list[tuple[str, Any, int]]
    ) -> None:
        for each in edits if self.may_edit(number) else []:
            self.attempt(number, partial(self.edit_once, number, pick, as_clerk, *each))

    def edit_once(
        self, number: int, pick: int, as_clerk: bool, kind: str, value: Any, at: int
    ) -> None:
        doc = self.doc(pick, number, as_clerk)
        if kind in ("a", "b"):
            doc.set(kind, value)
        elif kind == "delete":
            (doc.a.delete, doc.b.delete, lambda: doc.notes.delete("k"))[at]()
        elif kind == "dict":
            doc.notes.set("kl"[at % 2], value)
        elif kind == "list":
            self.edit_list(doc, value, at)
        elif kind == "set":
            (doc.tags.add, doc.tags.discard, doc.tags.add)[at](value)
        elif kind == "counter":
            doc.visits.add(at - 1)
        else:
            with doc.transaction():
                doc.a.set(value)
                doc.a.set(at)
                doc.notes.set("k", value)
                doc.albums.append(value)

    @rule(
        owner=st.integers(0, 1),
        clerk=NUMBER,
        edits=st.lists(st.tuples(st.sampled_from(KINDS), VALUES, st.integers(0, 2)), max_size=3),
        reader=NUMBER,
        at_once=st.booleans(),
    )
    def revoke_unseen(
        self,
        owner: int,
        clerk: int,
        edits: list[tuple[str, Any, int]],
        reader: int,
        at_once: bool,
    ) -> None:
        """A clerk writes, a third node sees it, and then that the owner had not when he revoked."""
        if self.hangs:
            return
        for each in [("b", len(edits), 0), *edits]:
            self.attempt(clerk, partial(self.edit_once, clerk, owner, True, *each))
        if at_once:
            send(self.nodes[clerk], self.nodes[reader])
            self.settle()
        self.change_access(owner, owner, False, clerk, "update", True)
        self.change_access(owner, owner, False, clerk, "update", False)
        send(self.nodes[owner], self.nodes[reader])

    @staticmethod
    def edit_list(doc: Doc, value: Any, at: int) -> None:
        length = len(doc.albums)
        if length > at == 1:
            doc.albums.delete(at)
        elif length > at:
            doc.albums.set(at, value)
        else:
            doc.albums.extend([value, at])

    @rule(
        number=NUMBER,
        pick=PICK,
        as_clerk=st.booleans(),
        subject=NUMBER,
        role=st.sampled_from(["read", "update", "admin"]),
        revoke=st.booleans(),
    )
    def change_access(
        self, number: int, pick: int, as_clerk: bool, subject: int, role: str, revoke: bool
    ) -> None:
        def act() -> None:
            doc = self.doc(pick, number, as_clerk)
            word = "revoke" if revoke else "append"
            getattr(doc, f"{word}_{role}_authorized")(self.clerks[subject])

        if self.may_edit(number):
            self.attempt(number, act)

    @rule(number=NUMBER, pick=PICK, as_clerk=st.booleans(), sure=st.integers(0, 3))
    def remove(self, number: int, pick: int, as_clerk: bool, sure: int) -> None:
        if sure == 0 and self.may_edit(number):
            self.attempt(number, lambda: self.doc(pick, number, as_clerk).remove())

    @rule(source=NUMBER, to=NUMBER, rng=st.randoms(use_true_random=False), all_of_it=st.booleans())
    def send(self, source: int, to: int, rng: Any, all_of_it: bool) -> None:
        """Some events, in any order, in batches of any size."""
        events = raw_events(self.nodes[source])
        rng.shuffle(events)
        if not all_of_it:
            events = events[: rng.randint(0, len(events))]
        while events:
            size = rng.randint(1, len(events))
            assert self.nodes[to].ingest(bytes((source,)), events[:size]).invalid == ()
            events = events[size:]

    @rule(at_once=st.booleans())
    def restart(self, at_once: bool) -> None:
        self.settle()
        digest = self.nodes[0].view.digest_all()
        self.nodes[0].close()
        self.nodes[0] = self.open(0)
        assert self.nodes[0].view.digest_all() == digest
        self.apply(0, self.keeps[0], "Doc:*")
        self.away = True
        if at_once:
            self.come_back()

    @precondition(lambda self: self.away)
    @rule()
    def come_back(self) -> None:
        self.away = False
        self.apply_guards(0)

    @rule()
    def hang_or_go_on(self) -> None:
        self.hangs = not self.hangs
        for guard in self.guards[1::2]:
            guard.go_on.clear() if self.hangs else guard.go_on.set()

    @rule(salt=st.integers(0, 99), filter=st.sampled_from(FILTERS))
    def apply_odd(self, salt: int, filter: str) -> None:
        self.odd.append((Odd(salt), filter))
        self.apply(2, *self.odd[-1])

    @precondition(lambda self: self.odd)
    @rule(pick=PICK)
    def revoke_odd(self, pick: int) -> None:
        odd, filter = self.odd.pop(pick % len(self.odd))
        with acting(self.nodes[2]):
            odd.revoke(filter)

    @rule(pick=PICK)
    def lift(self, pick: int) -> None:
        """Have a veto of node 2 judged again."""
        self.settle()
        node = self.nodes[2]
        _, doc = self.docs[pick % len(self.docs)]
        vetoed = []
        if node.view.find(doc) is not None:
            vetoed = [each.event for each in node.view.withheld(doc) if each.veto]
        if vetoed:
            node.lift_veto(vetoed[pick % len(vetoed)])

    # -- what must always hold ----------------------------------------------------------------

    @invariant()
    def what_is_shared_is_equal_where_the_events_are(self) -> None:
        found: dict[object, bytes] = {}
        for node in self.nodes:
            held = tuple(
                (name, node.fingerprint(name, LOWEST, HIGHEST)) for name in node.model_names()
            )
            assert found.setdefault(held, node.view.digest_all()) == node.view.digest_all()

    @invariant()
    def what_was_told_is_what_is_read(self) -> None:
        self.settle()
        for number in range(NODES):
            if self.may_edit(number):
                self.check_told(number)

    def check_told(self, number: int) -> None:
        node, keeps = self.nodes[number], self.keeps[number]
        assert keeps.wrong == []
        with acting(node):
            there = set(dinemic.object_list("Doc:[id]"))
            assert there <= set(keeps.made)
            for db_id, raw_id in self.docs:
                if db_id not in there:
                    continue
                doc = Doc(db_id)
                for name in ("a", "b"):
                    told = keeps.of(db_id, f"value_{name}").get("", ABSENT)
                    assert same(doc.get(name, ABSENT), told)
                assert ordered(keeps.of(db_id, "dict_notes").items()) == ordered(doc.notes.items())
                assert ordered(keeps.of(db_id, "list_albums").values()) == ordered(doc.albums)
                assert ordered(keeps.of(db_id, "set_tags").values()) == ordered(doc.tags)
                assert keeps.of(db_id, "counter_visits").get("", 0) == doc.visits.get()
                for role, word in ROLES.items():
                    holders = node.view.holders(raw_id, role)
                    told = keeps.of(db_id, f"list_{word}_authorized_objects").values()
                    subjects = [self.clerk_of(holder.subject) for holder in holders]
                    assert ordered(told) == ordered(subjects)

    def clerk_of(self, subject: ObjectId) -> str:
        with acting(self.nodes[0]):
            return next(each for each in self.clerks if object_id(Clerk(each)) == subject)

    def teardown(self) -> None:
        try:
            for guard in self.guards:
                guard.go_on.set()
            self.hangs = False
            if self.guards:
                self.finish()
        finally:
            for node in self.nodes:
                node.close()
            self.folder.cleanup()
            self.patch.undo()

    def finish(self) -> None:
        self.apply_guards(0)
        exchange(*self.nodes)
        exchange(*self.nodes)
        self.settle()
        first, second, third = self.nodes
        assert first.view.digest_all() == second.view.digest_all() == third.view.digest_all()
        for _, doc in self.docs:
            if first.view.find(doc) is None:  # its genesis was never made
                continue
            assert first.view.view_digest(doc) == second.view.view_digest(doc)
            both = answers(first, doc).items() & answers(second, doc).items()
            for node in (first, second):
                for event, _ in answers(node, doc).items() - both:
                    other = second if node is first else first
                    assert other.view.raw(event) is None, "void, of no use to anybody (REC-1)"
        for number in range(NODES):
            self.check_told(number)
            assert self.nodes[number].status().listeners.failed == 0


def answers(node: Node, doc: ObjectId) -> dict[EventId, str | None]:
    """The events of an object that have no effect here, each with why."""
    return {each.event: each.veto and each.veto.reason for each in node.view.withheld(doc)}


TestListeningNodes = ListeningNodes.TestCase
TestListeningNodes.settings = settings(
    max_examples=max(settings().max_examples // 10, 1), stateful_step_count=40
)
