"""Writes events.json: events every node must accept, and events every node must refuse, and why.

The bytes are made by `support.event_bytes`, which shares no code with the engine. The output is the
same at every run. From the folder above::

    python -m vectors.make_events
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import cbor2

from support.event_bytes import (
    ACTORS,
    ADMIN,
    BOARD,
    COUNTER_ADD,
    DELETE,
    DICT_DELETE,
    DICT_SET,
    EPOCH,
    KEY_1,
    KEY_2,
    LIST_DELETE,
    LIST_INSERT,
    LIST_SET,
    NOTE,
    PERSON,
    POLICY,
    RACK,
    READ,
    REMOVE,
    SALT_1,
    SALT_2,
    SET,
    SET_ADD,
    SET_REMOVE,
    SHELF,
    TEAM,
    UPDATE,
    VAULT,
    Actor,
    T,
    chief,
    clerk,
    create,
    epoch,
    event,
    event_id,
    grant,
    late,
    owner,
    reader,
    revoke,
    sealed,
    sha,
    stranger,
)
from vectors.accepted_events import INERT, accepted
from vectors.batched_events import accepted_together, again, refused_together
from vectors.refused_events import OWN, genesis, refused_by_bytes

FILE: Final = Path(__file__).with_name("events.json")

# -- refused by what the author had seen ---------------------------------------------------------


def refused_in_context(names: dict[str, bytes]) -> dict[str, tuple[str, bytes]]:
    """Name to (reason, signed bytes), judged when all of `accepted` is admitted."""
    values = names["every kind of value"]
    epoch_1 = names["an epoch and a value sealed under it"]
    granted = names["an admin grants"]
    deletion = names["a deletion"]

    def on(actor: Actor, parent: bytes, t: int, *ops: Any) -> bytes:
        return event(actor, PERSON, t, [parent], list(ops))

    closed, access, policy = "AUTH-5/closed", "AUTH-5/access", "AUTH-5/policy"

    def in_team(actor: Actor, parent: str, *ops: Any) -> bytes:
        return event(actor, TEAM, T + 50, [names[parent]], list(ops))

    owner_grant, readers = "AUTH-2/owner", "SEAL-3/readers"
    seal_1 = [SET, "salary", sealed(PERSON, b"value_salary", KEY_1, SALT_2, 2000)]
    target = "TYPE-1/target"
    adds = names["adds to a counter, beyond 64 bits in all, and to a set"]
    unseen = names["an add the remove had not seen"]
    last = names["a sealed dict entry, a sealed add to a counter and one to a set"]

    def remove(*adds: Any, on: bytes = last, before: Any = ()) -> bytes:
        ops = [*before, [SET_REMOVE, "tags", list(adds)]]
        return event(owner, SHELF, T + 50, [on], ops)

    first = names["a run of five, an element before it, one after and one inside"]
    one = names["one of two runs inserted at one place"]
    other = names["the other of two runs inserted at one place"]

    def slots(*ops: Any, on: bytes = first, by: Actor = owner) -> bytes:
        return event(by, RACK, T + 50, [on], list(ops))

    def insert(parent: Any, right: bool = True, name: str = "slots") -> list[Any]:
        return [LIST_INSERT, name, parent, right, 1, [0]]

    return {
        "an insert at an element its author had not seen": (
            target,
            slots(insert([other, 0, 2]), on=one),
        ),
        "an insert at an element that is nowhere": (target, slots(insert([sha(b"no"), 0, 0]))),
        "an insert at an element of another object": (target, slots(insert([SHELF, 0, 0]))),
        "an insert at an op that inserts nothing": (target, slots(insert([first, 4, 0]))),
        "an insert at an element beyond its run": (target, slots(insert([first, 0, 5]))),
        "an insert at an element of another list": (
            target,
            slots(insert([first, 2, 0], name="other")),
        ),
        "an insert at an element of a later op": (
            target,
            slots(insert([None, 1, 0]), insert([first, 1, 0])),
        ),
        "an insert at an element of its own": (target, slots(insert([None, 0, 0], right=False))),
        "a second first child of the root": (target, slots(insert(None))),
        "a second child on the left of an element": (
            target,
            slots(insert([first, 0, 2], right=False)),
        ),
        "a child on the right of an element inside a run": (target, slots(insert([first, 0, 1]))),
        "two children on one side of an element in one event": (
            target,
            slots(insert([first, 1, 0]), insert([first, 1, 0])),
        ),
        "a LIST_SET of an element its author had not seen": (
            target,
            slots([LIST_SET, "slots", [other, 0, 0], 1], on=one),
        ),
        "a LIST_SET of an element beyond its run": (
            target,
            slots([LIST_SET, "slots", [first, 0, 5], 1]),
        ),
        "a LIST_DELETE of elements beyond their run": (
            target,
            slots([LIST_DELETE, "slots", [[first, 0, 3, 3]]]),
        ),
        "a LIST_DELETE in another list": (
            target,
            slots([LIST_DELETE, "other", [[first, 0, 0, 1]]]),
        ),
        "a LIST_DELETE of what is there and of what is not": (
            target,
            slots([LIST_DELETE, "slots", [[first, 0, 0, 1], [first, 9, 0, 1]]]),
        ),
        "a stranger's insert": (
            closed,
            slots(insert([first, 2, 0]), on=first, by=stranger),
        ),
        "a remove of an add its author had not seen": (target, remove([unseen, 0], on=adds)),
        "a remove of an add that is nowhere": (target, remove([sha(b"nowhere"), 0])),
        "a remove of an add of another object": (target, remove([PERSON, 0])),
        "a remove of an op that is no add": (target, remove([adds, 0])),
        "a remove of an op beyond those of the event": (target, remove([adds, 4095])),
        "a remove of an add of another set": (
            target,
            remove([None, 0], before=[[SET_ADD, "other", 1]]),
        ),
        "a remove of a later op of its own event": (target, remove([None, 2], before=OWN)),
        "a remove of itself": (target, remove([None, 0])),
        "a remove of one add that is there and one that is not": (
            target,
            remove([adds, 4], [adds, 3]),
        ),
        "a stranger's dict entry": (
            closed,
            event(stranger, SHELF, T + 50, [last], [[DICT_SET, "prices", "tea", 0]]),
        ),
        "a stranger's add to a counter": (
            closed,
            event(stranger, SHELF, T + 50, [last], [[COUNTER_ADD, "sold", 1]]),
        ),
        "a sealed add to a counter, of an epoch that is nowhere": (
            "SEAL-3/epoch",
            event(
                owner,
                SHELF,
                T + 50,
                [last],
                [[COUNTER_ADD, "sold", sealed(SHELF, b"counter_sold", KEY_2, SALT_1, 1)]],
            ),
        ),
        "a parent of another object": (
            "ORD-1/object",
            event(owner, PERSON, T + 1, [PERSON, NOTE], OWN),
        ),
        "an object that its parents are not of": (
            "ORD-1/object",
            event(owner, NOTE, T + 1, [PERSON], OWN),
        ),
        "an object that is its parent, which is no genesis": (
            "ORD-1/object",
            event(owner, values, T + 2, [values], OWN),
        ),
        "the t of its parent": ("ORD-2/clock", on(owner, values, T + 1, *OWN)),
        "a t below its parent's": ("ORD-2/clock", on(owner, values, T - 1, *OWN)),
        "a stranger's write": (closed, on(stranger, values, T + 2, [SET, "name", "Eve"])),
        "a stranger's deletion": (closed, on(stranger, values, T + 2, [DELETE, "name"])),
        "a reader's write": (closed, on(reader, values, T + 2, [SET, "name", "Eve"])),
        "a stranger's write to an open and a closed field": (
            closed,
            on(stranger, values, T + 2, [SET, "motto", "x"], [SET, "name", "Eve"]),
        ),
        "a stranger's write to the closed field of an open object": (
            closed,
            event(clerk, BOARD, T + 1, [BOARD], [[SET, "title", "x"]]),
        ),
        "a stranger's grant": (access, on(stranger, values, T + 2, grant(UPDATE, stranger))),
        "a grant to oneself, and a write by it": (
            access,
            event(clerk, BOARD, T + 1, [BOARD], [grant(UPDATE, clerk), [SET, "title", "x"]]),
        ),
        "a writer's grant": (access, on(clerk, values, T + 2, grant(READ, late))),
        "a stranger's epoch in an open object": (
            access,
            event(clerk, BOARD, T + 1, [BOARD], [epoch(BOARD, KEY_1, [stranger])]),
        ),
        "a reader's epoch": (access, on(reader, values, T + 2, epoch(PERSON, KEY_2, [owner]))),
        "an admin's grant of admin": ("AUTH-1/admin", on(chief, values, T + 2, grant(ADMIN, late))),
        "an admin's grant to the owner": (
            owner_grant,
            on(chief, values, T + 2, grant(READ, owner)),
        ),
        "the owner's grant to itself": (owner_grant, on(owner, values, T + 2, grant(READ, owner))),
        "the owner's grant to itself in the genesis": (
            owner_grant,
            genesis(create("Q", owner, [False, {}]), grant(UPDATE, owner)),
        ),
        "a stranger's removal of an open object": (
            "AUTH-6/remove",
            event(clerk, BOARD, T + 1, [BOARD], [[REMOVE]]),
        ),
        "a reader's removal": ("AUTH-6/remove", on(reader, values, T + 2, [REMOVE])),
        "a sealed value of an epoch that is nowhere": (
            "SEAL-3/epoch",
            on(owner, values, T + 2, [SET, "x", sealed(PERSON, b"value_x", SALT_1 * 2, SALT_1, 1)]),
        ),
        "a sealed value of an epoch the author had not seen": (
            "SEAL-3/epoch",
            on(owner, deletion, T + 9, seal_1),
        ),
        "an epoch for one who is no reader": (
            readers,
            on(owner, epoch_1, T + 9, epoch(PERSON, KEY_2, [owner, stranger])),
        ),
        "an epoch for an admin who may not read": (
            readers,
            on(owner, epoch_1, T + 9, epoch(PERSON, KEY_2, [owner, chief])),
        ),
        "an epoch for one whose grant the author had not seen": (
            readers,
            on(owner, deletion, T + 9, epoch(PERSON, KEY_2, [owner, clerk])),
        ),
        "a stranger's revocation": (access, on(stranger, values, T + 2, revoke(READ, reader))),
        "a writer's revocation": (access, on(clerk, values, T + 2, revoke(READ, reader))),
        "a writer's revocation of itself": (
            access,
            on(clerk, values, T + 2, revoke(UPDATE, clerk)),
        ),
        "an admin's revocation of an admin": (
            "AUTH-1/admin",
            on(chief, values, T + 2, revoke(ADMIN, late)),
        ),
        "an admin's revocation of itself": (
            "AUTH-1/admin",
            on(chief, values, T + 2, revoke(ADMIN, chief)),
        ),
        "an admin's revocation of the owner": (
            owner_grant,
            on(chief, values, T + 2, revoke(UPDATE, owner)),
        ),
        "the owner's revocation of itself": (
            owner_grant,
            on(owner, values, T + 2, revoke(READ, owner)),
        ),
        "an admin's policy": (policy, on(chief, values, T + 2, [POLICY, [True, {}]])),
        "a stranger's policy in an open object": (
            policy,
            event(clerk, BOARD, T + 1, [BOARD], [[POLICY, [True, {}]]]),
        ),
        "a write by one who knew of its revocation": (
            closed,
            in_team(clerk, "an admin revokes update", [SET, "plan", 6]),
        ),
        "a removal by one who knew of its revocation": (
            "AUTH-6/remove",
            in_team(clerk, "an admin revokes update", [REMOVE]),
        ),
        "a grant by an admin who knew it was ended": (
            access,
            in_team(chief, "the owner ends an admin", grant(READ, late)),
        ),
        "a grant by an admin who knew it was ended, to itself": (
            access,
            in_team(chief, "the owner ends an admin", grant(UPDATE, chief)),
        ),
        "a stranger's write to what it knew closed": (
            closed,
            in_team(stranger, "the object is closed", [SET, "note", "x"]),
        ),
        "a stranger's write to the closed field of an opened object": (
            closed,
            in_team(stranger, "the object is opened", [SET, "firm", "x"]),
        ),
        "a value sealed for a reader known to be revoked": (
            readers,
            in_team(
                owner,
                "a reader is revoked",
                [SET, "x", sealed(TEAM, b"value_x", KEY_1, SALT_1, 1)],
            ),
        ),
        "an epoch for a reader known to be revoked": (
            readers,
            in_team(owner, "a reader is revoked", epoch(TEAM, KEY_2, [owner, reader])),
        ),
        "an epoch without the owner": (
            "SEAL-2/owner",
            in_team(owner, "genesis of a team", epoch(TEAM, KEY_2, [reader])),
        ),
        "an earlier epoch sealed again by an admin who may not read": (
            "SEAL-4/again",
            on(chief, epoch_1, T + 9, epoch(PERSON, KEY_1, [owner, reader])),
        ),
        "a grant with a sealing key of another suite": (
            "SEAL-1/suite",
            event(owner, VAULT, T + 1, [VAULT], [grant(READ, late)]),
        ),
        "an epoch of another suite than its object's": (
            "SEAL-1/suite",
            event(owner, VAULT, T + 1, [VAULT], [epoch(VAULT, KEY_1, [owner])]),
        ),
        "an epoch and a grant to read, by a writer": (
            access,
            on(clerk, granted, T + 9, epoch(PERSON, KEY_2, [owner, late]), grant(READ, late)),
        ),
    }


# -- what all of it comes to ---------------------------------------------------------------------


def payload(raw: bytes) -> list[Any]:
    """Version, object, author, t, parents, ops of signed bytes."""
    found: list[Any] = cbor2.loads(cbor2.loads(raw)[2])
    return found


def digest(
    object_id: bytes,
    heads: list[bytes],
    removed: bytes,
    fields: dict[str, tuple[bytes, int, Any]],
    holders: list[tuple[int, Actor]],
    policy: Any,
    epochs: list[tuple[bytes, bytes]],
    collected: list[Any] | None = None,
) -> bytes:
    """The shared digest of an object (VETO-4), from what is visible in it."""
    sequence: list[Any] = [[object_id, sorted(heads), removed]]
    for field in sorted(fields):
        the_id, index, value = fields[field]
        spelled = cbor2.dumps(value, canonical=True)
        sequence.append([b"value_" + field.encode(), the_id, index, spelled])
    sequence += collected or []
    for role, actor in sorted(holders, key=lambda held: (held[0], held[1].public)):
        sequence.append([role, actor.public, actor.subject, 1, actor.sealing])
    sequence.append(policy)
    sequence += [list(each) for each in sorted(epochs)]
    return sha(b"dinemic/digest/1", *(cbor2.dumps(item, canonical=True) for item in sequence))


def visible(
    object_id: bytes, events: dict[str, tuple[bytes, str]]
) -> tuple[dict[str, tuple[bytes, int, Any]], list[tuple[bytes, bytes]]]:
    """The fields of an object, and its epochs: (where first sealed, commitment and readers)."""
    fields: dict[str, tuple[bytes, int, Any]] = {}
    epochs: dict[bytes, tuple[bytes, set[bytes]]] = {}
    standing = [
        (payload(raw)[3], event_id(raw), payload(raw)[5])
        for raw, verdict in events.values()
        if verdict != "void" and object_id in (payload(raw)[1], event_id(raw))
    ]
    for t, the_id, ops in sorted(standing, key=lambda event: event[:2]):
        for index, op in enumerate(ops):
            if op[0] == SET:
                fields[op[1]] = (the_id, index, op[2])
            elif op[0] == DELETE:
                del fields[op[1]]
            elif op[0] == EPOCH:
                at = t.to_bytes(8, "big") + the_id + index.to_bytes(2, "big")
                _, readers = epochs.setdefault(op[2], (at, set()))
                readers |= {reader for reader, _ in op[3]}
    return fields, [(at, commit + reader_sum(readers)) for commit, (at, readers) in epochs.items()]


def collected(events: dict[str, tuple[bytes, str]]) -> list[Any]:
    """What the digest covers of the dicts, counters and sets of SHELF."""
    entries: dict[tuple[bytes, bytes], list[Any]] = {}
    counts: dict[bytes, list[int]] = {}
    sealed_adds: list[list[Any]] = []
    adds: dict[tuple[bytes, int], list[Any]] = {}
    standing = [
        (payload(raw)[3], event_id(raw), payload(raw)[5])
        for raw, _ in events.values()
        if payload(raw)[1] == SHELF
    ]
    for _, the_id, ops in sorted(standing, key=lambda event: event[:2]):
        for index, op in enumerate(ops):
            if op[0] == DICT_SET:
                stored, key = b"dict_" + op[1].encode(), op[2].encode()
                spelled = cbor2.dumps(op[3], canonical=True)
                entries[stored, key] = [stored, key, the_id, index, spelled]
            elif op[0] == DICT_DELETE:
                entries.pop((b"dict_" + op[1].encode(), op[2].encode()), None)
            elif op[0] == COUNTER_ADD:
                stored = b"counter_" + op[1].encode()
                if isinstance(op[2], int):
                    counts.setdefault(stored, []).append(op[2])
                else:
                    sealed_adds.append([stored, the_id, index])
            elif op[0] == SET_ADD:
                spelled = cbor2.dumps(op[2], canonical=True)
                adds[the_id, index] = [b"set_" + op[1].encode(), sha(spelled), the_id, index]
    for _, the_id, ops in standing:
        for op in ops:
            if op[0] == SET_REMOVE:
                for made, index in op[2]:
                    adds.pop((made or the_id, index), None)
    return [
        *(entries[name] for name in sorted(entries)),
        *([stored, len(counts[stored]), str(sum(counts[stored]))] for stored in sorted(counts)),
        *sealed_adds,
        *sorted(adds.values()),
    ]


def listed(events: dict[str, tuple[bytes, str]]) -> dict[bytes, list[tuple[Any, ...]]]:
    """The lists of RACK: (event, op, position, (event, op) of a LIST_SET or None, value) each."""
    below: dict[Any, dict[bool, list[Any]]] = {}
    dead: set[Any] = set()
    sets: dict[Any, tuple[Any, ...]] = {}
    values: dict[Any, Any] = {}
    for raw, verdict in sorted(
        (each for each in events.values() if payload(each[0])[1] == RACK),
        key=lambda each: (payload(each[0])[3], event_id(each[0])),
    ):
        the_id, stands = event_id(raw), verdict != "void"
        for index, op in enumerate(payload(raw)[5]):
            name = op[1]
            if op[0] == LIST_INSERT:
                parent = (name, None) if op[2] is None else (name, op[2][0] or the_id, *op[2][1:])
                for at in range(op[4]):
                    element = (name, the_id, index, at)
                    right = op[3] if at == 0 else True
                    below.setdefault(parent, {False: [], True: []})[right].append(element)
                    if stands:
                        plain = isinstance(op[5], list)
                        values[element] = op[5][at] if plain else op[5]
                    parent = element
            elif op[0] == LIST_SET and stands:
                element = (name, op[2][0] or the_id, *op[2][1:])
                sets[element] = ((the_id, index), op[3])
            elif op[0] == LIST_DELETE and stands:
                for made, number, first, count in op[2]:
                    dead |= {(name, made or the_id, number, first + at) for at in range(count)}

    def walk(element: Any) -> list[Any]:
        sides = below.get(element, {False: [], True: []})
        found: list[Any] = []
        for child in sorted(sides[False]):
            found += walk(child)
        found.append(element)
        for child in sorted(sides[True]):
            found += walk(child)
        return found

    return {
        b"list_" + name.encode(): [
            (*element[1:], *sets.get(element, (None, values.get(element))))
            for element in walk((name, None))[1:]
            if element in values and element not in dead
        ]
        for name in ("sealed", "slots")
    }


def digest_of_rack(names: dict[str, bytes], events: dict[str, tuple[bytes, str]]) -> bytes:
    """The shared digest of RACK."""
    items: list[Any] = []
    for stored, elements in listed(events).items():
        stretches: list[list[tuple[Any, ...]]] = []
        for element in elements:
            last = stretches[-1][-1] if stretches else (None, None, None)
            if (*element[:2], element[2] - 1) == last[:3]:
                stretches[-1].append(element)
            else:
                stretches.append([element])
        for stretch in stretches:
            items.append([stored, *stretch[0][:3], len(stretch)])
            items += [[*element[:3], *element[3]] for element in stretch if element[3]]
    _, epochs = visible(RACK, events)
    head = names["an element beside a void one, and a sealed run"]
    return digest(RACK, [head], b"", {}, [], [False, {}], epochs, items)


def digest_of_shelf(names: dict[str, bytes], events: dict[str, tuple[bytes, str]]) -> bytes:
    """The shared digest of SHELF."""
    _, epochs = visible(SHELF, events)
    head = names["a sealed dict entry, a sealed add to a counter and one to a set"]
    held = [(UPDATE, clerk)]
    return digest(SHELF, [head], b"", {}, held, [False, {}], epochs, collected(events))


def reader_sum(readers: set[bytes]) -> bytes:
    """The sum of the hashes of signing keys, which tells sets of readers apart."""
    total = sum(int.from_bytes(sha(reader), "big") for reader in readers)
    return (total % (1 << 256)).to_bytes(32, "big")


PERSON_HEADS: Final = ("a stranger's write where a field's rule is open",)
TEAM_HEADS: Final = ("the object is closed", "a stranger's write to a field that stayed open")


def digest_of_person(names: dict[str, bytes], events: dict[str, tuple[bytes, str]]) -> bytes:
    """The shared digest of PERSON, holders and policy written out by hand."""
    fields, epochs = visible(PERSON, events)
    heads = [names[head] for head in PERSON_HEADS]
    holders = [(ADMIN, chief), (UPDATE, clerk), (READ, reader), (READ, clerk), (READ, late)]
    return digest(PERSON, heads, b"", fields, holders, [False, {"motto": True}], epochs)


def digest_of_team(names: dict[str, bytes], events: dict[str, tuple[bytes, str]]) -> bytes:
    """The shared digest of TEAM, likewise."""
    fields, epochs = visible(TEAM, events)
    heads = [names[head] for head in TEAM_HEADS]
    return digest(TEAM, heads, b"", fields, [(UPDATE, clerk)], [False, {"wall": True}], epochs)


def fingerprint(ids: list[bytes], context: bytes = b"dinemic/fp/1") -> dict[str, Any]:
    """Count and wire form of a reconciled set, or of heads (REC-2)."""
    total = sum(int.from_bytes(sha(context, the_id), "big") for the_id in ids)
    packed = len(ids).to_bytes(8, "big") + (total % (1 << 256)).to_bytes(32, "big")
    return {"count": len(ids), "wire": sha(packed)[:16].hex()}


def heads_digest(names: dict[str, bytes], heads: Sequence[str]) -> dict[str, Any]:
    """The same of the heads of the one object of a model, by their names."""
    return fingerprint([names[head] for head in heads], b"dinemic/heads/1")


def plain(value: Any) -> Any:
    """JSON for a decoded value, in the notation of README.md."""
    if isinstance(value, bytes):
        return {"$bytes": value.hex()}
    if isinstance(value, float):
        return {"$float": repr(value)}
    if isinstance(value, int) and abs(value) >= 1 << 53:
        return {"$int": str(value)}
    if isinstance(value, cbor2.CBORTag):
        header = cbor2.loads(value.value[0])
        parts = {"epoch": header[4], "salt": header[-20], "ciphertext": value.value[2]}
        return {"$sealed": {name: part.hex() for name, part in parts.items()}}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def build() -> dict[str, Any]:
    """The whole of events.json."""
    events = accepted() | accepted_together()
    names = {name: event_id(raw) for name, (raw, _) in events.items()}
    described = []
    for name, (raw, verdict) in events.items():
        _, obj, author, t, parents, ops = payload(raw)
        described.append(
            {
                "name": name,
                "hex": raw.hex(),
                "id": names[name].hex(),
                "object": (obj or names[name]).hex(),
                "author": author.hex(),
                "t": t,
                "parents": [parent.hex() for parent in parents],
                "ops": plain(ops),
                "verdict": verdict,
                "inert": name in INERT,
            }
        )
    people, teams = (
        [
            names[vector["name"]]
            for vector in described
            if vector["object"] == object_id.hex() and not vector["inert"]
        ]
        for object_id in (PERSON, TEAM)
    )
    return {
        "about": "Written by make_events.py, from docs/format.md; see README.md beside it.",
        "now": T + 1_000_000,
        "keys": {
            name: {
                "signing_seed": actor.seed.hex(),
                "signing_public": actor.public.hex(),
                "sealing_private": actor.sealing_private.hex(),
                "sealing_public": actor.sealing.hex(),
            }
            for name, actor in ACTORS.items()
        },
        "accepted": described,
        "again": [
            {"name": name, "id": names[name].hex(), "hex": raw.hex()}
            for name, raw in again(events).items()
        ],
        "refused": [
            {"name": name, "reason": reason, "hex": raw.hex()}
            for name, (reason, raw) in (refused_by_bytes() | refused_together()).items()
        ]
        + [
            {
                "name": "one byte more than an event may have",
                "reason": "EV-7/size",
                "repeat": {"hex": "00", "times": (1 << 20) + 1},
            }
        ],
        "refused_after_accepted": [
            {"name": name, "reason": reason, "hex": raw.hex()}
            for name, (reason, raw) in refused_in_context(names).items()
        ],
        "sealed": [
            {
                "field": field,
                "event": names[name].hex(),
                "epoch_event": names["an epoch and a value sealed under it"].hex(),
                "epoch_key": KEY_1.hex(),
                "readers": ["clerk", "late", "owner", "reader"],
                "value": plain(value),
            }
            for field, name, value in (
                ("value_salary", "an epoch and a value sealed under it", 1000),
                ("value_bonus", "a sealed value under an earlier epoch", {"amount": 5}),
            )
        ],
        "state": {
            "object": PERSON.hex(),
            "model": "Person",
            "name": max(
                (names[f"{which} of two concurrent writes of one t"], value)
                for which, value in (("one", "Bob"), ("the other", "Rob"))
            )[1],
            "conflicting_names": 2,
            "digest": digest_of_person(names, events).hex(),
            "removed": {
                "object": NOTE.hex(),
                "digest": digest(
                    NOTE,
                    [names["a removal"]],
                    ((1 << 32) + 2).to_bytes(8, "big") + names["a removal"],
                    {},
                    [],
                    [False, {}],
                    [],
                ).hex(),
            },
            "revoked": {
                "object": TEAM.hex(),
                "model": "Team",
                "fields": {"note": "in time", "place": 1, "plan": 5, "wall": "hi"},
                "digest": digest_of_team(names, events).hex(),
                "fingerprint": fingerprint(teams),
                "heads": heads_digest(names, TEAM_HEADS),
            },
            "collections": {
                "object": SHELF.hex(),
                "prices": plain(
                    {"tea": 2, "tea\0": [1, {"a": b"\0"}], "k" * 512: "the longest key"}
                ),
                "sold": str((1 << 64) - 2),
                "lost": str(-(1 << 63)),
                "tags": [plain(1), plain(1.0), plain("1")],
                "digest": digest_of_shelf(names, events).hex(),
            },
            "list": {
                "object": RACK.hex(),
                "slots": [plain(element[-1]) for element in listed(events)[b"list_slots"]],
                "digest": digest_of_rack(names, events).hex(),
            },
            "fingerprint": fingerprint(people),
            "heads": heads_digest(names, PERSON_HEADS),
        },
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(build(), indent=1) + "\n", "utf-8")
