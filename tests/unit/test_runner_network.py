"""`dinemic.net.Network` as a node uses it: real threads, real TLS on loopback, signed events."""

import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
import trio

from dinemic.net import Network
from dinemic_engine.errors import StoreError, TransportError, UsageError
from dinemic_engine.event import sign_event
from dinemic_engine.keys import SealingKey, SigningKey
from dinemic_engine.ops import SUITE_X25519, Create, Policy
from support.dict_replica import DictReplica, read_signed

KEY = b"a cluster key of some length"


def test_a_transport_whose_package_is_missing_is_a_usage_error_that_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in [name for name in sys.modules if name.startswith("dinemic_transport.iroh_")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "iroh", None)
    with pytest.raises(UsageError, match=r"dinemic\[iroh\]"):
        Network(DictReplica(), bytes(32), transport="iroh")


def signed_events(count: int, start: int = 1) -> list[bytes]:
    """Genesis events of as many objects."""
    events = []
    for number in range(start, start + count):
        key = SigningKey(number.to_bytes(32, "big"))
        sealing = SealingKey(number.to_bytes(32, "little")).public
        create = Create("Person", SUITE_X25519, sealing, Policy())
        events.append(sign_event(key, None, number, [], [create]).raw)
    return events


@contextmanager
def networked(
    replica: DictReplica, *, seed: int, peers: tuple[str, ...] = (), key: bytes | None = KEY
) -> Iterator[Network]:
    network = Network(
        replica,
        seed.to_bytes(32, "big"),
        listen="127.0.0.1:0",
        peers=peers,
        discover=False,
        cluster="tests",
        cluster_key=key,
    )
    replica.announce = network.announce
    network.start()
    try:
        yield network
    finally:
        network.stop()


def eventually(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about in time"
        threading.Event().wait(0.01)


def test_two_nodes_catch_up_and_then_push_over_tls() -> None:
    one = DictReplica(signed_events(300), read=read_signed)
    two = DictReplica(signed_events(200, start=1000), read=read_signed)
    with networked(one, seed=1) as first, networked(two, seed=2, peers=first.addresses) as second:
        assert second.wait_synced(20)
        assert first.wait_synced(20)
        assert len(one.ids) == 500
        assert one.ids == two.ids
        for number, (author, network) in enumerate([(one, first), (two, second)]):
            author.author(signed_events(20, start=5000 + 100 * number))
            assert network.wait_synced(20)
            assert one.ids == two.ids
        assert first.wait_synced(20)  # each side knows for itself, the other perhaps a moment later
        (peer,) = first.status().peers
        assert (peer.state, peer.synced, peer.dialled) == ("open", True, False)
        assert peer.counters.refused == 0
        assert [(row.model, row.equal, row.here) for row in peer.models] == [("Person", True, 540)]


def test_a_wrong_cluster_key_gets_nowhere() -> None:
    one = DictReplica(signed_events(3), read=read_signed)
    stranger = DictReplica(read=read_signed)
    with (
        networked(one, seed=1) as first,
        networked(
            stranger, seed=2, peers=first.addresses, key=b"another key of a length"
        ) as second,
    ):
        assert not second.wait_synced(1.0)
        assert stranger.ids == frozenset()
        assert first.status().peers == ()


def test_calls_work_from_a_thread_that_runs_trio_itself() -> None:
    one, two = (DictReplica(read=read_signed) for _ in range(2))

    async def main() -> None:
        with (
            networked(one, seed=1) as first,
            networked(two, seed=2, peers=first.addresses) as second,
        ):
            assert await trio.to_thread.run_sync(second.wait_synced, 20.0)
            assert second.status().synced
            assert second.wait_synced(1.0)

    trio.run(main)


def test_stop_is_quick_leaves_no_thread_and_ends_waiting() -> None:
    before = threading.active_count()
    one = DictReplica(read=read_signed)
    with networked(one, seed=1) as network:
        answers: list[bool] = []
        waiting = threading.Thread(target=lambda: answers.append(network.wait_synced(60)))
        waiting.start()
        eventually(lambda: network._nursery is not None and len(network._nursery.child_tasks) == 1)
        start = time.monotonic()
        network.stop()
        assert time.monotonic() - start < 1.0
        waiting.join(5)
        assert answers == [False]
        network.stop()
        assert not network.wait_synced(1.0)
        assert network.status().peers == ()
        assert network.status().error is None
        network.announce("Person", signed_events(1))
        with pytest.raises(UsageError, match="started before"):
            network.start()
    eventually(lambda: threading.active_count() <= before + 4)  # trio keeps a few idle workers


def test_a_node_that_stops_says_goodbye(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with (
        networked(DictReplica(), seed=1) as first,
        networked(DictReplica(), seed=2, peers=first.addresses) as second,
    ):
        assert second.wait_synced(20)
        first.stop()
        eventually(lambda: second.status().peers == ())
    assert "the peer said: this node stops" in caplog.text


def test_a_port_in_use_is_an_error_that_names_it() -> None:
    with networked(DictReplica(), seed=1) as first:
        (address,) = first.addresses
        second = Network(DictReplica(), os.urandom(32), listen=address, discover=False)
        with pytest.raises(TransportError, match=address):
            second.start()
        second.stop()


def test_a_failure_inside_is_logged_and_in_the_status(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(DictReplica):
        def model_names(self) -> tuple[str, ...]:
            raise StoreError("the disk is gone")

    with (
        networked(DictReplica(), seed=1) as first,
        networked(Failing(), seed=2, peers=first.addresses) as second,
    ):
        eventually(lambda: second.status().error is not None)
        assert second.status().error == "StoreError: the disk is gone"
        assert not second.wait_synced(1.0)
        assert second.status().peers == ()
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    assert "failed" in errors[0].message


def test_an_open_cluster_is_said_once_at_warning(caplog: pytest.LogCaptureFixture) -> None:
    with networked(DictReplica(), seed=1, key=None):
        pass
    with networked(DictReplica(), seed=1):
        pass
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "no cluster key" in warnings[0]


def test_a_peer_that_is_no_address_is_refused() -> None:
    with pytest.raises(UsageError, match="host:port"):
        Network(DictReplica(), bytes(32), peers=["nonsense"], discover=False)


def test_a_call_that_hangs_in_the_application_does_not_hold_up_stop() -> None:
    held = threading.Event()

    class Hanging(DictReplica):
        def ingest(self, source, events):  # type: ignore[no-untyped-def]
            held.wait(30)
            return super().ingest(source, events)

    one = DictReplica(signed_events(5), read=read_signed)
    with ExitStack() as stack:
        first = stack.enter_context(networked(one, seed=1))
        hanging = Hanging(read=read_signed)
        second = stack.enter_context(networked(hanging, seed=2, peers=first.addresses))
        eventually(lambda: isinstance(busy_in(second), str))
        start = time.monotonic()
        second.stop()
        assert time.monotonic() - start < 1.0
        held.set()
    gc.collect()


def busy_in(network: Network) -> str | None:
    for connection in network._runner._connections.values():
        if connection.session._work.is_judging:
            return "ingest"
    return None
