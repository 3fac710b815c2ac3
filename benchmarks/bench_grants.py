"""What grants cost: judging an event on an object with one grant, and with thousands."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from benchmarks.harness import Goal, Report, Side, Size, cost_ratio, costs, take_turns
from benchmarks.workloads import BEGINNING_US, drawn, fresh_home, hash_of, verifying
from dinemic_engine.edits import Set
from dinemic_engine.event import Event, sign_event
from dinemic_engine.ids import AuthorId, EventId, ObjectId
from dinemic_engine.keys import SealingKey, SigningKey
from dinemic_engine.ledger import Ledger
from dinemic_engine.limits import T_US_MAX
from dinemic_engine.ops import SUITE_X25519, UPDATE, Create, Grant, Op, Policy, Revoke
from dinemic_engine.store.rocks import RocksStore
from dinemic_engine.view import View


class Parameters(NamedTuple):
    """Grants of the object that has many, times one key was granted, events in a block, blocks."""

    grants: int
    times: int
    ops: int
    blocks: int


PARAMETERS: dict[Size, Parameters] = {
    "small": Parameters(grants=40, times=5, ops=10, blocks=3),
    "large": Parameters(grants=10_000, times=2_000, ops=200, blocks=50),
}
_GRANTS_IN_EVENT = 1_000


class _Team:
    """An object with `grants` updaters, of whom every tenth was ended if `ended`; one writes.

    That one was granted the role, and lost it again, so many `times` before.
    """

    def __init__(
        self, ledger: Ledger, seed: int, grants: int, *, ended: bool = False, times: int = 0
    ) -> None:
        self._ledger = ledger
        self._owner = SigningKey(drawn("team", seed))
        self._sealing = SealingKey(drawn("team sealing", seed)).public
        writer = SigningKey(drawn(f"member {grants // 2}", seed))
        self._last = sign_event(
            self._owner,
            None,
            BEGINNING_US,
            (),
            [Create("Team", SUITE_X25519, self._sealing, Policy())],
        )
        self.object: ObjectId = self._last.object
        self._admit(self._last)
        members = [
            AuthorId(SigningKey(drawn(f"member {number}", seed)).public) for number in range(grants)
        ]
        self._write([self._grant(member) for member in members])
        if ended:
            gone = [member for member in members[::10] if member != writer.public]
            self._write([Revoke(UPDATE, member) for member in gone])
        for _ in range(times):
            self._write([Revoke(UPDATE, AuthorId(writer.public))])
            self._write([self._grant(AuthorId(writer.public))])
        self._key = writer

    def _grant(self, member: AuthorId) -> Grant:
        return Grant(UPDATE, ObjectId(member), member, SUITE_X25519, self._sealing)

    def _write(self, ops: list[Op]) -> None:
        for begin in range(0, len(ops), _GRANTS_IN_EVENT):
            self._admit(self._child(self._owner, ops[begin : begin + _GRANTS_IN_EVENT]))

    def _child(self, key: SigningKey, ops: list[Op]) -> Event:
        return sign_event(key, self.object, self._last.t + 1, [EventId(self._last.id)], ops)

    def _admit(self, event: Event) -> None:
        proposal = self._ledger.prepare([event], T_US_MAX)
        assert proposal.admitted, "the setup is allowed"
        self._ledger.accept(proposal)
        self._last = event

    def judging(self, count: int) -> Callable[[], None]:
        """Judge `count` events by the writer, each on top of what is there; none is kept."""
        events = [self._child(self._key, [Set("name", number)]) for number in range(count)]

        def run() -> None:
            for event in events:
                self._ledger.prepare([event], T_US_MAX)

        run()
        assert all(self._ledger.prepare([event], T_US_MAX).admitted for event in events)
        return run


def run(size: Size) -> Report:
    """Time it."""
    grants, times, ops, blocks = PARAMETERS[size]
    with fresh_home() as config:
        store = RocksStore(config.home / "store")
        ledger = Ledger(store)
        one, many = _Team(ledger, 1, 1), _Team(ledger, 2, grants)
        ended = _Team(ledger, 3, grants, ended=True)
        again = _Team(ledger, 4, 1, times=times)
        timings = take_turns(
            [
                Side("one grant", ops, one.judging(ops)),
                Side("many grants", ops, many.judging(ops)),
                Side("many grants, some ended", ops, ended.judging(ops)),
                Side("one key, again and again", ops, again.judging(ops)),
                Side("verify", 16, verifying(16)),
            ],
            blocks,
        )
        result = hash_of(View(store).digest_all(), ledger.tip.seq)
        store.close()
    goal = Goal("<=", 2.0) if size == "large" else None
    return Report(
        "grants",
        str(__doc__),
        result,
        [
            cost_ratio(
                timings,
                "many grants",
                "one grant",
                goal=goal,
                name=f"judging at {grants:,} grants / at one",
            ),
            cost_ratio(
                timings,
                "many grants, some ended",
                "one grant",
                goal=goal,
                name=f"at {grants:,}, a tenth of them ended / at one",
            ),
            cost_ratio(
                timings,
                "one key, again and again",
                "one grant",
                goal=goal,
                name=f"one key granted {times:,} times / once",
            ),
            cost_ratio(timings, "many grants", "verify"),
        ],
        costs(timings),
    )
