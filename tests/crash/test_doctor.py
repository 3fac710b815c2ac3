"""`dinemic doctor`: a damaged home is named, made anew from what is good, and filled by a peer."""

from __future__ import annotations

import gc
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dinemic import doctor
from dinemic.bundles import audit
from dinemic.cli import main
from dinemic.node import Node
from dinemic_engine.errors import StoreLocked
from dinemic_engine.ids import EventId, db_id, from_text_untrusted
from dinemic_engine.salvage import Rebuild
from dinemic_engine.store.rocks import RocksStore
from dinemic_engine.view import View
from support.crash_work import NoEve, Person, Steps, Work, working
from support.homes import make_home, plant
from support.hosts import Host, hosts
from support.node_process import ENVIRONMENT, processes
from support.nodes import opened

UPDATES = 40


def run(*words: object, code: int) -> Result:
    result = CliRunner().invoke(main, ["doctor", *map(str, words)])
    assert result.exit_code == code, (result.output, result.exception)
    assert "Traceback" not in result.output
    return result


def json_of(*words: object, code: int) -> Any:
    return json.loads(run(*words, "--json", code=code).stdout)


def flip(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


# -- what it says ---------------------------------------------------------------------------------


def test_a_whole_home_is_whole_and_nothing_in_it_changes(tmp_path: Path) -> None:
    make_home(tmp_path)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    found = json_of("--home", tmp_path, code=0)
    assert found["ok"]
    assert found["findings"] == []
    assert found["events"] == found["events_admitted"] == found["signatures"] == 19
    quick = json_of("--home", tmp_path, "--quick", code=0)
    assert (quick["events"], quick["signatures"]) == (19, 0)
    assert "whole" in run("--home", tmp_path, code=0).output
    assert before == {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}


def test_what_cannot_be_told_is_exit_code_2(tmp_path: Path) -> None:
    run("--home", tmp_path / "nowhere", code=2)
    make_home(tmp_path / "later")
    plant(tmp_path / "later", {b"mformat": b"99"})
    assert "layout b'99'" in run("--home", tmp_path / "later", code=2).output
    run("--home", tmp_path, "--peer", "127.0.0.1:1", code=2)


def test_a_row_that_is_wrong_is_named_with_its_event(tmp_path: Path) -> None:
    sample = make_home(tmp_path)
    event = sample.events[3]
    plant(tmp_path, {b"I" + event.id: None})
    found = json_of("--home", tmp_path, code=1)
    assert ("place", event.id) in {
        (each["kind"], from_text_untrusted(each["event"]))
        for each in found["findings"]
        if each["event"]
    }


# -- a fresh store --------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with three tables and a log, guards, a veto, changes to be told and an index."""
    path = tmp_path / "home"
    for _ in range(3):
        with working(path, Steps(0, after=False)) as node:
            work = Work(node, lambda kind, value: None)
            work.run(["create", "write", "grant", "seal", "revoke", "seal", "flips"])
    with working(path, Steps(0, after=False)) as node:
        NoEve(lambda name: None).apply("Person:[id]:*")
        work = Work(node, lambda kind, value: None)
        work.run(["names", "create", "write"])  # the last are to be told of yet
        node.index("Person", "value_name")
    return path


def local_rows(path: Path) -> dict[bytes, bytes]:
    """The rows that follow from no event, those of objects by event only."""
    store = RocksStore(path / "store", read_only=True)
    try:
        found = {key: value for letter in b"cln" for key, value in _rows(store, letter)}
        for letter in b"vw":
            found.update({key[-32:]: value for key, value in _rows(store, letter)})
        return found
    finally:
        store.close()


def _rows(store: RocksStore, letter: int) -> Iterator[tuple[bytes, bytes]]:
    return store.scan(bytes((letter,)), bytes((letter + 1,)))


def test_a_rebuilt_store_is_the_same_with_what_is_this_nodes_own(home: Path) -> None:
    before, local = audit(home), local_rows(home)
    assert {key[:1] for key in local} > {b"c", b"l", b"n"}
    made = doctor.rebuild(home)
    after = audit(home)
    assert after.ok
    assert (made.events, made.orphans, made.lost) == (before.events, 0, ())
    assert (after.events, after.digest) == (before.events, before.digest)
    assert local_rows(home) == local
    assert audit(made.kept) == before
    with opened(home, "rocksdb") as node:
        told: list[str] = []
        NoEve(told.append).apply("Person:[id]:*")
        assert node.listeners.drain(10)
        Person([]).name.set("Bob")
        assert node.listeners.drain(10)
        assert told == ["Bob"]


def contents(store: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in store.iterdir()}


def test_guards_are_asked_again_where_their_answers_cannot_be_read(home: Path) -> None:
    store = home / "store"
    (store / "CURRENT").unlink()
    before = contents(store)
    assert not doctor.diagnose(home).whole
    made = doctor.rebuild(home)
    assert contents(made.kept) == before, "it was read, and mended elsewhere"
    assert {"veto", "waiting"} <= set(made.lost)
    assert audit(home).ok
    with opened(home, "rocksdb") as node:
        shown = {Person(name).name.get() for name in names(node)}
        assert not shown & {"Bob", "Eve", "Carol", "Dave"}, "they wait for a guard that is away"
        NoEve(lambda name: None).apply("Person:[id]:*")
        assert node.listeners.drain(10)
        shown = {Person(name).name.get() for name in names(node)}
        assert "Dave" in shown
        vetoes = [each for _, found in node.view.objects() for each in node.view.withheld(found)]
        assert [each.veto.guard for each in vetoes if each.veto] == ["support.crash_work.NoEve"]
        assert len(vetoes) == 1


def names(node: Node) -> list[str]:
    return [db_id(model, found) for model, found in node.view.objects() if model == "Person"]


def test_a_repair_of_a_home_in_use_is_refused(home: Path) -> None:
    with opened(home, "rocksdb"):
        with pytest.raises(StoreLocked):
            doctor.rebuild(home)
        assert doctor.diagnose(home).whole
    assert [file.name for file in home.glob("store*")] == ["store"]


@pytest.mark.parametrize("step", ["rename", "_exchange", "close", "finish"])
def test_a_repair_that_is_cut_short_leaves_one_state_or_the_other_and_can_be_run_again(
    home: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    before = audit(home)
    (table, *_) = sorted((home / "store").glob("*.sst"))
    (home / "store" / "CURRENT").unlink()

    class Cut(BaseException):
        pass

    def cut(*_: object, **__: object) -> Any:
        raise Cut

    with monkeypatch.context() as patch:
        owner = {"rename": Path, "_exchange": doctor, "close": RocksStore, "finish": Rebuild}
        patch.setattr(owner[step], step, cut)
        with pytest.raises(Cut):
            doctor.rebuild(home)
    gc.collect()  # what the cut left open goes with its frames
    assert (home / "store" / table.name).is_file(), "the old one is where it was"
    doctor.rebuild(home)
    after = audit(home)
    assert after.ok
    assert (after.events, after.digest) == (before.events, before.digest)


def test_where_names_cannot_be_exchanged_they_are_renamed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = audit(home)
    (home / "store" / "CURRENT").unlink()
    monkeypatch.setattr(doctor, "_exchange", lambda one, other: False)
    made = doctor.rebuild(home)
    assert not (made.kept / "CURRENT").exists()
    assert audit(home).digest == before.digest
    made.kept.rename(home / "store.damaged-between")  # as a crash between the two leaves it
    shutil.rmtree(home / "store")
    assert not doctor.diagnose(home).whole
    doctor.rebuild(home)
    assert audit(home).digest == before.digest


# -- with a peer ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Host, str]]:
    """A home that is in sync with a host, which runs, and the host's address."""
    base = tmp_path_factory.mktemp("synced")
    with hosts(base, "b") as (b,):
        key = ENVIRONMENT["DINEMIC_CLUSTER_KEY"]
        address = b.launch(cluster_key=key)
        ids: list[str] = []
        for part in range(3):
            with hosts(base, "a") as (a,):
                a.launch(peers=[address], cluster_key=key)
                if not ids:
                    ids = a.run("ids = [Person([]).get_db_id() for _ in range(3)]\nids")
                a.run(
                    f"for n in range({UPDATES}):\n"
                    f"    Person({ids!r}[n % 3]).name.set(f'{part} {{n}} ' + 'x' * 300)\n"
                    f"Person({ids!r}[0]).salary.set({part})"
                )
                assert a.run("dinemic.wait_synced(30)")
                a.stop()
        (base / "a" / "dinemic.toml").write_text('discover = false\nlisten = "127.0.0.1:0"\n')
        yield base / "a", b, address


def write_alone(home: Path, copy: Path) -> bytes:
    """An event that nobody else has, in the log of a copy of the home; its id."""
    with opened(home, "rocksdb") as node:
        ((model, found), *_) = node.view.objects()
        Person(db_id(model, found)).name.set("mine alone")
        node.flush()
        shutil.copytree(home, copy)
        (head,) = node.view.heads(found)
        return head


def holds(home: Path, event: bytes) -> bool:
    store = RocksStore(home / "store", read_only=True)
    try:
        return View(store).raw(EventId(event)) is not None
    finally:
        store.close()


def flip_tables(store: Path) -> None:
    for table in sorted(store.glob("*.sst"))[:2]:
        for at in range(3000, table.stat().st_size - 4000, 9000):
            flip(table, at)


def lose_a_table(store: Path) -> None:
    sorted(store.glob("*.sst"))[0].unlink()


def cut_the_log(store: Path) -> None:
    (log,) = store.glob("*.log")
    log.write_bytes(log.read_bytes()[:10])


def lose_all_but_tables(store: Path) -> None:
    for pattern in ("MANIFEST-*", "CURRENT", "*.log"):
        for file in store.glob(pattern):
            file.unlink()


@pytest.mark.parametrize("harm", [flip_tables, lose_a_table, cut_the_log, lose_all_but_tables])
def test_a_damaged_home_is_named_and_made_whole_from_a_peer(
    synced: tuple[Path, Host, str], tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    whole, b, address = synced
    shutil.copytree(whole, tmp_path / "first")
    alone = write_alone(tmp_path / "first", home := tmp_path / "home")
    before = audit(home)
    assert before.ok
    harm(home / "store")
    log_kept = harm in (flip_tables, lose_a_table)
    found = json_of("--home", home, code=1)
    assert found["findings"][0]["kind"] == "file"
    with processes() as started:
        words = ("doctor", "--repair-from-peers", "--peer", address, "--timeout", 20)
        process = started.start(*words, "--home", home, "--json")
        code, out, err = process.ended()
    told = json.loads(out)
    refilled = told["refilled"]
    assert refilled["synced"], err
    assert (code, refilled["missing"]) == (0, [])
    assert Path(told["rebuilt"]["kept"]).is_dir()
    assert (
        told["rebuilt"]["events"] + refilled["from_peers"] + refilled["from_kept"]
        == (refilled["events"])
    )
    if harm is not cut_the_log:
        assert told["rebuilt"]["events"] < before.events
    if log_kept:
        assert refilled["from_peers"] > 0
    after = audit(home)
    assert after.ok
    assert after.events >= before.events - (not log_kept)
    assert holds(home, alone) == log_kept, "what nobody else has comes out of the damaged store"
    if harm is flip_tables:
        assert refilled["unnamed"] is not None
        with processes() as started:
            code, text, err = started.start(*words, "--home", home).ended()
        assert code == 0, err
        assert "whole\n" in text
        assert "in sync\n" in text
        assert "salvaged" not in text
    else:
        assert refilled["unnamed"] is None, "it says that it cannot know"
    b.wait(f"node.view.digest_all().hex() == {after.digest.hex()!r}")
    assert json_of("--home", home, code=0)["ok"]


def test_what_nobody_gives_back_is_said_to_be_missing(
    synced: tuple[Path, Host, str], tmp_path: Path
) -> None:
    whole, _, _ = synced
    shutil.copytree(whole, home := tmp_path / "home")
    flip_tables(home / "store")
    with processes() as started:
        process = started.start(
            "doctor", "--repair-from-peers", "--timeout", 0, "--home", home, "--json"
        )
        code, out, err = process.ended()
    told = json.loads(out)
    assert code == 1, err
    assert not told["refilled"]["synced"]
    refilled = told["refilled"]
    assert refilled["missing"]
    lost = audit(whole).events - refilled["events"]
    assert len(refilled["missing"]) + refilled["waiting"] == lost
    assert audit(home).ok
