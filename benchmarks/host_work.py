"""What a host of `bench_network` does, in a process of its own; the answers are plain values.

Instants are of `time.monotonic`, one clock for all processes of a machine: what one host stamps,
another can compare with its own time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from statistics import median, quantiles
from typing import Final, TypedDict

import dinemic
from benchmarks.workloads import Person, Writer, verifying
from dinemic.net import Network
from dinemic.node import Node
from dinemic_engine.event import Event

SECONDS_MAX: Final = 900.0
"""For anything to come about: far above what a slow machine takes."""

_LOADED_AT_ONCE: Final = 4096
_LOOK_SECONDS: Final = 0.002
_OPTIONS: Final = {"listen": "127.0.0.1:0", "discover": False, "loglevel": "error"}


class Took(TypedDict):
    """What something took: seconds on the wall, and of CPU time of all threads of this host."""

    wall_s: float
    cpu_s: float


class Latency(TypedDict):
    """From a write on one host to the listener of another, in milliseconds."""

    median_ms: float
    p99_ms: float


# -- one host -------------------------------------------------------------------------------------


def prepare(home: str) -> None:
    """Open the store, without a network."""
    dinemic.prepare(home, **_OPTIONS)


def launch(home: str, *peers: str) -> str:
    """Join the network of `peers`; where this host listens."""
    return _network(dinemic.launch(home, peers=peers, **_OPTIONS)).addresses[0]


def load(home: str, events: int, objects: int) -> None:
    """Keep that many events of so many objects; signed here, and so not checked again."""
    node = dinemic.prepare(home, **_OPTIONS)
    stream = islice(_written(objects), events)
    while part := list(islice(stream, _LOADED_AT_ONCE)):
        node.import_events(part, time.time_ns() // 1000)
    node.flush()


def write_home(home: str, events: int, objects: int) -> None:
    """Write that many events to so many objects, through handles, without a network; then end.

    At its end a node signs what it made lately together (EV-10).
    """
    dinemic.prepare(home, **_OPTIONS)
    people = [Person([]) for _ in range(objects)]
    for number in range(events - objects):
        people[number % objects].name.set(f"name {number}")
    dinemic.shutdown()


def _written(objects: int) -> Iterator[Event]:
    """Events of that many writers in turns, without an end."""
    writers = [Writer(1_000 + number) for number in range(objects)]
    for writer in writers:
        yield from writer.events
    while True:
        for writer in writers:
            yield from writer.write(1)
            del writer.events[:-1]


_verifying: Final = cache(verifying)


def verify(count: int) -> Took:
    """Check so many signatures on one thread; the same ones each time."""
    return _timed(_verifying(count))


def _timed(run: Callable[[], object]) -> Took:
    wall, cpu = time.monotonic(), time.process_time()
    run()
    return {"wall_s": time.monotonic() - wall, "cpu_s": time.process_time() - cpu}


def events() -> int:
    """How many are here."""
    return _node().view.tip().seq


def digest() -> str:
    """Of every object here."""
    return _node().view.digest_all().hex()


def cpu_seconds() -> float:
    """CPU time of this process so far, of all its threads."""
    return time.process_time()


def resident_mib() -> float:
    """Memory of this process that is in RAM, files of the store that are mapped included."""
    fields = Path("/proc/self/status").read_text(encoding="ascii").split()
    return int(fields[fields.index("VmRSS:") + 1]) / 1024


def dropped() -> int:
    """News that were not sent or not taken, for want of room."""
    return sum(peer.counters.dropped for peer in _network(_node()).status().peers)


# -- some hosts together --------------------------------------------------------------------------


def catch_up(home: str, peer: str) -> Took:
    """Join the network of a peer, and have all it has."""

    def join() -> None:
        launch(home, peer)
        in_sync()

    return _timed(join)


def in_sync() -> None:
    """Return when every peer is known to have the same events."""
    if not dinemic.wait_synced(SECONDS_MAX):
        raise TimeoutError(f"not in sync after {SECONDS_MAX} s")


def meet(others: int) -> None:
    """Return when so many peers are connected and equal."""
    _wait(lambda: len(_network(_node()).status().peers) >= others)
    in_sync()


def write(events: int) -> float:
    """Write as fast as it goes, to a new object; the instant it began."""
    began = time.monotonic()
    person = Person([])
    for number in range(events):
        person.name.set(f"name {number}")
    return began


def write_evenly(events: int, per_second: float) -> None:
    """Write instants as they are to a new object, so many in a second."""
    person = Person([])
    began = time.monotonic()
    for number in range(events):
        time.sleep(max(0.0, began + number / per_second - time.monotonic()))
        person.name.set(time.monotonic())


def arrived(events: int) -> float:
    """The instant when that many events were here, those of its own included."""
    node = _node()
    _wait(lambda: node.view.tip().seq >= events)
    return time.monotonic()


class _Stopwatch(dinemic.DAction):
    def __init__(self) -> None:
        super().__init__()
        self.found_ms: list[float] = []

    def on_updated(self, object_id: str, field: str, old_value: object, new_value: object) -> None:
        assert isinstance(new_value, float), "an instant of write_evenly"
        self.found_ms.append((time.monotonic() - new_value) * 1e3)


_stopwatch: Final = _Stopwatch()


def listen() -> None:
    """Note from now on how long what `write_evenly` writes elsewhere takes to a listener here."""
    _stopwatch.apply("Person:[id]:value_name")


def latency(events: int) -> Latency:
    """Of so many writes since `listen`, and listen no more."""
    _wait(lambda: len(_stopwatch.found_ms) >= events)
    _stopwatch.revoke("Person:[id]:value_name")
    found = _stopwatch.found_ms
    return {"median_ms": median(found), "p99_ms": quantiles(found, n=100)[98]}


def _node() -> Node:
    return dinemic.prepare()


def _network(node: Node) -> Network:
    assert node.network is not None, "launched before"
    return node.network


def _wait(holds: Callable[[], bool]) -> None:
    """Look until something holds; seldom enough not to be in the way."""
    end = time.monotonic() + SECONDS_MAX
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"not after {SECONDS_MAX} s")
        time.sleep(_LOOK_SECONDS)
