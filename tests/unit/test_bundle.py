"""The bytes of a bundle: what is written, and that nothing else is taken for one."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import BinaryIO

import pytest

from dinemic_engine import bundle
from dinemic_engine.errors import BundleError
from dinemic_engine.limits import EVENT_BYTES_MAX
from support.bundles import SUM_BYTES, bundle_of, summed

TESTS = Path(__file__).parents[1]
SMALL = bundle_of([[b"one", b"two!"], [b"three"]])


def read(data: bytes) -> list[bytes]:
    return list(bundle.read_untrusted(io.BytesIO(data)))


def error_of(data: bytes) -> str:
    with pytest.raises(BundleError) as caught:
        read(data)
    return str(caught.value)


def test_a_bundle_is_these_bytes() -> None:
    body = (
        b"dinemic/bundle/1\n"
        b"\x00\x00\x00\x03one"
        b"\x00\x00\x00\x04two!"
        b"\x00\x00\x00\x05three"
        b"\x00\x00\x00\x00"
        b"\x00\x00\x00\x00\x00\x00\x00\x03"
    )
    assert summed(body) == SMALL


def test_the_example_in_the_document_is_one() -> None:
    document = (TESTS.parent / "docs" / "format.md").read_text("utf-8")
    _, _, example = document.partition("The bundle of the first vector, ")
    vectors = json.loads((TESTS / "vectors" / "events.json").read_text("utf-8"))
    data = bundle_of([[bytes.fromhex(vectors["accepted"][0]["hex"])]])
    assert example.startswith(f"{len(data)} bytes:")
    lines = [line.strip() for line in example.splitlines()[2:7]]
    magic, event, end, count, total = lines
    assert data.hex().startswith(magic + event[:8])
    assert data.hex().endswith(end + count + total)


def test_what_was_written_is_read_in_its_order_and_counted() -> None:
    out = io.BytesIO()
    assert bundle.write(out, iter([iter([b"one", b"two!"]), iter([b"three"])])) == 3
    assert read(out.getvalue()) == [b"one", b"two!", b"three"]


def test_a_bundle_may_be_empty() -> None:
    out = io.BytesIO()
    assert bundle.write(out, [[], []]) == 0
    assert read(out.getvalue()) == []


def test_a_bundle_begins_where_the_file_is() -> None:
    file = io.BytesIO(b"before" + SMALL)
    file.seek(6)
    assert list(bundle.read_untrusted(file)) == [b"one", b"two!", b"three"]


def test_an_event_of_the_largest_size_is_held_and_no_larger_one() -> None:
    largest = bytes(EVENT_BYTES_MAX)
    assert read(bundle_of([[largest]])) == [largest]
    body = bundle.MAGIC + (EVENT_BYTES_MAX + 1).to_bytes(4, "big") + largest + bytes(1 + 4)
    assert "claims 1048577 bytes" in error_of(summed(body + bytes(7) + b"\x01"))


class Asked(io.BytesIO):
    """Remembers the most that was asked for at once."""

    most = 0

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert size >= 0
        self.most = max(self.most, size)
        return super().read(size)


@pytest.mark.parametrize("length", [1 << 31, (1 << 32) - 1, EVENT_BYTES_MAX + 1])
def test_a_length_is_compared_before_anything_is_read_for_it(length: int) -> None:
    file = Asked(bundle.MAGIC + length.to_bytes(4, "big") + bytes(100))
    with pytest.raises(BundleError, match=f"event number 1 claims {length} bytes"):
        list(bundle.read_untrusted(file))
    assert file.most < 100


def test_a_bundle_cut_at_any_byte_is_refused() -> None:
    for size in range(len(SMALL)):
        said = error_of(SMALL[:size])
        assert ("cut short" in said) == (size >= len(bundle.MAGIC)), size


def test_any_byte_that_is_another_is_noticed() -> None:
    for at in range(len(SMALL)):
        for bit in (1, 0x80):
            error_of(SMALL[:at] + bytes((SMALL[at] ^ bit,)) + SMALL[at + 1 :])


def test_what_follows_the_end_is_noticed() -> None:
    assert error_of(SMALL + b"\0") == "something follows its end"
    assert error_of(SMALL + SMALL) == "something follows its end"


@pytest.mark.parametrize("count", [0, 2, 4, (1 << 63), (1 << 64) - 1])
def test_a_count_of_other_events_is_refused_whatever_the_sum_says(count: int) -> None:
    body = SMALL[: -SUM_BYTES - 8] + count.to_bytes(8, "big")
    assert error_of(summed(body)) == f"3 events are here, and it tells of {count}"


@pytest.mark.parametrize("data", [b"", b"dinemic", b"PK\x03\x04" * 20, bytes(100), SMALL[1:]])
def test_something_else_is_no_bundle(data: bytes) -> None:
    with pytest.raises(BundleError, match="not a bundle"):
        bundle.read_untrusted(io.BytesIO(data))  # before a single event is asked for


@pytest.mark.parametrize("version", [b"2\n", b"0\n", b"10", b"1\r", b"1 "])
def test_another_version_is_said_to_be_one(version: bytes) -> None:
    with pytest.raises(BundleError, match="another version; this release reads version 1"):
        bundle.read_untrusted(io.BytesIO(b"dinemic/bundle/" + version + SMALL[17:]))


def test_a_file_that_gives_a_byte_at_a_time_is_read_to_its_end() -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(1, size or 0))

    slow: BinaryIO = Slow(SMALL)
    assert list(bundle.read_untrusted(slow)) == [b"one", b"two!", b"three"]
