"""I-10: whatever two sides hold, they learn exactly what they differ in, in bounded messages."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from dinemic_engine.limits import FRAME_BYTES_MAX, RANGES_PER_MESSAGE_MAX
from dinemic_engine.ranges import Key
from dinemic_engine.reconcile import Reconciler, answer_untrusted
from dinemic_transport.messages import Answer, Ask
from dinemic_transport.wire import decode_untrusted, encode
from support.dict_replica import MODEL, KeySet

TIMES = st.one_of(
    st.integers(0, 40), st.integers(0, (1 << 63) - 1), st.just((1 << 63) - 1), st.just(0)
)
IDS = st.one_of(
    st.binary(min_size=32, max_size=32),
    st.integers(0, 1 << 16).map(lambda number: number.to_bytes(32, "big")),
)
SETS = st.tuples(*(st.sets(st.tuples(TIMES, IDS), max_size=size) for size in (200, 60, 60)))


def over_the_wire(message: Ask | Answer) -> Ask | Answer:
    frame = encode(message)
    assert len(frame) <= FRAME_BYTES_MAX
    decoded = decode_untrusted(frame)
    assert decoded == message
    assert isinstance(decoded, Ask | Answer)
    assert len(decoded.segments) <= RANGES_PER_MESSAGE_MAX
    return decoded


def run(ours: set[Key], theirs: set[Key]) -> None:
    mine, other = KeySet(ours), KeySet(theirs)
    reconciler = Reconciler()
    need: list[Key] = []
    have: set[Key] = set()
    rounds = 0
    while True:
        question = reconciler.ask(mine)
        if question:
            rounds += 1
            asked = over_the_wire(Ask(MODEL, question))
            answer = over_the_wire(Answer(MODEL, answer_untrusted(other, asked.segments)))
            reconciler.learn_untrusted(mine, answer.segments)
        settled = reconciler.settle()
        need += settled.need
        for gap in settled.have:
            news = {key for key in ours if gap.lower <= key < gap.upper} - gap.known
            assert not news & have
            have |= news
        if not question:
            break
    assert need == sorted(theirs - ours)
    assert have == ours - theirs
    assert rounds <= 12 + len(theirs) // 1000


@given(SETS)
def test_small_sets_of_any_shape_reconcile_exactly(
    sets: tuple[set[Key], set[Key], set[Key]],
) -> None:
    shared, ours, theirs = sets
    run(shared | ours, shared | theirs)


@settings(max_examples=25)
@given(
    st.integers(0, 1 << 32), st.floats(0, 1), st.floats(0, 1), st.sampled_from([1, 10**3, 10**9])
)
def test_large_sets_reconcile_exactly(seed: int, ours: float, theirs: float, step: int) -> None:
    rng = random.Random(seed)
    everything = [(step * (t // 2), rng.randbytes(32)) for t in range(rng.randrange(6000))]
    run(
        {key for key in everything if rng.random() < ours},
        {key for key in everything if rng.random() < theirs},
    )
