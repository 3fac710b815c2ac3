"""iroh's coroutines in trio tasks: cancelled, dropped, side by side with asyncio; and its bytes."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

pytest.importorskip("iroh", reason="the extra 'iroh' is not installed")

import iroh

from dinemic_transport.iroh_calls import Call, finished, why


def options(alpns: list[bytes]) -> iroh.EndpointOptions:
    return iroh.EndpointOptions(
        preset=iroh.preset_minimal(),
        bind_addr="127.0.0.1:0",
        alpns=alpns,
        relay_mode=iroh.RelayMode.disabled(),
    )


@asynccontextmanager
async def endpoint() -> AsyncIterator[iroh.Endpoint]:
    opened = await finished(iroh.Endpoint.bind(options([b"x"])))
    try:
        yield opened
    finally:
        with trio.CancelScope(shield=True):
            await finished(opened.close())


def where(opened: iroh.Endpoint) -> iroh.EndpointAddr:
    """Its address; it takes a moment until it knows that itself."""
    return iroh.EndpointAddr(opened.id(), None, opened.bound_sockets()[:1])


@pytest.mark.parametrize("size", [0, 1, 11, 12, 13, 16, 17, 4096, 1 << 20])
def test_bytes_of_every_size_reach_rust_unchanged(size: int) -> None:
    """What Rust signs is what Python's own signature of the same bytes says."""
    data = bytes(n % 251 for n in range(size))
    seed = b"\7" * 32
    ours = Ed25519PrivateKey.from_private_bytes(seed).sign(data)
    assert iroh.SecretKey.from_bytes(seed).sign(data).to_bytes() == ours


async def cancelled(call: Call[Any]) -> None:
    """Begin a call, and cancel the task that waits for it."""
    with trio.CancelScope() as scope:
        scope.cancel()
        await call.result()
    assert scope.cancelled_caught


def test_a_call_whose_waiter_was_cancelled_is_kept_and_loses_nothing() -> None:
    async def main() -> None:
        async with endpoint() as one, endpoint() as other:
            accepting = Call(other.accept_next())
            await cancelled(accepting)
            async with trio.open_nursery() as nursery:
                connecting = Call(one.connect(where(other), b"x"))
                await cancelled(connecting)
                nursery.start_soon(connecting.result)
                incoming = await accepting.result()
                assert incoming is not None
                accepted = await finished((await finished(incoming.accept())).connect())
            assert accepted.remote_id() == one.id()

    trio.run(main)


def test_a_call_that_was_dropped_is_dropped_in_rust() -> None:
    async def main() -> None:
        async with endpoint() as one, endpoint() as other:
            first = other.accept_next()
            with trio.CancelScope() as scope:
                scope.cancel()
                await finished(first)
            assert inspect.getcoroutinestate(first) == inspect.CORO_CLOSED
            async with trio.open_nursery() as nursery:
                nursery.start_soon(finished, one.connect(where(other), b"x"))
                assert await finished(other.accept_next()) is not None
                nursery.cancel_scope.cancel()

    trio.run(main)


def test_dropping_a_call_twice_or_after_its_end_is_harmless() -> None:
    async def main() -> None:
        async with endpoint() as one:
            begun, done = Call(one.accept_next()), Call(one.remote_addr(one.id()))
            await cancelled(begun)
            await done.result()
            for call in (begun, begun, done):
                call.drop()

    trio.run(main)


def test_an_error_is_raised_where_it_is_waited_for_and_says_why() -> None:
    async def main() -> None:
        async with endpoint() as one:
            with pytest.raises(iroh.IrohError) as error:
                await finished(one.connect(where(one), b"x"))
            assert why(error.value).startswith("Connecting to ourself is not supported")

    trio.run(main)


def test_a_program_that_uses_iroh_with_asyncio_is_not_disturbed() -> None:
    bound = []

    async def theirs() -> None:
        for _ in range(10):
            opened = await iroh.Endpoint.bind(options([]))
            bound.append(opened.bound_sockets())
            await opened.close()

    async def ours() -> None:
        while thread.is_alive():
            async with endpoint():
                with pytest.raises(RuntimeError):
                    asyncio.get_running_loop()

    thread = threading.Thread(target=asyncio.run, args=(theirs(),))
    thread.start()
    trio.run(ours)
    thread.join()
    assert len(bound) == 10
