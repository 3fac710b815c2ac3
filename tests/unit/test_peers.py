"""Whom the address book has us dial, and which of two links it keeps."""

import pytest

from dinemic_transport.peers import (
    ACTIVE,
    ADDRESSES_MAX,
    BACKOFF_SECONDS,
    BAN_SECONDS,
    BANS_MAX,
    CLAIM_DIAL_SECONDS,
    CLAIM_DIALS_BURST,
    CLAIM_DIALS_MAX,
    CLAIM_FAILURES_MAX,
    CLAIMS_PER_PEER_MAX,
    FEW,
    FOUND_AGAIN_SECONDS,
    PER_NETWORK,
    RESTING_MAX,
    RESTING_SECONDS,
    STEADY_SECONDS,
    TOLD_FAILURES_MAX,
    YIELD_SECONDS,
    Dial,
    Peers,
)
from dinemic_transport.score import Score

ME = b"m" * 32
BELOW = b"a" * 32
ABOVE = b"z" * 32


def book(rand: float = 0.5, active: int = 10_000) -> Peers:
    """An address book that has never links enough, unless it is told so."""
    return Peers(ME, lambda: rand, active)


def fail(peers: Peers, address: str, now: float) -> None:
    """Dial an address that is due at some time, and fail at `now`."""
    dial = peers.next_dial(max(now, peers.deadline()))
    assert dial is not None
    assert dial.address == address
    peers.failed(address, now)


def dials(peers: Peers, now: float) -> list[Dial]:
    """All that is dialled at `now` if no dial ever ends."""
    out: list[Dial] = []
    while (dial := peers.next_dial(now)) is not None:
        out.append(dial)
    return out


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
    for _ in range(3):
        fail(peers, "given:1", 0.0)
    peers.found_untrusted("found-7:1", None, 0.0)
    fail(peers, "found-7:1", 0.0)
    for number in range(8, ADDRESSES_MAX + 6):
        peers.found_untrusted(f"found-{number}:1", None, 1.0)
    peers.found_untrusted("late:1", None, 0.5)
    assert len(peers) == ADDRESSES_MAX
    dialled = {dial.address for dial in dials(peers, 1e6)}
    assert "late:1" in dialled
    assert "given:1" in dialled
    assert "found-7:1" not in dialled
    peers.found_untrusted("while all are being dialled:1", None, 0.0)
    assert len(peers) == ADDRESSES_MAX


def test_an_address_of_absurd_length_is_not_kept() -> None:
    peers = book()
    peers.found_untrusted("h" * 5000 + ":1", ABOVE, 0.0)
    assert len(peers) == 0


# -- what peers tell --

LIAR = b"l" * 32
OTHER = b"o" * 32


def node(number: int) -> bytes:
    """A node id above ours."""
    return b"z" + number.to_bytes(31, "big")


def test_an_address_a_peer_tells_of_is_dialled_with_the_id_it_came_with() -> None:
    peers = book()
    peers.told_untrusted("10.0.0.1:1", ABOVE, OTHER, 5.0)
    peers.told_untrusted("10.0.0.2:1", BELOW, OTHER, 5.0)
    assert dials(peers, 5.0) == [Dial("10.0.0.1:1", ABOVE)]
    assert dials(peers, 5.0 + YIELD_SECONDS) == [Dial("10.0.0.2:1", BELOW)]


def test_a_peer_cannot_have_us_dial_ourselves_or_whom_we_are_linked_to() -> None:
    peers = book()
    peers.joined(ABOVE, 0.0, dialled=False)
    peers.told_untrusted("10.0.0.1:1", ME, LIAR, 0.0)
    peers.told_untrusted("10.0.0.1:1", ABOVE, LIAR, 0.0)
    assert len(peers) == 1
    assert peers.deadline() == float("inf")


def test_a_lie_takes_nothing_from_what_was_given_found_or_told_by_another() -> None:
    peers = book()
    peers.joined(ABOVE, 0.0, dialled=True)
    peers.given("10.0.0.1:1", 0.0)
    peers.found_untrusted("10.0.0.2:1", node(2), 0.0)
    peers.told_untrusted("10.0.0.3:1", node(3), OTHER, 0.0)
    for place in (1, 2, 3):
        for lie in (ABOVE, node(50), node(51)):
            peers.told_untrusted(f"10.0.0.{place}:1", lie, LIAR, 0.0)
    truths = [Dial("10.0.0.1:1", None), Dial("10.0.0.2:1", node(2)), Dial("10.0.0.3:1", node(3))]
    assert dials(peers, 0.0) == truths
    for truth in truths:
        peers.failed(truth.address, 0.0)
    dialled = []
    for second in range(1, 600):
        for dial in dials(peers, float(second)):
            dialled.append(dial)
            peers.failed(dial.address, float(second))
    for truth in truths[:2]:
        assert dialled.count(truth) > 8  # for as long as the node runs
    assert Dial("10.0.0.1:1", node(50)) not in dialled
    assert dialled.count(Dial("10.0.0.2:1", node(50))) == CLAIM_FAILURES_MAX


