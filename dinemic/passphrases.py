"""A key from a passphrase: slow on purpose, by Argon2id, or scrypt where OpenSSL has no Argon2id.

A derivation is ``("argon2id", salt, passes, lanes, KiB)`` or ``("scrypt", salt, n, r, p)``; it is
written beside what it protects, so a file says itself how its key is found. Whoever gets hold of
such a file can try passphrases; the cost of each try is all that protects a weak one.
"""

from __future__ import annotations

import os
import unicodedata
from typing import Final, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from dinemic_engine.canonical import Value
from dinemic_engine.errors import UsageError

Derivation: TypeAlias = tuple[str, bytes, int, int, int]

_KEY_BYTES: Final = 32
_SALT_BYTES: Final = 16

_ARGON2ID_COST: Final = (3, 4, 64 << 10)
"""Passes, lanes, KiB: the second recommendation of RFC 9106; about 0.15 s."""

_SCRYPT_COST: Final = (1 << 17, 8, 1)
"""n, r, p: 128 MiB, for builds of OpenSSL without Argon2id; about 0.3 s."""

_BYTES_MAX: Final = 1 << 30
"""Memory and work (one pass over memory) a file may ask for, so a forged one cannot stop us."""
_PASSES_MAX: Final = 64


def new(passphrase: str) -> tuple[Derivation, bytes]:
    """A derivation with a random salt, and what it makes of `passphrase`.

    Raises:
        UsageError: the passphrase is empty.
    """
    salt = os.urandom(_SALT_BYTES)
    try:
        derivation: Derivation = ("argon2id", salt, *_ARGON2ID_COST)
        return derivation, derive(derivation, passphrase)
    except UnsupportedAlgorithm:
        derivation = ("scrypt", salt, *_SCRYPT_COST)
        return derivation, derive(derivation, passphrase)


def read_untrusted(value: Value) -> Derivation:
    """A derivation from decoded CBOR.

    Raises:
        ValueError: none that this release makes, or beyond our bounds of memory and time.
    """
    match value:
        case [str(name), bytes(salt), int(a), int(b), int(c)] if _is_sane(name, salt, a, b, c):
            return name, salt, a, b, c
        case _:
            raise ValueError("names no key derivation this release makes")


def _is_sane(name: str, salt: bytes, a: int, b: int, c: int) -> bool:
    if len(salt) != _SALT_BYTES or min(a, b, c) < 1:
        return False
    match name:
        case "argon2id":
            passes, lanes, kib = a, b, c
            bounded = passes <= _PASSES_MAX and kib << 10 <= _BYTES_MAX
            return bounded and lanes <= 64 and kib >= 8 * lanes
        case "scrypt":
            n, r, p = a, b, c
            power_of_two = n > 1 and n & (n - 1) == 0
            return power_of_two and 128 * n * r <= _BYTES_MAX and p <= 16
        case _:
            return False


def derive(derivation: Derivation, passphrase: str) -> bytes:
    """The 32 bytes a derivation makes of `passphrase`; keys are made of them by `expand`.

    Raises:
        UsageError: the passphrase is empty.
        UnsupportedAlgorithm: the OpenSSL here does not have it.
    """
    if not passphrase:
        raise UsageError("the passphrase is empty")
    # one spelling for what looks alike; bytes of the environment that are no text stay distinct
    entered = unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogatepass")
    name, salt, a, b, c = derivation
    if name == "argon2id":
        return Argon2id(salt=salt, length=_KEY_BYTES, iterations=a, lanes=b, memory_cost=c).derive(
            entered
        )
    return Scrypt(salt=salt, length=_KEY_BYTES, n=a, r=b, p=c).derive(entered)


def expand(derived: bytes, purpose: str) -> bytes:
    """A key for one purpose; the purpose names the format of the file and its version."""
    return HKDFExpand(hashes.SHA256(), _KEY_BYTES, purpose.encode("ascii")).derive(derived)
