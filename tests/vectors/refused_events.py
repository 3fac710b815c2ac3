"""Events every node refuses by their bytes alone (T0), each for one reason; see make_events.py."""

from __future__ import annotations

import struct
from typing import Any

import cbor2

from support.event_bytes import (
    COUNTER_ADD,
    CREATE,
    DELETE,
    DICT_DELETE,
    DICT_SET,
    EPOCH,
    GRANT,
    KEY_1,
    LIST_DELETE,
    LIST_INSERT,
    LIST_SET,
    NOTE,
    PERSON,
    POLICY,
    READ,
    REMOVE,
    REVOKE,
    SALT_1,
    SET,
    SET_ADD,
    SET_REMOVE,
    L,
    T,
    bstr,
    chief,
    create,
    envelope,
    epoch,
    owner,
    pay,
    reader,
    sealed,
    sha,
    sig_structure,
    sign,
)

LONG_AUTHOR = cbor2.dumps(owner.public)
HEAD_OF_PAYLOAD = b"\x86\x01" + bstr(PERSON) + LONG_AUTHOR
"""A payload up to t, for those that no encoder would write."""
NO_POINT = (2).to_bytes(32, "little")
ORDER_4 = bytes(32)
OWN = [[SET, "name", "x"]]


def raw_ops(ops: bytes) -> bytes:
    """A signed event on PERSON whose ops are these bytes, whatever they are."""
    return sign(owner, HEAD_OF_PAYLOAD + cbor2.dumps(T + 1) + b"\x81" + bstr(PERSON) + ops)


def raw_value(value: bytes) -> bytes:
    return raw_ops(b"\x81\x83\x02\x61x" + value)


def on_person(ops: Any, **changed: Any) -> bytes:
    fields = {"obj": PERSON, "t": T + 1, "parents": [PERSON], **changed}
    return sign(owner, pay(fields["obj"], owner, fields["t"], fields["parents"], ops))


def genesis(*ops: Any, **changed: Any) -> bytes:
    fields = {"parents": [], **changed}
    return sign(owner, pay(None, owner, T, fields["parents"], list(ops)))


def refused_envelopes() -> dict[str, tuple[str, bytes]]:
    good = on_person(OWN)
    payload, signature = cbor2.loads(good)[2:]
    s = int.from_bytes(signature[32:], "little") + L
    signed_bare = owner.signing.sign(payload)
    why, bad = "EV-1/envelope", "EV-9/signature"
    head = b"\x84\x43\xa1\x01\x27\xa0"
    return {
        "nothing": (why, b""),
        "the tagged form of COSE_Sign1": (why, b"\xd2" + good),
        "a byte after the event": (why, good + b"\0"),
        "cut short by a byte": (why, good[:-1]),
        "another algorithm (ES256)": (why, good.replace(b"\xa1\x01\x27", b"\xa1\x01\x26", 1)),
        "an unprotected header": (why, b"\x84\x43\xa1\x01\x27\xa1\x01\x27" + good[6:]),
        "an empty protected header": (why, b"\x84\x40\xa0" + good[6:]),
        "a detached payload": (why, head + b"\xf6" + bstr(signature)),
        "a payload of one byte": (why, head + b"\x41\x80" + bstr(signature)),
        "a payload length of no bytes": (why, head + b"\x58" + bstr(signature)),
        "a payload length in more bytes than it needs": (
            why,
            head + b"\x59" + len(payload).to_bytes(2, "big") + payload + bstr(signature),
        ),
        "a payload longer than the bytes there are": (
            why,
            head + b"\x58" + bytes((len(payload) + 1,)) + payload + bstr(signature),
        ),
        "a signature of 63 bytes": (why, envelope(payload, signature[:-1])),
        "a signature of 65 bytes": (why, envelope(payload, signature + b"\0")),
        "a signature of no bytes": (why, envelope(payload, b"")),
        "a signature of zeros": (bad, envelope(payload, bytes(64))),
        "a signature with one bit changed": (bad, good[:-1] + bytes((good[-1] ^ 1,))),
        "a signature whose S is not below L": (
            bad,
            envelope(payload, signature[:32] + s.to_bytes(32, "little")),
        ),
        "a signature whose R is of small order": (
            bad,
            envelope(payload, ORDER_4 + signature[32:]),
        ),
        "a signature of the payload without its context": (bad, envelope(payload, signed_bare)),
        "a signature with another context": (
            bad,
            envelope(payload, owner.signing.sign(sig_structure(payload, b"dinemic/event/2"))),
        ),
        "a signature by another key": (bad, sign(chief, payload)),
        "an author key of small order": (
            "EV-9/key",
            sign(owner, cbor2.dumps([1, PERSON, ORDER_4, T + 1, [PERSON], OWN])),
        ),
        "an author key that is not canonical": (
            "EV-9/key",
            sign(owner, cbor2.dumps([1, PERSON, b"\xff" * 32, T + 1, [PERSON], OWN])),
        ),
    }


