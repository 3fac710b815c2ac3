"""The private keys of this node and of the objects it owns, durable on disk.

A directory (0700) of small files (0600), each one canonical CBOR array whose last element is the
SHA-256 of the others:

    keyring.cbor     ["dinemic/keyring", 1, derivation, verifier, sum]     null: no passphrase
    node.key         ["dinemic/key", 1, null,      public, nonce, secret, sum]
    <object id>.key  ["dinemic/key", 1, object id, public, nonce, secret, sum]

``public`` is the signing key and, for objects, the sealing key behind it; ``secret`` is the seed
and the private key in the same order. Without a passphrase ``nonce`` is null and ``secret`` plain.

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
import errno
import hashlib
import os
import stat
import threading
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn, cast

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.constant_time import bytes_eq
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from dinemic_engine import canonical, ids
from dinemic_engine.canonical import Value
from dinemic_engine.errors import InvalidEvent, StoreCorrupt, StoreError, StoreFull, UsageError
from dinemic_engine.keys import SealingKey, SigningKey

_HEADER_NAME: Final = "keyring.cbor"
_NODE_NAME: Final = "node.key"
_KEY_SUFFIX: Final = ".key"
_UNFINISHED_PREFIX: Final = ".unfinished-"

_HEADER_FORMAT: Final = "dinemic/keyring"
_KEY_FORMAT: Final = "dinemic/key"
_VERSION: Final = 1
_FILE_BYTES_MAX: Final = 4096
"""Ten times the largest file written here; more is not ours."""

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_SALT_BYTES: Final = 16
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO

_CACHED_KEYS_MAX: Final = 4096
"""Object keys kept in memory, a few KiB each; any other is one small file away."""

_ARGON2ID_COST: Final = (3, 4, 64 << 10)
"""Passes, lanes, KiB: the second recommendation of RFC 9106; about 0.15 s."""

_SCRYPT_COST: Final = (1 << 17, 8, 1)
"""n, r, p: 128 MiB, for builds of OpenSSL without Argon2id; about 0.3 s."""

_DERIVATION_BYTES_MAX: Final = 1 << 30
"""Memory and work (one pass over memory) a header may ask for, so a forged one cannot stop us."""
_DERIVATION_PASSES_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class ObjectKeys:
    """The two private keys of one object: with them a node owns it."""

    signing: SigningKey
    sealing: SealingKey

    @classmethod
    def generate(cls) -> ObjectKeys:
        """New keys from the system's entropy."""
        return cls(SigningKey(os.urandom(_KEY_BYTES)), SealingKey(os.urandom(_KEY_BYTES)))


class Keyring:
    """The keys in one directory. Every method may be called from any thread."""

    def __init__(
        self,
        directory: Path,
        seal: ChaCha20Poly1305 | None,
        owned: set[bytes],
        *,
        writable: bool,
    ) -> None:
        """Use `open`."""
        self._directory = directory
        self._seal = seal
        self._writable = writable
        self._lock = threading.Lock()  # held while a file is written and while these change:
        self._owned = owned
        self._owned_view: frozenset[bytes] | None = None
        self._cached: dict[bytes, ObjectKeys] = {}
        self._node_key = self._open_node_key()

    @classmethod
    def open(
        cls, directory: Path, passphrase: str | None = None, *, create: bool = True
    ) -> Keyring:
        """The keyring in `directory`; with `create` made there if there is none, with a node key.

        With ``create=False`` nothing is ever written, also not by the keyring that is returned: for
        a look beside a running node, as of this moment.

        Raises:
            UsageError: wrong passphrase, or one is missing, or given for a keyring without.
            StoreCorrupt: a file is not what was written, or is gone; the message names it.
            StoreFull: no room left on the device.
            StoreError: no keyring there (``create=False``), other users may read it, or the
                system refused.
        """
        with _disk_errors(directory):
            if create:
                _make_directory(directory)
            names = _names(directory)
            owned = {_object_id_untrusted(directory, name) for name in names if _is_object(name)}
            if _HEADER_NAME in names:
                header = _read(directory / _HEADER_NAME)
                key = _unlock_untrusted(directory / _HEADER_NAME, header, passphrase)
            elif owned or _NODE_NAME in names:
                raise StoreCorrupt(f"{directory / _HEADER_NAME} is gone, but keys are there")
            elif not create:
                raise StoreError(f"no keyring in {directory}")
            else:
                header, key = _new_header(passphrase)
                _sync_directory(directory.parent)  # a crash may have come before this, last time
                _write(directory / _HEADER_NAME, header)
            if create:
                for name in names:
                    if name.startswith(_UNFINISHED_PREFIX):
                        (directory / name).unlink(missing_ok=True)
        return cls(directory, ChaCha20Poly1305(key) if key else None, owned, writable=create)

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
        """Keep an object's keys; they are on disk when this returns. The same again is no change.

        Raises:
            UsageError: other keys are kept for that object (they stay), or `create` was False.
            StoreFull, StoreError, StoreCorrupt: as for `open`; the keys are not kept.
        """
        if not self._writable:
            raise UsageError(f"the keyring in {self._directory} was opened for reading only")
        path = self._path(object_id)
        with self._lock, _disk_errors(path):
            if object_id in self._owned or path.exists():
                if self._read_object_keys(object_id) != keys:
                    raise UsageError(f"other keys are kept for object {ids.short(object_id)}")
            else:
                public = keys.signing.public + keys.sealing.public
                secret = keys.signing.seed + keys.sealing.private
                _write(path, _encode_key(object_id, public, secret, self._seal))
            self._owned.add(object_id)
            self._owned_view = None
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
        with _disk_errors(path):
            public, secret = _decode_key_untrusted(path, _read(path), object_id, self._seal)
        keys = ObjectKeys(SigningKey(secret[:_KEY_BYTES]), SealingKey(secret[_KEY_BYTES:]))
        if keys.signing.public + keys.sealing.public != public:
            raise StoreCorrupt(f"{path}: the secret does not belong to the public keys")
        return keys

    def _open_node_key(self) -> SigningKey:
        path = self._directory / _NODE_NAME
        with _disk_errors(path):
            if path.exists():
                public, secret = _decode_key_untrusted(path, _read(path), None, self._seal)
                key = SigningKey(secret)
                if key.public != public:
                    raise StoreCorrupt(f"{path}: the secret does not belong to the public key")
                return key
            if self._owned or not self._writable:
                # with object keys here the first open was finished: there was a node key
                raise StoreCorrupt(f"{path} is gone")
            key = SigningKey(os.urandom(_KEY_BYTES))
            _write(path, _encode_key(None, key.public, key.seed, self._seal))
            return key


