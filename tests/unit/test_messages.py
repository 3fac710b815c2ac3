"""Messages survive the wire unchanged, fit frames, and nothing else is taken for one."""

import random
from typing import get_args

import pytest

from dinemic_engine import canonical
from dinemic_engine.canonical import Value
from dinemic_engine.errors import TransportError, UsageError
from dinemic_engine.limits import EVENT_BYTES_MAX, FRAME_BYTES_MAX, WANT_IDS_MAX
from dinemic_transport.messages import (
    EVENTS_PER_MESSAGE_MAX,
    NEIGHBOURS_PER_MESSAGE_MAX,
    PARTS_MAX,
    Ask,
    Bye,
    Events,
    Have,
    Hello,
    Message,
    Neighbour,
    Part,
    Peers,
    Ping,
    Row,
    Summary,
    check_models,
    weight,
)
from dinemic_transport.pages import events_messages, rows_pages
from dinemic_transport.wire import decode_untrusted, encode
from support.every_message import FP, ID, MESSAGES, ROW, SEGMENTS


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_survives_the_wire(message: Message) -> None:
    assert decode_untrusted(encode(message)) == message


def test_every_kind_of_message_is_among_those_tried_here() -> None:
    assert {type(message) for message in MESSAGES} == set(get_args(Message))


