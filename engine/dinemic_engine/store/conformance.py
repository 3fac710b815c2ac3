"""The contract of `Store` as checks that any implementation can be held to.

Every check is a plain function that raises `StoreViolation` where the contract is broken. Those
in `STORE_CHECKS` take one fresh empty store; those in `REOPEN_CHECKS` take a function that opens
the same place again and again, for stores that keep their rows. With pytest::

    @pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
    def test_contract(check, tmp_path):
        store = MyStore(tmp_path)
        check(store)
        store.close()
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from dinemic_engine.errors import StoreError
from dinemic_engine.store import Store

OpenStore = Callable[[], Store]

LOWEST: Final = b""
HIGHEST: Final = b"\xff" * 1025
"""Bounds below and above every key."""

KEY_BYTES_MAX: Final = 1024
VALUE_BYTES_MAX: Final = 2 << 20

_TRICKY_KEYS: Final = (
    b"\x00",
    b"\x00\x00",
    b"\x00\x01",
    b"\x00\xff",
    b"\x01",
    b"A",
    b"a",
    b"a\x00",
    b"a\x00b",
    b"a\xff",
    b"a\xff\xff",
    b"ab",
    b"b",
    b"\x7f",
    b"\x80",
    b"\xc3\xa9",
    b"\xfe\xff",
    b"\xff",
    b"\xff\x00",
    b"\xff\xff",
    b"\xff" * KEY_BYTES_MAX,
)


class StoreViolation(AssertionError):
    """A store does not do what the contract says."""


def check_store(open_store: OpenStore) -> None:
    """Run every check of `STORE_CHECKS`, each on a fresh empty store from `open_store`."""
    for check in STORE_CHECKS:
        store = open_store()
        try:
            check(store)
        finally:
            store.close()


def check_an_empty_store_has_no_rows(store: Store) -> None:
    """Nothing is found in a store that was never written."""
    _equal("get", store.get(b"a"), None)
    _equal("get_many", store.get_many([b"a", b"b"]), [None, None])
    _equal("get_many of nothing", store.get_many([]), [])
    _equal("scan", _rows(store), [])
    _equal("reverse scan", list(store.scan(LOWEST, HIGHEST, reverse=True)), [])


def check_a_value_is_read_back_as_written(store: Store) -> None:
    """Written, overwritten and empty values come back; keys are told apart to the last byte."""
    store.write({b"a": b"1", b"a\x00": b"2", b"b": b""})
    store.write({b"a": b"3"})
    _equal("overwritten", store.get(b"a"), b"3")
    _equal("key with a zero byte", store.get(b"a\x00"), b"2")
    _equal("empty value", store.get(b"b"), b"")
    _equal("prefix of no key", store.get(b"a\x00\x00"), None)
    _equal("rows", _rows(store), [(b"a", b"3"), (b"a\x00", b"2"), (b"b", b"")])


def check_get_many_answers_in_the_order_asked(store: Store) -> None:
    """One answer per key, repeated and missing keys included."""
    store.write({b"%03d" % number: b"v%d" % number for number in range(300)})
    asked = [b"%03d" % (number * 7919 % 400) for number in range(500)]
    expected = [b"v%d" % int(key) if int(key) < 300 else None for key in asked]
    _equal("get_many", store.get_many(asked), expected)
    _equal("get_many of one key twice", store.get_many([b"001", b"001"]), [b"v1", b"v1"])


def check_keys_sort_bytewise(store: Store) -> None:
    """Order is that of unsigned bytes, a prefix before what it begins; no byte is special."""
    store.write({key: key for key in reversed(_TRICKY_KEYS)})
    ordered = sorted(_TRICKY_KEYS)
    _equal("order", [key for key, _ in _rows(store)], ordered)
    backwards = [key for key, _ in store.scan(LOWEST, HIGHEST, reverse=True)]
    _equal("reverse order", backwards, ordered[::-1])


def check_scan_bounds_are_half_open(store: Store) -> None:
    """``start <= key < end`` for every pair of bounds on, before, between and after the keys."""
    keys = sorted(_TRICKY_KEYS)
    store.write(dict.fromkeys(keys, b""))
    bounds = [LOWEST, *keys, b"\x00\x80", b"a\x00a", b"aa", b"\xff\x00\x00", HIGHEST]
    for start in bounds:
        for end in bounds:
            expected = [key for key in keys if start <= key < end]
            what = f"scan {start[:4]!r}..{end[:4]!r}"
            _equal(what, [key for key, _ in store.scan(start, end)], expected)
            backwards = [key for key, _ in store.scan(start, end, reverse=True)]
            _equal(f"reverse {what}", backwards, expected[::-1])


def check_a_batch_applies_in_full(store: Store) -> None:
    """Sets and deletions of one batch; deleting what is not there is no error."""
    store.write({b"a": b"1", b"b": b"2", b"c": b"3"})
    store.write({b"a": None, b"b": b"4", b"d": b"5", b"missing": None})
    _equal("rows", _rows(store), [(b"b", b"4"), (b"c", b"3"), (b"d", b"5")])
    _equal("deleted", store.get(b"a"), None)
    store.write({})
    store.write({b"b": None, b"c": None, b"d": None})
    _equal("rows after deleting all", _rows(store), [])
    store.write({b"a": b"6"})
    _equal("written again", _rows(store), [(b"a", b"6")])


def check_many_rows_stay_in_order(store: Store) -> None:
    """Thousands of rows written in scattered order, a third of them deleted again."""
    numbers = [number * 7919 % 5003 for number in range(5003)]
    for first in range(0, len(numbers), 100):
        store.write({b"%05d" % number: b"%d" % number for number in numbers[first : first + 100]})
    store.write({b"%05d" % number: None for number in range(0, 5003, 3)})
    left = [number for number in range(5003) if number % 3]
    expected = [(b"%05d" % number, b"%d" % number) for number in left]
    _equal("rows", _rows(store), expected)
    _equal("reverse rows", list(store.scan(LOWEST, HIGHEST, reverse=True)), expected[::-1])
    part = list(store.scan(b"01000", b"01002"))
    _equal("a part", part, [(b"01000", b"1000"), (b"01001", b"1001")])


def check_a_scan_shows_the_moment_of_its_call(store: Store) -> None:
    """Rows added, changed or deleted afterwards do not show, before or after its first step."""
    before = {b"%02d" % number: b"old" for number in range(50)}
    store.write(before)
    untouched = store.scan(LOWEST, HIGHEST)
    started = store.scan(LOWEST, HIGHEST)
    backwards = store.scan(LOWEST, HIGHEST, reverse=True)
    first = next(started)
    last = next(backwards)
    store.write({b"%02d" % number: b"new" for number in range(0, 50, 2)})
    store.write({b"%02d" % number: None for number in range(1, 50, 2)})
    store.write({b"%02dx" % number: b"more" for number in range(50)})
    expected = sorted(before.items())
    _equal("scan not yet started", list(untouched), expected)
    _equal("scan already started", [first, *started], expected)
    _equal("reverse scan", [last, *backwards], expected[::-1])
    _equal("a later scan", len(_rows(store)), 75)


def check_an_ended_scan_stays_ended(store: Store) -> None:
    """After the last row an iterator keeps saying so, whatever is written meanwhile."""
    store.write({b"a": b"1"})
    scan = store.scan(LOWEST, HIGHEST)
    _equal("first row", next(scan, None), (b"a", b"1"))
    _equal("end", next(scan, None), None)
    store.write({b"b": b"2"})
    _equal("end again", next(scan, None), None)
    _equal("a scan is its own iterator", iter(scan) is scan, True)


def check_scans_do_not_disturb_each_other(store: Store) -> None:
    """Many scans at once, most of them abandoned half way."""
    store.write({b"%03d" % number: b"" for number in range(200)})
    for _ in range(50):
        next(store.scan(b"100", HIGHEST))
    pair = zip(store.scan(LOWEST, HIGHEST), store.scan(LOWEST, HIGHEST, reverse=True), strict=True)
    sums = {int(low) + int(high) for (low, _), (high, _) in pair}
    _equal("two scans in step", sums, {199})


def check_a_snapshot_shows_the_moment_it_was_made(store: Store) -> None:
    """Neither its gets nor its scans see what is written later; once closed it says so.

    A scan may leave out what was deleted since; a get finds it.
    """
    store.write({b"a": b"1", b"aa": b"2", b"b": b"2"})
    before = store.snapshot()
    store.write({b"a": b"9", b"aa": None, b"c": b"3"})
    after = store.snapshot()
    _equal("overwritten", before.get(b"a"), b"1")
    _equal("deleted", before.get(b"aa"), b"2")
    _equal("written later", before.get(b"c"), None)
    rows = [row for row in before.scan(LOWEST, HIGHEST) if row != (b"aa", b"2")]
    _equal("rows", rows, [(b"a", b"1"), (b"b", b"2")])
    _equal("reverse", list(before.scan(b"b", HIGHEST, reverse=True)), [(b"b", b"2")])
    _equal("rows after", list(after.scan(LOWEST, HIGHEST)), _rows(store))
    before.close()
    before.close()
    _refused("a get of a closed snapshot", lambda: before.get(b"a"))
    _refused("a scan of a closed snapshot", lambda: list(before.scan(LOWEST, HIGHEST)))
    _equal("the other snapshot", after.get(b"a"), b"9")
    store.close()
    _refused("a get of a snapshot", lambda: after.get(b"a"))
    _refused("a scan of a snapshot", lambda: list(after.scan(LOWEST, HIGHEST)))
    after.close()


def check_keys_and_values_of_every_size(store: Store) -> None:
    """Keys of 1..1024 bytes and values of 0 bytes to 2 MiB."""
    sizes = (1, 2, 255, 256, 1023, KEY_BYTES_MAX)
    rows = {b"k" * size: bytes([size % 251]) * size for size in sizes}
    rows[b"large"] = bytes(range(256)) * (VALUE_BYTES_MAX // 256)
    rows[b"empty"] = b""
    store.write(rows)
    for key, value in rows.items():
        _equal(f"value of {len(value)} bytes", store.get(key) == value, True)
    _equal("rows", _rows(store) == sorted(rows.items()), True)


def check_a_closed_store_says_so(store: Store) -> None:
    """Every call and every scan still open raises `StoreError`; closing again does nothing."""
    store.write({b"a": b"1", b"b": b"2"})
    started = store.scan(LOWEST, HIGHEST)
    next(started)
    untouched = store.scan(LOWEST, HIGHEST, reverse=True)
    store.close()
    store.close()
    _refused("get", lambda: store.get(b"a"))
    _refused("get_many", lambda: store.get_many([b"a"]))
    _refused("scan", lambda: store.scan(LOWEST, HIGHEST))
    _refused("write", lambda: store.write({b"a": b"2"}))
    _refused("flush", store.flush)
    for attempt in ("first", "second"):
        _refused(f"{attempt} step of a scan that had started", lambda: next(started, None))
        _refused(f"{attempt} step of a scan that had not", lambda: next(untouched, None))


def check_rows_survive_reopening(open_again: OpenStore) -> None:
    """What was written is there after close and open, overwritten and deleted rows as well."""
    store = open_again()
    store.write(dict.fromkeys(_TRICKY_KEYS, b"first"))
    store.close()
    store = open_again()
    store.write({b"a": b"second", b"b": None})
    store.flush()
    store.close()
    store = open_again()
    expected = dict.fromkeys(_TRICKY_KEYS, b"first") | {b"a": b"second"}
    del expected[b"b"]
    _equal("rows", _rows(store), sorted(expected.items()))
    store.close()


def check_a_live_scan_does_not_hold_the_place(open_again: OpenStore) -> None:
    """After close the place opens again at once, while old scans are still referenced."""
    store = open_again()
    store.write({b"a": b"1", b"b": b"2"})
    snapshot = store.snapshot()
    scans = [store.scan(LOWEST, HIGHEST, reverse=reverse) for reverse in (False, True)]
    scans.append(snapshot.scan(LOWEST, HIGHEST))
    for scan in scans:
        next(scan)
    store.close()
    store = open_again()
    _equal("rows", _rows(store), [(b"a", b"1"), (b"b", b"2")])
    _refused("a scan of the store before", lambda: next(scans[0], None))
    _refused("a reverse scan of the store before", lambda: next(scans[1], None))
    _refused("a snapshot of the store before", lambda: snapshot.get(b"a"))
    _refused("a scan of that snapshot", lambda: next(scans[2], None))
    store.close()


STORE_CHECKS: Final[tuple[Callable[[Store], None], ...]] = (
    check_an_empty_store_has_no_rows,
    check_a_value_is_read_back_as_written,
    check_get_many_answers_in_the_order_asked,
    check_keys_sort_bytewise,
    check_scan_bounds_are_half_open,
    check_a_batch_applies_in_full,
    check_many_rows_stay_in_order,
    check_a_scan_shows_the_moment_of_its_call,
    check_an_ended_scan_stays_ended,
    check_scans_do_not_disturb_each_other,
    check_a_snapshot_shows_the_moment_it_was_made,
    check_keys_and_values_of_every_size,
    check_a_closed_store_says_so,
)

REOPEN_CHECKS: Final[tuple[Callable[[OpenStore], None], ...]] = (
    check_rows_survive_reopening,
    check_a_live_scan_does_not_hold_the_place,
)


def _rows(store: Store) -> list[tuple[bytes, bytes]]:
    return list(store.scan(LOWEST, HIGHEST))


def _equal(what: str, got: object, wanted: object) -> None:
    if got != wanted:
        raise StoreViolation(f"{what}: {_brief(got)} instead of {_brief(wanted)}")


def _refused(what: str, call: Callable[[], object]) -> None:
    try:
        got = call()
    except StoreError:
        return
    raise StoreViolation(f"{what} on a closed store gave {_brief(got)} instead of StoreError")


def _brief(value: object) -> str:
    text = repr(value)
    if isinstance(value, Iterable) and len(text) > 300:
        return f"{text[:300]}..."
    return text
