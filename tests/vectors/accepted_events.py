"""Events every node must accept, and what becomes of each when all are there; make_events.py."""

from __future__ import annotations

import math
from typing import Any

from support.event_bytes import (
    ADMIN,
    BOARD,
    COUNTER_ADD,
    DELETE,
    DICT_DELETE,
    DICT_SET,
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
    Actor,
    T,
    board,
    chief,
    clerk,
    epoch,
    event,
    event_id,
    grant,
    late,
    note,
    owner,
    person,
    rack,
    reader,
    revoke,
    sealed,
    shelf,
    stranger,
    team,
    vault,
)

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


def accepted() -> dict[str, tuple[bytes, str]]:
    """Name to (signed bytes, verdict when all are admitted), parents before children."""
    found: dict[str, tuple[bytes, str]] = {}

    def add(name: str, raw: bytes, verdict: str = "authorized") -> bytes:
        found[name] = (raw, verdict)
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
    head = add(
        "an epoch in place of one before",
        event(owner, PERSON, T + 6, [head], [epoch(PERSON, KEY_2, [owner, reader])]),
    )
    head = add(
        "an earlier epoch sealed again for a reader granted later",
        event(owner, PERSON, T + 7, [head], [grant(READ, late), epoch(PERSON, KEY_1, [late])]),
    )
    left = add(
        "one of two concurrent writes of one t",
        event(owner, PERSON, T + 8, [head], [[SET, "name", "Bob"]]),
    )
    right = add(
        "the other of two concurrent writes of one t",
        event(clerk, PERSON, T + 8, [head], [[SET, "name", "Rob"]]),
    )
    head = add(
        "a merge of two heads, with two writes of one field",
        event(chief, PERSON, T + 9, [left, right], [[SET, "job", "x"], [SET, "job", "cook"]]),
    )
    add(
        "a stranger's write where a field's rule is open",
        event(stranger, PERSON, T + 10, [head], [[SET, "motto", "hi"]]),
        "unauthorized",
    )
    add(
        "a stranger's write in an open object",
        event(clerk, BOARD, T + 1, [BOARD], [[SET, "text", "hello"], [DELETE, "text"]]),
        "unauthorized",
    )
    heads = [
        add(f"head {index} of 16", event(owner, NOTE, 1, [NOTE], [[SET, "n", index]]))
        for index in range(16)
    ]
    head = add(
        "a merge of 16 heads", event(owner, NOTE, (1 << 32) + 1, heads, [[SET, "n", "merged"]])
    )
    add("a removal", event(owner, NOTE, (1 << 32) + 2, [head], [[REMOVE]]))
    add("genesis of the hybrid suite", vault)
    return found | collections() | listed() | revoked()


