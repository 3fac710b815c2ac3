"""`status` and `peers`: what a running node tells other processes, once or again and again."""

from __future__ import annotations

import io
import json
import signal
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dinemic import live
from dinemic.cli import figures, main, watch
from dinemic.cli.node import _changes
from dinemic.net import Divergence, NetworkStatus
from dinemic.node import Node
from dinemic_transport.rows import ModelStatus
from dinemic_transport.status import Counters, PeerStatus
from support.homes import make_home
from support.node_process import Processes, processes
from support.nodes import opened

ALARM = Divergence("Person", "e" * 52, effective_here=True)


def dinemic(*words: object) -> Result:
    return CliRunner().invoke(main, list(map(str, words)))


@pytest.fixture
def run() -> Iterator[Processes]:
    with processes() as found:
        yield found


def model(name: str, here: int, there: int, *, equal: bool | None = False) -> ModelStatus:
    return ModelStatus(name, equal, here, there, 2.5, max(0, there - here))


def peer(*models: ModelStatus, name: str = "a", **changes: Any) -> PeerStatus:
    behind = sum(each.behind for each in models)
    counters = Counters(sent=31, received=42, refused=5)
    node_id = name * 52
    found = PeerStatus(
        node_id, "h:1", True, "open", False, None, behind, 2.5, 87.6, models, counters
    )
    return replace(found, **changes)


def told(node: Node, *peers: PeerStatus, seconds: float = 10.0, **changes: Any) -> Any:
    """The document of a node with these peers."""
    network = NetworkStatus("b" * 52, ("127.0.0.1:4711",), 0, False, peers)
    status = replace(node.status(), network=network, **changes)
    return json.loads(json.dumps(live.document(status, seconds)))


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with opened(tmp_path / "home") as found:
        yield found


# -- a running node -----------------------------------------------------------------------------


