"""Two honest sessions: whatever they differ in is exchanged, once, in order, and they know it."""

import pytest

from dinemic_engine.limits import FRAME_BYTES_MAX, WANT_IDS_MAX
from dinemic_transport.catchup import OUT_MAX
from dinemic_transport.liveness import PING_SECONDS, PROBE_SECONDS
from dinemic_transport.messages import (
    Ask,
    Bye,
    Events,
    Got,
    Hello,
    Message,
    Neighbour,
    Part,
    Peers,
    Ping,
    Summary,
    Want,
)
from dinemic_transport.queues import NEWS_BYTES_MAX
from dinemic_transport.rechecks import RECHECK_SECONDS
from dinemic_transport.rows import GRACE_SECONDS, RETRY_SECONDS
from dinemic_transport.states import State
from dinemic_transport.wire import encode
from support.dict_replica import MODEL, DictReplica, identify, made_event, made_events
from support.session_pair import CLUSTER, Pair, make_session


def kinds(messages: list[Message]) -> list[str]:
    return [type(message).__name__ for message in messages]


def test_equal_sets_are_known_after_one_message_each_way() -> None:
    events = made_events(500)
    pair = Pair(DictReplica(events), DictReplica(events))
    pair.run()
    assert pair.synced
    assert kinds(pair.small.sent) == kinds(pair.large.sent) == ["Hello"]


def test_two_empty_nodes_are_in_sync() -> None:
    pair = Pair(DictReplica(), DictReplica())
    pair.run()
    assert pair.synced


@pytest.mark.parametrize(("ours", "theirs"), [(10_000, 0), (0, 10_000), (5000, 5000), (1, 3000)])
def test_everything_missing_is_exchanged_in_frames_and_in_ascending_order(
    ours: int, theirs: int
) -> None:
    small = DictReplica(made_events(ours, filler=b"small"))
    large = DictReplica(made_events(theirs, filler=b"large"))
    pair = Pair(small, large)
    pair.run(5)
    assert len(small.ids) == ours + theirs
    assert pair.equal
    assert pair.synced
    for replica in (small, large):
        came = [raw for _, batch in replica.ingested for raw in batch]
        assert came == sorted(came)
        assert len(came) == len(set(came))
    for message in pair.small.sent + pair.large.sent:
        assert len(encode(message)) <= FRAME_BYTES_MAX
    wants = [message for message in pair.small.sent if isinstance(message, Want)]
    assert all(len(want.ids) <= WANT_IDS_MAX for want in wants)


def test_at_most_two_requests_are_out_at_a_time() -> None:
    pair = Pair(DictReplica(made_events(3000, filler=b"a")), DictReplica(made_events(3000)))
    out = 0
    while pair.run(5, steps=1):
        sent = pair.small.sent
        asked = sum(isinstance(m, Want | Ask) for m in sent) + sum(
            isinstance(m, Events) and m.last for m in sent
        )
        answered = sum(type(m).__name__ in ("Answer", "Got") for m in pair.large.sent) + sum(
            isinstance(m, Events) and m.last for m in pair.large.sent
        )
        out = max(out, asked - answered)
        if pair.synced:
            break
    assert pair.equal
    assert out == OUT_MAX == 2


def test_requests_of_the_peer_have_their_turn_while_its_events_keep_coming() -> None:
    session = make_session()
    replica = DictReplica()
    session.refresh([], frozenset(), 0.0)
    session.receive_untrusted(Hello(CLUSTER, ("*",), ()), 0.0)
    for ticket in (1, 2):
        for raw in made_events(2):
            session.receive_untrusted(Events(-ticket, MODEL, (raw,)), 0.0)
        session.receive_untrusted(Want(ticket, MODEL, (bytes(32),)), 0.0)
    done: list[str] = []
    while (job := session.next_job(0.0)) is not None:
        done.append(type(job).__name__)
        session.completed(job, job.run(replica), 0.0)

    assert done[:4] == ["ServeJob", "IngestJob"] * 2
    assert set(done[4:]) <= {"IngestJob"}


def test_a_session_that_was_cut_anywhere_goes_on_from_hello_without_asking_twice() -> None:
    shared = made_events(50, filler=b"shared")
    for steps in range(1, 140, 9):
        small = DictReplica(shared + made_events(700, filler=b"small"))
        large = DictReplica(shared + made_events(900, filler=b"large"))
        pair = Pair(small, large)
        pair.run(5, steps=steps)
        had = len(small.ids)
        pair.cut()
        pair.run(5)
        assert len(small.ids) >= had
        assert pair.equal, steps
        assert pair.synced, steps


