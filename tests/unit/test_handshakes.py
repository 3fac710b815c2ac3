"""Handshakes are rationed by host, and strangers hold up strangers only (CHAN-4)."""

import random
from collections.abc import Sequence

from dinemic_transport.handshakes import (
    _BUDGETS_MAX,
    HANDSHAKES_BURST,
    HANDSHAKES_MAX,
    HANDSHAKES_PER_HOST_BURST,
    HANDSHAKES_PER_HOST_MAX,
    HANDSHAKES_PER_HOST_PER_SECOND,
    HANDSHAKES_PER_SECOND,
    KNOWN_HOSTS_MAX,
    KNOWN_SECONDS,
    Handshakes,
    Turn,
)

NOW = 1000.0
WAIT_SECONDS_MAX = HANDSHAKES_MAX / HANDSHAKES_PER_SECOND


def shaken(handshakes: Handshakes, host: str, now: float) -> Turn:
    """A handshake that takes no time."""
    turn = handshakes.take(host, now)
    assert turn is not None
    handshakes.over(turn)
    return turn


def flood(handshakes: Handshakes, hosts: int, now: float) -> list[Turn]:
    """All handshakes that so many hosts can begin at one time, burst and places."""
    for host in range(hosts):
        while True:
            turn = handshakes.take(f"flood-{host}", now)
            if turn is None:
                break
            if turn.begins == now:
                handshakes.over(turn)
    return [
        turn for host in range(hosts) if (turn := handshakes.take(f"flood-{host}", now)) is not None
    ]


def test_a_burst_of_one_host_is_free_and_the_next_wait_for_their_turns() -> None:
    handshakes = Handshakes()
    for _ in range(HANDSHAKES_PER_HOST_BURST):
        assert shaken(handshakes, "a", NOW).begins == NOW

    turns = [handshakes.take("a", NOW) for _ in range(HANDSHAKES_PER_HOST_MAX)]
    assert [turn and turn.begins for turn in turns] == [
        NOW + number / HANDSHAKES_PER_HOST_PER_SECOND
        for number in range(1, HANDSHAKES_PER_HOST_MAX + 1)
    ]
    assert handshakes.take("a", NOW) is None, "all its places are taken"
    assert shaken(handshakes, "b", NOW).begins == NOW, "and nobody else's"

    assert turns[0] is not None
    handshakes.over(turns[0])
    assert len(handshakes) == HANDSHAKES_PER_HOST_MAX - 1
    assert handshakes.take("a", NOW) is not None


def test_what_is_refused_costs_its_host_nothing() -> None:
    handshakes = Handshakes()
    turns = [handshakes.take("a", NOW) for _ in range(HANDSHAKES_PER_HOST_MAX)]
    for _ in range(1000):
        assert handshakes.take("a", NOW) is None
    for turn in turns:
        assert turn is not None
        handshakes.over(turn)
    assert shaken(handshakes, "a", NOW).begins == NOW


def test_a_flood_of_many_hosts_holds_up_strangers_and_no_host_that_is_known() -> None:
    handshakes = Handshakes()
    for host, seconds in (("friend", KNOWN_SECONDS), ("visitor", KNOWN_SECONDS - 0.1)):
        shaken(handshakes, host, NOW)
        handshakes.lasted(host, seconds)
    later = NOW + 3600
    flood(handshakes, 4 * HANDSHAKES_BURST // HANDSHAKES_PER_HOST_BURST, later)
    assert len(handshakes) > 0

    assert shaken(handshakes, "friend", later).begins == later
    for stranger in ("visitor", "new"):
        turn = handshakes.take(stranger, later)
        assert turn is None or turn.begins > later
    flood(handshakes, HANDSHAKES_MAX, later)
    assert handshakes.take("new", later) is None, "there are not even places"
    assert shaken(handshakes, "friend", later).begins == later


def test_a_known_host_that_floods_holds_up_known_hosts_by_its_own_ration_only() -> None:
    handshakes = Handshakes()
    for host in ("flood-0", "friend"):
        handshakes.lasted(host, KNOWN_SECONDS)
    flood(handshakes, 1, NOW)
    assert shaken(handshakes, "friend", NOW).begins == NOW


def begun_within(begun: Sequence[float], burst: float, per_second: float) -> bool:
    """Whether no stretch of time saw more than `burst` and so many a second."""
    ends = sorted(begun)
    return all(
        last - first + 1 <= burst + (ends[last] - ends[first]) * per_second + 1e-6
        for first in range(len(ends))
        for last in range(first, min(first + int(3 * burst), len(ends)))
    )


def test_no_stretch_of_time_sees_more_than_the_invariant_says_and_nobody_waits_for_long(
    rng: random.Random,
) -> None:
    handshakes, now = Handshakes(), 0.0
    begun: dict[str, list[float]] = {}
    waiting: list[Turn] = []
    for _ in range(6000):
        now += rng.choice([0.0, 0.0, rng.random() / 30])
        for turn in [turn for turn in waiting if turn.begins <= now]:
            waiting.remove(turn)
            handshakes.over(turn)
        host = f"host-{int(rng.paretovariate(0.7)) % 40}"
        found = handshakes.take(host, now)
        if found is not None:
            assert found.begins <= now + WAIT_SECONDS_MAX
            begun.setdefault(host, []).append(found.begins)
            waiting.append(found)

    one = HANDSHAKES_PER_HOST_BURST + HANDSHAKES_PER_HOST_MAX
    assert all(begun_within(each, one, HANDSHAKES_PER_HOST_PER_SECOND) for each in begun.values())
    all_of = [at for each in begun.values() for at in each]
    assert begun_within(all_of, HANDSHAKES_BURST + HANDSHAKES_MAX, HANDSHAKES_PER_SECOND)
    assert max(map(len, begun.values())) > one, "a host used more than its burst"
    assert len(all_of) > HANDSHAKES_BURST + HANDSHAKES_MAX, "and so did all together"


def test_a_host_over_its_ration_is_not_forgotten_when_many_others_come() -> None:
    handshakes = Handshakes()
    for number in range(_BUDGETS_MAX - 1):
        shaken(handshakes, f"host-{number}", number)
    now = float(_BUDGETS_MAX)
    for _ in range(HANDSHAKES_PER_HOST_BURST):
        shaken(handshakes, "busy", now)
    shaken(handshakes, "one more", now)
    assert len(handshakes._budgets) < _BUDGETS_MAX, "those not in use were dropped"
    assert shaken(handshakes, "busy", now).begins > now


def test_what_is_remembered_of_hosts_is_bounded() -> None:
    handshakes, now = Handshakes(), 0.0
    for number in range(5 * _BUDGETS_MAX):
        now += 1 / HANDSHAKES_PER_SECOND
        turn = shaken(handshakes, f"host-{number}", now)
        assert turn.begins == now
        handshakes.lasted(turn.host, KNOWN_SECONDS)
        assert len(handshakes._budgets) <= _BUDGETS_MAX
        assert len(handshakes._known) <= KNOWN_HOSTS_MAX
    assert len(handshakes._places_taken) == 0
