"""The private keys of this node and of the objects it owns, durable on disk.

A directory (0700) of small files (0600), each one canonical CBOR array whose last element is the
SHA-256 of the others:

    keyring.cbor     ["dinemic/keyring", 1, derivation, verifier, sum]     null: no passphrase
    node.key         ["dinemic/key", 1, null,      public, nonce, secret, sum]
    <object id>.key  ["dinemic/key", 1, object id, public, nonce, secret, sum]

``public`` is the signing key and, for objects, the sealing key behind it; ``secret`` is the seed
and the private key in the same order; their lengths tell the suite of the sealing key. Without a
passphrase ``nonce`` is null and ``secret`` plain.

With one, ``derivation`` is ``["argon2id", salt, passes, lanes, KiB]`` or ``["scrypt", salt, n, r,
p]``. It runs once, when the keyring is opened, and HKDF makes two keys of its result: the verifier,
which tells a wrong passphrase from a damaged file, and the key that seals every ``secret`` with
ChaCha20-Poly1305 under a random nonce. Associated data are the first four elements of the file, so
a secret that was moved to another object's file does not open. Ids and public keys stay readable.

Invariant: a name that ends in ``.key`` is a whole file. Files are written under another name,
synced and renamed, and the directory is synced before the call returns; what a crash left under
the other name never was a key and is removed by the next open. A file once written is never
changed. Nothing that is wrong is passed over or repaired, and a directory or key that other users
may read is refused, as ssh does: tightening it in silence would hide that the keys are known.

One process writes a keyring; the lock of the home's store sees to that. Any number may read.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn, Protocol, cast

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.constant_time import bytes_eq

from dinemic import passphrases, private_files
from dinemic_engine import canonical, ids
from dinemic_engine.errors import StoreCorrupt, StoreError, UsageError
from dinemic_engine.keys import (
    SEALING_PRIVATE_BYTES,
    SEALING_PUBLIC_BYTES,
    SUITE_X25519,
    SealingKey,
    SigningKey,
)

_HEADER_NAME: Final = "keyring.cbor"
_NODE_NAME: Final = "node.key"
_KEY_SUFFIX: Final = ".key"

_HEADER_FORMAT: Final = "dinemic/keyring"
_KEY_FORMAT: Final = "dinemic/key"
_VERSION: Final = 1
_FILE_BYTES_MAX: Final = 4096
"""Ten times the largest file written here; more is not ours."""

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12

_NODE_LENGTHS: Final = {(_KEY_BYTES, _KEY_BYTES)}
_OBJECT_LENGTHS: Final = {
    (_KEY_BYTES + SEALING_PUBLIC_BYTES[suite], _KEY_BYTES + SEALING_PRIVATE_BYTES[suite])
    for suite in SEALING_PUBLIC_BYTES
}
"""What `public` and `secret` of a file may have, by the suite of the sealing key."""

_CACHED_KEYS_MAX: Final = 4096
"""Object keys kept in memory, a few KiB each; any other is one small file away."""


@dataclass(frozen=True, slots=True)
class ObjectKeys:
    """The two private keys of one object: with them a node owns it."""

    signing: SigningKey
    sealing: SealingKey

    @classmethod
    def generate(
        cls, suite: int = SUITE_X25519, entropy: Callable[[int], bytes] = os.urandom
    ) -> ObjectKeys:
        """New keys, by default from the system's entropy; the sealing key is of `suite`."""
        sealing = SealingKey(entropy(SEALING_PRIVATE_BYTES[suite]))
        return cls(SigningKey(entropy(_KEY_BYTES)), sealing)


class Keys(Protocol):
    """The private keys of a node and its objects, wherever they are kept."""

    @property
    def node_key(self) -> SigningKey:
        """The key the node proves itself with to peers."""

    def owned(self) -> frozenset[bytes]:
        """The ids of all objects whose private keys are here."""

    def __contains__(self, object_id: object) -> bool: ...

    def get(self, object_id: bytes) -> ObjectKeys | None:
        """The keys of an object, or None if they are not here."""

    def add(self, object_id: bytes, keys: ObjectKeys) -> None:
        """Keep the keys of an object; they survive a crash when this returns."""

    def add_all(self, added: Mapping[bytes, ObjectKeys]) -> None:
        """As `add`, of some objects, all or none."""


