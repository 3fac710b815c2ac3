"""Finding a difference: frames and bytes of two sessions, and what a range fingerprint costs.

Two stores with the same events, but for one, or for a hundred recent ones that only one of them
has. Sessions talk in encoded frames; a round trip is a question, or events, and what comes back.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.harness import Figure, Goal, Report, Side, Size, cost_ratio, costs, take_turns
from benchmarks.workloads import BEGINNING_US, Writer, hash_of
from dinemic_engine.event import Event, open_event_untrusted
from dinemic_engine.ledger import Ledger
from dinemic_engine.limits import T_US_MAX
from dinemic_engine.outcomes import Ingested
from dinemic_engine.store.rocks import RocksStore
from dinemic_engine.view import View
from dinemic_transport.gossip import Gossip
from dinemic_transport.jobs import summarise
from dinemic_transport.messages import Answer, Ask, Events, Message, Want, cluster_hash
from dinemic_transport.session import Session
from dinemic_transport.wire import encode

MODEL = "Person"
SPACING_US = 1_000_003
"""Events are a second apart, so times take the bytes they take in life."""
BATCH = 256


class Parameters(NamedTuple):
    """Events in the smaller and in the larger set, how many lie between two, and blocks."""

    few: int
    many: int
    blocks: int


PARAMETERS: dict[Size, Parameters] = {
    "small": Parameters(few=200, many=2_000, blocks=2),
    "large": Parameters(few=1_000, many=100_000, blocks=20),
}
LARGEST = 1_000_000
"""Events of the third set, at the large size only."""


class StoreReplica:
    """A store as the transport sees it; it announces what it lets in to its own gossip."""

    def __init__(self, path: Path) -> None:
        self.store = RocksStore(path)
        self.ledger = Ledger(self.store)
        self.view = View(self.store)
        self.totals = self.view.totals
        self.fingerprint = self.view.fingerprint
        self.keys = self.view.range_keys
        self.gossip = Gossip(lambda raw: open_event_untrusted(raw).id)

    def admit(self, events: Sequence[Event]) -> None:
        """Let events in as nobody's news."""
        for begin in range(0, len(events), BATCH):
            proposal = self.ledger.prepare(events[begin : begin + BATCH], T_US_MAX)
            self.ledger.accept(proposal)

    def models(self) -> tuple[str, ...]:
        return ("*",)

    def model_names(self) -> tuple[str, ...]:
        return tuple(self.view.models())

    def events(self, ids: Sequence[bytes]) -> list[tuple[str, bytes] | None]:
        return [self.view.raw(event_id) for event_id in ids]

    def ingest(self, source: bytes, events: Sequence[bytes]) -> Ingested:
        self.admit([open_event_untrusted(raw) for raw in events])
        self.gossip.announce(MODEL, list(events), 0.0)
        return Ingested(len(events), 0, 0, ())

    def forget(self, source: bytes) -> None:
        """Nothing waits here."""


class End:
    """One side of a link: a session over a replica, and what it has said."""

    def __init__(self, replica: StoreReplica, me: bytes, peer: bytes) -> None:
        self.replica = replica
        self.sent: list[Message] = []
        self.bytes = 0
        self.frames: deque[bytes] = deque()
        self.session = Session(
            me, peer, cluster=cluster_hash("benchmark"), models=("*",), now=0.0, rand=lambda: 0.5
        )
        replica.gossip.add(self.session)

    def step(self) -> bool:
        """Do one thing, if there is one to do."""
        gossip, session = self.replica.gossip, self.session
        refresh = gossip.take_due(1.0)
        if refresh is not None:
            gossip.refreshed(refresh, summarise(self.replica, refresh.models), 1.0)
        elif (job := session.next_job(0.0)) is not None:
            session.completed(job, job.run(self.replica), 0.0)
        elif (message := session.next_message()) is not None:
            frame = encode(message)
            self.sent.append(message)
            self.bytes += len(frame)
            self.frames.append(frame)
        else:
            return False
        return True


class Talk(NamedTuple):
    """What it took to make two sets equal, or to see that they are."""

    round_trips: int
    messages: int
    bytes: int
    """Both ways, with the events."""
    event_bytes: int


def talk(one: StoreReplica, other: StoreReplica) -> Talk:
    """Connect two replicas until nothing is left to say."""
    ends = [End(one, b"\1" * 32, b"\2" * 32), End(other, b"\2" * 32, b"\1" * 32)]
    busy = True
    while busy:
        busy = False
        for end, peer in (ends, ends[::-1]):
            busy = end.step() or busy
            while end.frames:
                peer.session.receive_frame_untrusted(end.frames.popleft(), 0.0)
                busy = True
    assert all(end.session.synced for end in ends)
    driver, answerer = (end.sent for end in ends)
    asked = [each for each in driver if isinstance(each, Ask | Want | Events)]
    assert not any(isinstance(each, Ask | Want) for each in answerer)
    assert sum(isinstance(each, Answer) for each in answerer) <= len(asked)
    for end in ends:
        end.replica.gossip.remove(end.session)
    return Talk(
        len(asked),
        len(driver) + len(answerer),
        sum(end.bytes for end in ends),
        sum(
            len(raw)
            for each in (*driver, *answerer)
            if isinstance(each, Events)
            for raw in each.events
        ),
    )