def test_what_was_found_already_is_no_news_from_a_peer() -> None:
    peers = book()
    peers.given("10.0.0.1:1", 0.0)
    peers.found_untrusted("10.0.0.2:1", ABOVE, 0.0)
    for address in ("10.0.0.1:1", "10.0.0.2:1"):
        peers.told_untrusted(address, ABOVE, OTHER, 0.0)
    assert len(peers) == 2


def test_a_claim_said_again_is_not_tried_sooner() -> None:
    peers = book()
    peers.told_untrusted("10.0.0.1:1", ABOVE, LIAR, 0.0)
    for _ in range(3):
        fail(peers, "10.0.0.1:1", 0.0)
    due = peers.deadline()
    for source in (LIAR, OTHER):
        peers.told_untrusted("10.0.0.1:1", ABOVE, source, 0.1)
    assert len(peers) == 1
    assert peers.deadline() == due == 2.0


def test_a_claim_that_fails_five_times_is_forgotten_and_one_that_was_true_is_missed_longer() -> (
    None
):
    peers = book()
    peers.told_untrusted("10.0.0.1:1", ABOVE, OTHER, 0.0)
    for _ in range(CLAIM_FAILURES_MAX - 1):
        fail(peers, "10.0.0.1:1", 0.0)
    assert len(peers) == 1
    fail(peers, "10.0.0.1:1", 0.0)
    assert len(peers) == 0

    peers.told_untrusted("10.0.0.1:1", ABOVE, OTHER, 0.0)
    peers.next_dial(0.0)
    peers.reached("10.0.0.1:1", ABOVE)
    peers.joined(ABOVE, 0.0, dialled=True)
    peers.left(ABOVE, STEADY_SECONDS)
    for _ in range(TOLD_FAILURES_MAX - 2):
        fail(peers, "10.0.0.1:1", 0.0)
    assert len(peers) == 1
    fail(peers, "10.0.0.1:1", 0.0)
    assert len(peers) == 0


def test_a_peer_has_so_many_claims_and_then_its_worst_makes_room() -> None:
    peers = book()
    peers.told_untrusted("10.0.1.1:1", node(1000), OTHER, 0.0)
    for number in range(CLAIMS_PER_PEER_MAX):
        peers.told_untrusted(f"10.0.0.{number}:1", node(number), LIAR, 5.0 if number else 0.0)
    fail(peers, "10.0.1.1:1", 0.0)
    fail(peers, "10.0.0.0:1", 0.0)
    peers.told_untrusted("10.0.0.99:1", node(99), LIAR, 5.0)
    assert len(peers) == 1 + CLAIMS_PER_PEER_MAX
    dialled = set()
    for _ in range(1 + CLAIMS_PER_PEER_MAX):
        dial = peers.next_dial(5.0)
        assert dial is not None
        dialled.add(dial.address)
        peers.failed(dial.address, 6.0)
    assert {"10.0.1.1:1", "10.0.0.99:1"} <= dialled
    assert "10.0.0.0:1" not in dialled


def test_a_claim_that_was_true_no_longer_counts_for_who_made_it() -> None:
    peers = book()
    for number in range(10):
        peers.told_untrusted(f"10.0.0.{number}:1", node(number), OTHER, 0.0)
        assert peers.next_dial(0.0) == Dial(f"10.0.0.{number}:1", node(number))
        peers.reached(f"10.0.0.{number}:1", node(number))
        peers.joined(node(number), 0.0, dialled=True)
    for number in range(10, 10 + CLAIMS_PER_PEER_MAX):
        peers.told_untrusted(f"10.0.0.{number}:1", node(number), OTHER, 0.0)
    assert len(peers) == 10 + CLAIMS_PER_PEER_MAX


def test_in_a_full_book_claims_make_room_and_take_none() -> None:
    peers = book()
    for number in range(ADDRESSES_MAX - 1):
        peers.found_untrusted(f"found-{number}:1", node(5000 + number), 0.0)
    fail(peers, "found-0:1", 0.0)
    peers.told_untrusted("10.0.0.1:1", node(1), LIAR, 0.0)
    assert len(peers) == ADDRESSES_MAX
    peers.told_untrusted("10.0.0.2:1", node(2), OTHER, 0.0)  # in the place of the other claim
    peers.found_untrusted("late:1", node(3), 0.0)  # and this in its place
    assert len(peers) == ADDRESSES_MAX
    peers.told_untrusted("10.0.0.4:1", node(4), OTHER, 0.0)
    dialled = {dial.address for dial in dials(peers, 1e6)}
    assert dialled == {"late:1", *(f"found-{number}:1" for number in range(ADDRESSES_MAX - 1))}


def test_claims_hold_up_no_other_dial_however_long_theirs_take() -> None:
    peers = book()
    for number in range(CLAIMS_PER_PEER_MAX):
        peers.told_untrusted(f"10.0.0.{number}:1", node(number), LIAR, 0.0)
    assert len(dials(peers, 0.0)) == CLAIM_DIALS_MAX
    assert peers.deadline() == float("inf")
    peers.given("10.0.0.200:1", 1.0)
    peers.found_untrusted("10.0.0.201:1", node(200), 1.0)
    assert dials(peers, 1.0) == [Dial("10.0.0.200:1", None), Dial("10.0.0.201:1", node(200))]
    peers.failed("10.0.0.0:1", 1.0)
    assert len(dials(peers, 1.0)) == 1


