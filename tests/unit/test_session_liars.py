"""A peer that breaks the rules is closed with a reason; one that only knows less is not."""

import math
from collections.abc import Callable

import pytest

from dinemic_engine.limits import EVENT_BYTES_MAX
from dinemic_engine.ranges import HIGHEST
from dinemic_engine.reconcile import RangeRefused, Segment
from dinemic_transport.driver import REQUEST_SECONDS
from dinemic_transport.jobs import summarise
from dinemic_transport.liveness import (
    HELLO_SECONDS,
    PING_SECONDS,
    PROBE_SECONDS,
    SILENCE_SECONDS,
)
from dinemic_transport.messages import (
    PART_BYTES,
    Answer,
    Ask,
    Bye,
    Confirm,
    Dispute,
    Events,
    Got,
    Hello,
    Message,
    Neighbour,
    Part,
    Peers,
    Ping,
    Pong,
    Row,
    Summary,
    Want,
    cluster_hash,
    weight,
)
from dinemic_transport.pages import events_messages
from dinemic_transport.queues import INBOX_BYTES_MAX, OUTBOX_BYTES_MAX
from dinemic_transport.rows import MODELS_MAX
from dinemic_transport.states import State
from dinemic_transport.work import REQUESTS_MAX
from support.dict_replica import (
    BAD_BYTES,
    MODEL,
    REFUSED,
    DictReplica,
    identify,
    made_event,
    made_events,
)
from support.session_pair import CLUSTER, LARGE, SMALL, Pair, drain, make_session

FP = b"f" * 16
ID = b"i" * 32
HELLO = Hello(CLUSTER, ("*",), ())
EVENT = made_event(5)


def key_of(raw: bytes) -> tuple[int, bytes]:
    return int.from_bytes(raw[:8], "big"), identify(raw)


class Liar:
    """A session under test, its replica, and somebody who says what he likes."""

    def __init__(
        self, *, has: list[bytes] | None = None, claims: tuple[Row, ...] = (), driven: bool = True
    ) -> None:
        me, peer = (SMALL, LARGE) if driven else (LARGE, SMALL)
        self.replica = DictReplica(has or [])
        self.session = make_session(me=me, peer=peer)
        self.session.refresh(summarise(self.replica, None), frozenset(), 0.0)
        self.says(Hello(CLUSTER, ("*",), claims))
        assert isinstance(drain(self.session)[0], Hello)

    def says(self, *messages: Message, now: float = 0.0) -> None:
        for message in messages:
            self.session.receive_untrusted(message, now)

    def hears(self, now: float = 0.0) -> list[Message]:
        """Everything the session does and says until it waits again."""
        while (job := self.session.next_job(now)) is not None:
            try:
                outcome = job.run(self.replica)
            except RangeRefused as error:
                self.session.failed(job, error)
            else:
                self.session.completed(job, outcome, now)
        return drain(self.session, now)

    def is_closed_for(self, reason: str) -> bool:
        assert self.session.state is State.CLOSED
        assert reason in self.session.reason, self.session.reason
        last = drain(self.session)[-1]
        assert last == Bye(self.session.reason)
        return self.session.fault


OPEN_ONLY: list[Message] = [
    Ask(MODEL, (Segment(HIGHEST, FP),)),
    Answer(MODEL, (Segment(HIGHEST, None),)),
    Want(1, MODEL, (ID,)),
    Events(0, MODEL, (EVENT,)),
    Part(0, MODEL, 0, 2, b"x"),
    Got(1, 0),
    Ping(),
    Pong(),
    Peers(7000),
    Dispute(MODEL, (5, ID), True, (FP, FP)),
    Confirm(MODEL, True),
]


@pytest.mark.parametrize("message", [*OPEN_ONLY, Summary(())], ids=lambda m: type(m).__name__)
def test_nothing_may_come_before_hello(message: Message) -> None:
    session = make_session()
    session.refresh([], frozenset(), 0.0)
    session.receive_untrusted(message, 0.0)
    assert session.state is State.CLOSED
    assert session.fault
    assert "while greeting" in session.reason