@contextlib.contextmanager
def filled(count: int) -> Iterator[tuple[StoreReplica, StoreReplica]]:
    """Two stores with the same `count` events, of one object."""
    writer = Writer(2, spacing_us=SPACING_US)
    with tempfile.TemporaryDirectory(prefix="dinemic-benchmark-") as home:
        one = StoreReplica(Path(home, "one"))
        one.admit(writer.events)
        for begin in range(1, count, BATCH):
            one.admit(writer.write(min(BATCH, count - begin)))
            del writer.events[:-1]  # a million of them would take a gigabyte
        one.store.close()
        shutil.copytree(Path(home, "one"), Path(home, "other"))
        ends = StoreReplica(Path(home, "one")), StoreReplica(Path(home, "other"))
        yield ends
        for end in ends:
            end.store.close()


class Measured(NamedTuple):
    """The talks of two stores with so many events, and what was left in them."""

    equal: Talk
    one: Talk
    hundred: Talk
    result: str


def time_of(number: int) -> int:
    """When the event of that number was made."""
    return BEGINNING_US + SPACING_US * number


def measure(ends: tuple[StoreReplica, StoreReplica], count: int) -> Measured:
    """Let two stores talk while they are equal, differ in one event, and in a hundred."""
    equal = talk(*ends)
    # An object made in the middle of all others' time, and a hundred events after the last.
    middle = Writer(3, at_us=time_of(count // 2) + 1)
    ends[1].admit(middle.events)
    one = talk(*ends)
    recent = Writer(4, at_us=time_of(count), spacing_us=SPACING_US)
    ends[1].admit([*recent.events, *recent.write(99)])
    hundred = talk(*ends)
    assert ends[0].totals(MODEL) == ends[1].totals(MODEL)
    return Measured(equal, one, hundred, ends[0].totals(MODEL).events.wire().hex())


def run(size: Size) -> Report:
    """Time it."""
    few, many, blocks = PARAMETERS[size]
    figures: list[Figure] = []
    results: list[str] = []
    counts = [many, LARGEST] if size == "large" else [many]
    with filled(few) as (small, _), filled(many) as (large, other):
        sides = [
            Side(f"range of {few}", 20, _ranges(small, few)),
            Side(f"range of {many}", 20, _ranges(large, many)),
        ]
        timings = take_turns(sides, blocks)
        ratios = [
            cost_ratio(
                timings,
                sides[1].name,
                sides[0].name,
                name=f"fingerprint of a range, {many:,} events / {few:,}",
            )
        ]
        for count in counts:
            with contextlib.ExitStack() as stack:
                ends = (large, other)
                if count != many:
                    ends = stack.enter_context(filled(count))
                found = measure(ends, count)
            results.append(found.result)
            figures += _told(found, count, goals=size == "large" and count == many)
    return Report("reconcile", str(__doc__), hash_of(*results), ratios, [*figures, *costs(timings)])


def _told(found: Measured, count: int, *, goals: bool) -> list[Figure]:
    def goal(bound: float) -> Goal | None:
        return Goal("<=", bound) if goals else None

    one, hundred = found.one, found.hundred
    each = (hundred.bytes - hundred.event_bytes) / 100
    return [
        Figure(f"equal, {count:,} events: messages", found.equal.messages, "", goal=goal(2)),
        Figure(f"equal, {count:,} events: bytes", found.equal.bytes, "B"),
        Figure(f"1 in {count:,}: round trips", one.round_trips, "", goal=goal(3)),
        Figure(f"1 in {count:,}: bytes, with the event", one.bytes, "B", goal=goal(3072)),
        Figure(f"100 recent in {count:,}: round trips", hundred.round_trips, ""),
        Figure(f"100 recent in {count:,}: beside each event", each, "B", goal=goal(120)),
    ]


def _ranges(replica: StoreReplica, count: int) -> Callable[[], None]:
    """Ask for the fingerprints of twenty ranges, of a half of all events on average."""
    step = count // 41
    bounds = [
        ((time_of(step * at), b"\x80"), (time_of(count - 1 - step * at), b"\x80"))
        for at in range(20)
    ]

    def ask() -> None:
        for lower, upper in bounds:
            replica.fingerprint(MODEL, lower, upper)

    return ask
