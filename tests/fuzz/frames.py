"""Targets for what comes over a link: the stream, one message, questions and answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from dinemic_engine import canonical, listing, reconcile
from dinemic_engine.canonical import Value
from dinemic_engine.errors import TransportError
from dinemic_engine.limits import FRAME_BYTES_MAX
from dinemic_engine.ranges import HIGHEST, Bound
from dinemic_engine.reconcile import RangeRefused, Reconciler, Segment
from dinemic_transport.frames import FrameDecoder, encode_frame
from dinemic_transport.messages import (
    REASON_CHARACTERS_MAX,
    Answer,
    Ask,
    Bye,
    Message,
    weight,
)
from dinemic_transport.wire import decode_untrusted, encode
from fuzz.target import Target
from support.dict_replica import (
    MODEL,
    KeySet,
    identify,
    made_event,
)
from support.every_message import FP, ID, MESSAGES

# -- the stream ---------------------------------------------------------------------------------


def stream(data: bytes) -> None:
    """What comes out depends on the bytes alone, not on how they were cut."""
    whole, error = _framed([data])
    size = data[0] % 7 + 1 if data else 1
    cut = [data[at : at + size] for at in range(0, len(data), size)]
    assert _framed(cut) == (whole, error)
    sent = b"".join(map(encode_frame, whole))
    assert data.startswith(sent)


def _framed(pieces: list[bytes]) -> tuple[list[bytes], str | None]:
    decoder = FrameDecoder()
    found: list[bytes] = []
    try:
        for piece in pieces:
            decoder.feed_untrusted(piece)
            while (frame := decoder.next_frame()) is not None:
                assert 1 <= len(frame) <= FRAME_BYTES_MAX
                found.append(frame)
    except TransportError as error:
        with suppress(TransportError):  # and for good
            decoder.feed_untrusted(b"\0\0\0\1x")
            raise AssertionError("the stream goes on") from None
        with suppress(TransportError):
            decoder.next_frame()
            raise AssertionError("the stream goes on") from None
        return found, str(error)
    return found, None


def _streams() -> list[bytes]:
    frames = b"".join(encode_frame(each) for each in (b"one", b"x" * 300, b"three"))
    return [
        frames,
        frames[:-2],
        frames + bytes(9),
        b"\xff\xff\xff\xff",
        b"\0\1\0\1" + bytes(65_537),
    ]


# -- a message ----------------------------------------------------------------------------------


def wire(data: bytes) -> None:
    """I-04: a message has one spelling; only the reason of a `Bye` may be cut."""
    try:
        message = decode_untrusted(data)
    except TransportError:
        return
    again = encode(message)
    if isinstance(message, Bye) and len(message.reason) == REASON_CHARACTERS_MAX:
        assert decode_untrusted(again) == message
    else:
        assert again == data
    assert weight(message) > 0


def _messages() -> list[bytes]:
    good = [*map(encode, MESSAGES), encode(Bye("x" * REASON_CHARACTERS_MAX))]
    rows: list[Value] = [[["not a name", 1, FP, FP, FP]], [[MODEL, 1, FP, FP, b"x"]], [[MODEL, 1]]]
    ends: list[Value] = [[[5, b""]], [[None, b"x", None]], [[None, b"", [5]]], [5]]
    bad: list[list[Value]] = [
        [],
        ["x"],
        [99],
        [8],
        [8, True],
        [8, -1],
        [0],
        [0, 2],
        *([1, row, False] for row in rows),
        *([2, MODEL, end, False, False] for end in ends),
        [11, 0, [[ID]]],
        [11, 0, [[ID, "10.0.0.1"]]],
        [12, MODEL, 5, ID, True, [FP]],
        [4, 1, MODEL, [ID] * 600],
    ]
    return [*good, *map(canonical.encode, bad), b"\xff", bytes(FRAME_BYTES_MAX + 1)]


# -- questions and answers ----------------------------------------------------------------------

_SETS: Final = [[*range(0)], [*range(1000, 1030)], [*range(900, 1400)]]


def questions(data: bytes) -> None:
    """An `Ask` is answered in one frame, an `Answer` is learnt from; or refused, by either kind."""
    try:
        message = decode_untrusted(data)
    except TransportError:
        return
    for numbers in _SETS:
        side = KeySet((t, identify(made_event(t))) for t in numbers)
        match message:
            case Ask(segments=segments):
                _answer(side, message)
            case Answer(segments=segments):
                for learner in (Reconciler(), listing.Lister()):
                    with suppress(RangeRefused):
                        learner.learn_untrusted(side, segments)
                        raise AssertionError("learnt from an answer to nothing")
                    with suppress(RangeRefused):
                        learner.ask(side)
                        learner.learn_untrusted(side, segments)
                        learner.settle()
                        learner.ask(side)
            case _:
                return


def _answer(side: KeySet, question: Ask) -> None:
    for kind in (reconcile, listing):
        with suppress(RangeRefused):
            answer = kind.answer_untrusted(side, question.segments)
            reconcile.check_untrusted(answer)
            frame = encode(Answer(question.model, answer, listed=kind is listing))
            assert decode_untrusted(frame) == Answer(question.model, answer, listed=kind is listing)


def _questions() -> list[bytes]:
    found: list[Message] = [each for each in MESSAGES if isinstance(each, Ask | Answer)]
    sides = [KeySet((t, identify(made_event(t))) for t in numbers) for numbers in _SETS]
    for kind, asker in ((reconcile, Reconciler), (listing, listing.Lister)):
        for mine in sides:
            for theirs in sides:
                asked = asker().ask(mine)
                found.append(Ask(MODEL, asked, listed=kind is listing))
                answer = kind.answer_untrusted(theirs, asked)
                found.append(Answer(MODEL, answer, listed=kind is listing))
    (first, *_) = Reconciler().ask(sides[2])
    found += [Answer(MODEL, segments) for segments in _wrong_about(first.upper)]
    few = tuple((t, identify(made_event(t))) for t in range(1000, 1005))
    found.append(Answer(MODEL, (Segment((1010, b""), few), Segment(HIGHEST, None))))
    return [frame for frame in map(encode, found) if len(frame) <= 1 << 13]


def _wrong_about(upper: Bound) -> Iterator[tuple[Segment, ...]]:
    """What is no answer to a fingerprint of all below `upper`."""
    parts = tuple(Segment((t, b""), FP) for t in range(1, 17))
    keys = tuple((t, ID) for t in range(1, 40))
    for claims in (
        (Segment(upper, FP),),
        (Segment(upper, keys),),
        (*parts, Segment(upper, FP)),
        (parts[0], Segment(upper, keys[4:6])),
    ):
        yield (*claims, Segment(HIGHEST, None))


TARGETS: Final = {
    "stream": Target(stream, _streams),
    "wire": Target(wire, _messages),
    "questions": Target(questions, _questions, calls=100_000, calls_per_byte=400),
}
