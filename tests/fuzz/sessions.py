"""Targets for a whole session, and for what it tells of other nodes.

A session's input is a script, ``[drives, holds, steps]``: whether our node id is the smaller, how
many events we hold, and then one step after another:

    bytes          a frame comes
    [n, bytes]     it comes n times
    null           we do what there is to do, and all we say leaves
    true           the same, but the peer does not read
    n              so many milliseconds pass
    text           somebody here makes an event

Invariant after each step (I-12): queues are within their bounds, and a session that is over says
why. Scripts to begin from are what honest nodes once said to each other, and all that ends one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Final

from dinemic_engine import canonical
from dinemic_engine.canonical import Value
from dinemic_engine.errors import TransportError
from dinemic_engine.ids import ID_BYTES
from dinemic_engine.limits import EVENT_BYTES_MAX
from dinemic_engine.ranges import HIGHEST, LOWEST
from dinemic_engine.reconcile import RangeRefused, Segment
from dinemic_transport.addresses import PORT_MAX
from dinemic_transport.exchange import Exchange
from dinemic_transport.jobs import BATCH_BYTES, summarise
from dinemic_transport.messages import (
    Answer,
    Ask,
    Confirm,
    Events,
    Hello,
    Neighbour,
    Part,
    Peers,
    Pong,
    Row,
    Want,
)
from dinemic_transport.news import GRAFTED_MAX
from dinemic_transport.peers import ADDRESSES_MAX
from dinemic_transport.peers import Peers as Book
from dinemic_transport.queues import INBOX_BYTES_MAX, OUTBOX_BYTES_MAX
from dinemic_transport.session import Session
from dinemic_transport.states import State
from dinemic_transport.wire import decode_untrusted, encode
from dinemic_transport.work import REQUESTS_MAX
from fuzz.target import Target, arguments
from support.dict_replica import (
    BAD_BYTES,
    MODEL,
    REFUSED,
    DictReplica,
    identify,
    made_event,
    made_events,
)
from support.every_message import FP, ID, MESSAGES
from support.session_pair import CLUSTER, LARGE, SMALL, Node

# -- a session ----------------------------------------------------------------------------------

REPEAT_MAX: Final = 256
PASS_MS_MAX: Final = 600_000
_SCRIPT_STEPS_MAX: Final = 200


class Script:
    """One end of a link, which goes through a script; `node.session` is the session."""

    def __init__(self, drives: bool, holds: int) -> None:
        me, peer = (SMALL, LARGE) if drives else (LARGE, SMALL)
        replica = DictReplica(made_events(holds), read=_read)
        self.node: Final = Node(me, peer, replica)
        self.session: Final = self.node.session

    def take(self, step: Value) -> None:
        """Go one step on; what is none is left out."""
        match step:
            case bool() | None:
                self._work(reads=step is None)
            case bytes(frame):
                self.session.receive_frame_untrusted(frame, self.node.now)
            case [int(count), bytes(frame)] if 0 < count <= REPEAT_MAX:
                for _ in range(count):
                    self.session.receive_frame_untrusted(frame, self.node.now)
            case int(milliseconds) if 0 < milliseconds <= PASS_MS_MAX:
                self.node.now += milliseconds / 1000
                self.session.tick(self.node.now)
            case str(filler):
                self.node.replica.author([made_event(len(self.node.replica.ids), filler.encode())])
        self.check()

    def _work(self, *, reads: bool) -> None:
        """Do everything there is to do now; `reads` is whether messages leave."""
        node, session = self.node, self.session
        while True:
            node.gossip.tick(node.now)
            refresh = node.gossip.take_due(node.now)
            if refresh is not None:
                rows = summarise(node.replica, refresh.models)
                node.gossip.refreshed(refresh, rows, node.now)
            elif (job := session.next_job(node.now)) is not None:
                try:
                    outcome = job.run(node.replica)
                except RangeRefused as error:
                    session.failed(job, error)
                else:
                    session.completed(job, outcome, node.now)
            elif reads and (message := session.next_message()) is not None:
                node.frames.append(encode(message))
            elif session.deadline() <= node.now:
                session.tick(node.now)
            else:
                return

    def check(self) -> None:
        """I-12, as far as one session goes."""
        session = self.session
        assert session._outbox.size <= OUTBOX_BYTES_MAX + EVENT_BYTES_MAX + BATCH_BYTES
        assert session._arrivals._inbox._bytes <= INBOX_BYTES_MAX
        assert len(session._work._requests) <= REQUESTS_MAX + 1
        assert len(session._news._grafted) <= GRAFTED_MAX
        if session.state is State.CLOSED:
            assert session.reason
            assert session.next_job(self.node.now) is None
        else:
            assert not session.reason


def _read(raw: bytes) -> tuple[bytes, int, str]:
    """Id, time and model of any bytes at all."""
    return identify(raw), int.from_bytes(raw[:8], "big") >> 2, MODEL


def session(data: bytes) -> None:
    """A session goes on or closes with a reason, whatever it is told and when."""
    script = played(data)
    if script is not None:
        script.session.close("the script is over")
        script.check()


def played(data: bytes) -> Script | None:
    """The end of a script; None if it is none."""
    match arguments(data):
        case [bool(drives), int(holds), list(steps)] if 0 <= holds <= 600:
            pass
        case _:
            return None
    script = Script(drives, holds)
    for step in steps[:_SCRIPT_STEPS_MAX]:
        script.take(step)
    return script


def _scripts() -> list[bytes]:
    return [canonical.encode(script) for script in (*_honest(), *_hostile())]


def _honest() -> Iterator[list[Value]]:
    """What the one and the other side are told when two honest nodes meet."""
    for mine, theirs in ((0, 3), (5, 0), (20, 40), (3, 3), (0, 0)):
        ends = Script(True, mine), Script(False, theirs)
        steps: tuple[list[Value], list[Value]] = ([], [])
        for turn in range(24):
            for end, heard, other in ((0, steps[0], ends[1]), (1, steps[1], ends[0])):
                told: list[Value] = [*other.node.frames, None, *([700] if turn % 2 else [])]
                other.node.frames.clear()
                if turn == 9:
                    told.append("news")
                for step in told:
                    ends[end].take(step)
                heard += told
        assert all(end.session.synced for end in ends)
        for drives, holds, heard in ((True, mine, steps[0]), (False, theirs, steps[1])):
            yield [drives, holds, heard]


def _hostile() -> Iterator[list[Value]]:
    """All that ends a session, as far as it is short."""
    several = [encode(message) for message in MESSAGES]
    yield [True, 0, [None, _HELLO, None, *several]]
    for frame in several:
        yield [True, 0, [None, frame]]
        yield [True, 3, [None, _HELLO, None, frame, None, 31_000, None]]
        yield [True, 40, [None, _CLAIMS, None, frame, None, 301_000, None]]
        yield [False, 40, [None, _HELLO, None, [64, frame], True, frame, None]]
    for told in _told_when_open():
        yield [True, 5, [None, _HELLO, None, *told, None]]
    for told in _told_when_asked():
        yield [True, 0, [None, _CLAIMS, None, *told, None]]
    (row,) = summarise(DictReplica(made_events(5), read=_read), None)
    judges = Hello(CLUSTER, ("*",), (replace(row, effective=FP),))
    equal = encode(Answer(MODEL, (Segment(HIGHEST, None),), effective=True))
    for message in (Answer(MODEL, (Segment(HIGHEST, None),)), Confirm(MODEL, True)):
        yield [True, 5, [None, encode(judges), None, encode(message)]]
    yield [True, 5, [None, encode(judges), None, equal, None, encode(Confirm(MODEL, True)), None]]
    yield [True, 600, _told_in_a_gap()]
    yield [True, 0, [None, encode(Hello(FP, ("*",), ())), None]]
    other = encode(Hello(CLUSTER, ("Album",), ()))
    yield [True, 0, [None, other, None, encode(Want(1, MODEL, (ID,)))]]


_HELLO: Final = encode(Hello(CLUSTER, ("*",), ()))
_CLAIMS: Final = encode(Hello(CLUSTER, ("*",), (Row(MODEL, 100, FP, FP, FP),)))


def _told_when_open() -> Iterator[list[Value]]:
    """What a peer may not say when nothing was asked."""
    yield [b"no message"]
    for event in (BAD_BYTES, made_event(7, REFUSED)):
        yield [[20, encode(Events(0, MODEL, (event,)))]]
    part = Part(0, MODEL, 0, 3, b"x")
    for after in (
        replace(part, index=2),
        replace(part, index=1, total=4),
        replace(part, index=1, model="Album"),
        Events(0, MODEL, (made_event(7),)),
    ):
        yield [encode(part), encode(after)]
    large = encode(Events(-1, MODEL, (made_event(7, b"x" * 34_000),), last=False))
    yield [[REPEAT_MAX, large]]
    low, high = (5, b""), (9, b"")
    for segments in (
        (Segment(high, FP), Segment(high, FP)),
        (Segment(HIGHEST, ((7, ID), (7, ID))),),
        (Segment(low, ((7, ID),)), Segment(HIGHEST, None)),
        (Segment(HIGHEST, tuple((t, ID) for t in range(40))),),
        (),
    ):
        yield [encode(Ask(MODEL, segments))]
        yield [encode(Ask(MODEL, segments, listed=True))]


def _told_when_asked() -> Iterator[list[Value]]:
    """What is no answer to a question about all there is."""
    wanted = made_event(1)
    keys = ((_read(wanted)[1], identify(wanted)),)
    names = encode(Answer(MODEL, (Segment(HIGHEST, keys),)))
    yield [names, None, encode(Events(1, MODEL, (made_event(2),)))]
    yield [names, None, encode(Events(1, MODEL, (wanted,))), None]
    yield [names, None, encode(Events(1, MODEL, ())), None]
    alive: list[Value] = [30_000, encode(Pong())]
    yield alive * 11
    many = Segment((50, b""), tuple((t, ID) for t in range(1, 49)))
    nothing = encode(Answer(MODEL, (Segment((5, b""), None),)))
    yield [encode(Answer(MODEL, (many,))), None, encode(Events(1, MODEL, ())), None, nothing]
    low, high = (5, b""), (9, b"")
    for segments in (
        (Segment(low, None),),
        (Segment(low, FP), Segment(HIGHEST, None)),
        (Segment(HIGHEST, FP),),
        (Segment(low, FP), Segment(high, ((7, ID),)), Segment(HIGHEST, None)),
        (Segment(low, None), Segment(high, ((7, ID),)), Segment(HIGHEST, None)),
        (Segment(high, ((7, ID),)),),
        tuple(Segment((t, b""), FP) for t in range(1, 40)),
        (),
    ):
        yield [encode(Answer(MODEL, segments))]


def _told_in_a_gap() -> list[Value]:
    """A second question leaves out what is settled, and the answer is about just that."""
    steps: list[Value] = [None, _CLAIMS, None]
    script = Script(True, 600)
    for step in steps:
        script.take(step)
    asked = decode_untrusted(script.node.frames[-1])
    assert isinstance(asked, Ask)
    first, second, third, *_ = (segment.upper for segment in asked.segments)
    cut = tuple(Segment((upper[0] + 1, b""), FP) for upper in (LOWEST, first, second))
    finer = (cut[0], Segment(first, FP), Segment(second, None), cut[2], Segment(third, FP))
    answers = ((*finer, Segment(HIGHEST, None)), (Segment(first, None), cut[1]))
    return [*steps, *(step for answer in answers for step in (encode(Answer(MODEL, answer)), None))]


# -- who else there is --------------------------------------------------------------------------


_DIALS: Final = 4


def book(data: bytes) -> None:
    """Steps ``[peer, port, [[id, address], ...]]``: peers that tell of themselves and others."""
    steps = arguments(data)
    if steps is None:
        return
    exchange, peers = Exchange(SMALL, lambda: 0.5), Book(SMALL, lambda: 0.5)
    exchange.listen(["10.0.0.9:7000", "[::]:7000"])
    sessions: dict[int, Session] = {}
    for now, step in enumerate(steps[:_SCRIPT_STEPS_MAX]):
        match step:
            case [int(number), int(port), list(told)] if 0 <= port <= PORT_MAX:
                number %= 4
            case _:
                continue
        if number not in sessions:
            end = Script(True, 0)
            end.take(None)
            end.take(encode(Hello(CLUSTER, ("*",), ())))
            sessions[number] = end.session
            exchange.add(end.session, f"10.0.0.{number}:{40_000 + number}", dialled=number > 2)
            exchange.opened(end.session)
        neighbours = tuple(_neighbours(told))
        exchange.introduce_untrusted(sessions[number], port)
        hints = exchange.hints_untrusted(sessions[number], Peers(port, neighbours), float(now))
        assert set(hints) <= set(neighbours)
        for hint in hints:
            peers.told_untrusted(hint.address, hint.node_id, LARGE, float(now))
            peers.found_untrusted(hint.address, hint.node_id if port % 2 else None, float(now))
        for _ in range(_DIALS):
            dial = peers.next_dial(float(now))
            if dial is None:
                break
            if number % 2 or dial.expect is None:
                peers.failed(dial.address, float(now))
            else:
                peers.reached(dial.address, dial.expect)
                peers.joined(dial.expect, float(now), dialled=True, remote=dial.address)
                peers.left(dial.expect, float(now))
        assert len(peers) <= ADDRESSES_MAX


def _neighbours(told: list[Value]) -> Iterator[Neighbour]:
    """Those a message could have told of."""
    for pair in told:
        match pair:
            case [bytes(node_id), str(address)] if len(node_id) == ID_BYTES:
                with suppress(TransportError):
                    frame = encode(Peers(0, (Neighbour(node_id, address),)))
                    message = decode_untrusted(frame)
                    assert isinstance(message, Peers)
                    yield from message.neighbours


def _books() -> list[bytes]:
    told: Value = [[bytes([n]) * 32, f"10.0.1.{n}:{7000 + n}"] for n in range(1, 20)]
    public: Value = [[ID, "8.8.8.8:53"], [FP + FP, "[2606:4700::1111]:53"]]
    more: Value = [[bytes([n]) * 32, f"10.0.1.{n}:{7001 + n}"] for n in range(1, 20)]
    steps: list[Value] = [[n, 7000 + n, told if n % 2 else public] for n in range(8)]
    moved: list[Value] = [[3, 0, more], [2, 1, told], [2, 0, more]]
    return [canonical.encode(steps), canonical.encode(moved)]


TARGETS: Final = {
    "session": Target(session, _scripts, calls=400_000, calls_per_byte=400),
    "book": Target(book, _books, calls=200_000, calls_per_byte=400),
}
