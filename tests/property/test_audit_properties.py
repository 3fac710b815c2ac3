"""Whatever a ledger admitted, in any order and any batches, audits clean and replays the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dinemic_engine.audit import audit
from dinemic_engine.event import Event
from dinemic_engine.replay import refold, replay
from dinemic_engine.view import View
from support.graphs import Site, delivery, histories


@given(histories(), st.integers(0, 1 << 32))
def test_what_was_admitted_audits_clean_in_any_order_of_arrival(
    events: list[Event], seed: int
) -> None:
    site = Site()
    for batch in delivery(events, seed):
        site.ingest(batch)
    report = audit(site.store)
    assert report.findings == ()
    assert report.events == len(site.events())
    assert report.digest == View(site.store).digest_all()


@given(histories())
def test_i_05_a_replay_equals_what_was_kept_step_by_step(events: list[Event]) -> None:
    site = Site()
    site.ingest(events)
    view = View(site.store)
    for _, object_id in view.objects(removed=True):
        assert replay(view, object_id).digest(object_id) == view.digest(object_id)


@given(histories(objects=1), st.data())
def test_a_replay_holds_exactly_what_it_does_not_name(
    events: list[Event], data: st.DataObject
) -> None:
    site = Site()
    site.ingest(events)
    view = View(site.store)
    ((_, object_id),) = view.objects(removed=True)
    history = [logged.event for logged in view.history(object_id)]
    without = data.draw(st.frozensets(st.sampled_from(history)), label="without")

    refolded = refold(history, frozenset(event.id for event in without))

    left_out = {each.event for each in refolded.left_out}
    kept = []
    if refolded.view.find(object_id) is not None:
        kept = [logged.event.id for logged in refolded.view.history(object_id)]
    assert sorted([*kept, *left_out]) == sorted(event.id for event in history)
    assert left_out >= {event.id for event in without}
