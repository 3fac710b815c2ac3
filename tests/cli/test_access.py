"""`dinemic access` and what `log` and `show` tell of revocations, on a home that had some."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import dinemic
from dinemic.cli import main
from dinemic_engine.ids import to_text
from dinemic_engine.ops import UPDATE
from support.nodes import acting, exchange, object_id, open_node, send


class Desk(dinemic.DModel):
    tray = dinemic.DField("tray")
    guests = dinemic.DField("guests", access="open")


class Clerk(dinemic.DModel):
    pass


@dataclass(frozen=True)
class Office:
    """A desk whose clerk wrote on, unseen, after he had been revoked; and by whom."""

    home: Path
    desk: str
    plain: str
    """Another desk, of which nobody was ever revoked."""
    boss: str
    clerk: str
    keys: dict[str, str]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    directory = tmp_path_factory.mktemp("access")
    a = open_node(directory / "a", "rocksdb")
    b = open_node(directory / "b")
    try:
        with acting(b):
            boss, clerk = Clerk([]), Clerk([])
        send(b, a)
        with acting(a):
            plain = Desk([])
            desk = Desk([clerk.get_db_id()])
            desk.append_admin_authorized(boss.get_db_id())
            desk.tray.set("empty")
        exchange(a, b)
        with acting(b):
            Desk(desk.get_db_id(), boss.get_db_id()).revoke_read_authorized(clerk.get_db_id())
            Desk(desk.get_db_id(), clerk.get_db_id()).tray.set("seen")
        exchange(a, b)
        with acting(b):
            Desk(desk.get_db_id(), clerk.get_db_id()).tray.set("unseen")
            Desk(desk.get_db_id(), boss.get_db_id()).revoke_update_authorized(clerk.get_db_id())
        desk.revoke_update_authorized(clerk.get_db_id())
        desk.revoke_admin_authorized(boss.get_db_id())
        desk.append_admin_authorized(boss.get_db_id())
        desk.set_access("closed", {"tray": "open"})
        lie = replace(a.grant(object_id(boss), UPDATE), signing=object_id_key(plain))
        a.commit(object_id(desk), [lie], None)
        exchange(b, a)
        handles = {"desk": desk, "plain": plain, "boss": boss, "clerk": clerk}
        yield Office(
            directory / "a",
            desk.get_db_id(),
            plain.get_db_id(),
            boss.get_db_id(),
            clerk.get_db_id(),
            {name: handle.get_public_sign_key() for name, handle in handles.items()},
        )
    finally:
        a.close()
        b.close()


def object_id_key(handle: dinemic.DModel) -> Any:
    return handle._view.need(object_id(handle))[1].owner


def run(*words: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def json_of(*words: object) -> Any:
    return json.loads(run(*words, "--json").stdout)


def test_access_tells_who_may_what_by_which_event_of_whom(office: Office) -> None:
    found = json_of("access", office.desk, "--home", office.home)
    assert (found["id"], found["exists"]) == (office.desk, True)
    assert found["owner"] == office.keys["desk"]
    assert found["access"] == {"default": "closed", "fields": {"guests": "open", "tray": "open"}}
    log = {line["event"]: line for line in lines_of("log", office.desk, "--home", office.home)}
    since = found["access_since"]
    assert log[since["event"]]["ops"] == [{"op": "policy", "access": found["access"]}]
    holders = [
        (each["role"], each["subject"], each["key"], each["key_is_subjects"])
        for each in found["holders"]
    ]
    assert holders == [
        ("update", office.boss, office.keys["plain"], False),
        ("admin", office.boss, office.keys["boss"], True),
    ]
    for each in found["holders"]:
        event = log[each["event"]]
        assert (each["t"], each["time"], each["by"]) == (
            event["t"],
            event["time"],
            event["author"],
        )
        assert event["ops"][0]["op"] == "grant"
        assert event["ops"][0]["role"] == each["role"]
        assert each["by"]["role"] == "owner"


def lines_of(*words: object) -> list[Any]:
    return [json.loads(line) for line in run(*words, "--json").stdout.splitlines()]


def test_access_lists_every_revocation_and_what_is_void(office: Office) -> None:
    found = json_of("access", office.desk, "--home", office.home)
    log = lines_of("log", office.desk, "--home", office.home)
    revocations = [
        (each["role"], each["subject"], each["key"], each["by"]["key"], each["void"])
        for each in found["revocations"]
    ]
    clerk = (office.clerk, office.keys["clerk"])
    boss, owner = office.keys["boss"], office.keys["desk"]
    assert revocations[0] == ("read", *clerk, boss, False)
    assert sorted(revocations[1:], key=str) == sorted(
        [
            ("update", *clerk, boss, True),
            ("update", *clerk, owner, False),
            ("admin", office.boss, boss, owner, False),
        ],
        key=str,
    )
    void = [line for line in log if line["verdict"] == "void"]
    assert found["void"] == len(void) == 2
    assert {line["author"]["key"] for line in void} == {office.keys["clerk"], boss}
    assert all(line["rule"].startswith("AUTH-4: ") for line in void)
    assert all(line["rule"] is None for line in log if line["verdict"] != "void")


def test_access_in_words(office: Office) -> None:
    text = run("access", office.desk, "--home", office.home).stdout
    lines = text.splitlines()
    assert lines[0] == office.desk
    assert lines[1] == f"owner   key {office.keys['desk']}"
    assert lines[2].startswith("access  closed, but guests open, tray open, since 2")
    table = [line for line in lines if line.startswith(("update", "admin", "read"))]
    assert len(table) == 6
    plain = office.keys["plain"][:10]
    assert f"key {plain}, which is not that of {office.boss}" in table[0]
    assert [line.rstrip().endswith("void") for line in table].count(True) == 1
    assert lines[-1] == "2 events void: `dinemic log` marks them"


def test_access_of_an_object_of_which_nobody_was_ever_granted_or_revoked_anything(
    office: Office,
) -> None:
    found = json_of("access", office.plain, "--home", office.home)
    assert (found["holders"], found["revocations"], found["void"]) == ([], [], 0)
    assert found["access_since"] is None
    text = run("access", office.plain, "--home", office.home).stdout
    assert len(text.splitlines()) == 3
    assert text.rstrip().endswith(f"by event {office.plain.partition(':')[2][:10]}")


def test_log_marks_what_is_void_with_the_rule(office: Office) -> None:
    lines = run("log", office.desk, "--home", office.home).stdout.splitlines()
    void = [line for line in lines if "(void, AUTH-4: " in line]
    assert len(void) == 2
    assert sum("set tray = 'unseen'" in line for line in void) == 1
    assert sum(f"revoke update of key {office.keys['clerk'][:10]}" in line for line in void) == 1
    (unseen,) = (line for line in void if "unseen'" in line)
    assert f"revoked {office.clerk.partition(':')[2][:10]}" in unseen


def test_show_gives_only_what_stands(office: Office) -> None:
    found = json_of("show", office.desk, "--home", office.home)
    assert found["fields"]["tray"]["value"] == "seen"
    assert {(each["role"], each["key"]) for each in found["grants"]} == {
        ("update", office.keys["plain"]),
        ("admin", office.keys["boss"]),
    }


def test_access_works_without_a_keyring_and_is_wrong_of_no_object(
    office: Office, tmp_path: Path
) -> None:
    run("access", "Desk:zzzz", "--home", office.home, code=2)
    stderr = run("access", "Desk", "--home", tmp_path / "none", code=2).stderr
    assert "no node ever ran with that home" in stderr
    assert to_text(bytes(32))[:10] not in stderr
