"""Keyrings under a passphrase: what it hides, what it refuses, what it costs."""

from __future__ import annotations

import hashlib
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from dinemic import passphrases
from dinemic.keyring import Keyring, ObjectKeys
from dinemic_engine import canonical, ids
from dinemic_engine.canonical import Value
from dinemic_engine.errors import StoreCorrupt, StoreError, UsageError

ONE = bytes([1]) * 32
PASSPHRASE = "correct horse"
HEADER = "keyring.cbor"
SALT = bytes(16)


@pytest.fixture
def _cheap_derivation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passphrases, "_ARGON2ID_COST", (1, 1, 8))
    monkeypatch.setattr(passphrases, "_SCRYPT_COST", (2, 8, 1))


cheap = pytest.mark.usefixtures("_cheap_derivation")


@pytest.fixture
def _without_argon2id(monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(**_: Any) -> None:
        raise UnsupportedAlgorithm("no Argon2id in this build")

    monkeypatch.setattr(passphrases, "Argon2id", unsupported)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def header(directory: Path) -> list[Any]:
    value = canonical.decode_untrusted((directory / HEADER).read_bytes())
    assert isinstance(value, list)
    return value


def write_header(directory: Path, derivation: Value, verifier: Value) -> None:
    body: list[Value] = ["dinemic/keyring", 1, derivation, verifier]
    data = canonical.encode([*body, hashlib.sha256(canonical.encode(body)).digest()])
    (directory / HEADER).write_bytes(data)


def on_disk(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.iterdir())


def test_the_default_is_argon2id_at_the_cost_of_rfc_9106_with_its_own_salt(tmp_path: Path) -> None:
    Keyring.open(tmp_path / "a", PASSPHRASE)
    Keyring.open(tmp_path / "b", PASSPHRASE)
    (name, salt, *cost), (_, other_salt, *_) = header(tmp_path / "a")[2], header(tmp_path / "b")[2]
    assert name == "argon2id"
    assert cost == [3, 4, 65536]
    assert len(salt) == 16
    assert salt != other_salt


@cheap
def test_secrets_are_on_disk_only_sealed(directory: Path, tmp_path: Path) -> None:
    keys = ObjectKeys.generate()
    ring = Keyring.open(directory, PASSPHRASE)
    ring.add(ONE, keys)
    plain = Keyring.open(tmp_path / "plain")
    plain.add(ONE, keys)
    secrets = (keys.signing.seed, keys.sealing.private)
    assert all(secret in on_disk(plain._directory) for secret in secrets)
    for secret in (*secrets, ring.node_key.seed, PASSPHRASE.encode()):
        assert secret not in on_disk(directory)
    again = Keyring.open(directory, PASSPHRASE)
    found = again.get(ONE)
    assert found is not None
    assert (found.signing.seed, found.sealing.private) == secrets
    assert again.node_key.seed == ring.node_key.seed
    assert "passphrase" in repr(again)
    assert "no passphrase" not in repr(again)


@cheap
def test_the_files_open_by_their_description_alone(directory: Path) -> None:
    keys = ObjectKeys.generate()
    Keyring.open(directory, PASSPHRASE).add(ONE, keys)
    _, _, (_, salt, passes, lanes, kib), verifier, _ = header(directory)
    derived = Argon2id(
        salt=salt, length=32, iterations=passes, lanes=lanes, memory_cost=kib
    ).derive(PASSPHRASE.encode())
    assert HKDFExpand(SHA256(), 32, b"dinemic/keyring/1/verifier").derive(derived) == verifier
    seal = ChaCha20Poly1305(HKDFExpand(SHA256(), 32, b"dinemic/keyring/1/seal").derive(derived))
    file = canonical.decode_untrusted((directory / f"{ids.to_text(ONE)}.key").read_bytes())
    assert isinstance(file, list)
    *body, checksum = file
    *associated, nonce, secret = body
    public = keys.signing.public + keys.sealing.public
    assert associated == ["dinemic/key", 1, ONE, public]
    assert isinstance(nonce, bytes)
    assert isinstance(secret, bytes)
    opened = seal.decrypt(nonce, secret, canonical.encode(associated))
    assert opened == keys.signing.seed + keys.sealing.private
    assert checksum == hashlib.sha256(canonical.encode(body)).digest()


@cheap
def test_equal_keys_are_sealed_differently_each_time(tmp_path: Path) -> None:
    keys = ObjectKeys.generate()
    ring = Keyring.open(tmp_path / "keys", PASSPHRASE)
    ring.add(ONE, keys)
    ring.add(bytes(32), keys)
    sealed = [
        canonical.decode_untrusted(path.read_bytes())
        for path in (tmp_path / "keys").glob("?" * 52 + ".key")
    ]
    assert len(sealed) == 2
    assert len({element[4] for element in sealed if isinstance(element, list)}) == 2
    assert len({element[5] for element in sealed if isinstance(element, list)}) == 2


@cheap
@pytest.mark.parametrize("create", [True, False])
def test_a_wrong_a_missing_or_a_needless_passphrase_is_a_usage_error(
    directory: Path, tmp_path: Path, create: bool
) -> None:
    Keyring.open(directory, PASSPHRASE)
    before = on_disk(directory)
    with pytest.raises(UsageError, match=f"wrong passphrase for {directory}"):
        Keyring.open(directory, "Correct horse", create=create)
    with pytest.raises(UsageError, match="protected by a passphrase: set DINEMIC_PASSPHRASE"):
        Keyring.open(directory, create=create)
    with pytest.raises(UsageError, match="empty"):
        Keyring.open(directory, "", create=create)
    assert on_disk(directory) == before
    plain = tmp_path / "plain"
    Keyring.open(plain)
    with pytest.raises(UsageError, match=f"passphrase was given, but {plain} has none"):
        Keyring.open(plain, PASSPHRASE, create=create)


def test_an_empty_passphrase_makes_no_keyring(directory: Path) -> None:
    with pytest.raises(UsageError, match="empty"):
        Keyring.open(directory, "")
    assert not (directory / HEADER).exists()
    assert Keyring.open(directory).owned() == frozenset()


@cheap
def test_text_that_looks_alike_is_one_passphrase_and_broken_text_is_one_too(
    tmp_path: Path,
) -> None:
    composed, taken_apart = (unicodedata.normalize(form, "Zoë") for form in ("NFC", "NFD"))
    assert composed != taken_apart
    node = Keyring.open(tmp_path / "a", composed).node_key
    assert Keyring.open(tmp_path / "a", taken_apart).node_key == node
    node = Keyring.open(tmp_path / "b", "bytes \udcff").node_key
    assert Keyring.open(tmp_path / "b", "bytes \udcff").node_key == node
    with pytest.raises(UsageError, match="wrong"):
        Keyring.open(tmp_path / "b", "bytes \udcfe")


@cheap
def test_opening_derives_once_however_many_keys_are_used(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = Keyring.open(directory, PASSPHRASE)
    for number in range(3):
        ring.add(bytes([number]) * 32, ObjectKeys.generate())
    derivations: list[object] = []
    real = passphrases.derive

    def derive(derivation: tuple[str, bytes, int, int, int], passphrase: str) -> bytes:
        derivations.append(derivation)
        return real(derivation, passphrase)

    monkeypatch.setattr(passphrases, "derive", derive)
    again = Keyring.open(directory, PASSPHRASE)
    for object_id in again.owned():
        assert again.get(object_id) is not None
    again.add(bytes([9]) * 32, ObjectKeys.generate())
    assert len(derivations) == 1


@cheap
@pytest.mark.usefixtures("_without_argon2id")
def test_without_argon2id_a_new_keyring_uses_scrypt(directory: Path) -> None:
    node = Keyring.open(directory, PASSPHRASE).node_key
    assert header(directory)[2][0] == "scrypt"
    assert Keyring.open(directory, PASSPHRASE).node_key == node
    with pytest.raises(UsageError, match="wrong passphrase"):
        Keyring.open(directory, "other")


@cheap
def test_a_keyring_of_argon2id_says_what_is_missing_where_there_is_none(
    directory: Path, request: pytest.FixtureRequest
) -> None:
    Keyring.open(directory, PASSPHRASE)
    request.getfixturevalue("_without_argon2id")
    with pytest.raises(StoreError, match="needs argon2id"):
        Keyring.open(directory, PASSPHRASE)


@cheap
@pytest.mark.parametrize(
    "derivation",
    [
        ["argon2id", SALT, 1, 1, 1 << 31],
        ["argon2id", SALT, 1 << 31, 1, 8],
        ["argon2id", SALT, 1, 1 << 31, 1 << 20],
        ["argon2id", SALT, 1, 2, 15],
        ["argon2id", SALT, 0, 1, 8],
        ["argon2id", SALT, 1, -1, 8],
        ["argon2id", SALT[1:], 1, 1, 8],
        ["scrypt", SALT, 1 << 40, 8, 1],
        ["scrypt", SALT, 3, 8, 1],
        ["scrypt", SALT, 1, 8, 1],
        ["scrypt", SALT, 2, 1 << 40, 1],
        ["scrypt", SALT, 2, 8, 1 << 30],
        ["pbkdf2", SALT, 1, 1, 8],
        ["argon2id", SALT, 1, 1],
        ["argon2id", "salt", 1, 1, 8],
        "argon2id",
        None,
    ],
)
def test_a_forged_header_cannot_ask_for_boundless_work(directory: Path, derivation: Value) -> None:
    Keyring.open(directory, PASSPHRASE)
    write_header(directory, derivation, bytes(32))
    with pytest.raises(StoreCorrupt, match=HEADER):
        Keyring.open(directory, PASSPHRASE)


@cheap
def test_a_protected_keyring_cannot_be_passed_off_as_a_plain_one(directory: Path) -> None:
    Keyring.open(directory, PASSPHRASE)
    write_header(directory, None, None)
    with pytest.raises(UsageError, match="has none"):
        Keyring.open(directory, PASSPHRASE)
    with pytest.raises(StoreCorrupt, match=r"node\.key is sealed, unlike its keyring"):
        Keyring.open(directory)
