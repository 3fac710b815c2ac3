"""A replay is the state as it would be: until a time, without an author, without an event."""

from __future__ import annotations

from collections.abc import Set

import pytest

from dinemic_engine import limits
from dinemic_engine.errors import StoreCorrupt, UnknownObject
from dinemic_engine.ids import AuthorId
from dinemic_engine.ops import ADMIN, READ, UPDATE
from dinemic_engine.replay import refold, replay, upto
from dinemic_engine.store.memory import MemoryStore
from dinemic_engine.view import View
from support.sample_store import SECOND, T0, Sample, add_inert, fill


def filled() -> tuple[View, Sample]:
    store = MemoryStore()
    sample = fill(store)
    return View(store), sample


def value(view: View, sample: Sample, stored: str) -> object:
    reading = view.read(sample.person, stored)
    return None if reading is None else reading.value


def left_out(view: View, sample: Sample, without: Set[bytes]) -> dict[str, str]:
    """Name of each event that is left out, and why."""
    names = {event.id: name for name, event in sample.named.items()}
    refolded = refold((logged.event for logged in view.history(sample.person)), without)
    return {names[gone.event]: gone.reason for gone in refolded.left_out}


def test_a_replay_of_everything_is_the_object_as_it_is() -> None:
    view, sample = filled()
    assert replay(view, sample.person).digest(sample.person) == view.digest(sample.person)
    assert replay(view, sample.note).digest(sample.note) == view.digest(sample.note)


def test_a_replay_holds_that_object_alone() -> None:
    view, sample = filled()
    assert [found for _, found in replay(view, sample.person).objects()] == [sample.person]


def test_until_a_time_shows_the_object_as_it_was_then() -> None:
    view, sample = filled()
    names = [
        value(replay(view, sample.person, until=T0 + second * SECOND), sample, "value_name")
        for second in range(6)
    ]
    assert names == [None, "Bob", "Bob", "Robert", "Bobby", "Bobby"]


def test_until_includes_that_microsecond_and_no_later_one() -> None:
    view, sample = filled()
    at = sample.named["bob"].t
    assert value(replay(view, sample.person, until=at), sample, "value_name") == "Bob"
    assert value(replay(view, sample.person, until=at - 1), sample, "value_name") is None


def test_until_before_the_object_was_made_holds_nothing() -> None:
    view, sample = filled()
    assert replay(view, sample.person, until=T0 - 1).find(sample.person) is None


def test_without_an_event_the_value_before_it_is_back() -> None:
    view, sample = filled()
    without = frozenset({sample.named["bobby"].id})
    assert value(replay(view, sample.person, without=without), sample, "value_name") == "Robert"
    assert left_out(view, sample, without) == {"bobby": "asked"}


def test_what_came_after_an_event_left_out_stays() -> None:
    view, sample = filled()
    without = frozenset({sample.named["robert"].id, sample.named["bobby"].id})
    after = replay(view, sample.person, without=without)
    assert value(after, sample, "value_name") == "Bob"
    assert value(after, sample, "value_town") == value(view, sample, "value_town")
    assert [logged.event.id for logged in after.history(sample.person)] == [
        logged.event.id for logged in view.history(sample.person) if logged.event.id not in without
    ]


def test_without_an_author_none_of_its_events_is_there() -> None:
    view, sample = filled()
    chief = frozenset({sample.chief.public})
    after = replay(view, sample.person, without=chief)
    assert value(after, sample, "value_age") is None
    assert AuthorId(sample.chief.public) not in {
        logged.event.author for logged in after.history(sample.person)
    }
    assert after.has_role(sample.person, AuthorId(sample.chief.public), UPDATE)


def test_a_right_that_came_from_an_event_left_out_is_gone() -> None:
    """The admin's own event goes with the grant that made it an admin, and is told apart."""
    view, sample = filled()
    without = frozenset({sample.named["admin"].id})
    reasons = left_out(view, sample, without)
    assert reasons.keys() == {"admin", "by admin"}
    assert reasons["admin"] == "asked"
    assert reasons["by admin"].startswith("AUTH-5/access")
    after = replay(view, sample.person, without=without)
    admin = AuthorId(sample.admin.public)
    assert not after.has_role(sample.person, admin, ADMIN)
    assert not after.has_role(sample.person, admin, READ)


def test_a_sealed_value_goes_with_its_epoch() -> None:
    view, sample = filled()
    without = frozenset({sample.named["salary"].id})
    assert value(replay(view, sample.person, without=without), sample, "value_salary") is None
    assert value(replay(view, sample.person, without=without), sample, "value_age") is None
    assert "robert" not in left_out(view, sample, without)