# -- a key file ---------------------------------------------------------------------------------


def _encode_key(
    subject: bytes | None, public: bytes, secret: bytes, seal: ChaCha20Poly1305 | None
) -> bytes:
    nonce = None
    if seal is not None:
        nonce = os.urandom(_NONCE_BYTES)
        secret = seal.encrypt(nonce, secret, _associated_data(subject, public))
    return _encode(_KEY_FORMAT, subject, public, nonce, secret)


def _decode_key_untrusted(
    path: Path, data: bytes, subject: bytes | None, seal: ChaCha20Poly1305 | None
) -> tuple[bytes, bytes]:
    """(public, secret) of the right lengths; whether they belong together is for the caller.

    Raises:
        StoreCorrupt: names the file and what is wrong, never what is in it.
    """
    match _decode_untrusted(path, data, _KEY_FORMAT):
        case [found, bytes(public), None | bytes() as nonce, bytes(secret)]:
            pass
        case _:
            raise StoreCorrupt(f"{path} is not a key file")
    length = _KEY_BYTES if subject is None else 2 * _KEY_BYTES
    if found != subject:
        raise StoreCorrupt(f"{path} holds the key of something else")
    if (nonce is None) != (seal is None):
        raise StoreCorrupt(f"{path} is {'not ' if nonce is None else ''}sealed, unlike its keyring")
    if seal is not None:
        try:
            secret = seal.decrypt(cast(bytes, nonce), secret, _associated_data(subject, public))
        except (InvalidTag, ValueError):  # ValueError: no nonce has that length
            raise StoreCorrupt(f"{path} does not open: it was damaged or replaced") from None
    if len(public) != length or len(secret) != length:
        raise StoreCorrupt(f"{path} holds a key of the wrong length")
    return public, secret


def _associated_data(subject: bytes | None, public: bytes) -> bytes:
    return canonical.encode([_KEY_FORMAT, _VERSION, subject, public])


def _encode(form: str, *elements: Value) -> bytes:
    body: list[Value] = [form, _VERSION, *elements]
    return canonical.encode([*body, _sum(body)])


def _decode_untrusted(path: Path, data: bytes, form: str) -> list[Value]:
    """The elements between the version and the sum.

    Raises:
        StoreCorrupt: not the bytes `_encode` made, or of another form.
        StoreError: of a version made by a later release.
    """
    try:
        value = canonical.decode_untrusted(data)
    except InvalidEvent:  # its detail may quote the file
        raise StoreCorrupt(f"{path} was cut short or damaged") from None
    match value:
        case [*body, bytes(found)] if found == _sum(body):
            pass
        case _:
            raise StoreCorrupt(f"{path} was damaged")
    match body:
        case [found_form, version, *elements] if found_form == form and type(version) is int:
            if version != _VERSION:
                raise StoreError(f"{path} is of version {version}; this release reads {_VERSION}")
            return elements
        case _:
            raise StoreCorrupt(f"{path} is not a {form} file")


def _sum(body: list[Value]) -> bytes:
    return hashlib.sha256(canonical.encode(body)).digest()


# -- the passphrase -----------------------------------------------------------------------------


