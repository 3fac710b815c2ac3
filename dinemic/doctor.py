r"""Whether a home's store is whole, and a new one where it is not.

The damaged store is never written to. What still verifies goes into a fresh store beside it
(`dinemic_engine.salvage`); when that is whole and on disk the two change places in one step of the
file system, so that a crash leaves the old state or the new one::

    store                  damaged   \  /   fresh: all that verified
                                      ><
    store.damaged-<time>   fresh     /  \   damaged: kept, also for what comes below

The fresh one waits under the name the old one will have: at no instant does anything that could be
the only copy of an event lie under a name that a later run clears away.

An event whose parents are lost stays behind. Once peers have given those back it is taken from the
kept store: it may be one that this node made and no peer ever had. That is why every run with peers
looks into all kept stores again, and why running twice does no harm.
"""

from __future__ import annotations

import ctypes
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dinemic import private_files
from dinemic.forks import check_not_forked
from dinemic.node import Node
from dinemic_engine.audit import AuditReport, audit
from dinemic_engine.errors import BundleError, StoreCorrupt, StoreError
from dinemic_engine.event import Event
from dinemic_engine.findings import WORDS, Finding
from dinemic_engine.fold import order_of
from dinemic_engine.ids import EventId, ObjectId, short
from dinemic_engine.limits import T_US_MAX
from dinemic_engine.salvage import Rebuild, Remains, told
from dinemic_engine.store import keyspace
from dinemic_engine.store.rocks import RocksStore, held, mend

_STORE: Final = "store"
_KEPT_PREFIX: Final = "store.damaged-"
_FRESH: Final = "store.rebuilding"
_SCRATCH: Final = "store.scratch"
"""Both are cleared away by the next run; nothing is only there."""

_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found out about a store, which was not changed."""

    findings: tuple[Finding, ...]
    """What is missing or wrong; of the kind ``file`` if it cannot be read."""
    events: int | None
    """Events that are there and good; None: the store cannot be opened."""
    told: int | None
    """Events that were admitted, by the tip of the store; None: that is gone."""
    report: AuditReport | None
    """None: not all of it could be read."""

    @property
    def whole(self) -> bool:
        """Whether nothing is missing and nothing wrong."""
        return not self.findings


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What went into the fresh store."""

    kept: Path
    """Where the damaged store is now."""
    events: int
    """Events salvaged."""
    orphans: int
    """Events that verify, and wait in the kept store for parents that are lost."""
    lost: tuple[str, ...]
    """Which rows of this node's own could not all be read, in words."""


@dataclass(frozen=True, slots=True)
class Refilled:
    """What came back after that."""

    synced: bool
    """Whether a peer was met and every connected peer was found to hold the same."""
    events: int
    """Events that are here now."""
    from_peers: int
    from_kept: int
    """Events of kept stores whose parents had come back."""
    waiting: int
    """Events of kept stores that are good, and whose parents are among the missing ones."""
    missing: tuple[tuple[ObjectId | None, EventId], ...]
    """Events that rows of kept stores tell of, and that are neither here nor waiting."""
    unnamed: int | None
    """How many more there were of which nothing but the number is known; some may be back.

    None: not even that, for the end of the damaged store is gone, with the row that counts.
    """


# -- diagnosis ------------------------------------------------------------------------------------


def diagnose(
    home: Path, progress: Callable[[int], object] | None = None, *, signatures: bool = True
) -> Diagnosis:
    """Prove that the store in `home` is whole, or tell what is not; nothing is changed.

    A node may run with it. `progress` is called now and then with the number of events done.
    Without `signatures` none is checked.

    Raises:
        StoreError: it cannot be told: no store, another release's, or the system refuses.
    """
    check_not_forked()
    path = home / _STORE
    if not path.is_dir():
        if not _kept(home):
            raise StoreError(f"there is no store in {home}: no node ever ran with that home")
        return _unreadable(f"{path} is gone, and {_kept(home)[-1].name} is there")
    try:
        store = RocksStore(path, read_only=True)
    except StoreCorrupt as error:
        return _survey(path, str(error))
    try:
        return _examine(store, progress, signatures=signatures)
    except StoreCorrupt as error:
        failure = str(error)
    finally:
        store.close()
    return _survey(path, failure)


