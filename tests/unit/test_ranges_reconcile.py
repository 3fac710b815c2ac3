"""Two honest sides find exactly their difference, at the cost the protocol promises (REC-6)."""

import hashlib
import random
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from dinemic_engine.limits import FRAME_BYTES_MAX, RECONCILE_ROUNDS_MAX
from dinemic_engine.ranges import HIGHEST, LOWEST, Key, successor
from dinemic_engine.reconcile import Gap, Reconciler, Segment, answer_untrusted
from dinemic_transport.messages import Answer, Ask
from dinemic_transport.wire import encode
from support.dict_replica import MODEL, KeySet


@dataclass
class Found:
    need: list[Key] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    rounds: int = 0
    sent: int = 0
    largest: int = 0

    def have(self, ours: Iterable[Key]) -> set[Key]:
        side = KeySet(ours)
        return {
            key
            for gap in self.gaps
            for key in side.keys(gap.lower, gap.upper, len(side))
            if key not in gap.known
        }


def reconcile(ours: KeySet, theirs: KeySet) -> Found:
    found, reconciler = Found(), Reconciler()
    while question := reconciler.ask(ours):
        answer = answer_untrusted(theirs, question)
        for frame in (encode(Ask(MODEL, question)), encode(Answer(MODEL, answer))):
            found.sent += len(frame)
            found.largest = max(found.largest, len(frame))
        found.rounds += 1
        reconciler.learn_untrusted(ours, answer)
        settled = reconciler.settle()
        found.need += settled.need
        found.gaps += settled.have
    settled = reconciler.settle()
    found.need += settled.need
    found.gaps += settled.have
    assert reconciler.done
    assert reconciler.frontier == HIGHEST
    return found


def key(t: int, name: object) -> Key:
    return t, hashlib.sha256(str(name).encode()).digest()


def keys(count: int, *, start: int = 1_700_000_000_000_000, step: int = 60_000_000) -> list[Key]:
    return [key(start + step * number, (start, number)) for number in range(count)]


LARGE = keys(100_000)


def test_equal_sets_take_one_question_of_a_few_hundred_bytes() -> None:
    found = reconcile(KeySet(LARGE[:5000]), KeySet(LARGE[:5000]))
    assert (found.rounds, found.need, found.gaps) == (1, [], [])
    assert found.sent < 700


@pytest.mark.parametrize("lacking", ["asker", "answerer"])
def test_one_difference_in_100000_costs_three_kilobytes_and_two_round_trips(lacking: str) -> None:
    one = LARGE[:70_000] + LARGE[70_001:]
    ours, theirs = (one, LARGE) if lacking == "asker" else (LARGE, one)
    found = reconcile(KeySet(ours), KeySet(theirs))
    assert found.need == sorted(set(theirs) - set(ours))
    assert found.have(ours) == set(ours) - set(theirs)
    assert found.rounds <= 2  # the third round trip fetches the event
    assert found.sent <= 3000


@pytest.mark.parametrize("lacking", ["asker", "answerer"])
def test_100_recent_differences_cost_at_most_120_bytes_each_to_find(lacking: str) -> None:
    recent = keys(100, start=LARGE[-1][0] + 1, step=1_000_000)
    ours, theirs = LARGE, LARGE + recent
    if lacking == "answerer":
        ours, theirs = theirs, ours
    found = reconcile(KeySet(ours), KeySet(theirs))
    assert found.need == (recent if lacking == "asker" else [])
    assert found.have(ours) == (set() if lacking == "asker" else set(recent))
    assert found.sent <= 100 * 120


def test_an_empty_side_is_told_everything_in_ascending_order_and_in_frames() -> None:
    found = reconcile(KeySet(), KeySet(LARGE[:20_000]))
    assert found.need == LARGE[:20_000]
    assert found.largest <= FRAME_BYTES_MAX
    assert found.rounds > RECONCILE_ROUNDS_MAX  # a huge set is not cut short by the bound
    assert found.sent < 20_000 * 45


def test_a_full_side_learns_from_one_question_that_the_other_is_empty() -> None:
    ours = KeySet(LARGE)
    found = reconcile(ours, KeySet())
    assert found.rounds == 1
    assert found.gaps[0].lower == LOWEST
    assert found.gaps[-1].upper == HIGHEST
    assert ours.keys_read < 5000  # it does not enumerate what it will send anyway


