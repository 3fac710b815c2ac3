"""The exchange that finds what two sets of events differ in (REC-3, REC-4).

Both sides hold a set of keys ``(t, id)`` in one order. A fingerprint says "the same" about any
stretch of it, so only the stretches that differ are cut smaller, until one is short enough to name
its keys. One side asks (a `Reconciler`), the other answers and remembers nothing::

    asks      | fp | fp | fp | fp |       its set in 16 parts of equal count
    answers   |    |    | 16 fp   |    |  silence where equal, a finer cut where not
    asks                 |k|              at most 32 keys: named one by one
    answers              |k k k k|        the answer to names is names

A message is a run of segments, each beginning where the one before it ended (the first at
`LOWEST`), so segments cannot overlap. An answer may stop early: it covers the order up to its last
segment, and what lies above is asked again. That keeps every message in a frame however much is
missing: an empty side names no keys, and is told all of them, a frame at a time, in ascending
order.

Invariant: what lies below `Reconciler.frontier` is settled, and `settle` hands out only that. So
events travel parents first, and what is remembered is bounded by the depth of the cuts and not by
the number of differences.

Every question cuts a range that differs smaller, or moves forward through it by more than 32 keys.
The first happens `RECONCILE_ROUNDS_MAX` times at most to one range; the second is bounded by the
set itself, however large. Sets that change meanwhile cost a wasted question at worst, and the next
session finds the rest.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from dinemic_engine.errors import TransportError
from dinemic_engine.ids import ID_BYTES
from dinemic_engine.limits import (
    RANGES_PER_MESSAGE_MAX,
    RECONCILE_FANOUT,
    RECONCILE_IDS_MAX,
    RECONCILE_ROUNDS_MAX,
)
from dinemic_engine.ranges import (
    FINGERPRINT_BYTES,
    HIGHEST,
    LOWEST,
    Bound,
    Key,
    Side,
    equal_cuts,
    separator,
    successor,
)


class RangeRefused(TransportError):
    """A message breaks the rules of the exchange: the session with that peer ends (REC-4)."""


@dataclass(frozen=True, slots=True)
class Segment:
    """What a side says about the stretch from the segment before up to `upper`.

    `claim` is a fingerprint of 16 bytes, or all the keys there in order, or None for silence: in
    an answer that is "equal", in a question "not asked".
    """

    upper: Bound
    claim: bytes | tuple[Key, ...] | None


@dataclass(frozen=True, slots=True)
class Gap:
    """A range of which the other side holds exactly the keys in `known`: ours beyond are news."""

    lower: Bound
    upper: Bound
    known: frozenset[Key]


@dataclass(frozen=True, slots=True)
class Settled:
    """What is known for good, ascending: keys only the other side has, and gaps in what it has."""

    need: tuple[Key, ...]
    have: tuple[Gap, ...]


# -- sizes ---------------------------------------------------------------------------------------
# Upper estimates of the encoded form, so that a message is filled without encoding it twice.

MESSAGE_BYTES: Final = 60_000
"""What the segments of one message may take of a 64 KiB frame."""

_SEGMENT_BYTES: Final = 64
_KEY_BYTES: Final = 44
KEYS_PER_MESSAGE: Final = (MESSAGE_BYTES - 2 * _SEGMENT_BYTES) // _KEY_BYTES
"""How many keys one answer names at most."""
_CLAIMS_BYTES_MAX: Final = max(
    RECONCILE_FANOUT * _SEGMENT_BYTES, _SEGMENT_BYTES + RECONCILE_IDS_MAX * _KEY_BYTES
)
"""The most one range that differs adds to a message, when its keys are not asked for."""


class _Message:
    """Segments in ascending order, silence merged, and the room that is left."""

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.room = MESSAGE_BYTES
        self._end = LOWEST

    def add(self, lower: Bound, segments: Iterable[Segment]) -> None:
        """Append what is said from `lower` on; whatever is skipped on the way is silence."""
        self.silent_to(lower)
        for segment in segments:
            self.room -= _SEGMENT_BYTES
            if isinstance(segment.claim, tuple):
                self.room -= _KEY_BYTES * len(segment.claim)
            self.segments.append(segment)
            self._end = segment.upper

    def silent_to(self, upper: Bound) -> None:
        """Cover the order up to `upper`."""
        if upper > self._end:
            self.room -= _SEGMENT_BYTES
            self.segments.append(Segment(upper, None))
            self._end = upper

    def has_room(self) -> bool:
        """Whether one more range that differs fits, with the silence around it."""
        return self.room >= _CLAIMS_BYTES_MAX + 2 * _SEGMENT_BYTES


# -- the side that answers -----------------------------------------------------------------------


def answer_untrusted(side: Side, asked: Sequence[Segment]) -> tuple[Segment, ...]:
    """The answer to a question: never empty, in one frame, covering as much as fits.

    Raises:
        RangeRefused: `asked` is not a well-formed question.
    """
    check_untrusted(asked)
    answer = _Message()
    lower = LOWEST
    for segment in asked:
        upper, claim = segment.upper, segment.claim
        if claim is not None and not answer.has_room():
            answer.silent_to(lower)
            return tuple(answer.segments)
        if isinstance(claim, bytes):
            mine = side.fingerprint(lower, upper)
            if mine.wire() != claim:
                answer.add(lower, _claims(side, lower, upper, mine.count))
        elif claim is not None:
            if len(claim) > RECONCILE_IDS_MAX:
                raise RangeRefused(f"a question that names {len(claim)} keys")
            limit = (answer.room - 2 * _SEGMENT_BYTES) // _KEY_BYTES
            keys = side.keys(lower, upper, limit + 1)
            if len(keys) > limit:
                cut = separator(keys[limit - 1], keys[limit])
                answer.add(lower, [Segment(cut, tuple(keys[:limit]))])
                return tuple(answer.segments)
            if tuple(keys) != claim:
                answer.add(lower, [Segment(upper, tuple(keys))])
        lower = upper
    answer.silent_to(lower)
    return tuple(answer.segments)


# -- the side that asks --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Range:
    """A range that is not settled. `theirs` is the other side's fingerprint of it, if known."""

    lower: Bound
    upper: Bound
    rounds: int
    """How many questions cut it out so far."""
    theirs: bytes | None
    differs: bool
    """Known to differ: asked about in smaller parts. Otherwise asked about as it is."""
    named: bool = False
    """Asked about by naming our keys in it."""


