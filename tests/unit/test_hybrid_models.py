"""Models that seal against quantum computers too: keys, readers, files on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

import dinemic
from dinemic_engine.keys import SUITE_HYBRID
from support.nodes import acting, object_id, open_node, opened, send, trace


class Vault(dinemic.DModel, sealing="hybrid"):
    secret = dinemic.DField("secret", True)


class Doctor(dinemic.DModel, sealing="hybrid"):
    pass


class Clerk(dinemic.DModel):
    notes = dinemic.DField("notes", True)


def test_owner_and_readers_of_hybrid_models_open_what_is_sealed(tmp_path: Path) -> None:
    a, b = open_node(tmp_path / "a"), open_node(tmp_path / "b")
    with acting(b):
        doctor, late = Doctor([]), Doctor([])
    send(b, a)
    with acting(a):
        vault = Vault([doctor.get_db_id()])
        vault.secret.set("one")
        vault.append_read_authorized(late.get_db_id())
    send(a, b)
    with acting(b):
        for reader in (doctor, late):
            assert Vault(vault.get_db_id(), reader.get_db_id()).secret.get() == "one"
        Vault(vault.get_db_id(), doctor.get_db_id()).secret.set("two")
    send(b, a)
    assert vault.secret.get() == "two"
    assert a.view.need(object_id(vault))[1].suite == SUITE_HYBRID
    a.close()
    b.close()


def test_a_reader_of_another_suite_is_refused_with_words_and_nothing_is_made(
    tmp_path: Path,
) -> None:
    with opened(tmp_path) as node:
        clerk, doctor = Clerk([]), Doctor([])
        vault = Vault([])
        before, owned = trace(node), node.keyring.owned()
        for attempt in (
            lambda: vault.append_read_authorized(clerk.get_db_id()),
            lambda: Vault([clerk.get_db_id()]),
            lambda: clerk.append_read_authorized(doctor.get_db_id()),
        ):
            with pytest.raises(dinemic.UpdateRejected, match=r"sealing='(x25519|hybrid)'") as found:
                attempt()
            assert found.value.by == "SEAL-1"
        assert (trace(node), node.keyring.owned()) == (before, owned)
        vault.append_update_authorized(clerk.get_db_id())
        Vault(vault.get_db_id(), clerk.get_db_id()).secret.set("by a writer who may not read")
        assert vault.secret.get() == "by a writer who may not read"


def test_hybrid_keys_survive_a_restart_also_under_a_passphrase(tmp_path: Path) -> None:
    for home, options in ((tmp_path / "a", {}), (tmp_path / "b", {"passphrase": "long enough"})):
        with opened(home, "rocksdb", **options):
            vault = Vault([])
            vault.secret.set([1, "two"])
        with opened(home, "rocksdb", **options):
            assert Vault(vault.get_db_id()).secret.get() == [1, "two"]


def test_the_suite_is_inherited_and_spelled_one_way() -> None:
    class Inner(Vault):
        pass

    assert Inner._sealing == "hybrid"
    with pytest.raises(ValueError, match="'pq'"):

        class Wrong(dinemic.DModel, sealing="pq"):  # type: ignore[arg-type]
            pass
