"""News goes along the links that bring it first and is named on the others; gaps are filled."""

import random

import pytest

from dinemic_transport.liveness import SILENCE_SECONDS
from dinemic_transport.messages import Events, Graft, Have, Hello, Prune
from dinemic_transport.missing import ASK_SECONDS, NEXT_SECONDS
from dinemic_transport.news import GRAFTED_MAX, LATE_IN_A_ROW, NAMES_SECONDS, PROMISE_SECONDS, News
from dinemic_transport.replica import Ingested
from dinemic_transport.score import Score
from dinemic_transport.session import Session
from dinemic_transport.states import State
from support.dict_replica import MODEL, DictReplica, identify, made_event, made_events
from support.overlay_world import World
from support.session_pair import CLUSTER, Pair, drain, make_session

ID = b"i" * 32


def open_session() -> Session:
    session = make_session()
    session.refresh([], frozenset(), 0.0)
    session.receive_untrusted(Hello(CLUSTER, ("*",), ()), 0.0)
    drain(session)
    return session


def news(raw: bytes) -> tuple[bytes, bytes]:
    return identify(raw), raw


# -- one link --


def test_a_link_is_eager_until_it_is_pruned_and_again_when_it_is_grafted() -> None:
    session = open_session()
    first, second, third, own = made_events(4)
    others = frozenset(map(identify, (first, second, third)))
    session.push(MODEL, [news(first)], 0.0, others=others)
    assert [type(said) for said in drain(session)] == [Events]
    session.receive_untrusted(Prune(), 0.0)
    session.push(MODEL, [news(second), news(own)], 0.0, others=others)
    assert drain(session) == [Events(0, MODEL, (own,))]
    session.tick(NAMES_SECONDS)
    assert drain(session) == [Have(MODEL, (identify(second),))]
    session.receive_untrusted(Graft(MODEL, ()), 1.0)
    session.push(MODEL, [news(third)], 1.0, others=others)
    assert drain(session) == [Events(0, MODEL, (third,))]


def test_names_wait_for_64_or_a_tenth_of_a_second() -> None:
    session = open_session()
    session.receive_untrusted(Prune(), 0.0)
    events = [news(raw) for raw in made_events(64)]
    ids = [event_id for event_id, _ in events]
    session.push(MODEL, events[:63], 0.0, others=frozenset(ids))
    assert drain(session) == []
    assert session.deadline() == NAMES_SECONDS
    session.push(MODEL, events[63:], 0.0, others=frozenset(ids))
    assert drain(session) == [Have(MODEL, tuple(ids))]


def test_what_the_peer_has_named_itself_meanwhile_is_not_named_to_it() -> None:
    session = open_session()
    session.receive_untrusted(Prune(), 0.0)
    one, two = (news(raw) for raw in made_events(2))
    session.push(MODEL, [one, two], 0.0, others=frozenset([one[0], two[0]]))
    session.receive_untrusted(Have(MODEL, (one[0],)), 0.0)
    session.tick(NAMES_SECONDS)
    assert drain(session) == [Have(MODEL, (two[0],))]


def test_a_peer_at_fault_is_named_everything_and_pushed_nothing() -> None:
    session = open_session()
    session.score.punish(Score.T1, 0.0)
    event = news(made_event(1))
    session.push(MODEL, [event], 0.0)
    session.tick(NAMES_SECONDS)
    assert drain(session) == [Have(MODEL, (event[0],))]


def test_late_news_in_a_row_prunes_once_and_one_that_was_new_begins_the_row_anew() -> None:
    link = News()
    for _ in range(5):
        for _ in range(LATE_IN_A_ROW - 1):
            assert not link.came(ID, 0.0, late=True)
        assert not link.came(ID, 0.0, late=False)
    assert [link.came(ID, 0.0, late=True) for _ in range(9)].index(True) == LATE_IN_A_ROW - 1
    assert not any(link.came(ID, 0.0, late=True) for _ in range(9))
    link.ask([b"j" * 32], 0.0)
    assert any(link.came(ID, 0.0, late=True) for _ in range(9))


def test_what_was_asked_for_and_comes_late_proves_nothing() -> None:
    link = News()
    ids = [bytes([number]) * 32 for number in range(9)]
    assert link.ask(ids, 0.0) == tuple(ids)
    assert not any(link.came(event_id, 0.0, late=True) for event_id in ids)