class Reconciler:
    """The asking side of one session: ``ask``, send, ``learn_untrusted``, ``settle``, again.

    The methods read the set through `side`, and only one of them may run at a time.
    """

    def __init__(self) -> None:
        self._pending = [_Range(LOWEST, HIGHEST, 0, None, differs=True)]
        """Descending, so that the lowest is at the end. What is asked about is not in here."""
        self._asked: list[_Range] = []
        self._need: list[Key] = []
        self._have: list[Gap] = []

    @property
    def done(self) -> bool:
        """Whether nothing is left to ask."""
        return not self._pending and not self._asked

    @property
    def frontier(self) -> Bound:
        """Where what is not settled begins."""
        lowest = [
            ranges[at].lower for ranges, at in ((self._pending, -1), (self._asked, 0)) if ranges
        ]
        return min(lowest, default=HIGHEST)

    def ask(self, side: Side) -> tuple[Segment, ...]:
        """The next question, lowest ranges first; empty when there is none.

        Raises:
            RangeRefused: a range was cut `RECONCILE_ROUNDS_MAX` times and is not settled.
        """
        assert not self._asked, "one question at a time"
        question = _Message()
        while self._pending and question.has_room():
            entry = self._pending.pop()
            lower, upper = entry.lower, entry.upper
            mine = side.fingerprint(lower, upper)
            if mine.wire() == entry.theirs:
                continue  # what was missing has arrived by another way meanwhile
            if entry.rounds >= RECONCILE_ROUNDS_MAX:
                raise RangeRefused(f"a range still differs after {entry.rounds} rounds")
            if entry.differs or mine.count <= RECONCILE_IDS_MAX:
                claims = _claims(side, lower, upper, mine.count)
            else:
                claims = [Segment(upper, mine.wire())]
            question.add(lower, claims)
            for claim in claims:
                named = isinstance(claim.claim, tuple)
                asked = _Range(lower, claim.upper, entry.rounds + 1, None, False, named)
                self._asked.append(asked)
                lower = claim.upper
        return tuple(question.segments)

    def learn_untrusted(self, side: Side, answer: Sequence[Segment]) -> None:
        """Take the answer to the last question.

        Raises:
            RangeRefused: it is not well formed, is no progress, or does not answer what was asked.
                The session is over.
        """
        check_untrusted(answer)
        if not self._asked:
            raise RangeRefused("an answer without a question")
        covered = answer[-1].upper
        if covered <= self._asked[0].lower or covered > self._asked[-1].upper:
            raise RangeRefused("an answer that covers nothing asked, or more than was asked")
        claims: list[tuple[Bound, Segment]] = []
        lower = LOWEST
        for segment in answer:
            if segment.claim is not None:
                claims.append((lower, segment))
            lower = segment.upper
        asked, self._asked = self._asked, []
        unsettled: list[_Range] = []
        at = 0
        for entry in asked:
            begin = at
            while at < len(claims) and claims[at][0] < entry.upper:
                at += 1
            inside = claims[begin:at]
            if entry.lower >= covered:
                if inside:
                    raise RangeRefused("an answer about something not asked")
                unsettled.append(_again(entry, entry.lower))
            elif entry.named:
                unsettled += self._learn_keys(side, entry, inside, covered)
            else:
                unsettled += self._learn_fingerprint(side, entry, inside, covered)
        self._pending += reversed(unsettled)  # all below what was pending already

    def settle(self) -> Settled:
        """What is newly known for good: everything found below the frontier, handed out once."""
        frontier = self.frontier
        self._need.sort()
        self._have.sort(key=lambda gap: gap.lower)
        need = bisect_left(self._need, frontier)
        have = sum(gap.upper <= frontier for gap in self._have)
        settled = Settled(tuple(self._need[:need]), tuple(self._have[:have]))
        del self._need[:need], self._have[:have]
        return settled

    def _learn_keys(
        self, side: Side, entry: _Range, claims: list[tuple[Bound, Segment]], covered: Bound
    ) -> list[_Range]:
        """Compare the keys named in answer to ours; the part the answer stopped before."""
        if not claims:
            if covered < entry.upper:
                raise RangeRefused("an answer that stops in a range it says nothing about")
            return []
        (lower, segment), *more = claims
        keys, upper = segment.claim, segment.upper
        if more or lower != entry.lower or not isinstance(keys, tuple):
            raise RangeRefused("keys were asked for, and not one list of keys came")
        if upper != min(entry.upper, covered):
            raise RangeRefused("a list of keys ends where neither the range nor the answer does")
        if upper < entry.upper and len(keys) <= RECONCILE_IDS_MAX:
            raise RangeRefused(f"an answer cut after {len(keys)} keys")  # or it never ends
        self._note(side, lower, upper, keys)
        return [_again(entry, upper)] if upper < entry.upper else []

    def _learn_fingerprint(
        self, side: Side, entry: _Range, claims: list[tuple[Bound, Segment]], covered: Bound
    ) -> list[_Range]:
        """Compare what came instead of our fingerprint; the finer ranges that differ."""
        if covered < entry.upper:
            raise RangeRefused("an answer that stops inside a range")
        if not claims:
            return []
        begins = [lower for lower, _ in claims] + [entry.upper]
        ends = [entry.lower] + [segment.upper for _, segment in claims]
        if begins != ends:
            raise RangeRefused("an answer that leaves its range, or part of it out")
        if len(claims) == 1:
            (lower, segment) = claims[0]
            if not isinstance(segment.claim, tuple):
                raise RangeRefused("a lone fingerprint in answer to a lone fingerprint")
            if len(segment.claim) > RECONCILE_IDS_MAX:
                raise RangeRefused(f"{len(segment.claim)} keys nobody asked for")
            self._note(side, lower, segment.upper, segment.claim)
            return []
        finer: list[_Range] = []
        if len(claims) > RECONCILE_FANOUT:
            raise RangeRefused(f"a range cut into {len(claims)}")
        for lower, segment in claims:
            theirs = segment.claim
            if not isinstance(theirs, bytes):
                raise RangeRefused("a range cut into fingerprints and keys")
            if side.fingerprint(lower, segment.upper).wire() != theirs:
                finer.append(_Range(lower, segment.upper, entry.rounds, theirs, differs=True))
        return finer

    def _note(self, side: Side, lower: Bound, upper: Bound, theirs: tuple[Key, ...]) -> None:
        need, gap = compare(side, lower, upper, theirs)
        self._need += need
        self._have += [gap] if gap is not None else []


