"""One thread that tells others on this host what the node is doing, and takes nothing in.

A window is a socket that listens and a function that answers::

    window --accept--> connection --what was said so far--> answer --None--> wait for more
                            |                                 |
          after ANSWER_SECONDS_MAX, or when                   v
          room is needed: closed                        the reply, sent; closed

Nothing that is asked here can change anything. All sockets are non-blocking and watched by one
selector, so whoever connects and stalls keeps a place until his time is over or another needs it,
and delays nobody. The node is looked at no oftener than every LOOK_SECONDS, however many ask.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from dinemic.node import Status

ANSWER_SECONDS_MAX: Final = 2.0
"""For the question and the answer together."""

CONNECTIONS_MAX: Final = 16
REQUEST_BYTES_MAX: Final = 8192
LOOK_SECONDS: Final = 0.1
ACCEPT_PAUSE_SECONDS: Final = 0.1
STOP_SECONDS_MAX: Final = 2.0

Answer: TypeAlias = Callable[[bytes], bytes | None]
"""The whole reply to what somebody has said so far; None: that is not all of it yet."""

_log = logging.getLogger(__name__)


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Window:
    """A socket that listens, what is answered there, and what is left to do when it is closed."""

    listener: socket.socket
    answer_untrusted: Answer
    closed: Callable[[], None] = _nothing

    def close(self) -> None:
        """Listen no more."""
        self.closed()
        self.listener.close()


class Looks:
    """The status of a node, as of this moment or a little earlier. For one thread."""

    def __init__(self, look: Callable[[], Status]) -> None:
        self._look = look
        self._seen: tuple[float, Status] | None = None

    def __call__(self) -> Status:
        """The status."""
        now = time.monotonic()
        if self._seen is None or now >= self._seen[0] + LOOK_SECONDS:
            self._seen = now, self._look()
        return self._seen[1]


@dataclass(eq=False, slots=True)
class _Connection:
    """Somebody who asks. `reply` is what is left to be sent, once that is known."""

    socket: socket.socket
    window: Window
    until: float
    received: bytes = b""
    reply: memoryview | None = None


class Outlet:
    """The windows of a node. `metrics` is the address of the one for figures, if there is one."""

    def __init__(self, windows: Sequence[Window], metrics: str | None = None) -> None:
        self.metrics: Final = metrics
        self._windows = windows
        self._connections: list[_Connection] = []
        """Those who have been here longest come first."""
        self._selector = selectors.DefaultSelector()
        self._near, self._far = socket.socketpair()
        """A byte sent to the near end wakes the thread."""
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="dinemic-outlet", daemon=True)
        for sock in (self._far, *(window.listener for window in windows)):
            sock.setblocking(False)

    def start(self) -> None:
        """Answer from now on."""
        self._selector.register(self._far, selectors.EVENT_READ)
        for window in self._windows:
            self._selector.register(window.listener, selectors.EVENT_READ, window)
        self._thread.start()

    def stop(self) -> None:
        """Close every window, and cut off whoever is still being answered. Idempotent."""
        if self._stopping:
            return
        self._stopping = True
        if self._thread.ident is None:
            self._close()
        else:
            with contextlib.suppress(ConnectionError):  # it has seen that it is to stop
                self._near.send(b"\0")
            self._thread.join(STOP_SECONDS_MAX)
            if self._thread.is_alive():
                _log.warning("the outlet has not stopped after %.0f s", STOP_SECONDS_MAX)
        self._near.close()

    # -- the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._step()
        finally:
            self._close()

    def _step(self) -> None:
        """Wait for something to do, and do it."""
        until = min((each.until for each in self._connections), default=None)
        patience = None if until is None else max(0.0, until - time.monotonic())
        for key, _ in self._selector.select(patience):
            if isinstance(key.data, Window):
                self._accept(key.data)
            elif key.data in self._connections:  # not ended a moment ago, to make room
                self._go_on(key.data)
        now = time.monotonic()
        for connection in [each for each in self._connections if each.until <= now]:
            self._end(connection)

    def _accept(self, window: Window) -> None:
        try:
            sock, _ = window.listener.accept()
        except BlockingIOError:  # gone again
            return
        except OSError as error:  # no file descriptor is left, maybe: who waits goes on waiting
            _log.debug("the outlet could not accept: %s", error)
            time.sleep(ACCEPT_PAUSE_SECONDS)
            return
        if len(self._connections) >= CONNECTIONS_MAX:
            self._end(self._connections[0])
        sock.setblocking(False)
        connection = _Connection(sock, window, time.monotonic() + ANSWER_SECONDS_MAX)
        self._connections.append(connection)
        self._selector.register(sock, selectors.EVENT_READ, connection)
        self._reply(connection)

    def _go_on(self, connection: _Connection) -> None:
        """Take in what was said, or send more of the reply."""
        if connection.reply is not None:
            self._send(connection, connection.reply)
            return
        try:
            data = connection.socket.recv(REQUEST_BYTES_MAX)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        connection.received += data
        if data and len(connection.received) <= REQUEST_BYTES_MAX:
            self._reply(connection)
        else:
            self._end(connection)

    def _reply(self, connection: _Connection) -> None:
        """Answer, if enough was said."""
        try:
            reply = connection.window.answer_untrusted(connection.received)
        except Exception:  # noqa: BLE001 - one answer's bug must not end the others
            _log.exception("no answer could be given")
            self._end(connection)
            return
        if reply is not None:
            self._selector.modify(connection.socket, selectors.EVENT_WRITE, connection)
            self._send(connection, memoryview(reply))

    def _send(self, connection: _Connection, reply: memoryview) -> None:
        try:
            sent = connection.socket.send(reply)
        except BlockingIOError:
            sent = 0
        except OSError:  # gone
            self._end(connection)
            return
        connection.reply = reply[sent:]
        if not connection.reply:
            self._end(connection)

    def _end(self, connection: _Connection) -> None:
        self._connections.remove(connection)
        self._selector.unregister(connection.socket)
        with contextlib.suppress(OSError):  # gone already
            connection.socket.shutdown(socket.SHUT_WR)
        connection.socket.close()

    def _close(self) -> None:
        for window in self._windows:
            window.close()
        for connection in self._connections:
            connection.socket.close()
        self._selector.close()
        self._far.close()
