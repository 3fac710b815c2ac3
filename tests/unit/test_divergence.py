"""Nodes that judge the same events differently: both find out, name the first, and go on (VETO-4).

What must never raise the alarm is in property/test_divergence.py as well.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import pytest
import trio

from dinemic_engine.ids import short, to_text
from dinemic_engine.outcomes import Ingested
from dinemic_engine.ranges import HIGHEST, LOWEST
from dinemic_engine.reconcile import Gap, Segment, Settled
from dinemic_transport.jobs import AnswerJob, Checked, CheckJob, read_row, summarise
from dinemic_transport.messages import Answer, Ask, Confirm, Dispute, Events, Hello, Message, Row
from dinemic_transport.rows import COMPARE_SECONDS, GRACE_SECONDS, RETRY_SECONDS, Divergence
from dinemic_transport.session import Session
from dinemic_transport.states import State
from support.cluster import cluster, run, until
from support.dict_replica import MODEL, REFUSED, DictReplica, identify, made_event, made_events
from support.session_pair import CLUSTER, LARGE, SMALL, Pair, drain, make_session

EVENTS = made_events(200)
IDS = [identify(raw) for raw in EVENTS]
NAMES = [to_text(event_id) for event_id in IDS]
FP = b"f" * 16
PEER = b"p" * 32


def alarms(pair: Pair[DictReplica, DictReplica]) -> list[tuple[str, bool] | None]:
    """What small and large have found out about MODEL: the event, and where it has effect."""
    found: list[tuple[str, bool] | None] = []
    for node in (pair.small, pair.large):
        (status,) = node.session.status(pair.now)
        assert status.model == MODEL
        alarm = status.divergence
        found.append(None if alarm is None else (alarm.event_id, alarm.effective_here))
    return found


def counted(pair: Pair[DictReplica, DictReplica], name: str) -> list[int]:
    return [getattr(node.session.counters, name) for node in (pair.small, pair.large)]


def diverging(
    *, small: Sequence[bytes] = (), large: Sequence[bytes] = (), inert: bool = False
) -> Pair[DictReplica, DictReplica]:
    """Two nodes with the same events, and what each takes for void, or for inert."""
    pair = Pair(DictReplica(EVENTS), DictReplica(EVENTS))
    for node, ids in ((pair.small, small), (pair.large, large)):
        if inert:
            node.replica.inert = frozenset(ids)
        else:
            node.replica.void = frozenset(ids)
    return pair


# -- what raises the alarm -------------------------------------------------------------------------


@pytest.mark.parametrize("inert", [False, True], ids=["counted on both", "inert on one"])
@pytest.mark.parametrize("at", [0, 77, 199])
@pytest.mark.parametrize("side", ["small", "large"])
def test_both_sides_name_the_event_that_has_effect_on_one(side: str, at: int, inert: bool) -> None:
    void = [IDS[at]]
    small, large = (void, []) if side == "small" else ([], void)
    pair = diverging(small=small, large=large, inert=inert)
    pair.run(GRACE_SECONDS + 0.1)
    assert alarms(pair) == [(NAMES[at], side == "large"), (NAMES[at], side == "small")]
    assert counted(pair, "divergences") == [1, 1]
    assert not pair.small.gossip.synced
    assert not pair.large.gossip.synced
    for node in (pair.small, pair.large):
        assert [alarm.event_id for alarm in node.session.take_alarms()] == [NAMES[at]]
        assert node.session.take_alarms() == []


@pytest.mark.parametrize("inert", [False, True], ids=["counted", "inert"])
def test_of_many_the_first_in_the_order_is_named(inert: bool) -> None:
    pair = diverging(small=IDS[120:], large=[IDS[60], *IDS[130:]], inert=inert)
    pair.run(GRACE_SECONDS + 0.1)
    assert alarms(pair) == [(NAMES[60], True), (NAMES[60], False)]


def test_the_first_of_very_many_costs_few_messages() -> None:
    events = made_events(20_000)
    pair = Pair(DictReplica(events), DictReplica(events))
    ids = [identify(raw) for raw in events]
    pair.small.replica.void = frozenset(ids[7000:9000:2])
    pair.large.replica.void = frozenset(ids[15_000:])
    pair.run(GRACE_SECONDS + 0.1)
    assert alarms(pair) == [(to_text(ids[7000]), False), (to_text(ids[7000]), True)]
    assert sum(isinstance(message, Ask) for message in pair.small.sent) <= 4
    assert pair.small.sent_bytes + pair.large.sent_bytes < 100_000


def test_a_bug_in_what_comes_later_is_found_too() -> None:
    pair = diverging()
    pair.run(1)
    assert pair.synced
    news = made_event(5_000_000)
    pair.small.replica.inert = frozenset([identify(news)])
    pair.large.replica.author([news])
    pair.run(2)
    name = to_text(identify(news))
    assert alarms(pair) == [(name, False), (name, True)]


# -- what becomes of it ----------------------------------------------------------------------------


@pytest.mark.parametrize("inert", [False, True], ids=["counted", "inert"])
def test_nothing_loops_nobody_is_blamed_and_the_alarm_is_raised_once(inert: bool) -> None:
    pair = diverging(large=IDS[50:60], inert=inert)
    hour = 3600.0
    pair.run(hour)
    assert counted(pair, "divergences") == [1, 1]
    assert 3 <= pair.small.session.counters.comparisons <= hour / COMPARE_SECONDS[1] + 10
    assert pair.large.session.counters.comparisons == 0
    assert pair.small.session.counters.catchups <= (hour / RETRY_SECONDS[1] + 10) * inert
    sent = sum(isinstance(message, Events) for message in pair.small.sent + pair.large.sent)
    assert (sent > 0) is inert
    for node in (pair.small, pair.large):
        assert node.session.state is State.OPEN
        assert node.session.score.at(pair.now) >= 0


def test_news_goes_on_and_other_models_are_caught_up_all_the_same() -> None:
    pair = diverging(large=IDS[50:51])
    pair.run(5)
    pair.small.replica.author(made_events(30, start=9_000_000))
    pair.large.replica.author(made_events(5, start=8_000_000, model="Album"))
    pair.run(0)
    assert pair.equal
    pair.large.replica._keep(made_event(9_500_000))  # nobody announces it: a catch-up finds it
    pair.run(60)
    assert pair.equal
    statuses = {status.model: status for status in pair.small.session.status(pair.now)}
    assert statuses["Album"].equal is True
    assert statuses["Album"].divergence is None
    assert statuses[MODEL].equal is False
    assert statuses[MODEL].divergence == Divergence(MODEL, NAMES[50], effective_here=True)
    assert counted(pair, "divergences") == [1, 1]


@pytest.mark.parametrize("inert", [False, True], ids=["counted", "inert"])
def test_the_alarm_ends_when_both_judge_alike_and_can_be_raised_again(inert: bool) -> None:
    pair = diverging(large=IDS[50:51], inert=inert)
    pair.run(5)
    pair.large.replica.void = pair.large.replica.inert = frozenset()
    pair.run(60)
    assert alarms(pair) == [None, None]
    assert pair.synced
    pair.small.replica.void = frozenset(IDS[9:10])
    pair.run(600)
    assert alarms(pair) == [(NAMES[9], False), (NAMES[9], True)]
    assert counted(pair, "divergences") == [2, 2]


def test_another_first_event_takes_the_place_of_the_one_named_without_a_new_alarm() -> None:
    pair = diverging(large=IDS[50:51])
    pair.run(5)
    pair.large.replica.void = frozenset([IDS[20], IDS[50]])
    pair.run(600)
    assert alarms(pair) == [(NAMES[20], True), (NAMES[20], False)]
    assert counted(pair, "divergences") == [1, 1]


# -- what does not ---------------------------------------------------------------------------------


def test_events_that_one_side_refuses_are_no_divergence() -> None:
    refused = [made_event(number, REFUSED) for number in (1, 2)]
    pair = Pair(DictReplica([*EVENTS, refused[0]]), DictReplica([*EVENTS, refused[1]]))
    pair.run(10)  # longer, and who passes on what is refused is cut
    assert not pair.equal
    assert pair.small.session.counters.catchups >= 3
    assert counted(pair, "comparisons") == [0, 0]
    assert alarms(pair) == [None, None]


class Waits(DictReplica):
    """What it is sent waits: it is dated ahead of this node's clock, or lacks a parent."""

    def ingest(self, source: bytes, events: Sequence[bytes]) -> Ingested:
        known = sum(identify(raw) in self.ids for raw in events)
        return Ingested(0, known, len(events) - known, ())


