"""HPKE (RFC 9180) in base mode with an ephemeral key of the caller's, so that it can be repeated.

The library that nodes use draws the ephemeral key itself. What is made here opens with it: only
the sender is written anew, for DHKEM(X25519), HKDF-SHA256 and ChaCha20-Poly1305. For simulations:
an ephemeral key used twice gives the plaintext away.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from dinemic_engine.errors import UsageError
from dinemic_engine.keys import SUITE_X25519
from dinemic_engine.sealing import EncryptTo

_KEM: Final = b"KEM" + (0x0020).to_bytes(2, "big")
_SUITE: Final = b"HPKE" + b"".join(part.to_bytes(2, "big") for part in (0x0020, 0x0001, 0x0003))
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_MODE_BASE: Final = b"\0"


def encrypt_with(entropy: Callable[[int], bytes]) -> EncryptTo:
    """An `encrypt_to` that draws from `entropy`; hybrid suites it refuses with `UsageError`."""

    def encrypt(suite: int, public: bytes, plaintext: bytes, info: bytes) -> bytes:
        if suite != SUITE_X25519:
            raise UsageError("sealing='hybrid' cannot be simulated: ML-KEM cannot be repeated")
        return _encrypt(public, plaintext, info, entropy(_KEY_BYTES))

    return encrypt


def _encrypt(public: bytes, plaintext: bytes, info: bytes, private: bytes) -> bytes:
    """``ephemeral public key | ciphertext``, as `Suite.encrypt` of `cryptography` gives it."""
    ephemeral = X25519PrivateKey.from_private_bytes(private)
    encapsulated = ephemeral.public_key().public_bytes_raw()
    secret = ephemeral.exchange(X25519PublicKey.from_public_bytes(public))
    # section 4.1, ExtractAndExpand
    shared = _expand(
        _KEM,
        _extract(_KEM, b"", b"eae_prk", secret),
        b"shared_secret",
        encapsulated + public,
        _KEY_BYTES,
    )
    # section 5.1, KeySchedule without a pre-shared key
    context = (
        _MODE_BASE
        + _extract(_SUITE, b"", b"psk_id_hash", b"")
        + _extract(_SUITE, b"", b"info_hash", info)
    )
    schedule = _extract(_SUITE, shared, b"secret", b"")
    key = _expand(_SUITE, schedule, b"key", context, _KEY_BYTES)
    nonce = _expand(_SUITE, schedule, b"base_nonce", context, _NONCE_BYTES)
    return encapsulated + ChaCha20Poly1305(key).encrypt(nonce, plaintext, b"")


def _extract(suite: bytes, salt: bytes, label: bytes, material: bytes) -> bytes:
    """LabeledExtract."""
    mac = HMAC(salt or bytes(_KEY_BYTES), SHA256())
    mac.update(b"HPKE-v1" + suite + label + material)
    return mac.finalize()


def _expand(suite: bytes, key: bytes, label: bytes, info: bytes, length: int) -> bytes:
    """LabeledExpand."""
    labelled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return HKDFExpand(SHA256(), length, labelled).derive(key)
