"""Section 5: what sealed values open to, for a reader whose private sealing key is given.

    EPOCH op --HPKE, reader's key--> epoch key --HKDF--> value key --ChaCha20-Poly1305--> value

HPKE is written out from RFC 9180; X25519 and ChaCha20-Poly1305 are libsodium's. Nothing else in a
replica depends on this (SEAL-6).
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from nacl.bindings import (
    crypto_aead_chacha20poly1305_ietf_decrypt,
    crypto_scalarmult,
    crypto_scalarmult_base,
)
from nacl.exceptions import CryptoError

from reference.objects import Object
from reference.shapes import Op
from reference.spelling import Sealed, Value, read, write

NONCE = bytes(12)


class Closed(Exception):
    """It does not open for this reader."""


class Reader:
    """What one reader of an object opens.

    `private` is 32 bytes of X25519; of suite 2, before them, the 64 bytes (d, z) of ML-KEM-768.
    """

    def __init__(self, obj: Object, signing: bytes, private: bytes) -> None:
        self.object = obj.id
        self.keys: dict[bytes, bytes] = {}
        """Epoch keys by commitment. Any EPOCH whose part opens will do, void ones too."""
        for placed in obj.log.ops(obj.log.events, Op.EPOCH):
            _, suite, commit, recipients = placed.op
            sealed = dict(recipients).get(signing)
            if sealed is None or len(private) != {1: 32, 2: 96}[suite]:
                continue
            try:
                key = _open_epoch(suite, private, sealed, b"dinemic/epoch/1" + self.object + commit)
            except Closed:
                continue
            if _sha(b"dinemic/epoch/1", self.object, key) == commit:
                self.keys[commit] = key

    def open(self, path: str, value: Value) -> Value:
        """A value by its path: the stored key, and in a dict a slash and the key behind it.

        Raises:
            Closed: it is sealed, and not for this reader or place, or what is in it is no value.
        """
        if not isinstance(value, Sealed):
            return value
        if value.commit not in self.keys:
            raise Closed("no key")
        place = self.object + path.encode()
        info = b"dinemic/value/1" + place
        key = _expand(hmac.digest(value.salt, self.keys[value.commit], "sha256"), info, 32)
        aad = write(["Encrypt0", value.protected, place + value.commit])
        plain, broken = read(_decrypt(key, NONCE, aad, value.ciphertext))
        if broken:
            raise Closed("no value in it")
        return plain

    def element(self, path: str, value: Value, at: int) -> Value:
        """The value of an element that was inserted `at` in a sealed array, or in a plain one."""
        if not isinstance(value, Sealed):
            return value
        values = self.open(path, value)
        if not isinstance(values, list) or at >= len(values):
            raise Closed("no array with a value for it")
        return values[at]


# -- HPKE, base mode -------------------------------------------------------------------------------


def _open_epoch(suite: int, private: bytes, sealed: bytes, info: bytes) -> bytes:
    if suite == 1:
        kem, encapsulated = 0x0020, sealed[:32]
        secret = _x25519_secret(private, encapsulated)
    else:
        kem, encapsulated = 0x647A, sealed[:1120]
        secret = _x_wing_secret(private, encapsulated)
    suite_id = b"HPKE" + kem.to_bytes(2, "big") + b"\x00\x01\x00\x03"
    context = b"\x00" + _labeled_extract(suite_id, b"", b"psk_id_hash", b"")
    context += _labeled_extract(suite_id, b"", b"info_hash", info)
    secret = _labeled_extract(suite_id, secret, b"secret", b"")
    key = _labeled_expand(suite_id, secret, b"key", context, 32)
    nonce = _labeled_expand(suite_id, secret, b"base_nonce", context, 12)
    return _decrypt(key, nonce, b"", sealed[len(encapsulated) :])


def _x25519_secret(private: bytes, encapsulated: bytes) -> bytes:
    """DHKEM(X25519, HKDF-SHA256): what both sides know (RFC 9180, 4.1)."""
    suite_id = b"KEM\x00\x20"
    shared = _x25519(private, encapsulated)
    context = encapsulated + crypto_scalarmult_base(private)
    secret = _labeled_extract(suite_id, b"", b"eae_prk", shared)
    return _labeled_expand(suite_id, secret, b"shared_secret", context, 32)


def _x_wing_secret(private: bytes, encapsulated: bytes) -> bytes:
    seed, scalar = private[:64], private[64:]
    first, second = encapsulated[:1088], encapsulated[1088:]
    return hashlib.sha3_256(
        MLKEM768PrivateKey.from_seed_bytes(seed).decapsulate(first)
        + _x25519(scalar, second)
        + second
        + crypto_scalarmult_base(scalar)
        + bytes.fromhex("5c2e2f2f5e5c")
    ).digest()


def _x25519(private: bytes, public: bytes) -> bytes:
    try:
        return crypto_scalarmult(private, public)
    except CryptoError:
        raise Closed("a point of low order") from None


def _labeled_extract(suite_id: bytes, salt: bytes, label: bytes, secret: bytes) -> bytes:
    return hmac.digest(salt, b"HPKE-v1" + suite_id + label + secret, "sha256")


def _labeled_expand(suite_id: bytes, secret: bytes, label: bytes, info: bytes, size: int) -> bytes:
    return _expand(secret, size.to_bytes(2, "big") + b"HPKE-v1" + suite_id + label + info, size)


def _expand(secret: bytes, info: bytes, size: int) -> bytes:
    """HKDF-Expand of SHA-256, of one block at most (RFC 5869)."""
    return hmac.digest(secret, info + b"\x01", "sha256")[:size]


def _decrypt(key: bytes, nonce: bytes, aad: bytes, ciphertext: bytes) -> bytes:
    if len(ciphertext) < 16:
        raise Closed("no room for a tag")
    try:
        return crypto_aead_chacha20poly1305_ietf_decrypt(ciphertext, aad, nonce, key)
    except CryptoError:
        raise Closed("another key, or other bytes") from None


def _sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()