class Keyring:
    """The keys in one directory. Every method may be called from any thread."""

    def __init__(
        self,
        directory: Path,
        seal: ChaCha20Poly1305 | None,
        owned: set[bytes],
        *,
        writable: bool,
        node_only: bool,
    ) -> None:
        """Use `open`."""
        self._directory = directory
        self._seal = seal
        self._writable = writable
        self._node_only = node_only
        self._lock = threading.Lock()  # held while a file is written and while these change:
        self._owned = owned
        self._owned_view: frozenset[bytes] | None = None
        self._cached: dict[bytes, ObjectKeys] = {}
        self._node_key = self._open_node_key()

    @classmethod
    def open(
        cls,
        directory: Path,
        passphrase: str | None = None,
        *,
        create: bool = True,
        node_only: bool = False,
    ) -> Keyring:
        """The keyring in `directory`; with `create` made there if there is none, with a node key.

        With ``create=False`` nothing is ever written, also not by the keyring that is returned: for
        a look beside a running node, as of this moment. With `node_only` it has no object's keys
        and takes none.

        Raises:
            UsageError: wrong passphrase, or one is missing, or given for a keyring without; or
                `node_only`, and keys of objects are there.
            StoreCorrupt: a file is not what was written, or is gone; the message names it.
            StoreFull: no room left on the device.
            StoreError: no keyring there (``create=False``), other users may read it, or the
                system refused.
        """
        with private_files.disk_errors(directory):
            if create:
                private_files.make_directory(directory)
            names = private_files.names_in(directory)
            owned = {_object_id_untrusted(directory, name) for name in names if _is_object(name)}
            if node_only and owned:
                raise UsageError(
                    f"a relay has no keys of objects, and {len(owned)} are in {directory}: "
                    "give it a home of its own"
                )
            if _HEADER_NAME in names:
                header = private_files.read(directory / _HEADER_NAME, _FILE_BYTES_MAX)
                key = _unlock_untrusted(directory / _HEADER_NAME, header, passphrase)
            elif owned or _NODE_NAME in names:
                raise StoreCorrupt(f"{directory / _HEADER_NAME} is gone, but keys are there")
            elif not create:
                raise StoreError(f"no keyring in {directory}")
            else:
                header, key = _new_header(passphrase)
                # a crash may have come before this, last time
                private_files.sync_directory(directory.parent)
                private_files.write(directory / _HEADER_NAME, header)
            if create:
                for name in names:
                    if name.startswith(private_files.UNFINISHED_PREFIX):
                        (directory / name).unlink(missing_ok=True)
        seal = ChaCha20Poly1305(key) if key else None
        return cls(directory, seal, owned, writable=create, node_only=node_only)

    @property
    def node_key(self) -> SigningKey:
        """The key this node proves itself with to peers; no object's key."""
        return self._node_key

    def owned(self) -> frozenset[bytes]:
        """The ids of all objects whose private keys are here."""
        with self._lock:
            if self._owned_view is None:
                self._owned_view = frozenset(self._owned)
            return self._owned_view

    def __contains__(self, object_id: object) -> bool:
        return object_id in self._owned

    def get(self, object_id: bytes) -> ObjectKeys | None:
        """The keys of an object, or None if they are not here.

        Raises:
            StoreCorrupt: the file is not what was written, or is gone.
            StoreError: other users may read it, or the system refused.
        """
        keys = self._cached.get(object_id)
        if keys is None and object_id in self._owned:
            keys = self._read_object_keys(object_id)
            with self._lock:
                self._remember(object_id, keys)
        return keys

    def add(self, object_id: bytes, keys: ObjectKeys) -> None:
        """As `add_all`, of one object."""
        self.add_all({object_id: keys})

    def add_all(self, added: Mapping[bytes, ObjectKeys]) -> None:
        """Keep the keys of some objects, all or none; they are on disk when this returns.

        Those that are kept already stay. A crash in the middle may leave some; repeat the call.

        Raises:
            UsageError: other keys are kept for one of them (they stay), or `create` was False, or
                `node_only` True.
            StoreFull, StoreError, StoreCorrupt: as for `open`; none of the keys is kept.
        """
        if not self._writable:
            raise UsageError(f"the keyring in {self._directory} was opened for reading only")
        if self._node_only:
            raise UsageError(f"{self._directory} is a relay's: it takes no keys of objects")
        with self._lock:
            missing: dict[Path, bytes] = {}
            for object_id, keys in added.items():
                path = self._path(object_id)
                with private_files.disk_errors(path):
                    is_kept = object_id in self._owned or path.exists()
                if not is_kept:
                    missing[path] = encode_keys(object_id, keys, self._seal)
                elif self._read_object_keys(object_id) != keys:
                    raise UsageError(f"other keys are kept for object {ids.short(object_id)}")
            _write_all(missing)
            self._owned.update(added)
            self._owned_view = None
            for object_id, keys in added.items():
                self._remember(object_id, keys)

    def __repr__(self) -> str:
        sealed = "no passphrase" if self._seal is None else "passphrase"
        return f"Keyring({str(self._directory)!r}, {len(self._owned)} objects, {sealed})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Keyring holds private keys and is never pickled or copied")

    def _path(self, object_id: bytes) -> Path:
        if len(object_id) != ids.ID_BYTES:
            raise UsageError(f"an object id has {ids.ID_BYTES} bytes, not {len(object_id)}")
        return self._directory / (ids.to_text(object_id) + _KEY_SUFFIX)

    def _remember(self, object_id: bytes, keys: ObjectKeys) -> None:
        """Cache `keys`, dropping the oldest when full; the caller holds the lock."""
        if object_id not in self._cached and len(self._cached) >= _CACHED_KEYS_MAX:
            del self._cached[next(iter(self._cached))]
        self._cached[object_id] = keys

    def _read_object_keys(self, object_id: bytes) -> ObjectKeys:
        path = self._path(object_id)
        with private_files.disk_errors(path):
            data = private_files.read(path, _FILE_BYTES_MAX)
        return decode_keys_untrusted(path, data, object_id, self._seal)

    def _open_node_key(self) -> SigningKey:
        path = self._directory / _NODE_NAME
        with private_files.disk_errors(path):
            if path.exists():
                data = private_files.read(path, _FILE_BYTES_MAX)
                public, secret = _decode_key_untrusted(path, data, None, self._seal)
                key = SigningKey(secret)
                if key.public != public:
                    raise StoreCorrupt(f"{path}: the secret does not belong to the public key")
                return key
            if self._owned or not self._writable:
                # with object keys here the first open was finished: there was a node key
                raise StoreCorrupt(f"{path} is gone")
            key = SigningKey(os.urandom(_KEY_BYTES))
            private_files.write(path, _encode_key(None, key.public, key.seed, self._seal))
            return key


