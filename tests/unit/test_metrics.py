"""The figures for Prometheus: read by its own parser, of bounded size, and served to GET alone."""

from __future__ import annotations

import re
import socket
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

import dinemic
from dinemic import metrics
from dinemic.net import Divergence, NetworkStatus
from dinemic.node import Node, Status
from dinemic_engine.errors import Reason, TransportError
from dinemic_transport.rows import ModelStatus
from dinemic_transport.status import Counters, PeerStatus
from support.nodes import QUIET

pytestmark = pytest.mark.usefixtures("stopped")
ALONE = QUIET | {"cluster_key": "a key for these tests only", "store": "memory"}


def peer(number: int, *, behind: int = 0, lag: float = 0.0, state: str = "open") -> PeerStatus:
    alarm = Divergence("Person", "e" * 52, effective_here=True) if number == 1 else None
    models = (ModelStatus("Person", False, 5, 5 + behind, lag, behind, alarm),)
    node_id = f"{number:04}".translate(str.maketrans("0189", "abcd")).ljust(52, "a")
    counters = Counters(sent=3, received=4)
    return PeerStatus(node_id, "h:1", True, state, False, None, behind, lag, -2.5, models, counters)


@pytest.fixture
def busy(node: Node) -> Status:
    """The status of a node that has seen everything."""
    peers = (peer(1, behind=7, lag=1.5), peer(2, state="greeting"))
    total = Counters(*range(1, len(fields(Counters)) + 1))
    network = NetworkStatus("b" * 52, ("h:2",), 9, False, peers, counters=total, divergences=4)
    network = replace(network, clock_behind_us=-1_500_000)
    refused = {Reason.SIGNATURE.value: 2, Reason.UNAUTHORIZED.value: 1}
    return replace(node.status(), refused=refused, admitted=123_456_789, network=network)


def families(text: str) -> dict[str, Metric]:
    """By name, as Prometheus' own library reads them."""
    found = list(text_string_to_metric_families(text))
    assert max(Counter(family.name for family in found).values()) == 1
    return {family.name: family for family in found}


def value(found: dict[str, Metric], name: str, **labels: str) -> float:
    (sample,) = [each for each in found[name].samples if labels.items() <= each.labels.items()]
    return float(sample.value)


# -- the text -----------------------------------------------------------------------------------


def test_what_a_status_says_is_what_prometheus_reads(busy: Status) -> None:
    found = families(metrics.exposition(busy))
    assert value(found, "dinemic_info", version=dinemic.__version__, relay="false") == 1
    assert value(found, "dinemic_events_admitted") == 123_456_789
    assert value(found, "dinemic_events_refused", reason="EV-9/signature") == 2
    assert value(found, "dinemic_events_refused", reason="AUTH-5/closed") == 1
    assert value(found, "dinemic_peers", state="open") == 1
    assert value(found, "dinemic_peers", state="greeting") == 1
    assert value(found, "dinemic_network_up") == 1
    assert value(found, "dinemic_synced") == 0
    assert value(found, "dinemic_known_addresses") == 9
    assert value(found, "dinemic_behind_events") == 7
    assert value(found, "dinemic_clock_behind_seconds") == -1.5
    assert value(found, "dinemic_divergence_alarms") == 4
    assert value(found, "dinemic_divergent_models") == 1
    one = busy.network.peers[0].node_id[:10]  # type: ignore[union-attr]
    assert value(found, "dinemic_peer_behind_events", peer=one) == 7
    assert value(found, "dinemic_peer_lag_seconds", peer=one) == 1.5
    assert value(found, "dinemic_peer_score", peer=one) == -2.5
    for number, field in enumerate(fields(Counters), 1):
        assert value(found, f"dinemic_links_{field.name}") == number


def test_every_name_follows_the_conventions(busy: Status) -> None:
    text = metrics.exposition(busy)
    assert text.endswith("\n")
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    assert set(re.findall(r"^# HELP (\S+) \S", text, re.MULTILINE)) == set(kinds)
    for name, kind in kinds.items():
        assert re.fullmatch(r"dinemic_[a-z]+(_[a-z]+)*", name), name
        assert (kind == "counter") == name.endswith("_total"), name
        assert kind in ("counter", "gauge"), name


