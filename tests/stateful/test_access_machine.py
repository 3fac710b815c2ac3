"""Three nodes change who may do what at the same time; each shows what the equations say (AUTH).

Owner, two admins-to-be and two members act through the public API on nodes of their own, whatever
their node knows at that moment; nodes meet when the machine says so. The reference judges, for each
node, the events that node holds: verdicts, the value, removal, who holds what, and whether the API
lets a caller act. In the end all meet and show the same (I-01).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

import dinemic
import dinemic.gate
from dinemic_engine.edits import Set
from dinemic_engine.event import Event
from dinemic_engine.ids import parse_db_id_untrusted
from dinemic_engine.ops import ROLES, Epoch, Grant, Remove, Revoke, SetPolicy
from dinemic_engine.ranges import HIGHEST, LOWEST
from reference.authority import Judge, Opening, Plain
from support.figures import Machine
from support.nodes import acting, exchange, object_id, open_node, send

START_US = 1_800_000_000_000_000
HOMES = {"O": 0, "A": 1, "B": 2, "M": 1, "N": 2}
"""Who acts, and on which node."""
OTHERS = "ABMN"


class Person(dinemic.DModel):
    pass


class Doc(dinemic.DModel):
    text = dinemic.DField("text")
    secret = dinemic.DField("secret", True)


class Access(Machine):
    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.now_us = START_US
        self.patch.setattr(dinemic.gate, "_now_us", self.tick)
        self.folder = tempfile.TemporaryDirectory(prefix="dinemic-")
        self.nodes = [open_node(Path(self.folder.name, str(number))) for number in range(3)]
        self.plain: dict[str, Plain] = {}
        self.people: dict[str, Person] = {}
        for who in OTHERS:
            with acting(self.nodes[HOMES[who]]):
                self.people[who] = Person([])
        exchange(*self.nodes)
        with acting(self.nodes[0]):
            self.doc = Doc([])
        self.raw_id = object_id(self.doc)
        self.ids = {who: person.get_db_id() for who, person in self.people.items()}
        owner = self.nodes[0].view.need(self.raw_id)[1].owner
        self.names = {owner: "O"}
        for who, db_id in self.ids.items():
            raw = parse_db_id_untrusted(db_id)[1]
            self.names[self.nodes[0].view.need(raw)[1].owner] = who
        exchange(*self.nodes)

    def tick(self) -> int:
        self.now_us += 7
        return self.now_us

    # -- what the reference sees --------------------------------------------------------------

    def judge(self, number: int) -> Judge:
        """The reference, of the events node `number` holds."""
        events: dict[str, Plain] = {}
        for logged in self.nodes[number].view.history(self.raw_id):
            event = logged.event
            name = event.id.hex()
            if name not in self.plain:
                does = tuple(act for op in event.ops if (act := self.act(event, op)))
                parents = tuple(parent.hex() for parent in event.parents)
                author = self.names[event.author]
                self.plain[name] = Plain(name, author, event.t, event.id, parents, does)
            events[name] = self.plain[name]
        return Judge(events, "O", Opening(False))

    def act(self, event: Event, op: Any) -> tuple[object, ...]:
        match op:
            case Set():
                return ("set", op.field, "")
            case Grant():
                return ("grant", ROLES[op.role], self.names[op.signing])
            case Revoke():
                return ("revoke", ROLES[op.role], self.names[op.signing])
            case SetPolicy():
                return ("policy", Opening(op.policy.is_open, op.policy.fields))
            case Epoch():
                return ("epoch", op.commit.hex())
            case Remove():
                return ("remove",)
        return ()

    # -- acting -------------------------------------------------------------------------------

    def attempt(self, who: str, may: Callable[[Judge], bool], act: Callable[[Any], None]) -> None:
        """Let somebody act by a handle; refused exactly where the reference refuses."""
        number = HOMES[who]
        judge = self.judge(number)
        view = self.nodes[number].view
        with acting(self.nodes[number]):
            handle = Doc(self.doc.get_db_id(), "" if who == "O" else self.ids[who])
            before = view.tip()
            if judge.removed():
                with pytest.raises(dinemic.UnknownObject):
                    act(handle)
            elif may(judge):
                act(handle)
                return
            else:
                with pytest.raises(dinemic.UpdateRejected):
                    act(handle)
            assert view.tip() == before

    def updates(self, judge: Judge, who: str) -> bool:
        return who == "O" or any(judge.held_by(who, role) for role in ("update", "admin"))

    @initialize(team=st.booleans())
    def begin(self, team: bool) -> None:
        if team:
            for who, role in (("A", "admin"), ("B", "admin"), ("M", "update"), ("N", "read")):
                self.change("O", who, role, "append")
            exchange(*self.nodes)

    @rule(who=st.sampled_from("OABMN"), name=st.sampled_from(["text", "text", "secret"]))
    def write(self, who: str, name: str) -> None:
        value = f"{who} {self.now_us}"

        def may(judge: Judge) -> bool:
            return self.updates(judge, who) or (name == "text" and name in judge.opening_now())

        self.attempt(who, may, lambda handle: handle.set(name, value))

    @rule(
        who=st.sampled_from("OOAB"),
        subject=st.sampled_from(OTHERS),
        role=st.sampled_from(["read", "update", "update", "admin"]),
        verb=st.sampled_from(["append", "revoke", "revoke"]),
    )
    def change(self, who: str, subject: str, role: str, verb: str) -> None:
        judge = self.judge(HOMES[who])
        if (judge.held_by(subject, role) is None) == (verb == "revoke"):
            return  # there is nothing to do, and nothing is done
        may = who == "O" or (role != "admin" and judge.held_by(who, "admin") is not None)
        self.attempt(
            who,
            lambda judge: may,
            lambda handle: getattr(handle, f"{verb}_{role}_authorized")(self.ids[subject]),
        )

    @rule(access=st.sampled_from(["open", "closed"]))
    def policy(self, access: Any) -> None:
        judge, fields = self.judge(0), {"text": access}
        if ("text" in judge.opening_now()) == (access == "open"):
            return
        self.attempt("O", lambda judge: True, lambda handle: handle.set_access("closed", fields))

    @rule(who=st.sampled_from("OABMN"), sure=st.integers(0, 9))
    def remove(self, who: str, sure: int) -> None:
        if sure == 0:
            self.attempt(
                who, lambda judge: self.updates(judge, who), lambda handle: handle.remove()
            )

    @rule(source=st.integers(0, 2), to=st.integers(0, 2))
    def meet(self, source: int, to: int) -> None:
        (result,) = send(self.nodes[source], self.nodes[to])
        assert result.invalid == ()

    # -- what must hold -----------------------------------------------------------------------

    @invariant()
    def every_node_shows_what_the_equations_say(self) -> None:
        for number, node in enumerate(self.nodes):
            judge = self.judge(number)
            for logged in node.view.history(self.raw_id):
                assert (logged.verdict != "void") == judge.stands(logged.event.id.hex())
            removed = judge.removed()
            assert bool(node.view.need(self.raw_id)[1].removed_by) == removed
            with acting(node):
                handle = Doc(self.doc.get_db_id())
                writes = [] if removed else judge.writes("text")
                reading = node.view.read(self.raw_id, "value_text")
                assert (reading.event.hex() if reading else None) == (
                    writes[-1] if writes else None
                )
                for who, db_id in self.ids.items():
                    for role in ("read", "admin"):
                        held = judge.held_by(who, role) is not None
                        assert getattr(handle, f"is_{role}_authorized")(db_id) == held
                    assert handle.is_update_authorized(db_id) == self.updates(judge, who)

    def teardown(self) -> None:
        try:
            for _ in range(3):
                exchange(*self.nodes)
            self.every_node_shows_what_the_equations_say()
            shown = [
                (
                    node.view.digest_all(),
                    node.view.heads(self.raw_id),
                    node.fingerprint("Doc", LOWEST, HIGHEST),
                    node.view.sealing(self.raw_id),
                    (node.status().waiting, node.status().held),
                )
                for node in self.nodes
            ]
            assert all(each == shown[0] for each in shown[1:])
        finally:
            for node in self.nodes:
                node.close()
            self.folder.cleanup()
            self.patch.undo()


TestAccess = Access.TestCase
TestAccess.settings = settings(
    max_examples=max(settings().max_examples // 5, 1), stateful_step_count=30
)
