"""What goes wrong is one clear message on stderr and exit code 2, with no control characters."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dinemic.cli import main
from dinemic.cli.words import op_text, time_from_text, time_text, value_json, value_text
from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.edits import Set
from dinemic_engine.ids import db_id, to_text
from dinemic_engine.ledger import Ledger
from dinemic_engine.store import keyspace
from dinemic_engine.store.rocks import RocksStore
from support.homes import make_home, plant
from support.sample_store import T0

READERS = ["objects", "show", "log", "replay", "audit"]
NASTY = "\x1b[2J\x1b]0;title\x07\r\nforged line\u202egnp.exe\u2066\x00\x9b31m"


def run(*words: object, code: int) -> Result:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == code, (result.output, result.exception)
    assert "Traceback" not in result.output
    return result


def arguments(name: str) -> list[str]:
    return [name, "Person"] if name in ("show", "log", "replay") else [name]


@pytest.mark.parametrize("name", READERS)
def test_a_missing_home_is_said_and_not_made(name: str, tmp_path: Path) -> None:
    stderr = run(*arguments(name), "--home", tmp_path / "none", code=2).stderr
    assert stderr == (
        f"Error: there is no store in {tmp_path}/none: no node ever ran with that home\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_store_file_is_said(name: str, tmp_path: Path) -> None:
    make_home(tmp_path)
    (manifest,) = (tmp_path / "store").glob("MANIFEST-*")
    manifest.write_bytes(b"")
    stderr = run(*arguments(name), "--home", tmp_path, code=2).stderr
    assert stderr.startswith("Error: ")
    assert len(stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["objects", "show", "log", "replay"])
def test_a_shorter_log_is_not_taken_for_all(name: str, tmp_path: Path) -> None:
    make_home(tmp_path)
    plant(tmp_path, {keyspace.arrival_key(12): None})
    assert "number 12 is missing" in run(*arguments(name), "--home", tmp_path, code=2).stderr
    run("audit", "--home", tmp_path, code=1)


def test_rows_that_contradict_each_other_point_to_the_audit(tmp_path: Path) -> None:
    sample = make_home(tmp_path)
    plant(tmp_path, {keyspace.place_key(sample.named["bob"].id): None})
    stderr = run("log", "Person", "--home", tmp_path, code=2).stderr
    assert "`dinemic audit` names all that is wrong" in stderr
    assert "place" in run("audit", "--home", tmp_path, code=1).stdout


@pytest.mark.parametrize("row", ["object", "event", "register", "heads"])
@pytest.mark.parametrize("name", ["objects", "show", "log", "replay"])
def test_a_row_cut_short_is_never_a_traceback(name: str, row: str, tmp_path: Path) -> None:
    sample = make_home(tmp_path)
    bob = sample.named["bob"]
    keys = {
        "object": keyspace.object_row_key(0),
        "event": keyspace.event_key(0, bob.t, bob.id),
        "register": keyspace.register_key(0, b"value_name"),
        "heads": keyspace.heads_key(0),
    }
    plant(tmp_path, {keys[row]: b"\x82"})
    result = CliRunner().invoke(main, [*arguments(name), "--home", str(tmp_path)])
    assert result.exit_code in (0, 2), (result.output, result.exception)
    assert "Traceback" not in result.output
    run("audit", "--home", tmp_path, code=1)


def test_a_store_of_a_newer_layout_is_refused(tmp_path: Path) -> None:
    make_home(tmp_path)
    plant(tmp_path, {keyspace.FORMAT_KEY: b"9"})
    assert "layout" in run("objects", "--home", tmp_path, code=2).stderr


def test_an_object_nobody_has_and_one_of_many_are_told_apart(tmp_path: Path) -> None:
    sample = make_home(tmp_path)
    assert (
        "no object here is called 'Nobody'"
        in run("show", "Nobody", "--home", tmp_path, code=2).stderr
    )
    many = run("show", "", "--home", tmp_path, code=2).stderr
    assert "fits 3 objects" in many
    assert db_id("Person", sample.person) in many
    assert db_id("Note", sample.note) in many
    assert db_id("Desk", sample.desk) in many


def test_a_beginning_names_an_object_with_and_without_its_model(tmp_path: Path) -> None:
    sample = make_home(tmp_path)
    text = to_text(sample.person)
    outputs = {
        run("log", name, "--home", tmp_path, code=0).stdout
        for name in (f"Person:{text}", f"Person:{text[:6]}", text, text[:8], "Per")
    }
    assert len(outputs) == 1


def test_a_wrong_option_of_the_environment_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DINEMIC_HOEM", "x")
    stderr = run("objects", "--home", tmp_path, code=2).stderr
    assert "DINEMIC_HOEM" in stderr


def test_a_home_in_use_can_be_read_but_not_run_a_node_on(tmp_path: Path) -> None:
    make_home(tmp_path)
    store = RocksStore(tmp_path / "store")
    try:
        run("objects", "--home", tmp_path, code=0)
        run("audit", "--home", tmp_path, code=0)
        stderr = run("node", "--home", tmp_path, "--listen", "127.0.0.1:0", code=2).stderr
    finally:
        store.close()
    assert str(tmp_path / "store") in stderr


def test_no_text_of_a_stranger_reaches_the_terminal_as_it_is(tmp_path: Path) -> None:
    sample = make_home(tmp_path)
    store = RocksStore(tmp_path / "store")
    ledger = Ledger(store)
    values: list[Value] = [NASTY, [NASTY, {NASTY: NASTY.encode()}]]
    for value in values:
        event = ledger.draft(sample.person, [Set("guestbook", value)], sample.stranger, T0 * 2)
        ledger.accept(ledger.prepare([event], T0 * 3))
    store.close()
    for words in (["objects"], ["show", "Person"], ["log", "Person"], ["replay", "Person"]):
        for form in ([], ["--json"]):
            output = run(*words, *form, "--home", tmp_path, code=0).stdout
            assert "\nforged line" not in output
            assert all(char.isprintable() or char == "\n" for char in output), (words, form)
            assert output.isascii() or not form
    value = json.loads(run("show", "Person", "--json", "--home", tmp_path, code=0).stdout)
    assert value["fields"]["guestbook"]["value"] == [
        NASTY,
        {"map": {NASTY: value_json(NASTY.encode())}},
    ]


def test_a_hostile_home_name_is_escaped_in_messages(tmp_path: Path) -> None:
    stderr = run("objects", "--home", tmp_path / "a\nb\x1b[1m", code=2).stderr
    assert "\x1b" not in stderr
    assert len(stderr.splitlines()) == 1


def test_reading_needs_no_network(tmp_path: Path) -> None:
    make_home(tmp_path)
    script = (
        "import sys; from dinemic.cli import main\n"
        "for words in (['objects'], ['show', 'Person'], ['audit']):\n"
        f"    main([*words, '--home', {str(tmp_path)!r}], standalone_mode=False)\n"
        "print(sorted({'trio', 'zeroconf', 'ssl', 'asyncio', 'rich'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


# -- words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (-(2**63), -(2**63)),
        (1.5, 1.5),
        (float("-inf"), {"float": "-inf"}),
        ("é", "é"),
        (b"", {"base32": ""}),
        (b"hi", {"base32": "nbuq"}),
        ([1, b"hi", []], [1, {"base32": "nbuq"}, []]),
        ({"base32": "x"}, {"map": {"base32": "x"}}),
        (Sealed(bytes(32), bytes(16), b""), {"sealed": True, "epoch": "a" * 52}),
    ],
)
def test_every_value_has_one_form_as_json(value: Value, expected: object) -> None:
    found = value_json(value)
    assert found == expected
    assert type(found) is type(expected)
    json.dumps(found, allow_nan=False)


def test_a_long_value_is_cut_in_a_line_of_a_log_only() -> None:
    assert len(op_text(Set("name", "x" * 10_000))) < 100
    assert value_text("x" * 10_000) == repr("x" * 10_000)


def test_times_are_exact_and_every_one_has_a_text() -> None:
    for t in (0, 1, T0, T0 + 999_999, 253_402_300_799_999_999):
        assert time_from_text(time_text(t)) == t
    assert time_text(2**63 - 1) == f"{2**63 - 1}us"
    assert time_from_text("2023-11-14T22:13:20+00:00") == T0