@pytest.mark.parametrize("waiting", ["small", "large"])
def test_events_that_wait_on_one_side_are_no_divergence(waiting: str) -> None:
    """A revocation waits there, so what it makes void here still has effect there."""
    revocation = made_event(5_000_000)
    knows, waits = DictReplica([*EVENTS, revocation]), Waits(EVENTS)
    knows.inert = frozenset(IDS[50:60])
    small, large = (waits, knows) if waiting == "small" else (knows, waits)
    pair: Pair[DictReplica, DictReplica] = Pair(small, large)
    pair.run(300)
    assert pair.small.session.counters.catchups > 3
    assert counted(pair, "comparisons") == [0, 0]
    assert alarms(pair) == [None, None]


class Lacks(DictReplica):
    """It counts an event that it cannot deliver."""

    def events(self, ids: Sequence[bytes]) -> list[tuple[str, bytes] | None]:
        return [None if found and found[1] == LOST else found for found in super().events(ids)]


LOST = made_event(5_000_000)


def test_events_that_are_named_and_not_delivered_are_no_divergence() -> None:
    """Perhaps it is what is lost that makes the others void."""
    small, large = DictReplica(EVENTS), Lacks([*EVENTS, LOST])
    small.inert = frozenset(IDS[50:60])
    pair: Pair[DictReplica, DictReplica] = Pair(small, large)
    pair.run(10)
    assert pair.small.session.counters.catchups >= 3
    assert counted(pair, "comparisons") == [0, 0]


