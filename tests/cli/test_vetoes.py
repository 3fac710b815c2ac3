"""`dinemic vetoes` on a home whose program had guards, and what `log` and `show` tell of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import dinemic
from dinemic.cli import main
from dinemic_engine.ids import to_text
from support.nodes import acting, object_id, open_node, opened, send

FIELDS = "Person:[id]:value_name"


class Person(dinemic.DModel):
    name = dinemic.DField("name")
    nick = dinemic.DField("nick")


class Strict(dinemic.DAction):
    """Refuses what is no plain name."""

    def on_update(self, object_id: str, field: str, old_value: Any, new_value: Any) -> None:
        if not new_value.isalpha():
            raise ValueError(f"no name:\n{new_value}\x1b[2J")


@dataclass(frozen=True)
class Shop:
    home: Path
    vetoed: str
    """A person with a veto."""
    waits: str
    """A person with an event that its guard, which is away, has yet to see."""
    events: dict[str, str]
    """The id of each event with a veto or waiting, by the name it sets."""
    author: str


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    maker = open_node(tmp_path / "maker")
    with acting(maker):
        vetoed, waits = Person([]), Person([])
        vetoed.name.set("Bob")
        vetoed.name.set("B0b")
        vetoed.nick.set("B0bby")
    with opened(tmp_path / "shop", "rocksdb") as node:
        Strict().apply(FIELDS)
        send(maker, node)
        assert node.listeners.drain(20)
        (veto,) = node.view.withheld(object_id(vetoed))
    waits.name.set("Carol")
    with opened(tmp_path / "shop", "rocksdb") as node:
        send(maker, node)
        assert node.listeners.drain(20)
        (waiting,) = node.view.withheld(object_id(waits))
    yield Shop(
        tmp_path / "shop",
        vetoed.get_db_id(),
        waits.get_db_id(),
        {"B0b": to_text(veto.event), "Carol": to_text(waiting.event)},
        vetoed.get_public_sign_key(),
    )
    maker.close()


def run(*words: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [*map(str, words)])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def json_of(*words: object) -> Any:
    return json.loads(run(*words, "--json").stdout)


def listed(shop: Shop, *objects: str) -> dict[str, Any]:
    """What `vetoes list --json` lists, by event."""
    found = json_of("vetoes", "list", *objects, "--home", shop.home)["vetoes"]
    return {each["event"]: each for each in found}


def test_vetoes_and_what_waits_are_listed_with_who_refused_it_and_why(shop: Shop) -> None:
    found = listed(shop)
    assert set(found) == set(shop.events.values())
    veto, waiting = (found[shop.events[name]] for name in ("B0b", "Carol"))
    assert (veto["object"], waiting["object"]) == (shop.vetoed, shop.waits)
    assert (veto["waiting"], waiting["waiting"]) == (False, True)
    assert (veto["guard"], waiting["guard"], waiting["reason"]) == (
        f"{__name__}.Strict",
        None,
        None,
    )
    assert veto["reason"].startswith("no name:")
    assert veto["author"] == shop.author
    assert veto["ops"] == [{"op": "set", "field": "name", "value": "B0b"}]
    assert veto["time"].endswith("Z")
    assert isinstance(veto["t"], int)


def test_the_list_is_of_the_objects_that_are_named(shop: Shop) -> None:
    assert set(listed(shop, shop.waits)) == {shop.events["Carol"]}
    assert set(listed(shop, shop.vetoed[:20], shop.waits)) == set(shop.events.values())
    run("vetoes", "list", "Person:zzzz", "--home", shop.home, code=2)


def test_the_list_in_words_is_one_line_each_whatever_the_guard_said(shop: Shop) -> None:
    lines = run("vetoes", "list", "--home", shop.home).stdout.splitlines()
    assert lines[0].split() == ["object", "event", "time", "what", "guard", "reason"]
    assert len(lines) == 4
    assert lines[-1] == "1 veto, 1 event waiting"
    (veto,) = (line for line in lines if shop.vetoed in line)
    assert shop.events["B0b"][:10] in veto
    assert "set name = 'B0b'" in veto
    assert f"{__name__}.Strict" in veto
    assert "\x1b" not in veto
    (waiting,) = (line for line in lines if shop.waits in line)
    assert waiting.endswith("waits for the guards")


def test_vetoes_alone_lists_those_of_the_home_in_the_environment(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DINEMIC_HOME", str(shop.home))
    assert run("vetoes").stdout == run("vetoes", "list").stdout


def test_a_home_without_vetoes_says_so(tmp_path: Path) -> None:
    with opened(tmp_path, "rocksdb"):
        Person([])
    assert run("vetoes", "list", "--home", tmp_path).stdout == "0 vetoes\n"
    assert json_of("vetoes", "list", "--home", tmp_path) == {"vetoes": []}


def test_listing_changes_nothing_and_works_beside_a_running_node(shop: Shop) -> None:
    with opened(shop.home, "rocksdb"):
        assert set(listed(shop)) == set(shop.events.values())
        stderr = run("vetoes", "lift", shop.events["B0b"], "--home", shop.home, code=2).stderr
        assert str(shop.home) in stderr
    assert set(listed(shop)) == set(shop.events.values())


def test_a_lifted_veto_waits_for_its_guard_and_is_judged_when_that_is_back(shop: Shop) -> None:
    event = shop.events["B0b"]
    assert json_of("vetoes", "lift", event, "--home", shop.home) == {
        "lifted": [{"event": event, "waiting": True}]
    }
    assert listed(shop)[event]["waiting"]
    with opened(shop.home, "rocksdb") as node:
        Strict().apply(FIELDS)
        assert node.listeners.drain(20)
        assert Person(shop.vetoed).name.get() == "Bob"
    assert not listed(shop)[event]["waiting"]
    assert set(listed(shop)) == {event}, "Carol passed"


def test_a_lifted_veto_whose_guard_is_gone_has_effect_at_once(shop: Shop) -> None:
    with opened(shop.home, "rocksdb") as node:
        Strict().revoke(FIELDS)
        assert node.listeners.drain(20)
        assert Person(shop.waits).name.get() == "Carol"
    text = run("vetoes", "lift", shop.events["B0b"][:10], "--home", shop.home).stdout
    assert text == f"event {shop.events['B0b'][:10]} of {shop.vetoed} has effect now\n"
    assert listed(shop) == {}
    shown = json_of("show", shop.vetoed, "--home", shop.home)
    assert shown["fields"]["name"]["value"] == "B0b"


@pytest.mark.parametrize("which", ["Carol", "zzzz", ""])
def test_what_is_not_vetoed_cannot_be_lifted(shop: Shop, which: str) -> None:
    event = shop.events.get(which, which)
    stderr = run("vetoes", "lift", event, "--home", shop.home, code=2).stderr
    assert "0 vetoed events" in stderr


def test_one_that_fits_none_lifts_nothing(shop: Shop) -> None:
    run("vetoes", "lift", shop.events["B0b"], "zzzz", "--home", shop.home, code=2)
    assert not listed(shop)[shop.events["B0b"]]["waiting"]


def test_lift_wants_an_event_and_both_want_a_home(tmp_path: Path) -> None:
    run("vetoes", "lift", "--home", tmp_path, code=2)
    for words in (("list",), ("lift", "abcd")):
        stderr = run("vetoes", *words, "--home", tmp_path / "none", code=2).stderr
        assert "no node ever ran with that home" in stderr
    assert not (tmp_path / "none").exists()


def test_log_marks_what_has_no_effect_here_and_show_leaves_it_out(shop: Shop) -> None:
    lines = run("log", shop.vetoed, "--home", shop.home).stdout.splitlines()
    (line,) = (each for each in lines if "'B0b'" in each)
    assert f"(vetoed, VETO-1: {__name__}.Strict: no name:" in line
    (line,) = (
        each
        for each in run("log", shop.waits, "--home", shop.home).stdout.splitlines()
        if "Carol" in each
    )
    assert line.endswith("(waiting, VETO-1: not yet judged here)")
    found = [
        json.loads(line)
        for line in run("log", shop.vetoed, "--home", shop.home, "--json").stdout.splitlines()
    ]
    assert [each["verdict"] for each in found] == [
        "authorized",
        "authorized",
        "vetoed",
        "authorized",
    ]
    shown = json_of("show", shop.vetoed, "--home", shop.home)
    values = {name: field["value"] for name, field in shown["fields"].items()}
    assert values == {"name": "Bob", "nick": "B0bby"}
    assert json_of("show", shop.waits, "--home", shop.home)["fields"] == {}


def test_the_audit_of_a_home_with_vetoes_is_clean(shop: Shop) -> None:
    assert json_of("audit", "--home", shop.home)["ok"]
