"""The key objects: what they show, what they compare by, which bytes they are made of."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from dinemic_engine.errors import BadSignature, Reason
from dinemic_engine.ids import short
from dinemic_engine.keys import (
    SealingKey,
    SigningKey,
    check_sealing_public_untrusted,
    check_signing_public_untrusted,
    verify,
)

SEED, OTHER = bytes(range(32)), bytes(range(1, 33))

both_kinds = pytest.mark.parametrize("kind", [SigningKey, SealingKey])


def private_part(key: SigningKey | SealingKey) -> bytes:
    return key.seed if isinstance(key, SigningKey) else key.private


@both_kinds
def test_a_key_is_made_of_the_bytes_it_gives_back(kind: Callable[[bytes], Any]) -> None:
    key = kind(SEED)
    assert private_part(key) == SEED
    assert kind(private_part(key)).public == key.public
    assert len(key.public) == 32


@both_kinds
def test_keys_are_equal_when_their_public_keys_are(kind: Callable[[bytes], Any]) -> None:
    assert kind(SEED) == kind(SEED)
    assert kind(SEED) != kind(OTHER)
    assert kind(SEED) != kind(SEED).public
    assert len({kind(SEED), kind(SEED), kind(OTHER)}) == 2


def test_a_signing_key_is_never_a_sealing_key() -> None:
    assert SigningKey(SEED) != SealingKey(SEED)


@both_kinds
def test_a_printed_key_shows_its_public_half_in_short_form_and_no_secret(
    kind: Callable[[bytes], Any],
) -> None:
    key = kind(SEED)
    for text in (repr(key), str(key), f"{key}", repr([key]), repr({"key": key})):
        assert short(key.public) in text
        assert SEED.hex() not in text
        assert repr(SEED) not in text
        assert short(SEED) not in text


@both_kinds
@pytest.mark.parametrize(
    "spread", [pickle.dumps, copy.copy, copy.deepcopy, lambda key: copy.deepcopy([key])]
)
def test_a_key_is_not_copied_or_pickled(
    kind: Callable[[bytes], Any], spread: Callable[[Any], object]
) -> None:
    with pytest.raises(TypeError, match="not copied or pickled"):
        spread(kind(SEED))


@both_kinds
@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_private_key_of_another_size_is_refused(kind: Callable[[bytes], Any], size: int) -> None:
    with pytest.raises(ValueError, match="32"):
        kind(bytes(size))


@both_kinds
def test_a_key_made_of_a_buffer_does_not_change_with_it(kind: Callable[[Any], Any]) -> None:
    buffer = bytearray(SEED)
    key = kind(buffer)
    buffer[:] = OTHER
    assert private_part(key) == SEED
    assert key == kind(SEED)


def test_a_signature_verifies_by_its_key_and_data_only() -> None:
    key = SigningKey(SEED)
    signature = key.sign(b"data")
    verify(key.public, signature, b"data")
    for public, data in ((key.public, b"other"), (SigningKey(OTHER).public, b"data")):
        with pytest.raises(BadSignature) as refusal:
            verify(public, signature, data)
        assert refusal.value.reason is Reason.SIGNATURE


def test_signing_twice_gives_the_same_signature() -> None:
    assert SigningKey(SEED).sign(b"data") == SigningKey(SEED).sign(b"data")


@pytest.mark.parametrize("size", [0, 31, 33, 63, 65, 128])
def test_a_signature_of_another_size_is_refused(size: int) -> None:
    key = SigningKey(SEED)
    signature = (key.sign(b"data") * 3)[:size]
    with pytest.raises(BadSignature, match=f"{size} bytes") as refusal:
        verify(key.public, signature, b"data")
    assert refusal.value.reason is Reason.SIGNATURE


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_public_key_of_another_size_is_refused_everywhere(size: int) -> None:
    public = (SigningKey(SEED).public * 2)[:size]
    refusals = []
    with pytest.raises(BadSignature) as refusal:
        verify(public, SigningKey(SEED).sign(b"data"), b"data")
    refusals.append(refusal.value.reason)
    for check in (check_signing_public_untrusted, check_sealing_public_untrusted):
        with pytest.raises(BadSignature) as refusal:
            check(public)
        refusals.append(refusal.value.reason)
    assert refusals == [Reason.SMALL_ORDER_KEY] * 3


def test_a_refused_key_is_refused_again_and_no_error_is_remembered_as_a_key() -> None:
    signature = SigningKey(SEED).sign(b"data")
    for _ in range(2):
        with pytest.raises(BadSignature):
            verify(bytes(32), signature, b"data")
    verify(SigningKey(SEED).public, signature, b"data")


def test_both_sides_of_a_sealing_key_agree_on_one_secret() -> None:
    one, other = SealingKey(SEED), SealingKey(OTHER)
    check_sealing_public_untrusted(one.public)
    secrets = {
        X25519PrivateKey.from_private_bytes(mine.private).exchange(
            X25519PublicKey.from_public_bytes(theirs.public)
        )
        for mine, theirs in ((one, other), (other, one))
    }
    assert len(secrets) == 1