def _examine(
    store: RocksStore, progress: Callable[[int], object] | None, *, signatures: bool
) -> Diagnosis:
    marker = store.get(keyspace.FORMAT_KEY)
    if marker is not None and marker != keyspace.LAYOUT:
        raise StoreError(
            f"the store has layout {marker!r:.20}, this release reads {keyspace.LAYOUT!r}"
        )
    report = audit(store, progress, signatures=signatures)
    return Diagnosis(report.findings, report.events, told(store), report)


def _survey(path: Path, failure: str) -> Diagnosis:
    """What is left of a store that cannot be read in the usual way."""
    remains = Remains()
    try:
        store = _as_it_lies(path, remains)
    except StoreError:
        return _unreadable(failure)
    try:
        here = {event.id for event in remains.read(store)}
    finally:
        store.close()
    findings = [Finding("file", None, None, failure)]
    for word in sorted({WORDS[letter] for letter in remains.unread}):
        findings.append(Finding(word, None, None, "not all rows of this kind can be read"))
    for event_id in sorted(remains.named.keys() - here):
        detail = remains.refused.get(event_id, "was admitted, and cannot be read")
        findings.append(Finding("event", remains.named[event_id], EventId(event_id), detail))
    return Diagnosis(tuple(findings), len(here), None if remains.is_cut else remains.told, None)


def _unreadable(failure: str) -> Diagnosis:
    return Diagnosis((Finding("file", None, None, failure),), None, None, None)


# -- a fresh store --------------------------------------------------------------------------------


def rebuild(home: Path) -> Rebuilt:
    """Put a fresh store of all that verifies in the place of the one in `home`, which is kept.

    Raises:
        StoreLocked: a node runs with it.
        StoreFull, StoreError: the fresh store cannot be made; everything is as before.
    """
    check_not_forked()
    path = home / _STORE
    if not path.is_dir():
        path = _kept(home)[-1]
    remains = Remains()
    with private_files.disk_errors(home), held(path):
        for leftover in (_FRESH, _SCRATCH):
            shutil.rmtree(home / leftover, ignore_errors=True)
        fresh = RocksStore(home / _FRESH)
        try:
            made = Rebuild(fresh, remains)
            for store in _sources(path, home / _SCRATCH, remains):
                made.take(remains.read(store))
            made.finish()
        finally:
            fresh.close()
        kept = _swap(home)
    lost = tuple(sorted({WORDS[letter] for letter in remains.unread if letter in "clnvw"}))
    return Rebuilt(kept, made.events, made.orphans, lost)


def _sources(path: Path, scratch: Path, remains: Remains) -> Iterator[RocksStore]:
    """What can be opened of a damaged store: as it lies, and as RocksDB mends a copy if it must."""
    try:
        store = _as_it_lies(path, remains)
    except StoreError as error:
        _log.info("the store cannot be opened as it lies: %s", error)
        remains.forget_local()
    else:
        try:
            yield store
        finally:
            store.close()
        if not remains.unread:
            return
    try:
        mend(path, scratch)
        store = RocksStore(scratch, read_only=True)
    except StoreError as error:
        _log.info("its files cannot be read one by one either: %s", error)
        return
    try:
        yield store
    finally:
        store.close()
        shutil.rmtree(scratch)


def _as_it_lies(path: Path, remains: Remains) -> RocksStore:
    """The store in `path`, or what is left of it if its end is gone, which is noted.

    Raises:
        StoreError: it cannot be opened.
    """
    try:
        return RocksStore(path, read_only=True)
    except StoreCorrupt:
        remains.is_cut = True
        return RocksStore(path, read_only=True, whole=False)