def test_a_promise_that_is_not_kept_costs_the_peer_and_a_slow_one_that_delivers_does_not() -> None:
    session = open_session()
    for number in range(3):
        raw = made_event(number, b"named")
        session.receive_untrusted(Have(MODEL, (identify(raw),)), 0.0)
        session.graft(MODEL, [identify(raw)], 0.0)
    now = 0.0
    for number in range(3):
        now += 0.9 * PROMISE_SECONDS
        session.tick(now)
        session.receive_untrusted(Events(0, MODEL, (made_event(number, b"named"),)), now)
    session.tick(now + 0.9 * SILENCE_SECONDS)
    assert session.score.at(now) == 0
    session.graft(MODEL, [ID], now)
    session.receive_untrusted(Events(0, MODEL, ()), now + 1)
    session.tick(now + PROMISE_SECONDS)
    assert session.score.at(now + PROMISE_SECONDS) == Score.UNDELIVERED


def test_a_peer_may_ask_for_so_much_by_name_and_is_not_heard_beyond_it() -> None:
    link = News()
    link.lazy = True
    for start in range(0, 3 * GRAFTED_MAX, 512):
        link.graft_untrusted(MODEL, [b"%032d" % number for number in range(start, start + 512)])
    assert not link.lazy
    count = 0
    while (batch := link.take_grafted()) is not None:
        count += len(batch[1])
    assert count == GRAFTED_MAX


def test_large_events_asked_for_by_name_come_in_several_jobs() -> None:
    huge = [made_event(number, b"h" * 900_000) for number in range(1, 5)]
    pair = Pair(DictReplica(huge), DictReplica(huge))
    pair.run(1)
    late = made_events(1, start=50_000_000)
    pair.small.replica.author(late)
    pair.large.session.graft(MODEL, [identify(raw) for raw in huge], pair.now)
    pair.run(1)
    came = [raw for _, batch in pair.large.replica.ingested for raw in batch]
    assert came[:1] == late
    assert pair.large.session.state is State.OPEN
    assert pair.small.session.counters.sent == 5


# -- who lacks something --


def test_a_parent_that_an_orphan_lacks_is_asked_for_of_who_sent_the_orphan() -> None:
    parent, child = made_events(2)

    class Orphaned(DictReplica):
        def ingest(self, source: bytes, events: object) -> Ingested:
            assert isinstance(events, tuple)
            if events == (child,) and identify(parent) not in self.ids:
                return Ingested(0, 0, 1, (), (identify(parent),))
            return super().ingest(source, events)

    pair = Pair(Orphaned(), DictReplica())
    pair.run(1)
    pair.large.replica.author([child])
    pair.large.replica._keep(parent)  # it is there, and was never told of
    pair.large.gossip.lost(MODEL, pair.now)
    began = pair.now
    pair.run(ASK_SECONDS + 0.05)
    assert identify(parent) in pair.small.replica.ids
    assert Graft(MODEL, (identify(parent),)) in pair.small.sent
    assert pair.now - began < NEXT_SECONDS


# -- several nodes --


def mesh(count: int, rng: random.Random) -> World:
    world = World(count, rng, knows=count)
    world.run(5)
    assert all(len(node.neighbours) == count - 1 for node in world.nodes)
    return world


def spread(world: World, count: int, t: int = 1_000_000, seconds: float = 0.5) -> float:
    """Payload copies a node of events by anybody."""
    ids = []
    for number in range(count):
        ids.append(world.author(world.rng.choice(world.nodes), t + number))
        world.run(seconds)
    for event_id in ids:
        assert all(event_id in node.had_at for node in world.nodes)
    copies = sum(node.copies[each] for node in world.nodes for each in ids)
    return copies / len(ids) / len(world.nodes)


@pytest.mark.parametrize("count", [2, 3, 5, 7])
def test_in_a_full_mesh_everybody_hears_an_author_directly_and_soon_only_once(
    count: int, rng: random.Random
) -> None:
    world = mesh(count, rng)
    spread(world, 40)
    assert spread(world, 20, t=2_000_000) <= 1.5
    node = world.nodes[0]
    start, event_id = world.now, world.author(node, 3_000_000)
    world.run(1)
    for end in node.ends.values():
        assert end.other is not None
        assert end.other.node.had_at[event_id] <= start + end.delay + 1e-9


def test_when_a_link_breaks_what_it_brought_comes_by_the_others(rng: random.Random) -> None:
    world = mesh(5, rng)
    spread(world, 60)
    author, other = world.nodes[0], world.nodes[1]
    for end in list(author.ends.values()):
        if end.other is not None and end.other.node is other:
            world.cut(author, end)
    start, event_id = world.now, world.author(author, 5_000_000)
    world.run(3)
    assert other.had_at[event_id] - start < 0.1 + ASK_SECONDS + 0.4


def test_news_that_is_lost_on_the_way_arrives_all_the_same(rng: random.Random) -> None:
    world = mesh(6, rng)
    lost = random.Random(rng.random())
    world.lose = lambda message: isinstance(message, Events | Have) and lost.random() < 0.3
    ids = [world.author(rng.choice(world.nodes), 1000 + number) for number in range(30)]
    world.run(60)
    assert all(event_id in node.had_at for node in world.nodes for event_id in ids)
