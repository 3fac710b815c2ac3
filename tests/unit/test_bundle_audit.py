"""An audit of a bundle is quiet about what a node wrote, and says what is wrong with any other."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from dinemic_engine import limits
from dinemic_engine.audit import AuditReport, audit
from dinemic_engine.bundle_audit import FINDINGS_MAX, audit_bundle
from dinemic_engine.edits import Set
from dinemic_engine.errors import BundleError
from dinemic_engine.event import Event, sign_event
from dinemic_engine.ids import EventId
from dinemic_engine.store.memory import MemoryStore
from dinemic_engine.view import View
from support.bundles import SUM_BYTES, bundle_of, by_object, moved, summed
from support.graphs import CLERK, OWNER, STRANGER, child, genesis, team
from support.sample_store import Sample, add_inert, fill


def audited(data: bytes) -> AuditReport:
    return audit_bundle(io.BytesIO(data))


def found(data: bytes) -> list[tuple[str, bytes | None, str]]:
    """Kind, event and detail of every finding."""
    return [(each.kind, each.event, each.detail) for each in audited(data).findings]


def chain(count: int, name: str = "name") -> list[Event]:
    """A genesis with a team and events of its owner, one on the other."""
    events = [team()]
    for number in range(count):
        events.append(child(events[-1], OWNER, Set(name, number)))
    return events


def sample() -> tuple[MemoryStore, Sample, list[list[Event]]]:
    store = MemoryStore()
    filled = fill(store)
    return store, filled, by_object(filled.events)


# -- what is right -------------------------------------------------------------------------------


def test_what_a_node_holds_is_clean_and_counted_as_in_its_store() -> None:
    store, _, objects = sample()
    report = audited(bundle_of(objects))
    assert report.findings == ()
    assert report == audit(store)
    assert report.digest == View(store).digest_all()


def test_the_order_of_objects_is_free() -> None:
    _, _, objects = sample()
    assert audited(bundle_of(objects[::-1])) == audited(bundle_of(objects))


def test_an_empty_bundle_is_clean() -> None:
    report = audited(bundle_of([]))
    assert report == audit(MemoryStore())
    assert (report.objects, report.events) == (0, 0)


def test_void_events_are_no_finding_whatever_their_number() -> None:
    store, filled, _ = sample()
    add_inert(store, filled, limits.INERT_EVENTS_MAX + 10)
    view = View(store)
    objects = [
        [logged.event for logged in view.history(object_id)]
        for _, object_id in view.objects(removed=True)
    ]
    assert audited(bundle_of(objects)) == audit(store)


def test_progress_is_told() -> None:
    told: list[int] = []
    data = bundle_of([chain(600)])
    assert audit_bundle(io.BytesIO(data), told.append).events == 601
    assert told == [256, 512]


# -- what is not ---------------------------------------------------------------------------------


def test_a_forged_event_is_named_though_the_sum_fits() -> None:
    events = chain(3)
    forged = replace(events[2], raw=events[2].raw[:-64] + bytes(64))
    report = audited(bundle_of([[*events[:2], forged, events[3]]]))
    assert (report.objects, report.events, report.signatures) == (1, 4, 3)
    first, *rest = report.findings
    assert (first.kind, first.event) == ("event", events[2].id)
    assert first.detail.startswith("event number 3 of the bundle: EV-9/")
    assert {each.detail for each in rest} == {
        "is a parent, and is not there",
        "1 events cannot be judged without others",
    }


def test_a_changed_value_is_another_event_whose_signature_is_wrong() -> None:
    events = chain(2)
    raw = events[2].raw
    at = raw.index(b"\x64name") + 5  # the value behind the field's name
    other = raw[:at] + bytes((raw[at] ^ 1,)) + raw[at + 1 :]
    ((kind, event_id, detail),) = found(bundle_of([[*events[:2], other]]))
    assert kind == "event"
    assert detail.startswith("event number 3 of the bundle: EV-9/signature")
    assert event_id not in (None, events[2].id)


def test_a_well_signed_event_without_the_right_is_refused_by_its_rule() -> None:
    events = chain(1)
    theirs = child(events[-1], STRANGER, Set("name", "Mallory"))
    ((kind, event_id, detail),) = found(bundle_of([[*events, theirs]]))
    assert (kind, event_id) == ("event", theirs.id)
    assert detail.startswith("AUTH-5/closed")


def test_a_missing_parent_is_named() -> None:
    events = chain(5)
    assert found(bundle_of([[*events[:2], *events[3:]]])) == [
        ("event", events[2].id, "is a parent, and is not there"),
        ("object", None, "3 events cannot be judged without others"),
    ]


def test_a_missing_genesis_is_said_once() -> None:
    events = chain(5)
    report = audited(bundle_of([events[1:]]))
    assert report.objects == 0
    (finding,) = report.findings
    assert (finding.kind, finding.object) == ("object", events[0].object)
    assert finding.detail == "5 events and no genesis"


@pytest.mark.parametrize(("at", "to"), [(0, 1), (1, 2), (4, 0), (2, 4)])
def test_events_in_another_order_are_named(at: int, to: int) -> None:
    events = chain(4)
    kinds = {kind for kind, _, _ in found(bundle_of([moved(events, at, to)]))}
    assert kinds == {"order"}


def test_an_event_that_is_there_twice_is_named() -> None:
    events = chain(2)
    twice = [("event", events[1].id, "is there twice")]
    assert found(bundle_of([[*events[:2], events[1], events[2]]])) == twice
    assert found(bundle_of([[*events, events[1]]])) == twice
    again = sign_event(OWNER.key, None, events[0].t, (), events[0].ops)
    assert found(bundle_of([[again, *events]])) == [("event", events[0].id, "is there twice")]


def test_an_object_in_two_places_is_named_and_folded_once() -> None:
    events, other = chain(4), [genesis(model="Note")]
    report = audited(bundle_of([events[:3], other, events[3:]]))
    assert report.objects == 2
    (finding,) = report.findings
    assert (finding.kind, finding.object) == ("order", events[0].object)
    assert finding.detail == "2 events come after those of another object"


def test_an_event_of_another_object_in_between_is_named() -> None:
    events = chain(2)
    stray = child(genesis(model="Note"), OWNER, Set("text", "hello"))
    report = audited(bundle_of([[*events[:2], stray, events[2]]]))
    assert [(each.object, each.detail) for each in report.findings] == [
        (stray.object, "1 events and no genesis"),
        (events[0].object, "1 events come after those of another object"),
    ]


def test_a_parent_of_another_object_is_refused() -> None:
    one, other = chain(0), [genesis(model="Note")]
    parents = sorted([EventId(one[0].id), EventId(other[0].id)])
    wrong = sign_event(OWNER.key, one[0].object, one[0].t + 1, parents, [Set("name", 1)])
    details = [detail for _, _, detail in found(bundle_of([other, [*one, wrong]]))]
    assert "is a parent, and is not there" in details


def test_an_event_not_later_than_its_parent_is_refused() -> None:
    events = chain(1)
    wrong = child(events[-1], CLERK, Set("name", 1), t=events[-1].t)
    details = [detail for _, event, detail in found(bundle_of([[*events, wrong]]))]
    if (wrong.t, wrong.id) > (events[-1].t, events[-1].id):
        assert [detail.partition(":")[0] for detail in details] == ["ORD-2/clock"]
    else:  # its id is the smaller one: it was put before its parent in the order
        assert any("comes after one that is later" in detail for detail in details)


def test_what_is_no_event_is_told_by_its_number() -> None:
    events = chain(1)
    ((kind, event_id, detail),) = found(bundle_of([[events[0], b"junk", events[1]]]))
    assert (kind, event_id) == ("event", None)
    assert detail.startswith("event number 2 of the bundle: EV-1/envelope")


# -- the file ------------------------------------------------------------------------------------


def test_a_damaged_file_is_a_finding_beside_what_was_read_of_it() -> None:
    data = bundle_of([chain(3)])
    for damaged, detail in (
        (data[:-1], "cut short after 4 events"),
        (data + b"\0", "something follows its end"),
        (data[:-1] + bytes((data[-1] ^ 1,)), "the sum at its end is that of other bytes"),
        (summed(data[: -SUM_BYTES - 1] + b"\x05"), "4 events are here, and it tells of 5"),
    ):
        report = audited(damaged)
        assert (report.objects, report.events, report.signatures) == (1, 4, 4)
        assert [(each.kind, each.detail) for each in report.findings] == [("bundle", detail)]


def test_a_bundle_cut_at_any_byte_is_not_clean() -> None:
    data = bundle_of([chain(1), [genesis(model="Note")]])
    for size in range(len(data)):
        assert is_refused(data[:size]), size


def test_a_bundle_with_any_byte_changed_is_not_clean() -> None:
    data = bundle_of([chain(1), [genesis(model="Note")]])
    for at in range(len(data)):
        assert is_refused(data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]), at


def is_refused(data: bytes) -> bool:
    try:
        return not audited(data).ok
    except BundleError:
        return True


def test_what_is_no_bundle_is_an_error_and_no_report() -> None:
    for data in (b"", b"something else", bundle_of([])[:16]):
        with pytest.raises(BundleError, match="not a bundle"):
            audited(data)


def test_the_findings_are_bounded() -> None:
    report = audited(bundle_of([[b"junk"] * (FINDINGS_MAX + 500)]))
    assert report.events == FINDINGS_MAX
    assert len(report.findings) == FINDINGS_MAX + 1
    assert report.findings[-1].detail == f"what follows event number {FINDINGS_MAX} was not read"