def collections() -> dict[str, tuple[bytes, str]]:
    """The same for SHELF: dicts, counters and sets."""
    found: dict[str, tuple[bytes, str]] = {}

    def add(name: str, by: Actor, t: int, on: list[str], *ops: Any) -> bytes:
        names = {each: event_id(raw) for each, (raw, _) in found.items()}
        raw = event(by, SHELF, T + t, [names.get(each, SHELF) for each in on], list(ops))
        found[name] = (raw, "authorized")
        return event_id(raw)

    found["genesis of a shelf"] = (shelf, "authorized")
    add(
        "dict entries, of odd keys too, and one written twice",
        owner,
        1,
        ["genesis of a shelf"],
        [DICT_SET, "prices", "tea", 1],
        [DICT_SET, "prices", "", None],
        [DICT_SET, "prices", "tea\0", [1, {"a": b"\0"}]],
        [DICT_SET, "prices", "k" * 512, "the longest key"],
        [DICT_SET, "prices", "tea", 2],
        [DICT_SET, "other", "tea", 3],
    )
    add(
        "deletions of a dict, of a key that is there and of one that is not",
        clerk,
        2,
        ["dict entries, of odd keys too, and one written twice"],
        [DICT_DELETE, "prices", ""],
        [DICT_DELETE, "prices", "never"],
    )
    adds = "adds to a counter, beyond 64 bits in all, and to a set"
    made = add(
        adds,
        owner,
        3,
        ["deletions of a dict, of a key that is there and of one that is not"],
        [COUNTER_ADD, "sold", (1 << 63) - 1],
        [COUNTER_ADD, "sold", (1 << 63) - 1],
        [COUNTER_ADD, "lost", -(1 << 63)],
        [COUNTER_ADD, "lost", 0],
        [SET_ADD, "tags", 1],
        [SET_ADD, "tags", 1.0],
        [SET_ADD, "tags", True],
        [SET_ADD, "tags", "1"],
        [SET_ADD, "tags", "1"],
        [SET_REMOVE, "tags", [[None, 6]]],
    )
    add(
        "a remove of two adds of one value",
        owner,
        4,
        [adds],
        [SET_REMOVE, "tags", [[made, 7], [made, 8]]],
    )
    add("an add the remove had not seen", clerk, 4, [adds], [SET_ADD, "tags", "1"])
    add("a remove of what is removed already", clerk, 5, [adds], [SET_REMOVE, "tags", [[made, 7]]])
    add(
        "a sealed dict entry, a sealed add to a counter and one to a set",
        owner,
        6,
        [
            "a remove of two adds of one value",
            "an add the remove had not seen",
            "a remove of what is removed already",
        ],
        epoch(SHELF, KEY_1, [owner]),
        [DICT_SET, "prices", "gin", sealed(SHELF, b"dict_prices/gin", KEY_1, SALT_1, 9)],
        [COUNTER_ADD, "sold", sealed(SHELF, b"counter_sold", KEY_1, SALT_2, 3)],
        [SET_ADD, "tags", sealed(SHELF, b"set_tags", KEY_1, SALT_1, "rare")],
    )
    return found


def listed() -> dict[str, tuple[bytes, str]]:
    """The same for RACK: a list, and what an author revoked unseen inserted there."""
    found: dict[str, tuple[bytes, str]] = {}

    def add(
        name: str, by: Actor, t: int, on: list[str], *ops: Any, verdict: str = "authorized"
    ) -> bytes:
        names = {each: event_id(raw) for each, (raw, _) in found.items()}
        raw = event(by, RACK, T + t, [names.get(each, RACK) for each in on], list(ops))
        found[name] = (raw, verdict)
        return event_id(raw)

    found["genesis of a rack"] = (rack, "authorized")
    first = "a run of five, an element before it, one after and one inside"
    run = add(
        first,
        owner,
        1,
        ["genesis of a rack"],
        [LIST_INSERT, "slots", None, True, 5, ["a", "b", "c", "d", "e"]],
        [LIST_INSERT, "slots", [None, 0, 0], False, 1, [None]],
        [LIST_INSERT, "slots", [None, 0, 4], True, 1, [[1, [2]]]],
        [LIST_INSERT, "slots", [None, 0, 2], False, 2, [1, 1.0]],
        [LIST_SET, "slots", [None, 3, 1], {"set": True}],
    )
    add(
        "one of two runs inserted at one place",
        owner,
        2,
        [first],
        [LIST_INSERT, "slots", [run, 2, 0], True, 2, ["x", "y"]],
        [LIST_DELETE, "slots", [[run, 0, 3, 2], [None, 0, 0, 1]]],
    )
    add(
        "the other of two runs inserted at one place",
        clerk,
        2,
        [first],
        [LIST_INSERT, "slots", [run, 2, 0], True, 3, ["1", "2", "3"]],
        [LIST_SET, "slots", [run, 0, 0], "A"],
        [LIST_SET, "slots", [run, 0, 3], "deleted by the other"],
    )
    add(
        "a writer of a list is revoked",
        owner,
        3,
        ["one of two runs inserted at one place", "the other of two runs inserted at one place"],
        revoke(UPDATE, clerk),
    )
    void = add(
        "a run its revocation had not seen",
        clerk,
        4,
        ["the other of two runs inserted at one place"],
        [LIST_INSERT, "slots", [run, 0, 4], False, 2, ["void", "void"]],
        [LIST_DELETE, "slots", [[run, 0, 0, 5]]],
        verdict="void",
    )
    add(
        "an element beside a void one, and a sealed run",
        owner,
        5,
        ["a writer of a list is revoked", "a run its revocation had not seen"],
        [LIST_INSERT, "slots", [void, 0, 1], True, 1, ["after void"]],
        [LIST_DELETE, "slots", [[void, 0, 0, 1]]],
        epoch(RACK, KEY_1, [owner]),
        [
            LIST_INSERT,
            "sealed",
            None,
            True,
            2,
            sealed(RACK, b"list_sealed", KEY_1, SALT_1, ["one", "two"]),
        ],
        [LIST_SET, "sealed", [None, 3, 1], sealed(RACK, b"list_sealed", KEY_1, SALT_2, "TWO")],
    )
    return found


