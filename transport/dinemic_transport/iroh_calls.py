"""Waiting for iroh in trio tasks: the two things its Python package asks of an event loop.

The package is made by UniFFI. A coroutine of it polls a future in Rust and waits for a future of
the running asyncio loop, which a thread of Rust's sets when it is worth polling again. It asks the
loop for nothing but `create_future` and `call_soon_threadsafe`, so `_Loop` stands in for one, and
is the running loop for the length of a step only::

    trio task                    coroutine of iroh          a thread of Rust's
    Call.result --- step ------> poll --------------------> ...
                <-- a _Wake ---- not ready                   |
       waits for it <-- trio token <-- call_soon_threadsafe -+ worth polling again
                --- step ------> poll: ready, done

No asyncio loop runs and no thread is ours, and a call that is dropped is dropped in Rust too.

What is used of UniFFI's inside is used here only, and pyproject.toml holds iroh to releases in
which it was tried.
"""

from __future__ import annotations

import asyncio
import ctypes
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from typing import Any, Final, Generic, TypeVar

import trio
from iroh import IrohError, iroh_ffi

_T = TypeVar("_T")


class Call(Generic[_T]):
    """One call into iroh. It begins with the first `result`; one task may wait at a time."""

    def __init__(self, coroutine: Coroutine[_Wake, None, _T]) -> None:
        self._coroutine = coroutine
        self._wake: _Wake | None = None

    async def result(self) -> _T:
        """What the call gives. Cancelled: it is kept as it is, and can be waited for again.

        Raises:
            IrohError: it failed.
        """
        while True:
            if self._wake is None:
                try:
                    self._wake = self._step()
                except StopIteration as done:
                    result: _T = done.value
                    return result
            await self._wake.event.wait()
            self._wake = None

    def drop(self) -> None:
        """Give the call up. Idempotent, and nothing after its end."""
        self._coroutine.close()

    def _step(self) -> _Wake:
        outer = asyncio._get_running_loop()  # one, if trio itself runs as a guest
        asyncio._set_running_loop(_LOOP)  # type: ignore[arg-type]  # stands in for one
        try:
            return self._coroutine.send(None)
        finally:
            asyncio._set_running_loop(outer)


async def finished(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """What a coroutine of iroh gives. Cancelled: it is given up.

    Raises:
        IrohError: it failed.
    """
    call = Call(coroutine)
    try:
        return await call.result()
    finally:
        call.drop()


def why(error: IrohError) -> str:
    """The reason in what iroh says of an error, without the places in its source."""
    return error.message().splitlines()[-1].strip()


class _Wake:
    """The future a coroutine of iroh waits for."""

    def __init__(self) -> None:
        self.event: Final = trio.Event()
        self.thread: Final = threading.get_ident()
        self.token: Final = trio.lowlevel.current_trio_token()
        self._result: object = None

    def cancelled(self) -> bool:
        """Asked before `set_result`, which does no harm to a call that was dropped."""
        return False

    def set_result(self, result: object) -> None:
        """On the trio thread: the coroutine may go on."""
        self._result = result
        self.event.set()

    def __await__(self) -> Generator[_Wake, None, object]:
        yield self
        return self._result


class _Loop:
    """As much of an asyncio loop as UniFFI uses."""

    def create_future(self) -> _Wake:
        return _Wake()

    def call_soon_threadsafe(
        self, call: Callable[[_Wake, object], object], wake: _Wake, result: object
    ) -> None:
        """``call(wake, result)`` on the trio thread of `wake`; at once if that is this one."""
        if threading.get_ident() == wake.thread:
            call(wake, result)
        else:
            with suppress(trio.RunFinishedError):  # nobody waits any more
                wake.token.run_sync_soon(call, wake, result)


_LOOP: Final = _Loop()


def _write(builder: Any, value: bytes | bytearray) -> None:
    """Append `value` to a buffer for Rust: in one piece, where UniFFI copies byte by byte.

    That loop takes 120 ms a megabyte, in the thread that runs all links; this takes 0.1. UniFFI
    mended it in a release that iroh is not made with yet.
    """
    with builder._reserve(len(value)):
        end = ctypes.addressof(builder.rbuf.data.contents) + builder.rbuf.len
        ctypes.memmove(end, bytes(value), len(value))


iroh_ffi._UniffiRustBufferBuilder.write = _write  # type: ignore[method-assign]
