"""The socket in a home: what it tells, that it takes nothing, and what is left of it."""

from __future__ import annotations

import enum
import json
import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest

import dinemic
from dinemic import live
from dinemic.net import NetworkStatus
from dinemic.node import Node
from dinemic.outlet import Outlet, Window
from dinemic_engine.errors import TransportError
from dinemic_transport.rows import ModelStatus
from dinemic_transport.status import Counters, PeerStatus
from support.nodes import QUIET

pytestmark = pytest.mark.usefixtures("stopped")
ALONE = QUIET | {"cluster_key": "a key for these tests only", "store": "memory"}


def launched(home: Path) -> Node:
    return dinemic.launch(home, **ALONE)


@contextmanager
def posing(home: Path) -> Iterator[None]:
    """Something else listens on the socket of a home, and says nothing."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(home / live.NAME))
        listener.listen()
        yield


@pytest.fixture
def answering() -> Iterator[Callable[[Path, bytes], None]]:
    """Lets something that is no node answer on the socket of a home."""
    outlets: list[Outlet] = []

    def begin(home: Path, said: bytes) -> None:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(home / live.NAME))
        listener.listen()
        outlets.append(Outlet([Window(listener, lambda _: said)]))
        outlets[-1].start()

    yield begin
    for each in outlets:
        each.stop()


# -- what it tells ------------------------------------------------------------------------------


def test_it_tells_the_status_of_a_launched_node(tmp_path: Path) -> None:
    node = launched(tmp_path)
    told = live.ask(tmp_path)
    assert told is not None
    assert (told["running"], told["version"], told["pid"]) == (
        True,
        dinemic.__version__,
        os.getpid(),
    )
    assert 0 <= told["seconds"] < 60
    status = live.plain(node.status())
    assert {name: told[name] for name in status} == status
    assert told["network"]["addresses"] == list(node.status().network.addresses)  # type: ignore[union-attr]


def test_it_is_there_only_while_the_node_runs(tmp_path: Path) -> None:
    assert live.ask(tmp_path) is None
    assert live.ask(tmp_path / "nowhere") is None
    dinemic.prepare(tmp_path, store="memory")
    assert live.ask(tmp_path) is None
    launched(tmp_path)
    assert live.ask(tmp_path) is not None
    dinemic.shutdown()
    assert live.ask(tmp_path) is None
    assert not (tmp_path / live.NAME).exists()


def test_what_is_said_to_it_changes_nothing(tmp_path: Path) -> None:
    node = launched(tmp_path)
    before = replace(node.status(), network=None)
    for words in (b"", b"shutdown\n", b'{"stop": true}', b"\0" * 5000):
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(10)
            asking.connect(str(tmp_path / live.NAME))
            try:
                asking.sendall(words)
                said = b""
                while piece := asking.recv(65536):
                    said += piece
            except (BrokenPipeError, ConnectionResetError):  # it had told and gone
                continue
            assert json.loads(said)["running"] is True
    assert replace(node.status(), network=None) == before


# -- what is left of it -------------------------------------------------------------------------


def test_only_its_user_may_open_it_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        launched(tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / live.NAME).stat().st_mode) == 0o600


def test_what_a_crash_left_is_no_node_and_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / live.NAME))
        left.listen()
    assert (tmp_path / live.NAME).exists()
    assert live.ask(tmp_path) is None
    launched(tmp_path)
    assert live.ask(tmp_path) is not None


def test_a_file_of_that_name_stays_and_the_node_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / live.NAME).write_text("mine")
    with caplog.at_level("INFO", logger="dinemic"):
        node = launched(tmp_path)
    assert "no socket" in caplog.text
    assert node.network is not None
    dinemic.shutdown()
    assert (tmp_path / live.NAME).read_text() == "mine"


def test_a_node_takes_away_its_own_socket_and_no_other(tmp_path: Path) -> None:
    launched(tmp_path)
    (tmp_path / live.NAME).unlink()
    with posing(tmp_path):
        dinemic.shutdown()
        assert (tmp_path / live.NAME).exists()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="long paths need Linux's /proc")
def test_a_home_may_have_a_long_path(tmp_path: Path) -> None:
    home = tmp_path / ("long" * 30) / ("longer" * 30)
    node = launched(home)
    told = live.ask(home)
    assert told is not None
    assert told["node_id"] == node.status().node_id
    dinemic.shutdown()
    assert not (home / live.NAME).exists()


def test_where_there_are_no_such_sockets_a_node_runs_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "socket", SimpleNamespace())  # without AF_UNIX
    node = launched(tmp_path)
    assert node.network is not None
    with pytest.raises(TransportError, match="no local sockets"):
        live.ask(tmp_path)


# -- who asks -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said", [b"no JSON", b"[]", b'{"running": false}', b"\xff\xfe", b"[" * 100_000]
)
def test_what_is_no_status_is_an_error(
    tmp_path: Path, said: bytes, answering: Callable[[Path, bytes], None]
) -> None:
    answering(tmp_path, said)
    with pytest.raises(TransportError, match="not understood"):
        live.ask(tmp_path)


def test_a_document_has_a_bound(
    tmp_path: Path,
    answering: Callable[[Path, bytes], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "DOCUMENT_BYTES_MAX", 100_000)
    answering(tmp_path, b"x" * 200_000)
    with pytest.raises(TransportError, match="more than 100000 bytes"):
        live.ask(tmp_path)


def test_one_that_does_not_answer_is_not_waited_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "ANSWER_SECONDS_MAX", 0.05)
    with posing(tmp_path), pytest.raises(TransportError, match="does not answer"):
        live.ask(tmp_path)


def test_a_node_that_ends_while_it_is_asked_does_not_run(
    tmp_path: Path, answering: Callable[[Path, bytes], None]
) -> None:
    answering(tmp_path, b"")
    assert live.ask(tmp_path) is None


# -- as JSON ------------------------------------------------------------------------------------


class Pair(NamedTuple):
    left: int
    right: str


@dataclass(frozen=True)
class Inner:
    pair: Pair
    raw: bytes


@dataclass(frozen=True)
class Outer:
    inner: Inner
    several: tuple[Inner, ...]
    words: frozenset[str]
    by_name: dict[str, float]


def test_whatever_fields_a_status_gets_are_told() -> None:
    inner = Inner(Pair(1, "x"), b"\0\1")
    found = live.plain(Outer(inner, (inner,), frozenset({"b", "a"}), {"a": 0.5, "b": float("inf")}))
    shown = {"pair": {"left": 1, "right": "x"}, "raw": "aaaq"}
    assert found == {
        "inner": shown,
        "several": [shown],
        "words": ["a", "b"],
        "by_name": {"a": 0.5, "b": None},
    }
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("value", [object(), enum, 1j])
def test_what_has_no_form_is_an_error(value: object) -> None:
    with pytest.raises(TypeError, match="no form"):
        live.plain([value])


def test_of_a_peer_that_names_thousands_of_models_those_that_differ_are_told(node: Node) -> None:
    models = tuple(
        ModelStatus(f"M{number:05}", number % 5000 != 7, 1, 1, 0.0) for number in range(16_000)
    )
    peer = PeerStatus(
        "a" * 52, "127.0.0.1:1", True, "open", False, None, 0, 0.0, 0.0, models, Counters()
    )
    network = NetworkStatus("b" * 52, (), 0, False, (peer, peer))
    document = live.document(replace(node.status(), network=network), 1.0)
    for told in document["network"]["peers"]:
        assert len(told["models"]) == live.MODELS_TOLD_MAX
        assert [model["model"] for model in told["models"] if not model["equal"]] == [
            "M00007",
            "M05007",
            "M10007",
            "M15007",
        ]
