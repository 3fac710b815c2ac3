"""Damaged, moved and missing key files: always an error that names the file, never a guess."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from dinemic import passphrases
from dinemic.keyring import Keyring, ObjectKeys
from dinemic_engine import canonical, ids
from dinemic_engine.canonical import Value
from dinemic_engine.errors import StoreCorrupt, StoreError, UsageError

ONE, TWO = bytes([1]) * 32, bytes([2]) * 32
ONE_NAME, TWO_NAME = (f"{ids.to_text(object_id)}.key" for object_id in (ONE, TWO))
NAMES = ("keyring.cbor", "node.key", ONE_NAME)
PASSPHRASES = (None, "open sesame")


@pytest.fixture(autouse=True)
def _cheap_derivation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passphrases, "_ARGON2ID_COST", (1, 1, 8))


@pytest.fixture(params=PASSPHRASES, ids=["plain", "protected"])
def passphrase(request: pytest.FixtureRequest) -> str | None:
    chosen: str | None = request.param
    return chosen


@pytest.fixture
def directory(tmp_path: Path, passphrase: str | None) -> Path:
    ring = Keyring.open(tmp_path / "keys", passphrase)
    ring.add(ONE, ObjectKeys.generate())
    ring.add(TWO, ObjectKeys.generate())
    return tmp_path / "keys"


def read_all(directory: Path, passphrase: str | None) -> None:
    """Open and read the keys of ONE."""
    Keyring.open(directory, passphrase, create=False).get(ONE)


def elements(path: Path) -> list[Value]:
    """A key file without its sum."""
    value = canonical.decode_untrusted(path.read_bytes())
    assert isinstance(value, list)
    return value[:-1]


def write(path: Path, body: list[Value]) -> None:
    """A key file with the right sum over whatever is in it."""
    path.write_bytes(canonical.encode([*body, hashlib.sha256(canonical.encode(body)).digest()]))


@pytest.mark.parametrize("name", NAMES)
def test_a_flipped_bit_in_any_byte_is_store_corrupt_naming_the_file(
    directory: Path, passphrase: str | None, name: str
) -> None:
    path = directory / name
    whole = path.read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        with pytest.raises(StoreCorrupt, match=name):
            read_all(directory, passphrase)
        assert path.read_bytes() == damaged
    path.write_bytes(whole)
    read_all(directory, passphrase)


@pytest.mark.parametrize("name", NAMES)
def test_every_truncated_or_grown_file_is_store_corrupt_naming_it(
    directory: Path, passphrase: str | None, name: str
) -> None:
    path = directory / name
    whole = path.read_bytes()
    for wrong in [whole[:length] for length in range(len(whole))] + [
        whole + b"\x00",
        whole + whole,
        whole + bytes(1 << 16),
    ]:
        path.write_bytes(wrong)
        with pytest.raises(StoreCorrupt, match=name):
            read_all(directory, passphrase)


def test_a_damaged_object_key_leaves_the_others_usable(
    directory: Path, passphrase: str | None
) -> None:
    (directory / ONE_NAME).write_bytes(b"")
    ring = Keyring.open(directory, passphrase)
    assert ring.owned() == {ONE, TWO}
    assert ring.get(TWO) is not None
    with pytest.raises(StoreCorrupt, match=ONE_NAME):
        ring.get(ONE)
    with pytest.raises(StoreCorrupt, match=ONE_NAME):
        ring.add(ONE, ObjectKeys.generate())


def test_a_key_moved_to_another_objects_file_is_refused(
    directory: Path, passphrase: str | None
) -> None:
    shutil.copyfile(directory / TWO_NAME, directory / ONE_NAME)
    with pytest.raises(StoreCorrupt, match=f"{ONE_NAME} holds the key of something else"):
        read_all(directory, passphrase)


def test_an_object_key_in_place_of_the_node_key_is_refused(
    directory: Path, passphrase: str | None
) -> None:
    shutil.copyfile(directory / TWO_NAME, directory / "node.key")
    with pytest.raises(StoreCorrupt, match=r"node\.key"):
        read_all(directory, passphrase)


@pytest.mark.parametrize("element", [2, 3])
def test_a_secret_sealed_for_one_id_and_public_key_opens_for_no_other(
    directory: Path, passphrase: str | None, element: int
) -> None:
    body = elements(directory / TWO_NAME)
    body[element] = elements(directory / ONE_NAME)[element]
    body[2] = ONE
    write(directory / ONE_NAME, body)
    if passphrase is None and element == 2:
        return read_all(directory, passphrase)  # without a passphrase nothing can bind them
    with pytest.raises(StoreCorrupt, match=ONE_NAME):
        read_all(directory, passphrase)
    return None


@pytest.mark.parametrize(
    ("element", "value"),
    [
        (0, "dinemic/keyring"),
        (1, True),
        (2, None),
        (2, "text"),
        (3, b""),
        (3, None),
        (4, 5),
        (4, b"short"),
        (5, b""),
        (5, None),
        (5, b"x" * 31),
    ],
)
def test_wrong_elements_under_a_right_sum_are_store_corrupt(
    directory: Path, passphrase: str | None, element: int, value: Value
) -> None:
    body = elements(directory / ONE_NAME)
    body[element] = value
    write(directory / ONE_NAME, body)
    with pytest.raises(StoreCorrupt, match=ONE_NAME):
        read_all(directory, passphrase)


@pytest.mark.parametrize("body", [[], ["dinemic/key"], ["dinemic/key", 1], [None, 1, 2, 3]])
def test_arrays_of_another_shape_are_store_corrupt(
    directory: Path, passphrase: str | None, body: list[Value]
) -> None:
    write(directory / ONE_NAME, body)
    with pytest.raises(StoreCorrupt, match=ONE_NAME):
        read_all(directory, passphrase)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_a_later_version_is_left_alone_and_said_to_be_one(
    directory: Path, passphrase: str | None, name: str
) -> None:
    body = elements(directory / name)
    body[1] = 2
    write(directory / name, body)
    with pytest.raises(StoreError, match=f"{name} is of version 2") as caught:
        read_all(directory, passphrase)
    assert not isinstance(caught.value, StoreCorrupt)


def test_a_missing_header_beside_keys_is_never_made_anew(
    directory: Path, passphrase: str | None
) -> None:
    (directory / "keyring.cbor").unlink()
    for create in (True, False):
        with pytest.raises(StoreCorrupt, match=r"keyring\.cbor is gone"):
            Keyring.open(directory, passphrase, create=create)
    assert not (directory / "keyring.cbor").exists()


def test_a_missing_node_key_beside_object_keys_is_never_made_anew(
    directory: Path, passphrase: str | None
) -> None:
    (directory / "node.key").unlink()
    for create in (True, False):
        with pytest.raises(StoreCorrupt, match=r"node\.key is gone"):
            Keyring.open(directory, passphrase, create=create)
    assert not (directory / "node.key").exists()


def test_a_key_deleted_under_an_open_keyring_is_store_corrupt(
    directory: Path, passphrase: str | None
) -> None:
    ring = Keyring.open(directory, passphrase)
    (directory / ONE_NAME).unlink()
    with pytest.raises(StoreCorrupt, match=f"{ONE_NAME} is gone"):
        ring.get(ONE)


@pytest.mark.parametrize("name", ["x.key", ".key", f"{ONE_NAME[:52].upper()}.key", "a\n.key"])
def test_a_key_file_not_named_after_an_object_is_not_passed_over(
    directory: Path, passphrase: str | None, name: str
) -> None:
    (directory / name).write_bytes(b"")
    with pytest.raises(StoreCorrupt, match="not named after an object") as caught:
        Keyring.open(directory, passphrase)
    assert "\n" not in str(caught.value)


def test_a_directory_or_pipe_in_place_of_a_key_is_store_corrupt(
    directory: Path, passphrase: str | None
) -> None:
    (directory / ONE_NAME).unlink()
    (directory / ONE_NAME).mkdir(mode=0o700)
    with pytest.raises(StoreCorrupt, match="is not a file"):
        read_all(directory, passphrase)
    (directory / ONE_NAME).rmdir()
    os.mkfifo(directory / ONE_NAME, 0o600)
    with pytest.raises(StoreCorrupt, match="is not a file"):
        read_all(directory, passphrase)


def test_errors_never_hold_a_secret(directory: Path, passphrase: str | None) -> None:
    keys = ObjectKeys.generate()
    three = bytes([3]) * 32
    Keyring.open(directory, passphrase).add(three, keys)
    path = directory / f"{ids.to_text(three)}.key"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StoreCorrupt) as caught:
        Keyring.open(directory, passphrase).get(three)
    assert caught.value.__cause__ is None
    assert repr(keys.signing.seed)[2:-1] not in repr(caught.value)
    with pytest.raises(UsageError) as refused:
        Keyring.open(directory, "not the passphrase")
    assert "not the passphrase" not in str(refused.value)