def cbor(*fields: Value) -> bytes:
    return canonical.encode(list(fields))


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        pytest.param(b"", "not a message", id="empty"),
        pytest.param(b"\xff" * 9, "not a message", id="no CBOR"),
        pytest.param(b"\x9f\x08\xff", "not a message", id="indefinite length"),
        pytest.param(b"\x81\x18\x08", "not a message", id="long form of 8"),
        pytest.param(encode(Ping()) + b"\0", "not a message", id="trailing byte"),
        pytest.param(b"\x81" * 1000 + b"\x08", "not a message", id="nested deep"),
        pytest.param(b"\x9b\x80" + bytes(7), "not a message", id="an array of 2^63"),
        pytest.param(cbor(), "no kind", id="no kind"),
        pytest.param(canonical.encode({}), "no kind", id="a map"),
        pytest.param(cbor(True), "no kind", id="kind true"),
        pytest.param(cbor(99), "unknown kind 99", id="unknown kind"),
        pytest.param(cbor(-1), "unknown kind -1", id="negative kind"),
        pytest.param(cbor(8, 0, None), "with 2 fields", id="too many fields"),
        pytest.param(cbor(0, 2, "whatever", 2), "version 2", id="another version"),
        pytest.param(cbor(0), "with 0 fields", id="an empty hello"),
        pytest.param(cbor(0, 1, FP, ["*"], [], 0, 0), "more is a int", id="more that is no bool"),
        pytest.param(cbor(0, 1, b"short", ["*"], [], False, 0), "cluster of 5", id="cluster"),
        pytest.param(cbor(0, 1, FP, "*", [], False, 0), "is a str", id="models that are text"),
        pytest.param(cbor(0, 1, FP, ["a b"], [], False, 0), "model name", id="no model name"),
        pytest.param(cbor(0, 1, FP, ["A"] * 513, [], False, 0), "513 of", id="513 models"),
        pytest.param(cbor(0, 1, FP, [], [], False, -1), "clock out", id="hello at -1"),
        pytest.param(cbor(1, [["A", -1, FP, FP, FP]], False), "count out of range", id="count -1"),
        pytest.param(cbor(1, [["A", 1.0, FP, FP, FP]], False), "is a float", id="count 1.0"),
        pytest.param(cbor(1, [["A", True, FP, FP, FP]], False), "is a bool", id="count true"),
        pytest.param(cbor(1, [["A", 1]], False), "too short", id="half a row"),
        pytest.param(cbor(1, [["A", 1, FP, FP, FP, 0]], False), "6 of", id="long row"),
        pytest.param(cbor(1, [["*", 1, FP, FP, FP]], False), "model name", id="a row of *"),
        pytest.param(cbor(1, [["A", 1, FP, FP, b"short"]], False), "of 5 bytes", id="half a print"),
        pytest.param(
            cbor(2, "A", [[1, b"", FP]], 0, True), "effective is a int", id="asked about 0"
        ),
        pytest.param(cbor(2, "A", [[1, b"", FP]], True, 0), "listed is a int", id="listed 0"),
        pytest.param(cbor(2, "A", [[1, b""]], False, False), "too short", id="half a range"),
        pytest.param(
            cbor(2, "A", [[-1, b"", FP]], False, False), "time out of range", id="reversed times"
        ),
        pytest.param(
            cbor(2, "A", [[(1 << 63) - 1, b"", None], [1, b"", FP]], False, False),
            "time out",
            id="past 2^63",
        ),
        pytest.param(
            cbor(2, "A", [[None, b"", FP], [1, b"", FP]], False, False),
            "beyond the end",
            id="after the end",
        ),
        pytest.param(
            cbor(2, "A", [[None, b"x", FP]], False, False), "beyond the end", id="past the end"
        ),
        pytest.param(
            cbor(2, "A", [[1, b"x" * 33, FP]], False, False), "bound of 33", id="long bound"
        ),
        pytest.param(
            cbor(2, "A", [[1, b"", b"short"]], False, False), "fingerprint of 5", id="fingerprint"
        ),
        pytest.param(
            cbor(2, "A", [[1, b"", 5]], False, False), "is a int", id="a claim that is a number"
        ),
        pytest.param(cbor(2, "A", [[9, b"", [1]]], False, False), "without an id", id="half a key"),
        pytest.param(
            cbor(2, "A", [[9, b"", [-1, ID]]], False, False), "time out", id="keys going back"
        ),
        pytest.param(
            cbor(2, "A", [[9, b"", [(1 << 63) - 1, ID, 1, ID]]], False, False),
            "time out",
            id="key past 2^63",
        ),
        pytest.param(cbor(2, "A", [[9, b"", [1, b"x"]]], False, False), "id of 1", id="short id"),
        pytest.param(
            cbor(2, "A", [[0, b"", None]] * 4097, False, False), "4097 of", id="4,097 ranges"
        ),
        pytest.param(cbor(4, 0, "A", []), "ticket out", id="ticket 0 wanted"),
        pytest.param(cbor(4, 1, "A", [ID] * (WANT_IDS_MAX + 1)), "513 of", id="513 wanted"),
        pytest.param(cbor(4, 1, "A", ["text"]), "is a str", id="an id of text"),
        pytest.param(cbor(5, 0, "A", [b""], True), "event of 0", id="an empty event"),
        pytest.param(cbor(5, 0, "A", [b"x"] * 257, True), "257 of", id="257 events"),
        pytest.param(cbor(5, -(1 << 63), "A", [], True), "ticket out", id="ticket -2^63"),
        pytest.param(cbor(6, 0, "A", 0, 1, b"x"), "parts out", id="one part of one"),
        pytest.param(cbor(6, 0, "A", 2, 2, b"x"), "a part out", id="part 2 of 0..1"),
        pytest.param(cbor(6, 0, "A", 0, PARTS_MAX + 1, b"x"), "parts out", id="too many parts"),
        pytest.param(cbor(6, 0, "A", 0, (1 << 63) - 1, b"x"), "parts out", id="2^63-1 parts"),
        pytest.param(cbor(6, 0, "A", 0, 2, b""), "part of 0", id="an empty part"),
        pytest.param(cbor(7, -3, 0, 0), "ticket out", id="got -3"),
        pytest.param(cbor(7, 3, -1, 0), "count out", id="admitted -1"),
        pytest.param(cbor(7, 3, 0, -1), "count out", id="known -1"),
        pytest.param(cbor(8, -1), "clock out", id="ping at -1"),
        pytest.param(cbor(8, 1.5), "is a float", id="ping at 1.5"),
        pytest.param(cbor(9, True), "is a bool", id="pong at true"),
        pytest.param(cbor(10, b"bytes", False), "is a bytes", id="a reason that is bytes"),
        pytest.param(cbor(10, "why", 0), "full is a int", id="full 0"),
        pytest.param(cbor(11, 65536, []), "port out", id="port 65536"),
        pytest.param(cbor(11, -1, []), "port out", id="port -1"),
        pytest.param(cbor(11, True, []), "is a bool", id="port true"),
        pytest.param(cbor(11, 0, [[ID, "10.0.0.1:1"]] * 17), "17 of", id="17 nodes"),
        pytest.param(cbor(11, 0, [[ID]]), "without an address", id="half a node"),
        pytest.param(cbor(11, 0, [[ID, "10.0.0.1:1", 0]]), "3 of", id="a node and more"),
        pytest.param(cbor(11, 0, [[b"short", "10.0.0.1:1"]]), "id of 5", id="short node id"),
        pytest.param(cbor(11, 0, [[ID, b"10.0.0.1:1"]]), "is a bytes", id="bytes as address"),
        pytest.param(cbor(11, 0, [[ID, "example.org:1"]]), "not an IP", id="a name"),
        pytest.param(cbor(11, 0, [[ID, "10.0.0.1:0"]]), "others can dial", id="port 0"),
        pytest.param(cbor(11, 0, [[ID, "224.0.0.1:1"]]), "others can dial", id="multicast"),
        pytest.param(cbor(11, 0, [[ID, "h" * 9999]]), "host:port", id="an address too long"),
        pytest.param(cbor(12, "A", -1, ID, True, [FP, FP]), "time out", id="a dispute at -1"),
        pytest.param(cbor(12, "A", 1, b"x", True, [FP, FP]), "id of 1", id="a dispute, short id"),
        pytest.param(cbor(12, "A", 1, ID, 1, [FP, FP]), "effective is a int", id="effective 1"),
        pytest.param(cbor(12, "A", 1, ID, True, [FP]), "too short", id="a dispute, half a row"),
        pytest.param(cbor(12, "A", 1, ID, True, [FP] * 3), "3 of", id="a dispute, long row"),
        pytest.param(cbor(12, "A", 1, ID, True, [FP, b"x"]), "of 1 bytes", id="a dispute, short"),
        pytest.param(cbor(12, "*", 1, ID, True, [FP, FP]), "model name", id="a dispute of *"),
        pytest.param(cbor(13, "A", None), "confirmed is a", id="confirmed None"),
        pytest.param(cbor(14, "A", [ID] * (WANT_IDS_MAX + 1)), "513 of", id="513 named"),
        pytest.param(cbor(14, "A", [ID[:31]]), "id of 31", id="a short id named"),
        pytest.param(cbor(14, "*", [ID]), "model name", id="named of *"),
        pytest.param(cbor(15, 0), "with 1 fields", id="a prune with more"),
        pytest.param(cbor(16, "A", [ID] * (WANT_IDS_MAX + 1)), "513 of", id="513 grafted"),
        pytest.param(cbor(16, "A", ["text"]), "is a str", id="a graft of text"),
        pytest.param(bytes(FRAME_BYTES_MAX + 1), "65537 bytes", id="larger than a frame"),
    ],
)
def test_what_is_no_message_is_refused(frame: bytes, reason: str) -> None:
    with pytest.raises(TransportError, match=reason):
        decode_untrusted(frame)


