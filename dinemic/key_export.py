"""Ownership in a file: the private keys of some objects, to be moved to another home.

    ["dinemic/key-export", 1, derivation, verifier, nonce, sealed, sum]

``derivation`` is one of `passphrases`; HKDF makes two keys of its result, as for a keyring: the
verifier, which tells a wrong passphrase from a damaged file, and the key that seals the rest with
ChaCha20-Poly1305. Associated data are the first four elements. Inside ``sealed`` is

    [[object id, key file, genesis]...]     sorted by object id

where ``key file`` is what a keyring without a passphrase would hold. The genesis proves that the
keys are the object's: its hash is the object's id, and it names both public keys. So nothing in a
file, whoever made it, can put wrong keys into a keyring.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.constant_time import bytes_eq

from dinemic import passphrases, private_files
from dinemic.keyring import ObjectKeys, decode_keys_untrusted, encode_keys
from dinemic_engine import canonical
from dinemic_engine.canonical import Value
from dinemic_engine.errors import (
    InvalidEvent,
    LimitExceeded,
    StoreCorrupt,
    StoreError,
    UsageError,
)
from dinemic_engine.event import open_event_untrusted
from dinemic_engine.ids import ObjectId, short
from dinemic_engine.limits import EVENT_BYTES_MAX
from dinemic_engine.ops import Create

_FORMAT: Final = "dinemic/key-export"
_VERSION: Final = 1
_NONCE_BYTES: Final = 12
_FILE_BYTES_MAX: Final = EVENT_BYTES_MAX
"""What `canonical` reads at once; enough for the keys of a thousand objects."""


class Exported(NamedTuple):
    """One object in such a file."""

    object_id: ObjectId
    model: str
    keys: ObjectKeys


def write(path: Path, owned: Sequence[tuple[ObjectKeys, bytes]], passphrase: str) -> None:
    """Make a file (0600, durable) of the keys of some objects and their genesis events.

    Raises:
        UsageError: the passphrase is empty, the file is there already, or it would be too large.
        StoreFull, StoreError: the system refused; there is no file.
    """
    if os.path.lexists(path):
        raise UsageError(f"{path} is there already")
    events = [(keys, open_event_untrusted(genesis)) for keys, genesis in owned]
    events.sort(key=lambda found: found[1].id)
    content: Value = [
        [event.object, encode_keys(event.object, keys, None), event.raw] for keys, event in events
    ]
    derivation, derived = passphrases.new(passphrase)
    head: list[Value] = [list(derivation), _expand(derived, "verifier")]
    nonce = os.urandom(_NONCE_BYTES)
    try:
        sealed = _cipher(derived).encrypt(nonce, canonical.encode(content), _bound(head))
        data = private_files.encode(_FORMAT, _VERSION, *head, nonce, sealed)
    except LimitExceeded as error:
        raise UsageError(f"too many objects for one file: {error.detail}") from error
    if len(data) > _FILE_BYTES_MAX:
        raise UsageError(f"too many objects for one file: {len(data)} bytes of {_FILE_BYTES_MAX}")
    with private_files.disk_errors(path):
        private_files.write(path, data)


def read_untrusted(path: Path, passphrase: str) -> list[Exported]:
    """The objects in a file, each with keys that were checked to be its own.

    Raises:
        UsageError: wrong passphrase.
        StoreCorrupt: cut short, damaged or forged.
        StoreError: not there, readable by others, or of a later release.
    """
    with private_files.disk_errors(path):
        data = private_files.read(path, _FILE_BYTES_MAX)
    match private_files.decode_untrusted(path, data, _FORMAT, _VERSION):
        case [list(derivation), bytes(verifier), bytes(nonce), bytes(sealed)]:
            head: list[Value] = [derivation, verifier]
        case _:
            raise StoreCorrupt(f"{path} is not an export of keys")
    try:
        sane = passphrases.read_untrusted(derivation)
        derived = passphrases.derive(sane, passphrase)
    except ValueError as error:
        raise StoreCorrupt(f"{path} {error}") from error
    except UnsupportedAlgorithm:
        raise StoreError(f"{path} needs a derivation the OpenSSL here does not have") from None
    if not bytes_eq(_expand(derived, "verifier"), verifier):
        raise UsageError(f"wrong passphrase for {path}")
    try:
        opened = _cipher(derived).decrypt(nonce, sealed, _bound(head))
        content = canonical.decode_untrusted(opened)
    except (InvalidTag, ValueError, InvalidEvent):  # ValueError: no nonce has that length
        raise StoreCorrupt(f"{path} does not open: it was damaged or replaced") from None
    if not isinstance(content, list) or not content:
        raise StoreCorrupt(f"{path} holds no keys")
    return [_read_object_untrusted(path, item) for item in content]


def _read_object_untrusted(path: Path, item: Value) -> Exported:
    match item:
        case [bytes(object_id), bytes(key_file), bytes(genesis)]:
            pass
        case _:
            raise StoreCorrupt(f"{path} is not an export of keys")
    keys = decode_keys_untrusted(path, key_file, object_id, None)
    try:
        event = open_event_untrusted(genesis)
    except InvalidEvent as error:
        raise StoreCorrupt(f"{path}: the genesis of {short(object_id)}...: {error}") from error
    create = event.ops[0]
    if (
        event.id != object_id
        or not isinstance(create, Create)
        or (event.author, create.sealing) != (keys.signing.public, keys.sealing.public)
    ):
        raise StoreCorrupt(f"{path}: keys that are not those of object {short(object_id)}...")
    return Exported(ObjectId(object_id), create.model, keys)


def _cipher(derived: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(_expand(derived, "seal"))


def _bound(head: list[Value]) -> bytes:
    return canonical.encode([_FORMAT, _VERSION, *head])


def _expand(derived: bytes, purpose: str) -> bytes:
    return passphrases.expand(derived, f"{_FORMAT}/{_VERSION}/{purpose}")
