"""What a peer sends, in line: how much of it is taken at once, and when no more is read."""

import math

import pytest

from dinemic_transport.allowance import UNPROVEN_BATCH_EVENTS, UNPROVEN_EVENTS
from dinemic_transport.arrivals import Arrivals
from dinemic_transport.messages import Events
from dinemic_transport.news import Heard
from dinemic_transport.queues import BATCH_EVENTS
from dinemic_transport.replica import Ingested
from support.dict_replica import MODEL, identify, made_events

PEER = b"p" * 32


def arrivals() -> Arrivals:
    return Arrivals(PEER, identify=identify, heard=Heard(), count=lambda **more: None, now=0.0)


@pytest.mark.parametrize("ticket", [0, -1], ids=["news", "an offer"])
def test_an_unproven_peer_is_not_read_while_much_of_it_is_in_line_however_long_that_takes(
    ticket: int,
) -> None:
    found = arrivals()
    sent = made_events(UNPROVEN_EVENTS)
    found.take_untrusted(Events(ticket, MODEL, tuple(sent[:-1])), None, 0.0)
    assert found.ready_at <= 0
    found.take_untrusted(Events(ticket, MODEL, tuple(sent[-1:])), None, 0.0)
    assert found.ready_at == math.inf
    found.take_job()
    assert found.ready_at <= 0


def test_a_batch_of_an_unproven_peer_is_small_and_only_its_last_piece_ends_the_ticket() -> None:
    found = arrivals()
    sent = tuple(made_events(3 * UNPROVEN_BATCH_EVENTS + 1))
    found.take_untrusted(Events(-7, MODEL, sent), None, 0.0)
    jobs = []
    while found:
        jobs.append(found.take_job())
    assert [len(job.events) for job in jobs] == [*[UNPROVEN_BATCH_EVENTS] * 3, 1]
    assert [job.last for job in jobs] == [False, False, False, True]
    assert tuple(raw for job in jobs for raw in job.events) == sent


def test_what_is_admitted_makes_the_next_batches_larger_and_what_is_in_vain_smaller_again() -> None:
    found, sizes = arrivals(), []
    for admitted in [True] * 7 + [False] * 7:
        found.take_untrusted(Events(0, MODEL, tuple(made_events(BATCH_EVENTS))), None, 0.0)
        job = found.take_job()
        count = len(job.events)
        sizes.append(count)
        outcome = Ingested(count, 0, 0, ()) if admitted else Ingested(0, 0, count, ())
        found.judged(job, outcome, 0.0)
        found.clear()
    assert sizes[:6] == [UNPROVEN_BATCH_EVENTS << doubled for doubled in range(6)]
    assert max(sizes) == BATCH_EVENTS
    assert sizes[-1] == UNPROVEN_BATCH_EVENTS
