"""Whom the address book has us dial, and which of two links it keeps."""

import pytest

from dinemic_transport.peers import (
    ADDRESSES_MAX,
    BACKOFF_SECONDS,
    BAN_SECONDS,
    BANS_MAX,
    FOUND_AGAIN_SECONDS,
    STEADY_SECONDS,
    YIELD_SECONDS,
    Dial,
    Peers,
    Score,
)

ME = b"m" * 32
BELOW = b"a" * 32
ABOVE = b"z" * 32


def book(rand: float = 0.5) -> Peers:
    return Peers(ME, lambda: rand)


def test_a_given_address_is_dialled_at_once_and_whoever_answers_is_welcome() -> None:
    peers = book()
    peers.given("host:1", 10.0)
    assert peers.deadline() == 10.0
    assert peers.next_dial(10.0) == Dial("host:1", None)
    assert peers.next_dial(10.0) is None
    peers.reached("host:1", ABOVE)
    peers.joined(ABOVE, 0.0, dialled=True)
    peers.left(ABOVE, 11.0)
    assert peers.next_dial(20.0) == Dial("host:1", None)


def test_a_found_address_is_dialled_with_the_id_it_came_with() -> None:
    peers = book()
    peers.found_untrusted("host:1", ABOVE, 0.0)
    assert peers.next_dial(0.0) == Dial("host:1", ABOVE)


def test_the_larger_id_lets_the_smaller_dial_first() -> None:
    peers = book()
    peers.found_untrusted("host:1", BELOW, 0.0)
    assert peers.next_dial(0.0) is None
    assert peers.deadline() == YIELD_SECONDS
    assert peers.next_dial(YIELD_SECONDS) == Dial("host:1", BELOW)


def test_failures_back_off_exponentially_with_jitter_up_to_a_minute() -> None:
    pauses = []
    for rand in (0.0, 0.5, 1.0):
        peers, now, waited = book(rand), 0.0, []
        peers.given("host:1", now)
        for _ in range(12):
            assert peers.next_dial(now) is not None
            peers.failed("host:1", now)
            waited.append(peers.deadline() - now)
            now = peers.deadline()
        pauses.append(waited)
    assert pauses[1] == pytest.approx([0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60])
    assert pauses[0] == pytest.approx([pause / 2 for pause in pauses[1]])
    assert pauses[2] == pytest.approx([pause * 1.5 for pause in pauses[1]])


def test_the_back_off_is_forgotten_once_a_link_has_lasted() -> None:
    peers = book()
    peers.given("host:1", 0.0)
    for _ in range(8):
        peers.next_dial(peers.deadline())
        peers.failed("host:1", 0.0)
    peers.next_dial(peers.deadline())
    peers.reached("host:1", ABOVE)
    peers.joined(ABOVE, 100.0, dialled=True)
    assert peers.deadline() == float("inf")
    peers.left(ABOVE, 101.0)
    assert peers.deadline() == 101.0 + BACKOFF_SECONDS[1]  # it ended at once
    peers.joined(ABOVE, 200.0, dialled=True)
    peers.left(ABOVE, 200.0 + STEADY_SECONDS)
    assert peers.deadline() == 200.0 + STEADY_SECONDS + BACKOFF_SECONDS[0]


def test_we_never_dial_ourselves_nor_a_node_we_are_linked_to_or_dialling() -> None:
    peers = book()
    peers.found_untrusted("me:1", ME, 0.0)
    assert len(peers) == 0
    peers.found_untrusted("one:1", ABOVE, 0.0)
    peers.found_untrusted("two:1", ABOVE, 0.0)
    assert peers.next_dial(0.0) == Dial("one:1", ABOVE)
    assert peers.next_dial(0.0) is None
    peers.reached("one:1", ABOVE)
    peers.joined(ABOVE, 0.0, dialled=True)
    assert peers.linked(ABOVE)
    assert peers.next_dial(1e6) is None
    peers.given("three:1", 0.0)
    assert peers.next_dial(0.0) == Dial("three:1", None)
    peers.reached("three:1", ME)
    assert peers.next_dial(1e6) is None


def test_a_node_that_shows_up_again_does_not_wait_for_a_long_back_off() -> None:
    peers = book()
    peers.found_untrusted("host:1", ABOVE, 0.0)
    for _ in range(10):
        peers.next_dial(peers.deadline())
        peers.failed("host:1", 0.0)
    assert peers.deadline() == BACKOFF_SECONDS[1]
    peers.found_untrusted("host:1", ABOVE, 1.0)
    assert peers.deadline() == 1.0 + FOUND_AGAIN_SECONDS


