"""What one catch-up has out at a time: two windows, two offers, and never more."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dinemic_engine.errors import TransportError
from dinemic_engine.limits import WANT_IDS_MAX
from dinemic_engine.ranges import HIGHEST, LOWEST
from dinemic_engine.reconcile import Gap, Settled
from dinemic_transport import jobs
from dinemic_transport.catchup import OUT_MAX, Catchup
from dinemic_transport.jobs import AskJob, Loaded, OfferJob, ServeJob
from dinemic_transport.messages import Want
from dinemic_transport.replica import Ingested
from support.dict_replica import MODEL, DictReplica, identify, made_event, made_events

IDS = [number.to_bytes(32, "big") for number in range(5 * WANT_IDS_MAX)]


def catching_up(*, need: int = 0, have: int = 0) -> Catchup:
    """One whose first answer settled that it needs so many events and has gaps of the peer's."""
    found = Catchup(MODEL)
    job = found.advance()
    assert isinstance(job, AskJob)
    gaps = tuple(Gap(LOWEST, HIGHEST, frozenset()) for _ in range(have))
    found.learned(Settled(tuple((1, event_id) for event_id in IDS[:need]), gaps))
    return found


def wanted(found: Catchup) -> Want:
    want = found.advance()
    assert isinstance(want, Want)
    return want


def brings(found: Catchup, want: Want, count: int) -> int:
    """The peer delivers the first `count` events of a window, and they are judged."""
    window = found.window_untrusted(want.ticket, MODEL)
    for event_id in want.ids[:count]:
        window.arrived_untrusted(event_id)
    window.last_arrived = True
    found.ingested(Ingested(count, 0, 0, ()), count)
    return found.fetched(want.ticket)


def test_two_windows_are_out_and_the_third_leaves_when_one_is_judged() -> None:
    found = catching_up(need=3 * WANT_IDS_MAX)
    first, second = wanted(found), wanted(found)

    assert first.ids + second.ids == tuple(IDS[: 2 * WANT_IDS_MAX])
    assert found.advance() is None
    assert found.want() is None
    assert brings(found, first, WANT_IDS_MAX) == 0
    third = found.want()
    assert third is not None
    assert third.ids == tuple(IDS[2 * WANT_IDS_MAX : 3 * WANT_IDS_MAX])
    assert found.advance() is None


def test_nothing_else_is_asked_before_the_last_window_is_judged() -> None:
    found = catching_up(need=2)
    want = wanted(found)

    assert found.advance() is None
    brings(found, want, 2)
    assert found.advance() is not None
    assert found.moved == 2


def test_the_peer_is_asked_for_less_when_a_window_came_short_and_for_more_again_after() -> None:
    found = catching_up(need=len(IDS))
    first, second = wanted(found), wanted(found)

    brings(found, first, 20)
    third = wanted(found)
    assert third.ids == first.ids[20:40]
    brings(found, third, 20)
    fourth = wanted(found)
    assert fourth.ids == first.ids[40:80]
    brings(found, second, WANT_IDS_MAX)
    brings(found, fourth, 40)
    assert len(wanted(found).ids) == 160


def test_every_event_is_asked_for_until_it_came_however_short_windows_are() -> None:
    found = catching_up(need=200)
    came: list[bytes] = []
    while isinstance(want := found.advance(), Want):
        came += want.ids[:3]
        assert brings(found, want, min(3, len(want.ids))) == 0
    assert sorted(came) == IDS[:200]
    assert isinstance(want, AskJob)


def test_what_a_window_that_brought_nothing_named_is_given_up() -> None:
    found = catching_up(need=7)

    assert brings(found, wanted(found), 0) == 7
    assert isinstance(found.advance(), AskJob)
    assert not found.all_known


def test_windows_may_end_in_any_order() -> None:
    found = catching_up(need=2 * WANT_IDS_MAX)
    first, second = wanted(found), wanted(found)

    brings(found, second, WANT_IDS_MAX)
    with pytest.raises(TransportError, match="not out"):
        found.window_untrusted(second.ticket, MODEL)
    brings(found, first, WANT_IDS_MAX)

    assert isinstance(found.advance(), AskJob)


def test_two_offers_are_out_and_each_is_acknowledged_once() -> None:
    found = catching_up(have=OUT_MAX + 1)
    tickets: list[int] = []
    for _ in range(OUT_MAX):
        assert isinstance(found.advance(), OfferJob)
        assert found.advance() is None  # while it is loaded
        ticket = found.offer(Loaded((b"one", b"two"), None))
        assert ticket is not None
        tickets.append(ticket)

    assert found.advance() is None
    found.got_untrusted(tickets[0], 2, 0)
    with pytest.raises(TransportError, match="nothing offered"):
        found.got_untrusted(tickets[0], 2, 0)
    assert isinstance(found.advance(), OfferJob)
    assert found.offer(Loaded((), None)) is None
    assert found.advance() is None
    found.got_untrusted(tickets[1], 0, 2)
    assert isinstance(found.advance(), AskJob)
    assert found.moved == 2


@pytest.mark.parametrize("small", [0, 3, 300])
def test_what_is_served_at_once_ends_with_the_event_that_fills_it(
    small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "BATCH_BYTES", 20_000)
    large = [made_event(10_000_000 + number, bytes(9_000)) for number in range(50)]
    events = [*made_events(small), *large]
    replica = _Counting(events)

    served = ServeJob(1, MODEL, tuple(map(identify, events))).run(replica).events

    assert served == tuple(events[: len(served)])
    assert sum(map(len, served[:-1])) < 20_000 <= sum(map(len, served))
    assert replica.loaded < len(served) + jobs._LOAD_IDS_MAX


class _Counting(DictReplica):
    loaded = 0

    def events(self, ids: Sequence[bytes]) -> list[tuple[str, bytes] | None]:
        self.loaded += len(ids)
        return super().events(ids)
