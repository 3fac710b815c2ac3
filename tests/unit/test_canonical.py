"""What `encode` takes and refuses, what a `Sealed` shows, and how much work hostile bytes cost."""

from __future__ import annotations

import datetime
import decimal
import enum
from collections.abc import Callable
from typing import Any, NamedTuple

import cbor2
import pytest

from dinemic_engine import canonical
from dinemic_engine.canonical import Sealed
from dinemic_engine.errors import InvalidEvent, LimitExceeded, Malformed, Reason
from dinemic_engine.limits import DEPTH_MAX, EVENT_BYTES_MAX, ITEMS_MAX

EPOCH, SALT = b"e" * 32, b"s" * 16


class Colour(enum.IntEnum):
    RED = 1


class Pair(NamedTuple):
    left: int
    right: int


class Shout(str):
    __slots__ = ()


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        bytearray(b"x"),
        memoryview(b"x"),
        {1, 2},
        frozenset({1}),
        1j,
        decimal.Decimal("1.5"),
        datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
        object(),
        range(3),
        Colour.RED,
        Pair(1, 2),
        Shout("hey"),
        cbor2.undefined,
        cbor2.CBORTag(16, [b"", {}, b""]),
        cbor2.CBORSimpleValue(99),
        iter(()),
        len,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_would_come_back_as_something_else_is_refused_by_the_name_of_its_type(
    value: Any,
) -> None:
    for wrapped in (value, [value], {"key": value}, (1, [value])):
        with pytest.raises(Malformed) as refusal:
            canonical.encode(wrapped)
        assert refusal.value.reason is Reason.VALUE
        assert type(value).__name__ in refusal.value.detail


@pytest.mark.parametrize(
    "value",
    [1 << 63, -(1 << 63) - 1, 1 << 64, 10**100, float("nan"), -0.0, "\ud800", "a\udfffb"],
    ids=repr,
)
def test_values_out_of_range_are_refused_wherever_they_stand(value: Any) -> None:
    for wrapped in (value, [value], {"key": value}, ([value],)):
        with pytest.raises(Malformed) as refusal:
            canonical.encode(wrapped)
        assert refusal.value.reason is Reason.VALUE


@pytest.mark.parametrize("key", [1, None, b"key", True, 1.5, ("a",), Shout("key"), "\ud800"])
def test_a_map_key_is_text(key: Any) -> None:
    for wrapped in ({key: 1}, [{"fine": {key: 1}}]):
        with pytest.raises(Malformed) as refusal:
            canonical.encode(wrapped)
        assert refusal.value.reason is Reason.VALUE


def test_a_bool_is_not_an_int_and_a_float_is_not_an_int() -> None:
    spellings = [canonical.encode(value) for value in (True, 1, 1.0, "1", b"1")]
    assert len(set(spellings)) == 5
    read = [canonical.decode_untrusted(spelling) for spelling in spellings]
    assert [type(value) for value in read] == [bool, int, float, str, bytes]


def test_a_tuple_is_spelt_as_a_list_and_comes_back_as_one() -> None:
    assert canonical.encode((1, ("a", ()))) == canonical.encode([1, ["a", []]])
    assert canonical.decode_untrusted(canonical.encode((1,))) == [1]


def test_the_order_in_which_a_map_was_filled_does_not_show() -> None:
    keys = ["b", "aa", "", "a" * 24, "a" * 23, "\u00fc", "z" * 300, "a" * 255, "a" * 256]
    there = canonical.encode(dict.fromkeys(keys, 1))
    back = canonical.encode(dict.fromkeys(reversed(keys), 1))
    assert there == back
    read = canonical.decode_untrusted(there)
    assert isinstance(read, dict)
    assert list(read) == sorted(keys, key=canonical.encode)


# -- bounds --------------------------------------------------------------------------------------


def test_the_deepest_value_goes_both_ways_and_the_next_one_neither() -> None:
    assert canonical.decode_untrusted(canonical.encode(nested(DEPTH_MAX))) == nested(DEPTH_MAX)
    for refused in (nested(DEPTH_MAX + 1), {"k": nested(DEPTH_MAX)}, nested(100_000)):
        with pytest.raises(LimitExceeded) as refusal:
            canonical.encode(refused)
        assert refusal.value.reason is Reason.TOO_DEEP
    with pytest.raises(LimitExceeded) as refusal:
        canonical.decode_untrusted(b"\x81" * DEPTH_MAX + b"\x80")
    assert refusal.value.reason is Reason.TOO_DEEP