@pytest.mark.parametrize("message", [*OPEN_ONLY, HELLO], ids=lambda m: type(m).__name__)
def test_only_rows_may_come_while_rows_are_listed(message: Message) -> None:
    session = make_session()
    session.refresh([], frozenset(), 0.0)
    session.receive_untrusted(Hello(CLUSTER, ("*",), (), more=True), 0.0)
    session.receive_untrusted(Summary((), more=True), 0.0)
    assert session.state is State.LISTING
    session.receive_untrusted(message, 0.0)
    assert "while listing" in session.reason


@pytest.mark.parametrize(
    "message", [*OPEN_ONLY, HELLO, Summary(())], ids=lambda m: type(m).__name__
)
def test_nothing_may_come_before_we_have_greeted_back(message: Message) -> None:
    session = make_session()
    session.receive_untrusted(HELLO, 0.0)
    assert session.state is State.HEARD
    session.receive_untrusted(message, 0.0)
    assert "while heard" in session.reason


def test_a_second_hello_is_refused() -> None:
    liar = Liar()
    liar.says(HELLO)
    assert liar.is_closed_for("Hello while open")


def test_a_frame_that_is_no_message_is_refused() -> None:
    liar = Liar()
    liar.session.receive_frame_untrusted(b"\xff garbage", 0.0)
    assert liar.is_closed_for("not a message")


def test_another_cluster_is_refused() -> None:
    session = make_session()
    session.refresh([], frozenset(), 0.0)
    session.receive_untrusted(Hello(cluster_hash("other"), ("*",), ()), 0.0)
    assert "another cluster" in session.reason
    assert not any(isinstance(message, Summary) for message in drain(session))


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        pytest.param([Answer(MODEL, (Segment(HIGHEST, None),))], "nothing asked", id="answer"),
        pytest.param([Got(1, 5)], "nothing asked", id="got"),
        pytest.param([Events(1, MODEL, (EVENT,))], "nothing asked", id="events not wanted"),
        pytest.param([Part(0, MODEL, 1, 2, b"x")], "out of its place", id="second part first"),
        pytest.param(
            [Part(0, MODEL, 0, 3, b"x"), Part(0, MODEL, 2, 3, b"x")], "out of its", id="part lost"
        ),
        pytest.param(
            [Part(0, MODEL, 0, 3, b"x"), Part(0, MODEL, 1, 4, b"x")], "another event", id="total"
        ),
        pytest.param(
            [Part(0, MODEL, 0, 3, b"x"), Part(0, "Album", 1, 3, b"x")], "another", id="model"
        ),
        pytest.param(
            [Part(0, MODEL, 0, 3, b"x"), Events(0, MODEL, (EVENT,))], "amid the parts", id="amid"
        ),
        pytest.param(
            [Part(0, MODEL, index, 18, b"x" * PART_BYTES) for index in range(18)],
            f"event of {18 * PART_BYTES}",
            id="an event too large",
        ),
        pytest.param([Want(1, MODEL, (ID,))] * (REQUESTS_MAX + 1), "requests at once", id="wants"),
        pytest.param(
            [Ask(MODEL, (Segment(HIGHEST, FP),))] * (REQUESTS_MAX + 1), "requests at", id="asks"
        ),
        pytest.param(
            [
                Summary(tuple(Row(f"M{page}_{row}", 1, FP, FP, FP) for row in range(500)))
                for page in range(MODELS_MAX // 500 + 1)
            ],
            "more than 16384 models",
            id="models without end",
        ),
        pytest.param(
            list(events_messages(-1, MODEL, [b"x" * 50_000] * (INBOX_BYTES_MAX // 50_000 + 1))),
            "more events than a request",
            id="an offer without end",
        ),
    ],
)
def test_messages_that_fit_no_request_are_refused(messages: list[Message], reason: str) -> None:
    liar = Liar()
    liar.says(*messages)
    assert liar.is_closed_for(reason)


def test_models_that_were_not_asked_for_are_refused_in_every_message() -> None:
    for message in (
        Ask("Album", (Segment(HIGHEST, FP),)),
        Want(1, "Album", (ID,)),
        Events(0, "Album", (EVENT,)),
    ):
        session = make_session(models=("Person",))
        session.refresh([], frozenset(), 0.0)
        session.receive_untrusted(Hello(CLUSTER, ("*",), (Row("Album", 5, FP, FP, FP),)), 0.0)
        assert session.status(0.0) == ()
        session.receive_untrusted(message, 0.0)
        assert "did not ask for" in session.reason


def test_a_question_against_the_rules_is_refused() -> None:
    liar = Liar(has=made_events(40))
    liar.says(Ask(MODEL, (Segment((9, b""), FP), Segment((9, b""), FP))))
    liar.hears()
    assert liar.session.fault
    assert "do not ascend" in liar.session.reason


def asked(liar: Liar) -> Ask:
    (ask,) = liar.hears()
    assert isinstance(ask, Ask)
    return ask


CLAIM = (Row(MODEL, 100, FP, FP, FP),)


def test_an_answer_against_the_rules_is_refused() -> None:
    liar = Liar(claims=CLAIM)
    asked(liar)
    liar.says(Answer(MODEL, (Segment(HIGHEST, FP),)))
    liar.hears()
    assert "not one list" in liar.session.reason
    assert liar.session.fault


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Answer("Album", (Segment(HIGHEST, None),)), id="another model"),
        pytest.param(Got(1, 0), id="an acknowledgement"),
        pytest.param(Events(1, MODEL, ()), id="events"),
    ],
)
def test_another_answer_than_the_one_asked_for_is_refused(answer: Message) -> None:
    liar = Liar(claims=CLAIM)
    asked(liar)
    liar.says(answer)
    assert liar.session.fault


