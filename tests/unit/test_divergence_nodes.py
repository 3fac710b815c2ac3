"""Two real nodes, one of which judges wrongly: both say so and name the event (VETO-4)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from dinemic.net import Network
from dinemic.node import Node
from dinemic_engine import access
from dinemic_engine.edits import Set
from dinemic_engine.event import Event
from dinemic_engine.ids import to_text
from dinemic_engine.ops import UPDATE
from dinemic_engine.ranges import HIGHEST, LOWEST
from dinemic_engine.store.layout import AUTHORIZED
from dinemic_transport.arrivals import event_id_untrusted
from dinemic_transport.rows import Divergence
from dinemic_transport.status import NetworkStatus
from support.clocks import wait_until
from support.graphs import CLERK, OWNER, child, team
from support.guarded import FIELDS, NoEve, Person
from support.nodes import Linked, acting, object_id, open_node
from support.session_pair import Pair

SOURCE = b"p" * 32


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    """One that is right, and one that will be wrong."""
    with ExitStack() as stack:
        right, wrong = open_node(tmp_path / "right"), open_node(tmp_path / "wrong")
        stack.callback(right.close)
        stack.callback(wrong.close)
        yield right, wrong


def give(node: Node, *events: Event) -> None:
    assert node.ingest(SOURCE, [event.raw for event in events]).invalid == ()


def plant(
    nodes: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch, *, built_upon: bool = False
) -> Event:
    """Give both the same events; the event that a revocation makes void on the right one only."""
    right, wrong = nodes
    first = team()
    written = child(first, CLERK, Set("n", 1))
    unseen = child(written, CLERK, Set("n", 2))
    revoked = child(written, OWNER, CLERK.revoke(UPDATE))
    for node in nodes:
        give(node, first, written, unseen)
    give(right, revoked)
    with monkeypatch.context() as patch:
        patch.setattr(access, "verdict", lambda rows, row, event, place: AUTHORIZED)
        give(wrong, revoked)
    if built_upon:
        for node in nodes:
            give(node, child([unseen, revoked], OWNER, Set("m", 3)))
    sets = {node.fingerprint("Person", LOWEST, HIGHEST) for node in nodes}
    assert (len(sets) == 1) is built_upon
    return unseen


@pytest.mark.parametrize("built_upon", [False, True], ids=["inert on one", "counted on both"])
def test_a_node_that_ignores_a_revocation_is_found_out(
    nodes: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch, built_upon: bool
) -> None:
    unseen = plant(nodes, monkeypatch, built_upon=built_upon)
    right, wrong = nodes
    pair = Pair(Linked(right), Linked(wrong), event_id_untrusted)
    pair.run(5)
    for node, here in ((pair.small, False), (pair.large, True)):
        (status,) = node.session.status(pair.now)
        assert status.divergence == Divergence("Person", to_text(unseen.id), effective_here=here)
        assert node.session.counters.divergences == 1


def test_i_08_a_node_whose_guard_refuses_what_others_let_pass_raises_no_alarm(
    nodes: tuple[Node, Node],
) -> None:
    strict, free = nodes
    with acting(strict):
        NoEve().apply(FIELDS)
    pair = Pair(Linked(strict), Linked(free), event_id_untrusted)
    with acting(free):
        person = Person([])
        person.name.set("Bob")
        person.name.set("Eve")
    pair.run(1)
    wait_until(lambda: any(each.veto for each in strict.view.withheld(object_id(person))))
    pair.run(30)
    digests = [node.view.view_digest(object_id(person)) for node in nodes]
    assert digests[0] != digests[1]
    for node in (pair.small, pair.large):
        assert node.gossip.synced
        assert node.session.counters.comparisons == 0


def test_two_nodes_on_a_network_show_it_in_their_status(
    nodes: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    unseen = plant(nodes, monkeypatch)
    peers: list[str] = []
    for node in nodes:
        network = Network(
            node, node.keyring.node_key.seed, listen="127.0.0.1:0", peers=peers, discover=False
        )
        network.start()
        node.network = network  # closed with the node
        peers = [network.addresses[0]]
    for node, here in zip(nodes, (False, True), strict=True):
        status = diverged(node)
        assert not status.synced
        (model,) = status.peers[0].models
        assert model.divergence == Divergence("Person", to_text(unseen.id), effective_here=here)
    assert sum("DIVERGENCE" in record.getMessage() for record in caplog.records) == 2


def diverged(node: Node) -> NetworkStatus:
    """What the network of a node says once it has raised an alarm."""

    def said() -> NetworkStatus:
        status = node.status().network
        assert status is not None
        return status

    wait_until(lambda: said().divergences > 0)
    assert said().divergences == 1
    return said()