def refused_payloads() -> dict[str, tuple[str, bytes]]:
    def rows(*fields: Any) -> bytes:
        return sign(owner, cbor2.dumps(list(fields), canonical=True))

    me, shape, parents = owner.public, "EV-3/shape", "EV-3/parents"
    low, high = sorted([PERSON, NOTE])
    return {
        "version 2": ("EV-3/version", rows(2, PERSON, me, T, [PERSON], OWN)),
        "version 2 with a seventh element": ("EV-3/version", rows(2, PERSON, me, T, [], OWN, 0)),
        "version true": ("EV-3/version", rows(True, PERSON, me, T, [PERSON], OWN)),
        "a payload of five elements": (shape, rows(1, PERSON, me, T, [PERSON])),
        "a payload of seven elements": (shape, rows(1, PERSON, me, T, [PERSON], OWN, 0)),
        "a payload that is a map": (shape, sign(owner, cbor2.dumps({"author": me}))),
        "an author of 31 bytes": (shape, rows(1, PERSON, me[1:], T, [PERSON], OWN)),
        "an author in text": (shape, rows(1, PERSON, "me" * 16, T, [PERSON], OWN)),
        "an object of 31 bytes": (shape, rows(1, PERSON[1:], me, T, [PERSON], OWN)),
        "an object that is false": (shape, rows(1, False, me, T, [PERSON], OWN)),
        "no ops": (shape, on_person([])),
        "ops that are a map": (shape, on_person({"a": 1})),
        "a negative t": ("EV-3/time", on_person(OWN, t=-1)),
        "a t that is a float": ("EV-3/time", on_person(OWN, t=1.5)),
        "a t that is true": ("EV-3/time", on_person(OWN, t=True)),
        "a t of 2^63": ("EV-6/value", on_person(OWN, t=1 << 63)),
        "parents out of order": (parents, on_person(OWN, parents=[high, low])),
        "a parent twice": (parents, on_person(OWN, parents=[PERSON, PERSON])),
        "a parent of 31 bytes": (parents, on_person(OWN, parents=[PERSON[1:]])),
        "a parent in text": (parents, on_person(OWN, parents=["p" * 32])),
        "parents that are null": (parents, on_person(OWN, parents=None)),
        "an object and no parents": (parents, on_person(OWN, parents=[])),
        "17 parents": (
            "EV-7/count",
            on_person(OWN, parents=sorted(sha(bytes((n,))) for n in range(17))),
        ),
        "4,097 ops": ("EV-7/count", on_person([[REMOVE]] * 4097)),
        "a genesis with parents": (
            "EV-5/genesis",
            genesis(create("P", owner, [False, {}]), parents=[NOTE]),
        ),
        "a genesis without CREATE": ("EV-5/genesis", genesis([SET, "a", 1])),
        "a genesis with CREATE second": (
            "EV-5/genesis",
            genesis([SET, "a", 1], create("P", owner, [False, {}])),
        ),
        "a genesis with two CREATE": (
            "EV-5/genesis",
            genesis(create("P", owner, [False, {}]), create("P", owner, [False, {}])),
        ),
        "a DELETE in a genesis": (
            "EV-5/genesis",
            genesis(create("P", owner, [False, {}]), [DELETE, "a"]),
        ),
        "a REMOVE in a genesis": (
            "EV-5/genesis",
            genesis(create("P", owner, [False, {}]), [REMOVE]),
        ),
        "an EPOCH in a genesis": (
            "EV-5/genesis",
            genesis(create("P", owner, [False, {}]), epoch(NOTE, KEY_1, [owner])),
        ),
        "a REVOKE in a genesis": (
            "EV-5/genesis",
            genesis(create("P", owner, [False, {}]), [REVOKE, READ, reader.public]),
        ),
        "a POLICY in a genesis": (
            "EV-5/genesis",
            genesis(create("P", owner, [False, {}]), [POLICY, [True, {}]]),
        ),
        "a sealed value in a genesis": (
            "EV-5/genesis",
            genesis(
                create("P", owner, [False, {}]),
                [SET, "a", sealed(NOTE, b"value_a", KEY_1, SALT_1, 1)],
            ),
        ),
        "a CREATE outside of a genesis": (
            "EV-5/genesis",
            on_person([create("P", owner, [False, {}])]),
        ),
    }


