"""Every message in every state: a session takes it, or ends for it, or is over already.

A message or state without a row here is a failing test.
"""

from collections.abc import Callable
from typing import Final, get_args

import pytest

from dinemic_engine.ranges import HIGHEST
from dinemic_engine.reconcile import Segment
from dinemic_transport.jobs import summarise
from dinemic_transport.messages import (
    Answer,
    Ask,
    Bye,
    Confirm,
    Dispute,
    Events,
    Got,
    Graft,
    Have,
    Hello,
    Message,
    Part,
    Peers,
    Ping,
    Pong,
    Prune,
    Row,
    Summary,
    Want,
)
from dinemic_transport.session import Session
from dinemic_transport.states import State
from support.dict_replica import MODEL, DictReplica, made_event, made_events
from support.session_pair import CLUSTER, drain, make_session

ID = b"i" * 32
FP = b"f" * 16
ROWS: Final[tuple[Row, ...]] = ()
SEGMENTS = (Segment(HIGHEST, FP),)
EXAMPLES: Final[list[Message]] = [
    Hello(CLUSTER, ("*",), ROWS),
    Summary(ROWS),
    Ask(MODEL, SEGMENTS),
    Answer(MODEL, (Segment(HIGHEST, None),)),
    Want(1, MODEL, (ID,)),
    Events(0, MODEL, (made_event(7),)),
    Part(0, MODEL, 0, 2, b"half"),
    Got(1, 0),
    Ping(),
    Pong(),
    Bye("that was all"),
    Peers(7000),
    Dispute(MODEL, (7, ID), True, (FP, FP)),
    Confirm(MODEL, True),
    Have(MODEL, (ID,)),
    Prune(),
    Graft(MODEL, (ID,)),
]

TAKEN, FAULT, OVER, NOTHING = "taken", "a fault", "over", "nothing"


def greeting() -> Session:
    session = make_session()
    session.refresh([], frozenset(), 0.0)
    return session


def listing() -> Session:
    session = greeting()
    session.receive_untrusted(Hello(CLUSTER, ("*",), ROWS, more=True), 0.0)
    return session


def heard() -> Session:
    session = make_session()
    session.receive_untrusted(Hello(CLUSTER, ("*",), ROWS), 0.0)
    return session


def opened() -> Session:
    session = greeting()
    session.receive_untrusted(Hello(CLUSTER, ("*",), ROWS), 0.0)
    return session


def asking() -> Session:
    """An open session whose question is out: it has events, and the peer has none."""
    replica = DictReplica(made_events(40))
    session = make_session()
    session.refresh(summarise(replica, None), frozenset(), 0.0)
    lie = Row(MODEL, 3, FP, FP, FP)
    session.receive_untrusted(Hello(CLUSTER, ("*",), (lie,)), 0.0)
    while (job := session.next_job(0.0)) is not None:
        session.completed(job, job.run(replica), 0.0)
    assert any(isinstance(message, Ask) for message in drain(session))
    return session


def closed() -> Session:
    session = opened()
    session.close("done")
    return session


MAKERS: Final[dict[str, tuple[State, Callable[[], Session]]]] = {
    "greeting": (State.GREETING, greeting),
    "listing": (State.LISTING, listing),
    "heard": (State.HEARD, heard),
    "open": (State.OPEN, opened),
    "asking": (State.OPEN, asking),
    "closed": (State.CLOSED, closed),
}

# fmt: off
TABLE: Final[dict[type[Message], tuple[str, ...]]] = {
    #          greeting listing  heard  open   asking closed
    Hello:    (TAKEN,   FAULT,   FAULT, FAULT, FAULT, NOTHING),
    Summary:  (FAULT,   TAKEN,   FAULT, TAKEN, TAKEN, NOTHING),
    Ask:      (FAULT,   FAULT,   FAULT, TAKEN, TAKEN, NOTHING),
    Answer:   (FAULT,   FAULT,   FAULT, FAULT, TAKEN, NOTHING),
    Want:     (FAULT,   FAULT,   FAULT, TAKEN, TAKEN, NOTHING),
    Events:   (FAULT,   FAULT,   FAULT, TAKEN, TAKEN, NOTHING),
    Part:     (FAULT,   FAULT,   FAULT, TAKEN, TAKEN, NOTHING),
    Got:      (FAULT,   FAULT,   FAULT, FAULT, FAULT, NOTHING),
    Ping:     (FAULT,   FAULT,   FAULT, TAKEN, TAKEN, NOTHING),
    Pong:     (FAULT,   FAULT,   FAULT, TAKEN, TAKEN, NOTHING),
    Bye:      (OVER,    OVER,    OVER,  OVER,  OVER,  NOTHING),
    Peers:    (FAULT,   FAULT,   FAULT, TAKEN, TAKEN, NOTHING),
    Dispute:  (FAULT,   FAULT,   FAULT, TAKEN, TAKEN, NOTHING),
    Confirm:  (FAULT,   FAULT,   FAULT, FAULT, FAULT, NOTHING),
    Have:     (FAULT,   FAULT,   FAULT, TAKEN, TAKEN, NOTHING),
    Prune:    (FAULT,   FAULT,   FAULT, TAKEN, TAKEN, NOTHING),
    Graft:    (FAULT,   FAULT,   FAULT, TAKEN, TAKEN, NOTHING),
}
# fmt: on


def test_the_table_has_every_message_and_every_state() -> None:
    assert set(TABLE) == set(get_args(Message)) == {type(message) for message in EXAMPLES}
    assert {state for state, _ in MAKERS.values()} == set(State)
    assert all(len(row) == len(MAKERS) for row in TABLE.values())


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
@pytest.mark.parametrize("name", MAKERS)
def test_what_becomes_of_a_session_that_hears_it(name: str, message: Message) -> None:
    state, make = MAKERS[name]
    session = make()
    assert session.state is state
    before = session.reason
    session.receive_untrusted(message, 0.0)
    match TABLE[type(message)][list(MAKERS).index(name)]:
        case "taken":
            assert session.state is not State.CLOSED
            assert not session.fault
        case "a fault":
            assert session.state is State.CLOSED
            assert session.fault
            assert any(isinstance(said, Bye) for said in drain(session))
        case "over":
            assert session.state is State.CLOSED
            assert not session.fault
        case _:
            assert (session.state, session.reason, session.fault) == (state, before, False)
