"""Runs the sans-I/O parts on trio: links in, links out, jobs on threads, time.

::

    transport.serve --+--> _hold(link) -- reader ---> Session ---> sender --> link
    dialler ----------+                   timer --->   |   ^
       ^                                               v   |
    Peers <--- discoveries            worker: next_job -> thread(replica) -> completed
                                                           |
    announce (any thread) --> queue --> Gossip.announce    v
                         row keeper: Gossip.take_due -> thread(replica) -> refreshed

Four tasks a link, and none of them ever waits for another's peer. All state is touched by the trio
thread alone; other threads come in through `announce`, which only queues.

One job runs at a time for a session, and the calls of all sessions share a few threads. A job
that hangs in a listener of the application is left behind when the runner stops: its thread ends
when the call does, so a replica must stand calls that come after it was closed.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import trio

from dinemic_engine.errors import DinemicError, TransportError, UsageError
from dinemic_engine.ids import short
from dinemic_transport.exchange import Exchange
from dinemic_transport.gossip import Gossip
from dinemic_transport.jobs import summarise
from dinemic_transport.link import Discovery, Link, Transport
from dinemic_transport.messages import check_models, cluster_hash
from dinemic_transport.peers import Dial, Peers
from dinemic_transport.replica import Replica
from dinemic_transport.session import Session, State, event_id_untrusted
from dinemic_transport.status import NetworkStatus, PeerStatus
from dinemic_transport.wire import encode

JOB_THREADS: Final = 4
"""The replica judges one batch at a time anyway; more threads only read beside it."""

DIALS_MAX: Final = 16
CLOSE_SECONDS: Final = 0.5
"""What a closing link gets to pass on a last word."""

ANNOUNCED_EVENTS_MAX: Final = 16_384
ANNOUNCED_BYTES_MAX: Final = 16 << 20
"""Events admitted faster than the trio thread takes them; beyond this a catch-up brings them."""

_log = logging.getLogger(__name__)


Offload = Callable[..., Awaitable[Any]]
"""``await offload(call, *args)`` is what a blocking call returns; the trio thread goes on."""


class _Connection:
    """A link, its session, and where its tasks wait."""

    def __init__(self, link: Link, session: Session) -> None:
        self.link = link
        self.session = session
        self.was_open = False
        self._lot = trio.lowlevel.ParkingLot()

    def kick(self) -> None:
        """The session has changed: every task looks again."""
        self._lot.unpark_all()

    async def changed(self) -> None:
        """Wait for the next kick."""
        await self._lot.park()


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
    ) -> None:
        self.addresses: tuple[str, ...] = ()
        """Listened on, once running."""
        self._replica = replica
        self._transport = transport
        self._node_id = node_id
        self._cluster = cluster_hash(cluster)
        self._models = check_models(replica.models())
        self._rand = rand
        self._given = tuple(peers)
        self._discover = discover
        self._offload: Offload = offload or _Threads()
        self._identify = identify
        self._gossip = Gossip(identify)
        self._peers = Peers(node_id, rand)
        self._takes_part = exchange
        self._exchange = Exchange(node_id, rand)
        self._connections: dict[bytes, _Connection] = {}
        self._scope = trio.CancelScope()
        self._stopping = False
        self._token: trio.lowlevel.TrioToken | None = None
        self._rows_due = trio.lowlevel.ParkingLot()
        self._dial_due = trio.lowlevel.ParkingLot()
        self._changed = trio.lowlevel.ParkingLot()
        self._lock = threading.Lock()
        self._announced: deque[tuple[str, Sequence[bytes]]] = deque()
        self._announced_events = 0
        self._announced_bytes = 0
        self._overflowed: set[str] = set()
        self._divergences = 0

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
            token = self._token
        if token is not None:
            with suppress(trio.RunFinishedError):  # stopped meanwhile: nobody is left to tell
                token.run_sync_soon(self._tell, idempotent=True)

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
        peers = tuple(
            PeerStatus(
                node_id=node_id,
                address=connection.link.address,
                dialled=connection.link.dialled,
                state=_STATE_WORDS[connection.session.state],
                synced=connection.session.synced,
                catching_up=connection.session.catching_up,
                score=connection.session.score.at(now),
                models=connection.session.status(now),
                counters=connection.session.counters,
            )
            for node_id, connection in sorted(self._connections.items())
        )
        return NetworkStatus(
            self._node_id,
            self.addresses,
            len(self._peers),
            self.synced,
            peers,
            self._divergences,
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
                    if self._takes_part:
                        self._exchange.listen(self.addresses)
                    for discovery in self._discover(self.addresses):
                        nursery.start_soon(discovery.run, self._found)
                    task_status.started(self.addresses)

                for address in self._given:
                    self._peers.given(address, trio.current_time())
                self._tell()
                nursery.start_soon(self._transport.serve, self._hold, started)
                nursery.start_soon(self._keep_rows)
                nursery.start_soon(self._keep_dialling)

    # -- telling -----------------------------------------------------------------------------

    def _tell(self) -> None:
        """Pass what was announced to gossip."""
        with self._lock:
            announced, self._announced = self._announced, deque()
            overflowed, self._overflowed = self._overflowed, set()
            self._announced_events = self._announced_bytes = 0
        now = trio.current_time()
        for model, batches in groupby(announced, key=itemgetter(0)):
            self._gossip.announce(model, [raw for _, events in batches for raw in events], now)
        for model in overflowed:
            self._gossip.lost(model, now)
        self._rows_due.unpark_all()
        for connection in self._connections.values():
            self._after(connection)

    async def _keep_rows(self) -> None:
        """Read rows when they are due."""
        while True:
            refresh = self._gossip.take_due(trio.current_time())
            if refresh is None:
                with trio.move_on_at(self._gossip.deadline()):
                    await self._rows_due.park()
                continue
            rows = await self._offload(summarise, self._replica, refresh.models)
            self._gossip.refreshed(refresh, rows, trio.current_time())
            for connection in self._connections.values():
                self._after(connection)

    # -- dialling ----------------------------------------------------------------------------

    def _found(self, address: str, node_id: bytes | None) -> None:
        if address not in self.addresses:
            self._peers.found_untrusted(address, node_id, trio.current_time())
            self._dial_due.unpark_all()

    async def _keep_dialling(self) -> None:
        slots = trio.Semaphore(DIALS_MAX)
        async with trio.open_nursery() as nursery:
            while True:
                dial = None
                if slots.value:
                    dial = self._peers.next_dial(trio.current_time())
                if dial is None:
                    deadline = self._peers.deadline() if slots.value else math.inf
                    with trio.move_on_at(deadline):
                        await self._dial_due.park()
                    continue
                await slots.acquire()
                nursery.start_soon(self._dial, dial, slots)

    async def _dial(self, dial: Dial, slots: trio.Semaphore) -> None:
        """Dial, and hold the link for as long as it lasts."""
        try:
            link = await self._transport.dial(dial.address, dial.expect)
        except (TransportError, UsageError) as error:
            _log.debug("dialling %s: %s", dial.address, error)
            self._peers.failed(dial.address, trio.current_time())
            return
        finally:
            slots.release()
            self._dial_due.unpark_all()
        try:
            self._peers.reached(dial.address, link.peer)
            await self._hold(link)
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(CLOSE_SECONDS):
                await link.close()

    # -- links -------------------------------------------------------------------------------

    async def _hold(self, link: Link) -> None:
        """Talk over a link until it ends; at once if another to the same node is to be kept."""
        now = trio.current_time()
        peer = link.peer
        if self._stopping:
            return
        if self._peers.banned(peer, now):
            _log.debug("node %s at %s is cut off for its faults", short(peer), link.address)
            return
        old = self._connections.get(peer)
        if old is not None:
            if not self._peers.prefers_new(peer, dialled=link.dialled):
                old.session.probe(now)
                self._after(old)
                return
            old.session.close("another link to the same node is kept")
            self._after(old)
        session = Session(
            self._node_id,
            peer,
            cluster=self._cluster,
            models=self._models,
            now=now,
            rand=self._rand,
            identify=self._identify,
            quiet=self._gossip.quiet,
        )
        connection = _Connection(link, session)
        self._connections[peer] = connection
        self._peers.joined(peer, now, dialled=link.dialled)
        self._gossip.add(session)
        self._exchange.add(session, link.remote, dialled=link.dialled)
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

    def _ended(self, connection: _Connection) -> None:
        """Forget a link that is over."""
        session, peer, now = connection.session, connection.link.peer, trio.current_time()
        session.lost_link("this node stopped")
        self._gossip.remove(session)
        self._exchange.remove(session)
        if self._connections.get(peer) is connection:
            del self._connections[peer]
            self._peers.left(peer, now)
            if self._stopping and not self._connections:
                self._scope.cancel()
        if session.fault:
            self._peers.ban(peer, now)
        level = logging.INFO if connection.was_open or session.fault else logging.DEBUG
        _log.log(level, "node %s at %s: %s", short(peer), connection.link.address, session.reason)
        self._dial_due.unpark_all()
        self._changed.unpark_all()

    def _after(self, connection: _Connection) -> None:
        """A session was given something: see what became of it, and wake its tasks."""
        if not connection.was_open and connection.session.state is State.OPEN:
            connection.was_open = True
            link = connection.link
            _log.info("node %s at %s: connected", short(link.peer), link.address)
            self._exchange.opened(connection.session)
        if connection.session.wants_rows:
            self._rows_due.unpark_all()
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

    async def _read(self, connection: _Connection) -> None:
        link, session = connection.link, connection.session
        while session.state is not State.CLOSED:
            try:
                frame = await link.recv()
            except TransportError as error:
                session.lost_link(str(error))
            else:
                if frame is None:
                    session.lost_link("the peer closed the link")
                else:
                    session.receive_frame_untrusted(frame, trio.current_time())
                    self._learn(session)
            self._after(connection)

    def _learn(self, session: Session) -> None:
        """Take what a peer has told of others, and tell those of it."""
        told, now = session.take_told(), trio.current_time()
        if told is None:
            return
        for hint in self._exchange.hints_untrusted(session, told, now):
            if hint.address not in self.addresses:
                self._peers.told_untrusted(hint.address, hint.node_id, session.peer, now)
                self._dial_due.unpark_all()
        if self._exchange.introduce_untrusted(session, told.port):
            for connection in self._connections.values():
                self._after(connection)

    async def _write(self, connection: _Connection) -> None:
        """Send what the session says; returns when it is closed and has said its last word."""
        link, session = connection.link, connection.session
        while True:
            message = session.next_message(trio.current_time())
            if message is not None:
                try:
                    await link.send(encode(message))
                except TransportError as error:
                    session.lost_link(str(error))
                self._after(connection)
            elif session.state is State.CLOSED:
                return
            else:
                await connection.changed()

    async def _work(self, connection: _Connection) -> None:
        """Run the session's jobs, one after another."""
        link, session = connection.link, connection.session
        while session.state is not State.CLOSED:
            job = session.next_job(trio.current_time())
            self._after(connection)
            if job is None:
                await connection.changed()
                continue
            try:
                outcome = await self._offload(job.run, self._replica)
            except TransportError as error:
                session.failed(error)
            except DinemicError as error:
                _log.error("a %s for node %s: %s", type(job).__name__, short(link.peer), error)
                session.close("this node has a fault")
            except Exception:  # noqa: BLE001 - one session's bug must not end the others
                _log.exception("a %s for node %s failed", type(job).__name__, short(link.peer))
                session.close("this node has a fault")
            else:
                session.completed(job, outcome, trio.current_time())
            self._after(connection)

    async def _watch(self, connection: _Connection) -> None:
        """Tick the session; when it is closed, see to it that the link ends soon."""
        session = connection.session
        while session.state is not State.CLOSED:
            with trio.move_on_at(session.deadline()) as scope:
                await connection.changed()
            if scope.cancelled_caught:
                session.tick(trio.current_time())
                self._after(connection)
        await trio.sleep(CLOSE_SECONDS)
        await connection.link.close()


_STATE_WORDS: Final = {
    State.GREETING: "greeting",
    State.LISTING: "greeting",
    State.HEARD: "greeting",
    State.OPEN: "open",
    State.CLOSED: "closed",
}


class _Threads:
    """Calls on worker threads, a few at a time. A cancelled call is left to end by itself."""

    def __init__(self) -> None:
        self._limiter: trio.CapacityLimiter | None = None

    async def __call__(self, call: Callable[..., Any], *args: Any) -> Any:
        if self._limiter is None:
            self._limiter = trio.CapacityLimiter(JOB_THREADS)
        return await trio.to_thread.run_sync(
            call, *args, abandon_on_cancel=True, limiter=self._limiter
        )
