"""Bundles as files: objects out of a node and into one, and audits of what lies on a disk.

An import is all or nothing. The file is read twice: an audit that touches no store, and only if
that finds nothing, admission in batches. The second reading checks as much as the first, so a file
that somebody changes meanwhile is refused where it is another; that, a full disk and kill -9 are
the ways to be left with a part, which is closed under parents. Importing again brings the rest.

Nothing in a bundle names a file: the path that was given is the only one there is.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from dinemic import private_files, running
from dinemic.forks import check_not_forked
from dinemic.models import DModel
from dinemic.node import Node
from dinemic_engine import bundle
from dinemic_engine.audit import AuditReport
from dinemic_engine.audit import audit as audit_store
from dinemic_engine.bundle_audit import audit_bundle
from dinemic_engine.errors import BundleError, InvalidEvent, StoreError, UsageError
from dinemic_engine.event import open_event_untrusted
from dinemic_engine.findings import Finding, Findings
from dinemic_engine.ids import ObjectId, parse_db_id_untrusted, short
from dinemic_engine.order import is_ahead
from dinemic_engine.reading import load
from dinemic_engine.view import View

Progress = Callable[[int], object]
"""Is called now and then with the number of events done."""

_BATCH_EVENTS: Final = 256
_BATCH_BYTES: Final = 4 << 20
"""Admitted at once: as many events as from a peer, and no more memory when they are large."""


class Exported(NamedTuple):
    """What a bundle that was written holds."""

    objects: int
    events: int


class Imported(NamedTuple):
    """What a bundle that was imported holds, and how many of its events were not here before."""

    objects: int
    events: int
    new: int


# -- export ---------------------------------------------------------------------------------------


def export_bundle(
    path: str | os.PathLike[str], objects: DModel | str | Iterable[DModel | str] | None = None
) -> Exported:
    """Write a bundle of objects, named by handle or full id; of all there are if none are named.

    Every event of an object is in it, removed objects and void events too; private keys are not,
    and sealed values stay sealed. The file is whole, on disk and at `path` on return; after an
    error there is none.

    Raises:
        UnknownObject: one of them is not known here.
        ValueError: no full id, or the object is of another model.
        UsageError: the file is there already.
        StoreFull, StoreError: the system refused.
    """
    view = running.current().view
    if isinstance(objects, DModel | str):
        objects = (objects,)
    named = None if objects is None else [_named(view, each) for each in objects]
    return write(Path(path), view, named)


def write(path: Path, view: View, objects: Iterable[ObjectId] | None) -> Exported:
    """As `export_bundle`, of what `view` shows."""
    if objects is None:
        objects = [object_id for _, object_id in view.objects(removed=True)]
    chosen = list(dict.fromkeys(objects))
    if os.path.lexists(path):
        raise UsageError(f"{path} is there already")
    logs = ((logged.event.raw for logged in view.history(each)) for each in chosen)
    with private_files.disk_errors(path), private_files.placing(path, 0o644) as file:
        return Exported(len(chosen), bundle.write(file, logs))


def _named(view: View, named: DModel | str) -> ObjectId:
    """The object of a handle or full id, which is here.

    Raises:
        UnknownObject: it is not.
        ValueError: no full id, or the object is of another model.
    """
    text = named.get_db_id() if isinstance(named, DModel) else named
    model, object_id = parse_db_id_untrusted(text)
    _, row = view.need(object_id)
    if row.model != model:
        raise ValueError(f"{text!r} is an object of {row.model}, not of {model}")
    return object_id


# -- import ---------------------------------------------------------------------------------------


def import_bundle(path: str | os.PathLike[str]) -> Imported:
    """Admit every event of a bundle, or none; they are on disk on return, and peers get them too.

    Verifies the whole bundle first, as `audit` does. Objects of every model are taken.

    Raises:
        BundleError: something is wrong with it, or dated ahead of this node's clock (ORD-4).
        StoreFull, StoreError: it cannot be read, or the store does not take it.
    """
    return import_into(running.current(), Path(path))


def import_into(node: Node, path: Path) -> Imported:
    """As `import_bundle`, into a node that need not be the one of this process."""
    with verified(path) as found:
        return admit(node, found)


@dataclass(frozen=True, slots=True)
class Verified:
    """A bundle in which an audit found nothing, open to be read again."""

    path: Path
    file: BinaryIO
    report: AuditReport


@contextlib.contextmanager
def verified(path: Path, progress: Progress | None = None) -> Iterator[Verified]:
    """The bundle at `path`, audited.

    Raises:
        BundleError: no bundle, or the audit found something; `findings` tells what.
        StoreError: it cannot be read.
    """
    with _reading(path) as file:
        report = _audited(path, file, progress)
        if not report.ok:
            raise _refused(path, report.findings)
        yield Verified(path, file, report)


def admit(node: Node, found: Verified) -> Imported:
    """Let a node admit a verified bundle; see `import_bundle`."""
    now_us = time.time_ns() // 1000
    ahead = Findings()
    for raw in _again(found):
        event = load(raw)  # only its time is looked at
        if is_ahead(event.t, now_us) and node.view.raw(event.id) is None:
            seconds = (event.t - now_us) // 1_000_000
            detail = f"ORD-4: dated {seconds} s ahead of this node's clock"
            ahead.add("event", detail, event.object, event.id)
    if ahead.found:
        raise _refused(found.path, ahead.found)
    new = 0
    try:
        for batch in _batches(_again(found)):
            new += node.import_events([open_event_untrusted(raw) for raw in batch], now_us)
    except (BundleError, InvalidEvent) as error:
        raise BundleError(f"{found.path} was changed while it was imported: {error}") from error
    node.flush()
    return Imported(found.report.objects, found.report.events, new)


def _again(found: Verified) -> Iterator[bytes]:
    found.file.seek(0)
    return bundle.read_untrusted(found.file)


def _batches(events: Iterator[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    octets = 0
    for raw in events:
        batch.append(raw)
        octets += len(raw)
        if len(batch) == _BATCH_EVENTS or octets >= _BATCH_BYTES:
            yield batch
            batch, octets = [], 0
    yield batch


def _refused(path: Path, findings: Sequence[Finding]) -> BundleError:
    first = findings[0]
    where = f" event {short(first.event)}..." if first.event else ""
    where += f" of object {short(first.object)}..." if first.object else ""
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    return BundleError(f"{path}:{where}: {first.detail}{more}", tuple(findings))


# -- audit ----------------------------------------------------------------------------------------


def audit(path: str | os.PathLike[str], progress: Progress | None = None) -> AuditReport:
    """Verify a home, the store in one, or a bundle again from raw bytes, and change nothing.

    A home may be in use; what had been written when the audit began is audited. In a bundle there
    is less to be found: its bytes, signatures and order, parents that are missing, events that no
    node admits.

    Raises:
        BundleError: the file is no bundle, or of a later version.
        StoreError: there is no store and no file, or it cannot be read.
    """
    path = Path(path)
    if not path.is_dir():
        with _reading(path) as file:
            return _audited(path, file, progress)
    from dinemic_engine.store.rocks import RocksStore  # 50 ms that a bundle does not need

    check_not_forked()
    beside = path / "store"
    store = RocksStore(beside if beside.is_dir() else path, read_only=True)
    try:
        return audit_store(store, progress)
    finally:
        store.close()


def _audited(path: Path, file: BinaryIO, progress: Progress | None) -> AuditReport:
    try:
        return audit_bundle(file, progress)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[BinaryIO]:
    """The file at `path`; errors of the system name it.

    Raises:
        StoreError: it cannot be read, or is no file.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe would wait
    with private_files.disk_errors(path), os.fdopen(os.open(path, flags), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise StoreError(f"{path} is not a file")
        yield file
