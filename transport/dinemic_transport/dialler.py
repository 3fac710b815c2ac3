"""Dials whom the address book says, a few at a time, and hands every link on.

::

    Peers --due--> dial, 16 at once --link--> hold, for as long as it lasts
      ^              |                          |
      +--- failed ---+        ... left, due again after its back-off

Whom to dial and when is the book's to say (peers.py); here it is done.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from dinemic_engine.errors import TransportError, UsageError
from dinemic_transport.link import CLOSE_SECONDS, Link, Transport
from dinemic_transport.peers import Dial, Peers

DIALS_MAX: Final = 16

_log = logging.getLogger(__name__)


class Dialler:
    """Dials over `transport` what is due in `peers`. `hold(link)` returns when a link is over."""

    def __init__(
        self, transport: Transport, peers: Peers, hold: Callable[[Link], Awaitable[None]]
    ) -> None:
        self._transport = transport
        self._peers = peers
        self._hold = hold
        self._due = trio.lowlevel.ParkingLot()

    def look(self) -> None:
        """The book has changed, or what links there are: something may be due sooner."""
        self._due.unpark_all()

    async def run(self) -> None:
        """Dial for ever."""
        slots = trio.Semaphore(DIALS_MAX)
        async with trio.open_nursery() as nursery:
            while True:
                dial = None
                if slots.value:
                    dial = self._peers.next_dial(trio.current_time())
                if dial is None:
                    deadline = self._peers.deadline() if slots.value else math.inf
                    with trio.move_on_at(deadline):
                        await self._due.park()
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
            self.look()
        try:
            self._peers.reached(dial.address, link.peer)
            await self._hold(link)
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(CLOSE_SECONDS):
                await link.close()
