"""Which links a node keeps, who has to go when there are too many, and what the clocks say."""

import pytest

from dinemic_transport.messages import (
    Bye,
    Hello,
    Message,
    Neighbour,
    Peers,
    Ping,
    Pong,
    cluster_hash,
)
from dinemic_transport.overlay import ACTIVE_MAX, CLOCKS_MIN, ROTATE_SECONDS, Overlay
from dinemic_transport.peers import ACTIVE
from dinemic_transport.score import Score
from dinemic_transport.session import Session
from dinemic_transport.states import State
from support.dict_replica import identify
from support.session_pair import CLUSTER, drain

ME = b"m" * 32


def node(number: int) -> bytes:
    return b"z" + number.to_bytes(31, "big")


def place(number: int) -> str:
    return f"10.0.{number >> 8}.{number & 255}:7000"


def overlay(models: tuple[str, ...] = ("*",)) -> Overlay:
    made = Overlay(ME, cluster=CLUSTER, models=models, rand=lambda: 0.5, identify=identify)
    made.addresses = ("10.9.9.9:7000",)
    made.exchange.listen(made.addresses)
    return made


def link(
    to: Overlay,
    number: int,
    *,
    listens: bool = True,
    remote: str | None = None,
    models: tuple[str, ...] = ("*",),
    now_us: int = 0,
    now: float = 0.0,
) -> Session:
    """A link that node `number` has dialled; it is open, and the peer said where it listens."""
    session = to.join(node(number), remote or place(number), dialled=False, now=now)
    assert session is not None
    session.refresh([], frozenset(), now)
    session.receive_untrusted(Hello(CLUSTER, models, (), now_us=now_us), now)
    assert to.settle(session, now)
    assert not to.settle(session, now)
    if listens and session.state is State.OPEN:
        session.receive_untrusted(Peers(7000), now)
        to.hear(session, now)
    return session


def gone(sessions: list[Session]) -> list[int]:
    """Which of them were sent away, politely."""
    found = [number for number, session in enumerate(sessions) if session.state is State.CLOSED]
    for number in found:
        session = sessions[number]
        assert session.full
        assert not session.fault
        assert [said.full for said in drain(session) if isinstance(said, Bye)] == [True]
    return found


def test_up_to_so_many_links_everybody_stays_and_then_one_goes_and_not_who_came() -> None:
    made = overlay()
    sessions = [link(made, number) for number in range(ACTIVE_MAX)]
    assert gone(sessions) == []
    sessions.append(link(made, ACTIVE_MAX))
    assert len(gone(sessions)) == 1
    assert sessions[-1].state is State.OPEN


def test_who_is_sent_away_was_told_of_others_before() -> None:
    made = overlay()
    sessions = [link(made, number) for number in range(ACTIVE_MAX + 1)]
    told: list[Message] = []
    for number, session in enumerate(sessions):
        if session.state is State.CLOSED:
            assert made.exchange.may_shed(session)
            told.append(Peers(number))
    assert len(told) == 1


def test_nobody_is_sent_away_who_does_not_look_for_others() -> None:
    """A relay everybody was told to dial, and nothing else, serves them all."""
    made = overlay()
    sessions = [link(made, number, listens=False) for number in range(50)]
    assert gone(sessions) == []


def test_a_node_the_user_named_stays() -> None:
    made = overlay()
    for number in range(ACTIVE_MAX):
        made.peers.given(place(number), 0.0)
    dials = [made.peers.next_dial(0.0) for _ in range(ACTIVE_MAX)]
    for number, dial in enumerate(dials):
        assert dial is not None
        made.peers.reached(dial.address, node(number))
    given = [link(made, number) for number in range(ACTIVE_MAX)]
    others = [link(made, ACTIVE_MAX + number) for number in range(ACTIVE_MAX + 2)]
    assert gone(given) == []
    assert len(gone(others)) == 2


def test_a_peer_at_fault_goes_first() -> None:
    made = overlay()
    sessions = [link(made, number) for number in range(ACTIVE_MAX)]
    sessions[3].score.punish(Score.T1, 0.0)
    sessions.append(link(made, ACTIVE_MAX))
    assert gone(sessions) == [3]


def test_a_peer_that_wants_other_models_goes_first_and_fills_no_place() -> None:
    made = overlay(("Person",))
    sessions = [link(made, number, models=("Person",)) for number in range(ACTIVE - 1)]
    sessions += [link(made, number, models=("Album",)) for number in range(ACTIVE - 1, ACTIVE_MAX)]
    assert not made.peers.is_full
    sessions.append(link(made, ACTIVE_MAX, models=("Person",)))
    (who,) = gone(sessions)
    assert ACTIVE - 1 <= who < ACTIVE_MAX
    assert made.peers.is_full