def test_a_reconciliation_of_two_empty_sets_ends() -> None:
    found = reconcile(KeySet(), KeySet())
    assert (found.need, found.gaps) == ([], [])


def test_both_sides_lack_ten_thousand() -> None:
    ours, theirs = LARGE[:20_000], LARGE[10_000:30_000]
    found = reconcile(KeySet(ours), KeySet(theirs))
    assert found.need == theirs[10_000:]
    assert found.have(ours) == set(ours[:10_000])


def test_interleaved_differences_are_found_lowest_first() -> None:
    rng = random.Random(7)
    ours = [key for key in LARGE[:30_000] if rng.random() > 0.1]
    theirs = [key for key in LARGE[:30_000] if rng.random() > 0.1]
    found = reconcile(KeySet(ours), KeySet(theirs))
    assert found.need == sorted(set(theirs) - set(ours))
    assert found.have(ours) == set(ours) - set(theirs)
    assert found.largest <= FRAME_BYTES_MAX


@pytest.mark.parametrize(
    "crowd",
    [
        pytest.param([key(5, number) for number in range(6000)], id="one time"),
        pytest.param([(7, number.to_bytes(32, "big")) for number in range(6000)], id="dense ids"),
        pytest.param([(number, bytes(32)) for number in range(6000)], id="dense times"),
        pytest.param(
            [(1 << (number % 63), number.to_bytes(32, "little")) for number in range(6000)],
            id="times over all magnitudes",
        ),
        pytest.param(
            [(0, bytes(32)), *keys(6000), ((1 << 63) - 1, b"\xff" * 32)],
            id="both ends of the order",
        ),
    ],
)
def test_any_crowding_of_keys_is_cut_into_parts(crowd: list[Key]) -> None:
    crowd = sorted(crowd)
    ours, theirs = crowd[:-5], crowd[5:]
    mine, other = KeySet(ours), KeySet(theirs)
    found = reconcile(mine, other)
    assert (found.need, found.have(ours)) == (crowd[-5:], set(crowd[:5]))
    assert found.rounds <= 4
    assert mine.fingerprints < 1000


def test_parts_of_a_large_set_are_about_equal_and_their_bounds_short() -> None:
    side = KeySet(LARGE)
    question = Reconciler().ask(side)
    counts, lower = [], LOWEST
    for segment in question:
        counts.append(side.fingerprint(lower, segment.upper).count)
        assert segment.upper[1] == b""
        lower = segment.upper
    assert len(counts) == 16
    assert max(counts) < 2 * min(counts)
    assert side.fingerprints < 200


def test_events_that_arrive_by_another_way_meanwhile_are_not_asked_for_again() -> None:
    theirs = KeySet(LARGE[:5000])
    ours = KeySet(LARGE[:4999])
    reconciler = Reconciler()
    reconciler.learn_untrusted(ours, answer_untrusted(theirs, reconciler.ask(ours)))
    assert not reconciler.done
    ours.add(LARGE[4999])
    assert reconciler.ask(ours) == ()
    assert reconciler.settle().need == ()


def test_only_what_lies_below_the_frontier_is_settled() -> None:
    ours, theirs = KeySet(LARGE[:1000]), KeySet(LARGE[:1000])
    theirs.add(key(LARGE[10][0] + 1, "low"))  # deep in a full range: takes more rounds
    high = key(LARGE[999][0] + 10**9, "high")
    theirs.add(high)
    reconciler = Reconciler()
    needs: list[Key] = []
    while question := reconciler.ask(ours):
        reconciler.learn_untrusted(ours, answer_untrusted(theirs, question))
        for need in reconciler.settle().need:
            assert need < reconciler.frontier
            needs.append(need)
    assert needs == sorted(needs)
    assert needs[-1] == high


def test_the_successor_of_a_key_is_the_next_bound() -> None:
    first, second = (5, b"\0" * 32), (5, b"\0" * 31 + b"\1")
    assert first < successor(first) < second


def test_an_answer_says_nothing_about_what_was_not_asked() -> None:
    side = KeySet(LARGE[:100])
    middle = (LARGE[50][0], b"")
    answer = answer_untrusted(side, [Segment(middle, None), Segment(HIGHEST, ())])
    assert answer[0] == Segment(middle, None)
    assert answer[1].claim == tuple(LARGE[50:100])