def refused_ops() -> dict[str, tuple[str, bytes]]:
    shape, name, key, count = "EV-3/shape", "EV-7/name", "EV-9/key", "EV-7/count"
    good = epoch(PERSON, KEY_1, [owner, reader])
    first, second = good[3]

    def granted(**changed: Any) -> bytes:
        fields = {
            "role": READ,
            "subject": reader.subject,
            "signing": reader.public,
            "sealing": [1, reader.sealing],
            **changed,
        }
        return on_person([[GRANT, *fields.values()]])

    def made(**changed: Any) -> bytes:
        fields = {"suite": 1, "commit": good[2], "to": good[3], **changed}
        return on_person([[EPOCH, *fields.values()]])

    return {
        "op kind 0": (shape, on_person([[0]])),
        "op kind 17": (shape, on_person([[17]])),
        "op kind true": (shape, on_person([[True, "a", 1]])),
        "an op without a kind": (shape, on_person([[]])),
        "an op that is a number": (shape, on_person([2])),
        "a SET without a value": (shape, on_person([[SET, "a"]])),
        "a SET with a fourth element": (shape, on_person([[SET, "a", 1, 1]])),
        "a REMOVE with a second element": (shape, on_person([[REMOVE, 1]])),
        "an empty field name": (name, on_person([[SET, "", 1]])),
        "a field name of 129 bytes": (name, on_person([[SET, "a" * 129, 1]])),
        "a field name with a space": (name, on_person([[DELETE, "a b"]])),
        "a field name with a letter beyond ASCII": (name, on_person([[SET, "é", 1]])),
        "a field name in bytes": (name, on_person([[SET, b"a", 1]])),
        "an empty model name": (name, genesis(create("", owner, [False, {}]))),
        "a model name that begins with a digit": (name, genesis(create("1P", owner, [False, {}]))),
        "a model name beyond ASCII": (name, genesis(create("Pé", owner, [False, {}]))),
        "a model name of 129 bytes": (name, genesis(create("P" * 129, owner, [False, {}]))),
        "a policy that is false": (shape, genesis(create("P", owner, False))),
        "a policy of one element": (shape, genesis(create("P", owner, [False]))),
        "a policy with a rule that is 1": (shape, genesis(create("P", owner, [False, {"a": 1}]))),
        "a policy with a rule for a bad name": (
            name,
            genesis(create("P", owner, [False, {"a b": True}])),
        ),
        "a policy of 257 rules": (
            count,
            genesis(create("P", owner, [False, {f"f{n}": True for n in range(257)}])),
        ),
        "a CREATE with an unknown suite": (
            shape,
            genesis([CREATE, "P", [3, owner.sealing], [False, {}]]),
        ),
        "a CREATE with a sealing key of low order": (
            key,
            genesis([CREATE, "P", [1, bytes(32)], [False, {}]]),
        ),
        "a GRANT of role 0": (shape, granted(role=0)),
        "a GRANT of role 4": (shape, granted(role=4)),
        "a GRANT of role true": (shape, granted(role=True)),
        "a GRANT to a subject of 31 bytes": (shape, granted(subject=reader.subject[1:])),
        "a GRANT of a suite that is unknown": (shape, granted(sealing=[3, reader.sealing])),
        "a GRANT with a sealing key without suite": (shape, granted(sealing=reader.sealing)),
        "a GRANT to a signing key of small order": (key, granted(signing=ORDER_4)),
        "a GRANT to a signing key that is no point": (key, granted(signing=NO_POINT)),
        "a GRANT to a signing key of 31 bytes": (key, granted(signing=reader.public[1:])),
        "a GRANT to a sealing key of low order": (key, granted(sealing=[1, b"\1" + bytes(31)])),
        "a GRANT to a sealing key that is not canonical": (key, granted(sealing=[1, b"\xff" * 32])),
        "an EPOCH of an unknown suite": (shape, made(suite=0)),
        "an EPOCH with a commitment of 31 bytes": (shape, made(commit=good[2][1:])),
        "an EPOCH without recipients": (shape, made(to=[])),
        "an EPOCH with recipients out of order": (shape, made(to=[second, first])),
        "an EPOCH with a recipient twice": (shape, made(to=[first, first])),
        "an EPOCH with a sealed key of 79 bytes": (shape, made(to=[[first[0], first[1][1:]]])),
        "an EPOCH with a fifth element": (shape, made(links=[])),
        "an EPOCH of suite 2 with sealed keys of suite 1": (shape, made(suite=2)),
        "an EPOCH of suite 2 for 801 readers": (
            count,
            made(suite=2, to=[[n.to_bytes(32, "big"), bytes(1168)] for n in range(1, 802)]),
        ),
        "an EPOCH of one commitment twice": (shape, on_person([good, good])),
        "a CREATE with a sealing key of suite 1 and the number 2": (
            key,
            genesis([CREATE, "P", [2, owner.sealing], [False, {}]]),
        ),
        "a CREATE with a sealing key of suite 2 and the number 1": (
            key,
            genesis([CREATE, "P", [1, owner.hybrid], [False, {}]]),
        ),
        "a CREATE with an ML-KEM key that is not reduced": (
            key,
            genesis([CREATE, "P", [2, b"\xff" * 3 + owner.hybrid[3:]], [False, {}]]),
        ),
        "a REVOKE of role 0": (shape, on_person([[REVOKE, 0, reader.public]])),
        "a REVOKE of role 4": (shape, on_person([[REVOKE, 4, reader.public]])),
        "a REVOKE of role true": (shape, on_person([[REVOKE, True, reader.public]])),
        "a REVOKE of a key of 31 bytes": (shape, on_person([[REVOKE, READ, reader.public[1:]]])),
        "a REVOKE of a key in text": (shape, on_person([[REVOKE, READ, "r" * 32]])),
        "a REVOKE without a key": (shape, on_person([[REVOKE, READ]])),
        "a REVOKE with a subject": (
            shape,
            on_person([[REVOKE, READ, reader.subject, reader.public]]),
        ),
        "a POLICY that is true": (shape, on_person([[POLICY, True]])),
        "a POLICY without its fields": (shape, on_person([[POLICY, [True]]])),
        "a POLICY whose word is 1": (shape, on_person([[POLICY, [1, {}]]])),
        "a POLICY with a rule that is null": (shape, on_person([[POLICY, [True, {"a": None}]]])),
        "a POLICY with a rule for a bad name": (name, on_person([[POLICY, [True, {"": True}]]])),
        "a POLICY of 257 rules": (
            count,
            on_person([[POLICY, [False, {f"f{n}": True for n in range(257)}]]]),
        ),
        "two POLICY in one event": (
            shape,
            on_person([[POLICY, [True, {}]], [SET, "a", 1], [POLICY, [True, {}]]]),
        ),
    }


