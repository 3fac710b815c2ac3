"""`dinemic export`, `import` and `audit FILE`: objects carried from home to home, or nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import dinemic
from dinemic.cli import main
from dinemic_engine.edits import Set
from dinemic_engine.event import open_event_untrusted, sign_event
from dinemic_engine.ids import EventId, short, to_text
from dinemic_engine.limits import HOLD_US
from support.bundles import bundle_of, by_object
from support.graphs import OWNER, STRANGER, child, genesis, team
from support.homes import make_home
from support.models import Dog, Person
from support.nodes import opened


def run(*words: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == code, (result.output, result.exception)
    assert "Traceback" not in result.output
    return result


def json_of(*words: object, code: int = 0) -> Any:
    return json.loads(run(*words, "--json", code=code).stdout)


def files_in(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.fixture
def a(tmp_path: Path) -> tuple[Path, str, str]:
    """A home with two objects, nobody using it: (home, person, dog)."""
    home = tmp_path / "a"
    with opened(home, "rocksdb"):
        person, dog = Person([]), Dog([])
        person.name.set("Bob")
        person.salary.set("1234")
        dog.name.set("Rex")
        dog.remove()
        return home, person.get_db_id(), dog.get_db_id()


def forged(path: Path) -> str:
    """A bundle whose third event is a stranger's, with a sum that fits; that event's id."""
    first = team()
    second = child(first, OWNER, Set("name", "Bob"))
    theirs = child(second, STRANGER, Set("name", "Mallory"))
    path.write_bytes(bundle_of([[first, second, theirs]]))
    return to_text(theirs.id)


# -- there and back ------------------------------------------------------------------------------


def test_objects_go_from_home_to_home(a: tuple[Path, str, str], tmp_path: Path) -> None:
    home, person, dog = a
    path, other = tmp_path / "f", tmp_path / "b"
    exported = json_of("export", "--out", path, "--home", home)
    assert exported == {"file": str(path), "objects": 2, "events": 6}
    imported = json_of("import", path, "--home", other)
    assert imported == {
        "file": str(path),
        "home": str(other),
        "ok": True,
        "objects": 2,
        "events": 6,
        "new": 6,
        "findings": [],
    }
    digest = json_of("audit", "--home", home)["digest"]
    assert json_of("audit", "--home", other)["digest"] == digest
    assert json_of("audit", path)["digest"] == digest
    shown = json_of("show", person, "--home", other)
    assert shown["fields"]["name"]["value"] == "Bob"
    assert shown["fields"]["salary"]["value"]["sealed"] is True
    assert [each["id"] for each in json_of("objects", "--home", other)["objects"]] == [person]
    assert json_of("keys", "list", "--home", other)["objects"] == []
    run("export", "--out", tmp_path / "g", "--home", other)
    assert (tmp_path / "g").read_bytes() == path.read_bytes()
    run("log", dog, "--home", other)


def test_importing_again_changes_nothing(a: tuple[Path, str, str], tmp_path: Path) -> None:
    home, *_ = a
    run("export", "--out", tmp_path / "f", "--home", home)
    for new in (6, 0):
        text = run("import", tmp_path / "f", "--home", tmp_path / "b").stdout
        assert text == f"2 objects, 6 events ({new} new) imported into {tmp_path / 'b'}\n"
    assert json_of("import", tmp_path / "f", "--home", home)["new"] == 0


def test_objects_are_chosen_by_the_beginning_of_an_id(
    a: tuple[Path, str, str], tmp_path: Path
) -> None:
    home, person, dog = a
    words = ["export", person[:20], person, "--out", tmp_path / "f", "--home", home]
    assert run(*words).stdout == f"1 object, 3 events written to {tmp_path / 'f'}\n"
    assert json_of("import", tmp_path / "f", "--home", tmp_path / "b")["objects"] == 1
    assert "no object here is called" in run("show", dog, "--home", tmp_path / "b", code=2).stderr


def test_an_export_works_beside_a_node_and_an_import_does_not(
    a: tuple[Path, str, str], tmp_path: Path
) -> None:
    home, *_ = a
    with opened(home, "rocksdb"):
        new = Person([])
        new.name.set("Eve")
        assert json_of("export", "--out", tmp_path / "f", "--home", home)["events"] == 8
    with opened(tmp_path / "b", "rocksdb") as node:
        stderr = run("import", tmp_path / "f", "--home", tmp_path / "b", code=2).stderr
        assert str(tmp_path / "b") in stderr
        assert "another" in stderr
        assert node.view.tip().seq == 0
        assert dinemic.import_bundle(tmp_path / "f").new == 8
    assert json_of("audit", "--home", tmp_path / "b")["events"] == 8


def test_an_import_is_kept_whatever_store_the_environment_names(
    a: tuple[Path, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, *_ = a
    run("export", "--out", tmp_path / "f", "--home", home)
    monkeypatch.setenv("DINEMIC_STORE", "memory")
    run("import", tmp_path / "f", "--home", tmp_path / "b")
    assert json_of("audit", "--home", tmp_path / "b")["events"] == 6


# -- audit ---------------------------------------------------------------------------------------


def test_an_audit_of_a_bundle_says_what_that_of_the_home_does(tmp_path: Path) -> None:
    make_home(tmp_path / "a")
    run("export", "--out", tmp_path / "f", "--home", tmp_path / "a")
    of_bundle, of_home = (
        json_of("audit", tmp_path / "f"),
        json_of("audit", "--home", tmp_path / "a"),
    )
    assert of_bundle.pop("file") == str(tmp_path / "f")
    assert of_home.pop("home") == str(tmp_path / "a")
    assert of_bundle == of_home
    text = run("audit", tmp_path / "f").stdout
    assert text.startswith(f"file        {tmp_path / 'f'}\nobjects     3\n")
    assert text.endswith("clean\n")


def test_a_forged_event_is_named_and_the_exit_code_is_1(tmp_path: Path) -> None:
    path = tmp_path / "f"
    event = forged(path)
    document = json_of("audit", path, code=1)
    assert (document["ok"], document["events"], document["signatures"]) == (False, 3, 3)
    (finding,) = document["findings"]
    assert (finding["kind"], finding["event"]) == ("event", event)
    assert finding["detail"].startswith("AUTH-5/closed")
    text = run("audit", path, code=1).stdout
    assert "1 finding\n" in text
    assert event[:10] in text


def test_an_audit_is_of_a_file_or_of_a_home(a: tuple[Path, str, str], tmp_path: Path) -> None:
    home, *_ = a
    run("export", "--out", tmp_path / "f", "--home", home)
    assert "not both" in run("audit", tmp_path / "f", "--home", home, code=2).stderr
    assert "is a directory" in run("audit", home, code=2).stderr
    assert "No such file" in run("audit", tmp_path / "none", code=2).stderr


# -- refusals ------------------------------------------------------------------------------------


def test_a_refused_event_stops_the_whole_import_and_is_named(
    a: tuple[Path, str, str], tmp_path: Path
) -> None:
    home, *_ = a
    path = tmp_path / "f"
    event = forged(path)
    before = files_in(home)
    document = json_of("import", path, "--home", home, code=1)
    assert document.keys() == {"file", "home", "ok", "findings"}
    assert document["ok"] is False
    assert [each["event"] for each in document["findings"]] == [event]
    text = run("import", path, "--home", home, code=1).stdout
    assert event[:10] in text
    assert text.endswith("nothing was imported\n")
    assert files_in(home) == before
    run("import", path, "--home", tmp_path / "b", code=1)
    assert not (tmp_path / "b").exists()


def test_a_bundle_with_any_damage_changes_no_byte_of_a_home(
    a: tuple[Path, str, str], tmp_path: Path
) -> None:
    home, *_ = a
    path = tmp_path / "f"
    good = bundle_of([[team()]])
    before = files_in(home)
    damaged = [good[:size] for size in range(len(good))]
    damaged += [good[:at] + bytes((good[at] ^ 1,)) + good[at + 1 :] for at in range(len(good))]
    damaged += [good + b"\n", good + good, b"dinemic/bundle/2\n" + good[17:]]
    damaged.append(good[:17] + b"\xff\xff\xff\xff" + good[21:])
    for data in damaged:
        path.write_bytes(data)
        for words in (["audit", path], ["import", path, "--home", home]):
            result = CliRunner().invoke(main, [str(word) for word in words])
            assert result.exit_code in (1, 2)
            assert isinstance(result.exception, SystemExit)
    assert files_in(home) == before
    path.write_bytes(good)
    run("import", path, "--home", home)


def test_what_is_no_bundle_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"PK\x03\x04")
    for words in (["audit", path], ["import", path, "--home", tmp_path / "b"]):
        stderr = run(*words, code=2).stderr
        assert stderr == f"Error: {path}: not a bundle\n"
    for name in ("none", "."):
        run("import", tmp_path / name, "--home", tmp_path / "b", code=2)
    assert not (tmp_path / "b").exists()


def test_an_event_dated_ahead_is_a_finding(tmp_path: Path) -> None:
    first = genesis()
    late = sign_event(
        OWNER.key,
        first.object,
        2**62 + HOLD_US,
        [EventId(first.id)],
        [Set("name", "from the future")],
    )
    (tmp_path / "f").write_bytes(bundle_of([[first, late]]))
    run("audit", tmp_path / "f")
    text = run("import", tmp_path / "f", "--home", tmp_path / "b", code=1).stdout
    assert short(late.id) in text
    assert "ORD-4" in text
    assert json_of("audit", "--home", tmp_path / "b")["events"] == 0


def test_a_file_that_is_there_is_not_overwritten(a: tuple[Path, str, str], tmp_path: Path) -> None:
    home, person, _ = a
    (tmp_path / "f").write_text("mine")
    assert (
        "is there already" in run("export", "--out", tmp_path / "f", "--home", home, code=2).stderr
    )
    assert (tmp_path / "f").read_text() == "mine"
    for words in (["Person:zzzz", "--out", tmp_path / "g"], [person]):
        run("export", *words, "--home", home, code=2)
    run("export", "--out", tmp_path / "no" / "g", "--home", home, code=2)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a", "f"]
    assert (
        "there is no store"
        in run("export", "--out", tmp_path / "g", "--home", tmp_path / "b", code=2).stderr
    )


def test_values_in_a_bundle_move_no_cursor(tmp_path: Path) -> None:
    nasty = "\x1b[2J\r\nforged line\u202e"
    path = tmp_path / f"f{nasty}".replace("/", "")
    path.write_bytes(bundle_of(by_object([genesis(Set("name", nasty))])))
    for words in (["audit", path], ["import", path, "--home", tmp_path / "b"]):
        output = run(*words).output
        assert all(line.isprintable() for line in output.splitlines()), output


def test_two_processes_carry_an_object_over(tmp_path: Path) -> None:
    """As a user does it, with the program `dinemic` and no node anywhere."""
    with opened(tmp_path / "a", "rocksdb"):
        person = Person([])
        person.name.set("Bob")
        name = person.get_db_id()
    environment = {**os.environ, "DINEMIC_HOME": str(tmp_path / "b")}

    def dinemic_command(*words: object) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "dinemic.cli", *map(str, words)],
            capture_output=True,
            text=True,
            timeout=60,
            env=environment,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    dinemic_command("export", name, "--out", "bob.bundle", "--home", tmp_path / "a")
    assert dinemic_command("audit", "bob.bundle").endswith("clean\n")
    assert "2 new" in dinemic_command("import", "bob.bundle")
    assert "'Bob'" in dinemic_command("show", name)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a", "b", "bob.bundle"]
    raw = (tmp_path / "bob.bundle").read_bytes()
    first = open_event_untrusted(raw[21 : 21 + int.from_bytes(raw[17:21], "big")])
    assert f"Person:{to_text(first.id)}" == name
