"""objects, show, log, replay and audit on a home that nothing else uses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dinemic.cli import main
from dinemic_engine.edits import Set
from dinemic_engine.ids import db_id, short, to_text
from dinemic_engine.ledger import Ledger
from dinemic_engine.store import keyspace
from dinemic_engine.store.rocks import RocksStore
from dinemic_engine.view import View
from support.homes import make_home, plant
from support.sample_store import Sample


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Only read: shared by the tests of this file."""
    home = tmp_path_factory.mktemp("reading") / "home"
    make_home(home)
    return home


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """Ids and keys are the same in every sample but for the sealed part, which is random."""
    return make_home(tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="module")
def person(home: Path) -> str:
    return str(json_of("objects", "Person:*", "--home", home)["objects"][0]["id"])


def run(*words: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def json_of(*words: object, code: int = 0) -> Any:
    return json.loads(run(*words, "--json", code=code).stdout)


def lines_of(*words: object) -> list[Any]:
    return [json.loads(line) for line in run(*words, "--json").stdout.splitlines()]


# -- objects ------------------------------------------------------------------------------------


def test_objects_lists_what_stands(home: Path, person: str) -> None:
    document = json_of("objects", "Person:[id]", "--home", home)
    assert document == {
        "objects": [
            {
                "id": person,
                "model": "Person",
                "changed": "2023-11-14T22:13:29.000000Z",
                "removed": False,
                "fields": ["guestbook", "name", "salary", "town"],
            }
        ]
    }
    models = [each["model"] for each in json_of("objects", "--home", home)["objects"]]
    assert models == ["Desk", "Person"]
    text = run("objects", "--home", home).stdout
    assert text.splitlines()[0].split() == ["object", "changed", "fields"]
    assert person in text
    assert text.endswith("2 objects\n")


def test_objects_lists_removed_ones_when_asked(home: Path) -> None:
    models = [each["model"] for each in json_of("objects", "--removed", "--home", home)["objects"]]
    assert models == ["Desk", "Note", "Person"]
    assert "removed" in run("objects", "Note:[id]", "--removed", "--home", home).stdout


def test_objects_filters(home: Path) -> None:
    assert json_of("objects", "Note:[id]", "--home", home) == {"objects": []}
    assert "not ''" not in run("objects", "--home", home).output
    assert "printable ASCII" in run("objects", "Pérson", "--home", home, code=2).stderr


def test_the_home_comes_from_the_environment(
    home: Path, person: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DINEMIC_HOME", str(home))
    assert person in run("objects").stdout


# -- show ---------------------------------------------------------------------------------------


def test_show_tells_everything_about_an_object(home: Path, person: str, sample: Sample) -> None:
    document = json_of("show", person, "--home", home)
    assert document["id"] == person
    assert document["exists"] is True
    assert document["removed_by"] is None
    assert document["key"] == to_text(sample.owner.public)
    assert document["access"] == {"default": "closed", "fields": {"guestbook": "open"}}
    assert len(document["heads"]) == 3
    assert {(grant["role"], grant["key"]) for grant in document["grants"]} == {
        ("read", to_text(sample.chief.public)),
        ("update", to_text(sample.chief.public)),
        ("read", to_text(sample.admin.public)),
        ("admin", to_text(sample.admin.public)),
    }
    guestbook = document["fields"]["guestbook"]
    assert (guestbook["value"], guestbook["authorized"]) == ("hello", False)
    assert guestbook["author"] == {
        "key": to_text(sample.stranger.public),
        "role": "stranger",
        "subject": None,
    }
    text = run("show", person, "--home", home).stdout
    assert "closed, but guestbook open" in text
    assert "'Gdynia'" in text
    assert f"stranger {short(sample.stranger.public)}" in text


def test_show_prints_the_shared_digest(home: Path, person: str) -> None:
    store = RocksStore(home / "store", read_only=True)
    view = View(store)
    _, object_id = next(view.objects("Person"))
    digest = to_text(view.digest(object_id))
    store.close()
    assert json_of("show", person, "--home", home)["digest"] == digest
    assert digest in run("show", person, "--home", home).stdout


def test_show_opens_a_sealed_field_with_the_own_keys(home: Path, person: str) -> None:
    salary = json_of("show", person, "--home", home)["fields"]["salary"]
    assert (salary["value"], salary["encrypted"], salary["locked"]) == ("44321", True, None)
    assert "'44321' (sealed, opened)" in run("show", person, "--home", home).stdout


def test_show_opens_a_sealed_field_as_a_caller(tmp_path: Path) -> None:
    sample = make_home(tmp_path)
    (tmp_path / "keys" / f"{to_text(sample.person)}.key").unlink()
    name = db_id("Person", sample.person)

    shut = json_of("show", name, "--home", tmp_path)["fields"]["salary"]
    opened = json_of("show", name, "--as", to_text(sample.chief_object), "--home", tmp_path)

    assert shut["value"].keys() == {"sealed", "epoch"}
    assert shut["value"]["sealed"] is True
    assert shut["locked"] == "the object's own keys are not in this home"
    assert opened["fields"]["salary"]["value"] == "44321"


def test_show_prints_lists_dicts_counters_and_sets(home: Path, person: str) -> None:
    found = json_of("show", person, "--home", home)["collections"]
    assert found["dict_phones"] == {"entries": {"home": "555"}, "locked": 0}
    assert found["counter_visits"] == {"sum": 1, "locked": 0}
    assert found["set_tags"] == {"values": ["kind"], "locked": 0}
    text = run("show", person, "--home", home).stdout
    assert "dict phones: 1 entry" in text
    assert "counter visits: 1\n" in text
    assert "set tags: 1 value" in text
    assert "'kind'" in text


def test_show_counts_what_it_cannot_open(tmp_path: Path) -> None:
    sample = make_home(tmp_path)
    (tmp_path / "keys" / f"{to_text(sample.person)}.key").unlink()
    words = ("show", db_id("Person", sample.person), "--home", tmp_path)
    found = json_of(*words)["collections"]
    assert found["counter_visits"] == {"sum": 0, "locked": 1}
    assert "counter visits: 0 (1 sealed, not opened)" in run(*words).stdout


def test_show_as_somebody_whose_key_is_not_here_is_refused(home: Path, person: str) -> None:
    note = json_of("objects", "Note:*", "--removed", "--home", home)["objects"][0]["id"]
    assert "private key" in run("show", person, "--as", note, "--home", home, code=2).stderr


def test_show_leaves_a_field_sealed_if_the_keyring_does_not_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = make_home(tmp_path, "correct horse battery staple")
    words = ("show", to_text(sample.person), "--home", tmp_path)

    salary = json_of(*words)["fields"]["salary"]
    assert salary["value"]["sealed"] is True
    assert "DINEMIC_PASSPHRASE" in salary["locked"]
    chief = ("--as", to_text(sample.chief_object))
    assert "DINEMIC_PASSPHRASE" in run(*words, *chief, code=2).stderr

    monkeypatch.setenv("DINEMIC_PASSPHRASE", "correct horse battery staple")
    assert json_of(*words)["fields"]["salary"]["value"] == "44321"


def test_show_of_a_removed_object_says_who_removed_it(home: Path, sample: Sample) -> None:
    document = json_of("show", "Note", "--home", home)
    assert document["exists"] is False
    assert document["removed_by"] == to_text(sample.named["removed"].id)
    assert document["fields"] == {}
    assert "removed by event" in run("show", "Note", "--home", home).stdout


def test_every_command_but_show_works_without_a_keyring(tmp_path: Path) -> None:
    sample = make_home(tmp_path)
    for path in (tmp_path / "keys").iterdir():
        path.unlink()
    (tmp_path / "keys").rmdir()
    name = to_text(sample.person)
    for words in (["objects"], ["log", name], ["replay", name], ["audit"], ["show", name]):
        run(*words, "--home", tmp_path)
    assert not (tmp_path / "keys").exists()


# -- log ----------------------------------------------------------------------------------------


def test_log_prints_the_events_in_replay_order(home: Path, person: str) -> None:
    lines = lines_of("log", person, "--home", home)
    assert [(each["t"], each["event"]) for each in lines] == sorted(
        (each["t"], each["event"]) for each in lines
    )
    assert [each["ops"][0]["op"] for each in lines] == [
        *("create", "set", "epoch", "set", "set", "set", "set", "grant", "grant", "set")
    ]
    assert [each["author"]["role"] for each in lines] == [
        *("owner", "owner", "owner", "update", "owner", "owner"),
        *("stranger", "owner", "admin", "owner"),
    ]
    assert [each["authorized"] for each in lines].count(False) == 1


def test_log_says_what_happened_in_words(home: Path, person: str, sample: Sample) -> None:
    lines = run("log", person, "--home", home).stdout.splitlines()
    assert len(lines) == 10
    owner, chief = f"owner {person[7:17]} ", f"update {short(sample.chief_object)}"
    assert "  create Person, closed, but guestbook open; grant read to " in lines[0]
    assert lines[1].split("  ")[1] == "2023-11-14T22:13:21.000000Z"
    assert owner in lines[1]
    assert lines[1].endswith("set name = 'Bob'")
    assert "new sealing key for 2 readers; set salary = <sealed, epoch " in lines[2]
    assert chief in lines[3]
    assert lines[3].endswith("set name = 'Robert'; set age = 44; insert into albums: 'Blue'")
    assert lines[5].endswith("set town = 'Kraków'; delete age")
    assert lines[6].endswith("set guestbook = 'hello'  (unauthorized)")
    assert "grant admin to " in lines[7]


def test_log_shows_bytes_and_removal(home: Path) -> None:
    lines = lines_of("log", "Note", "--home", home)
    assert lines[0]["ops"][1] == {"op": "set", "field": "text", "value": {"base32": "ad7q"}}
    assert lines[1]["ops"] == [{"op": "remove"}]
    assert run("log", "Note", "--home", home).stdout.endswith("remove the object\n")


# -- replay -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "until",
    [
        "2023-11-14T22:13:23",
        "2023-11-14T22:13:23Z",
        "2023-11-14T23:13:23.000000+01:00",
        "1700000003000000",
    ],
)
def test_replay_until_a_time(home: Path, person: str, until: str) -> None:
    document = json_of("replay", person, "--until", until, "--home", home)
    assert document["fields"]["name"]["value"] == "Robert"
    assert document["fields"]["salary"]["value"]["sealed"] is True
    assert (document["later"], document["left_out"]) == (6, [])
    assert (
        "6 events of a later time" in run("replay", person, "--until", until, "--home", home).stdout
    )


def test_replay_before_the_beginning(home: Path, person: str) -> None:
    document = json_of("replay", person, "--until", "1999-12-31", "--home", home)
    assert document["exists"] is False
    text = run("replay", person, "--until", "1999-12-31", "--home", home).stdout
    assert "does not exist" in text


def test_replay_without_an_event_an_author_or_an_object(
    home: Path, person: str, sample: Sample
) -> None:
    robert = next(each for each in lines_of("log", person, "--home", home) if "age" in str(each))
    for name in (
        robert["event"],
        robert["event"][:12],
        to_text(sample.chief.public),
    ):
        document = json_of("replay", person, "--without", name, "--home", home)
        assert [each["event"] for each in document["left_out"]] == [robert["event"]]
        assert document["left_out"][0]["reason"] == "asked"
    wanted = ("--without", robert["event"], "--without", to_text(sample.stranger.public))
    both = json_of("replay", person, *wanted, "--home", home)
    assert len(both["left_out"]) == 2
    assert "guestbook" not in both["fields"]


def test_replay_without_a_granted_object_leaves_out_all_its_keys(
    home: Path, person: str, sample: Sample
) -> None:
    document = json_of("replay", person, "--without", to_text(sample.chief_object), "--home", home)
    assert {each["reason"] for each in document["left_out"]} == {"asked"}
    assert (
        len(document["left_out"]) == 2
    )  # in the sample the chief's and the admin's are one object


def test_replay_tells_what_is_no_longer_allowed(home: Path, person: str) -> None:
    admin = next(
        each for each in lines_of("log", person, "--home", home) if "admin" in str(each["ops"])
    )
    text = run("replay", person, "--without", admin["event"], "--home", home).stdout
    assert f"left out  {admin['event'][:10]}  asked" in text
    assert "AUTH-5/access" in text


@pytest.mark.parametrize("without", ["", ":", "zzzz", "Person:1"])
def test_replay_without_nobody_known_is_an_error(home: Path, person: str, without: str) -> None:
    stderr = run("replay", person, "--without", without, "--home", home, code=2).stderr
    assert "is no event or author of this object" in stderr


def test_replay_without_an_ambiguous_beginning_is_an_error(tmp_path: Path) -> None:
    sample = make_home(tmp_path)
    store = RocksStore(tmp_path / "store")
    ledger = Ledger(store)
    for number in range(33):  # one more than there are letters in base32: two begin alike
        event = ledger.draft(sample.person, [Set("note", number)], sample.owner, 1)
        ledger.accept(ledger.prepare([event], event.t))
    store.close()
    person = db_id("Person", sample.person)
    names = [each["event"] for each in lines_of("log", person, "--home", tmp_path)]
    first = next(a[0] for a in names if sum(b[0] == a[0] for b in names) > 1)

    stderr = run("replay", person, "--without", first, "--home", tmp_path, code=2).stderr
    assert "events and authors of this object" in stderr


@pytest.mark.parametrize("until", ["yesterday", "", "2023-13-01", "9" * 400 + "x"])
def test_replay_until_no_time_is_an_error(home: Path, person: str, until: str) -> None:
    assert "--until" in run("replay", person, "--until", until, "--home", home, code=2).stderr


# -- audit --------------------------------------------------------------------------------------


def test_audit_of_a_good_home_is_clean(home: Path) -> None:
    document = json_of("audit", "--home", home)
    assert document["ok"] is True
    assert (document["objects"], document["events"], document["signatures"]) == (3, 19, 19)
    assert document["findings"] == []
    assert document["home"] == str(home)
    text = run("audit", "--home", home).stdout
    assert text.endswith(f"digest      {document['digest']}\nclean\n")


def test_audit_with_findings_ends_with_code_1(tmp_path: Path) -> None:
    sample = make_home(tmp_path)
    plant(tmp_path, {keyspace.register_key(0, b"value_name"): None})

    document = json_of("audit", "--home", tmp_path, code=1)

    assert document["ok"] is False
    assert document["findings"] == [
        {
            "kind": "register",
            "object": to_text(sample.person),
            "event": to_text(sample.named["bobby"].id),
            "detail": "value_name is missing",
        }
    ]
    text = run("audit", "--home", tmp_path, code=1).stdout
    assert "1 finding\n" in text
    assert "value_name is missing" in text


def test_audit_changes_nothing(tmp_path: Path) -> None:
    make_home(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    run("audit", "--home", tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
