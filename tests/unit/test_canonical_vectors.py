"""The published spellings and refusals: tests/vectors/canonical.json, both ways."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dinemic_engine import canonical
from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.errors import InvalidEvent

_FILE = json.loads((Path(__file__).parents[1] / "vectors" / "canonical.json").read_text())


def _value(written: Any) -> Value:
    """The value a vector writes in JSON: what JSON lacks is an object with one ``$`` key."""
    match written:
        case {"$int": number}:
            return int(number)
        case {"$float": number}:
            return float(number)
        case {"$bytes": digits}:
            return bytes.fromhex(digits)
        case {"$sealed": {"epoch": epoch, "salt": salt, "ciphertext": ciphertext}}:
            return Sealed(bytes.fromhex(epoch), bytes.fromhex(salt), bytes.fromhex(ciphertext))
        case dict():
            return {key: _value(item) for key, item in written.items()}
        case list():
            return [_value(item) for item in written]
        case None | bool() | int() | str():
            return written
    raise AssertionError(f"a vector may not hold {written!r}")


@pytest.mark.parametrize("vector", _FILE["values"], ids=lambda vector: vector["bytes"][:40])
def test_a_value_has_the_published_spelling_and_it_is_read_back(vector: dict[str, Any]) -> None:
    spelling, value = bytes.fromhex(vector["bytes"]), _value(vector["value"])
    assert canonical.encode(value) == spelling
    read = canonical.decode_untrusted(spelling)
    assert read == value
    assert type(read) is type(value)
    assert canonical.scan_untrusted(b"before" + spelling + b"after", 6) == 6 + len(spelling)


@pytest.mark.parametrize("vector", _FILE["refused"], ids=lambda vector: vector["bytes"][:40])
def test_published_bytes_are_refused_for_the_published_reason(vector: dict[str, Any]) -> None:
    with pytest.raises(InvalidEvent) as refusal:
        canonical.decode_untrusted(bytes.fromhex(vector["bytes"]))
    assert refusal.value.reason.value == vector["reason"], vector["why"]


# What a scan lets pass: text that is not UTF-8, floats wider than need be, and whatever follows.
_LEFT_TO_DECODING = [
    "61ff",
    "62c328",
    "62c080",
    "63eda080",
    "64f4908080",
    "61c3",
    "a161ff00",
    "fb3ff8000000000000",
    "fa3fc00000",
    "fa00000000",
    "fa7f800000",
    "fb7ff0000000000000",
    "fb40f86a0000000000",
    "0000",
    "f6f6",
]


def test_a_scan_alone_refuses_all_but_what_is_left_to_decoding() -> None:
    passed = []
    for vector in _FILE["refused"]:
        try:
            canonical.scan_untrusted(bytes.fromhex(vector["bytes"]))
        except InvalidEvent as refusal:
            given = refusal.reason.value
            assert given == vector["reason"], vector["why"]
        else:
            passed.append(vector["bytes"])
    followed = [data for data in passed if data.startswith("d0")]
    assert [data[-2:] for data in followed] == ["00"]  # a byte after a sealed value
    assert set(passed) - set(followed) == set(_LEFT_TO_DECODING)


def test_every_reason_a_decoder_gives_is_among_the_published_ones() -> None:
    published = {vector["reason"] for vector in _FILE["refused"]}
    assert published == {"EV-6/value", "EV-7/depth", "EV-8/canonical"}  # size: too long for a file
