"""What a node holds, carried in a bundle, makes another node equal; a damaged one does nothing."""

from __future__ import annotations

import atexit
import contextlib
import functools
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dinemic import bundles
from dinemic.config import Config
from dinemic.keyring import Keyring
from dinemic.node import Node
from dinemic_engine.audit import audit
from dinemic_engine.bundle_audit import audit_bundle
from dinemic_engine.errors import BundleError
from dinemic_engine.event import Event
from dinemic_engine.store import Store
from dinemic_engine.store.memory import MemoryStore
from support.bundles import bundle_of, by_object, moved
from support.graphs import SEEDS, Site, delivery, histories, portable


@functools.cache
def home() -> tuple[Path, Keyring]:
    """One for all examples: making keys takes longer than everything else here."""
    made = tempfile.TemporaryDirectory()
    atexit.register(made.cleanup)
    return Path(made.name), Keyring.open(Path(made.name) / "keys", None)


@contextlib.contextmanager
def node_on(store: Store) -> Iterator[tuple[Node, Path]]:
    """A node over `store`, and a path for a bundle."""
    where, keyring = home()
    node = Node(Config.load({"home": where, "store": "memory"}, {}), store, keyring)
    try:
        yield node, where / "bundle"
    finally:
        node.close()


def import_twice(store: Store, data: bytes) -> tuple[bundles.Imported, object, bytes]:
    """What the first import says, and rows and digest after both."""
    with node_on(store) as (node, path):
        path.write_bytes(data)
        first, second = (bundles.import_into(node, path) for _ in range(2))
        assert second == first._replace(new=0)
        return first, portable(store), node.view.digest_all()


@given(histories(), SEEDS)
def test_i_01_a_bundle_makes_an_empty_node_equal(events: list[Event], seed: int) -> None:
    site = Site()
    for batch in delivery(events, seed):
        site.ingest(batch)
    held = by_object(site.events())
    data = bundle_of(held)
    report = audit_bundle(io.BytesIO(data))
    assert report == audit(site.store)
    imported, rows, digest = import_twice(MemoryStore(), data)
    assert imported == (len(held), len(site.events()), len(site.events()))
    assert rows == site.portable()
    assert digest == report.digest


@given(histories(), st.data())
def test_i_01_a_bundle_brings_what_a_node_lacks(events: list[Event], data: st.DataObject) -> None:
    """Two nodes that were given a part each; one imports what the other could admit of its own."""
    here, there = Site(), Site()
    for event in events:
        if event.is_genesis or data.draw(st.booleans(), label="here"):
            here.ingest([event])
        if event.is_genesis or data.draw(st.booleans(), label="there"):
            there.ingest([event])
    known, carried = here.events(), there.events()
    lacking = {event.id for event in carried} - {event.id for event in known}
    imported, rows, digest = import_twice(here.store, bundle_of(by_object(carried)))
    assert imported.new == len(lacking)
    together = Site()
    together.ingest([*known, *carried])
    assert (rows, digest) == (together.portable(), together.view.digest_all())


@given(histories(), st.data())
def test_a_bundle_with_an_event_gone_twice_or_elsewhere_does_nothing(
    events: list[Event], data: st.DataObject
) -> None:
    site = Site()
    site.ingest(events)
    held = by_object(site.events())
    at = data.draw(st.integers(0, len(held) - 1), label="object")
    own = held[at]
    kind = data.draw(st.sampled_from(("gone", "twice", "elsewhere", "strange")), label="damage")
    index = data.draw(st.integers(0, len(own) - 1), label="event")
    match kind:
        case "gone":
            wanted = {parent for event in own for parent in event.parents}
            assume(own[index].id in wanted)  # else nobody can tell that there was one more
            damaged = [*own[:index], *own[index + 1 :]]
        case "twice":
            damaged = [*own, own[index]]
        case "elsewhere":
            assume(len(own) > 1)
            to = data.draw(st.integers(0, len(own) - 1).filter(lambda to: to != index))
            damaged = moved(own, index, to)
        case _:
            others = [event for other in held if other is not own for event in other]
            stranger = data.draw(st.sampled_from(others))
            damaged = [*own[: index + 1], stranger, *own[index + 1 :]]
    store = MemoryStore()
    with node_on(store) as (node, path):
        before = list(store.scan(b"\0", b"\xff" * 8))
        path.write_bytes(bundle_of([*held[:at], damaged, *held[at + 1 :]]))
        with pytest.raises(BundleError) as caught:
            bundles.import_into(node, path)
        assert caught.value.findings
        assert list(store.scan(b"\0", b"\xff" * 8)) == before
