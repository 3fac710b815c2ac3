"""What two nodes say to each other: one frozen class a message, with its layout beside its name.

A message is one frame, an array whose first element is its kind (docs/format.md); wire.py has both
directions.

A *ticket* ties an answer to what it answers, in each direction on its own::

    Want(7, ids) ------------>                     7: a number of the asking side
                 <------------ Events(7, ...)      what you wanted under 7; the last one says so
    Events(-3, ...) --------->                     what you lack; say when it is judged
                 <------------ Got(3, admitted, known)
    Events(0, ...) ---------->                     news; no answer

News goes along eager links at once, along lazy ones by name (gossip.py)::

    Have(ids) --------------->                     admitted here; said to whom nothing is pushed
                 <------------ Graft(ids)          some of it never came: send it, and push again
    Events(0, ...) ---------->
                 <------------ Prune()             it comes from elsewhere sooner: name it only
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from dinemic_engine.errors import UsageError
from dinemic_engine.ids import ID_BYTES, is_model_name
from dinemic_engine.limits import EVENT_BYTES_MAX, MODELS_PER_HELLO_MAX
from dinemic_engine.ranges import Key
from dinemic_engine.reconcile import Segment

PROTOCOL_VERSION: Final = 1
CLUSTER_BYTES: Final = 16
ALL_MODELS: Final = "*"

PART_BYTES: Final = 60_000
"""What of a large event one frame carries, and what of small ones: the rest is heads and names."""

PARTS_MAX: Final = -(-EVENT_BYTES_MAX // PART_BYTES)
EVENTS_PER_MESSAGE_MAX: Final = 256
NEIGHBOURS_PER_MESSAGE_MAX: Final = 16
_LIGHT_BYTES: Final = 64
_MODELS_BYTES_MAX: Final = 24 << 10
REASON_CHARACTERS_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Row:
    """All events of one model on one side: how many, and their fingerprints on the wire."""

    model: str
    count: int
    fingerprint: bytes
    effective: bytes
    """The fingerprint of those among them that are effective (VETO-4)."""
    heads: bytes
    """That of the heads of their objects (REC-3)."""

    def has_same_sum(self, other: Row) -> bool:
        """Whether both stand for the same events, unless somebody made sums equal for it."""
        return (self.count, self.fingerprint) == (other.count, other.fingerprint)


@dataclass(frozen=True, slots=True)
class Hello:
    """``[0, version, cluster, models, rows, more, now_us]``: who we are, what we ask for and have.

    `models` are the subscriptions, ``("*",)`` for all. With `more` the rest of the rows follows in
    `Summary` messages; a model without a row has no events here. `now_us` is as in `Ping`.
    """

    cluster: bytes
    models: tuple[str, ...]
    rows: tuple[Row, ...]
    more: bool = False
    now_us: int = 0


@dataclass(frozen=True, slots=True)
class Summary:
    """``[1, rows, more]``: rows that changed since we last said them."""

    rows: tuple[Row, ...]
    more: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """``[2, model, segments, effective, listed]``: a reconciler's question, or a lister's.

    It is about effective events only, or about all.
    """

    model: str
    segments: tuple[Segment, ...]
    effective: bool = False
    listed: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """``[3, model, segments, effective, listed]``: the answer to the last `Ask`, of its kind."""

    model: str
    segments: tuple[Segment, ...]
    effective: bool = False
    listed: bool = False


@dataclass(frozen=True, slots=True)
class Want:
    """``[4, ticket, model, ids]``: send me these events, in this order."""

    ticket: int
    model: str
    ids: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Events:
    """``[5, ticket, model, events, last]``: signed events; `last` ends what the ticket covers."""

    ticket: int
    model: str
    events: tuple[bytes, ...]
    last: bool = True


@dataclass(frozen=True, slots=True)
class Part:
    """``[6, ticket, model, index, total, data]``: a piece of one event too large for a frame.

    The pieces follow each other with no other events between; together they are one event of
    `Events`, and never the last word on a ticket.
    """

    ticket: int
    model: str
    index: int
    total: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Got:
    """``[7, ticket, admitted, known]``: what was sent under minus `ticket` is judged.

    So many of its events were new, and so many known already; the others wait or are refused.
    """

    ticket: int
    admitted: int
    known: int = 0


@dataclass(frozen=True, slots=True)
class Ping:
    """``[8, now_us]``: the sender is alive and asks whether the other is.

    `now_us` is the sender's clock as this leaves, in microseconds since the epoch (ORD-5); 0 if it
    does not say.
    """

    now_us: int = 0


@dataclass(frozen=True, slots=True)
class Pong:
    """``[9, now_us]``: the answer to `Ping`, by the clock of who answers."""

    now_us: int = 0


@dataclass(frozen=True, slots=True)
class Bye:
    """``[10, reason, full]``: the sender closes now; the reason is for people.

    `full`: only because it has links enough, and the peer was told of others to turn to (GOS-2).
    """

    reason: str
    full: bool = False


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A node, and an address at which others may dial it: an IP and a port, never a name."""

    node_id: bytes
    address: str


