"""`dinemic keys`: what a home owns, and moving ownership to another home, all or nothing."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dinemic import passphrases
from dinemic.cli import main
from dinemic.config import Config
from dinemic.keyring import Keyring, ObjectKeys
from dinemic.node import Node
from dinemic_engine.ids import ObjectId, from_text_untrusted, to_text
from support.models import Dog, Person
from support.nodes import acting, open_node, opened, send

PASSPHRASE = "correct horse battery staple"


@pytest.fixture(autouse=True)
def _cheap_derivation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passphrases, "_ARGON2ID_COST", (1, 1, 8))
    monkeypatch.delenv("DINEMIC_EXPORT_PASSPHRASE", raising=False)


@pytest.fixture
def _passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DINEMIC_EXPORT_PASSPHRASE", PASSPHRASE)


with_passphrase = pytest.mark.usefixtures("_passphrase")


def run(*words: object, code: int = 0, **options: Any) -> Result:
    result = CliRunner().invoke(main, [str(word) for word in words], **options)
    assert result.exit_code == code, (result.output, result.exception)
    assert "Traceback" not in result.output
    return result


def json_of(*words: object) -> Any:
    return json.loads(run(*words, "--json").stdout)


@pytest.fixture
def a(tmp_path: Path) -> tuple[Path, str, str]:
    """A home with two objects, nobody using it: (home, person, dog)."""
    home = tmp_path / "a"
    with opened(home, "rocksdb"):
        person, dog = Person([]), Dog([])
        person.name.set("Bob")
        person.salary.set("1234")
        return home, person.get_db_id(), dog.get_db_id()


def snapshot(directory: Path) -> dict[str, bytes]:
    """Every file of a home's keyring."""
    keys = directory / "keys"
    return {each.name: each.read_bytes() for each in keys.iterdir()} if keys.is_dir() else {}


def import_and_open(tmp_path: Path, a: tuple[Path, str, str]) -> Node:
    """Home B after the import, open and with all that A has."""
    home, *_ = a
    run("keys", "import", tmp_path / "f", "--home", tmp_path / "b")
    target = open_node(tmp_path / "b", "rocksdb")
    source = open_node(home, "rocksdb")
    try:
        send(source, target)
    finally:
        source.close()
    return target


# -- list ----------------------------------------------------------------------------------------


def test_list_tells_the_node_and_what_is_owned_also_beside_a_running_node(
    a: tuple[Path, str, str], tmp_path: Path
) -> None:
    home, person, dog = a
    other = open_node(tmp_path / "b")
    with acting(other):
        stranger = Person([])
    with opened(home, "rocksdb") as node:
        send(other, node)
        found = json_of("keys", "list", "--home", home)
        assert found == {
            "node": to_text(node.node_id),
            "objects": [{"id": name, "known": True} for name in sorted((person, dog))],
        }
    other.close()
    text = run("keys", "list", "--home", home).stdout
    assert text.splitlines()[0] == f"node  {found['node']}"
    assert text.endswith("2 objects\n")
    assert stranger.get_id() not in text


def test_list_needs_the_passphrase_of_the_keyring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path / "a", "rocksdb", passphrase="sesame"):
        person = Person([]).get_db_id()
    assert "DINEMIC_PASSPHRASE" in run("keys", "list", "--home", tmp_path / "a", code=2).stderr
    monkeypatch.setenv("DINEMIC_PASSPHRASE", "sesame")
    assert person in run("keys", "list", "--home", tmp_path / "a").stdout


# -- moving --------------------------------------------------------------------------------------


@with_passphrase
def test_ownership_moves_to_another_home_which_reads_and_writes_sealed_values(
    a: tuple[Path, str, str], tmp_path: Path
) -> None:
    home, person, dog = a
    with opened(home, "rocksdb"):  # the first home may be in use
        exported = json_of("keys", "export", person, "--out", tmp_path / "f", "--home", home)
    assert exported == {"file": str(tmp_path / "f"), "objects": [person]}
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o600
    found = json_of("keys", "import", tmp_path / "f", "--home", tmp_path / "b")
    assert found == {"home": str(tmp_path / "b"), "objects": [person], "new": 1}
    assert json_of("keys", "list", "--home", tmp_path / "b")["objects"] == [
        {"id": person.partition(":")[2], "known": False}
    ]
    b = import_and_open(tmp_path, a)
    try:
        with acting(b):
            moved = Person(person)
            assert moved.is_owned()
            assert not Dog(dog).is_owned()
            assert (moved.name.get(), moved.salary.get()) == ("Bob", "1234")
            moved.salary.set("5678")
            moved.append_update_authorized(dog)
            assert moved.salary.get() == "5678"
        with opened(home, "rocksdb") as first:
            send(b, first)
            assert Person(person).salary.get() == "5678", "the first home keeps its keys"
            assert Person(person).is_update_authorized(dog)
    finally:
        b.close()


