"""What breaks the rules of the exchange is refused, whoever says it (REC-4)."""

import hashlib

import pytest

from dinemic_engine.limits import RECONCILE_ROUNDS_MAX
from dinemic_engine.ranges import HIGHEST, LOWEST, Bound, Fingerprint, Key
from dinemic_engine.reconcile import RangeRefused, Reconciler, Segment, answer_untrusted
from support.dict_replica import KeySet

FP = b"f" * 16


def key(t: int) -> Key:
    return t, hashlib.sha256(str(t).encode()).digest()


KEYS = [key(t) for t in range(1000, 2000)]
MANY = tuple(key(t) for t in range(1, 40))


@pytest.mark.parametrize(
    "question",
    [
        pytest.param([], id="nothing"),
        pytest.param([Segment(LOWEST, FP)], id="an empty range"),
        pytest.param([Segment((5, b""), FP), Segment((5, b""), FP)], id="a range twice"),
        pytest.param([Segment((9, b""), FP), Segment((5, b""), FP)], id="reversed"),
        pytest.param([Segment((1 << 63, b"\0"), FP)], id="beyond the end"),
        pytest.param([Segment((5, b"x" * 33), FP)], id="a bound longer than an id"),
        pytest.param([Segment(HIGHEST, b"short")], id="a fingerprint of 5 bytes"),
        pytest.param([Segment(HIGHEST, (key(7), key(5)))], id="keys unsorted"),
        pytest.param([Segment(HIGHEST, (key(7), key(7)))], id="a key twice"),
        pytest.param([Segment(HIGHEST, ((7, b"short"),))], id="an id of 5 bytes"),
        pytest.param([Segment((7, b""), (key(7),))], id="a key above its range"),
        pytest.param([Segment((7, b""), None), Segment(HIGHEST, (key(6),))], id="a key below"),
        pytest.param([Segment(HIGHEST, MANY)], id="more keys than a question names"),
        pytest.param([Segment((t, b""), FP) for t in range(1, 4099)], id="4,098 ranges"),
    ],
)
def test_a_question_against_the_rules_is_refused(question: list[Segment]) -> None:
    with pytest.raises(RangeRefused):
        answer_untrusted(KeySet(KEYS), question)


def asked(keys: list[Key]) -> tuple[Reconciler, KeySet, tuple[Segment, ...]]:
    side, reconciler = KeySet(keys), Reconciler()
    return reconciler, side, reconciler.ask(side)


def parts(lower: Bound, upper: Bound, count: int) -> list[Segment]:
    step = (upper[0] - lower[0]) // count
    cuts: list[Bound] = [(lower[0] + step * number, b"") for number in range(1, count)]
    return [Segment(cut, bytes([number] * 16)) for number, cut in enumerate([*cuts, upper])]


def test_an_answer_without_a_question_is_refused() -> None:
    with pytest.raises(RangeRefused, match="without a question"):
        Reconciler().learn_untrusted(KeySet(KEYS), [Segment(HIGHEST, None)])


def test_a_second_answer_is_refused() -> None:
    reconciler, side, _ = asked(KEYS)
    reconciler.learn_untrusted(side, [Segment(HIGHEST, None)])
    with pytest.raises(RangeRefused, match="without a question"):
        reconciler.learn_untrusted(side, [Segment(HIGHEST, None)])


def test_answers_to_fingerprints_against_the_rules_are_refused() -> None:
    _, _, question = asked(KEYS)
    first, second = question[0].upper, question[1].upper
    middle = ((first[0] + second[0]) // 2, b"")
    early: Bound = (first[0] - 1, b"")
    skip = Segment(first, None)
    for answer, reason in [
        ([Segment(first, FP)], "lone fingerprint"),
        ([Segment(first, MANY)], "keys that do not|outside|nobody asked"),
        ([Segment((first[0], b"\0"), FP)], "not asked|leaves its range|covers nothing"),
        ([skip, *parts(first, second, 17)], "cut into 17"),
        ([skip, *parts(first, second, 3)[:2]], "stops inside"),
        ([skip, Segment(middle, FP), Segment(second, None)], "part of it out"),
        ([skip, Segment(middle, None), Segment(second, FP)], "part of it out"),
        ([Segment(early, None), *parts(early, second, 2)], "leaves its range"),
        ([skip, Segment(middle, ()), Segment(second, FP)], "fingerprints and keys"),
        ([skip, Segment(middle, ()), Segment(second, ())], "fingerprints and keys"),
        ([skip, Segment(middle, None)], "stops inside"),
    ]:
        reconciler, side, _ = asked(KEYS)
        with pytest.raises(RangeRefused, match=reason):
            reconciler.learn_untrusted(side, answer)


def test_more_keys_than_asked_for_in_answer_to_a_fingerprint_are_refused() -> None:
    reconciler, side, question = asked(KEYS)
    listed = tuple(key(t) for t in range(1, 34))
    with pytest.raises(RangeRefused, match="33 keys nobody asked for"):
        reconciler.learn_untrusted(side, [Segment(question[0].upper, listed)])


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param([Segment(HIGHEST, FP)], "not one list", id="a fingerprint"),
        pytest.param(
            [Segment((5, b""), (key(4),)), Segment(HIGHEST, ())], "not one list", id="two lists"
        ),
        pytest.param(
            [Segment((5, b""), None), Segment(HIGHEST, (key(6),))], "not one list", id="late"
        ),
        pytest.param([Segment((5, b""), None)], "says nothing", id="silence that stops"),
        pytest.param(
            [Segment((5, b""), (key(4),)), Segment(HIGHEST, None)], "neither", id="silence after"
        ),
        pytest.param([Segment((50, b""), MANY[:32])], "cut after 32", id="cut for no reason"),
        pytest.param([Segment((1, b""), ())], "cut after 0", id="creeping forward"),
    ],
)
def test_answers_to_named_keys_against_the_rules_are_refused(
    answer: list[Segment], reason: str
) -> None:
    reconciler, side, question = asked([key(3)])
    assert question[0].claim == (key(3),)
    with pytest.raises(RangeRefused, match=reason):
        reconciler.learn_untrusted(side, answer)


def test_an_answer_beyond_what_was_asked_is_refused() -> None:
    reconciler, side, question = asked(KEYS)
    target = question[3].upper
    lower = question[2].upper
    reconciler.learn_untrusted(
        side, [Segment(lower, None), *parts(lower, target, 16), Segment(HIGHEST, None)]
    )
    again = reconciler.ask(side)
    assert again[-1].upper <= target
    with pytest.raises(RangeRefused, match="more than was asked"):
        reconciler.learn_untrusted(side, [Segment(HIGHEST, None)])


class VastSide:
    """A key at every microsecond of the order: more than any number of cuts gets to the end of."""

    def fingerprint(self, lower: Bound, upper: Bound) -> Fingerprint:
        return Fingerprint(upper[0] - lower[0], 1)

    def keys(self, lower: Bound, upper: Bound, limit: int, skip: int = 0) -> list[Key]:
        first = lower[0] + skip
        return [(t, bytes(32)) for t in range(first, min(upper[0], first + limit))]


def test_a_peer_that_always_differs_is_given_up_after_the_last_round() -> None:
    side, reconciler = VastSide(), Reconciler()
    for _ in range(RECONCILE_ROUNDS_MAX):
        question = reconciler.ask(side)
        lower, upper = question[-2].upper, question[-1].upper
        reconciler.learn_untrusted(side, [Segment(lower, None), *parts(lower, upper, 2)])
    with pytest.raises(RangeRefused, match=f"after {RECONCILE_ROUNDS_MAX} rounds"):
        reconciler.ask(side)