def wanted(liar: Liar, events: list[bytes]) -> Want:
    asked(liar)
    keys = tuple(sorted(key_of(raw) for raw in events))
    liar.says(Answer(MODEL, (Segment(HIGHEST, keys),)))
    (want,) = liar.hears()
    assert isinstance(want, Want)
    assert want.ids == tuple(event_id for _, event_id in keys)
    return want


def test_events_other_than_those_asked_for_are_refused() -> None:
    events = made_events(3)
    for answer, reason in (
        (Events(1, MODEL, (made_event(99),)), "other than those asked"),
        (Events(1, MODEL, (events[0], events[0])), "other than those asked"),
        (Events(2, MODEL, (events[0],)), "not out"),
        (Events(1, "Album", (events[0],)), "not out"),
    ):
        liar = Liar(claims=CLAIM)
        wanted(liar, events)
        liar.says(answer)
        assert liar.is_closed_for(reason)


def test_events_after_the_last_of_a_window_are_refused() -> None:
    liar = Liar(claims=CLAIM)
    events = made_events(3)
    wanted(liar, events)
    liar.says(Events(1, MODEL, (events[0],)), Events(1, MODEL, (events[1],)))
    assert liar.is_closed_for("not out")


def test_a_window_in_instalments_is_asked_on_until_it_is_complete() -> None:
    liar = Liar(claims=CLAIM)
    events = made_events(3)
    wanted(liar, events)
    for ticket in (1, 2):
        liar.says(Events(ticket, MODEL, (events[ticket - 1],)))
        (more,) = liar.hears()
        assert isinstance(more, Want)
        assert more.ids == tuple(map(identify, events[ticket:]))
    liar.says(Events(3, MODEL, (events[2],)))
    liar.hears()
    assert liar.replica.ids == set(map(identify, events))


def test_few_events_named_and_not_delivered_lower_the_score_and_many_cut() -> None:
    liar = Liar(claims=CLAIM)
    wanted(liar, made_events(5))
    liar.says(Events(1, MODEL, ()))
    liar.hears()
    assert liar.session.state is State.OPEN
    assert liar.session.score.at(0.0) == -50
    liar = Liar(claims=CLAIM)
    wanted(liar, made_events(11))
    liar.says(Events(1, MODEL, ()))
    liar.hears()
    assert liar.session.fault
    assert "not delivered" in liar.session.reason


def test_a_request_that_brings_nothing_times_out() -> None:
    ask: Callable[[Liar], object] = asked
    want: Callable[[Liar], object] = lambda liar: wanted(liar, made_events(5))  # noqa: E731
    for begin in (ask, want):
        liar = Liar(claims=CLAIM)
        begin(liar)
        now = 0.0
        while now < REQUEST_SECONDS - 30:
            now += 30
            liar.says(Pong(), now=now)
            liar.session.tick(now)
        assert liar.session.state is State.OPEN
        liar.says(Pong(), now=REQUEST_SECONDS)
        liar.session.tick(REQUEST_SECONDS)
        assert liar.is_closed_for("not answered in time")


