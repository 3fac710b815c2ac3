"""Events that must be refused, held or kept waiting, sent to a real process by a peer.

What the rules say of each is tested elsewhere, row by row. Here the process gives that verdict,
cuts off whoever sends what no honest node passes on, and holds no more than its bounds.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest

from dinemic_engine.edits import Set
from dinemic_engine.errors import InvalidEvent, TransportError
from dinemic_engine.event import open_envelope_untrusted, sign_event
from dinemic_engine.ids import EventId, ObjectId, db_id
from dinemic_engine.limits import EVENT_BYTES_MAX, HOLD_US, ORPHANS_PER_SOURCE_MAX
from dinemic_engine.ops import Policy
from dinemic_transport.handshakes import (
    HANDSHAKES_PER_HOST_BURST,
    HANDSHAKES_PER_HOST_MAX,
    HANDSHAKES_PER_HOST_PER_SECOND,
)
from dinemic_transport.messages import Events, Message
from support.figures import say
from support.graphs import STRANGER, child
from support.honest_pair import GROWTH_BYTES_MAX, HonestPair
from support.hostile_peer import HostilePeer

VECTORS: Final[Mapping[str, list[dict[str, Any]]]] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "events.json").read_text("utf-8")
)
MODEL: Final = "Person"
YEAR_US: Final = 365 * 86_400_000_000
BATCH: Final = 64


def now_us() -> int:
    return time.time_ns() // 1000


def whole(vectors: Sequence[Mapping[str, Any]]) -> Iterator[tuple[bytes, str]]:
    """Bytes and reason of those that fit into messages."""
    for vector in vectors:
        repeat = vector.get("repeat", {"hex": vector.get("hex"), "times": 1})
        raw = bytes.fromhex(repeat["hex"]) * int(repeat["times"])
        if 0 < len(raw) <= EVENT_BYTES_MAX:
            yield raw, vector["reason"]


def is_enveloped(raw: bytes) -> bool:
    """Whether it comes far enough to be counted by its reason."""
    try:
        open_envelope_untrusted(raw)
    except InvalidEvent:
        return False
    return True


def offer_each(pair: HonestPair, events: Iterable[bytes]) -> int:
    """Send events one by one, as another node of another host when cut off; how many were."""
    cut = 0
    peer = HostilePeer(pair.address).greet()
    for raw in events:
        got = peer.offer(MODEL, [raw])
        if got is None:
            peer.close()
            cut += 1
            peer = HostilePeer(pair.address, source=f"127.0.4.{cut}").greet()
        else:
            assert (got.admitted, got.known) == (0, 0)
    peer.close()
    return cut


def refused_for(pair: HonestPair, vectors: Sequence[Mapping[str, Any]], worth: int) -> None:
    """Each is refused for its reason, and whoever sent more of them than `worth` is cut off."""
    events = dict(whole(vectors))
    assert len(events) > len(vectors) * 0.9
    before = (Counter(pair.refused()), pair.count("events"))
    cut = offer_each(pair, events)

    expected = Counter(reason for raw, reason in events.items() if is_enveloped(raw))
    assert Counter(pair.refused()) - before[0] == expected
    assert pair.count("events") == before[1]
    assert cut == len(events) // worth


def test_what_its_bytes_alone_refuse_is_refused_and_the_third_ends_the_session(
    pair: HonestPair,
) -> None:
    refused_for(pair, VECTORS["refused"], 3)


def test_what_its_past_refuses_is_refused_and_the_sixth_ends_the_session(pair: HonestPair) -> None:
    with HostilePeer(pair.address) as peer:
        peer.greet()
        accepted = [bytes.fromhex(vector["hex"]) for vector in VECTORS["accepted"]]
        got = peer.offer(MODEL, accepted)
        assert got is not None
        assert got.admitted + got.known == len(accepted)
    refused_for(pair, VECTORS["refused_after_accepted"], 6)


# -- what waits ------------------------------------------------------------------------------------


def orphans(count: int) -> Iterator[Message]:
    """Well signed events on an object, and on parents, that nobody has ever seen."""
    name = ObjectId(secrets.token_bytes(32))
    for _ in range(0, count, BATCH):
        batch = [
            sign_event(
                STRANGER.key, name, now_us(), [EventId(secrets.token_bytes(32))], [Set("name", 1)]
            ).raw
            for _ in range(BATCH)
        ]
        yield Events(0, MODEL, tuple(batch))


@pytest.mark.parametrize(
    ("nodes", "count", "seconds"),
    [(4, 5_000, 1.5), pytest.param(20, 50_000, 4.0, marks=pytest.mark.long)],
    ids=["20000", "10^6"],
)
def test_events_on_unknown_parents_wait_within_bounds(
    pair: HonestPair, nodes: int, count: int, seconds: float
) -> None:
    before = pair.count("events")
    waiting = 0
    for _ in range(nodes):
        with HostilePeer(pair.address) as peer:
            taken = peer.greet().pour(orphans(count), seconds)
            assert taken > 0
            waiting = max(waiting, pair.count("waiting"))
            pair.check()
            assert pair.count("waiting") <= nodes * ORPHANS_PER_SOURCE_MAX

    assert waiting > 0, "they came so far"
    assert pair.count("events") == before + 2 * nodes, "only what the pair wrote meanwhile"


def test_an_event_of_next_year_is_held_and_told_to_nobody(pair: HonestPair) -> None:
    future = sign_event(STRANGER.key, None, now_us() + YEAR_US, (), [STRANGER.create(MODEL)])
    with HostilePeer(pair.address) as peer:
        got = peer.greet().offer(MODEL, [future.raw])

        assert got is not None
        assert got.admitted == 0
        assert pair.count("held") == 1
        assert pair.refused().get("ORD-4") is None
        pair.check()
        for host in (pair.target, pair.friend):
            assert host.run(f"node.events([bytes.fromhex({future.id.hex()!r})])") == [None]


def test_a_chain_that_creeps_ahead_moves_no_clock_by_more_than_a_minute(pair: HonestPair) -> None:
    start = now_us()
    create = STRANGER.create(MODEL, Policy(is_open=True))
    chain = [sign_event(STRANGER.key, None, start + HOLD_US - 5_000_000, (), [create])]
    for number in range(200):
        later = chain[-1].t + 500_000
        chain.append(child(chain[-1], STRANGER, Set("name", number), t=later))
    with HostilePeer(pair.address) as peer:
        got = peer.greet().offer(MODEL, [event.raw for event in chain])
        assert got is not None
        due = sum(event.t <= now_us() + HOLD_US for event in chain)
        assert 10 <= got.admitted <= due < len(chain)

        name = db_id(MODEL, chain[0].object)
        last = pair.target.run(
            f"q = Person({name!r})\nq.name.set('here')\n[event.t for event in q.history()][-1]"
        )
        assert last <= now_us() + HOLD_US + 1
        pair.check()


# -- a flood ---------------------------------------------------------------------------------------

WATCH = """
late_us = []
def heard(object_id, field, old, new):
    late_us.append((time.time_ns() - new) // 1000)
dinemic.on(friend_id + ':value_name', 'updated')(heard)
"""
WRITE = """
for _ in range({count}):
    mine.name.set(time.time_ns())
    time.sleep(0.01)
"""


def p99_us(pair: HonestPair, count: int) -> int:
    """How long the slowest but 1 % of the friend's writes, 100 a second, take to the target."""
    pair.target.run("late_us.clear()")
    pair.friend.run(WRITE.format(count=count))
    pair.target.wait(f"len(late_us) == {count}")
    return int(pair.target.run("sorted(late_us)[-1 - len(late_us) // 100]"))


def forged(count: int) -> Iterator[Message]:
    """News that nobody has signed."""
    good = sign_event(STRANGER.key, None, now_us(), (), [STRANGER.create(MODEL)]).raw
    for _ in range(0, count, BATCH):
        yield Events(0, MODEL, tuple(good[:-8] + secrets.token_bytes(8) for _ in range(BATCH)))


@pytest.mark.long
@pytest.mark.parametrize("make", [orphans, forged])
def test_a_flood_neither_delays_the_friend_nor_fills_memory(
    pair: HonestPair, make: Callable[[int], Iterator[Message]]
) -> None:
    pair.friend.run("mine = Person([])")
    pair.target.run(f"friend_id = {pair.friend.run('mine.get_db_id()')!r}\n{WATCH}")
    messages = list(make(30_000))
    idle = p99_us(pair, 500)
    taken = links = 0
    stop = threading.Event()

    def flood() -> None:
        """As fast as the node takes it, as a new node when cut off."""
        nonlocal taken, links
        while not stop.is_set():
            with contextlib.suppress(OSError, TransportError), HostilePeer(pair.address) as peer:
                links += 1
                taken += peer.greet().pour(messages, 2.0)

    began = time.monotonic()
    with ThreadPoolExecutor(4) as floods:
        running = [floods.submit(flood) for _ in range(4)]
        first = p99_us(pair, 500)  # with all the handshakes that are free
        flooded = p99_us(pair, 500)
        grown = pair.growth_bytes()
        stop.set()
    for each in running:
        each.result()
    seconds = time.monotonic() - began
    say(
        f"{make.__name__}: p99 {idle / 1e3:.1f} ms idle, {first / 1e3:.1f} ms as the flood begins,"
        f" {flooded / 1e3:.1f} ms in it; {links} links, {taken / 1e6:.1f} MB taken in,"
        f" {grown >> 20} MiB more held"
    )
    assert grown < GROWTH_BYTES_MAX
    assert flooded < 1_000_000, "whoever else uses this machine"
    free = HANDSHAKES_PER_HOST_BURST + HANDSHAKES_PER_HOST_MAX
    assert links <= free + HANDSHAKES_PER_HOST_PER_SECOND * seconds