def refused_edits() -> dict[str, tuple[str, bytes]]:
    """Ops of lists, dicts, counters and sets."""
    shape, name, value, count = "EV-3/shape", "EV-7/name", "EV-6/value", "EV-7/count"
    inside = sealed(PERSON, b"value_x", KEY_1, SALT_1, 1)
    at = [PERSON, 0, 0]

    def insert(parent: Any = None, right: Any = True, number: Any = 1, values: Any = (1,)) -> bytes:
        return on_person([[LIST_INSERT, "a", parent, right, number, values]])

    def delete(*spans: Any) -> bytes:
        return on_person([[LIST_DELETE, "a", list(spans)]])

    def remove(*adds: Any) -> bytes:
        return on_person([[SET_REMOVE, "a", list(adds)]])

    return {
        "a LIST_INSERT without values": (
            shape,
            on_person([[LIST_INSERT, "a", None, True, 1]]),
        ),
        "a LIST_INSERT into a bad name": (
            name,
            on_person([[LIST_INSERT, "", None, True, 1, [1]]]),
        ),
        "a LIST_INSERT left of the root": (shape, insert(right=False)),
        "a LIST_INSERT on the side 1": (shape, insert(right=1)),
        "a LIST_INSERT of no values": (shape, insert(number=0, values=[])),
        "a LIST_INSERT of fewer values than it counts": (shape, insert(number=2)),
        "a LIST_INSERT of more values than it counts": (shape, insert(values=[1, 2])),
        "a LIST_INSERT of 65,537 values": (
            shape,
            insert(number=65537, values=[0] * 65537),
        ),
        "a LIST_INSERT that counts true": (shape, insert(number=True)),
        "a LIST_INSERT of a value that is no array": (shape, insert(values=1)),
        "a LIST_INSERT of a sealed value among others": (value, insert(values=[inside])),
        "a LIST_INSERT at an element of two parts": (shape, insert(at[:2])),
        "a LIST_INSERT at an event of 31 bytes": (shape, insert([PERSON[1:], 0, 0])),
        "a LIST_INSERT at an event in text": (shape, insert(["p" * 32, 0, 0])),
        "a LIST_INSERT at op 4,096": (shape, insert([PERSON, 4096, 0])),
        "a LIST_INSERT at index 65,536": (shape, insert([PERSON, 0, 65536])),
        "a LIST_INSERT at index -1": (shape, insert([PERSON, 0, -1])),
        "a LIST_SET without a value": (shape, on_person([[LIST_SET, "a", at]])),
        "a LIST_SET of no element": (shape, on_person([[LIST_SET, "a", None, 1]])),
        "a LIST_SET in a bad name": (name, on_person([[LIST_SET, "a b", at, 1]])),
        "a LIST_SET of a sealed value in an array": (
            value,
            on_person([[LIST_SET, "a", at, [inside]]]),
        ),
        "a LIST_DELETE of nothing": (shape, delete()),
        "a LIST_DELETE of an element without a count": (shape, delete(at)),
        "a LIST_DELETE of no elements": (shape, delete([*at, 0])),
        "a LIST_DELETE beyond the longest run": (shape, delete([PERSON, 0, 65535, 2])),
        "a LIST_DELETE in a bad name": (name, on_person([[LIST_DELETE, 1, [[*at, 1]]]])),
        "a LIST_DELETE of 4,097 spans": (
            count,
            delete(*[[PERSON, 0, n, 1] for n in range(4097)]),
        ),
        "a DICT_SET without a value": (shape, on_person([[DICT_SET, "a", "k"]])),
        "a DICT_SET with a fifth element": (shape, on_person([[DICT_SET, "a", "k", 1, 1]])),
        "a DICT_SET in a bad name": (name, on_person([[DICT_SET, "a/b", "k", 1]])),
        "a DICT_SET of a key of 513 bytes": (name, on_person([[DICT_SET, "a", "k" * 513, 1]])),
        "a DICT_SET of a key of 513 bytes in 257 characters": (
            name,
            on_person([[DICT_SET, "a", "k" + "é" * 256, 1]]),
        ),
        "a DICT_SET of a key in bytes": (name, on_person([[DICT_SET, "a", b"k", 1]])),
        "a DICT_SET of a key that is a number": (name, on_person([[DICT_SET, "a", 1, 1]])),
        "a DICT_SET of a sealed value in a map": (
            value,
            on_person([[DICT_SET, "a", "k", {"b": inside}]]),
        ),
        "a DICT_DELETE without a key": (shape, on_person([[DICT_DELETE, "a"]])),
        "a DICT_DELETE of a key of 513 bytes": (name, on_person([[DICT_DELETE, "a", "k" * 513]])),
        "a DICT_DELETE in a bad name": (name, on_person([[DICT_DELETE, "", "k"]])),
        "a COUNTER_ADD without an amount": (shape, on_person([[COUNTER_ADD, "a"]])),
        "a COUNTER_ADD of a float": (shape, on_person([[COUNTER_ADD, "a", 1.0]])),
        "a COUNTER_ADD of true": (shape, on_person([[COUNTER_ADD, "a", True]])),
        "a COUNTER_ADD of null": (shape, on_person([[COUNTER_ADD, "a", None]])),
        "a COUNTER_ADD of 2^63": (value, on_person([[COUNTER_ADD, "a", 1 << 63]])),
        "a COUNTER_ADD to a bad name": (name, on_person([[COUNTER_ADD, "", 1]])),
        "a SET_ADD without a value": (shape, on_person([[SET_ADD, "a"]])),
        "a SET_ADD to a bad name": (name, on_person([[SET_ADD, "", 1]])),
        "a SET_ADD of a sealed value in an array": (value, on_person([[SET_ADD, "a", [inside]]])),
        "a SET_REMOVE of nothing": (shape, remove()),
        "a SET_REMOVE of null": (shape, on_person([[SET_REMOVE, "a", None]])),
        "a SET_REMOVE of an event alone": (shape, remove([PERSON])),
        "a SET_REMOVE of an add of three parts": (shape, remove(at)),
        "a SET_REMOVE of an add by an event of 33 bytes": (shape, remove([PERSON + b"\0", 0])),
        "a SET_REMOVE of op 4,096": (shape, remove([PERSON, 4096])),
        "a SET_REMOVE of op true": (shape, remove([PERSON, True])),
        "a SET_REMOVE in a bad name": (name, on_person([[SET_REMOVE, "", [[PERSON, 0]]]])),
        "a SET_REMOVE of 4,097 adds": (
            count,
            remove(*[[PERSON, 0]] * 4097),
        ),
        "a SET_ADD in a genesis": (
            "EV-5/genesis",
            genesis(create("P", owner, [False, {}]), [SET_ADD, "a", 1]),
        ),
        "a DICT_SET in a genesis": (
            "EV-5/genesis",
            genesis(create("P", owner, [False, {}]), [DICT_SET, "a", "k", 1]),
        ),
    }


