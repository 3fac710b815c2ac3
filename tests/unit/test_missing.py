"""What others name and this node lacks is asked for: of one peer at a time, and not for ever."""

from dinemic_transport.missing import (
    ASK_SECONDS,
    COMING_MAX,
    NAMED_PER_PEER_MAX,
    NEXT_SECONDS,
    Asking,
    Missing,
)

A, B, C = b"a" * 32, b"b" * 32, b"c" * 32
ONE, TWO = b"1" * 32, b"2" * 32
NOTHING: frozenset[bytes] = frozenset()


def test_one_peer_after_the_other_is_asked_and_then_it_is_let_go() -> None:
    missing = Missing()
    for peer in (A, B, A):
        missing.named(peer, "Person", [ONE], 0.0)
    assert missing.deadline() == ASK_SECONDS
    assert missing.take_due(NOTHING, ASK_SECONDS - 0.01) == []
    now = ASK_SECONDS
    for peer in (A, B):
        assert missing.take_due(NOTHING, now) == [Asking(peer, "Person", (ONE,))]
        assert missing.take_due(NOTHING, now) == []
        now += NEXT_SECONDS
    assert missing.take_due(NOTHING, now) == []
    assert len(missing) == 0
    assert missing.deadline() == float("inf")


def test_what_came_meanwhile_is_not_asked_for() -> None:
    missing = Missing()
    missing.named(A, "Person", [ONE, TWO], 0.0)
    missing.admitted(ONE)
    assert missing.take_due(NOTHING, 1.0) == [Asking(A, "Person", (TWO,))]
    missing.admitted(TWO)
    assert missing.deadline() == float("inf")


def test_what_is_under_way_is_waited_for_and_not_for_ever() -> None:
    missing = Missing()
    missing.named(A, "Person", [ONE], 0.0)
    now = ASK_SECONDS
    for _ in range(COMING_MAX):
        assert missing.take_due({ONE}, now) == []
        assert len(missing) == 1
        now += NEXT_SECONDS
    assert missing.take_due({ONE}, now) == []
    assert len(missing) == 0


def test_a_peer_that_is_gone_is_not_asked() -> None:
    missing = Missing()
    missing.named(A, "Person", [ONE], 0.0)
    missing.named(B, "Person", [ONE], 0.0)
    missing.gone(A)
    assert missing.take_due(NOTHING, 1.0) == [Asking(B, "Person", (ONE,))]


def test_what_one_peer_may_name_is_bounded_and_takes_nothing_from_others() -> None:
    missing = Missing()
    for number in range(3):
        ids = [b"%02d%030d" % (number, each) for each in range(NAMED_PER_PEER_MAX // 2)]
        missing.named(A, "Person", ids, 0.0)
    assert len(missing) == NAMED_PER_PEER_MAX
    missing.named(C, "Person", [ONE], 0.0)
    asked = missing.take_due(NOTHING, 1.0)
    assert asked[-1] == Asking(C, "Person", (ONE,))
    missing.named(A, "Person", [TWO], 1.0)
    assert len(missing) == NAMED_PER_PEER_MAX + 2
