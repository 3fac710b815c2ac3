"""The slow replica says what the vectors and the tables of hostile cases say, by itself."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from dinemic_engine.errors import Reason
from dinemic_engine.event import open_envelope_untrusted
from reference import digests, keys
from reference.events import Event, open_event
from reference.opening import Closed, Reader
from reference.replica import Judged, judge
from reference.spelling import read, write
from support import edwards
from support.graphs import NOW, OWNER
from support.hostile_cases import CAST, CLOSED, FLOOD, FREE, HOMES, STANDS, VOID, WAITS, Case
from support.hostile_checks import raws, rows

TESTS: Final = Path(__file__).parents[1]
REPLICA: Final = TESTS / "reference"


def vectors(name: str) -> Any:
    return json.loads((TESTS / "vectors" / name).read_text())


EVENTS: Final = vectors("events.json")
ACCEPTED: Final = [bytes.fromhex(vector["hex"]) for vector in EVENTS["accepted"]]
SEVERAL: Final = {
    "a grant to oneself, and a write by it": {"AUTH-5/access", "AUTH-5/closed"},
}
"""The vectors that break more than the rule they name."""


# -- independence ----------------------------------------------------------------------------------


def imported_by(*names: str) -> set[str]:
    """What these modules of the replica import, and those that they import, and so on."""
    found, todo = set[str](), list(names)
    while todo:
        text = (REPLICA / f"{todo.pop()}.py").read_text()
        new = set[str]()
        for node in ast.walk(ast.parse(text)):
            match node:
                case ast.Import(names=aliases):
                    new |= {each.name for each in aliases}
                case ast.ImportFrom(module="reference", names=aliases):
                    new |= {f"reference.{each.name}" for each in aliases}
                case ast.ImportFrom(module=str(module)):
                    new.add(module)
        todo += [name.removeprefix("reference.") for name in new - found if "reference." in name]
        found |= new
    return found


def test_the_replica_imports_primitives_and_nothing_of_the_library() -> None:
    beside = {name for name in imported_by("replica", "opening") if "reference." not in name}
    assert {name for name in beside if name.partition(".")[0] not in sys.stdlib_module_names} == {
        "cryptography.hazmat.primitives.asymmetric.mlkem",
        "nacl.bindings",
        "nacl.exceptions",
    }


# -- vectors ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judged() -> Judged:
    late = [bytes.fromhex(vector["hex"]) for vector in EVENTS["refused_after_accepted"]]
    return judge([*late, *ACCEPTED[::-1]], int(EVENTS["now"]))


def test_accepted_vectors_are_admitted_with_their_verdicts(judged: Judged) -> None:
    assert {event_id.hex() for event_id in judged.admitted} == {
        vector["id"] for vector in EVENTS["accepted"]
    }
    assert not judged.malformed
    assert not judged.waiting
    for vector in EVENTS["accepted"]:
        event = judged.admitted[bytes.fromhex(vector["id"])]
        obj = judged.objects[event.object]
        said = obj.verdict(event)
        assert ("void" if said.startswith("AUTH-") else said) == vector["verdict"], vector["name"]
        assert (event.id not in obj.counting) == vector["inert"], vector["name"]


def test_refused_vectors_are_refused_for_their_one_reason(judged: Judged) -> None:
    for vector in EVENTS["refused"]:
        part = vector.get("repeat", {"hex": vector.get("hex"), "times": 1})
        broken = open_event(bytes.fromhex(part["hex"]) * part["times"])
        assert isinstance(broken, frozenset)
        assert broken == {vector["reason"]}, vector["name"]
    for vector in EVENTS["refused_after_accepted"]:
        event = open_event(bytes.fromhex(vector["hex"]))
        assert isinstance(event, Event)
        expected = SEVERAL.get(vector["name"], {vector["reason"]})
        assert judged.refused[event.id] == expected, vector["name"]


def test_states_of_the_vectors(judged: Judged) -> None:
    state = EVENTS["state"]
    for each in (state, *(state[name] for name in ("removed", "revoked", "collections", "list"))):
        obj = judged.objects[bytes.fromhex(each["object"])]
        assert digests.digest(obj).hex() == each["digest"]
    for each in (state, state["revoked"]):
        count, wire = judged.fingerprint(each["model"])
        assert {"count": count, "wire": wire.hex()} == each["fingerprint"]
        count, wire = judged.heads_digest(each["model"])
        assert {"count": count, "wire": wire.hex()} == each["heads"]


def test_ev_10_another_envelope_makes_no_other_event(judged: Judged) -> None:
    others = [bytes.fromhex(vector["hex"]) for vector in EVENTS["again"]]
    assert not {*others} & {*ACCEPTED}
    mixed = judge([*others, *ACCEPTED], int(EVENTS["now"]))
    assert mixed.admitted.keys() == judged.admitted.keys()
    assert not mixed.malformed
    assert mixed.digest() == judged.digest()
    for raw, vector in zip(others, EVENTS["again"], strict=True):
        event = open_event(raw)
        assert isinstance(event, Event)
        assert event.id.hex() == vector["id"]


def test_sealed_vectors_open_for_their_readers_and_nobody_else(judged: Judged) -> None:
    assert EVENTS["sealed"]
    for vector in EVENTS["sealed"]:
        event = judged.admitted[bytes.fromhex(vector["event"])]
        obj = judged.objects[event.object]
        register = obj.registers[vector["field"]]
        (placed,) = [each for each in register.writes if each.event is event]
        for name, key in EVENTS["keys"].items():
            public, private = (
                bytes.fromhex(key[each]) for each in ("signing_public", "sealing_private")
            )
            reader = Reader(obj, public, private)
            if name in vector["readers"]:
                assert reader.open(vector["field"], placed.op[2]) == vector["value"]
            else:
                with pytest.raises(Closed):
                    reader.open(vector["field"], placed.op[2])


def test_values_and_their_one_spelling() -> None:
    canonical = vectors("canonical.json")
    for vector in canonical["values"]:
        spelled = bytes.fromhex(vector["bytes"])
        value, broken = read(spelled)
        assert not broken, vector
        assert write(value) == spelled
    for vector in canonical["refused"]:
        assert vector["reason"] in read(bytes.fromhex(vector["bytes"]))[1], vector


def test_odd_signatures_and_keys() -> None:
    for name in ("ed25519_rfc8032", "ed25519_wycheproof", "ed25519_edge_cases"):
        found = vectors(f"{name}.json")
        for vector in found["tests"] if isinstance(found, dict) else found:
            public, signature, data = (
                bytes.fromhex(vector[part]) for part in ("public", "signature", "message")
            )
            signed = keys.is_proper(public) and keys.is_signed(public, signature, data)
            assert signed == edwards.accepts(public, signature, data), vector
    for vector in vectors("x25519_wycheproof.json")["tests"]:
        public = bytes.fromhex(vector["public"])
        fine = vector["canonical"] and not vector["low_order"] and public[31] < 128
        assert keys.is_sealing_key(1, public) == fine, vector


# -- hostile cases ---------------------------------------------------------------------------------


@rows()
def test_hostile_cases_end_as_their_rows_say(case: Case) -> None:
    judged = judge([*raws([*HOMES, *case.log]), *case.judged], NOW)
    obj = judged.objects[case.object]
    for raw, verdict in case.judged.items():
        event_id = open_envelope_untrusted(raw).id
        if isinstance(verdict, Reason):
            broken = judged.malformed.get(raw) or judged.refused[event_id]
            assert verdict.value in broken
        elif verdict == WAITS:
            assert event_id in judged.waiting
        else:
            assert verdict in (STANDS, FREE, VOID, CLOSED, FLOOD)
            said = VOID if verdict == FLOOD else verdict
            assert obj.verdict(judged.admitted[event_id]) == said
    assert (obj.removal is not None) == case.removed


@rows(lambda case: case.shown or case.unreadable)
def test_what_hostile_cases_leave_is_read_by_whom_it_should(case: Case) -> None:
    judged = judge([*raws([*HOMES, *case.log]), *case.judged], NOW)
    obj = judged.objects[case.object]
    for who in (OWNER, *CAST):
        reader = Reader(obj, who.id, who.sealing.private)
        for name, register in obj.registers.items():
            field = name.removeprefix("value_")
            if who in case.unreadable.get(field, ()):
                with pytest.raises(Closed):
                    reader.open(name, register.value)
            elif who is OWNER and field in case.shown:
                assert reader.open(name, register.value) == case.shown[field]