def test_nothing_is_disputed_of_a_set_that_has_changed_since_it_was_compared() -> None:
    replica = DictReplica(EVENTS)
    row, theirs = read_row(replica, MODEL), (6_000_000, b"k" * 32)
    found = Settled((theirs,), (Gap(LOWEST, HIGHEST, frozenset()),))
    first = int.from_bytes(EVENTS[0][:8], "big"), IDS[0]
    assert CheckJob(row, found).run(replica) == Checked(first, effective=True)
    assert CheckJob(row, Settled((theirs,), ())).run(replica) == Checked(theirs, effective=False)
    replica.author([made_event(5_000_000)])
    assert CheckJob(row, found).run(replica) == Checked(None, effective=False)
    row = read_row(replica, MODEL)
    replica.void = frozenset(IDS[7:8])
    assert CheckJob(row, found).run(replica) == Checked(None, effective=False)


def test_sets_that_change_while_they_are_compared_raise_no_alarm_until_they_stand_still() -> None:
    """Between any two messages verdicts and sets change on one side, and rows tell of it later."""
    pair = diverging(large=IDS[50:51])
    for number in range(60):
        pair.run(0.02 + GRACE_SECONDS * (number % 3 == 0), steps=number % 7 + 1)
        pair.large.replica.void ^= frozenset(IDS[number + 60 : number + 61])
        pair.small.replica.author([made_event(6_000_000 + number)])
        for node in (pair.small, pair.large):
            for status in node.session.status(pair.now):
                assert status.divergence in (None, Divergence(MODEL, NAMES[50], node is pair.small))
    pair.run(COMPARE_SECONDS[1] + 1)
    assert alarms(pair) == [(NAMES[50], True), (NAMES[50], False)]


# -- liars -----------------------------------------------------------------------------------------


class Peer:
    """A session under test with `EVENTS`, the first of them void, and somebody who says things."""

    def __init__(self, *claims: Row, driven: bool = True) -> None:
        self.replica = DictReplica(EVENTS)
        self.replica.void = frozenset(IDS[:1])
        self.row = read_row(self.replica, MODEL)
        me, peer = (SMALL, LARGE) if driven else (LARGE, SMALL)
        self.session = make_session(me=me, peer=peer)
        self.session.refresh(summarise(self.replica, None), frozenset(), 0.0)
        self.session.receive_untrusted(Hello(CLUSTER, ("*",), claims or (self.row,)), 0.0)
        drain(self.session)

    def says(self) -> Message | None:
        """The last thing the session has to say, if anything."""
        while (job := self.session.next_job(0.0)) is not None:
            self.session.completed(job, job.run(self.replica), 0.0)
        said = drain(self.session)
        return said[-1] if said else None

    def answer(self, message: Message) -> Message | None:
        """The last thing it says to that."""
        self.session.receive_untrusted(message, 0.0)
        return self.says()


def dispute(row: Row, at: int, *, effective: bool, t: int | None = None) -> Dispute:
    key = int.from_bytes(EVENTS[at][:8], "big") if t is None else t, IDS[at]
    return Dispute(MODEL, key, effective, (row.fingerprint, row.effective))