def test_all_claims_together_have_a_budget_of_dials_a_second() -> None:
    peers, now, dialled = book(), 0.0, 0
    while now < 100:
        source = int(now * 1000).to_bytes(32, "big")  # a new node each time: ids cost nothing
        for number in range(8):
            peers.told_untrusted(f"10.0.0.{number}:{int(now) + 1}", node(dialled), source, now)
        while (dial := peers.next_dial(now)) is not None:
            dialled += 1
            peers.failed(dial.address, now)
        now = max(now + 0.125, min(peers.deadline(), now + 1))
    assert dialled <= CLAIM_DIALS_BURST + 100 / CLAIM_DIAL_SECONDS + 1
    assert dialled >= CLAIM_DIALS_BURST + 100 / CLAIM_DIAL_SECONDS - 10
    peers.given("10.0.0.200:1", now)
    assert Dial("10.0.0.200:1", None) in dials(peers, now)


def test_with_links_enough_claims_are_kept_and_tried_when_links_are_missing() -> None:
    peers = book(active=ACTIVE)
    for number in range(ACTIVE):
        peers.joined(node(number), 0.0, dialled=False)
    peers.told_untrusted("10.0.0.1:1", ABOVE, OTHER, 0.0)
    peers.found_untrusted("10.0.0.2:1", node(99), 0.0)
    peers.given("10.0.0.3:1", 0.0)
    assert dials(peers, 1e6) == [Dial("10.0.0.3:1", None)]
    assert peers.deadline() == float("inf")
    peers.left(node(0), 1e6)
    assert len(dials(peers, 1e6)) == 1


def test_dials_under_way_count_as_links() -> None:
    peers = book(active=ACTIVE)
    for number in range(20):
        peers.found_untrusted(f"10.0.0.{number}:1", node(number), 0.0)
    under_way = dials(peers, 0.0)
    assert len(under_way) == ACTIVE
    peers.failed(under_way[0].address, 0.0)
    assert len(dials(peers, 0.0)) == 1


def test_a_link_that_shares_no_model_takes_the_place_of_none() -> None:
    peers = book(active=1)
    peers.joined(node(1), 0.0, dialled=False)
    peers.found_untrusted("10.0.0.2:1", node(2), 0.0)
    assert peers.is_full
    assert peers.next_dial(0.0) is None
    peers.is_of_no_use(node(1))
    assert peers.next_dial(0.0) == Dial("10.0.0.2:1", node(2))


def test_a_node_that_had_no_room_is_let_be_for_a_while_unless_links_are_few() -> None:
    peers = book()
    for number in range(FEW):
        peers.joined(node(number), 0.0, dialled=False)
    peers.found_untrusted("10.0.0.9:1", ABOVE, 0.0)
    assert peers.has_other(0.0)
    peers.rest(ABOVE, 0.0)
    assert not peers.has_other(0.0)
    assert peers.deadline() == RESTING_SECONDS
    peers.left(node(0), 1.0)
    assert peers.next_dial(1.0) == Dial("10.0.0.9:1", ABOVE)


def test_of_one_public_network_more_than_two_are_dialled_only_for_want_of_others() -> None:
    peers = book()
    for number in range(5):
        peers.found_untrusted(f"203.0.{number + 114}.1:1", node(number), 0.0)
    peers.found_untrusted("9.9.9.9:1", node(9), 0.0)
    for number in range(PER_NETWORK):
        remote = f"203.0.{number + 114}.1:1"
        peers.joined(node(number), 0.0, dialled=True, remote=remote)
    assert not peers.is_crowded(node(0))
    first, *others = dials(peers, 0.0)
    assert first == Dial("9.9.9.9:1", node(9))
    assert len(others) == 3
    peers.joined(node(2), 0.0, dialled=False, remote="203.0.116.1:1")
    assert peers.is_crowded(node(0))


@pytest.mark.parametrize("place", ["10.1.{}.1:1", "192.168.{}.1:1", "127.0.{}.1:1", "host-{}:1"])
def test_a_lan_is_one_network_to_begin_with(place: str) -> None:
    peers = book()
    for number in range(5):
        peers.joined(node(number), 0.0, dialled=True, remote=place.format(number))
    assert not any(peers.is_crowded(node(number)) for number in range(5))


def test_resting_nodes_are_bounded_and_those_are_let_go_whose_rest_is_over_first() -> None:
    peers = book()
    for number in range(RESTING_MAX + 1):
        peers.rest(node(number), float(number))
    peers.found_untrusted("10.0.0.2:1", node(RESTING_MAX), 0.0)
    assert not peers.has_other(0.0)
    peers.found_untrusted("10.0.0.1:1", node(0), 0.0)
    assert peers.has_other(0.0)


# -- links --


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