def test_a_node_that_restarts_in_the_middle_keeps_what_it_has_and_gets_the_rest() -> None:
    large = DictReplica(made_events(5000))
    small = DictReplica()
    pair = Pair(small, large)
    pair.run(5, steps=30)
    assert 0 < len(small.ids) < 5000
    kept = [raw for found in small.events(sorted(small.ids)) if found for raw in (found[1],)]
    again = DictReplica(kept)
    pair = Pair(again, large)
    pair.run(5)
    assert pair.equal
    assert sum(len(batch) for _, batch in again.ingested) == 5000 - len(kept)


@pytest.mark.parametrize("author", ["small", "large"])
def test_news_is_sent_at_once_and_equality_known_a_moment_later(author: str) -> None:
    pair = Pair(DictReplica(made_events(10)), DictReplica(made_events(10)))
    pair.run(1)
    start = pair.now
    node = pair.small if author == "small" else pair.large
    node.replica.author([made_event(2_000_000)])
    assert not node.gossip.synced
    pair.run()
    assert pair.equal
    assert pair.now == start
    pair.run(0.1)
    assert pair.synced
    assert kinds(pair.small.sent + pair.large.sent).count("Ask") == 0
    assert sum(isinstance(message, Summary) for message in node.sent) == 1


def test_news_is_not_sent_back_to_where_it_came_from() -> None:
    pair = Pair(DictReplica(), DictReplica())
    pair.run(1)
    pair.small.replica.author(made_events(20))
    pair.run(1)
    assert pair.equal
    assert not any(isinstance(message, Events) for message in pair.large.sent)


def test_an_event_larger_than_a_frame_is_pushed_fetched_and_offered_in_parts() -> None:
    huge = [made_event(number, b"h" * 1_000_000) for number in range(1, 4)]
    small, large = DictReplica(huge[:1]), DictReplica(huge[1:2])
    pair = Pair(small, large)
    pair.run(2)
    large.author(huge[2:])
    pair.run(2)
    assert len(small.ids) == 3
    assert pair.equal
    assert pair.synced
    assert any(isinstance(message, Part) for message in pair.small.sent)


def test_a_large_catch_up_comes_in_windows_bounded_by_bytes_too() -> None:
    large = DictReplica(made_events(60, filler=b"x" * 200_000))
    small = DictReplica()
    pair = Pair(small, large)
    held = 0
    while not pair.equal:
        pair.run(5, steps=1)
        held = max(held, pair.large.session._outbox.size)
    assert held < 4 << 20
    pair.run(1)
    assert pair.synced


def test_events_of_a_model_never_travel_to_a_node_that_did_not_ask_for_it() -> None:
    album = made_events(400, model="Album")
    person = made_events(400, model="Person")
    small = DictReplica(album + person, models=("*",))
    large = DictReplica(models=("Person",))
    pair = Pair(small, large)
    pair.run(2)
    small.author([made_event(9_000_000, model="Album"), made_event(9_000_000, model="Person")])
    pair.run(2)
    assert pair.synced
    assert len(large.ids) == 401
    came = [raw for _, batch in large.ingested for raw in batch]
    assert all(b"Person" in raw for raw in came)
    models = {m.model for m in pair.small.sent if isinstance(m, Events | Part | Ask | Want)}
    assert models == {"Person"}
    assert [status.model for status in pair.large.session.status(pair.now)] == ["Person"]


def test_many_models_are_listed_in_several_messages_and_all_caught_up() -> None:
    names = [f"Model{number}_{'x' * 100}" for number in range(900)]
    small = DictReplica([made_event(5, model=name) for name in names[:600]])
    large = DictReplica([made_event(5, model=name) for name in names[300:]])
    pair = Pair(small, large)
    pair.run(30)
    assert len(small.ids) == 900
    assert pair.equal
    assert pair.synced
    first = pair.small.sent[0]
    assert isinstance(first, Hello)
    assert first.more


def test_news_written_while_greeting_is_not_missed() -> None:
    for steps in range(1, 12):
        pair = Pair(DictReplica(made_events(3)), DictReplica(made_events(3)))
        pair.run(steps=steps)
        pair.small.replica.author([made_event(7_000_001)])
        pair.large.replica.author([made_event(7_000_002)])
        pair.run(3)
        assert pair.equal, steps
        assert pair.synced, steps