def test_a_running_node_tells_of_itself_and_of_its_peers(run: Processes, tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    one = run.node("--home", first, "--metrics", "127.0.0.1:0")
    started = one.document()
    two = run.node("--home", second, "--peer", started["addresses"][0])
    other = two.document()
    assert one.document()["event"] == two.document()["event"] == "connected"

    status = json.loads(dinemic("status", "--home", first, "--json").stdout)
    assert status["running"] is True
    assert status["pid"] == one.process.pid
    assert status["node_id"] == started["node"]
    assert status["network"]["addresses"] == started["addresses"]
    text = dinemic("status", "--home", first).stdout
    assert f"node        {started['node']}\n" in text
    assert f"metrics     http://{started['metrics']}/metrics\n" in text
    assert "peers       1 peer" in text
    with urllib.request.urlopen(f"http://{started['metrics']}/metrics") as page:
        assert b'dinemic_peers{state="open"} 1\n' in page.read()

    (seen,) = json.loads(dinemic("peers", "--home", second, "--json").stdout)["peers"]
    assert (seen["node_id"], seen["address"]) == (started["node"], started["addresses"][0])
    assert (seen["dialled"], seen["state"]) == (True, "open")
    listed = dinemic("peers", "--home", first).stdout.splitlines()
    assert listed[0].split()[:3] == ["peer", "address", "link"]
    assert listed[1].startswith(other["node"])
    assert "it dialled" in listed[1]
    assert listed[2:] == ["1 peer"]


def test_watching_goes_on_until_the_node_ends(run: Processes, tmp_path: Path) -> None:
    node = run.node("--home", tmp_path / "home")
    node.document()
    command = ["status", "--home", tmp_path / "home", "--watch", "--interval", "0.1"]
    lines, documents = run.start(*command), run.start(*command, "--json")
    assert lines.line().startswith("0 peers  not in sync  behind 0  lag 0.0 s  events 0")
    assert "admitted 0.0/s" in lines.line()
    assert documents.document()["rates"] is None
    assert documents.document()["rates"] == dict.fromkeys(
        ["authored", "admitted", "sent", "received", "refused"], 0.0
    )
    assert node.end(signal.SIGTERM)[0] == 0
    code, out, err = lines.ended()
    assert (code, out.splitlines()[-1], err) == (0, "the node has ended", "")
    code, out, err = documents.ended()
    last = {"running": False, "home": str(tmp_path / "home")}
    assert (code, json.loads(out.splitlines()[-1]), err) == (0, last, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watching_ends_when_told_to_and_the_node_goes_on(
    run: Processes, tmp_path: Path, number: signal.Signals
) -> None:
    node = run.node("--home", tmp_path / "home")
    node.document()
    watching = run.start("status", "--home", tmp_path / "home", "--watch", "--interval", "3600")
    watching.line()
    assert watching.end(number) == (0, "", "")
    assert node.end(signal.SIGTERM)[0] == 0


# -- no running node ----------------------------------------------------------------------------


def test_without_a_node_status_tells_what_is_in_the_home(tmp_path: Path) -> None:
    make_home(tmp_path)
    assert json.loads(dinemic("status", "--home", tmp_path, "--json").stdout) == {
        "running": False,
        "home": str(tmp_path),
        "objects": 3,
        "events": 19,
    }
    assert dinemic("status", "--home", tmp_path).stdout.splitlines() == [
        f"home        {tmp_path}",
        "running     no node was launched with this home",
        "objects     3",
        "events      19",
    ]


@pytest.mark.parametrize("words", [["peers"], ["status", "--watch"]])
def test_what_only_a_node_can_tell_is_an_error_without_one(
    words: list[str], tmp_path: Path
) -> None:
    make_home(tmp_path)
    result = dinemic(*words, "--home", tmp_path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert str(tmp_path) in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_home_that_never_was_one_is_an_error(tmp_path: Path) -> None:
    result = dinemic("status", "--home", tmp_path / "nowhere")
    assert result.exit_code == 2
    assert "no store" in result.stderr


@pytest.mark.parametrize("interval", ["0", "-1", "nan", "soon", "4000"])
def test_an_interval_that_is_none_is_refused(interval: str, tmp_path: Path) -> None:
    result = dinemic("status", "--watch", "--interval", interval, "--home", tmp_path)
    assert result.exit_code == 2
    assert "--interval" in result.stderr


# -- in words -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("models", "words"),
    [
        ([], "settling"),
        ([model("Person", 5, 8)], "Person behind by 3"),
        ([model("Person", 8, 5)], "Person ahead by 3"),
        ([model("Person", 5, 5)], "Person differs"),
        ([model("Person", 5, 8, equal=None)], "Person unknown for 2.5 s"),
        ([model("Person", 5, 5, equal=True)], "settling"),
        ([replace(model("Person", 5, 5), divergence=ALARM)], "Person DIVERGES at eeeeeeeeee"),
        (
            [model(name, 1, 2) for name in "ABCDE"],
            "A behind by 1; B behind by 1; C behind by 1; 2 models more",
        ),
    ],
)
def test_a_peer_is_described_by_how_it_differs(
    models: list[ModelStatus], words: str, node: Node
) -> None:
    (seen,) = figures.peers_of(told(node, peer(*models)))
    assert figures.peer_state(seen) == words
    row = ("aaaaaaaaaa", "h:1", "we dialled", words, "2.5 s", "88", "42", "31", "5")
    assert figures.peer_row(seen, full=False) == row
    assert figures.peer_row(seen, full=True)[0] == "a" * 52


def test_a_peer_in_sync_or_not_open_is_just_that(node: Node) -> None:
    equal = model("Person", 5, 5, equal=True)
    synced, greeting = figures.peers_of(
        told(node, peer(equal, synced=True), peer(equal, state="greeting", dialled=False))
    )
    assert figures.peer_state(synced) == "in sync"
    assert figures.peer_row(greeting, full=False)[2:4] == ("it dialled", "greeting")


def test_the_clock_is_told_once_it_is_known(node: Node) -> None:
    document = told(node)
    assert "clock" not in dict(figures.figures(document))
    document["network"]["clock_behind_us"] = 1_250_000
    assert dict(figures.figures(document))["clock"] == "-1.250 s from the peers'"


def test_a_line_tells_of_the_worst_peer_and_of_alarms(node: Node) -> None:
    alarmed = replace(model("Person", 5, 8), divergence=ALARM)
    document = told(node, peer(model("Album", 1, 2)), peer(alarmed, lag_seconds=75.0))
    assert figures.line(document, {"sent": 1.25}).split("  ") == [
        "2 peers",
        "not in sync",
        "behind 3",
        "lag 1 min 15 s",
        "events 0",
        "sent 1.2/s",
        "DIVERGENCE in 1 model",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (10, "10 s"),
        (59, "59 s"),
        (60, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 0 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_lengths_of_time_are_for_people(seconds: float, words: str) -> None:
    assert figures.seconds_text(seconds) == words


def test_rates_are_of_the_time_between_two_looks_at_one_process(node: Node) -> None:
    before = told(node, admitted=10, refused={"a": 1})
    after = told(node, admitted=30, refused={"a": 2, "b": 2}, seconds=14.0)
    nothing = {"authored": 0.0, "sent": 0.0, "received": 0.0}
    assert figures.rates(before, after) == {**nothing, "admitted": 5.0, "refused": 0.75}
    assert figures.rates(None, after) is None
    assert figures.rates(before, before) is None
    assert figures.rates({**before, "pid": 1}, after) is None


def test_a_node_of_another_release_that_tells_other_things_is_an_error(
    node: Node, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    document = told(node)
    del document["listeners"]
    document["version"] = "99.1"
    monkeypatch.setattr(live, "ask", lambda home: document)
    result = dinemic("status", "--home", tmp_path)
    assert result.exit_code == 2
    assert "is of release '99.1' and tells other things" in result.stderr


def test_nothing_of_a_stranger_reaches_the_terminal(
    node: Node, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    forged = "h:1\x1b[2J\nforged\u202e"
    document = told(node, peer(model("Person", 1, 2), address=forged))
    document["network"]["error"] = forged
    monkeypatch.setattr(live, "ask", lambda home: document)
    for words in (["status"], ["peers"], ["peers", "--json"]):
        result = dinemic(*words, "--home", tmp_path)
        assert result.exit_code == 0
        assert not {"\x1b", "\u202e"} & set(result.stdout)
        assert "\nforged" not in result.stdout

    console = pytest.importorskip("rich.console", reason="drawn by rich")
    drawn = io.StringIO()
    console.Console(file=drawn, force_terminal=True, width=300).print(
        watch._picture(document, {"sent": 1.0})
    )
    assert "\\x1b[2J\\nforged\\u202e" in drawn.getvalue()
    assert "\x1b[2J" not in drawn.getvalue()
    assert "\u202e" not in drawn.getvalue()


# -- what `node` prints -------------------------------------------------------------------------


def test_a_divergence_is_told_when_it_comes_and_when_it_goes() -> None:
    fine = peer(model("Person", 5, 5, equal=True))
    alarmed = peer(replace(model("Person", 5, 5), divergence=ALARM))
    name = fine.node_id
    text = "DIVERGENCE with aaaaaaaaaa in Person: event eeeeeeeeee has effect here and not there; "
    text += "run 'dinemic audit' on both nodes"
    (line,) = _changes({name: fine}, {name: alarmed})
    assert line == (
        {
            "event": "divergence",
            "node": name,
            "model": "Person",
            "event_id": "e" * 52,
            "effective_here": True,
        },
        text,
    )
    assert list(_changes({name: alarmed}, {name: alarmed})) == []
    assert list(_changes({name: alarmed}, {name: fine})) == [
        (
            {"event": "agreement", "node": name, "model": "Person"},
            "agreement with aaaaaaaaaa in Person again",
        )
    ]
    assert [line["event"] for line, _ in _changes({}, {name: alarmed})] == [
        "connected",
        "divergence",
    ]
    assert [line["event"] for line, _ in _changes({name: alarmed}, {})] == ["disconnected"]