def _new_header(passphrase: str | None) -> tuple[bytes, bytes | None]:
    """The bytes of a new ``keyring.cbor`` and the key that seals, if there is a passphrase."""
    if passphrase is None:
        return _encode(_HEADER_FORMAT, None, None), None
    salt = os.urandom(_SALT_BYTES)
    try:
        derivation: tuple[str, bytes, int, int, int] = ("argon2id", salt, *_ARGON2ID_COST)
        derived = _derive(derivation, passphrase)
    except UnsupportedAlgorithm:
        derivation = ("scrypt", salt, *_SCRYPT_COST)
        derived = _derive(derivation, passphrase)
    header = _encode(_HEADER_FORMAT, list(derivation), _expand(derived, "verifier"))
    return header, _expand(derived, "seal")


def _unlock_untrusted(path: Path, data: bytes, passphrase: str | None) -> bytes | None:
    """The key that seals the keys of the keyring with this header; None: they are plain.

    Raises:
        UsageError: not the passphrase of this keyring.
        StoreCorrupt, StoreError: not a header, or one this build cannot use.
    """
    match _decode_untrusted(path, data, _HEADER_FORMAT):
        case [None, None]:
            if passphrase is not None:
                raise UsageError(f"a passphrase was given, but {path.parent} has none")
            return None
        case [[str(name), bytes(salt), int(a), int(b), int(c)], bytes(verifier)]:
            pass
        case _:
            raise StoreCorrupt(f"{path} is not a keyring")
    if not _is_sane(name, salt, a, b, c):
        raise StoreCorrupt(f"{path} names no key derivation this release makes")
    if passphrase is None:
        raise UsageError(f"{path.parent} is protected by a passphrase: set DINEMIC_PASSPHRASE")
    try:
        derived = _derive((name, salt, a, b, c), passphrase)
    except UnsupportedAlgorithm:
        raise StoreError(f"{path} needs {name}, which the OpenSSL here does not have") from None
    if not bytes_eq(_expand(derived, "verifier"), verifier):
        raise UsageError(f"wrong passphrase for {path.parent}")
    return _expand(derived, "seal")


def _is_sane(name: str, salt: bytes, a: int, b: int, c: int) -> bool:
    """Whether the parameters are possible and stay within our bounds of memory and time."""
    if len(salt) != _SALT_BYTES or min(a, b, c) < 1:
        return False
    match name:
        case "argon2id":
            passes, lanes, kib = a, b, c
            bounded = passes <= _DERIVATION_PASSES_MAX and kib << 10 <= _DERIVATION_BYTES_MAX
            return bounded and lanes <= 64 and kib >= 8 * lanes
        case "scrypt":
            n, r, p = a, b, c
            power_of_two = n > 1 and n & (n - 1) == 0
            return power_of_two and 128 * n * r <= _DERIVATION_BYTES_MAX and p <= 16
        case _:
            return False


def _derive(derivation: tuple[str, bytes, int, int, int], passphrase: str) -> bytes:
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


def _expand(derived: bytes, purpose: str) -> bytes:
    info = f"{_HEADER_FORMAT}/{_VERSION}/{purpose}".encode()
    return HKDFExpand(hashes.SHA256(), _KEY_BYTES, info).derive(derived)


# -- the disk -----------------------------------------------------------------------------------


def _make_directory(directory: Path) -> None:
    """Make `directory` and what is missing above it, closed to other users and durable."""
    if directory.is_dir():
        return
    _make_directory(directory.parent)
    directory.mkdir(mode=0o700, exist_ok=True)  # exists by now: another thread made it
    _sync_directory(directory.parent)


def _names(directory: Path) -> frozenset[str]:
    mode = directory.stat().st_mode
    if mode & _OTHERS:
        raise StoreError(f"other users may enter {directory}: chmod 700 it if that is a mistake")
    return frozenset(os.listdir(directory))


def _is_object(name: str) -> bool:
    return name.endswith(_KEY_SUFFIX) and name != _NODE_NAME


def _object_id_untrusted(directory: Path, name: str) -> bytes:
    try:
        return ids.from_text_untrusted(name.removesuffix(_KEY_SUFFIX))
    except ValueError:
        raise StoreCorrupt(f"{str(directory / name)!r} is not named after an object") from None


def _read(path: Path) -> bytes:
    """The whole of a small file that nobody else may read."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe would wait
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise StoreCorrupt(f"{path} is gone") from None
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise StoreCorrupt(f"{path} is not a file")
        if mode & _OTHERS:
            raise StoreError(f"other users may read {path}: chmod 600 it if that is a mistake")
        data = os.read(descriptor, _FILE_BYTES_MAX + 1)
    finally:
        os.close(descriptor)
    if len(data) > _FILE_BYTES_MAX:
        raise StoreCorrupt(f"{path} is larger than any key file")
    return data


def _write(path: Path, data: bytes) -> None:
    """Make a file that was not there, durably; after an error it is not there either."""
    placed = path.parent / (_UNFINISHED_PREFIX + os.urandom(8).hex())
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(placed, flags, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        placed = placed.rename(path)
        _sync_directory(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):  # the first error is the one to report
            placed.unlink()
        raise


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """The system's errors as ours, naming the path."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFull(f"no room left for {path}") from error
        raise StoreError(f"{path}: {error}") from error
