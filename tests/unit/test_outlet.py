"""The outlet answers whoever asks, and nobody who stalls, floods or ends badly delays another."""

from __future__ import annotations

import errno
import logging
import socket
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dinemic import outlet
from dinemic.node import Status
from dinemic.outlet import CONNECTIONS_MAX, REQUEST_BYTES_MAX, Answer, Looks, Outlet, Window

SECONDS_MAX = 10.0
"""More than anything here takes; what should come at once does so long before."""
LARGE = bytes(range(256)) * 40_000

Open = Callable[[Answer], tuple[Outlet, "Caller"]]


class Caller:
    """Opens connections to one window."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._open: list[socket.socket] = []

    def connect(self, say: bytes = b"") -> socket.socket:
        """A connection over which something was said."""
        self._open.append(socket.create_connection(self._address, timeout=SECONDS_MAX))
        self._open[-1].sendall(say)
        return self._open[-1]

    def ask(self, say: bytes = b"") -> bytes:
        """All that is answered."""
        return read(self.connect(say))

    def close(self) -> None:
        for each in self._open:
            each.close()


def read(asked: socket.socket) -> bytes:
    """All that comes; nothing if the other side has ended it."""
    found = b""
    try:
        while piece := asked.recv(65536):
            found += piece
    except ConnectionResetError:
        pass
    return found


@pytest.fixture
def open_one() -> Iterator[Open]:
    """Starts an outlet with one window, which is closed in the end."""
    opened: list[tuple[Outlet, Caller]] = []

    def start(answer: Answer) -> tuple[Outlet, Caller]:
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        found = Outlet([Window(listener, answer)]), Caller(listener.getsockname())
        opened.append(found)
        found[0].start()
        return found

    yield start
    for each, caller in opened:
        caller.close()
        each.stop()


def upper(said: bytes) -> bytes | None:
    """The answer to a whole line, in capitals."""
    return said.upper() if said.endswith(b"\n") else None


def test_everybody_is_answered(open_one: Open) -> None:
    _, caller = open_one(upper)
    calls = [caller.connect(b"who are ") for _ in range(CONNECTIONS_MAX)]
    for number, call in enumerate(calls):
        call.sendall(f"you, {number}\n".encode())
    assert [read(call) for call in calls] == [
        f"WHO ARE YOU, {number}\n".encode() for number in range(CONNECTIONS_MAX)
    ]


def test_what_needs_no_question_is_told_at_once(open_one: Open) -> None:
    _, caller = open_one(lambda said: b"hello")
    assert caller.ask() == b"hello"


def test_a_long_answer_arrives_whole(open_one: Open) -> None:
    _, caller = open_one(lambda said: LARGE)
    assert caller.ask() == LARGE


def test_who_stalls_delays_nobody_and_is_cut_off_in_time(
    open_one: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, patient = open_one(upper)
    stalled = [patient.connect(b"half a line") for _ in range(CONNECTIONS_MAX - 1)]
    assert patient.ask(b"me\n") == b"ME\n"  # while they are all still there
    for each in stalled:
        each.sendall(b"\n")
        assert read(each) == b"HALF A LINE\n"

    monkeypatch.setattr(outlet, "ANSWER_SECONDS_MAX", 0.05)
    _, strict = open_one(lambda said: LARGE if said else None)
    assert strict.ask() == b""  # says nothing
    deaf = strict.connect(b"?")  # does not take the answer
    assert strict.ask(b"") == b""  # so the other's time is over as well
    assert len(read(deaf)) < len(LARGE)


def test_when_there_is_no_room_who_came_first_goes(open_one: Open) -> None:
    _, caller = open_one(upper)
    calls = [caller.connect(b"...") for _ in range(CONNECTIONS_MAX)]
    assert caller.ask(b"me\n") == b"ME\n"
    assert read(calls[0]) == b""
    for each in calls[1:]:
        each.sendall(b"\n")
        assert read(each) == b"...\n"


def test_a_question_without_an_end_is_not_kept(
    open_one: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlet, "ANSWER_SECONDS_MAX", 600.0)
    _, caller = open_one(upper)
    call = caller.connect(b"x" * REQUEST_BYTES_MAX)
    call.sendall(b"x")
    assert read(call) == b""
    assert caller.ask(b"me\n") == b"ME\n"


def test_who_leaves_early_is_forgotten(open_one: Open) -> None:
    _, caller = open_one(upper)
    caller.connect(b"half").close()
    assert caller.ask(b"me\n") == b"ME\n"


def test_an_answer_that_fails_is_logged_and_ends_one_connection(
    open_one: Open, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(said: bytes) -> bytes | None:
        return upper(said) if b"?" not in said else str(1 // 0).encode()

    _, caller = open_one(answer)
    assert caller.ask(b"?") == b""
    assert caller.ask(b"me\n") == b"ME\n"
    assert [(each.levelno, each.message) for each in caplog.records] == [
        (logging.ERROR, "no answer could be given")
    ]


def test_where_no_connection_can_be_accepted_it_tries_on_without_hurry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Exhausted(socket.socket):
        """No file descriptor is left, three times."""

        tries = 0

        def accept(self) -> tuple[socket.socket, Any]:
            self.tries += 1
            if self.tries <= 3:
                raise OSError(errno.EMFILE, "Too many open files")
            return super().accept()

    pauses: list[float] = []
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=pauses.append)
    monkeypatch.setattr(outlet, "time", clock)
    listener = Exhausted()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    found = Outlet([Window(listener, upper)])
    caller = Caller(listener.getsockname())
    found.start()
    assert caller.ask(b"me\n") == b"ME\n"
    found.stop()
    caller.close()
    assert pauses == [outlet.ACCEPT_PAUSE_SECONDS] * 3


def test_it_stops_at_once_whoever_is_there(open_one: Open) -> None:
    found, caller = open_one(lambda said: LARGE if said else None)
    silent, deaf = caller.connect(), caller.connect(b"?")
    found.stop()
    found.stop()
    assert read(silent) == b""
    assert len(read(deaf)) < len(LARGE)
    with pytest.raises(ConnectionRefusedError):
        caller.connect()


def test_one_that_never_ran_closes_its_windows_too() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    closed: list[bool] = []
    Outlet([Window(listener, upper, lambda: closed.append(True))]).stop()
    assert closed == [True]
    assert listener.fileno() == -1


def test_however_many_ask_the_node_is_seldom_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(outlet, "time", SimpleNamespace(monotonic=lambda: now[0]))
    looked = iter(range(10))
    look = Looks(lambda: cast(Status, next(looked)))
    seen: list[object] = []
    for moment in (100.0, 100.05, 100.09, 100.1, 100.15, 107.0):
        now[0] = moment
        seen.append(look())
    assert seen == [0, 0, 0, 1, 1, 2]


def test_a_thread_that_is_awake_may_end_before_it_is_woken_to_end(open_one: Open) -> None:
    found, caller = open_one(lambda said: b"here")
    near = found._near

    def late(data: bytes) -> int:
        caller.ask()  # the thread wakes, sees that it is to stop, and closes everything
        found._thread.join(SECONDS_MAX)
        return near.send(data)

    found._near = cast("socket.socket", SimpleNamespace(send=late, close=near.close))
    found.stop()
    assert not found._thread.is_alive()
    assert near.fileno() == -1
