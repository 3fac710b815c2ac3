"""Writes events.json: events every node must accept, and events every node must refuse, and why.

The bytes are made by `support.event_bytes`, which shares no code with the engine. The output is the
same at every run. From the folder above::

    python -m vectors.make_events
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Final

import cbor2

from support.event_bytes import (
    ACTORS,
    ADMIN,
    BOARD,
    DELETE,
    EPOCH,
    GRANT,
    KEY_1,
    KEY_2,
    NOTE,
    PERSON,
    READ,
    REMOVE,
    SALT_1,
    SALT_2,
    SET,
    UPDATE,
    Actor,
    T,
    board,
    chief,
    clerk,
    commitment,
    create,
    epoch,
    event,
    event_id,
    grant,
    late,
    note,
    owner,
    person,
    reader,
    sealed,
    sha,
    stranger,
)
from vectors.refused_events import OWN, genesis, refused_by_bytes

FILE: Final = Path(__file__).with_name("events.json")

# -- accepted ------------------------------------------------------------------------------------

VALUES: dict[str, Any] = {
    "null": None,
    "false": False,
    "true": True,
    "zero": 0,
    "int_max": (1 << 63) - 1,
    "int_min": -(1 << 63),
    "half": 1.5,
    "single": 3.4028234663852886e38,
    "double": 1.1,
    "infinity": math.inf,
    "text": "Zażółć gęślą jaźń \U0001d11e\n\x00",
    "bytes": b"\x00\xff",
    "array": [1, [2, ["three"]]],
    "map": {"b": 1, "a": [], "aa": {"": None}},
    "deep": [[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]],
    "A-Z_a-z.0-9": "every character a name may hold",
}


def accepted() -> dict[str, tuple[bytes, bool]]:
    """Name to (signed bytes, authorized), parents before children."""
    found: dict[str, tuple[bytes, bool]] = {}

    def add(name: str, raw: bytes, authorized: bool = True) -> bytes:
        found[name] = (raw, authorized)
        return event_id(raw)

    add("genesis of the smallest kind, at t = 0", note)
    add("genesis with a rule for one field, a grant of each role and a field", person)
    add("genesis of an open object with one closed field", board)
    values = [[SET, name, value] for name, value in VALUES.items()]
    head = add("every kind of value", event(owner, PERSON, T + 1, [PERSON], values))
    head = add("a deletion", event(clerk, PERSON, T + 2, [head], [[DELETE, "zero"]]))
    head = add("an admin grants", event(chief, PERSON, T + 3, [head], [grant(READ, clerk)]))
    seal_1 = sealed(PERSON, b"value_salary", KEY_1, SALT_1, 1000)
    head = add(
        "an epoch and a value sealed under it",
        event(
            clerk,
            PERSON,
            T + 4,
            [head],
            [epoch(PERSON, KEY_1, [owner, reader, clerk]), [SET, "salary", seal_1]],
        ),
    )
    seal_2 = sealed(PERSON, b"value_bonus", KEY_1, SALT_2, {"amount": 5})
    head = add(
        "a sealed value under an earlier epoch",
        event(chief, PERSON, T + 5, [head], [[SET, "bonus", seal_2]]),
    )
    link = [commitment(PERSON, KEY_1), sha(b"vector/link") + bytes(16)]
    head = add(
        "an epoch that links an older one",
        event(owner, PERSON, T + 6, [head], [epoch(PERSON, KEY_2, [owner, reader], [link])]),
    )
    left = add(
        "one of two concurrent writes of one t",
        event(owner, PERSON, T + 7, [head], [[SET, "name", "Bob"]]),
    )
    right = add(
        "the other of two concurrent writes of one t",
        event(clerk, PERSON, T + 7, [head], [[SET, "name", "Rob"]]),
    )
    head = add(
        "a merge of two heads, with two writes of one field",
        event(chief, PERSON, T + 8, [left, right], [[SET, "job", "x"], [SET, "job", "cook"]]),
    )
    add(
        "a stranger's write where a field's rule is open",
        event(stranger, PERSON, T + 9, [head], [[SET, "motto", "hi"]]),
        authorized=False,
    )
    add(
        "a stranger's write in an open object",
        event(clerk, BOARD, T + 1, [BOARD], [[SET, "text", "hello"], [DELETE, "text"]]),
        authorized=False,
    )
    heads = [
        add(f"head {index} of 16", event(owner, NOTE, 1, [NOTE], [[SET, "n", index]]))
        for index in range(16)
    ]
    head = add(
        "a merge of 16 heads", event(owner, NOTE, (1 << 32) + 1, heads, [[SET, "n", "merged"]])
    )
    add("a removal", event(owner, NOTE, (1 << 32) + 2, [head], [[REMOVE]]))
    return found


# -- refused by what the author had seen ---------------------------------------------------------


def refused_in_context(names: dict[str, bytes]) -> dict[str, tuple[str, bytes]]:
    """Name to (reason, signed bytes), judged when all of `accepted` is admitted."""
    values = names["every kind of value"]
    epoch_1 = names["an epoch and a value sealed under it"]
    granted = names["an admin grants"]
    deletion = names["a deletion"]

    def on(actor: Actor, parent: bytes, t: int, *ops: Any) -> bytes:
        return event(actor, PERSON, t, [parent], list(ops))

    closed, access = "AUTH-5/closed", "AUTH-5/access"
    owner_grant, readers = "AUTH-2/owner", "SEAL-3/readers"
    seal_1 = [SET, "salary", sealed(PERSON, b"value_salary", KEY_1, SALT_2, 2000)]
    return {
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
        "an epoch and a grant to read, by a writer": (
            access,
            on(clerk, granted, T + 9, epoch(PERSON, KEY_2, [owner, late]), grant(READ, late)),
        ),
    }


# -- what all of it comes to ---------------------------------------------------------------------


def digest_of_person(names: dict[str, bytes], raws: dict[str, bytes]) -> bytes:
    """The shared digest of PERSON, written out by hand."""
    fields: dict[str, tuple[bytes, int, Any]] = {"name": (PERSON, 4, "Alice")}
    order = sorted(
        (cbor2.loads(cbor2.loads(raw)[2])[3], names[name])
        for name, raw in raws.items()
        if cbor2.loads(cbor2.loads(raw)[2])[1] == PERSON
    )
    by_id = {names[name]: raw for name, raw in raws.items()}
    grants = [(chief, ADMIN, PERSON, 1), (clerk, UPDATE, PERSON, 2), (reader, READ, PERSON, 3)]
    epochs: list[bytes] = []
    for t, the_id in order:
        for index, op in enumerate(cbor2.loads(cbor2.loads(by_id[the_id])[2])[5]):
            if op[0] == SET:
                fields[op[1]] = (the_id, index, op[2])
            elif op[0] == DELETE:
                del fields[op[1]]
            elif op[0] == GRANT:
                grants.append((clerk, READ, the_id, index))
            elif op[0] == EPOCH:
                tail = t.to_bytes(8, "big") + the_id + index.to_bytes(2, "big")
                epochs.append(op[2] + tail)
    heads = [names["a stranger's write where a field's rule is open"]]
    sequence: list[Any] = [[PERSON, heads, b""]]
    for field in sorted(fields):
        the_id, index, value = fields[field]
        sequence.append(
            [b"value_" + field.encode(), the_id, index, cbor2.dumps(value, canonical=True)]
        )
    for actor, role, the_id, index in sorted(grants, key=lambda g: (g[0].public, g[1])):
        sequence.append([actor.public, role, the_id, index, actor.subject])
    sequence += sorted(epochs)
    return sha(b"dinemic/digest/1", *(cbor2.dumps(item) for item in sequence))


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
    events = accepted()
    names = {name: event_id(raw) for name, (raw, _) in events.items()}
    raws = {name: raw for name, (raw, _) in events.items()}
    described = []
    for name, (raw, authorized) in events.items():
        _, obj, author, t, parents, ops = cbor2.loads(cbor2.loads(raw)[2])
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
                "authorized": authorized,
            }
        )
    people = [names[vector["name"]] for vector in described if vector["object"] == PERSON.hex()]
    total = sum(int.from_bytes(sha(b"dinemic/fp/1", the_id), "big") for the_id in people)
    packed = len(people).to_bytes(8, "big") + (total % (1 << 256)).to_bytes(32, "big")
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
        "refused": [
            {"name": name, "reason": reason, "hex": raw.hex()}
            for name, (reason, raw) in refused_by_bytes().items()
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
                "readers": ["clerk", "owner", "reader"],
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
            "digest": digest_of_person(names, raws).hex(),
            "removed": {
                "object": NOTE.hex(),
                "digest": sha(
                    b"dinemic/digest/1",
                    cbor2.dumps(
                        [
                            NOTE,
                            [names["a removal"]],
                            ((1 << 32) + 2).to_bytes(8, "big") + names["a removal"],
                        ]
                    ),
                ).hex(),
            },
            "fingerprint": {
                "count": len(people),
                "wire": sha(packed)[:16].hex(),
            },
        },
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(build(), indent=1) + "\n", "utf-8")