# -- a key file ---------------------------------------------------------------------------------


def encode_keys(object_id: bytes, keys: ObjectKeys, seal: ChaCha20Poly1305 | None) -> bytes:
    """The content of an object's key file, its secret sealed if there is something to seal with."""
    public = keys.signing.public + keys.sealing.public
    secret = keys.signing.seed + keys.sealing.private
    return _encode_key(object_id, public, secret, seal)


def decode_keys_untrusted(
    path: Path, data: bytes, object_id: bytes, seal: ChaCha20Poly1305 | None
) -> ObjectKeys:
    """The inverse of `encode_keys`; `path` is where it was read.

    Raises:
        StoreCorrupt: not the keys of that object, or not sealed with `seal`.
        StoreError: of a version made by a later release.
    """
    public, secret = _decode_key_untrusted(path, data, object_id, seal)
    keys = ObjectKeys(SigningKey(secret[:_KEY_BYTES]), SealingKey(secret[_KEY_BYTES:]))
    if keys.signing.public + keys.sealing.public != public:
        raise StoreCorrupt(f"{path}: the secret does not belong to the public keys")
    return keys


def _encode_key(
    subject: bytes | None, public: bytes, secret: bytes, seal: ChaCha20Poly1305 | None
) -> bytes:
    nonce = None
    if seal is not None:
        nonce = os.urandom(_NONCE_BYTES)
        secret = seal.encrypt(nonce, secret, _associated_data(subject, public))
    return private_files.encode(_KEY_FORMAT, _VERSION, subject, public, nonce, secret)


