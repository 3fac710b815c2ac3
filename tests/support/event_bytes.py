"""Events put together byte by byte from docs/format.md, with no code of the engine.

A second writer of the format, for vectors: `cbor2`, hashlib and the primitives of `cryptography`,
HPKE by hand because a vector needs a fixed ephemeral key. What it writes may be wrong on purpose.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

CREATE, SET, DELETE, GRANT, REVOKE, POLICY, EPOCH, REMOVE = 1, 2, 3, 12, 13, 14, 15, 16
LIST_INSERT, LIST_SET, LIST_DELETE, DICT_SET, DICT_DELETE = 4, 5, 6, 7, 8
COUNTER_ADD, SET_ADD, SET_REMOVE = 9, 10, 11
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

    @property
    def hybrid(self) -> bytes:
        """The public sealing key of suite 2: ML-KEM-768, then X25519."""
        seed = sha(b"vector/mlkem d/", self.seed) + sha(b"vector/mlkem z/", self.seed)
        key = MLKEM768PrivateKey.from_seed_bytes(seed)
        return key.public_key().public_bytes_raw() + self.sealing


ACTORS = {name: Actor(name) for name in ("owner", "chief", "clerk", "reader", "stranger", "late")}
owner, chief, clerk, reader, stranger, late = ACTORS.values()


# -- envelope ------------------------------------------------------------------------------------


def bstr(data: bytes) -> bytes:
    return cbor2.dumps(data)


def sig_structure(payload: bytes, context: bytes = b"dinemic/event/1") -> bytes:
    return b"\x84\x6aSignature1\x43\xa1\x01\x27" + bstr(context) + bstr(payload)


def envelope(payload: bytes, signature: bytes, path: bytes | None = None) -> bytes:
    unprotected = b"\xa0" if path is None else b"\xa1\x3a\x00\x01\x00\x00" + bstr(path)
    return b"\x84\x43\xa1\x01\x27" + unprotected + bstr(payload) + bstr(signature)


def sign(actor: Actor, payload: bytes) -> bytes:
    return envelope(payload, actor.signing.sign(sig_structure(payload)))


def pay(obj: bytes | None, actor: Actor, t: Any, parents: Any, ops: Any) -> bytes:
    return cbor2.dumps([1, obj, actor.public, t, parents, ops], canonical=True)


def event(actor: Actor, obj: bytes | None, t: Any, parents: Sequence[bytes], ops: Any) -> bytes:
    return sign(actor, pay(obj, actor, t, sorted(parents), ops))


def event_id(raw: bytes) -> bytes:
    return sha(sig_structure(cbor2.loads(raw)[2]))


def tree(leaves: Sequence[bytes]) -> tuple[bytes, list[bytes]]:
    """The root above 2^k leaves, and the path of each (EV-10)."""

    def grown(leaves: Sequence[bytes]) -> tuple[bytes, list[bytes]]:
        if len(leaves) == 1:
            return leaves[0], [b""]
        half = len(leaves) // 2
        (left, of_left), (right, of_right) = grown(leaves[:half]), grown(leaves[half:])
        siblings = [*(way + right for way in of_left), *(way + left for way in of_right)]
        return sha(b"\x01", left, right), siblings

    root, siblings = grown(leaves)
    return root, [bytes((at,)) + way for at, way in enumerate(siblings)]


def sign_root(actor: Actor, root: bytes) -> bytes:
    return actor.signing.sign(sig_structure(root, b"dinemic/batch/1"))


def together(actor: Actor, raws: Sequence[bytes]) -> list[bytes]:
    """The same events, under one signature."""
    root, paths = tree([event_id(raw) for raw in raws])
    signature = sign_root(actor, root)
    return [
        envelope(cbor2.loads(raw)[2], signature, path)
        for raw, path in zip(raws, paths, strict=True)
    ]


# -- ops -----------------------------------------------------------------------------------------


def create(model: str, actor: Actor, policy: Any) -> list[Any]:
    return [CREATE, model, [1, actor.sealing], policy]


def grant(role: int, actor: Actor) -> list[Any]:
    return [GRANT, role, actor.subject, actor.public, [1, actor.sealing]]


def revoke(role: int, actor: Actor) -> list[Any]:
    return [REVOKE, role, actor.public]


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


def epoch(obj: bytes, key: bytes, actors: Sequence[Actor]) -> list[Any]:
    commit = commitment(obj, key)
    info = b"dinemic/epoch/1" + obj + commit
    recipients = [
        [
            actor.public,
            hpke_seal(actor.sealing, sha(b"vector/hpke/", actor.seed, commit), info, key),
        ]
        for actor in sorted(actors, key=lambda actor: actor.public)
    ]
    return [EPOCH, 1, commit, recipients]


def sealed(obj: bytes, path: bytes, key: bytes, salt: bytes, value: Any) -> cbor2.CBORTag:
    commit = commitment(obj, key)
    protected = cbor2.dumps({1: 24, 4: commit, -20: salt}, canonical=True)
    value_key = expand_raw(hmac.digest(salt, key, "sha256"), b"dinemic/value/1" + obj + path, 32)
    associated = cbor2.dumps(["Encrypt0", protected, obj + path + commit])
    plain = cbor2.dumps(value, canonical=True)
    return cbor2.CBORTag(
        16, [protected, {}, ChaCha20Poly1305(value_key).encrypt(bytes(12), plain, associated)]
    )


# -- the objects of the vectors ------------------------------------------------------------------

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
team = event(
    owner,
    None,
    T,
    [],
    [
        create("Team", owner, [False, {}]),
        grant(ADMIN, chief),
        grant(UPDATE, clerk),
        grant(READ, reader),
    ],
)
TEAM = event_id(team)
vault = event(owner, None, T, [], [[CREATE, "Vault", [2, owner.hybrid], [False, {}]]])
VAULT = event_id(vault)

shelf = event(owner, None, T, [], [create("Shelf", owner, [False, {}]), grant(UPDATE, clerk)])
SHELF = event_id(shelf)

rack = event(owner, None, T, [], [create("Rack", owner, [False, {}]), grant(UPDATE, clerk)])
RACK = event_id(rack)

KEY_1, KEY_2 = sha(b"vector/epoch/1"), sha(b"vector/epoch/2")
SALT_1, SALT_2 = sha(b"vector/salt/1")[:16], sha(b"vector/salt/2")[:16]
