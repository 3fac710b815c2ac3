"""Homes on disk, made without a node: the sample store in RocksDB, and a keyring beside it."""

from __future__ import annotations

from pathlib import Path

from dinemic.keyring import Keyring, ObjectKeys
from dinemic_engine.store.rocks import RocksStore
from support.sample_store import Sample, fill


def make_home(home: Path, passphrase: str | None = None) -> Sample:
    """A home with the sample store and the keys of its person and of the chief."""
    store = RocksStore(home / "store")
    sample = fill(store)
    store.close()
    keyring = Keyring.open(home / "keys", passphrase)
    keyring.add(sample.person, ObjectKeys(sample.owner, sample.owner_sealing))
    keyring.add(sample.chief_object, ObjectKeys(sample.chief, sample.chief_sealing))
    return sample


def plant(home: Path, rows: dict[bytes, bytes | None]) -> None:
    """Write rows into the store as nothing of ours would."""
    store = RocksStore(home / "store")
    store.write(rows)
    store.close()