def test_a_node_without_a_network_or_whose_network_failed_has_a_page_too(busy: Status) -> None:
    assert "dinemic_peers" not in families(metrics.exposition(replace(busy, network=None)))
    assert busy.network is not None
    stopped = replace(busy.network, error="OSError: gone", peers=())
    found = families(metrics.exposition(replace(busy, network=stopped)))
    assert value(found, "dinemic_network_up") == 0


def test_nobody_can_make_the_page_long_and_who_is_furthest_behind_is_on_it(busy: Status) -> None:
    assert busy.network is not None
    crowd = tuple(peer(number, behind=number) for number in range(2000))
    text = metrics.exposition(replace(busy, network=replace(busy.network, peers=crowd)))
    found = families(text)
    behind = [sample.value for sample in found["dinemic_peer_behind_events"].samples]
    assert behind == list(range(1999, 1999 - metrics.PEERS_TOLD_MAX, -1))
    assert len(text) < 30_000


def test_no_id_in_full_and_no_name_of_a_user_is_on_the_page(busy: Status) -> None:
    text = metrics.exposition(busy)
    assert "Person" not in text
    assert not re.search(r"[a-z2-7]{30}", text)


def test_labels_are_escaped(busy: Status) -> None:
    odd = 'a"b\\c\nd'
    found = families(metrics.exposition(replace(busy, refused={odd: 1})))
    assert value(found, "dinemic_events_refused", reason=odd) == 1


# -- HTTP ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"200 OK"),
        (b"GET /metrics?x=1 HTTP/1.0\r\n\r\n", b"200 OK"),
        (b"HEAD /metrics HTTP/1.1\r\n\r\n", b"200 OK"),
        (b"GET / HTTP/1.1\r\n\r\n", b"404 Not Found"),
        (b"GET /metrics/ HTTP/1.1\r\n\r\n", b"404 Not Found"),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 9\r\n\r\nshutdown!", b"405 "),
        (b"DELETE /metrics HTTP/1.1\r\n\r\n", b"405 "),
        (b"GET /metrics HTTP/2\r\n\r\n", b"400 "),
        (b"GET  /metrics HTTP/1.1\r\n\r\n", b"400 "),
        (b"\x16\x03\x01\r\n\r\n", b"400 "),
        (b"\r\n\r\n", b"400 "),
    ],
)
def test_only_a_get_of_the_one_path_is_answered_with_figures(
    said: bytes, status: bytes, node: Node
) -> None:
    answer = metrics.answer_untrusted(said, node.status)
    assert answer is not None
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *headers = head.split(b"\r\n")
    assert first.startswith(b"HTTP/1.1 " + status)
    assert (b"dinemic_" in body) == (status == b"200 OK" and said.startswith(b"GET"))
    length = dict(line.split(b": ") for line in headers)[b"Content-Length"]
    assert int(length) == len(body) or said.startswith(b"HEAD")


def test_an_unfinished_question_is_waited_for(node: Node) -> None:
    whole = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    for end in range(len(whole)):
        assert metrics.answer_untrusted(whole[:end], node.status) is None


def get(address: str) -> str:
    """The page, fetched by hand."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=10) as asking:
        asking.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        found = b""
        while piece := asking.recv(65536):
            found += piece
    head, _, body = found.decode().partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200 OK\r\n")
    assert f"Content-Type: {metrics.CONTENT_TYPE}" in head
    return body


def test_a_launched_node_serves_them_where_it_was_told_to(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    node = dinemic.launch(tmp_path, metrics="localhost:0", **ALONE)
    address = node.status().metrics
    assert address is not None
    assert value(families(get(address)), "dinemic_network_up") == 1
    assert caplog.records == []
    dinemic.shutdown()
    with pytest.raises(ConnectionRefusedError):
        get(address)


def test_without_being_told_it_serves_them_nowhere(tmp_path: Path) -> None:
    assert dinemic.launch(tmp_path, **ALONE).status().metrics is None


def test_an_address_that_others_reach_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dinemic.launch(tmp_path, metrics="0.0.0.0:0", **ALONE)
    (record,) = caplog.records
    assert (record.levelname, record.name) == ("WARNING", "dinemic.metrics")
    assert "whoever reaches" in record.message


def test_an_address_that_is_taken_is_an_error_and_another_can_be_tried(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(TransportError, match=f"no metrics: cannot listen on {address}"):
            dinemic.launch(tmp_path, metrics=address, **ALONE)
    node = dinemic.launch(tmp_path, metrics="127.0.0.1:0", **ALONE)
    assert node.status().metrics is not None
