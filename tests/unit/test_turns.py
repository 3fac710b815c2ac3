"""Calls for peers of no use yet: one at a time, a quarter of the time, in nobody's way."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from dinemic_transport.turns import REST, REST_SECONDS_MAX, Turns


class Core:
    """An offload on which a call takes the seconds it is given; `running` at a time."""

    def __init__(self) -> None:
        self.running = self.most = self.calls = 0
        self.busy = 0.0

    async def __call__(self, call: Callable[[float], float], seconds: float) -> float:
        self.running += 1
        self.most = max(self.most, self.running)
        self.calls += 1
        try:
            await trio.sleep(seconds)
            self.busy += seconds
            return call(seconds)
        finally:
            self.running -= 1


def virtually(main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main, clock=MockClock(autojump_threshold=0))


def same(seconds: float) -> float:
    return seconds


def test_unproven_calls_take_turns_and_a_quarter_of_the_time_together() -> None:
    async def main() -> None:
        core = Core()
        turns = Turns(core)

        async def flood() -> None:
            while True:
                assert await turns.run_unproven(same, 0.005) == 0.005

        with trio.move_on_after(10):
            async with trio.open_nursery() as nursery:
                for _ in range(8):
                    nursery.start_soon(flood)
        assert core.most == 1
        assert core.busy == pytest.approx(10 / (1 + REST), rel=0.01)

    virtually(main)


def test_calls_of_use_wait_for_no_other() -> None:
    async def main() -> None:
        turns = Turns(Core())
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(turns.run_unproven, same, 1.0)
            await trio.sleep(0.5)
            began = trio.current_time()
            assert await turns.run(same, 0.25) == 0.25
            assert trio.current_time() - began == 0.25
            nursery.cancel_scope.cancel()

    virtually(main)


def test_the_first_after_a_quiet_time_waits_for_nothing_and_no_rest_is_longer_than_a_second() -> (
    None
):
    async def main() -> None:
        turns = Turns(Core())
        began = trio.current_time()
        await turns.run_unproven(same, 100.0)
        await turns.run_unproven(same, 0.0)
        assert trio.current_time() - began == 100.0 + REST_SECONDS_MAX
        await trio.sleep(5)
        began = trio.current_time()
        await turns.run_unproven(same, 0.0)
        assert trio.current_time() == began

    virtually(main)


def test_a_call_that_fails_or_is_given_up_leaves_the_turn_to_the_next() -> None:
    async def main() -> None:
        core = Core()
        turns = Turns(core)

        def fail(seconds: float) -> float:
            raise ValueError(seconds)

        with pytest.raises(ValueError, match=r"0\.5"):
            await turns.run_unproven(fail, 0.5)
        with trio.move_on_after(0.1):
            await turns.run_unproven(same, 60.0)
        with trio.fail_after(2):
            await turns.run_unproven(same, 0.0)
        assert core.running == 0

    virtually(main)
