"""Runs the sans-I/O parts on trio: links in, links out, jobs on threads, time.

::

    transport.serve --+--> _hold(link) -- reader ---> Session ---> sender --> link
    dialler ----------+                   timer --->   |   ^
       ^                                               v   |
    Overlay <--- discoveries          worker: next_job -> thread(replica) -> completed
                                                           |
    announce (any thread) --> queue --> Gossip.announce    v
                         row keeper: Gossip.take_due -> thread(replica) -> refreshed

Four tasks a link, and none of them ever waits for another's peer. All state is touched by the trio
thread alone; other threads come in through `announce`, which only queues.

One job runs at a time for a session, and the calls of all sessions share a few threads (turns.py).
A job that hangs in a listener of the application is left behind when the runner stops: its thread
ends when the call does, so a replica must stand calls that come after it was closed.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import groupby
from operator import itemgetter
from typing import Final

import trio

from dinemic_engine.errors import DinemicError, TransportError
from dinemic_engine.ids import short, to_text
from dinemic_engine.limits import CLOCK_OFF_US
from dinemic_transport.arrivals import event_id_untrusted
from dinemic_transport.connection import Connection
from dinemic_transport.dialler import Dialler
from dinemic_transport.jobs import summarise
from dinemic_transport.link import CLOSE_SECONDS, Discovery, Link, Transport
from dinemic_transport.messages import check_models, cluster_hash
from dinemic_transport.overlay import Overlay
from dinemic_transport.peers import ACTIVE
from dinemic_transport.replica import Replica
from dinemic_transport.states import State
from dinemic_transport.status import Counters, NetworkStatus
from dinemic_transport.turns import Offload, Turns
from dinemic_transport.wire import encode

GATHER_SECONDS: Final = 0.002
HURRY_SECONDS: Final = 0.008
HURRY_EVENTS: Final = 6
HURRY_TIMES: Final = 5
"""What is announced this soon after other news goes out together: a writer in a hurry costs few
wake-ups here and at every peer, and the first of its events waits for nothing. The longer time is
for after so many events, so many times in a row."""

ANNOUNCED_EVENTS_MAX: Final = 16_384
ANNOUNCED_BYTES_MAX: Final = 16 << 20
"""Events admitted faster than the trio thread takes them; beyond this a catch-up brings them."""

_log = logging.getLogger(__name__)


def _now_us() -> int:
    """Microseconds since the Unix epoch, by this host's clock."""
    return time.time_ns() // 1000


def _is_off(behind_us: int | None) -> bool:
    return behind_us is not None and abs(behind_us) > CLOCK_OFF_US