@with_passphrase
def test_several_objects_go_into_one_file_each_once(
    a: tuple[Path, str, str], tmp_path: Path
) -> None:
    home, person, dog = a
    words = ["keys", "export", person, dog, person[:20], "--out", tmp_path / "f", "--home", home]
    text = run(*words).stdout
    assert text == f"{person}\n{dog}\n2 objects written to {tmp_path / 'f'}\n"
    text = run("keys", "import", tmp_path / "f", "--home", tmp_path / "b").stdout
    assert text.endswith(f"2 objects owned by {tmp_path / 'b'}, 2 new\n")
    again = json_of("keys", "import", tmp_path / "f", "--home", tmp_path / "b")
    assert again["new"] == 0
    b, first = Keyring.open(tmp_path / "b" / "keys"), Keyring.open(home / "keys")
    assert b.owned() == first.owned()
    assert all(b.get(each) == first.get(each) for each in first.owned())
    assert b.node_key != first.node_key


@with_passphrase
def test_an_import_into_a_keyring_with_a_passphrase_is_sealed_by_it(
    a: tuple[Path, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, person, _ = a
    run("keys", "export", person, "--out", tmp_path / "f", "--home", home)
    open_node(tmp_path / "b", "rocksdb", passphrase="sesame").close()
    before = snapshot(tmp_path / "b")
    run("keys", "import", tmp_path / "f", "--home", tmp_path / "b", code=2)
    assert snapshot(tmp_path / "b") == before
    monkeypatch.setenv("DINEMIC_PASSPHRASE", "sesame")
    run("keys", "import", tmp_path / "f", "--home", tmp_path / "b")
    object_id = from_text_untrusted(person.partition(":")[2])
    keys = Keyring.open(home / "keys").get(object_id)
    assert keys is not None
    assert keys.signing.seed not in b"".join(snapshot(tmp_path / "b").values())
    assert Keyring.open(tmp_path / "b" / "keys", "sesame").get(object_id) == keys


# -- refusals ------------------------------------------------------------------------------------


@with_passphrase
def test_what_is_not_owned_is_not_exported(a: tuple[Path, str, str], tmp_path: Path) -> None:
    home, person, _ = a
    other = open_node(tmp_path / "b")
    with acting(other):
        stranger = Person([]).get_db_id()
    with opened(home, "rocksdb") as node:
        send(other, node)
    other.close()
    words = ["keys", "export", person, stranger, "--out", tmp_path / "f", "--home", home]
    assert f"the private keys of {stranger} are not in this home" in run(*words, code=2).stderr
    assert not (tmp_path / "f").exists()
    run("keys", "export", "--out", tmp_path / "f", "--home", home, code=2)
    run("keys", "export", person, "--home", home, code=2)
    words = ["keys", "export", "Person:zzzz", "--out", tmp_path / "f", "--home", home]
    run(*words, code=2)
    assert not (tmp_path / "f").exists()


@with_passphrase
def test_a_file_that_is_there_is_not_overwritten(a: tuple[Path, str, str], tmp_path: Path) -> None:
    home, person, _ = a
    (tmp_path / "f").write_text("mine")
    words = ["keys", "export", person, "--out", tmp_path / "f", "--home", home]
    assert "is there already" in run(*words, code=2).stderr
    assert (tmp_path / "f").read_text() == "mine"
    words = ["keys", "export", person, "--out", tmp_path / "no" / "f", "--home", home]
    assert "No such file" in run(*words, code=2).stderr


@with_passphrase
def test_a_bad_file_or_passphrase_changes_nothing_and_makes_no_home(
    a: tuple[Path, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, person, dog = a
    run("keys", "export", person, dog, "--out", tmp_path / "f", "--home", home)
    data = (tmp_path / "f").read_bytes()
    for bad in (b"", data[:-1], data[: len(data) // 2], data[:-40] + bytes(40), b"not ours"):
        (tmp_path / "f").write_bytes(bad)
        stderr = run("keys", "import", tmp_path / "f", "--home", tmp_path / "b", code=2).stderr
        assert str(tmp_path / "f") in stderr
    (tmp_path / "f").write_bytes(data)
    monkeypatch.setenv("DINEMIC_EXPORT_PASSPHRASE", "another one")
    stderr = run("keys", "import", tmp_path / "f", "--home", tmp_path / "b", code=2).stderr
    assert "wrong passphrase" in stderr
    assert "another one" not in stderr
    run("keys", "import", tmp_path / "none", "--home", tmp_path / "b", code=2)
    assert not (tmp_path / "b").exists()


@with_passphrase
def test_other_keys_for_one_of_the_objects_stop_the_whole_import(
    a: tuple[Path, str, str], tmp_path: Path
) -> None:
    home, person, dog = a
    run("keys", "export", person, dog, "--out", tmp_path / "f", "--home", home)
    for name in (person, dog):
        target = tmp_path / name.partition(":")[0]
        open_node(target, "rocksdb").close()
        ring = Keyring.open(target / "keys")
        object_id = ObjectId(from_text_untrusted(name.partition(":")[2]))
        other = ObjectKeys.generate()
        ring.add(object_id, other)
        before = snapshot(target)
        stderr = run("keys", "import", tmp_path / "f", "--home", target, code=2).stderr
        assert "other keys are kept for object" in stderr
        assert snapshot(target) == before
        assert Keyring.open(target / "keys").get(object_id) == other


@with_passphrase
def test_a_write_that_fails_half_way_leaves_none_of_the_keys(
    a: tuple[Path, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, person, dog = a
    run("keys", "export", person, dog, "--out", tmp_path / "f", "--home", home)
    open_node(tmp_path / "b", "rocksdb").close()
    before = snapshot(tmp_path / "b")
    real, renamed = os.rename, []

    def rename(source: Any, target: Any, **options: Any) -> None:
        if str(target).endswith(".key"):
            renamed.append(target)
            if len(renamed) == 2:
                raise OSError(28, "No space left on device")
        real(source, target, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", rename)
        stderr = run("keys", "import", tmp_path / "f", "--home", tmp_path / "b", code=2).stderr
    assert "no room left" in stderr
    assert len(renamed) == 2
    assert snapshot(tmp_path / "b") == before
    assert json_of("keys", "import", tmp_path / "f", "--home", tmp_path / "b")["new"] == 2


@with_passphrase
def test_a_home_in_use_imports_nothing(a: tuple[Path, str, str], tmp_path: Path) -> None:
    home, person, _ = a
    run("keys", "export", person, "--out", tmp_path / "f", "--home", home)
    with opened(tmp_path / "b", "rocksdb"):
        before = snapshot(tmp_path / "b")
        stderr = run("keys", "import", tmp_path / "f", "--home", tmp_path / "b", code=2).stderr
        assert str(tmp_path / "b") in stderr
        assert "another" in stderr
        assert snapshot(tmp_path / "b") == before


# -- the passphrase ------------------------------------------------------------------------------


def test_the_passphrase_comes_from_a_private_file(
    a: tuple[Path, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, person, _ = a
    secret = tmp_path / "secret"
    secret.write_bytes(PASSPHRASE.encode() + b"\n")
    words = ["keys", "export", person, "--out", tmp_path / "f", "--home", home]
    words += ["--passphrase-file", secret]
    secret.chmod(0o644)
    assert "chmod 600" in run(*words, code=2).stderr
    assert not (tmp_path / "f").exists()
    secret.chmod(0o600)
    monkeypatch.setenv("DINEMIC_EXPORT_PASSPHRASE", "not this one")
    run(*words)
    monkeypatch.setenv("DINEMIC_EXPORT_PASSPHRASE", PASSPHRASE)
    run("keys", "import", tmp_path / "f", "--home", tmp_path / "b")
    secret.write_bytes(b"\n")
    words[4] = tmp_path / "g"
    assert "empty" in run(*words, code=2).stderr


class Terminal:
    """Stands for a terminal on stdin where click would look for one."""

    def isatty(self) -> bool:
        return True


def test_the_passphrase_is_asked_for_twice_to_export_and_once_to_import(
    a: tuple[Path, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, person, _ = a
    asked: list[str] = []
    answers = iter([PASSPHRASE, "a slip", PASSPHRASE, PASSPHRASE, PASSPHRASE])

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return next(answers)

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("click.termui.hidden_prompt_func", ask)
    keys_export = ["keys", "export", person, "--out", str(tmp_path / "f"), "--home", str(home)]
    main(keys_export, standalone_mode=False)
    assert len(asked) == 4, "a slip is asked about again"
    main(
        ["keys", "import", str(tmp_path / "f"), "--home", str(tmp_path / "b")],
        standalone_mode=False,
    )
    assert len(asked) == 5
    assert "Repeat" not in asked[4]


def test_without_a_terminal_nobody_is_asked(a: tuple[Path, str, str], tmp_path: Path) -> None:
    home, person, _ = a
    words = ["keys", "export", person, "--out", tmp_path / "f", "--home", home]
    stderr = run(*words, code=2, input=f"{PASSPHRASE}\n{PASSPHRASE}\n").stderr
    assert "DINEMIC_EXPORT_PASSPHRASE" in stderr
    assert not (tmp_path / "f").exists()


@with_passphrase
def test_the_variable_is_no_option_of_a_node(tmp_path: Path) -> None:
    assert Config.load({"home": tmp_path}, os.environ).passphrase is None
