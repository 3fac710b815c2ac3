"""The links of one transport, whatever it is over: they live while it serves (CHAN-4).

::

    accept --> welcome: turn -- handshake -- link, handler --.
                                                             +--> closed, or aborted at the end
    dial ----> ready ---------- handshake -- link, start ----'    of `open`

`open` runs the writers of all links, of dialled ones too. How hands are shaken is the transport's.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from dinemic_engine.errors import TransportError, UsageError
from dinemic_transport.door import Door
from dinemic_transport.handshakes import Turn
from dinemic_transport.link import Link
from dinemic_transport.stream_link import Stream, StreamLink

_STOPPED = "the transport stopped"

_log = logging.getLogger(__name__)


class Links:
    """The links of a transport whose visitors come through `door`."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._nursery: trio.Nursery | None = None
        self._open = trio.Event()
        self._links: set[StreamLink] = set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[trio.Nursery]:
        """The nursery that links run in. When it ends so does every link.

        Raises:
            UsageError: it is open.
        """
        if self._nursery is not None:
            raise UsageError("this transport serves already")
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self._open.set()
                yield nursery
        finally:
            self._nursery = None
            self._open = trio.Event()
            for link in list(self._links):
                link.abort(_STOPPED)

    async def ready(self) -> None:
        """Wait until links may be made."""
        await self._open.wait()

    def add(
        self, stream: Stream, *, peer: bytes, dialled: bool, address: str, remote: str
    ) -> StreamLink:
        """A link over a stream whose handshake is done; its writer does not run yet."""
        link = StreamLink(
            stream,
            peer=peer,
            dialled=dialled,
            address=address,
            remote=remote,
            ended=self._links.discard,
        )
        self._links.add(link)
        return link

    def start(self, link: StreamLink) -> None:
        """Run the writer of a link that was dialled.

        Raises:
            TransportError: it is too late, and the link over.
        """
        if self._nursery is None:
            link.abort(_STOPPED)
            raise TransportError(_STOPPED)
        self._nursery.start_soon(link.write_until_closed)

    async def welcome(
        self,
        turn: Turn,
        address: str,
        shake_hands: Callable[[float], Awaitable[StreamLink]],
        handler: Callable[[Link], Awaitable[None]],
    ) -> None:
        """One accepted connection, from its turn to its end.

        `shake_hands` is told when to begin. What it raises is why `address` is refused.
        """
        try:
            link = await shake_hands(turn.begins)
        except TransportError as error:
            self._door.refuse(address, str(error))
            return
        finally:
            self._door.shaken(turn)
        self._door.entered(turn)
        since = trio.current_time()
        try:
            await _hold(link, handler)
        finally:
            self._door.left(turn, trio.current_time() - since)


async def _hold(link: StreamLink, handler: Callable[[Link], Awaitable[None]]) -> None:
    """Run writer and handler of an accepted link until the handler returns; then close it.

    What the handler raises ends this link and no other: TransportError is ordinary, any other
    error is logged.
    """
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.write_until_closed)
            try:
                await handler(link)
            finally:
                await link.close()
    except* TransportError as group:
        _log.debug("%s: link ended: %s", link.address, group.exceptions[0])
    except* Exception:  # noqa: BLE001 - one handler's bug must not end the others' links
        _log.exception("%s: the link's handler failed", link.address)
