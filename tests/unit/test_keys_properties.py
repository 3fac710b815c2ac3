"""EV-9 for signatures nobody published: judged as the slow arithmetic judges them."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

from dinemic_engine.errors import BadSignature
from dinemic_engine.keys import SigningKey, verify
from support import edwards
from support.edwards import BASE, TORSION, L, add, encode, multiply

SEED: Final = bytes(range(32))

scalars = st.integers(1, L - 1)
eighths = st.integers(0, 7)


def verdict(public: bytes, signature: bytes, data: bytes) -> bool:
    try:
        verify(public, signature, data)
    except BadSignature:
        return False
    return True


@settings(max_examples=40)
@given(scalars, scalars, eighths, eighths, st.binary(max_size=8), st.sampled_from([0, 0, L]))
def test_points_with_parts_of_small_order_are_judged_as_the_arithmetic_says(
    a: int, r: int, torsion_a: int, torsion_r: int, data: bytes, excess: int
) -> None:
    public = encode(add(multiply(a, BASE), TORSION[torsion_a]))
    nonce = encode(add(multiply(r, BASE), TORSION[torsion_r]))
    s = (r + edwards.challenge(nonce, public, data) * a) % L + excess
    signature = nonce + s.to_bytes(32, "little")
    right = edwards.accepts(public, signature, data)
    assert verdict(public, signature, data) is right
    try:
        crypto_sign_open(signature + data, public)
    except BadSignatureError:
        assert not right
    else:
        assert right


@settings(max_examples=20)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=100))
def test_what_a_key_signs_verifies_by_the_arithmetic_too(seed: bytes, data: bytes) -> None:
    key = SigningKey(seed)
    signature = key.sign(data)
    assert verdict(key.public, signature, data)
    assert edwards.accepts(key.public, signature, data)


@pytest.mark.parametrize("part", ["public", "signature", "data"])
def test_i_04_no_single_byte_of_what_was_signed_can_change(part: str) -> None:
    key, data = SigningKey(SEED), b"an event of some object"
    whole = {"public": key.public, "signature": key.sign(data), "data": data}
    for at, byte in enumerate(whole[part]):
        for other in {byte ^ 1, byte ^ 0x80, byte ^ 0xFF, 0, 0xFF} - {byte}:
            changed = whole[part][:at] + bytes([other]) + whole[part][at + 1 :]
            assert not verdict(**(whole | {part: changed}))


@given(st.integers(0, 127), st.integers(0, 255), st.binary(max_size=30))
def test_i_04_no_byte_anywhere_can_change(at: int, other: int, data: bytes) -> None:
    key = SigningKey(SEED)
    signed = bytearray(key.public + key.sign(data) + data)
    at %= len(signed)
    unchanged = signed[at] == other
    signed[at] = other
    assert verdict(bytes(signed[:32]), bytes(signed[32:96]), bytes(signed[96:])) is unchanged
