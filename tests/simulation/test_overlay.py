"""Many nodes, six links each: every event reaches everybody about once, whatever breaks."""

import random
from collections.abc import Iterator

import pytest

from dinemic_transport.messages import Events, Graft, Have, Message, Prune
from dinemic_transport.overlay import ACTIVE_MAX, ROTATE_SECONDS
from dinemic_transport.peers import ACTIVE
from support.overlay_world import Node, World


def times() -> Iterator[int]:
    t = 1_000_000
    while True:
        t += 1000
        yield t


class Network:
    """A world whose nodes have found each other; counts what spreading events takes."""

    def __init__(self, count: int, rng: random.Random, *, knows: int = 2) -> None:
        self.world = World(count, rng, knows=knows)
        self.times = times()
        self.world.run(60)

    def spread(self, count: int, seconds: float = 2.0) -> tuple[float, float]:
        """Payload copies a node, and the longest time to everybody, of events by anybody."""
        world, nodes = self.world, self.world.nodes
        made: list[tuple[bytes, float]] = []
        for _ in range(count):
            author = world.rng.choice(nodes)
            made.append((world.author(author, next(self.times)), world.now))
            world.run(seconds)
        world.run(5)
        for event_id, _ in made:
            lacking = sum(event_id not in node.had_at for node in nodes)
            assert not lacking, f"{lacking} of {len(nodes)} nodes lack an event"
        copies = sum(node.copies[event_id] for node in nodes for event_id, _ in made)
        slowest = max(node.had_at[event_id] - at for node in nodes for event_id, at in made)
        return copies / len(nodes) / count, slowest

    def break_links(self, share: float) -> None:
        """Cut some of all links at once."""
        ends = list(self.world.links())
        for end in self.world.rng.sample(ends, int(share * len(ends) / 2)):
            self.world.cut(end.node, end)


def degrees(nodes: list[Node]) -> list[int]:
    return [len(node.neighbours) for node in nodes]


def check(count: int, events: int, rng: random.Random) -> None:
    network = Network(count, rng)
    world = network.world
    assert world.reached() == count
    assert min(degrees(world.nodes)) >= ACTIVE
    few, many = sorted(degrees(world.nodes))[count * 9 // 10], max(degrees(world.nodes))
    assert few <= ACTIVE_MAX
    assert many <= 2 * ACTIVE_MAX, "who was told of nobody else is not sent away (decision 015)"
    network.spread(events)
    copies, slowest = network.spread(events)
    assert copies <= 2
    assert slowest < 3


def test_two_hundred_nodes_hear_of_every_event_about_once(rng: random.Random) -> None:
    check(200, 5, rng)


@pytest.mark.long
def test_a_thousand_nodes_hear_of_every_event_about_once(rng: random.Random) -> None:
    check(1000, 10, rng)


def test_with_a_tenth_of_all_news_lost_and_links_breaking_everything_arrives(
    rng: random.Random,
) -> None:
    network = Network(60, rng)
    world = network.world
    lost = random.Random(rng.random())
    news = Events | Have | Graft | Prune

    def lose(message: Message) -> bool:
        return isinstance(message, news) and lost.random() < 0.1

    network.spread(10)
    world.lose = lose
    for _ in range(5):
        network.break_links(0.1)
        network.spread(3)
    world.lose = lambda message: False
    world.run(60)
    assert world.reached() == 60
    copies, _ = network.spread(10)
    assert copies <= 2


def test_a_third_of_all_nodes_gone_at_once_leaves_the_others_connected(rng: random.Random) -> None:
    network = Network(60, rng)
    world = network.world
    network.spread(5)
    gone = set(rng.sample(range(60), 20))
    for number in gone:
        world.nodes[number].up = False
        for end in list(world.nodes[number].ends.values()):
            world.cut(world.nodes[number], end)
    world.run(120)
    stay = [node for node in world.nodes if node.number not in gone]
    assert world.reached() == len(stay)
    event_id = world.author(stay[0], next(network.times))
    world.run(3)
    assert all(event_id in node.had_at for node in stay)


def test_a_seed_everybody_dials_ends_with_few_links_and_nobody_is_alone(rng: random.Random) -> None:
    network = Network(60, rng, knows=0)
    world = network.world
    for node in world.nodes[1:]:
        world.introduce(node, world.nodes[0])
    world.run(120)
    assert world.reached() == 60
    assert len(world.nodes[0].neighbours) <= ACTIVE_MAX + 2
    assert min(degrees(world.nodes)) >= 3


def test_neighbours_change_with_time_and_the_network_stays_whole(rng: random.Random) -> None:
    network = Network(16, rng)
    world = network.world
    before = {node.number: {other.number for other in node.neighbours} for node in world.nodes}
    world.run(3 * ROTATE_SECONDS)
    changed = sum(
        before[node.number] != {other.number for other in node.neighbours} for node in world.nodes
    )
    assert changed > 12
    assert world.reached() == 16