def refused_values() -> dict[str, tuple[str, bytes]]:
    value, spelling = "EV-6/value", "EV-8/canonical"
    inside = sealed(PERSON, b"value_x", KEY_1, SALT_1, 1)
    foreign = b"\xd0\x83\x58\x39" + bytes(57) + b"\xa0\x58\x20" + bytes(32)
    double = b"\xfb" + struct.pack(">d", 1.5)
    return {
        "a value that is NaN": (value, raw_value(b"\xf9\x7e\x00")),
        "a value that is -0.0": (value, raw_value(b"\xf9\x80\x00")),
        "a value that is undefined": (value, raw_value(b"\xf7")),
        "a value of 2^63": (value, raw_value(b"\x1b\x80" + bytes(7))),
        "a value of -2^63 - 1": (value, raw_value(b"\x3b\x80" + bytes(7))),
        "a value that is a bignum": (value, raw_value(b"\xc2\x41\x01")),
        "a value with a date tag": (value, raw_value(b"\xc0\x61a")),
        "a value with tag 16 that is no sealed value": (
            value,
            raw_value(foreign),
        ),
        "a value of bad UTF-8": (value, raw_value(b"\x61\xff")),
        "a map with a number for a key": (value, raw_value(b"\xa1\x01\x01")),
        "a sealed value inside an array": (value, on_person([[SET, "x", [inside]]])),
        "a sealed value inside a map": (value, on_person([[SET, "x", {"a": inside}]])),
        "a value of 17 levels": ("EV-7/depth", raw_value(b"\x81" * 16 + b"\x80")),
        "an int in more bytes than it needs": (spelling, raw_value(b"\x18\x01")),
        "a float in more bytes than it needs": (spelling, raw_value(double)),
        "an array of indefinite length": (spelling, raw_value(b"\x9f\xff")),
        "map keys out of order": (spelling, raw_value(b"\xa2\x61b\x01\x61a\x01")),
        "a map key twice": (spelling, raw_value(b"\xa2\x61a\x01\x61a\x01")),
        "a byte after the payload": (spelling, raw_value(b"\x01\x00")),
        "a payload cut short": (spelling, raw_value(b"\x62a")),
    }


def refused_by_bytes() -> dict[str, tuple[str, bytes]]:
    """Name to (reason, bytes)."""
    return (
        refused_envelopes()
        | refused_payloads()
        | refused_ops()
        | refused_edits()
        | refused_values()
    )