def test_news_beyond_the_queue_of_a_slow_link_is_caught_up_whoever_dropped_it() -> None:
    for author in ("small", "large"):
        pair = Pair(DictReplica(), DictReplica())
        pair.run(1)
        node = pair.small if author == "small" else pair.large
        events = made_events(3 * NEWS_BYTES_MAX // 500_000, filler=b"x" * 500_000)
        node.replica.author(events)  # nobody takes messages off meanwhile
        assert node.session.counters.dropped > 0
        assert not node.session.synced
        pair.run(GRACE_SECONDS + 0.1)
        pair.run(2)
        assert pair.equal
        assert pair.synced


def test_a_continuous_writer_does_not_keep_a_newcomer_from_catching_up() -> None:
    small, large = DictReplica(made_events(2000)), DictReplica()
    pair = Pair(small, large)
    for number in range(200):
        small.author([made_event(10_000_000 + number)])
        pair.run(0.02)
    assert len(large.ids) > 2150
    pair.run(2)
    assert pair.synced


def test_sets_that_stay_different_are_not_caught_up_in_a_hot_loop() -> None:
    small = DictReplica(made_events(20))
    large = DictReplica([*made_events(20), made_event(5, b"held")])
    small.ingest = lambda source, events: type(small).ingest(small, source, [])  # type: ignore[method-assign]
    pair = Pair(small, large)
    pair.run(120)
    catchups = pair.small.session.counters.catchups
    assert 4 <= catchups <= 4 + 120 // RETRY_SECONDS[1] + 4
    del small.ingest
    pair.run(2 * RETRY_SECONDS[1])
    assert pair.equal
    assert pair.synced


def test_a_change_nobody_announced_is_found_by_the_recheck() -> None:
    small, large = DictReplica(made_events(5)), DictReplica(made_events(5))
    pair = Pair(small, large)
    pair.run(1)
    small._keep(made_event(9_000_000))
    pair.run(2 * RECHECK_SECONDS[0])
    assert pair.equal
    assert pair.synced


def test_rechecks_grow_rarer_while_nothing_differs() -> None:
    pair = Pair(DictReplica(made_events(5)), DictReplica(made_events(5)))
    pair.run(3600)
    summaries = sum(isinstance(message, Summary) for message in pair.small.sent)
    assert 12 <= summaries <= 20
    assert sum(isinstance(message, Ping) for message in pair.small.sent) >= 3600 / PING_SECONDS / 4
    assert pair.synced


def test_status_tells_how_far_both_sides_are() -> None:
    pair = Pair(DictReplica(made_events(10)), DictReplica(made_events(4)))
    pair.run()
    pair.run(10)
    (status,) = pair.large.session.status(pair.now)
    assert (status.model, status.equal, status.here, status.there) == (MODEL, True, 10, 10)
    assert 9 < status.seconds < 10
    counters = pair.large.session.counters
    assert (counters.received, counters.admitted, counters.refused) == (6, 6, 0)
    assert pair.small.session.counters.sent == 6
    pair.large.replica.author([made_event(77)])
    (status,) = pair.large.session.status(pair.now)
    assert status.equal is None


def test_a_probed_peer_that_is_alive_stays_and_a_dead_one_goes_soon() -> None:
    pair = Pair(DictReplica(), DictReplica())
    pair.run(1)
    pair.small.session.probe(pair.now)
    pair.run(2 * PROBE_SECONDS)
    assert pair.small.session.state is State.OPEN
    session = pair.small.session
    session.probe(pair.now)
    assert session.deadline() == pair.now + PROBE_SECONDS
    session.tick(pair.now + PROBE_SECONDS)
    assert session.state is State.CLOSED
    assert "silent" in session.reason


def test_a_goodbye_ends_both_sides_and_blames_nobody() -> None:
    pair = Pair(DictReplica(), DictReplica())
    pair.run(1)
    pair.small.session.close("enough")
    pair.run()
    assert pair.small.sent[-1] == Bye("enough")
    assert pair.large.session.state is State.CLOSED
    assert pair.large.session.reason == "the peer said: enough"
    assert not pair.large.session.fault


def test_offers_are_acknowledged_with_what_was_new() -> None:
    pair = Pair(DictReplica(made_events(600)), DictReplica())
    pair.run(1)
    gots = [message for message in pair.large.sent if isinstance(message, Got)]
    assert sum(got.admitted for got in gots) == 600


def test_events_that_came_by_catch_up_are_quiet_and_pushed_to_nobody() -> None:
    pair = Pair(DictReplica(made_events(30)), DictReplica())
    pair.run(1)
    assert all(identify(raw) in pair.large.gossip.heard.quiet for raw in made_events(30))


def test_what_a_peer_tells_of_nodes_can_be_taken_once() -> None:
    pair = Pair(DictReplica(), DictReplica())
    told = Peers(7000, (Neighbour(b"n" * 32, "10.0.0.1:1"),))
    pair.small.session.tell(told)  # not open yet: unsaid
    pair.run()
    assert pair.large.session.take_told() is None
    pair.small.session.tell(told)
    pair.run()
    assert pair.large.session.take_told() == told
    assert pair.large.session.take_told() is None
    assert pair.synced