def test_mutated_frames_decode_to_a_message_of_the_same_bytes_or_are_refused(
    rng: random.Random,
) -> None:
    frames = [encode(message) for message in MESSAGES]
    for _ in range(5000):
        frame = bytearray(rng.choice(frames))
        for _ in range(rng.randrange(1, 4)):
            frame[rng.randrange(len(frame))] = rng.randrange(256)
        try:
            message = decode_untrusted(bytes(frame))
        except TransportError:
            continue
        assert encode(message) == bytes(frame)


def test_a_reason_is_cut_to_what_people_read() -> None:
    message = decode_untrusted(encode(Bye("long" * 1000)))
    assert isinstance(message, Bye)
    assert len(message.reason) == 200


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param([], id="none"),
        pytest.param([10] * 1000, id="many small"),
        pytest.param([59_000] * 5, id="one a frame"),
        pytest.param([EVENT_BYTES_MAX], id="the largest"),
        pytest.param([10, 60_000, 60_001, 20, EVENT_BYTES_MAX, 30], id="mixed"),
    ],
)
def test_events_are_cut_into_frames_in_order_and_marked_at_the_end(sizes: list[int]) -> None:
    events = [bytes([number % 256]) * size for number, size in enumerate(sizes)]
    messages = list(events_messages(-(1 << 40), "M" * 128, events))
    parts: list[bytes] = []
    received: list[bytes] = []
    for message in messages:
        assert len(encode(message)) <= FRAME_BYTES_MAX
        if isinstance(message, Part):
            assert message.index == len(parts)
            parts.append(message.data)
            if len(parts) == message.total:
                received.append(b"".join(parts))
                parts.clear()
        else:
            assert isinstance(message, Events)
            assert not parts
            assert len(message.events) <= EVENTS_PER_MESSAGE_MAX
            received += message.events
    assert received == events
    lasts = [message.last for message in messages if isinstance(message, Events)]
    assert lasts == [False] * (len(lasts) - 1) + [True]


