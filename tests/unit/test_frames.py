"""Frames on a byte stream (REC-4)."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dinemic_engine.errors import TransportError, UsageError
from dinemic_engine.limits import FRAME_BYTES_MAX
from dinemic_transport.frames import HEADER_BYTES, FrameDecoder, encode_frame

payloads = st.lists(st.binary(min_size=1, max_size=300), max_size=8)


def drain(decoder: FrameDecoder) -> list[bytes]:
    frames = []
    while (frame := decoder.next_frame()) is not None:
        frames.append(frame)
    return frames


@given(payloads, st.lists(st.integers(0, 3000), max_size=12))
def test_the_same_frames_come_out_however_the_bytes_are_cut(
    sent: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join(map(encode_frame, sent))
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    decoder, got = FrameDecoder(), []
    for start, end in itertools.pairwise(edges):
        decoder.feed_untrusted(stream[start:end])
        got += drain(decoder)
    assert got == sent
    assert not decoder.unfinished


def test_frames_of_one_byte_and_of_the_largest_size_pass_byte_by_byte() -> None:
    largest = bytes(range(256)) * (FRAME_BYTES_MAX // 256)
    decoder, got = FrameDecoder(), []
    for byte in encode_frame(b"x") + encode_frame(largest):
        decoder.feed_untrusted(bytes([byte]))
        got += drain(decoder)
    assert got == [b"x", largest]


@pytest.mark.parametrize("length", [0, FRAME_BYTES_MAX + 1, 1 << 31, (1 << 32) - 1])
def test_a_bad_length_ends_the_stream_as_soon_as_it_is_known(length: int) -> None:
    decoder = FrameDecoder()
    header = length.to_bytes(4, "big")
    decoder.feed_untrusted(encode_frame(b"good") + header[:3])
    assert drain(decoder) == [b"good"]
    decoder.feed_untrusted(header[3:])
    with pytest.raises(TransportError, match=str(length)):
        decoder.next_frame()


@given(payloads, st.sampled_from([0, FRAME_BYTES_MAX + 1, (1 << 32) - 1]), st.booleans())
def test_frames_before_a_bad_length_are_delivered_first(
    sent: list[bytes], length: int, at_once: bool
) -> None:
    stream = b"".join(map(encode_frame, sent)) + length.to_bytes(4, "big") + b"tail"
    decoder, got = FrameDecoder(), []

    def read() -> None:
        for piece in [stream] if at_once else [bytes([byte]) for byte in stream]:
            decoder.feed_untrusted(piece)
            while (frame := decoder.next_frame()) is not None:
                got.append(frame)

    with pytest.raises(TransportError):
        read()
    assert got == sent


def test_a_lost_stream_stays_lost_and_keeps_nothing() -> None:
    decoder = FrameDecoder()
    decoder.feed_untrusted(bytes(HEADER_BYTES) + b"x" * 1000)
    for _ in range(2):
        with pytest.raises(TransportError):
            decoder.next_frame()
        with pytest.raises(TransportError):
            decoder.feed_untrusted(encode_frame(b"fine"))
    assert not decoder.unfinished


def test_an_end_inside_a_frame_can_be_told_from_one_between_frames() -> None:
    decoder = FrameDecoder()
    unfinished = [decoder.unfinished]
    decoder.feed_untrusted(encode_frame(b"abc")[:-1])
    assert decoder.next_frame() is None
    unfinished.append(decoder.unfinished)
    decoder.feed_untrusted(b"c")
    assert decoder.next_frame() == b"abc"
    unfinished.append(decoder.unfinished)
    assert unfinished == [False, True, False]


@pytest.mark.parametrize("size", [0, FRAME_BYTES_MAX + 1])
def test_what_is_no_frame_is_not_encoded(size: int) -> None:
    with pytest.raises(UsageError, match=str(size)):
        encode_frame(bytes(size))
