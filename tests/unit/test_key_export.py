"""A file of exported keys: opens with its passphrase, holds only what is proved, and is private."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from dinemic import key_export, passphrases
from dinemic.keyring import ObjectKeys, encode_keys
from dinemic_engine import canonical
from dinemic_engine.canonical import Value
from dinemic_engine.edits import Set
from dinemic_engine.errors import StoreCorrupt, StoreError, UsageError
from dinemic_engine.event import Event, sign_event
from dinemic_engine.keys import SealingKey
from dinemic_engine.ops import SUITE_HYBRID, SUITE_X25519, Create, Policy

PASSPHRASE = "correct horse"
FORM = "dinemic/key-export"


@pytest.fixture(autouse=True)
def _cheap_derivation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passphrases, "_ARGON2ID_COST", (1, 1, 8))


def an_object(keys: ObjectKeys, text: str = "", suite: int = SUITE_X25519) -> Event:
    create = Create("Person", suite, keys.sealing.public, Policy())
    return sign_event(keys.signing, None, 1, [], [create, Set("name", text)])


KEYS = [ObjectKeys.generate() for _ in range(3)]
EVENTS = [an_object(keys) for keys in KEYS]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "some.keys"
    key_export.write(path, [(KEYS[0], EVENTS[0].raw), (KEYS[1], EVENTS[1].raw)], PASSPHRASE)
    return path


def test_what_was_written_is_read_back(path: Path) -> None:
    found = key_export.read_untrusted(path, PASSPHRASE)
    assert {each.object_id: each.keys for each in found} == {
        EVENTS[0].object: KEYS[0],
        EVENTS[1].object: KEYS[1],
    }
    assert {each.model for each in found} == {"Person"}


def test_keys_of_every_suite_are_moved(tmp_path: Path) -> None:
    for suite in (SUITE_X25519, SUITE_HYBRID):
        keys = ObjectKeys.generate(suite)
        event = an_object(keys, suite=suite)
        path = tmp_path / f"{suite}.keys"
        key_export.write(path, [(keys, event.raw)], PASSPHRASE)
        (found,) = key_export.read_untrusted(path, PASSPHRASE)
        assert (found.object_id, found.keys) == (event.object, keys)
        assert found.keys.sealing.private == keys.sealing.private


def test_the_file_is_private_and_shows_nothing(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    data = path.read_bytes()
    for keys, event in zip(KEYS, EVENTS, strict=True):
        for secret in (keys.signing.seed, keys.signing.public, event.object, event.raw[:40]):
            assert secret not in data
    os.chmod(path, 0o640)
    with pytest.raises(StoreError, match="other users may read"):
        key_export.read_untrusted(path, PASSPHRASE)


def test_a_file_that_is_there_is_never_overwritten(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(UsageError, match="is there already"):
        key_export.write(path, [(KEYS[2], EVENTS[2].raw)], PASSPHRASE)
    link = path.with_name("link")
    link.symlink_to(path.with_name("elsewhere"))
    with pytest.raises(UsageError, match="is there already"):
        key_export.write(link, [(KEYS[2], EVENTS[2].raw)], PASSPHRASE)
    assert path.read_bytes() == before
    assert sorted(each.name for each in path.parent.iterdir()) == ["link", "some.keys"]


def test_another_passphrase_is_told_from_damage(path: Path) -> None:
    for wrong in ("Correct horse", PASSPHRASE + " "):
        with pytest.raises(UsageError, match="wrong passphrase"):
            key_export.read_untrusted(path, wrong)
    with pytest.raises(UsageError, match="empty"):
        key_export.read_untrusted(path, "")
    with pytest.raises(UsageError, match="empty"):
        key_export.write(path.with_name("other"), [(KEYS[2], EVENTS[2].raw)], "")
    assert not path.with_name("other").exists()


def test_every_cut_and_every_changed_byte_is_noticed(path: Path) -> None:
    data = path.read_bytes()
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        with pytest.raises(StoreCorrupt):
            key_export.read_untrusted(path, PASSPHRASE)
    for at in range(0, len(data), 5):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(StoreCorrupt):
            key_export.read_untrusted(path, PASSPHRASE)
    path.write_bytes(data + b"\0")
    with pytest.raises(StoreCorrupt):
        key_export.read_untrusted(path, PASSPHRASE)


def write(path: Path, *body: Value) -> None:
    """A file with a right sum, as anybody can make one."""
    digest = hashlib.sha256(canonical.encode(list(body))).digest()
    path.write_bytes(canonical.encode([*body, digest]))


def elements(path: Path) -> list[Value]:
    value = canonical.decode_untrusted(path.read_bytes())
    assert isinstance(value, list)
    return value[:-1]


def test_a_part_replaced_under_a_right_sum_does_not_open(path: Path) -> None:
    body = elements(path)
    form, version, derivation, verifier, nonce, sealed = body
    assert isinstance(sealed, bytes)
    for forged in (
        [form, version, derivation, verifier, bytes(12), sealed],
        [form, version, derivation, verifier, b"", sealed],
        [form, version, derivation, verifier, nonce, sealed[:-1]],
        [form, version, derivation, verifier, nonce, sealed[1:]],
        [form, version, derivation, verifier, nonce],
        [form, version, ["argon2id", bytes(16), 1, 1, 1 << 40], verifier, nonce, sealed],
        [form, version, ["argon2id", bytes(16), 1 << 30, 1, 8], verifier, nonce, sealed],
        [form, version, ["md5", bytes(16), 1, 1, 8], verifier, nonce, sealed],
        [form, version, None, verifier, nonce, sealed],
        ["dinemic/keyring", version, derivation, verifier, nonce, sealed],
    ):
        write(path, *forged)
        with pytest.raises(StoreCorrupt):
            key_export.read_untrusted(path, PASSPHRASE)
    write(path, form, 2, derivation, verifier, nonce, sealed)
    with pytest.raises(StoreError, match="version 2"):
        key_export.read_untrusted(path, PASSPHRASE)


def forge(path: Path, content: Value) -> None:
    """A file by somebody who knows the passphrase, holding whatever he likes."""
    derivation, derived = passphrases.new(PASSPHRASE)
    verifier = passphrases.expand(derived, f"{FORM}/1/verifier")
    cipher = ChaCha20Poly1305(passphrases.expand(derived, f"{FORM}/1/seal"))
    head: list[Value] = [FORM, 1, list(derivation), verifier]
    sealed = cipher.encrypt(bytes(12), canonical.encode(content), canonical.encode(head))
    write(path, *head, bytes(12), sealed)


def item(keys: ObjectKeys, event: Event) -> Value:
    return [event.object, encode_keys(event.object, keys, None), event.raw]


def test_keys_that_are_not_the_objects_are_refused_whoever_made_the_file(path: Path) -> None:
    good = item(KEYS[0], EVENTS[0])
    forge(path, [good])
    assert len(key_export.read_untrusted(path, PASSPHRASE)) == 1
    one, two = EVENTS[:2]
    half = ObjectKeys(KEYS[0].signing, SealingKey(bytes([7]) * 32))
    later = sign_event(KEYS[0].signing, one.object, 2, [one.id], [Set("name", "x")])
    broken = bytearray(one.raw)
    broken[-1] ^= 1
    key_file = encode_keys(one.object, KEYS[0], None)
    for bad in (
        item(KEYS[1], one),
        item(half, one),
        [two.object, encode_keys(two.object, KEYS[0], None), one.raw],
        [one.object, encode_keys(two.object, KEYS[0], None), one.raw],
        [later.id, encode_keys(later.id, KEYS[0], None), later.raw],
        [one.object, key_file, later.raw],
        [one.object, key_file, bytes(broken)],
        [one.object, key_file, b""],
        [one.object, b"", one.raw],
        [one.object, key_file],
        None,
    ):
        forge(path, [good, bad])
        with pytest.raises(StoreCorrupt):
            key_export.read_untrusted(path, PASSPHRASE)
    contents: list[Value] = [[], None, {"a": 1}, b""]
    for content in contents:
        forge(path, content)
        with pytest.raises(StoreCorrupt):
            key_export.read_untrusted(path, PASSPHRASE)


def test_more_than_one_file_holds_is_said_before_anything_is_made(tmp_path: Path) -> None:
    large = [an_object(keys, "x" * 400_000) for keys in KEYS]
    owned = [(keys, event.raw) for keys, event in zip(KEYS, large, strict=True)]
    with pytest.raises(UsageError, match="too many objects for one file"):
        key_export.write(tmp_path / "large", owned, PASSPHRASE)
    assert list(tmp_path.iterdir()) == []