def test_wanted_ids_that_are_not_here_are_left_out_and_nobody_is_blamed() -> None:
    events = made_events(3)
    liar = Liar(has=events, driven=False)
    liar.says(Want(5, MODEL, (ID, identify(events[1]), b"j" * 32)))
    assert liar.hears() == [Events(5, MODEL, (events[1],))]
    liar.says(Want(6, "Album", (identify(events[1]),)))  # here, but of another model
    assert liar.hears() == [Events(6, "Album", ())]
    assert liar.session.state is State.OPEN


def test_a_claim_of_2_to_the_63_events_costs_one_question() -> None:
    liar = Liar(claims=(Row(MODEL, (1 << 63) - 1, FP, FP, FP),))
    asked(liar)
    liar.says(Answer(MODEL, (Segment(HIGHEST, None),)))
    assert liar.hears() == []
    assert liar.session.counters.catchups == 1


def test_three_events_of_bad_bytes_cut_a_peer() -> None:
    liar = Liar()
    liar.says(Events(0, MODEL, (BAD_BYTES, BAD_BYTES)))
    assert liar.session.state is State.OPEN
    liar.says(Events(0, MODEL, (EVENT, BAD_BYTES)))
    assert liar.is_closed_for("too many faults")
    assert liar.session.counters.refused == 3


def test_six_refused_events_cut_a_peer_and_admitted_ones_weigh_against_them() -> None:
    refused = made_events(6, filler=REFUSED)
    liar = Liar()
    liar.says(Events(0, MODEL, tuple(refused)))
    liar.hears()
    assert liar.session.fault
    assert "AUTH-5/closed" in liar.session.reason
    liar = Liar()
    liar.says(Events(0, MODEL, (*made_events(50, start=9), *refused)))
    liar.hears()
    assert liar.session.state is State.OPEN
    assert liar.session.counters.refused == 6


def test_duplicates_are_never_punished() -> None:
    liar = Liar(has=made_events(5))
    for _ in range(100):
        liar.says(Events(0, MODEL, tuple(made_events(5))))
        liar.hears()
    assert liar.session.score.at(0.0) == 0
    assert liar.session.counters.duplicate == 500


