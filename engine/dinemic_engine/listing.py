"""The exchange that finds what two sets differ in when their sums agree: by lists (REC-3).

Sums over sets can be made equal by somebody who makes very many events for it (ranges.py). What
shows it is another sum, over heads; what finds it must not add up anything. So the order is gone
through from the lowest key up, a page at a time, and a claim is a hash over the ids of the page::

    asks      |<- silence ->| hash of 4,096 ids |       its next page
    answers   | equal       |  silence          |       or all keys there, as many as fit a message

Messages are those of reconcile.py, and a `Lister` is used as a `Reconciler` is. It takes a turn for
each page, where that takes one for each level; honest nodes never need it. A turn reads a page on
either side, so it cannot be used to make a node work more than it is asked for.

Invariant: what lies below `Lister.frontier` is settled, and every turn moves it on: to the end of a
page, or by more than 32 keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from dinemic_engine.limits import RECONCILE_IDS_MAX
from dinemic_engine.ranges import FINGERPRINT_BYTES, HIGHEST, LOWEST, Bound, Key, Side, separator
from dinemic_engine.reconcile import (
    KEYS_PER_MESSAGE,
    Gap,
    RangeRefused,
    Segment,
    Settled,
    check_untrusted,
    compare,
)

PAGE_KEYS: Final = 4096
"""Ids hashed in a turn: a few milliseconds on either side."""


def hash_of(keys: Sequence[Key]) -> bytes:
    """What is claimed of a page: SHA-256("dinemic/list/1" | id | id ...)[:16], in order."""
    ids = b"".join([event_id for _, event_id in keys])
    return hashlib.sha256(b"dinemic/list/1" + ids).digest()[:FINGERPRINT_BYTES]


def answer_untrusted(side: Side, asked: Sequence[Segment]) -> tuple[Segment, ...]:
    """The answer to a question about one page.

    Raises:
        RangeRefused: `asked` is no such question.
    """
    check_untrusted(asked)
    (*before, page) = asked
    if len(before) > 1 or any(segment.claim is not None for segment in before):
        raise RangeRefused("a question about more than one page")
    if not isinstance(page.claim, bytes):
        raise RangeRefused("a question about a page without a hash of it")
    lower = before[0].upper if before else LOWEST
    keys = side.keys(lower, page.upper, PAGE_KEYS + 1)
    if len(keys) <= PAGE_KEYS and hash_of(keys) == page.claim:
        return (Segment(page.upper, None),)
    upper = page.upper
    if len(keys) > KEYS_PER_MESSAGE:
        upper = separator(*keys[KEYS_PER_MESSAGE - 1 : KEYS_PER_MESSAGE + 1])
    return (*before, Segment(upper, tuple(keys[:KEYS_PER_MESSAGE])))


class Lister:
    """The asking side of one session: ``ask``, send, ``learn_untrusted``, ``settle``, again."""

    def __init__(self) -> None:
        self.frontier: Bound = LOWEST
        """Where what is not settled begins."""
        self._page: Segment | None = None
        """What is asked about."""
        self._need: list[Key] = []
        self._have: list[Gap] = []

    @property
    def done(self) -> bool:
        """Whether nothing is left to ask."""
        return self.frontier == HIGHEST

    def ask(self, side: Side) -> tuple[Segment, ...]:
        """The next question; empty when there is none."""
        assert self._page is None, "one question at a time"
        if self.done:
            return ()
        keys = side.keys(self.frontier, HIGHEST, PAGE_KEYS + 1)
        upper = separator(*keys[PAGE_KEYS - 1 :]) if len(keys) > PAGE_KEYS else HIGHEST
        self._page = Segment(upper, hash_of(keys[:PAGE_KEYS]))
        before = () if self.frontier == LOWEST else (Segment(self.frontier, None),)
        return (*before, self._page)

    def learn_untrusted(self, side: Side, answer: Sequence[Segment]) -> None:
        """Take the answer to the last question.

        Raises:
            RangeRefused: it does not answer what was asked. The session is over.
        """
        check_untrusted(answer)
        if self._page is None:
            raise RangeRefused("an answer without a question")
        page, self._page = self._page, None
        (*before, said) = answer
        upper, keys = said.upper, said.claim
        if keys is None:
            if before or upper != page.upper:
                raise RangeRefused("silence about another page than was asked about")
        elif isinstance(keys, bytes):
            raise RangeRefused("a hash in answer to the hash of a page")
        else:
            if before != ([] if self.frontier == LOWEST else [Segment(self.frontier, None)]):
                raise RangeRefused("keys of another page than was asked about")
            if upper > page.upper or (upper < page.upper and len(keys) <= RECONCILE_IDS_MAX):
                raise RangeRefused("a list of keys that does not end where it may")
            need, gap = compare(side, self.frontier, upper, keys)
            self._need += need
            self._have += [gap] if gap is not None else []
        self.frontier = upper

    def settle(self) -> Settled:
        """What is newly known for good, handed out once."""
        settled = Settled(tuple(self._need), tuple(self._have))
        self._need, self._have = [], []
        return settled