def revoked() -> dict[str, tuple[bytes, str]]:
    """The same for TEAM: what revocations and policies make of events they had not seen."""
    found: dict[str, tuple[bytes, str]] = {}

    def add(
        name: str, by: Actor, t: int, on: str | list[str], *ops: Any, verdict: str = "authorized"
    ) -> None:
        parents = [names[each] for each in ([on] if isinstance(on, str) else on)]
        raw = event(by, TEAM, T + t, parents, list(ops))
        found[name] = (raw, verdict)
        names[name] = event_id(raw)

    names = {"team": TEAM}
    found["genesis of a team"] = (team, "authorized")
    write, void = "a write the revocation had seen", "a write it had not seen"
    add(write, clerk, 1, "team", [SET, "plan", 1])
    add("an admin revokes update", chief, 2, write, revoke(UPDATE, clerk))
    add(void, clerk, 3, write, [SET, "plan", 2], verdict="void")
    add("the end of a branch nobody built on", clerk, 4, void, [SET, "plan", 3], verdict="void")
    add("a merge on a void write", owner, 5, ["an admin revokes update", void], [SET, "place", 1])
    add("a grant again", chief, 6, "a merge on a void write", grant(UPDATE, clerk))
    add("a write after a grant again", clerk, 7, "a grant again", [SET, "plan", 4])
    add("the owner ends an admin", owner, 8, "a write after a grant again", revoke(ADMIN, chief))
    add(
        "a revocation by an admin who was ended unseen",
        chief,
        9,
        "a write after a grant again",
        revoke(UPDATE, clerk),
        grant(READ, late),
        verdict="void",
    )
    add(
        "a write that void revocation names",
        clerk,
        10,
        "a write after a grant again",
        [SET, "plan", 5],
    )
    add(
        "an epoch for a reader",
        owner,
        11,
        ["the owner ends an admin", "a write that void revocation names"],
        epoch(TEAM, KEY_1, [owner, reader]),
    )
    add("a reader is revoked", owner, 12, "an epoch for a reader", revoke(READ, reader))
    add("the object is opened", owner, 13, "a reader is revoked", [POLICY, [True, {"firm": False}]])
    add(
        "a stranger's write in the opened object",
        stranger,
        14,
        "the object is opened",
        [SET, "note", "in time"],
        verdict="unauthorized",
    )
    add(
        "the object is closed",
        owner,
        15,
        "a stranger's write in the opened object",
        [POLICY, [False, {"wall": True}]],
    )
    add(
        "a stranger's write the closing had not seen",
        stranger,
        16,
        "a stranger's write in the opened object",
        [SET, "note", "too late"],
        verdict="void",
    )
    add(
        "a stranger's write to a field that stayed open",
        stranger,
        17,
        "a stranger's write in the opened object",
        [SET, "wall", "hi"],
        verdict="unauthorized",
    )
    return found


INERT = (
    "the end of a branch nobody built on",
    "a revocation by an admin who was ended unseen",
    "a stranger's write the closing had not seen",
)
"""Events that are void and that nothing effective was built on (REC-1)."""