def test_news_faster_than_the_node_judges_is_dropped_and_the_session_goes_on() -> None:
    liar = Liar()
    for number in range(INBOX_BYTES_MAX // 50_000 + 10):
        liar.says(Events(0, MODEL, (made_event(number, b"x" * 50_000),)))
    assert liar.session.state is State.OPEN
    assert liar.session.counters.dropped > 0
    liar.hears()
    assert len(liar.replica.ids) + liar.session.counters.dropped == INBOX_BYTES_MAX // 50_000 + 10


def test_a_peer_that_asks_and_does_not_read_is_not_served_without_end() -> None:
    events = [made_event(number, b"x" * 900_000) for number in range(20)]
    liar = Liar(has=events, driven=False)
    ids = tuple(map(identify, events))
    held = 0
    for ticket in range(1, 100):
        liar.says(Want(ticket, MODEL, ids))
        while (job := liar.session.next_job(0.0)) is not None:
            liar.session.completed(job, job.run(liar.replica), 0.0)
        held = max(held, liar.session._outbox.size)
    assert liar.session.fault  # its requests are in line, and one is too many
    assert held < 8 << 20 < OUTBOX_BYTES_MAX


def test_a_peer_that_does_not_read_what_it_is_told_is_closed() -> None:
    liar = Liar()
    told = Peers(7000, tuple(Neighbour(bytes([n]) * 32, "10.0.0.1:7000") for n in range(16)))
    for _ in range(OUTBOX_BYTES_MAX // weight(told)):
        liar.session.tell(told)
    assert liar.session.state is State.OPEN
    liar.session.tell(told)
    liar.session.tell(told)
    assert not liar.is_closed_for("the peer does not read")


def test_pings_are_answered_once_while_the_answer_waits() -> None:
    liar = Liar()
    liar.says(*[Ping()] * 1000)
    assert liar.hears() == [Pong()]


def test_a_peer_that_does_not_greet_is_closed() -> None:
    session = make_session()
    session.refresh([], frozenset(), 0.0)
    assert session.deadline() == HELLO_SECONDS
    session.tick(HELLO_SECONDS)
    assert "no greeting" in session.reason
    assert not session.fault


def test_a_silent_peer_is_pinged_and_then_closed() -> None:
    liar = Liar()
    now, pings = 0.0, 0
    while liar.session.state is State.OPEN:
        now = liar.session.deadline()
        liar.session.tick(now)
        pings += drain(liar.session, now).count(Ping())
        if liar.session.wants_rows:
            liar.session.refresh([], frozenset(), now)
    assert now == SILENCE_SECONDS
    assert pings == 2
    assert "silent" in liar.session.reason
    assert not liar.session.fault


def test_no_time_runs_for_a_peer_that_is_not_read() -> None:
    liar = Liar(claims=(Row(MODEL, 5, FP, FP, FP),))
    session, named = liar.session, b"n" * 32
    assert any(isinstance(said, Ask) for said in liar.hears())  # to be answered in time
    session.graft(MODEL, [named], 1.0)
    session.probe(2.0)
    session.hold(3.0)
    now, pings = 3.0, 0
    while now < 3.0 + 2 * REQUEST_SECONDS:
        now = session.deadline()
        session.tick(now)
        session.hold(now)
        pings += drain(session, now).count(Ping())
    assert session.state is State.OPEN
    assert pings == pytest.approx(2 * REQUEST_SECONDS / PING_SECONDS, abs=2)
    assert session.score.at(now) == 0
    session.read_on(now)
    session.read_on(now)
    assert session.deadline() == pytest.approx(now + PROBE_SECONDS - 1.0)
    session.receive_untrusted(Pong(), now)
    for _ in range(2):
        now += SILENCE_SECONDS / 2 - 1
        session.tick(now)
        session.receive_untrusted(Pong(), now)
    assert session.score.at(now) < 0  # what it had named did not come
    session.tick(now + SILENCE_SECONDS)
    assert "silent" in session.reason


def test_a_peer_that_is_not_read_before_it_greets_has_as_much_longer() -> None:
    session = make_session()
    session.refresh([], frozenset(), 0.0)
    session.hold(1.0)
    assert session.deadline() == math.inf
    session.tick(2 * HELLO_SECONDS)
    session.read_on(2 * HELLO_SECONDS)
    assert session.deadline() == 3 * HELLO_SECONDS - 1.0


def test_a_closed_session_does_nothing_more() -> None:
    liar = Liar(has=made_events(3))
    liar.says(Want(1, MODEL, (ID,)))
    job = liar.session.next_job(0.0)
    assert job is not None
    liar.session.close("enough")
    liar.session.completed(job, job.run(liar.replica), 0.0)
    liar.says(*OPEN_ONLY)
    liar.session.refresh([Row(MODEL, 5, FP, FP, FP)], frozenset(), 0.0)
    liar.session.touch(MODEL, 0.0)
    liar.session.push(MODEL, [(ID, EVENT)], 0.0)
    liar.session.lose(MODEL, 0.0)
    liar.session.probe(0.0)
    liar.session.tick(1e9)
    liar.session.close("again")
    assert drain(liar.session) == [Bye("enough")]
    assert liar.session.next_job(0.0) is None
    assert not liar.session.synced
    assert not liar.session.wants_rows


@pytest.mark.parametrize(
    "lie",
    [*OPEN_ONLY, HELLO, Summary((Row(MODEL, 7, FP, FP, FP),))],
    ids=lambda m: type(m).__name__,
)
def test_an_honest_pair_converges_after_any_single_lie(lie: Message) -> None:
    small, large = DictReplica(made_events(80)), DictReplica(made_events(90, start=7))
    pair = Pair(small, large)
    pair.run(steps=9)
    pair.small.session.receive_untrusted(lie, pair.now)
    pair.run(1)
    if State.CLOSED in (pair.small.session.state, pair.large.session.state):
        pair.cut()
    pair.run(60)
    assert pair.equal
    assert pair.synced
    assert len(small.ids) >= 170  # what was pushed in is kept, for it is an event


def test_the_largest_event_there_can_be_fits_the_parts() -> None:
    raw = made_event(5, b"x" * (EVENT_BYTES_MAX - 15))
    assert len(raw) == EVENT_BYTES_MAX
    liar = Liar()
    liar.says(*events_messages(0, MODEL, [raw]))
    liar.hears()
    assert liar.replica.ids == {identify(raw)}