def _kept(home: Path) -> list[Path]:
    """The damaged stores that were kept in a home, the oldest first."""
    return sorted(home.glob(_KEPT_PREFIX + "*")) if home.is_dir() else []


def _swap(home: Path) -> Path:
    """Let the fresh store and the damaged one change places; where the damaged one is now."""
    store, fresh = home / _STORE, home / _FRESH
    at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    kept, again = home / f"{_KEPT_PREFIX}{at}", 1
    while kept.exists():
        again += 1
        kept = home / f"{_KEPT_PREFIX}{at}-{again}"
    if not store.exists():
        kept = _kept(home)[-1]
        fresh.rename(store)
    else:
        fresh.rename(kept)
        if not _exchange(kept, store):
            # Not in one step here: after a crash between these two there is no store, and the next
            # run makes it from those that were kept.
            old = kept.with_name(kept.name + "-old")
            store.rename(old)
            kept.rename(store)
            kept = old
    private_files.sync_directory(home)
    return kept


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False if the system has no such call."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    arguments = _AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE
    return bool(renameat2(*arguments) == 0)


# -- what peers and kept stores give back ---------------------------------------------------------


def refill(node: Node, timeout: float) -> Refilled:
    """Wait until a launched node has what its peers have, and take what that makes fit.

    Raises:
        StoreError: the store does not take it.
    """
    assert node.network is not None, "launched"
    until = time.monotonic() + timeout
    kept = [_Kept(home) for home in _kept(node.config.home)]
    begun = node.view.tip().seq
    from_kept, _ = _take_back(node, kept)
    synced = node.network.wait_synced(timeout)
    before = node.view.tip().seq
    taken, waiting = _take_back(node, kept)
    from_kept += taken
    if node.view.tip().seq != before:  # peers may be glad of those
        synced = node.network.wait_synced(max(0.0, until - time.monotonic()))
    node.flush()
    named: dict[bytes, ObjectId | None] = {}
    for each in kept:
        named.update(each.remains.named)
    gone = sorted(named.keys() - waiting)
    missing = [EventId(event_id) for event_id in gone if node.view.raw(EventId(event_id)) is None]
    events = node.view.tip().seq
    return Refilled(
        synced,
        events,
        events - begun - from_kept,
        from_kept,
        len(waiting),
        tuple((named[event_id], event_id) for event_id in missing),
        _unnamed(kept),
    )


class _Kept:
    """A kept store, read anew each time: it may be larger than memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.remains = Remains()

    def lacking(self, node: Node) -> dict[bytes, Event]:
        """The events in it that verify and are not in the node's store."""
        found: dict[bytes, Event] = {}
        self.remains = Remains()
        scratch = node.config.home / _SCRATCH
        shutil.rmtree(scratch, ignore_errors=True)
        for store in _sources(self.path, scratch, self.remains):
            for event in self.remains.read(store):
                if node.view.raw(event.id) is None:
                    found[event.id] = event
        return found


def _take_back(node: Node, kept: Sequence[_Kept]) -> tuple[int, Set[bytes]]:
    """Admit what kept stores hold and the node's does not, where the parents are here.

    How many there were, and the ids of the others.
    """
    found: dict[bytes, Event] = {}
    for each in kept:
        found.update(each.lacking(node))
    taken, waiting = 0, set()
    for event in sorted(found.values(), key=order_of):
        if all(node.view.raw(parent) is not None for parent in event.parents):
            try:
                taken += node.import_events([event], T_US_MAX)
            except BundleError as error:  # what was admitted once is refused by no rule
                _log.error("event %s... of a kept store: %s", short(event.id), error)
        else:
            waiting.add(event.id)
    return taken, waiting


def _unnamed(kept: Sequence[_Kept]) -> int | None:
    """Of the newest of them, how many events it tells of by number only."""
    if not kept:
        return 0
    remains = kept[-1].remains
    if remains.told is None or remains.is_cut:
        return None
    return max(0, remains.told - len(remains.named))
