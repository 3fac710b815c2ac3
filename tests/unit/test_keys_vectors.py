"""EV-9 against what is published: one verdict on every odd signature, and libsodium's the same."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

from dinemic_engine.errors import BadSignature, Reason
from dinemic_engine.keys import (
    SIGNATURE_BYTES,
    SigningKey,
    check_sealing_public_untrusted,
    check_signing_public_untrusted,
    verify,
)
from support import edwards
from vectors import make_ed25519_edge_cases

_VECTORS: Final = Path(__file__).parents[1] / "vectors"


def _load(name: str) -> Any:
    return json.loads((_VECTORS / name).read_text())


RFC8032: Final = _load("ed25519_rfc8032.json")["tests"]
WYCHEPROOF: Final = _load("ed25519_wycheproof.json")["tests"]
EDGE_CASES: Final = _load("ed25519_edge_cases.json")
X25519: Final = _load("x25519_wycheproof.json")["tests"]
SMALL_ORDER: Final = edwards.small_order_encodings()

# ZIP 215 accepts all of these: S = 0 and every pair of points of small order, however spelt.
ZIP_215: Final = [
    (public, r + bytes(32), b"Zcash") for public, r in itertools.product(SMALL_ORDER, repeat=2)
]


def verdict(public: bytes, signature: bytes, data: bytes) -> bool:
    try:
        verify(public, signature, data)
    except BadSignature:
        return False
    return True


def is_signing_public(public: bytes) -> bool:
    try:
        check_signing_public_untrusted(public)
    except BadSignature:
        return False
    return True


def libsodium(public: bytes, signature: bytes, data: bytes) -> bool:
    """Its verdict; it takes signature and data as one string, so another size is never right."""
    if len(signature) != SIGNATURE_BYTES:
        return False
    try:
        crypto_sign_open(signature + data, public)
    except BadSignatureError:
        return False
    return True


def library_alone(public: bytes, signature: bytes, data: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
    except InvalidSignature:
        return False
    return True


def parts(vector: dict[str, Any]) -> tuple[bytes, bytes, bytes]:
    """Public key, signature and data of a vector."""
    public, signature, data = (
        bytes.fromhex(vector[part]) for part in ("public", "signature", "message")
    )
    return public, signature, data


@pytest.mark.parametrize("vector", RFC8032, ids=lambda vector: vector["name"])
def test_keys_and_signatures_are_those_of_rfc_8032(vector: dict[str, Any]) -> None:
    public, signature, data = parts(vector)
    key = SigningKey(bytes.fromhex(vector["seed"]))
    assert (key.public, key.sign(data)) == (public, signature)
    check_signing_public_untrusted(public)
    assert verdict(public, signature, data)
    assert libsodium(public, signature, data)


def test_wycheproof_is_judged_as_it_says_and_as_libsodium_does() -> None:
    seen = set()
    for vector in WYCHEPROOF:
        # What it leaves open we decide: small order no, a part of small order that cancels yes.
        right = vector["result"] == "valid" or (
            vector["result"] == "acceptable" and vector["kind"] == "MixedOrderPublicKey"
        )
        assert verdict(*parts(vector)) is right, vector["comment"]
        assert libsodium(*parts(vector)) is right, vector["comment"]
        seen.add((vector["kind"], vector["result"]))
    assert len(WYCHEPROOF) == 210
    assert {"SmallOrderPublicKey", "SignatureMalleability", "InvalidEncoding"} < {
        kind for kind, _ in seen
    }


@pytest.mark.parametrize("vector", EDGE_CASES, ids=lambda vector: vector["case"])
def test_the_twelve_disputed_signatures_have_one_verdict(vector: dict[str, Any]) -> None:
    assert verdict(*parts(vector)) is vector["accepted"], vector["condition"]
    assert libsodium(*parts(vector)) is vector["accepted"], vector["condition"]


def test_the_disputed_signatures_are_what_their_conditions_make() -> None:
    assert make_ed25519_edge_cases.make() == EDGE_CASES
    assert [vector["case"] for vector in EDGE_CASES if vector["accepted"]] == [3]


def test_no_pair_of_small_order_points_is_a_signature() -> None:
    assert len(ZIP_215) == 196
    for signed in ZIP_215:
        assert edwards.holds(*signed, cofactor=True)  # the equation ZIP 215 checks
        assert not verdict(*signed)
        assert not libsodium(*signed)


def test_the_library_alone_accepts_what_we_refuse() -> None:
    """If this fails, the library has become stricter: good, and the check above it is unneeded."""
    accepted = sum(library_alone(*signed) for signed in ZIP_215)
    assert accepted > 0
    identity = (1).to_bytes(32, "little")
    for data in (b"any", b"message", b"at all"):  # R = S*B for S = 0 is the identity again
        assert library_alone(identity, identity + bytes(32), data)
        assert not verdict(identity, identity + bytes(32), data)


def test_s_is_below_the_group_order_by_our_own_check() -> None:
    """Both libraries check it too; this pins that ours comes first and begins at L exactly."""
    key, data = SigningKey(bytes(32)), b"data"
    nonce = key.sign(data)[:32]
    for s in (edwards.L, edwards.L + 1, 2**253, 2**256 - 1):
        with pytest.raises(BadSignature, match="S is not below the group order"):
            verify(key.public, nonce + s.to_bytes(32, "little"), data)
    for s in (0, edwards.L - 1):
        with pytest.raises(BadSignature, match="does not verify"):
            verify(key.public, nonce + s.to_bytes(32, "little"), data)


@pytest.mark.parametrize("public", SMALL_ORDER, ids=bytes.hex)
def test_a_signing_key_of_small_order_is_refused_in_all_its_spellings(public: bytes) -> None:
    with pytest.raises(BadSignature) as refusal:
        check_signing_public_untrusted(public)
    assert refusal.value.reason is Reason.SMALL_ORDER_KEY


@pytest.mark.parametrize("excess", range(19))
def test_a_signing_key_that_is_not_canonical_is_refused(excess: int) -> None:
    for sign in (0, 1 << 255):
        public = (edwards.P + excess | sign).to_bytes(32, "little")
        with pytest.raises(BadSignature) as refusal:
            check_signing_public_untrusted(public)
        assert refusal.value.reason is Reason.SMALL_ORDER_KEY


def test_a_signing_key_is_a_point_of_the_curve() -> None:
    judged = set()
    for y in range(2, 200):
        for sign in (0, 1 << 255):
            public = (y | sign).to_bytes(32, "little")
            accepted = is_signing_public(public)
            assert accepted is (edwards.decode(public) is not None)
            judged.add(accepted)
    assert judged == {True, False}


@pytest.mark.parametrize("vector", X25519, ids=lambda vector: vector["id"])
def test_a_sealing_key_is_refused_when_no_secret_comes_of_it_or_it_is_a_second_spelling(
    vector: dict[str, Any],
) -> None:
    public = bytes.fromhex(vector["public"])
    if vector["low_order"] or not vector["canonical"] or public[31] & 0x80:
        with pytest.raises(BadSignature) as refusal:
            check_sealing_public_untrusted(public)
        assert refusal.value.reason is Reason.SMALL_ORDER_KEY
    else:
        check_sealing_public_untrusted(public)
        private = X25519PrivateKey.from_private_bytes(bytes.fromhex(vector["private"]))
        secret = private.exchange(X25519PublicKey.from_public_bytes(public))
        assert secret.hex() == vector["shared"] != "00" * 32


def test_the_vectors_hold_every_low_order_sealing_key() -> None:
    spelt = {vector["public"] for vector in X25519 if vector["low_order"]}
    canonical = {u for u in spelt if int.from_bytes(bytes.fromhex(u), "little") < edwards.P}
    assert len(canonical) == 5
    assert len(spelt) == 14  # 0 and 1 also as p and p + 1, and each of the seven with the top bit
