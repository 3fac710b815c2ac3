"""Three nodes, random callers, random delivery: each node shows what a dict says it must (I-01).

The dict knows every event that was made: what it wrote, who may read it, what its author had seen.
What a node should hold is then the part of what it was sent that is closed under parents, and what
it should show is the last of those writes. No rule of the engine is repeated but these two and who
may do what. Node 0 is on disk and restarts; time is made up, and every node's clock is off.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

import dinemic
import dinemic.gate
from dinemic.node import Node
from dinemic_engine.event import open_event_untrusted
from dinemic_engine.ids import ObjectId
from dinemic_engine.ranges import HIGHEST, LOWEST
from support.figures import Machine
from support.nodes import acting, exchange, object_id, open_node, raw_events

NODES = 3
START_US = 1_800_000_000_000_000
OWNER = -1
"""The caller of a handle that names none."""


class Caller(dinemic.DModel):
    pass


class Shut(dinemic.DModel):
    plain = dinemic.DField("plain")
    secret = dinemic.DField("secret", True)


class Free(dinemic.DModel, access="open"):
    plain = dinemic.DField("plain")


@dataclass
class Made:
    """One event, as its author meant it."""

    key: tuple[int, bytes]
    target: ObjectId
    kind: str
    field: str = ""
    value: Any = None
    readers: frozenset[int] | None = None
    """Callers a sealed value opens for; None: it is not sealed."""
    grants: frozenset[tuple[str, int]] = frozenset()
    """(role, caller) of each grant the event carries."""
    parents: tuple[bytes, ...] = ()


@dataclass
class Thing:
    """One object: its class, the node that owns it."""

    model: type[dinemic.DModel]
    db_id: str
    raw_id: ObjectId
    home: int


@dataclass
class Site:
    """What one node was sent or made, and what of that it must hold."""

    node: Node
    sent: set[bytes] = field(default_factory=set)
    holds: set[bytes] = field(default_factory=set)


INDEX = st.integers(0, NODES - 1)
CALLERS = st.sampled_from([OWNER, *range(NODES)])
PICK = st.integers(0, 1_000)
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(-9, 9), st.text(max_size=5), st.binary(max_size=5)
)


class Nodes(Machine):
    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.now_us = START_US
        self.patch.setattr(dinemic.gate, "_now_us", lambda: self.now_us)
        self.folder = tempfile.TemporaryDirectory(prefix="dinemic-")
        self.sites = [Site(self.open(number)) for number in range(NODES)]
        self.skew_us = [0] * NODES
        self.events: dict[bytes, Made] = {}
        self.things: list[Thing] = []
        self.callers: list[Caller] = []
        for number in range(NODES):
            with self.at(number):
                self.callers.append(Caller([]))
            self.learn(number, object_id(self.callers[-1]), "create")
        exchange(*(site.node for site in self.sites))
        for site in self.sites:
            self.deliver(site, set(self.events))

    def open(self, number: int) -> Node:
        home = Path(self.folder.name, str(number))
        return open_node(home, "rocksdb" if number == 0 else "memory")

    def at(self, number: int) -> AbstractContextManager[None]:
        """A block in which node `number` acts, by its own clock."""
        self.now_us = START_US + len(self.events) * 500 + self.skew_us[number]
        return acting(self.sites[number].node)

    @initialize(skew=st.lists(st.integers(-20_000_000, 20_000_000), min_size=3, max_size=3))
    def set_clocks(self, skew: list[int]) -> None:
        self.skew_us = skew

    # -- what nodes must hold and show --------------------------------------------------------

    def learn(self, number: int, target: ObjectId, kind: str, **meant: Any) -> None:
        """Write down the event a node has just made: the object's one head."""
        site = self.sites[number]
        (head,) = site.node.view.heads(target)
        found = site.node.view.raw(head)
        assert found is not None
        event = open_event_untrusted(found[1])
        assert head not in self.events, "an event was made, and it is new"
        assert set(event.parents) <= site.holds
        self.events[head] = Made((event.t, head), target, kind, parents=event.parents, **meant)
        self.deliver(site, {head})

    def deliver(self, site: Site, ids: set[bytes]) -> None:
        site.sent |= ids
        for event_id in sorted(site.sent - site.holds, key=lambda each: self.events[each].key):
            if site.holds.issuperset(self.events[event_id].parents):
                site.holds.add(event_id)

    def known(self, number: int, thing: Thing) -> list[Made]:
        """The events of an object that a node holds, in order."""
        held = [self.events[each] for each in self.sites[number].holds]
        return sorted((made for made in held if made.target == thing.raw_id), key=lambda m: m.key)

    def stands(self, number: int, thing: Thing) -> bool:
        known = self.known(number, thing)
        return bool(known) and all(made.kind != "remove" for made in known)

    def has(self, number: int, thing: Thing, caller: int, *roles: str) -> bool:
        """Whether a caller holds one of `roles` as far as the node knows; the owner holds all."""
        if caller == OWNER:
            return thing.home == number
        return any(
            (role, caller) in made.grants for made in self.known(number, thing) for role in roles
        )

    def last(self, number: int, thing: Thing, name: str) -> Made | None:
        """The write a node must show for a field."""
        if not self.stands(number, thing):
            return None
        writes = [made for made in self.known(number, thing) if made.field == name]
        return writes[-1] if writes and writes[-1].kind == "set" else None

    # -- doing --------------------------------------------------------------------------------

    def attempt(
        self, number: int, thing: Thing, caller: int, may: bool, act: Callable[[], None]
    ) -> bool:
        """Run `act`; True if it made an event. An error is the right one and leaves no trace."""
        view = self.sites[number].node.view
        before = view.tip()
        expected: type[Exception] | None = None
        if caller not in (OWNER, number):
            expected = dinemic.NotOwned
        elif not self.stands(number, thing):
            expected = dinemic.UnknownObject
        elif not may:
            expected = dinemic.UpdateRejected
        if expected is None:
            act()
            return view.tip() != before
        with pytest.raises(expected):
            act()
        assert view.tip() == before
        return False

    def handle(self, thing: Thing, caller: int) -> Any:
        return thing.model(thing.db_id, "" if caller == OWNER else self.callers[caller].get_db_id())

    @rule(number=INDEX, is_open=st.booleans(), granted=st.sets(INDEX, max_size=2))
    def create(self, number: int, is_open: bool, granted: set[int]) -> None:
        model = Free if is_open else Shut
        with self.at(number):
            made = model([self.callers[each].get_db_id() for each in sorted(granted)])
        thing = Thing(model, made.get_db_id(), object_id(made), number)
        self.things.append(thing)
        grants = frozenset((role, each) for role in ("read", "update") for each in granted)
        self.learn(number, thing.raw_id, "create", grants=grants)

    @precondition(lambda self: self.things)
    @rule(
        number=INDEX,
        pick=PICK,
        caller=CALLERS,
        name=st.sampled_from(["plain", "secret", "loose"]),
        value=VALUES,
    )
    def write(self, number: int, pick: int, caller: int, name: str, value: Any) -> None:
        thing = self.things[pick % len(self.things)]
        may = thing.model is Free or self.has(number, thing, caller, "update", "admin")
        with self.at(number):
            act = self.handle(thing, caller)
            if self.attempt(number, thing, caller, may, lambda: act.set(name, value)):
                readers = None
                if name == "secret" and thing.model is Shut:
                    readers = frozenset(
                        each for each in range(NODES) if self.has(number, thing, each, "read")
                    )
                self.learn(
                    number,
                    thing.raw_id,
                    "set",
                    field=name,
                    value=value,
                    readers=readers,
                )
                assert self.last(number, thing, name) is not None
                if readers is None:
                    assert act.get(name) == value, "one's own write is what one reads"

    @precondition(lambda self: self.things)
    @rule(number=INDEX, pick=PICK, caller=CALLERS, name=st.sampled_from(["plain", "secret"]))
    def delete(self, number: int, pick: int, caller: int, name: str) -> None:
        thing = self.things[pick % len(self.things)]
        may = thing.model is Free or self.has(number, thing, caller, "update", "admin")
        absent = self.stands(number, thing) and self.last(number, thing, name) is None
        with self.at(number):
            act = self.handle(thing, caller)
            if absent:
                before = self.sites[number].node.view.tip()
                act.delete(name)
                assert self.sites[number].node.view.tip() == before
            elif self.attempt(number, thing, caller, may, lambda: act.delete(name)):
                self.learn(number, thing.raw_id, "delete", field=name)

    @precondition(lambda self: self.things)
    @rule(
        number=INDEX,
        pick=PICK,
        caller=CALLERS,
        subject=INDEX,
        role=st.sampled_from(["read", "update", "admin"]),
    )
    def grant(self, number: int, pick: int, caller: int, subject: int, role: str) -> None:
        thing = self.things[pick % len(self.things)]
        may = self.has(number, thing, caller, *(() if role == "admin" else ("admin",)))
        who = self.callers[subject].get_db_id()
        with self.at(number):
            act = getattr(self.handle(thing, caller), f"append_{role}_authorized")
            if self.known(number, thing) and self.has(number, thing, subject, role):
                before = self.sites[number].node.view.tip()
                act(who)
                assert self.sites[number].node.view.tip() == before
            elif self.attempt(number, thing, caller, may, lambda: act(who)):
                self.learn(number, thing.raw_id, "grant", grants=frozenset({(role, subject)}))

    @precondition(lambda self: self.things)
    @rule(number=INDEX, pick=PICK, caller=CALLERS, sure=st.integers(0, 3))
    def remove(self, number: int, pick: int, caller: int, sure: int) -> None:
        thing = self.things[pick % len(self.things)]
        may = self.has(number, thing, caller, "update", "admin")
        if sure == 0:
            with self.at(number):
                act = self.handle(thing, caller).remove
                if self.attempt(number, thing, caller, may, act):
                    self.learn(number, thing.raw_id, "remove")

    @rule(source=INDEX, to=INDEX, rng=st.randoms(use_true_random=False), all_of_it=st.booleans())
    def send(self, source: int, to: int, rng: Any, all_of_it: bool) -> None:
        """Some events, in any order, some of them twice, in batches of any size."""
        events = raw_events(self.sites[source].node)
        rng.shuffle(events)
        if not all_of_it:
            events = events[: rng.randint(0, len(events))]
        events += rng.sample(events, len(events) // 4)
        sent: set[bytes] = {open_event_untrusted(raw).id for raw in events}
        while events:
            size = rng.randint(1, len(events))
            result = self.sites[to].node.ingest(bytes((source,)), events[:size])
            assert result.invalid == ()
            events = events[size:]
        self.deliver(self.sites[to], sent)

    @rule()
    def restart(self) -> None:
        site = self.sites[0]
        before = site.node.view.digest_all()
        site.node.close()
        site.node = self.open(0)  # what waited for its parents is forgotten
        site.sent = set(site.holds)
        assert site.node.view.digest_all() == before

    # -- what must always hold ----------------------------------------------------------------

    @invariant()
    def every_node_holds_what_it_must(self) -> None:
        for site in self.sites:
            assert site.node.view.tip().seq == len(site.holds)

    def check_reads(self, number: int) -> None:
        """Everything one node shows, to each of its callers."""
        with acting(self.sites[number].node):
            listed = sorted(thing.db_id for thing in self.things if self.stands(number, thing))
            assert dinemic.object_list("Shut:*") + dinemic.object_list("Free:*") == [
                *(each for each in listed if each.startswith("Shut")),
                *(each for each in listed if each.startswith("Free")),
            ]
            for thing in self.things:
                for caller in (OWNER, number):
                    handle = self.handle(thing, caller)
                    assert handle.exists() == self.stands(number, thing)
                    for name in ("plain", "secret", "loose"):
                        write = self.last(number, thing, name)
                        if write is None:
                            assert handle.get(name, "absent") == "absent"
                        elif (
                            write.readers is None
                            or caller in write.readers
                            or (caller == OWNER and thing.home == number)
                        ):
                            value = handle.get(name)
                            assert (type(value), value) == (type(write.value), write.value)
                        else:
                            with pytest.raises(dinemic.Unreadable):
                                handle.get(name)
                for each in range(NODES):
                    who = self.callers[each].get_db_id()
                    handle = self.handle(thing, OWNER)
                    assert handle.is_read_authorized(who) == self.has(number, thing, each, "read")
                    assert handle.is_admin_authorized(who) == self.has(number, thing, each, "admin")
                    may = self.has(number, thing, each, "update", "admin")
                    assert handle.is_update_authorized(who) == may

    def teardown(self) -> None:
        try:
            for number in range(NODES):
                self.check_reads(number)
            nodes = [site.node for site in self.sites]
            exchange(*nodes)
            exchange(*nodes)
            for number, site in enumerate(self.sites):
                self.deliver(site, set(self.events))
                self.check_reads(number)
            self.check_equal(nodes)
        finally:
            for site in self.sites:
                site.node.close()
            self.folder.cleanup()
            self.patch.undo()

    def check_equal(self, nodes: list[Node]) -> None:
        """I-01, and once more on disk and reopened."""
        home = Path(self.folder.name, "copy")
        copy = open_node(home, "rocksdb")
        copy.ingest(bytes(32), raw_events(nodes[1])[::-1])
        copy.close()
        copy = open_node(home, "rocksdb")
        try:
            shown = [
                (
                    node.view.digest_all(),
                    [node.view.heads(thing.raw_id) for thing in self.things],
                    [node.fingerprint(name, LOWEST, HIGHEST) for name in node.model_names()],
                    sorted(raw_events(node)),
                    (node.status().waiting, node.status().held),
                )
                for node in (*nodes, copy)
            ]
            assert all(each == shown[0] for each in shown[1:])
        finally:
            copy.close()


TestNodes = Nodes.TestCase
TestNodes.settings = settings(
    max_examples=max(settings().max_examples // 10, 1), stateful_step_count=40
)
