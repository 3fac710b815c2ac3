"""Shortcuts give the answer of the long way (docs/decisions/005, 026)."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from dinemic_engine import access, log
from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.edits import Set
from dinemic_engine.errors import InvalidEvent, Reason
from dinemic_engine.event import open_event_untrusted
from dinemic_engine.ops import ADMIN, UPDATE, Epoch, Op, Policy, SetPolicy
from dinemic_engine.outcomes import Duplicate
from dinemic_engine.store import keyspace, layout
from dinemic_engine.store.layout import AUTHORIZED
from dinemic_engine.store.memory import MemoryStore
from support.graphs import (
    CHIEF,
    CLERK,
    NOW,
    OWNER,
    STRANGER,
    Actor,
    Site,
    child,
    genesis,
    history,
    team,
)

OLDER, NEWER = b"\1" * 32, b"\2" * 32


def epoch(commit: bytes) -> Epoch:
    return Epoch(1, commit, ((OWNER.id, bytes(80)),))


def sealed(commit: bytes) -> Sealed:
    return Sealed(commit, bytes(16), b"any ciphertext")


@pytest.mark.parametrize(
    "value",
    [None, True, -1, 1.5, "text", b"bytes", (1, (2, "x")), [{"a": []}, {}], sealed(OLDER)],
    ids=repr,
)
def test_an_event_just_signed_is_the_one_its_bytes_open_to(value: Value) -> None:
    event = child(genesis(), OWNER, Set("a", value))

    assert open_event_untrusted(event.raw) == event


def test_an_event_just_signed_shares_nothing_with_the_value_it_was_given() -> None:
    value: list[Value] = ["one"]
    event = child(genesis(), OWNER, Set("a", value))

    value.append("two")

    assert event.ops == (Set("a", ["one"]),)


@pytest.mark.parametrize("value", [[sealed(OLDER)], (sealed(OLDER),), {"x": (sealed(OLDER),)}])
def test_a_sealed_value_inside_another_is_never_signed(value: Value) -> None:
    with pytest.raises(InvalidEvent) as caught:
        child(genesis(), OWNER, Set("a", value))

    assert caught.value.reason is Reason.VALUE


@pytest.mark.parametrize("who", [OWNER, CLERK], ids=lambda actor: actor.name)
def test_an_older_epoch_than_the_newest_still_counts(who: Actor) -> None:
    site = Site()
    first = team()
    older = child(first, OWNER, epoch(OLDER))
    newer = child(older, OWNER, epoch(NEWER))
    site.admit(first, older, newer)

    assert site.verdict(child(newer, who, Set("a", sealed(OLDER)))) is True
    assert site.verdict(child(newer, who, Set("a", sealed(NEWER)))) is True
    assert site.verdict(child(older, who, Set("a", sealed(OLDER)))) is True


@pytest.mark.parametrize("who", [OWNER, CLERK], ids=lambda actor: actor.name)
def test_the_newest_epoch_counts_only_for_who_had_seen_it(who: Actor) -> None:
    site = Site()
    first = team()
    older = child(first, OWNER, epoch(OLDER))
    newer = child(older, OWNER, epoch(NEWER))
    site.admit(first, older, newer)

    assert site.verdict(child(older, who, Set("a", sealed(NEWER)))) is Reason.EPOCH_UNKNOWN


def test_an_epoch_made_twice_counts_for_who_had_seen_either() -> None:
    site = Site()
    first = team()
    once = child(first, OWNER, epoch(OLDER))
    again = child(first, OWNER, epoch(OLDER), t=once.t + 5)  # the newest, and unseen by `write`
    site.admit(first, once, again)

    write = child(once, CLERK, Set("a", sealed(OLDER)))

    assert site.verdict(write) is True


def test_an_object_row_is_read_as_it_is_written_and_not_as_it_was() -> None:
    site = Site()
    first = team()
    site.admit(first)
    no, row = site.view.need(first.object)
    changed = row._replace(chains=row.chains + 1, removed_by=b"\1" * 40)

    assert layout.unpack_object(row.pack()) == row
    site.store.write({keyspace.object_row_key(no): changed.pack()})

    assert site.view.need(first.object) == (no, changed)


@pytest.mark.parametrize("ends", [CLERK.revoke(UPDATE), SetPolicy(Policy(is_open=True))])
def test_who_wrote_last_is_judged_again_once_access_has_changed(ends: Op) -> None:
    site = Site()
    first = team()
    write = child(first, CLERK, Set("a", 1))
    more = child(write, CLERK, Set("a", 2))
    change = child(first, OWNER, ends)
    site.admit(first, write, more)
    assert site.verdict(child(more, CLERK, Set("a", 3))) is True

    site.admit(change)

    assert site.verdict(child(more, CLERK, Set("a", 3))) is (type(ends) is SetPolicy)


def test_a_stranger_gains_nothing_by_what_it_wrote_where_it_might() -> None:
    site = Site()
    first = team(Policy(is_open=False, fields=(("a", True),)))
    write = child(first, STRANGER, Set("a", 1))
    site.admit(first, write)

    assert site.verdict(child(write, STRANGER, Set("a", 2))) is False
    assert site.verdict(child(write, STRANGER, Set("b", 2))) is Reason.UNAUTHORIZED


def test_a_right_that_came_back_counts_for_nobody_who_had_not_seen_it_come() -> None:
    site = Site()
    first = team(Policy(is_open=False, fields=(("a", True),)))
    ended = child(first, CHIEF, CLERK.revoke(UPDATE))
    write = child(ended, CLERK, Set("a", 1))
    overruled = child(first, OWNER, CHIEF.revoke(ADMIN))  # had not seen `ended`, so it is void
    site.admit(first, ended, write, overruled)
    assert log.place_of(site.store, write.id).flags == AUTHORIZED

    assert site.verdict(child(write, CLERK, Set("b", 2))) is Reason.UNAUTHORIZED


def test_who_may_write_may_not_grant_for_that() -> None:
    site = Site()
    first = team()
    write = child(first, CLERK, Set("a", 1))
    site.admit(first, write)

    assert site.verdict(child(write, CLERK, STRANGER.grant(UPDATE))) is Reason.ACCESS_CHANGE


def test_a_granted_writer_is_looked_up_once_in_a_run_of_edits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[bytes] = []
    plain = access.grant_for

    def counted(*arguments: Any, **more: Any) -> Any:
        asked.append(arguments[3])
        return plain(*arguments, **more)

    monkeypatch.setattr(access, "grant_for", counted)
    site = Site()
    events = [team()]
    for number in range(10):
        events.append(child(events[-1], CLERK, Set("a", number)))
    site.admit(*events)

    assert asked == [CLERK.id]


class Counting(MemoryStore):
    """A store that counts how often each row is looked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[bytes] = Counter()

    def get(self, key: bytes) -> bytes | None:
        self.asked[key] += 1
        return super().get(key)


def test_what_follows_the_end_of_its_authors_only_chain_is_not_looked_for() -> None:
    store = Counting()
    site = Site(store)
    first = team()
    write = child(first, CLERK, Set("a", 1))
    more = [child(write, CLERK, Set("a", 2))]
    for number in range(3):
        more.append(child(more[-1], CLERK, Set("a", number)))
    site.admit(first, write)
    site.admit(*more)

    assert store.asked[keyspace.place_key(write.id)] == 1
    assert not any(store.asked[keyspace.place_key(event.id)] for event in more)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_here_is_a_duplicate_wherever_its_author_went_on(seed: int) -> None:
    """Branches, merges and void events included: nothing is let in twice."""
    site = Site()
    events = history(seed, 40)
    site.ingest(events)
    here = site.events()
    assert len(here) >= 10

    again = [site.ledger.prepare([event], NOW).outcomes for event in here]

    assert again == [[Duplicate(event)] for event in here]
    assert site.ledger.prepare(here, NOW).outcomes == [Duplicate(event) for event in here]
