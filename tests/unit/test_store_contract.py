"""Both stores do what the contract says, and the contract notices stores that do not."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from dinemic_engine.errors import StoreError
from dinemic_engine.store import Rows, Store
from dinemic_engine.store.conformance import (
    REOPEN_CHECKS,
    STORE_CHECKS,
    OpenStore,
    StoreViolation,
    check_store,
)
from dinemic_engine.store.memory import CHUNK_ROWS, MemoryStore
from dinemic_engine.store.rocks import RocksStore

Check = Callable[[Store], None]
ReopenCheck = Callable[[OpenStore], None]


def name_of(check: Check | ReopenCheck) -> str:
    return check.__name__.removeprefix("check_")


@pytest.mark.parametrize("check", STORE_CHECKS, ids=name_of)
def test_memory_store(check: Check) -> None:
    check(MemoryStore())


@pytest.mark.parametrize("check", STORE_CHECKS, ids=name_of)
def test_rocks_store(check: Check, tmp_path: Path) -> None:
    store = RocksStore(tmp_path / "store")
    check(store)
    store.close()


@pytest.mark.parametrize("check", STORE_CHECKS, ids=name_of)
def test_rocks_store_that_was_emptied_and_opened_again(check: Check, tmp_path: Path) -> None:
    rows: Rows = {bytes([byte]): b"gone" for byte in range(256)}
    store = RocksStore(tmp_path)
    store.write(rows)
    store.close()
    store = RocksStore(tmp_path)
    store.write(dict.fromkeys(rows))
    check(store)
    store.close()


@pytest.mark.parametrize("check", REOPEN_CHECKS, ids=name_of)
def test_rocks_store_keeps_its_rows(check: ReopenCheck, tmp_path: Path) -> None:
    check(lambda: RocksStore(tmp_path))


def test_memory_store_splits_and_drops_chunks() -> None:
    store = MemoryStore()
    keys = [b"%05d" % (number * 7919 % 5003) for number in range(5003)]
    for key in keys:
        store.write({key: key})
    chunks = store.published()
    assert len(chunks) > 5003 // CHUNK_ROWS
    assert all(0 < len(chunk) <= CHUNK_ROWS for chunk in chunks)
    assert [key for key, _ in store.scan(b"", b"\xff")] == sorted(keys)
    store.write(dict.fromkeys(keys[:-1]))
    assert store.published() == [[(keys[-1], keys[-1])]]


class InclusiveEnd(MemoryStore):
    def scan(
        self, start: bytes, end: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        return super().scan(start, end + b"\0", reverse=reverse)


class LiveScan(MemoryStore):
    def scan(
        self, start: bytes, end: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        found = [key for key, _ in super().scan(start, end, reverse=reverse)]
        return ((key, value) for key in found if (value := self.get(key)) is not None)


class LateScan(MemoryStore):
    def scan(
        self, start: bytes, end: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        yield from super().scan(start, end, reverse=reverse)


class SortedAnswers(MemoryStore):
    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return super().get_many(sorted(keys))


class EmptyIsMissing(MemoryStore):
    def get(self, key: bytes) -> bytes | None:
        return super().get(key) or None


class NeverDeletes(MemoryStore):
    def write(self, rows: Rows) -> None:
        super().write({key: value for key, value in rows.items() if value is not None})


class ShortKeys(MemoryStore):
    def write(self, rows: Rows) -> None:
        super().write({key[:255]: value for key, value in rows.items()})


class TextOrder(MemoryStore):
    """Signed bytes: 0x80 sorts before 0x00."""

    def scan(
        self, start: bytes, end: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        rows = list(super().scan(start, end, reverse=reverse))
        rows.sort(key=lambda row: bytes(byte ^ 0x80 for byte in row[0]), reverse=reverse)
        return iter(rows)


class ClosesTwiceWithError(MemoryStore):
    def close(self) -> None:
        self.published()
        super().close()


class ScansOnAfterClose(MemoryStore):
    def scan(
        self, start: bytes, end: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        return iter(list(super().scan(start, end, reverse=reverse)))


class EndsSilentlyAfterClose(MemoryStore):
    """A generator that raised is finished: its second step says "no more rows"."""

    def scan(
        self, start: bytes, end: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        rows = super().scan(start, end, reverse=reverse)
        return (row for row in rows)


@pytest.mark.parametrize(
    "broken",
    [
        InclusiveEnd,
        LiveScan,
        LateScan,
        SortedAnswers,
        EmptyIsMissing,
        NeverDeletes,
        ShortKeys,
        TextOrder,
        ScansOnAfterClose,
        EndsSilentlyAfterClose,
    ],
)
def test_the_contract_notices_a_broken_store(broken: type[MemoryStore]) -> None:
    with pytest.raises(StoreViolation):
        check_store(broken)


def test_the_contract_notices_a_close_that_is_not_idempotent() -> None:
    with pytest.raises(StoreError, match="closed"):
        check_store(ClosesTwiceWithError)


def test_the_contract_notices_a_store_that_forgets() -> None:
    for check in REOPEN_CHECKS:
        with pytest.raises(StoreViolation):
            check(MemoryStore)


def test_the_contract_can_be_run_in_one_call(tmp_path: Path) -> None:
    numbers = itertools.count()
    check_store(lambda: RocksStore(tmp_path / str(next(numbers))))
    assert next(numbers) == len(STORE_CHECKS)