def test_a_removal_left_out_brings_the_object_back() -> None:
    view, sample = filled()
    assert view.read(sample.note, "value_text") is None
    without = frozenset({sample.named["removed"].id})
    reading = replay(view, sample.note, without=without).read(sample.note, "value_text")
    assert reading is not None
    assert reading.value == b"\x00\xff"


def verdicts(view: View, sample: Sample) -> dict[str, str]:
    names = {event.id: name for name, event in sample.named.items()}
    return {names[each.event.id]: each.verdict for each in view.history(sample.desk)}


def test_a_replay_gives_the_verdicts_that_were_given() -> None:
    view, sample = filled()
    again = replay(view, sample.desk)
    assert verdicts(again, sample) == verdicts(view, sample)
    assert again.digest(sample.desk) == view.digest(sample.desk)
    assert verdicts(view, sample) == {
        "desk": "authorized",
        "kept": "authorized",
        "dismissed": "authorized",
        "closed": "authorized",
        "void": "void",
        "seen": "authorized",
        "inert": "void",
    }


def test_without_a_revocation_what_it_made_void_stands() -> None:
    """The desk was closed, too; but an updater needs no open field."""
    view, sample = filled()
    after = replay(view, sample.desk, without=frozenset({sample.named["dismissed"].id}))
    assert verdicts(after, sample)["void"] == "authorized"
    assert verdicts(after, sample)["inert"] == "authorized"
    reading = after.read(sample.desk, "value_tray")
    assert reading is not None
    assert reading.value == "lost"


def test_without_the_policy_that_closed_it_a_strangers_write_stands() -> None:
    view, sample = filled()
    gone = frozenset({sample.named["closed"].id})
    after = replay(view, sample.desk, without=gone)
    assert verdicts(after, sample)["void"] == "unauthorized"
    reading = after.read(sample.desk, "value_tray")
    assert reading is not None
    assert (reading.value, reading.authorized) == ("lost", False)


def test_until_before_a_revocation_nothing_is_void() -> None:
    view, sample = filled()
    before = replay(view, sample.desk, until=sample.named["kept"].t)
    assert set(verdicts(before, sample).values()) == {"authorized"}
    assert before.has_role(sample.desk, AuthorId(sample.chief.public), UPDATE)
    assert not view.has_role(sample.desk, AuthorId(sample.chief.public), UPDATE)


def test_a_replay_keeps_more_inert_events_than_a_node_would_take() -> None:
    store = MemoryStore()
    sample = fill(store)
    add_inert(store, sample, limits.INERT_EVENTS_MAX + 10)
    view = View(store)
    history = [each.event.id for each in view.history(sample.desk)]
    refolded = refold(each.event for each in view.history(sample.desk))
    assert refolded.left_out == ()
    assert [each.event.id for each in refolded.view.history(sample.desk)] == history


@pytest.mark.parametrize("which", ["genesis event", "owner"])
def test_without_its_genesis_there_is_no_object(which: str) -> None:
    view, sample = filled()
    named = {"genesis event": sample.named["genesis"].id, "owner": sample.owner.public}
    without = frozenset({named[which]})
    assert replay(view, sample.person, without=without).find(sample.person) is None
    reasons = list(left_out(view, sample, without).values())
    assert (len(reasons), reasons[0]) == (10, "asked")
    assert set(reasons) == {"asked", "no genesis"}


def test_heads_are_those_of_the_contracted_log() -> None:
    view, sample = filled()
    named = sample.named
    gone = frozenset({named["merge"].id, named["hello"].id, named["admin"].id})
    after = replay(view, sample.person, without=gone)
    expected = sorted(named[name].id for name in ("robert", "bobby", "restored"))
    assert after.heads(sample.person) == expected


def test_an_unknown_object_cannot_be_replayed() -> None:
    view, _ = filled()
    with pytest.raises(UnknownObject):
        replay(view, bytes(32))


def test_a_log_with_a_hole_is_not_passed_off_as_whole() -> None:
    view, sample = filled()
    events = [logged.event for logged in view.history(sample.person)]
    with pytest.raises(StoreCorrupt):
        refold(events[:1] + events[2:])


def test_upto_ends_at_the_first_later_event() -> None:
    view, sample = filled()
    events = [logged.event for logged in view.history(sample.person)]
    assert list(upto(events, None)) == events
    assert list(upto(events, events[3].t)) == events[:4]
