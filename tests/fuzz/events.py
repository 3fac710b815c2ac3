"""Targets for events: the bytes of one, and short histories whose signatures are good.

Nearly right bytes of an event have a wrong signature, which hides what else they might do. So the
second target signs: an input is a history as its authors meant it, and each step is signed here.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, Final, cast

from dinemic.intake import Intake
from dinemic.openers import Openers
from dinemic_engine import canonical, limits
from dinemic_engine.audit import audit
from dinemic_engine.canonical import Value
from dinemic_engine.errors import InvalidEvent
from dinemic_engine.event import (
    Event,
    open_envelope_untrusted,
    open_event_untrusted,
    read_event_untrusted,
    sign_together,
)
from dinemic_engine.object_audit import open_at_untrusted
from dinemic_engine.salvage import Remains
from dinemic_engine.store import keyspace
from dinemic_transport.arrivals import event_id_untrusted
from fuzz.target import Target, arguments
from support import event_bytes
from support.event_bytes import envelope, sig_structure
from support.graphs import OWNER, Actor, Site, without_envelopes
from support.hostile_cases import CAST, LOG
from support.hostile_checks import CASES
from vectors import make_events

WRITERS: Final[tuple[Actor, ...]] = (OWNER, *CAST)
STEPS_MAX: Final = 24


# -- one event ----------------------------------------------------------------------------------


def event(data: bytes) -> None:
    """I-04: an event that is let in is the one spelling of its content, at every entrance."""
    remains = Remains()
    try:
        parts = open_envelope_untrusted(data)
    except InvalidEvent as error:
        said = str(error)
        assert _refusal(data) == said
        assert remains._open_untrusted(bytes(45), data) is None
        return
    assert event_id_untrusted(data) == parts.id
    try:
        found = read_event_untrusted(parts, verified=True)
    except InvalidEvent as error:
        said = str(error)
        assert _refusal(data) == said
        return
    key = keyspace.event_key(7, found.t, found.id)
    assert open_at_untrusted(key, data, signed=False) == found
    assert isinstance(open_at_untrusted(bytes(45), data, signed=False), str)
    assert envelope(_payload(found), parts.signature, parts.path or None) == data
    signed = None
    with suppress(InvalidEvent):
        signed = open_event_untrusted(data)
        assert signed == found
    assert remains._open_untrusted(key, data) == signed
    opened = open_at_untrusted(key, data, signed=True)
    assert opened == signed if signed is not None else isinstance(opened, str)
    invalid: list[tuple[int, str]] = []
    good = _INTAKE._open_untrusted([(0, parts), (1, parts)], invalid)
    assert [each for _, each in good.values()] == ([] if signed is None else [signed])
    assert len(invalid) == (2 if signed is None else 0)


_INTAKE: Final = Intake(*cast("tuple[Any, Any, Any, Any]", (None,) * 4), Openers(0))
"""As much of one as opens events; without threads, so that work is counted."""


def _refusal(data: bytes) -> str:
    try:
        open_event_untrusted(data)
    except InvalidEvent as error:
        return str(error)
    raise AssertionError("let in whole, and refused in parts")


def _payload(found: Event) -> bytes:
    object_id = None if found.is_genesis else found.object
    ops = cast("list[Value]", [op.fields() for op in found.ops])
    return canonical.encode(
        [limits.EVENT_VERSION, object_id, found.author, found.t, list(found.parents), ops],
        depth_max=limits.PAYLOAD_DEPTH_MAX,
    )


def _events() -> list[bytes]:
    vectors = json.loads(make_events.FILE.read_text("utf-8"))
    sections = ("accepted", "again", "refused_after_accepted", "refused")
    known = [vector for section in sections for vector in vectors[section]]
    found = [bytes.fromhex(vector["hex"]) for vector in known if "hex" in vector]
    first = LOG[0]
    salt = canonical.Sealed(b"e" * 32, b"s" * 16, b"few")
    wrong: list[Value] = [
        [event_bytes.GRANT, 1, first.object, OWNER.id, [1, "no bytes"]],
        [event_bytes.GRANT, 1, first.object, "no bytes", [1, OWNER.sealing.public]],
        [event_bytes.EPOCH, 1, b"c" * 32, [b"no pair"]],
        [event_bytes.LIST_INSERT, "list_x", None, True, 9, salt],
    ]
    for op in wrong:
        payload: Value = [1, first.object, OWNER.id, first.t + 1, [first.id], [op]]
        found.append(envelope(canonical.encode(payload), bytes(64)))
    return [each for each in found if len(each) <= 1 << 13]


# -- a history ----------------------------------------------------------------------------------

# A step is ``[writer, object, t, parents, ops]``: a writer by number; an object and parents by the
# number of the step that made them, counted from the events of the honest log, or as bytes. An
# object of null begins one.


def history(data: bytes) -> None:
    """I-01, I-05: what is signed is let in or refused, alike in either order, and audits.

    One site gets the events as they were signed, the other those that can be signed together so.
    """
    steps = arguments(data)
    if steps is None:
        return
    made = list(LOG)
    raws: list[bytes] = []
    for step in steps[:STEPS_MAX]:
        raw = _signed(step, made)
        if raw is None:
            return
        raws.append(raw)
        with suppress(InvalidEvent):
            made.append(open_event_untrusted(raw))
    one, other = Site(), Site()
    for site in (one, other):
        site.admit(*LOG)
    for found in made[len(LOG) :]:
        one.ingest([found])
    for found in _together(made[len(LOG) :])[::-1]:
        other.ingest([found])
    for site in (one, other):
        report = audit(site.store)
        assert report.ok, report.findings
    assert without_envelopes(one.portable()) == without_envelopes(other.portable())
    assert one.view.digest_all() == other.view.digest_all()


def _signed(step: Value, made: list[Event]) -> bytes | None:
    """The event that step stands for, None if it stands for none."""
    match step:
        case [int(writer), object_id, t, list(parents), ops]:
            pass
        case _:
            return None
    by = WRITERS[writer % len(WRITERS)]
    known = [_known(parent, made) for parent in parents]
    if all(isinstance(each, bytes) for each in known):
        known.sort()  # as its author would have
    try:
        payload = canonical.encode(
            [limits.EVENT_VERSION, _known(object_id, made), by.id, t, known, ops],
            depth_max=limits.PAYLOAD_DEPTH_MAX,
        )
    except InvalidEvent:
        return None
    return envelope(payload, by.key.sign(sig_structure(payload)))


def _together(events: list[Event]) -> list[Event]:
    """The same, where an author has two or more as many of them as can be under one signature."""
    found = {each.id: each for each in events}
    for by in WRITERS:
        own = [each.raw for each in found.values() if each.author == by.id]
        count = 1 << len(own).bit_length() - 1 if own else 0
        if count > 1:
            for raw in sign_together(by.key, own[:count]):
                again = open_event_untrusted(raw)
                found[again.id] = again
    return list(found.values())


def _known(named: Value, made: list[Event]) -> Value:
    if type(named) is int and 0 <= named < len(made):
        return made[named].id
    return named


def _histories() -> list[bytes]:
    found = []
    for case in CASES.values():
        if len(case.hostile) <= STEPS_MAX:
            steps = _steps([*case.log[len(LOG) :], *(_opened(each) for each in case.hostile)])
            if case.log[: len(LOG)] == LOG:
                found.append(canonical.encode(steps))
    return [each for each in found if len(each) <= 1 << 12]


def _opened(each: Event | bytes) -> Event:
    raw = each if isinstance(each, bytes) else each.raw
    with suppress(InvalidEvent):
        return open_event_untrusted(raw)
    return LOG[-1]  # what is refused for its bytes is the other target's


def _steps(events: list[Event]) -> list[Value]:
    numbers: dict[bytes, int] = {each.id: number for number, each in enumerate([*LOG, *events])}
    writers = {by.id: number for number, by in enumerate(WRITERS)}
    steps: list[Value] = []
    for each in events:
        object_id: Value = None if each.is_genesis else numbers.get(each.object, each.object)
        parents: list[Value] = [numbers.get(parent, parent) for parent in each.parents]
        ops = cast("list[Value]", [op.fields() for op in each.ops])
        steps.append([writers.get(each.author, 0), object_id, each.t, parents, ops])
    return steps


TARGETS: Final = {
    "event": Target(event, _events),
    "history": Target(history, _histories, calls=400_000, calls_per_byte=200),
}
