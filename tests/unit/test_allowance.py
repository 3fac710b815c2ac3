"""Who says too much of no use is not read for a while; an honest writer is hardly held up."""

import pytest

from dinemic_engine.limits import WANT_IDS_MAX
from dinemic_transport.allowance import (
    CHECKS_BURST,
    CHECKS_PER_SECOND,
    CONTROL_BURST,
    CONTROL_PER_SECOND,
    NEWS_BURST,
    NEWS_BYTES_BURST,
    NEWS_BYTES_PER_SECOND,
    NEWS_PER_SECOND,
    UNPROVEN_BATCH_EVENTS,
    UNPROVEN_EVENTS,
    Allowance,
)
from dinemic_transport.messages import Ask, Ping
from dinemic_transport.queues import BATCH_EVENTS

RAW = b"e" * 300


def read_in(seconds: float, allowance: Allowance, use: object) -> int:
    """How often something is done in that time by who waits whenever the link is not read."""
    now, count = 0.0, 0
    while now <= seconds:
        assert callable(use)
        use(now)
        count += 1
        now = max(now, allowance.ready_at)
    return count


def test_news_of_no_use_is_read_at_200_a_second_after_a_burst() -> None:
    allowance = Allowance()
    count = read_in(10, allowance, lambda now: allowance.news(RAW, now))
    assert count == pytest.approx(NEWS_BURST + 10 * NEWS_PER_SECOND, abs=2)


def test_news_that_is_admitted_or_known_is_read_as_fast_as_it_is_judged() -> None:
    allowance, now = Allowance(), 0.0
    for admitted in (256, 0, 128):
        for _ in range(1000):
            for _ in range(256):
                allowance.news(b"e" * 10, now)
            allowance.judged((b"e" * 10,) * 256, admitted, 256 - admitted)
            assert allowance.ready_at <= now


def test_what_is_given_back_is_no_credit() -> None:
    allowance = Allowance()
    for _ in range(5000):
        allowance.news(RAW, 0.0)
        allowance.judged((RAW,), 1, 0)
    count = read_in(0, allowance, lambda now: allowance.news(RAW, now))
    assert count <= NEWS_BURST + 1


def test_known_events_cost_their_bytes_alone() -> None:
    allowance = Allowance()
    raw = b"e" * 10_000
    count = read_in(5, allowance, lambda now: allowance.known(raw, now))
    expected = (NEWS_BYTES_BURST + 5 * NEWS_BYTES_PER_SECOND) / len(raw)
    assert count == pytest.approx(expected, rel=0.01)


def test_checks_in_vain_of_a_catch_up_are_paid_for_and_others_are_not() -> None:
    allowance = Allowance()
    allowance.checked(0, 0.0)
    assert allowance.ready_at < 0
    count = read_in(10, allowance, lambda now: allowance.checked(1, now))
    assert count == pytest.approx(CHECKS_BURST + 10 * CHECKS_PER_SECOND, abs=2)


def test_messages_without_an_answer_are_rationed_and_requests_are_not() -> None:
    allowance = Allowance()
    count = read_in(10, allowance, lambda now: allowance.said(Ping(), now))
    assert count == pytest.approx(CONTROL_BURST + 10 * CONTROL_PER_SECOND, abs=2)
    allowance = Allowance()
    for _ in range(10_000):
        allowance.said(Ask("A", ()), 0.0)
    assert allowance.ready_at < 0


def test_the_largest_pause_is_far_below_what_would_cut_a_link() -> None:
    """One frame at a time is charged, so the debt is never more than a frame's worth of it."""
    allowance, now, longest = Allowance(), 0.0, 0.0
    for _ in range(50):
        for _ in range(256):
            allowance.news(b"e" * 230, now)
        longest = max(longest, allowance.ready_at - now)
        now = max(now, allowance.ready_at)
    assert longest < 5


# -- how much is read and judged at once --


def test_who_brings_what_is_of_use_is_soon_judged_in_whole_batches() -> None:
    allowance, batches = Allowance(), []
    assert allowance.is_unproven
    assert allowance.in_line_max == UNPROVEN_EVENTS
    while allowance.batch_max < BATCH_EVENTS:
        batches.append(allowance.batch_max)
        allowance.proven(allowance.batch_max, 0)
        assert not allowance.is_unproven
    assert batches == [UNPROVEN_BATCH_EVENTS << doubled for doubled in range(len(batches))]


def test_two_windows_of_a_catch_up_have_room_when_a_peer_has_proven_itself() -> None:
    allowance = Allowance()
    allowance.proven(100_000, 0)
    assert allowance.in_line_max >= 2 * WANT_IDS_MAX


def test_who_turns_to_what_is_of_no_use_is_soon_unproven_however_much_there_was_before() -> None:
    allowance, in_vain = Allowance(), 0
    allowance.proven(100_000, 0)
    while not allowance.is_unproven:
        in_vain += allowance.batch_max
        allowance.proven(0, allowance.batch_max)
    assert in_vain <= NEWS_BURST + BATCH_EVENTS
    allowance.proven(0, 1_000_000)  # nothing is owed
    allowance.proven(1, 0)
    assert not allowance.is_unproven


def test_what_is_known_already_changes_no_standing() -> None:
    allowance = Allowance()
    allowance.proven(10, 0)
    before = allowance.batch_max
    allowance.proven(0, 0)
    assert allowance.batch_max == before
