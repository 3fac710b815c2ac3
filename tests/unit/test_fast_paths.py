"""Shortcuts give the answer of the long way (docs/decisions/005)."""

from __future__ import annotations

import pytest

from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.edits import Set
from dinemic_engine.errors import InvalidEvent, Reason
from dinemic_engine.event import open_event_untrusted
from dinemic_engine.ops import Epoch
from dinemic_engine.store import keyspace, layout
from support.graphs import CLERK, OWNER, Actor, Site, child, genesis, team

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
