"""The network: catching up, gossip and latency of processes on one machine; what they weigh."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.harness import (
    Figure,
    Goal,
    Ratio,
    Report,
    Size,
    Spent,
    Timings,
    costs,
    machine,
    rate_ratio,
)
from benchmarks.host_work import Latency, Took
from benchmarks.hosts import Host, Stage, at_once, stage
from benchmarks.workloads import hash_of


class Parameters(NamedTuple):
    """How many events each part is about, and how often catching up is timed."""

    catch_up: int
    objects: int
    blocks: int
    verified: int
    pair: int
    each_of_five: int
    evenly: int
    stored: int


PARAMETERS: dict[Size, Parameters] = {
    "small": Parameters(64, 4, 1, verified=32, pair=32, each_of_five=4, evenly=16, stored=64),
    "large": Parameters(
        100_000,
        64,
        3,
        verified=20_000,
        pair=20_000,
        each_of_five=2_000,
        evenly=2_000,
        stored=1_000_000,
    ),
}
PER_SECOND = 100.0


def run(size: Size) -> Report:
    """Time it."""
    given = PARAMETERS[size]
    large = size == "large"

    def at_least(bound: float) -> Goal | None:
        return Goal(">=", bound) if large else None

    def at_most(bound: float) -> Goal | None:
        return Goal("<=", bound) if large else None

    with stage() as hosts:
        timings, digest = _catch_up(hosts, given)
        idle, full = _memory(hosts, given)
        pair, latency = _pair(hosts, given)
        five = _five(hosts, given)
    ratios: list[Ratio] = [
        rate_ratio(timings, "catch up", "verify on all cores", goal=at_least(0.6)),
        rate_ratio(timings, "catch up, each signed alone", "verify on all cores"),
        rate_ratio(timings, "catch up", "verify"),
        rate_ratio(timings, "verify on all cores", "verify"),
    ]
    figures = [
        *costs(timings),
        Figure("gossip of two hosts, events/s", pair.per_second, "1/s", goal=at_least(5_000)),
        Figure("gossip of two hosts, came as news", pair.as_news, "%", goal=at_least(100)),
        Figure("gossip of five hosts, events/s", five.per_second, "1/s", goal=at_least(1_500)),
        Figure("latency, median", latency["median_ms"], "ms"),
        Figure("latency, p99", latency["p99_ms"], "ms", goal=at_most(20)),
        Figure("resident memory, idle", idle, "MiB", goal=at_most(70)),
        Figure("resident memory, store filled", full, "MiB", goal=at_most(200)),
    ]
    result = hash_of(digest, list(pair.events), list(five.events))
    return Report("network", str(__doc__), result, ratios, figures)


def _catch_up(hosts: Stage, given: Parameters) -> tuple[Timings, str]:
    """Each block: a fresh host fetches all that another has; then one core checks, then all do.

    What was written through handles its author signed together at the end (EV-10). `each signed
    alone` is what came to the giver as news. The CPU time of catching up is that of the host that
    does, all its threads; `giving` is that of the other.
    """
    writer, alone = hosts.start(), hosts.start()
    writer.do("write_home", writer.home, given.catch_up, given.objects)
    hosts.end(writer)
    alone.do("load", alone.home, given.catch_up, given.objects)
    together = hosts.start()
    givers = {
        "catch up": (together, together.do("launch", writer.home)),
        "catch up, each signed alone": (alone, alone.do("launch", alone.home)),
    }
    cores = [hosts.start() for _ in range(int(machine()["cores"]))]
    at_once(cores, "verify", given.verified)  # signs what is checked, too
    timings: Timings = {name: [] for name in (*givers, "giving", "verify", "verify on all cores")}
    digests = {name: {giver.do("digest")} for name, (giver, _) in givers.items()}
    for _ in range(given.blocks):
        for name, (giver, address) in givers.items():
            host = hosts.start()
            host.do("prepare", host.home)
            before: float = giver.do("cpu_seconds")
            took: Took = host.do("catch_up", host.home, address)
            giving: Took = {"wall_s": took["wall_s"], "cpu_s": giver.do("cpu_seconds") - before}
            digests[name].add(host.do("digest"))
            hosts.end(host)
            timings[name].append(_spent([took], given.catch_up))
            if giver is together:
                timings["giving"].append(_spent([giving], given.catch_up))
        timings["verify"].append(_spent([cores[0].do("verify", given.verified)], given.verified))
        checked: list[Took] = at_once(cores, "verify", given.verified)
        timings["verify on all cores"].append(_spent(checked, given.verified * len(cores)))
    hosts.end()
    assert all(len(found) == 1 for found in digests.values()), "all that was there came"
    return timings, digests["catch up, each signed alone"].pop()


def _spent(took: Sequence[Took], count: int) -> Spent:
    """Of hosts that did `count` operations together."""
    wall, cpu = max(each["wall_s"] for each in took), sum(each["cpu_s"] for each in took)
    return Spent(wall * 1e6 / count, cpu * 1e6 / count)


def _memory(hosts: Stage, given: Parameters) -> tuple[float, float]:
    """MiB of a host with nothing to do, and of one that opened a filled store and wrote to it."""
    filler, idle, full = hosts.start(), hosts.start(), hosts.start()
    filler.do("load", filler.home, given.stored, given.objects)
    hosts.end(filler)
    idle.do("launch", idle.home)
    full.do("launch", filler.home)
    full.do("write", 1)
    weights: tuple[float, float] = idle.do("resident_mib"), full.do("resident_mib")
    hosts.end()
    return weights


class Gossiped(NamedTuple):
    """Events in a second until every host had all, and how many each then had."""

    per_second: float
    events: list[int]
    as_news: float
    """Per cent; the rest found no room and came by a catch-up."""


def _pair(hosts: Stage, given: Parameters) -> tuple[Gossiped, Latency]:
    """Two hosts: how long one event takes among a few, then how many pass in a second."""
    writer, reader = _mesh(hosts, 2)
    reader.do("listen")
    writer.do("write_evenly", given.evenly, PER_SECOND)
    latency: Latency = reader.do("latency", given.evenly)
    found = _gossip([writer, reader], [writer], given.pair)
    hosts.end()
    return found, latency


def _five(hosts: Stage, given: Parameters) -> Gossiped:
    mesh = _mesh(hosts, 5)
    found = _gossip(mesh, mesh, given.each_of_five)
    hosts.end()
    return found


def _mesh(hosts: Stage, count: int) -> list[Host]:
    """So many hosts, each linked with each."""
    mesh = [hosts.start() for _ in range(count)]
    addresses: list[str] = []
    for host in mesh:
        addresses.append(host.do("launch", host.home, *addresses))
    mesh[0].do("write", 1)  # what two nodes without an event share, nobody asks
    at_once(mesh, "meet", count - 1)
    return mesh


def _gossip(mesh: Sequence[Host], writers: Sequence[Host], events: int) -> Gossiped:
    """All `writers` write that many events at once, as fast as they can."""
    before: int = mesh[0].do("events")
    began: list[float] = at_once(writers, "write", events)
    total = len(writers) * (1 + events)
    ended: list[float] = at_once(mesh, "arrived", before + total)
    as_news = 100 * (1 - sum(at_once(mesh, "dropped")) / total)
    return Gossiped(total / (max(ended) - min(began)), at_once(mesh, "events"), as_news)