def _decode_key_untrusted(
    path: Path, data: bytes, subject: bytes | None, seal: ChaCha20Poly1305 | None
) -> tuple[bytes, bytes]:
    """(public, secret) of the right lengths; whether they belong together is for the caller.

    Raises:
        StoreCorrupt: names the file and what is wrong, never what is in it.
    """
    match private_files.decode_untrusted(path, data, _KEY_FORMAT, _VERSION):
        case [found, bytes(public), None | bytes() as nonce, bytes(secret)]:
            pass
        case _:
            raise StoreCorrupt(f"{path} is not a key file")
    if found != subject:
        raise StoreCorrupt(f"{path} holds the key of something else")
    if (nonce is None) != (seal is None):
        raise StoreCorrupt(f"{path} is {'not ' if nonce is None else ''}sealed, unlike its keyring")
    if seal is not None:
        try:
            secret = seal.decrypt(cast(bytes, nonce), secret, _associated_data(subject, public))
        except (InvalidTag, ValueError):  # ValueError: no nonce has that length
            raise StoreCorrupt(f"{path} does not open: it was damaged or replaced") from None
    if (len(public), len(secret)) not in (_NODE_LENGTHS if subject is None else _OBJECT_LENGTHS):
        raise StoreCorrupt(f"{path} holds a key of the wrong length")
    return public, secret


def _associated_data(subject: bytes | None, public: bytes) -> bytes:
    return canonical.encode([_KEY_FORMAT, _VERSION, subject, public])


# -- the passphrase -----------------------------------------------------------------------------


def _new_header(passphrase: str | None) -> tuple[bytes, bytes | None]:
    """The bytes of a new ``keyring.cbor`` and the key that seals, if there is a passphrase."""
    if passphrase is None:
        return private_files.encode(_HEADER_FORMAT, _VERSION, None, None), None
    derivation, derived = passphrases.new(passphrase)
    header = private_files.encode(
        _HEADER_FORMAT, _VERSION, list(derivation), _expand(derived, "verifier")
    )
    return header, _expand(derived, "seal")


def _unlock_untrusted(path: Path, data: bytes, passphrase: str | None) -> bytes | None:
    """The key that seals the keys of the keyring with this header; None: they are plain.

    Raises:
        UsageError: not the passphrase of this keyring.
        StoreCorrupt, StoreError: not a header, or one this build cannot use.
    """
    match private_files.decode_untrusted(path, data, _HEADER_FORMAT, _VERSION):
        case [None, None]:
            if passphrase is not None:
                raise UsageError(f"a passphrase was given, but {path.parent} has none")
            return None
        case [list(derivation), bytes(verifier)]:
            pass
        case _:
            raise StoreCorrupt(f"{path} is not a keyring")
    try:
        sane = passphrases.read_untrusted(derivation)
    except ValueError as error:
        raise StoreCorrupt(f"{path} {error}") from error
    if passphrase is None:
        raise UsageError(f"{path.parent} is protected by a passphrase: set DINEMIC_PASSPHRASE")
    try:
        derived = passphrases.derive(sane, passphrase)
    except UnsupportedAlgorithm:
        raise StoreError(f"{path} needs {sane[0]}, which the OpenSSL here does not have") from None
    if not bytes_eq(_expand(derived, "verifier"), verifier):
        raise UsageError(f"wrong passphrase for {path.parent}")
    return _expand(derived, "seal")


def _expand(derived: bytes, purpose: str) -> bytes:
    return passphrases.expand(derived, f"{_HEADER_FORMAT}/{_VERSION}/{purpose}")


# -- files --------------------------------------------------------------------------------------


def _is_object(name: str) -> bool:
    return name.endswith(_KEY_SUFFIX) and name != _NODE_NAME


def _object_id_untrusted(directory: Path, name: str) -> bytes:
    try:
        return ids.from_text_untrusted(name.removesuffix(_KEY_SUFFIX))
    except ValueError:
        raise StoreCorrupt(f"{str(directory / name)!r} is not named after an object") from None


def _write_all(files: Mapping[Path, bytes]) -> None:
    """Make files that were not there; after an error none of them is."""
    made: list[Path] = []
    try:
        for path, data in files.items():
            with private_files.disk_errors(path):
                private_files.write(path, data)
            made.append(path)
    except BaseException:
        for path in made:
            with contextlib.suppress(OSError):  # the first error is the one to report
                path.unlink()
        raise
