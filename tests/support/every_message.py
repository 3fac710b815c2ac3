"""One of every message of the wire, and of some several: what tests of the wire begin from."""

from __future__ import annotations

from dinemic_engine.ranges import HIGHEST
from dinemic_engine.reconcile import Segment
from dinemic_transport.messages import (
    Answer,
    Ask,
    Bye,
    Confirm,
    Dispute,
    Events,
    Got,
    Graft,
    Have,
    Hello,
    Message,
    Neighbour,
    Part,
    Peers,
    Ping,
    Pong,
    Prune,
    Row,
    Summary,
    Want,
    cluster_hash,
)

FP = b"f" * 16
ID = b"i" * 32
ROW = Row("Person", 5, FP, b"e" * 16, b"h" * 16)
SEGMENTS = (
    Segment((5, b""), None),
    Segment((5, b"\x01"), FP),
    Segment((1 << 60, b"\x80\x00\x01"), ((5, b"\x02" * 32), (7, ID))),
    Segment((1 << 61, b""), ()),
    Segment(HIGHEST, FP),
)
MESSAGES: list[Message] = [
    Hello(cluster_hash("home"), ("*",), (ROW,), more=True, now_us=1_700_000_000_000_000),
    Hello(cluster_hash("home"), ("Person", "Album"), ()),
    Summary((ROW,)),
    Ask("Person", SEGMENTS),
    Ask("Person", SEGMENTS, effective=True),
    Ask("Person", SEGMENTS, listed=True),
    Answer("Person", SEGMENTS[:2]),
    Answer("Person", SEGMENTS[2:], effective=True),
    Answer("Person", SEGMENTS[2:], listed=True),
    Want(7, "Person", (ID, b"j" * 32)),
    Events(0, "Person", (b"one", b"two")),
    Events(-3, "Person", (), last=False),
    Part(9, "Person", 1, 2, b"data"),
    Got(3, 512, 7),
    Ping(),
    Ping(1_700_000_000_000_000),
    Pong(),
    Pong((1 << 63) - 1),
    Bye("that was all"),
    Bye("links enough", full=True),
    Peers(7000, (Neighbour(ID, "10.0.0.1:7000"), Neighbour(b"j" * 32, "[2001:db8::1]:65535"))),
    Peers(0),
    Dispute("Person", (7, ID), True, (FP, b"e" * 16)),
    Confirm("Person", False),
    Have("Person", (ID, b"j" * 32)),
    Prune(),
    Graft("Person", (ID,)),
    Graft("Person", ()),
]