def test_another_node_at_a_known_address_is_dialled_at_once() -> None:
    peers = book()
    peers.found_untrusted("host:1", ABOVE, 0.0)
    peers.next_dial(0.0)
    peers.failed("host:1", 0.0)
    other = b"y" * 32
    peers.found_untrusted("host:1", other, 0.1)
    assert peers.next_dial(0.1) == Dial("host:1", other)


def test_the_book_is_bounded_and_drops_what_failed_most_but_never_what_was_given() -> None:
    peers = book()
    peers.given("given:1", 0.0)
    for number in range(ADDRESSES_MAX - 1):
        peers.found_untrusted(f"found-{number}:1", None, 1.0)
    peers.next_dial(0.0)
    for _ in range(3):
        peers.failed("given:1", 0.0)
    peers.failed("found-7:1", 0.0)
    peers.found_untrusted("late:1", None, 0.5)
    assert len(peers) == ADDRESSES_MAX
    dials = set()
    while (dial := peers.next_dial(1e6)) is not None:
        dials.add(dial.address)
    assert "late:1" in dials
    assert "given:1" in dials
    assert "found-7:1" not in dials
    peers.found_untrusted("while all are being dialled:1", None, 0.0)
    assert len(peers) == ADDRESSES_MAX


def test_an_address_of_absurd_length_is_not_kept() -> None:
    peers = book()
    peers.found_untrusted("h" * 5000 + ":1", ABOVE, 0.0)
    assert len(peers) == 0


@pytest.mark.parametrize(
    ("peer", "old_is_ours", "new_is_ours", "new_is_kept"),
    [
        (ABOVE, True, False, False),  # ours, by the smaller id, is there: the accepted one goes
        (ABOVE, False, True, True),
        (BELOW, True, False, True),
        (BELOW, False, True, False),
        (ABOVE, False, False, True),  # the peer dialled again: it has lost the first
        (BELOW, False, False, True),
        (ABOVE, True, True, False),
        (BELOW, True, True, False),
    ],
)
def test_of_two_links_the_one_dialled_by_the_smaller_id_is_kept(
    peer: bytes, old_is_ours: bool, new_is_ours: bool, new_is_kept: bool
) -> None:
    peers = book()
    peers.joined(peer, 0.0, dialled=old_is_ours)
    assert peers.prefers_new(peer, dialled=new_is_ours) is new_is_kept


def test_both_ends_keep_the_same_link_in_whatever_order_they_see_them() -> None:
    ends = {ME: Peers(ME, lambda: 0.5), ABOVE: Peers(ABOVE, lambda: 0.5)}
    for first_here, first_there in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        diallers = [ME, ABOVE]
        kept = []
        for end, first in ((ME, first_here), (ABOVE, first_there)):
            other = ABOVE if end == ME else ME
            old, new = diallers[first], diallers[1 - first]
            ends[end].joined(other, 0.0, dialled=old == end)
            kept.append(new if ends[end].prefers_new(other, dialled=new == end) else old)
        assert kept == [ME, ME]


def test_a_node_at_fault_is_kept_away_longer_each_time() -> None:
    peers = book()
    peers.found_untrusted("host:1", ABOVE, 0.0)
    waits = [peers.ban(ABOVE, 0.0) for _ in range(8)]
    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert peers.banned(ABOVE, 3599.0)
    assert not peers.banned(ABOVE, BAN_SECONDS[1])
    assert not peers.banned(BELOW, 0.0)
    assert peers.next_dial(3599.0) is None
    assert peers.deadline() == BAN_SECONDS[1]
    assert peers.next_dial(BAN_SECONDS[1]) == Dial("host:1", ABOVE)


def test_bans_are_bounded() -> None:
    peers = book()
    for number in range(BANS_MAX + 5):
        peers.ban(number.to_bytes(32, "big"), float(number))
    kept = [
        peers.banned(number.to_bytes(32, "big"), number + 1.0) for number in range(BANS_MAX + 5)
    ]
    assert kept == [False] * 5 + [True] * BANS_MAX


def test_a_score_is_capped_decays_and_cuts_below_minus_100() -> None:
    score = Score(0.0)
    score.reward(5000, 0.0)
    assert score.at(0.0) == 100
    assert score.at(Score.HALF_LIFE_SECONDS) == pytest.approx(50)
    assert not score.punish(-150, Score.HALF_LIFE_SECONDS)
    assert score.at(2 * Score.HALF_LIFE_SECONDS) == pytest.approx(-50)
    assert not score.punish(-50, 2 * Score.HALF_LIFE_SECONDS)
    assert score.punish(-0.5, 2 * Score.HALF_LIFE_SECONDS)
