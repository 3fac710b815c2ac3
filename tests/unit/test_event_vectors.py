"""The published vectors: every node accepts, refuses and concludes exactly this."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import random
from typing import Any

import pytest

from dinemic_engine import sealing
from dinemic_engine.canonical import Sealed
from dinemic_engine.collections_view import Collections
from dinemic_engine.edits import Set
from dinemic_engine.errors import InvalidEvent, Reason
from dinemic_engine.event import open_event_untrusted, sign_event
from dinemic_engine.ids import AuthorId
from dinemic_engine.keys import SealingKey, SigningKey
from dinemic_engine.ledger import Ledger
from dinemic_engine.outcomes import Admitted, Orphan, Refused
from dinemic_engine.ranges import Fingerprint
from dinemic_engine.store.memory import MemoryStore
from dinemic_engine.view import View
from support import event_bytes
from vectors import accepted_events, batched_events, make_events, refused_events


@functools.cache
def vectors() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(make_events.FILE.read_text("utf-8"))
    return found


def raw_of(vector: dict[str, Any]) -> bytes:
    if "repeat" in vector:
        return bytes.fromhex(vector["repeat"]["hex"]) * int(vector["repeat"]["times"])
    return bytes.fromhex(vector["hex"])


def cases(section: str) -> list[Any]:
    return [pytest.param(vector, id=vector["name"]) for vector in vectors()[section]]


def as_json(value: object) -> object:
    match value:
        case bytes():
            return {"$bytes": value.hex()}
        case float():
            return {"$float": repr(value)}
        case int() if abs(value) >= 1 << 53:
            return {"$int": str(value)}
        case Sealed(epoch, salt, ciphertext):
            parts = {"epoch": epoch, "salt": salt, "ciphertext": ciphertext}
            return {"$sealed": {name: part.hex() for name, part in parts.items()}}
        case list() | tuple():
            return [as_json(item) for item in value]
        case dict():
            return {key: as_json(item) for key, item in value.items()}
    return value


def admit_all() -> tuple[Ledger, View]:
    store = MemoryStore()
    ledger, view = Ledger(store), View(store)
    for vector in vectors()["accepted"]:
        proposal = ledger.prepare([open_event_untrusted(raw_of(vector))], vectors()["now"])
        ledger.accept(proposal)
        (outcome,) = proposal.outcomes
        assert isinstance(outcome, Admitted), (vector["name"], outcome)
    has_their_verdicts(view)
    return ledger, view


def has_their_verdicts(view: View) -> None:
    judged = {
        logged.event.id.hex(): logged.verdict
        for _, object_id in view.objects(removed=True)
        for logged in view.history(object_id)
    }
    assert judged == {vector["id"]: vector["verdict"] for vector in vectors()["accepted"]}
    counted = {
        event_id.hex()
        for model in view.models()
        for _, event_id in view.range_keys(model, (0, b""), (1 << 63, b""), 1 << 20)
    }
    assert counted == {v["id"] for v in vectors()["accepted"] if not v["inert"]}


def test_the_file_is_what_its_generator_writes() -> None:
    assert make_events.build() == vectors()


def test_the_generator_shares_no_code_with_the_engine() -> None:
    for module in (make_events, accepted_events, batched_events, refused_events, event_bytes):
        assert "dinemic_engine" not in inspect.getsource(module)


@pytest.mark.parametrize("vector", cases("accepted"))
def test_an_accepted_event_reads_as_described(vector: dict[str, Any]) -> None:
    event = open_event_untrusted(raw_of(vector))
    assert {
        "id": event.id.hex(),
        "object": event.object.hex(),
        "author": event.author.hex(),
        "t": event.t,
        "parents": [parent.hex() for parent in event.parents],
        "ops": [as_json(op.fields()) for op in event.ops],
    } == {key: vector[key] for key in ("id", "object", "author", "t", "parents", "ops")}


@pytest.mark.parametrize("vector", cases("again"))
def test_ev_10_an_accepted_event_in_another_envelope_reads_the_same(vector: dict[str, Any]) -> None:
    (first,) = [each for each in vectors()["accepted"] if each["name"] == vector["name"]]
    event, known = open_event_untrusted(raw_of(vector)), open_event_untrusted(raw_of(first))
    assert event.raw != known.raw
    assert event.id.hex() == vector["id"] == first["id"]
    assert dataclasses.replace(event, raw=known.raw) == known


@pytest.mark.parametrize("vector", cases("refused"))
def test_a_refused_event_is_refused_for_its_reason(vector: dict[str, Any]) -> None:
    with pytest.raises(InvalidEvent) as caught:
        open_event_untrusted(raw_of(vector))
    assert caught.value.reason.value == vector["reason"]


def test_events_are_refused_in_context_for_their_reason() -> None:
    ledger, view = admit_all()
    before = view.digest_all()
    for vector in vectors()["refused_after_accepted"]:
        event = open_event_untrusted(raw_of(vector))
        (outcome,) = (proposal := ledger.prepare([event], vectors()["now"])).outcomes
        assert isinstance(outcome, Refused), vector["name"]
        assert outcome.error.reason.value == vector["reason"], vector["name"]
        assert not proposal.rows.rows, "a refused event leaves nothing to write"
        ledger.accept(proposal)
    assert view.digest_all() == before


def test_every_reason_is_reached_by_a_vector() -> None:
    reached = {
        vector["reason"]
        for section in ("refused", "refused_after_accepted")
        for vector in vectors()[section]
    }
    assert reached == {reason.value for reason in Reason}


def as_vector(fingerprint: Fingerprint) -> dict[str, Any]:
    return {"count": fingerprint.count, "wire": fingerprint.wire().hex()}


def test_the_state_the_accepted_events_come_to() -> None:
    _, view = admit_all()
    state = vectors()["state"]
    object_id = bytes.fromhex(state["object"])
    reading = view.read(object_id, "value_name")
    assert reading is not None
    assert reading.value == state["name"]
    assert len(view.conflicts(object_id, "value_name")) == state["conflicting_names"]
    assert view.digest(object_id).hex() == state["digest"]
    removed = bytes.fromhex(state["removed"]["object"])
    assert view.digest(removed).hex() == state["removed"]["digest"]
    assert view.keys(removed) == []
    assert as_vector(view.fingerprint(state["model"])) == state["fingerprint"]
    assert as_vector(view.totals(state["model"]).heads) == state["heads"]


def test_what_revocations_and_policies_make_of_the_events_of_one_object() -> None:
    _, view = admit_all()
    state = vectors()["state"]["revoked"]
    object_id = bytes.fromhex(state["object"])
    fields = {key.removeprefix("value_"): view.read(object_id, key) for key in view.keys(object_id)}
    assert {name: reading and reading.value for name, reading in fields.items()} == state["fields"]
    assert view.digest(object_id).hex() == state["digest"]
    assert as_vector(view.fingerprint(state["model"])) == state["fingerprint"]
    assert as_vector(view.totals(state["model"]).heads) == state["heads"]


def test_what_the_events_of_one_object_make_of_dicts_counters_and_sets() -> None:
    _, view = admit_all()
    state = vectors()["state"]["collections"]
    object_id = bytes.fromhex(state["object"])
    shown = Collections(view.rows)
    entries = {key: reading.value for key, reading in shown.entries(object_id, "dict_prices")}
    sealed = entries.pop("gin")
    assert isinstance(sealed, Sealed)
    assert as_json(entries) == state["prices"]
    assert shown.length(object_id, "dict_prices") == len(entries) + 1
    assert str(shown.total(object_id, "counter_sold")) == state["sold"]
    assert str(shown.total(object_id, "counter_lost")) == state["lost"]
    assert len(list(shown.sealed_adds(object_id, "counter_sold"))) == 1
    values = [member.value for member in shown.members(object_id, "set_tags")]
    plain = [as_json(value) for value in values if not isinstance(value, Sealed)]
    assert sorted(map(repr, plain)) == sorted(map(repr, state["tags"]))
    assert shown.length(object_id, "set_tags") == len(values) == len(plain) + 1
    assert view.digest(object_id).hex() == state["digest"]


def test_what_the_events_of_one_object_make_of_a_list() -> None:
    _, view = admit_all()
    state = vectors()["state"]["list"]
    object_id = bytes.fromhex(state["object"])
    shown = Collections(view.rows)
    found = [as_json(item.value) for item in shown.items(object_id, "list_slots")]
    assert found == state["slots"]
    sealed = list(shown.items(object_id, "list_sealed"))
    assert [item.position for item in sealed] == [0, None]
    assert view.digest(object_id).hex() == state["digest"]


def test_verdicts_are_those_of_the_vectors_in_any_order_of_arrival(rng: random.Random) -> None:
    events = [open_event_untrusted(raw_of(vector)) for vector in vectors()["accepted"]]
    digests = {admit_all()[1].digest_all()}
    for _ in range(10):
        store = MemoryStore()
        ledger, view = Ledger(store), View(store)
        waiting = rng.sample(events, len(events))
        while waiting:
            proposal = ledger.prepare([waiting.pop(0)], vectors()["now"])
            ledger.accept(proposal)
            waiting += [o.event for o in proposal.outcomes if isinstance(o, Orphan)]
        has_their_verdicts(view)
        digests.add(view.digest_all())
    assert len(digests) == 1


def test_sealed_vectors_open_for_their_readers_and_for_nobody_else() -> None:
    _, view = admit_all()
    object_id = bytes.fromhex(vectors()["state"]["object"])
    keys = vectors()["keys"]
    for vector in vectors()["sealed"]:
        reading = view.read(object_id, vector["field"])
        assert reading is not None
        assert reading.event.hex() == vector["event"]
        assert isinstance(reading.value, Sealed)
        epochs = {
            reader: epoch
            for epoch in view.epochs(object_id, reading.value.epoch)
            for reader, _ in epoch.recipients
        }
        assert vector["readers"] == sorted(_name_of(reader) for reader in epochs)
        for name in vector["readers"]:
            author = AuthorId(bytes.fromhex(keys[name]["signing_public"]))
            private = SealingKey(bytes.fromhex(keys[name]["sealing_private"]))
            key = sealing.open_epoch(object_id, epochs[author], author, private)
            assert key.hex() == vector["epoch_key"]
            path = vector["field"].encode()
            opened = sealing.unseal(object_id, path, key, reading.value)
            assert as_json(opened) == vector["value"]


def _name_of(reader: AuthorId) -> str:
    keys: dict[str, dict[str, str]] = vectors()["keys"]
    return next(n for n, key in keys.items() if key["signing_public"] == reader.hex())


def test_the_keys_of_the_vectors_are_what_they_say() -> None:
    for key in vectors()["keys"].values():
        assert SigningKey(bytes.fromhex(key["signing_seed"])).public.hex() == key["signing_public"]
        private = SealingKey(bytes.fromhex(key["sealing_private"]))
        assert private.public.hex() == key["sealing_public"]


def test_what_was_refused_has_no_orphans_of_its_own() -> None:
    """A refused event is as good as unknown: what names it as a parent waits, for ever."""
    ledger, _ = admit_all()
    refused = open_event_untrusted(raw_of(vectors()["refused_after_accepted"][-1]))
    key = SigningKey(bytes.fromhex(vectors()["keys"]["owner"]["signing_seed"]))
    child = sign_event(key, refused.object, refused.t + 1, [refused.id], [Set("a", 1)])
    for batch in ([child], [refused, child], [child, refused]):
        outcomes = {o.event.id: o for o in ledger.prepare(batch, vectors()["now"]).outcomes}
        assert isinstance(outcomes[child.id], Orphan)
