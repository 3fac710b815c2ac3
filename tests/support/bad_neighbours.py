"""Two neighbours no network wants, to be run in hosts of their own: one lies, one hardly reads.

Each dials every host it is told of and comes back, as another node, whenever it is cut off.
"""

from __future__ import annotations

import contextlib
import itertools
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from dinemic_engine.edits import Set
from dinemic_engine.errors import TransportError
from dinemic_engine.event import sign_event
from dinemic_engine.ids import EventId, ObjectId
from dinemic_engine.reconcile import Segment
from dinemic_transport.messages import Answer, Ask, Have, Message, Want
from support.graphs import OWNER, STRANGER, genesis
from support.hostile_peer import HostilePeer, false_row

MODEL = "Person"
AGAIN_SECONDS = 0.5
READ_SECONDS = 0.2
READ_BYTES = 256

Answering: TypeAlias = Callable[[HostilePeer, Message], None]


class Liar:
    """Claims what it has not, names what it never serves, and forges.

    One vice a connection, in turn.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self.cut_off = 0
        for address in addresses:
            threading.Thread(target=self._haunt, args=(address,), daemon=True).start()

    def _haunt(self, address: str) -> None:
        for begin, answer in itertools.cycle(VICES):
            with contextlib.suppress(OSError, TransportError), HostilePeer(address) as peer:
                peer.greet([false_row(MODEL)])
                begin(peer)
                for said in peer.conversation():
                    answer(peer, said)
            self.cut_off += 1
            time.sleep(AGAIN_SECONDS)


def _keeps_silent(peer: HostilePeer, said: Message) -> None:
    """Whatever is asked."""


def _serves_others(peer: HostilePeer, said: Message) -> None:
    """Names an event, and sends another."""
    match said:
        case Ask(model, segments):
            upper = segments[-1].upper
            key = (1, secrets.token_bytes(32))
            peer.send(Answer(model, (Segment(upper, (key,) if key < upper else ()),)))
        case Want(ticket, model):
            peer.send_events(model, [genesis(by=STRANGER).raw], ticket)


def _names_many(peer: HostilePeer) -> None:
    peer.send(Have(MODEL, tuple(secrets.token_bytes(32) for _ in range(50))))


def _forges(peer: HostilePeer) -> None:
    good = genesis(by=STRANGER).raw
    peer.send_events(MODEL, [good[:-1] + bytes([good[-1] ^ 1])] * 3)


def _writes_to_nothing(peer: HostilePeer) -> None:
    """A well signed write to an object there is not, on events there are not."""
    name, parent = ObjectId(secrets.token_bytes(32)), EventId(secrets.token_bytes(32))
    t = time.time_ns() // 1000
    peer.send_events(MODEL, [sign_event(OWNER.key, name, t, [parent], [Set("name", 1)]).raw])


VICES: Final[Sequence[tuple[Callable[[HostilePeer], None], Answering]]] = (
    (_forges, _keeps_silent),
    (_names_many, _keeps_silent),
    (_writes_to_nothing, _serves_others),
)


class SlowReader:
    """Greets like anybody, then takes a kilobyte a second of all that is said to it."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self.read = 0
        for address in addresses:
            threading.Thread(target=self._haunt, args=(address,), daemon=True).start()

    def _haunt(self, address: str) -> None:
        while True:
            with contextlib.suppress(OSError, TransportError), HostilePeer(address) as peer:
                peer.greet([false_row(MODEL)])
                while data := peer.stream.recv(READ_BYTES):
                    self.read += len(data)
                    time.sleep(READ_SECONDS)
            time.sleep(AGAIN_SECONDS)
