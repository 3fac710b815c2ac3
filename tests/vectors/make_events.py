"""Writes events.json: events every node must accept, and events every node must refuse, and why.

Shares no code with the engine: bytes are put together here from docs/format.md, with cbor2,
hashlib and the primitives of `cryptography` (HPKE by hand, because a vector needs a fixed
ephemeral key). The output is the same at every run:

    python tests/vectors/make_events.py > tests/vectors/events.json
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import struct
import sys
from collections.abc import Sequence
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

CREATE, SET, DELETE, GRANT, EPOCH, REMOVE = 1, 2, 3, 12, 15, 16
READ, UPDATE, ADMIN = 1, 2, 3
T = 1_700_000_000_000_000
L = (1 << 252) + 27742317777372353535851937790883648493


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


class Actor:
    """A signing key and a sealing key, both from a name."""

    def __init__(self, name: str) -> None:
        self.seed = sha(b"vector/sign/", name.encode())
        self.sealing_private = sha(b"vector/seal/", name.encode())
        self.signing = Ed25519PrivateKey.from_private_bytes(self.seed)
        self.public = self.signing.public_key().public_bytes_raw()
        sealing = X25519PrivateKey.from_private_bytes(self.sealing_private)
        self.sealing = sealing.public_key().public_bytes_raw()
        self.subject = sha(b"vector/object/", name.encode())


ACTORS = {name: Actor(name) for name in ("owner", "chief", "clerk", "reader", "stranger", "late")}
owner, chief, clerk, reader, stranger, late = ACTORS.values()


# -- envelope ------------------------------------------------------------------------------------


def bstr(data: bytes) -> bytes:
    return cbor2.dumps(data)


def sig_structure(payload: bytes, context: bytes = b"dinemic/event/1") -> bytes:
    return b"\x84\x6aSignature1\x43\xa1\x01\x27" + bstr(context) + bstr(payload)


def envelope(payload: bytes, signature: bytes) -> bytes:
    return b"\x84\x43\xa1\x01\x27\xa0" + bstr(payload) + bstr(signature)


def sign(actor: Actor, payload: bytes) -> bytes:
    return envelope(payload, actor.signing.sign(sig_structure(payload)))


def pay(obj: bytes | None, actor: Actor, t: Any, parents: Any, ops: Any) -> bytes:
    return cbor2.dumps([1, obj, actor.public, t, parents, ops], canonical=True)


def event(actor: Actor, obj: bytes | None, t: Any, parents: Sequence[bytes], ops: Any) -> bytes:
    return sign(actor, pay(obj, actor, t, sorted(parents), ops))


def event_id(raw: bytes) -> bytes:
    return sha(sig_structure(cbor2.loads(raw)[2]))


# -- ops -----------------------------------------------------------------------------------------


def create(model: str, actor: Actor, policy: Any) -> list[Any]:
    return [CREATE, model, [1, actor.sealing], policy]


def grant(role: int, actor: Actor) -> list[Any]:
    return [GRANT, role, actor.subject, actor.public, [1, actor.sealing]]


def labeled(suite: bytes, label: bytes, data: bytes) -> bytes:
    return b"HPKE-v1" + suite + label + data


def extract(suite: bytes, salt: bytes, label: bytes, data: bytes) -> bytes:
    return hmac.digest(salt, labeled(suite, label, data), "sha256")


def expand_raw(secret: bytes, info: bytes, size: int) -> bytes:
    assert size <= 32
    return hmac.digest(secret, info + b"\x01", "sha256")[:size]


def expand(suite: bytes, secret: bytes, label: bytes, info: bytes, size: int) -> bytes:
    return expand_raw(secret, size.to_bytes(2, "big") + labeled(suite, label, info), size)


def hpke_seal(public: bytes, ephemeral: bytes, info: bytes, plain: bytes) -> bytes:
    """RFC 9180 base mode: the encapsulated key, then the ciphertext; no associated data."""
    kem, suite = b"KEM\x00\x20", b"HPKE\x00\x20\x00\x01\x00\x03"
    private = X25519PrivateKey.from_private_bytes(ephemeral)
    encapsulated = private.public_key().public_bytes_raw()
    shared = private.exchange(X25519PublicKey.from_public_bytes(public))
    secret = extract(kem, b"", b"eae_prk", shared)
    secret = expand(kem, secret, b"shared_secret", encapsulated + public, 32)
    context = b"\0" + extract(suite, b"", b"psk_id_hash", b"")
    context += extract(suite, b"", b"info_hash", info)
    secret = extract(suite, secret, b"secret", b"")
    key = expand(suite, secret, b"key", context, 32)
    nonce = expand(suite, secret, b"base_nonce", context, 12)
    return encapsulated + ChaCha20Poly1305(key).encrypt(nonce, plain, b"")


def commitment(obj: bytes, key: bytes) -> bytes:
    return sha(b"dinemic/epoch/1", obj, key)


def epoch(obj: bytes, key: bytes, actors: Sequence[Actor], links: Sequence[Any] = ()) -> list[Any]:
    commit = commitment(obj, key)
    info = b"dinemic/epoch/1" + obj + commit
    recipients = [
        [
            actor.public,
            hpke_seal(actor.sealing, sha(b"vector/hpke/", actor.seed, commit), info, key),
        ]
        for actor in sorted(actors, key=lambda actor: actor.public)
    ]
    return [EPOCH, 1, commit, recipients, list(links)]


def sealed(obj: bytes, path: bytes, key: bytes, salt: bytes, value: Any) -> cbor2.CBORTag:
    commit = commitment(obj, key)
    protected = cbor2.dumps({1: 24, 4: commit, -20: salt}, canonical=True)
    value_key = expand_raw(hmac.digest(salt, key, "sha256"), b"dinemic/value/1" + obj + path, 32)
    associated = cbor2.dumps(["Encrypt0", protected, obj + path + commit])
    plain = cbor2.dumps(value, canonical=True)
    return cbor2.CBORTag(
        16, [protected, {}, ChaCha20Poly1305(value_key).encrypt(bytes(12), plain, associated)]
    )


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

note = event(owner, None, 0, [], [create("Note", owner, [False, {}])])
NOTE = event_id(note)
person = event(
    owner,
    None,
    T,
    [],
    [
        create("Person", owner, [False, {"motto": True}]),
        grant(ADMIN, chief),
        grant(UPDATE, clerk),
        grant(READ, reader),
        [SET, "name", "Alice"],
    ],
)
PERSON = event_id(person)
board = event(stranger, None, T, [], [create("Board", stranger, [True, {"title": False}])])
BOARD = event_id(board)

KEY_1, KEY_2 = sha(b"vector/epoch/1"), sha(b"vector/epoch/2")
SALT_1, SALT_2 = sha(b"vector/salt/1")[:16], sha(b"vector/salt/2")[:16]


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


# -- refused by bytes alone ----------------------------------------------------------------------

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
    link = [commitment(PERSON, KEY_1), bytes(48)]

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
        fields = {"suite": 1, "commit": good[2], "to": good[3], "links": [], **changed}
        return on_person([[EPOCH, *fields.values()]])

    refused = {
        f"op kind {kind}, reserved": (shape, on_person([[kind, "a", 1]]))
        for kind in (4, 5, 6, 7, 8, 9, 10, 11, 13, 14)
    }
    return refused | {
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
            genesis([CREATE, "P", [2, owner.sealing], [False, {}]]),
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
        "an EPOCH with a link of 47 bytes": (shape, made(links=[[link[0], bytes(47)]])),
        "an EPOCH with a link twice": (shape, made(links=[link, link])),
    }


def refused_values() -> dict[str, tuple[str, bytes]]:
    value, spelling = "EV-6/value", "EV-8/canonical"
    inside = sealed(PERSON, b"value_x", KEY_1, SALT_1, 1)
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
            raw_value(b"\xd0\x83\x58\x39" + bytes(57) + b"\xa0\x58\x20" + bytes(32)),
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
    """JSON for a decoded value: what JSON has no word for is an object of one key."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, float):
        return {"float": repr(value)}
    if isinstance(value, cbor2.CBORTag):
        header = cbor2.loads(value.value[0])
        parts = {"epoch": header[4], "salt": header[-20], "ciphertext": value.value[2]}
        return {"sealed": {name: part.hex() for name, part in parts.items()}}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {"map": {key: plain(item) for key, item in value.items()}}
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
    by_bytes = refused_envelopes() | refused_payloads() | refused_ops() | refused_values()
    people = [names[name] for name, raw in raws.items() if raw == person or PERSON in raw]
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
            for name, (reason, raw) in by_bytes.items()
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
            "fingerprint": {
                "count": len(people),
                "wire": sha(packed)[:16].hex(),
            },
        },
    }


if __name__ == "__main__":
    json.dump(build(), sys.stdout, indent=1, ensure_ascii=True)
    sys.stdout.write("\n")