def test_depth_is_what_the_caller_says_it_is() -> None:
    assert canonical.encode([[1]], depth_max=2) == b"\x81\x81\x01"
    assert canonical.decode_untrusted(b"\x81\x81\x01", depth_max=2) == [[1]]
    assert canonical.scan_untrusted(b"\x81\x81\x01", depth_max=2) == 3
    assert canonical.decode_untrusted(b"\x01", depth_max=0) == 1
    with pytest.raises(LimitExceeded):
        canonical.encode([[1]], depth_max=1)
    with pytest.raises(LimitExceeded):
        canonical.decode_untrusted(b"\x81\x81\x01", depth_max=1)
    with pytest.raises(LimitExceeded):
        canonical.scan_untrusted(b"\xa1\x61a\xa0", depth_max=1)
    with pytest.raises(LimitExceeded):
        canonical.decode_untrusted(b"\x80", depth_max=0)


def test_a_cycle_ends_at_the_depth_limit() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    loop: dict[str, Any] = {}
    loop["again"] = loop
    for value in (cycle, loop):
        with pytest.raises(LimitExceeded) as refusal:
            canonical.encode(value)
        assert refusal.value.reason is Reason.TOO_DEEP


def test_a_value_that_repeats_itself_exponentially_ends_at_the_item_limit() -> None:
    value: list[Any] = ["x"] * 100
    for _ in range(10):
        value = [value] * 100  # 100**11 items in eleven lists
    with pytest.raises(LimitExceeded) as refusal:
        canonical.encode(value)
    assert refusal.value.reason is Reason.TOO_MANY


