"""I-04 for values: what is encoded comes back, what is accepted has one spelling."""

from __future__ import annotations

import math
from typing import Any, Final

import cbor2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dinemic_engine import canonical
from dinemic_engine.canonical import Sealed
from dinemic_engine.errors import InvalidEvent, LimitExceeded, Malformed, Reason
from dinemic_engine.limits import INT_MAX, INT_MIN

REASONS: Final = {Reason.VALUE, Reason.NOT_CANONICAL, Reason.TOO_DEEP, Reason.TOO_LARGE}

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
floats = st.floats(allow_nan=False).filter(lambda x: x != 0.0 or math.copysign(1.0, x) > 0.0)
ints = st.integers(INT_MIN, INT_MAX) | st.sampled_from(
    [sign * ((1 << bits) + step) for sign in (1, -1) for bits in (5, 8, 16, 32) for step in (-1, 0)]
)
sealed = st.builds(
    Sealed,
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=16, max_size=16),
    st.binary(max_size=40),
)
scalars = st.none() | st.booleans() | ints | floats | texts | st.binary(max_size=300) | sealed
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=30)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(texts, inner, max_size=6)
    ),
    max_leaves=25,
)
spellings = values.map(canonical.encode)


def typed(value: Any) -> Any:
    """`value` so that only equal types compare equal, and tuples as lists."""
    if isinstance(value, list | tuple):
        return (list, [typed(item) for item in value])
    if isinstance(value, dict):
        return (dict, {key: typed(item) for key, item in value.items()})
    return (type(value), value)


def refusal_of(data: bytes) -> InvalidEvent | None:
    """What decoding `data` raises, or None when it is accepted."""
    try:
        canonical.decode_untrusted(data)
    except InvalidEvent as refusal:
        return refusal
    return None


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A spelling with a few bytes changed, put in, taken out, repeated or cut off."""
    data = bytearray(draw(spellings))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 4)))
        match draw(st.sampled_from(["change", "put in", "take out", "repeat", "cut"])):
            case "change" if at < len(data):
                data[at] = draw(st.integers(0, 255))
            case "put in":
                data[at:at] = draw(st.binary(min_size=1, max_size=9))
            case "take out":
                del data[at:end]
            case "repeat":
                data[at:at] = data[at:end]
            case _:
                del data[at:]
    return bytes(data)


@given(values)
def test_i_04_what_is_encoded_comes_back(value: Any) -> None:
    spelling = canonical.encode(value)
    assert typed(canonical.decode_untrusted(spelling)) == typed(value)
    assert canonical.scan_untrusted(spelling) == len(spelling)


@given(values, values)
def test_i_04_different_values_have_different_spellings(one: Any, other: Any) -> None:
    same_value = typed(one) == typed(other)
    assert (canonical.encode(one) == canonical.encode(other)) is same_value


@given(damaged() | st.binary(max_size=40))
@example(b"\xf9\x80\x00")
@example(b"\xa2\x61b\x00\x61a\x00")
def test_i_04_damaged_bytes_are_refused_for_a_reason_or_are_the_spelling_of_another_value(
    data: bytes,
) -> None:
    refusal = refusal_of(data)
    if refusal is None:
        assert canonical.encode(canonical.decode_untrusted(data)) == data
    else:
        assert isinstance(refusal, Malformed | LimitExceeded)
        assert refusal.reason in REASONS


def judged_slowly(data: bytes) -> bool:
    """Whether `data` is a spelling, without our scanner: let cbor2 read anything, encode again."""
    try:
        value = cbor2.loads(data, tag_hook=_slow_tag)
        return canonical.encode(value) == data
    except (InvalidEvent, cbor2.CBORError, ValueError, TypeError, OverflowError):
        return False


def _slow_tag(tag: cbor2.CBORTag, _immutable: bool) -> Any:
    match tag.tag, tag.value:
        case 16, [bytes(protected), unprotected, bytes(ciphertext)] if not unprotected:
            header = cbor2.loads(protected)
            return Sealed(header[4], header[-20], ciphertext)
    return tag


@given(damaged() | st.binary(max_size=12))
def test_the_scanner_refuses_nothing_that_has_one_spelling_and_lets_nothing_else_in(
    data: bytes,
) -> None:
    assert (refusal_of(data) is None) is judged_slowly(data)


@given(spellings, st.binary(min_size=1, max_size=8))
def test_a_scan_finds_the_end_whatever_follows(spelling: bytes, tail: bytes) -> None:
    assert canonical.scan_untrusted(spelling + tail) == len(spelling)
    assert canonical.scan_untrusted(tail + spelling, len(tail)) == len(tail) + len(spelling)
    with pytest.raises(Malformed) as refusal:
        canonical.decode_untrusted(spelling + tail)
    assert refusal.value.reason is Reason.NOT_CANONICAL


@given(spellings)
def test_no_prefix_of_a_spelling_is_one(spelling: bytes) -> None:
    for length in range(len(spelling)):
        with pytest.raises(Malformed) as refusal:
            canonical.decode_untrusted(spelling[:length])
        assert refusal.value.reason is Reason.NOT_CANONICAL