class Runner:
    """The network of one node. `run` it once; `announce` and `stop` may come from any thread.

    `peers` are addresses to keep trying. `discover` gets the addresses listened on and returns
    what finds more. With `exchange` peers tell it of others, and others of it. `offload` and `rand`
    are replaced in tests.
    """

    def __init__(
        self,
        replica: Replica,
        transport: Transport,
        *,
        node_id: bytes,
        cluster: str,
        rand: Callable[[], float],
        peers: Sequence[str] = (),
        discover: Callable[[Sequence[str]], Sequence[Discovery]] = lambda addresses: (),
        exchange: bool = True,
        offload: Offload | None = None,
        identify: Callable[[bytes], bytes] = event_id_untrusted,
        now_us: Callable[[], int] = _now_us,
        active: int = ACTIVE,
    ) -> None:
        self.addresses: tuple[str, ...] = ()
        """Listened on, once running."""
        self.clock_behind_us: int | None = None
        """How far this host's clock is behind the median of the peers' (ORD-5); None if unknown."""
        self._replica = replica
        self._transport = transport
        self._node_id = node_id
        self._given = tuple(peers)
        self._discover = discover
        self._turns = Turns(offload)
        self._now_us = now_us
        self._overlay = Overlay(
            node_id,
            cluster=cluster_hash(cluster),
            models=check_models(replica.models()),
            rand=rand,
            identify=identify,
            active=active,
        )
        self._gossip = self._overlay.gossip
        self._peers = self._overlay.peers
        self._dialler = Dialler(transport, self._peers, self._hold)
        self._takes_part = exchange
        self._connections: dict[bytes, Connection] = {}
        self._scope = trio.CancelScope()
        self._stopping = False
        self._token: trio.lowlevel.TrioToken | None = None
        self._news_due = trio.lowlevel.ParkingLot()
        self._rows_due = trio.lowlevel.ParkingLot()
        self._changed = trio.lowlevel.ParkingLot()
        self._lock = threading.Lock()
        self._announced: deque[tuple[str, Sequence[bytes]]] = deque()
        self._announced_events = 0
        self._announced_bytes = 0
        self._overflowed: set[str] = set()
        self._told_of_news = False
        """Whether something was announced since gossip was told last."""
        self._divergences = 0
        self._keeps_until = math.inf
        """When the row keeper looks again by itself."""
        self._counters = Counters()
        """Of sessions that are over."""

    # -- for everybody -----------------------------------------------------------------------

    def announce(self, model: str, events: Sequence[bytes]) -> None:
        """Tell the peers of signed events just admitted here. From any thread; never blocks.

        To be called for every event the replica admits, also those that came from a peer.
        """
        size = sum(map(len, events))
        with self._lock:
            if (
                self._announced_events + len(events) > ANNOUNCED_EVENTS_MAX
                or self._announced_bytes + size > ANNOUNCED_BYTES_MAX
            ):
                self._overflowed.add(model)
            else:
                self._announced.append((model, events))
                self._announced_events += len(events)
                self._announced_bytes += size
            token = None if self._told_of_news else self._token
            self._told_of_news = True
        if token is not None:
            with suppress(trio.RunFinishedError):  # stopped meanwhile: nobody is left to tell
                token.run_sync_soon(self._news_due.unpark_all)

    def stop(self) -> None:
        """Make `run` return. From any thread; idempotent."""
        with self._lock:
            token = self._token
        if token is None:
            self._scope.cancel()  # `run` has not begun, and will end at once
        else:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(self._stop)

    # -- for the trio thread -----------------------------------------------------------------

    def _stop(self) -> None:
        """Say goodbye to everybody, and end when they have heard it, or soon."""
        self._stopping = True
        self._scope.deadline = trio.current_time() + CLOSE_SECONDS
        for connection in self._connections.values():
            connection.session.close("this node stops")
            connection.kick()
        if not self._connections:
            self._scope.cancel()

    @property
    def synced(self) -> bool:
        """Whether a session is open, and every open one is known to be equal in all it shares.

        That is in events and verdicts: nodes that diverge (VETO-4) are not in sync.
        """
        return not self._announced and not self._overflowed and self._gossip.synced

    async def wait_synced(self) -> None:
        """Wait until `synced`."""
        while not self.synced:
            await self._changed.park()

    def status(self) -> NetworkStatus:
        """What every link is doing, peers by node id."""
        now = trio.current_time()
        peers = tuple(connection.status(now) for _, connection in sorted(self._connections.items()))
        return NetworkStatus(
            to_text(self._node_id),
            self.addresses,
            len(self._peers),
            self.synced,
            peers,
            sum((peer.counters for peer in peers), self._counters),
            self._divergences,
            self.clock_behind_us,
        )

    async def run(
        self, *, task_status: trio.TaskStatus[tuple[str, ...]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve, dial and talk until `stop`; reports the addresses listened on when started.

        Raises:
            TransportError: the transport cannot listen (alone, or in an exception group).
            StoreError: the replica's own store fails.
        """
        with self._lock:
            self._token = trio.lowlevel.current_trio_token()
        with self._scope:
            async with trio.open_nursery() as nursery:

                def started(addresses: list[str]) -> None:
                    self.addresses = tuple(addresses)
                    self._overlay.addresses = self.addresses
                    if self._takes_part:
                        self._overlay.exchange.listen(self.addresses)
                    for discovery in self._discover(self.addresses):
                        nursery.start_soon(discovery.run, self._found)
                    task_status.started(self.addresses)

                for address in self._given:
                    self._peers.given(address, trio.current_time())
                nursery.start_soon(self._keep_telling)
                nursery.start_soon(self._transport.serve, self._hold, started)
                nursery.start_soon(self._keep_rows)
                nursery.start_soon(self._dialler.run)

    # -- telling -----------------------------------------------------------------------------

    async def _keep_telling(self) -> None:
        """Pass news to gossip as it comes: at once, and when more follows soon, gathered."""
        in_a_row = 0
        while True:
            if not self._told_of_news:
                await self._news_due.park()
            count = self._tell()
            in_a_row = in_a_row + 1 if count >= HURRY_EVENTS else 0
            await trio.sleep(HURRY_SECONDS if in_a_row >= HURRY_TIMES else GATHER_SECONDS)

    def _tell(self) -> int:
        """Pass what was announced to gossip; how many events it was."""
        with self._lock:
            self._told_of_news = False
            announced, self._announced = self._announced, deque()
            overflowed, self._overflowed = self._overflowed, set()
            count = self._announced_events
            self._announced_events = self._announced_bytes = 0
        now = trio.current_time()
        for model, batches in groupby(announced, key=itemgetter(0)):
            self._gossip.announce(model, [raw for _, events in batches for raw in events], now)
        for model in overflowed:
            self._gossip.lost(model, now)
        self._look_at_rows()
        self._after_all()
        return count

    async def _keep_rows(self) -> None:
        """Read rows when they are due."""
        while True:
            if self._overlay.deadline() <= trio.current_time():
                self._overlay.tick(trio.current_time())
                self._after_all()
            refresh = self._gossip.take_due(trio.current_time())
            if refresh is None:
                self._keeps_until = self._overlay.deadline()
                with trio.move_on_at(self._keeps_until):
                    await self._rows_due.park()
                continue
            rows = await self._turns.run(summarise, self._replica, refresh.models)
            self._gossip.refreshed(refresh, rows, trio.current_time())
            self._after_all()

    def _look_at_rows(self) -> None:
        """Wake the row keeper if it has something to do sooner than it knows."""
        if self._overlay.deadline() < self._keeps_until:
            self._rows_due.unpark_all()

    def _found(self, address: str, node_id: bytes | None) -> None:
        if address not in self.addresses:
            self._peers.found_untrusted(address, node_id, trio.current_time())
            self._dialler.look()

    # -- links -------------------------------------------------------------------------------

    async def _hold(self, link: Link) -> None:
        """Talk over a link until it ends; at once if another to the same node is to be kept."""
        now = trio.current_time()
        peer = link.peer
        if self._stopping:
            return
        old = self._connections.get(peer)
        session = self._overlay.join(peer, link.remote, dialled=link.dialled, now=now)
        if old is not None:
            self._after(old)
        if session is None:
            _log.debug("node %s at %s: the link is not kept", short(peer), link.address)
            return
        if old is not None:
            self._counters += old.session.counters
        connection = Connection(link, session)
        self._connections[peer] = connection
        self._rows_due.unpark_all()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read, connection)
                nursery.start_soon(self._work, connection)
                nursery.start_soon(self._watch, connection)
                await self._write(connection)
                nursery.cancel_scope.cancel()
            await link.close()
        finally:
            self._ended(connection)
        if peer not in self._connections:
            await self._turns.run(self._replica.forget, peer)

    def _ended(self, connection: Connection) -> None:
        """Forget a link that is over."""
        session, peer, now = connection.session, connection.link.peer, trio.current_time()
        if self._overlay.leave(session, now):
            del self._connections[peer]
            self._counters += session.counters
            if self._stopping and not self._connections:
                self._scope.cancel()
        self._read_clocks()
        level = logging.INFO if connection.was_open or session.fault else logging.DEBUG
        _log.log(level, "node %s at %s: %s", short(peer), connection.link.address, session.reason)
        self._dialler.look()
        self._changed.unpark_all()

    def _after(self, connection: Connection) -> None:
        """A session was given something: see what became of it, and wake its tasks."""
        if self._overlay.settle(connection.session, trio.current_time()):
            connection.was_open = True
            link = connection.link
            _log.info("node %s at %s: connected", short(link.peer), link.address)
            self._read_clocks()
            for other in self._connections.values():
                other.kick()  # one of them may have to make room
        self._look_at_rows()
        for alarm in connection.session.take_alarms():
            self._divergences += 1
            _log.error(
                "DIVERGENCE with node %s in %s: event %s has effect %s; "
                "run 'dinemic audit' on both nodes",
                short(connection.link.peer),
                alarm.model,
                short(alarm.event_id),
                "here and not there" if alarm.effective_here else "there and not here",
            )
        connection.kick()
        self._changed.unpark_all()

    def _after_all(self) -> None:
        for connection in self._connections.values():
            self._after(connection)

    def _read_clocks(self) -> None:
        was, self.clock_behind_us = (
            self.clock_behind_us,
            self._overlay.clock_behind_us(trio.current_time(), self._now_us()),
        )
        if _is_off(self.clock_behind_us) and not _is_off(was):
            _log.warning(
                "this host's clock is %.0f s %s the median of the peers': nothing is written here "
                "until it is set",
                abs(self.clock_behind_us or 0) / 1e6,
                "behind" if (self.clock_behind_us or 0) > 0 else "ahead of",
            )
        elif _is_off(was) and not _is_off(self.clock_behind_us):
            _log.info("this host's clock is about that of the peers again")

    async def _read(self, connection: Connection) -> None:
        link, session = connection.link, connection.session
        while session.state is not State.CLOSED:
            if session.ready_at > trio.current_time():  # it says too much: hold it up (GOS-3)
                session.hold(trio.current_time())
                with trio.move_on_at(session.ready_at):
                    await connection.reader.park()
                session.read_on(trio.current_time())
                continue
            try:
                frame = await link.recv()
            except TransportError as error:
                session.lost_link(str(error))
            else:
                if frame is None:
                    session.lost_link("the peer closed the link")
                else:
                    session.receive_frame_untrusted(frame, trio.current_time())
                    if self._overlay.hear(session, trio.current_time()):
                        self._after_all()
                        self._dialler.look()
            self._after(connection)

    async def _write(self, connection: Connection) -> None:
        """Send what the session says; returns when it is closed and has said its last word."""
        link, session = connection.link, connection.session
        while True:
            had_room = session.has_room
            message = session.next_message(self._now_us())
            if message is not None:
                try:
                    await link.send(encode(message))
                except TransportError as error:
                    session.lost_link(str(error))
                    self._after(connection)
                if session.has_room and not had_room:
                    connection.kick()  # there may be a job again
            elif session.state is State.CLOSED:
                return
            else:
                await connection.writer.park()

    async def _work(self, connection: Connection) -> None:
        """Run the session's jobs, one after another."""
        link, session = connection.link, connection.session
        while session.state is not State.CLOSED:
            job = session.next_job(trio.current_time())
            self._after(connection)
            if job is None:
                await connection.worker.park()
                continue
            run = self._turns.run_unproven if session.is_unproven(job) else self._turns.run
            try:
                outcome = await run(job.run, self._replica)
            except TransportError as error:
                session.failed(job, error)
            except DinemicError as error:
                _log.error("a %s for node %s: %s", type(job).__name__, short(link.peer), error)
                session.close("this node has a fault")
            except Exception:  # noqa: BLE001 - one session's bug must not end the others
                _log.exception("a %s for node %s failed", type(job).__name__, short(link.peer))
                session.close("this node has a fault")
            else:
                session.completed(job, outcome, trio.current_time())
            self._after(connection)

    async def _watch(self, connection: Connection) -> None:
        """Tick the session; when it is closed, see to it that the link ends soon."""
        session = connection.session
        while session.state is not State.CLOSED:
            connection.watched_until = session.deadline()
            with trio.move_on_at(connection.watched_until) as scope:
                await connection.watcher.park()
            if scope.cancelled_caught:
                session.tick(trio.current_time())
                self._read_clocks()
                self._after(connection)
        await trio.sleep(CLOSE_SECONDS)
        await connection.link.close()