def test_as_many_nodes_as_may_be_told_of_at_once_fit_a_frame() -> None:
    longest = Neighbour(ID, f"[{':'.join(['abcd'] * 8)}]:65535")
    told = Peers(65535, (longest,) * NEIGHBOURS_PER_MESSAGE_MAX)
    assert decode_untrusted(encode(told)) == told


def test_rows_are_cut_into_pages_that_fit_beside_the_longest_subscriptions() -> None:
    rows = [Row("M" * 120 + str(number), (1 << 63) - 1, FP, FP, FP) for number in range(5000)]
    pages = rows_pages(rows)
    assert [row for page in pages for row in page] == rows
    models = check_models(["M" * 120 + str(number) for number in range(190)])
    for page in pages:
        assert len(encode(Hello(FP, models, page, True))) <= FRAME_BYTES_MAX
    assert rows_pages([]) == [()]


def test_subscriptions_that_do_not_fit_a_hello_are_refused_before_anything_starts() -> None:
    with pytest.raises(UsageError, match="too many"):
        check_models(["A"] * 513)
    with pytest.raises(UsageError, match="too many"):
        check_models(["A" * 128] * 200)
    with pytest.raises(UsageError, match="not a model name"):
        check_models(["no name"])


def test_the_weight_of_a_message_grows_with_what_it_holds() -> None:
    assert weight(Events(0, "A", (b"x" * 5000,))) > 5000
    assert weight(Part(0, "A", 0, 2, b"x" * 5000)) > 5000
    assert weight(Ask("A", SEGMENTS)) > weight(Ask("A", SEGMENTS[:1]))
    assert weight(Summary((ROW,) * 50)) > 50 * 40
    assert weight(Peers(1, (Neighbour(ID, "10.0.0.1:1"),) * 2)) > weight(Peers(1)) + 100
    assert weight(Have("A", (ID,) * 50)) > 50 * 32
    assert weight(Ping()) < 100


def test_true_is_no_version() -> None:
    frame = encode(MESSAGES[0]).replace(b"\x87\x00\x01", b"\x87\x00\xf5", 1)
    assert frame != encode(MESSAGES[0])
    with pytest.raises(TransportError, match="version"):
        decode_untrusted(frame)