@dataclass(frozen=True, slots=True)
class Peers:
    """``[11, port, [[node id, address], ...]]``: where others can dial us, and whom we know.

    `port` is the one the sender listens on, 0 if it is not to be dialled. Its host is where the
    link comes from.
    """

    port: int
    neighbours: tuple[Neighbour, ...] = ()


@dataclass(frozen=True, slots=True)
class Dispute:
    """``[12, model, t, id, effective, row]``: of this event we judge differently, do we not?

    It is `effective` on the side that says so. `row` is what that side takes for the other's: the
    fingerprint, and that of the effective events.
    """

    model: str
    key: Key
    effective: bool
    row: tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Confirm:
    """``[13, model, confirmed]``: whether the last `Dispute` is so, seen from the other side."""

    model: str
    confirmed: bool


@dataclass(frozen=True, slots=True)
class Have:
    """``[14, model, ids]``: events the sender has admitted and does not push (GOS-1)."""

    model: str
    ids: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Prune:
    """``[15]``: what you push is here already: name the events of others with `Have`, no more."""


@dataclass(frozen=True, slots=True)
class Graft:
    """``[16, model, ids]``: send these as news, and push news to me from now on."""

    model: str
    ids: tuple[bytes, ...]


Message: TypeAlias = (
    Hello
    | Summary
    | Ask
    | Answer
    | Want
    | Events
    | Part
    | Got
    | Ping
    | Pong
    | Bye
    | Peers
    | Dispute
    | Confirm
    | Have
    | Prune
    | Graft
)


def check_models(models: Sequence[str]) -> tuple[str, ...]:
    """`models`, which can be the subscriptions of a node.

    Raises:
        UsageError: one is no model name, or they are too many for a `Hello`.
    """
    for name in models:
        if name != ALL_MODELS and not is_model_name(name):
            raise UsageError(f"not a model name: {name!r:.150}")
    if len(models) > MODELS_PER_HELLO_MAX or sum(map(len, models)) > _MODELS_BYTES_MAX:
        raise UsageError(f"too many models to ask for: {len(models)}; ask for '*' instead")
    return tuple(models)


def cluster_hash(name: str) -> bytes:
    """The 16 bytes by which two nodes see that they mean the same cluster."""
    return hashlib.sha256(b"dinemic/cluster/1" + name.encode()).digest()[:CLUSTER_BYTES]


def weight(message: Message) -> int:
    """About how many bytes a message holds, for the bounds of queues."""
    match message:
        case Events(events=events):
            return _LIGHT_BYTES + sum(map(len, events))
        case Part(data=data):
            return _LIGHT_BYTES + len(data)
        case Ask(segments=segments) | Answer(segments=segments):
            return _LIGHT_BYTES * (1 + len(segments))
        case Hello(rows=rows) | Summary(rows=rows):
            return _LIGHT_BYTES * (1 + len(rows))
        case Peers(neighbours=neighbours):
            return _LIGHT_BYTES * (1 + 2 * len(neighbours))
        case Have(ids=ids) | Graft(ids=ids):
            return _LIGHT_BYTES + ID_BYTES * len(ids)
        case _:
            return _LIGHT_BYTES
