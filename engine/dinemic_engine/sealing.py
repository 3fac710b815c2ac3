"""Sealing: values that open only for the readers of an object (SEAL-1, SEAL-2, SEAL-5).

    epoch key   32 random bytes, in EPOCH ops sealed to each reader with HPKE (RFC 9180)
        |           commit = SHA-256("dinemic/epoch/1" | object | epoch key)
        |  HKDF-SHA256(salt = 16 random bytes, info = "dinemic/value/1" | object | field path)
        v
    value key   used once, so the nonce of ChaCha20-Poly1305 is twelve zero bytes
        |           associated data = Enc_structure(protected, object | field path | commit)
        v
    COSE_Encrypt0   epoch commitment and salt in its protected header (canonical.Sealed)

An epoch is named by its commitment. HPKE and ChaCha20-Poly1305 do not commit to their keys: one
sealed text can be made to open to different keys for different readers. The commitment closes
that: a reader whose key does not hash to it has been cheated, treats the value as unreadable, and
state is untouched, because nothing that decides state looks inside (SEAL-6).

The object and the field are in the key derivation and in the associated data, so a ciphertext
carried to another field or object does not open.

More than one EPOCH op may seal the key of one epoch: a reader granted later is given it by another,
alone (SEAL-4). HPKE runs in the suite of the object, which all its readers share.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

import cbor2
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dinemic_engine import canonical
from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.errors import InvalidEvent, Unreadable
from dinemic_engine.ids import AuthorId, short
from dinemic_engine.keys import KEY_BYTES, SUITE_HYBRID, SUITE_X25519, SealingKey
from dinemic_engine.ops import Epoch

EncryptTo = Callable[[int, bytes, bytes, bytes], bytes]
"""What `encrypt_to` is."""

EPOCH_KEY_BYTES: Final = 32
SALT_BYTES: Final = canonical.SALT_BYTES

_EPOCH_TAG: Final = b"dinemic/epoch/1"
_VALUE_TAG: Final = b"dinemic/value/1"
_NONCE: Final = bytes(12)
_SUITES: Final = {
    SUITE_X25519: Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305),
    SUITE_HYBRID: Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305),
}


def commitment(object_id: bytes, epoch_key: bytes) -> bytes:
    """The 32 bytes that name an epoch and bind it to one key and one object."""
    return hashlib.sha256(_EPOCH_TAG + object_id + epoch_key).digest()


def encrypt_to(suite: int, public: bytes, plaintext: bytes, info: bytes) -> bytes:
    """`plaintext` for the holder of a sealing key, by HPKE, which draws its own ephemeral key."""
    return _SUITES[suite].encrypt(plaintext, _public(suite, public), info)


def make_epoch(
    object_id: bytes,
    epoch_key: bytes,
    readers: dict[AuthorId, bytes],
    suite: int = SUITE_X25519,
    encrypt: EncryptTo = encrypt_to,
) -> Epoch:
    """An EPOCH op for `readers`: their signing key to their public sealing key of `suite`.

    Two calls differ, but with an `encrypt` that draws nothing.
    """
    commit = commitment(object_id, epoch_key)
    info = _EPOCH_TAG + object_id + commit
    recipients = tuple(
        (reader, encrypt(suite, public, epoch_key, info))
        for reader, public in sorted(readers.items())
    )
    return Epoch(suite, commit, recipients)


def _public(suite: int, public: bytes) -> X25519PublicKey | MLKEM768X25519PublicKey:
    key = X25519PublicKey.from_public_bytes(public[-KEY_BYTES:])
    if suite == SUITE_X25519:
        return key
    return MLKEM768X25519PublicKey(MLKEM768PublicKey.from_public_bytes(public[:-KEY_BYTES]), key)


def _private(key: SealingKey) -> X25519PrivateKey | MLKEM768X25519PrivateKey:
    scalar = X25519PrivateKey.from_private_bytes(key.private[-KEY_BYTES:])
    if key.suite == SUITE_X25519:
        return scalar
    seed = key.private[:-KEY_BYTES]
    return MLKEM768X25519PrivateKey(MLKEM768PrivateKey.from_seed_bytes(seed), scalar)


def open_epoch(object_id: bytes, epoch: Epoch, reader: AuthorId, key: SealingKey) -> bytes:
    """The epoch key, as `reader` finds it.

    Raises:
        Unreadable: not a recipient, or what was sealed for it is not the committed key.
    """
    sealed = dict(epoch.recipients).get(reader)
    if sealed is None:
        raise Unreadable(f"{short(reader)} is no recipient of epoch {short(epoch.commit)}")
    if key.suite != epoch.suite:
        raise Unreadable(f"epoch {short(epoch.commit)} is of another suite than the reader's key")
    info = _EPOCH_TAG + object_id + epoch.commit
    try:
        epoch_key = _SUITES[epoch.suite].decrypt(sealed, _private(key), info)
    except (InvalidTag, ValueError):
        raise Unreadable(f"epoch {short(epoch.commit)} does not open for {short(reader)}") from None
    if commitment(object_id, epoch_key) != epoch.commit:
        raise Unreadable(f"epoch {short(epoch.commit)} sealed another key for {short(reader)}")
    return epoch_key


def seal(
    object_id: bytes, path: bytes, commit: bytes, epoch_key: bytes, salt: bytes, value: Value
) -> Sealed:
    """`value` sealed under an epoch, for one field. `salt` is 16 fresh random bytes.

    Raises:
        InvalidEvent: `value` is not a value of EV-6.
    """
    plain = canonical.encode(value)
    shape = Sealed(commit, salt, b"")
    cipher = ChaCha20Poly1305(_value_key(object_id, path, epoch_key, salt))
    ciphertext = cipher.encrypt(_NONCE, plain, _associated(object_id, path, shape))
    return Sealed(commit, salt, ciphertext)


def unseal(object_id: bytes, path: bytes, epoch_key: bytes, sealed: Sealed) -> Value:
    """The value inside `sealed`.

    Raises:
        Unreadable: wrong key, field or object, or changed bytes, or what is inside is no value.
    """
    cipher = ChaCha20Poly1305(_value_key(object_id, path, epoch_key, sealed.salt))
    try:
        plain = cipher.decrypt(_NONCE, sealed.ciphertext, _associated(object_id, path, sealed))
    except InvalidTag:
        raise Unreadable(f"a value of epoch {short(sealed.epoch)} does not open here") from None
    try:
        return canonical.decode_untrusted(plain)
    except InvalidEvent as error:
        raise Unreadable(f"what was sealed is no value ({error.reason.rule})") from error


def _value_key(object_id: bytes, path: bytes, epoch_key: bytes, salt: bytes) -> bytes:
    info = _VALUE_TAG + object_id + path
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=info).derive(epoch_key)


def _associated(object_id: bytes, path: bytes, sealed: Sealed) -> bytes:
    """The Enc_structure of RFC 9052 section 5.3."""
    external = object_id + path + sealed.epoch
    return cbor2.dumps(["Encrypt0", canonical.protected_header(sealed), external], canonical=True)


def reader_sum(readers_sum: bytes, reader: AuthorId, *, leaves: bool = False) -> bytes:
    """`readers_sum` with one more reader in it, or one less (layout.Sealing)."""
    term = int.from_bytes(hashlib.sha256(reader).digest(), "big")
    total = int.from_bytes(readers_sum, "big") + (-term if leaves else term)
    return (total % (1 << 256)).to_bytes(32, "big")