@pytest.mark.parametrize(("at", "effective"), [(0, True), (1, False)])
def test_a_dispute_that_is_so_is_confirmed_and_raises_the_alarm(at: int, effective: bool) -> None:
    peer = Peer(driven=False)
    assert peer.answer(dispute(peer.row, at, effective=effective)) == Confirm(MODEL, True)
    (alarm,) = peer.session.take_alarms()
    assert alarm == Divergence(MODEL, NAMES[at], effective_here=not effective)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda row: dispute(row, 0, effective=False), id="void on both sides"),
        pytest.param(lambda row: dispute(row, 1, effective=True), id="effective on both sides"),
        pytest.param(
            lambda row: dispute(Row(MODEL, 1, FP, row.effective, FP), 1, effective=False),
            id="our set",
        ),
        pytest.param(
            lambda row: dispute(Row(MODEL, 1, row.fingerprint, FP, FP), 1, effective=False),
            id="our effective set",
        ),
        pytest.param(
            lambda row: Dispute(MODEL, (5, b"?" * 32), True, (row.fingerprint, row.effective)),
            id="an event nobody has",
        ),
    ],
)
def test_a_dispute_that_is_not_so_is_not_confirmed(make: Callable[[Row], Dispute]) -> None:
    peer = Peer(driven=False)
    assert peer.answer(make(peer.row)) == Confirm(MODEL, False)
    assert peer.session.take_alarms() == []
    assert peer.session.state is State.OPEN


def test_a_peer_that_does_not_confirm_raises_no_alarm() -> None:
    honest = DictReplica(EVENTS)
    peer = Peer(read_row(honest, MODEL))
    assert peer.session.counters.comparisons == 1
    said = peer.says()
    while isinstance(said, Ask):
        assert said.effective
        said = peer.answer(AnswerJob(MODEL, said.segments, effective=True).run(honest))
    assert isinstance(said, Dispute)
    assert said.key[1] == IDS[0]
    assert peer.answer(Confirm(MODEL, False)) is None
    assert peer.session.take_alarms() == []
    assert peer.session.state is State.OPEN


def closed_for(session: Session, reason: str) -> bool:
    assert session.state is State.CLOSED
    assert reason in session.reason
    return session.fault


def test_an_answer_about_all_events_to_a_question_about_effective_ones_is_refused() -> None:
    for effective, claim in ((True, Row(MODEL, 200, FP, FP, FP)), (False, None)):
        peer = Peer(read_row(DictReplica(EVENTS), MODEL) if claim is None else claim)
        assert isinstance(peer.says(), Ask)
        peer.answer(Answer(MODEL, (Segment(HIGHEST, None),), effective))
        assert closed_for(peer.session, "answer to nothing asked")


def test_a_confirmation_of_nothing_is_refused() -> None:
    for claims in ((), (Row(MODEL, 7, FP, FP, FP),), (read_row(DictReplica(EVENTS), MODEL),)):
        peer = Peer(*claims)
        peer.says()
        peer.answer(Confirm(MODEL, True))
        assert closed_for(peer.session, "confirmation of nothing")


def test_a_dispute_about_a_model_that_was_not_asked_for_is_refused() -> None:
    session = make_session(models=("Album",))
    session.refresh([], frozenset(), 0.0)
    session.receive_untrusted(Hello(CLUSTER, ("*",), ()), 0.0)
    session.receive_untrusted(Dispute(MODEL, (1, PEER), True, (FP, FP)), 0.0)
    assert closed_for(session, "did not ask for")


# -- in a network ----------------------------------------------------------------------------------


def test_the_network_says_it_once_counts_it_and_is_not_in_sync(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        events = made_events(300)
        ids = [identify(raw) for raw in events]
        async with cluster(events, events, events) as (_, hosts):
            hosts[2].replica.void = frozenset([ids[40]])
            await until(lambda: hosts[2].runner.status().divergences == 2)
            await trio.sleep(600)
            assert [host.runner.status().divergences for host in hosts] == [1, 1, 2]
            with trio.move_on_after(60):
                await hosts[0].runner.wait_synced()
                raise AssertionError("in sync with a node that judges differently")
            first = hosts[0].runner.status()
            assert not first.synced
            assert [peer.synced for peer in first.peers] == [True, False]
            (status,) = first.peers[1].models
            assert status.divergence == Divergence(MODEL, to_text(ids[40]), effective_here=True)
            said = [record for record in caplog.records if "DIVERGENCE" in record.getMessage()]
            assert {record.levelno for record in said} == {logging.ERROR}
            assert len(said) == 4
            text = f"in {MODEL}: event {short(ids[40])} has effect"
            assert all(text in record.getMessage() for record in said)

    run(main)