def test_of_many_in_one_public_network_one_goes_first() -> None:
    made = overlay()
    far = [link(made, number, remote=f"9.{number}.0.1:7000") for number in range(ACTIVE_MAX - 3)]
    near = [link(made, 20 + number, remote=f"8.8.{number}.1:7000") for number in range(3)]
    near.append(link(made, 30, remote="7.7.7.7:7000"))
    assert gone(far) == []
    assert len(gone(near)) == 1


def test_who_sent_us_away_and_whom_we_sent_away_is_let_be() -> None:
    made = overlay()
    sessions = [link(made, number) for number in range(ACTIVE_MAX + 1)]
    (who,) = gone(sessions)
    made.peers.found_untrusted(place(who), node(who), 0.0)
    made.leave(sessions[who], 0.0)
    assert not made.peers.has_other(1.0)
    other = sessions[0] if who else sessions[1]
    made.peers.found_untrusted("10.0.200.1:7000", other.peer, 0.0)
    other.receive_untrusted(Bye("links enough", full=True), 0.0)
    made.leave(other, 0.0)
    assert not made.peers.has_other(1.0)


def test_one_link_gives_way_every_ten_minutes_if_there_is_another_to_make() -> None:
    made = overlay()
    sessions = [link(made, number) for number in range(ACTIVE)]
    made.tick(ROTATE_SECONDS)
    assert gone(sessions) == []
    assert made.deadline() <= 2 * ROTATE_SECONDS
    made.peers.told_untrusted("10.0.200.1:7000", node(99), node(0), ROTATE_SECONDS)
    made.tick(2 * ROTATE_SECONDS)
    assert len(gone(sessions)) == 1


def test_what_a_peer_tells_is_no_dial_of_ourselves() -> None:
    made = overlay()
    session = link(made, 1)
    session.receive_untrusted(Peers(0, (Neighbour(node(7), "10.9.9.9:7000"),)), 0.0)
    made.hear(session, 0.0)
    assert len(made.peers) == 0


def test_another_cluster_takes_no_place() -> None:
    made = overlay()
    session = made.join(node(1), place(1), dialled=False, now=0.0)
    assert session is not None
    session.refresh([], frozenset(), 0.0)
    session.receive_untrusted(Hello(cluster_hash("other"), ("*",), ()), 0.0)
    assert not made.settle(session, 0.0)
    assert made.leave(session, 0.0)
    assert made.peers.banned(node(1), 1.0)


# -- clocks (ORD-5) --

SECOND = 1_000_000
NOON = 1_700_000_000 * SECOND


@pytest.mark.parametrize(
    ("offsets", "behind"),
    [([], None), ([5, 5], None), ([5, 5, 5], 5), ([-40, 0, 1], 0), ([40, 41, 3600], 41)],
)
def test_our_clock_is_compared_with_the_median_of_three_or_more(
    offsets: list[int], behind: int | None
) -> None:
    made = overlay()
    for number, offset in enumerate(offsets):
        link(made, number, now_us=NOON + offset * SECOND)
    link(made, 50)  # does not say
    found = made.clock_behind_us(0.0, NOON)
    assert found == (None if behind is None else behind * SECOND)


def test_clocks_go_on_between_what_is_heard_of_them_and_setting_ours_is_seen_at_once() -> None:
    made = overlay()
    for number in range(CLOCKS_MIN):
        link(made, number, now_us=NOON + 100 * SECOND)
    assert made.clock_behind_us(15.0, NOON + 15 * SECOND) == 100 * SECOND
    assert made.clock_behind_us(16.0, NOON + 116 * SECOND) == 0


@pytest.mark.parametrize("kind", [Ping, Pong])
def test_pings_and_pongs_tell_of_a_clock_that_was_set(kind: type[Ping | Pong]) -> None:
    made = overlay()
    sessions = [link(made, number, now_us=NOON) for number in range(CLOCKS_MIN)]
    for session in sessions:
        session.receive_untrusted(kind(NOON + 70 * SECOND), 20.0)
    assert made.clock_behind_us(20.0, NOON + 20 * SECOND) == 50 * SECOND


def test_a_peer_that_has_left_says_nothing_any_more() -> None:
    made = overlay()
    sessions = [link(made, number, now_us=NOON) for number in range(CLOCKS_MIN)]
    made.leave(sessions[0], 0.0)
    assert made.clock_behind_us(0.0, NOON) is None


def test_our_clock_is_told_as_the_message_leaves() -> None:
    made = overlay()
    session = link(made, 1)
    session.receive_untrusted(Ping(), 0.0)
    said = []
    while (message := session.next_message(NOON)) is not None:
        said.append(message)
    assert Pong(NOON) in said