@pytest.mark.parametrize("item", [0, {}, [], {"a": 0}], ids=["ints", "maps", "arrays", "pairs"])
def test_items_are_counted_at_every_level_and_alike_in_both_directions(item: Any) -> None:
    inside = len(item) if isinstance(item, dict | list) else 0
    fits = [item] * (ITEMS_MAX // (1 + inside))
    spelled = canonical.encode(fits)
    assert canonical.decode_untrusted(spelled) == fits
    with pytest.raises(LimitExceeded) as refusal:
        canonical.encode([*fits, item])
    assert refusal.value.reason is Reason.TOO_MANY
    spelled = b"\x9a" + (len(fits) + 1).to_bytes(4, "big") + spelled[5:] + canonical.encode(item)
    assert reason_of(spelled) is Reason.TOO_MANY


def test_bytes_longer_than_an_event_are_refused_unread() -> None:
    class Unread(bytes):
        def __getitem__(self, at: Any) -> Any:
            raise AssertionError("read")

    with pytest.raises(LimitExceeded) as refusal:
        canonical.decode_untrusted(Unread(EVENT_BYTES_MAX + 1))
    assert refusal.value.reason is Reason.TOO_LARGE


def reason_of(data: bytes) -> Reason | None:
    """Why `data` is refused, or None when it is accepted."""
    try:
        canonical.decode_untrusted(data)
    except InvalidEvent as refusal:
        return refusal.reason
    return None


class Counted(bytes):
    """Bytes that count how many of them are looked at."""

    seen = 0

    def __getitem__(self, at: Any) -> Any:
        part = super().__getitem__(at)
        self.seen += 1 if isinstance(part, int) else len(part)
        return part

    def startswith(self, *arguments: Any) -> bool:
        self.seen += len(arguments[0])
        return super().startswith(*arguments)


@pytest.mark.parametrize(
    ("hostile", "reads_max", "reason"),
    [
        (b"\x81" * 1_000_000, 32, Reason.TOO_DEEP),
        (b"\x80" * (64 << 10), 2, Reason.NOT_CANONICAL),
        (b"\x9f" * (64 << 10), 2, Reason.NOT_CANONICAL),
        (b"\xa1\x61a" * 300_000, 100, Reason.TOO_DEEP),
        (b"\xd8\x1c" * 500_000, 2, Reason.VALUE),
        (b"\xd0" * 1_000_000, 80, Reason.VALUE),
        (b"\x5b\x80" + bytes(7) + b"x" * 1000, 16, Reason.NOT_CANONICAL),
        (b"\x9b\x7f" + b"\xff" * 7 + b"\x00" * 1000, 16, Reason.NOT_CANONICAL),
        (b"\x9a\x00\x01\x86\xa0" + b"\x80" * 100_000, 200_010, None),
        (b"\x9a\x00\x0f\x42\x40" + b"\x00" * 999_999, 16, Reason.NOT_CANONICAL),
        (b"\x9a\x00\x0f\x42\x40" + b"\xa0" * 1_000_000, 16, Reason.TOO_MANY),
        (b"\x99\xff\xff" + b"\x81\x00" * 65_535, 262_160, None),
        (b"\x96" + (b"\x97" + b"\x80" * 23) * 21, 1100, Reason.NOT_CANONICAL),
        (b"\xa1\x7a\x00\x0f\x42\x40" + b"a" * 1_000_000 + b"\x00", 2_000_100, None),
        (b"\x7a\x00\x0f\x42\x40" + b"\xff" * 1_000_000, 16, Reason.VALUE),
    ],
    ids=range(15),
)
def test_hostile_bytes_cost_reads_in_proportion_to_their_length(
    hostile: bytes, reads_max: int, reason: Reason | None
) -> None:
    counted = Counted(hostile)
    assert reason_of(counted) is reason
    assert counted.seen <= reads_max


@pytest.mark.parametrize(
    "head", ["18", "1903", "1b00000001", "59", "7a000102", "99ff", "b9ff", "f93c"]
)
def test_a_head_without_its_argument_is_called_cut_short(head: str) -> None:
    with pytest.raises(Malformed, match="cut short"):
        canonical.decode_untrusted(bytes.fromhex(head))


def test_what_follows_a_value_is_called_that() -> None:
    with pytest.raises(Malformed, match="bytes after the value"):
        canonical.decode_untrusted(b"\x01\x01")


def test_a_scan_of_any_prefix_ends_inside_it_or_is_refused() -> None:
    whole = canonical.encode(
        [1, "text" * 10, b"x" * 300, {"a": 1.5, "b": [None, -500]}, Sealed(EPOCH, SALT, b"c" * 40)]
    )
    assert canonical.scan_untrusted(whole) == len(whole)
    for length in range(len(whole)):
        with pytest.raises(Malformed) as refusal:
            canonical.scan_untrusted(whole[:length])
        assert refusal.value.reason is Reason.NOT_CANONICAL


def test_a_scan_begins_where_it_is_told_and_ignores_what_follows() -> None:
    assert canonical.scan_untrusted(b"\xff\x82\x01\x02\xff", 1) == 4
    with pytest.raises(Malformed):
        canonical.scan_untrusted(b"\x01", 1)


# -- sealed values -------------------------------------------------------------------------------


def test_a_sealed_value_shows_its_epoch_and_nothing_else() -> None:
    sealed = Sealed(EPOCH, SALT, b"the secret")
    assert repr(sealed) == str(sealed) == "Sealed(epoch=mvswkzlfmv)"


def test_a_sealed_value_is_a_cose_encrypt0_any_decoder_reads() -> None:
    tag = cbor2.loads(canonical.encode(Sealed(EPOCH, SALT, b"ciphertext")))
    protected, unprotected, ciphertext = tag.value
    assert tag.tag == 16
    assert len(protected) == 57
    assert cbor2.loads(protected) == {1: 24, 4: EPOCH, -20: SALT}
    assert (dict(unprotected), ciphertext) == ({}, b"ciphertext")
    assert protected == canonical.protected_header(Sealed(EPOCH, SALT, b""))


def test_a_sealed_value_counts_as_a_scalar() -> None:
    value: Any = Sealed(EPOCH, SALT, b"c")
    assert canonical.decode_untrusted(canonical.encode(value), depth_max=0) == value
    for _ in range(DEPTH_MAX):
        value = [value]
    assert canonical.decode_untrusted(canonical.encode(value)) == value


@pytest.mark.parametrize(
    "make",
    [
        lambda: Sealed(EPOCH[:-1], SALT, b""),
        lambda: Sealed(EPOCH, SALT + b"s", b""),
        lambda: Sealed("e" * 32, SALT, b""),  # type: ignore[arg-type]
        lambda: Sealed(EPOCH, bytearray(SALT), b""),  # type: ignore[arg-type]
        lambda: Sealed(EPOCH, SALT, "text"),  # type: ignore[arg-type]
        lambda: Sealed(EPOCH, SALT, None),  # type: ignore[arg-type]
    ],
)
def test_a_sealed_value_of_other_parts_cannot_be_made(make: Callable[[], Sealed]) -> None:
    with pytest.raises(Malformed) as refusal:
        make()
    assert refusal.value.reason is Reason.VALUE


# -- the parts we stand on -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "lax",
    ["1800", "9fff", "a2616200616100", "a2616100616101", "0000", "f97e00", "f98000", "d81c00"],
)
def test_cbor2_alone_takes_what_we_refuse(lax: str) -> None:
    """If this fails, cbor2 has become stricter; nothing is wrong, but the reasons here change."""
    cbor2.loads(bytes.fromhex(lax))
    with pytest.raises(Malformed):
        canonical.decode_untrusted(bytes.fromhex(lax))
