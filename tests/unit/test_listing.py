"""Sets whose sums somebody made equal are told apart by their heads, and made equal by lists."""

from __future__ import annotations

import random

import pytest

from dinemic_engine.listing import PAGE_KEYS, Lister, answer_untrusted, hash_of
from dinemic_engine.ranges import HIGHEST, LOWEST, Bound, Fingerprint, Key, separator
from dinemic_engine.reconcile import KEYS_PER_MESSAGE, RangeRefused, Segment, Settled
from dinemic_transport.jobs import read_row
from dinemic_transport.messages import Answer, Ask
from dinemic_transport.rows import COMPARE_SECONDS
from dinemic_transport.wire import decode_untrusted, encode
from support.dict_replica import MODEL, DictReplica, KeySet, made_event, made_events
from support.session_pair import Pair

FP = b"f" * 16


def keys_of(count: int, *, start: int = 0) -> list[Key]:
    return [(start + number // 3, number.to_bytes(32, "big")) for number in range(count)]


def found(ours: KeySet, theirs: KeySet) -> tuple[list[Key], list[Key], int]:
    """What we lack, what they lack, and the questions it took; each message over the wire."""
    lister, settled, questions = Lister(), list[Settled](), 0
    while question := lister.ask(ours):
        asked = decode_untrusted(encode(Ask(MODEL, question, listed=True)))
        assert isinstance(asked, Ask)
        said = decode_untrusted(encode(Answer(MODEL, answer_untrusted(theirs, asked.segments))))
        assert isinstance(said, Answer)
        lister.learn_untrusted(ours, said.segments)
        settled.append(lister.settle())
        questions += 1
    need = [key for some in settled for key in some.need]
    have = [
        key
        for some in settled
        for gap in some.have
        for key in ours.keys(gap.lower, gap.upper, 1 << 30)
        if key not in gap.known
    ]
    return need, have, questions


@pytest.mark.parametrize("count", [0, 1, 100, PAGE_KEYS, PAGE_KEYS + 1, 3 * PAGE_KEYS])
def test_equal_sets_take_a_question_a_page(count: int) -> None:
    side = KeySet(keys_of(count))
    assert found(side, side) == ([], [], max(1, -(-count // PAGE_KEYS)))


def test_what_either_side_lacks_is_found_whatever_the_sums_say(rng: random.Random) -> None:
    every = keys_of(6000)
    for share in (0.0, 0.001, 0.5, 1.0):
        ours = [key for key in every if rng.random() >= share]
        theirs = [key for key in every if rng.random() >= share]
        need, have, questions = found(KeySet(ours), KeySet(theirs))
        assert need == sorted(set(theirs) - set(ours)), share
        assert have == sorted(set(ours) - set(theirs)), share
        assert questions <= 2 + len(ours) // PAGE_KEYS + len(theirs) // KEYS_PER_MESSAGE


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ([Segment((5, b""), FP), Segment(HIGHEST, FP)], "more than one page"),
        ([Segment((5, b""), None), Segment((6, b""), None), Segment(HIGHEST, FP)], "more than one"),
        ([Segment(HIGHEST, None)], "without a hash"),
        ([Segment(HIGHEST, ())], "without a hash"),
        ([], "0 ranges"),
    ],
)
def test_what_is_no_question_about_a_page_is_refused(question: list[Segment], reason: str) -> None:
    with pytest.raises(RangeRefused, match=reason):
        answer_untrusted(KeySet(keys_of(10)), question)


PAGED = keys_of(2 * PAGE_KEYS)
CUT = separator(*PAGED[PAGE_KEYS - 1 : PAGE_KEYS + 1])


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ([Segment(HIGHEST, None)], "silence about another page"),
        ([Segment((1, b""), None), Segment(CUT, None)], "silence about another page"),
        ([Segment(CUT, FP)], "hash in answer"),
        ([Segment((1, b""), None), Segment(CUT, tuple(PAGED[3:100]))], "keys of another page"),
        ([Segment(HIGHEST, tuple(PAGED[:100]))], "does not end where it may"),
        ([Segment((1, b""), tuple(PAGED[:3]))], "does not end where it may"),
    ],
)
def test_an_answer_about_something_else_is_refused(answer: list[Segment], reason: str) -> None:
    side, lister = KeySet(PAGED), Lister()
    assert lister.ask(side) == (Segment(CUT, hash_of(PAGED[:PAGE_KEYS])),)
    with pytest.raises(RangeRefused, match=reason):
        lister.learn_untrusted(side, answer)


def test_an_answer_to_nothing_asked_is_refused() -> None:
    with pytest.raises(RangeRefused, match="without a question"):
        Lister().learn_untrusted(KeySet(), [Segment(HIGHEST, None)])


def test_a_question_makes_a_node_read_no_more_than_a_page() -> None:
    side = KeySet(keys_of(5 * PAGE_KEYS))
    answer = answer_untrusted(side, [Segment(HIGHEST, FP)])
    assert side.keys_read == PAGE_KEYS + 1
    assert isinstance(answer[-1].claim, tuple)
    assert len(answer[-1].claim) == KEYS_PER_MESSAGE


# -- between two nodes -----------------------------------------------------------------------------


class Forged(DictReplica):
    """A node that was given events chosen so well that sums over as many of them are all equal."""

    def fingerprint(
        self, model: str, lower: Bound, upper: Bound, *, effective: bool = False
    ) -> Fingerprint:
        return Fingerprint(super().fingerprint(model, lower, upper).count, 0)


def test_events_hidden_by_forged_sums_are_found_by_the_heads_and_exchanged() -> None:
    common = made_events(5000)
    mine = [made_event(1_000_500 + 2_000 * number, b"mine") for number in range(40)]
    theirs = [made_event(1_000_600 + 2_000 * number, b"theirs") for number in range(40)]
    small, large = Forged(common + mine), Forged(common + theirs)
    one, other = read_row(small, MODEL), read_row(large, MODEL)
    assert one.has_same_sum(other)
    assert small.fingerprint(MODEL, LOWEST, HIGHEST) == large.fingerprint(MODEL, LOWEST, HIGHEST)
    assert one.heads != other.heads
    pair = Pair(small, large)
    pair.run(10)
    assert pair.synced
    assert pair.equal
    assert len(small.ids) == 5080


class Boasting(DictReplica):
    """A node that lies about its heads: its row never equals anybody's."""

    def totals(self, model: str):  # type: ignore[no-untyped-def]
        found = super().totals(model)
        return type(found)(found.events, found.effective, Fingerprint(1, 1))


def test_a_peer_that_lies_about_its_heads_is_compared_with_ever_more_rarely() -> None:
    events = made_events(100)
    pair = Pair(DictReplica(events), Boasting(events))
    pair.run(3600)
    assert not pair.synced
    catchups = pair.small.session.counters.catchups
    assert 10 <= catchups <= 12 + 3600 / COMPARE_SECONDS[1] + 1
