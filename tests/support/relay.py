"""A relay between two hosts: keeps what passed, delays it, and cuts when told."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from types import TracebackType

_IN_FLIGHT_MAX = 256
"""Pieces on their way in one direction: a sender that is faster than the delay has to wait."""


class Relay:
    """Forwards connections to `target` (``host:port``), both ways, each way `delay_seconds` late.

    `listen` is where, any free port of loopback unless said otherwise.
    """

    def __init__(
        self, target: str, listen: str = "127.0.0.1:0", *, delay_seconds: float = 0.0
    ) -> None:
        self._target = _place(target)
        self._listener = socket.create_server(_place(listen))
        self._delay_seconds = delay_seconds
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._marks: list[int] = []
        self._severed = False
        self.captured = bytearray()
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        """Where to dial instead of the target."""
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    def cut_at(self, *octets: int) -> None:
        """Break every connection when so many bytes have passed in all, at each of the marks."""
        with self._lock:
            self._marks = sorted(octets)

    def cut(self) -> None:
        """Break every connection now."""
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def sever(self) -> None:
        """Break every connection and let none through until `mend`: a partition."""
        self._severed = True
        self.cut()

    def mend(self) -> None:
        """Let connections through again."""
        self._severed = False

    def close(self) -> None:
        """Stop listening and break every connection."""
        self._listener.close()
        self.cut()

    def __enter__(self) -> Relay:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._severed:
                near.close()
                continue
            try:
                far = socket.create_connection(self._target)
            except OSError:
                near.close()
                continue
            with self._lock:
                self._sockets |= {near, far}
                self.connections += 1
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        if self._delay_seconds:
            self._pump_late(source, sink)
        else:
            self._pump_at_once(source, sink)
        self._drop(source, sink)

    def _pump_late(self, source: socket.socket, sink: socket.socket) -> None:
        """Read on while what was read is on its way."""
        flight: queue.Queue[tuple[float, bytes]] = queue.Queue(_IN_FLIGHT_MAX)

        def arrive() -> None:
            while True:
                due, data = flight.get()
                time.sleep(max(0.0, due - time.monotonic()))
                if not data:
                    self._drop(source, sink)
                    return
                with contextlib.suppress(OSError):  # a reader that is gone ends the other side
                    sink.sendall(data)

        arriving = threading.Thread(target=arrive, daemon=True)
        arriving.start()
        while True:
            data = _read(source)
            flight.put((time.monotonic() + self._delay_seconds, data))
            if not data:
                break
        arriving.join()

    def _pump_at_once(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                with self._lock:
                    self.captured += data
                    cut = bool(self._marks) and len(self.captured) >= self._marks[0]
                    if cut:
                        del self._marks[0]
                if cut:
                    break
                sink.sendall(data)

    def _drop(self, *sockets: socket.socket) -> None:
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
            with self._lock:
                self._sockets.discard(each)


def _place(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def _read(source: socket.socket) -> bytes:
    """What comes next; nothing at the end, in order or not."""
    try:
        return source.recv(65536)
    except OSError:
        return b""