def compare(
    side: Side, lower: Bound, upper: Bound, theirs: tuple[Key, ...]
) -> tuple[list[Key], Gap | None]:
    """What either side lacks in a range of which the other has named every key.

    Ours may be far more than theirs: then they are looked up one by one and ours stay unread.
    """
    known = frozenset(theirs)
    limit = len(theirs) + RECONCILE_IDS_MAX
    ours = side.keys(lower, upper, limit + 1)
    if len(ours) <= limit:
        here = frozenset(ours)
        need = [key for key in theirs if key not in here]
        return need, None if here <= known else Gap(lower, upper, known)
    need = [key for key in theirs if not side.keys(key, successor(key), 1)]
    return need, Gap(lower, upper, known)


def _again(entry: _Range, lower: Bound) -> _Range:
    """The unanswered part of a range, to be asked about as it is: that costs it no round."""
    return _Range(lower, entry.upper, entry.rounds - 1, None, differs=False)


def check_untrusted(segments: Sequence[Segment]) -> None:
    """Raise `RangeRefused` unless segments ascend within the order and claim what they may."""
    if not 1 <= len(segments) <= RANGES_PER_MESSAGE_MAX:
        raise RangeRefused(f"{len(segments)} ranges in a message")
    lower = LOWEST
    for segment in segments:
        upper, claim = segment.upper, segment.claim
        if not lower < upper <= HIGHEST or len(upper[1]) > ID_BYTES:
            raise RangeRefused("ranges that do not ascend")
        if isinstance(claim, bytes):
            if len(claim) != FINGERPRINT_BYTES:
                raise RangeRefused(f"a fingerprint of {len(claim)} bytes")
        elif claim:
            if claim[0] < lower or claim[-1] >= upper:
                raise RangeRefused("a key outside its range")
            if any(low >= high for low, high in pairwise(claim)):
                raise RangeRefused("keys that do not ascend")
            if any(len(event_id) != ID_BYTES for _, event_id in claim):
                raise RangeRefused("a key whose id is no id")
        lower = upper


def _claims(side: Side, lower: Bound, upper: Bound, count: int) -> list[Segment]:
    """What to say about a range that differs: its keys, or fingerprints of 2..16 parts."""
    if count <= RECONCILE_IDS_MAX:
        keys = side.keys(lower, upper, RECONCILE_IDS_MAX + 1)
        if len(keys) <= RECONCILE_IDS_MAX:
            return [Segment(upper, tuple(keys))]
        count = len(keys)  # some came since they were counted
    claims: list[Segment] = []
    for cut in [*equal_cuts(side, lower, upper, count), upper]:
        claims.append(Segment(cut, side.fingerprint(lower, cut).wire()))
        lower = cut
    return claims
