"""Power cuts: what was synced is there, in its order and whole, or the store says it is not."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dinemic_engine.errors import StoreCorrupt
from dinemic_engine.ledger import Ledger
from dinemic_engine.store import rocks
from dinemic_engine.store.rocks import RocksStore
from support.crash_work import Steps, Work, check_log, working
from support.figures import count
from support.power import Files, files_of, lay, torn

STATES = 110
BETWEEN = ("write", "seal", "create", "write", "flips", "revoke", "write", "bring", "write", "seal")
"""What is written after the last flush: some 40 events in a dozen batches."""


@dataclass(frozen=True)
class Cut:
    """A store between two flushes."""

    synced: Files
    now: Files
    mark: tuple[int, str]
    """What had been acknowledged as synced: how many events, and their running hash."""
    events: int


def film(home: Path, *, sessions: int, between: Sequence[str] = BETWEEN) -> Cut:
    """Let a node work, flush and work on."""
    for _ in range(sessions):
        with working(home, Steps(0, after=False)) as node:
            Work(node, lambda kind, value: None).run(["create", "grant", "write", "seal", "flush"])
    said: list[tuple[str, Any]] = []
    with working(home, Steps(0, after=False)) as node:
        work = Work(node, lambda kind, value: said.append((kind, value)))
        work.run(["create", "write", "seal", "flush"])
        synced = files_of(home / "store")
        (mark,) = [value for kind, value in said if kind == "synced"]
        work.run(between)
        return Cut(synced, files_of(home / "store"), mark, node.view.tip().seq)


def outcome(store: Path, mark: tuple[int, str]) -> int | None:
    """How many events a node finds, everything about them being right; None: it refuses."""
    try:
        opened = RocksStore(store)
        try:
            Ledger(opened)
        finally:
            opened.close()
        return check_log(store, [mark])
    except StoreCorrupt:
        return None


def test_the_states_are_between_what_was_synced_and_what_was_written(tmp_path: Path) -> None:
    cut = film(tmp_path / "home", sessions=0)
    for number, (files, events) in enumerate([(cut.synced, cut.mark[0]), (cut.now, cut.events)]):
        lay(files, tmp_path / str(number))
        assert outcome(tmp_path / str(number), cut.mark) == events
    assert cut.events > cut.mark[0] + 10


@pytest.mark.parametrize(("sessions", "buffer_bytes"), [(0, 32 << 20), (2, 32 << 20), (1, 1 << 16)])
def test_i_13_a_power_cut_takes_nothing_that_was_synced_and_leaves_no_hole(
    tmp_path: Path,
    rng: random.Random,
    monkeypatch: pytest.MonkeyPatch,
    sessions: int,
    buffer_bytes: int,
) -> None:
    monkeypatch.setattr(rocks, "WRITE_BUFFER_BYTES", buffer_bytes)
    between = BETWEEN if buffer_bytes > 1 << 20 else BETWEEN * 3
    cut = film(tmp_path / "home", sessions=sessions, between=between)
    found = []
    for number in range(STATES):
        store = tmp_path / str(number)
        state, harmless = torn(cut.synced, cut.now, rng)
        lay(state, store)
        events = outcome(store, cut.mark)
        if harmless:
            assert events is not None, "a log that ends early is what every power cut leaves"
        if events is not None:
            assert cut.mark[0] <= events <= cut.events
        found.append(events)
        count("power cuts")
    kept = {events for events in found if events is not None}
    assert len(kept) > 5, "cut at different places"
    assert None in found, "a hole in the middle of the log"
    assert len([events for events in found if events is not None]) > STATES // 3


def test_a_power_cut_that_takes_what_was_synced_is_refused(
    tmp_path: Path, rng: random.Random
) -> None:
    """A disk that lies about its cache, or a file restored from elsewhere."""
    cut = film(tmp_path / "home", sessions=1)
    (name,) = [name for name in cut.now if name.endswith(".log")]
    for number in range(30):
        store = tmp_path / str(number)
        lay({**cut.now, name: cut.now[name][: rng.randrange(len(cut.synced[name]) - 7)]}, store)
        assert outcome(store, cut.mark) is None
        count("power cuts")
