"""A message as the payload of a frame, and back: CBOR in the canonical spelling of events.

What comes in is checked for shape, and each number for its range; whether a message fits at that
moment is the session's business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from dinemic_engine import canonical
from dinemic_engine.canonical import Value
from dinemic_engine.errors import InvalidEvent, TransportError, UsageError
from dinemic_engine.ids import ID_BYTES, is_model_name
from dinemic_engine.limits import (
    FRAME_BYTES_MAX,
    INT_MAX,
    MODELS_PER_HELLO_MAX,
    RANGES_PER_MESSAGE_MAX,
    T_US_MAX,
    WANT_IDS_MAX,
)
from dinemic_engine.ranges import FINGERPRINT_BYTES, HIGHEST, LOWEST, Bound, Key
from dinemic_engine.reconcile import Segment
from dinemic_transport import addresses
from dinemic_transport.messages import (
    ALL_MODELS,
    CLUSTER_BYTES,
    EVENTS_PER_MESSAGE_MAX,
    NEIGHBOURS_PER_MESSAGE_MAX,
    PART_BYTES,
    PARTS_MAX,
    PROTOCOL_VERSION,
    REASON_CHARACTERS_MAX,
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
)

_KEYS_PER_MESSAGE_MAX: Final = FRAME_BYTES_MAX // ID_BYTES


# -- encode --------------------------------------------------------------------------------------


def encode(message: Message) -> bytes:
    """The message as the payload of one frame."""
    data = canonical.encode(_layout(message))
    assert len(data) <= FRAME_BYTES_MAX, f"{type(message).__name__} of {len(data)} bytes"
    return data


def _layout(message: Message) -> list[Value]:
    match message:
        case Hello(cluster, models, rows, more, now_us):
            return [0, PROTOCOL_VERSION, cluster, models, _rows(rows), more, now_us]
        case Summary(rows, more):
            return [1, _rows(rows), more]
        case Ask(model, segments, effective, listed):
            return [2, model, _segments(segments), effective, listed]
        case Answer(model, segments, effective, listed):
            return [3, model, _segments(segments), effective, listed]
        case Want(ticket, model, ids):
            return [4, ticket, model, ids]
        case Events(ticket, model, events, last):
            return [5, ticket, model, events, last]
        case Part(ticket, model, index, total, data):
            return [6, ticket, model, index, total, data]
        case Got(ticket, admitted, known):
            return [7, ticket, admitted, known]
        case Ping(now_us):
            return [8, now_us]
        case Pong(now_us):
            return [9, now_us]
        case Bye(reason, full):
            return [10, reason[:REASON_CHARACTERS_MAX], full]
        case Peers(port, neighbours):
            return [11, port, [[known.node_id, known.address] for known in neighbours]]
        case Dispute(model, (t, event_id), effective, row):
            return [12, model, t, event_id, effective, list(row)]
        case Confirm(model, confirmed):
            return [13, model, confirmed]
        case Have(model, ids):
            return [14, model, ids]
        case Prune():
            return [15]
        case Graft(model, ids):
            return [16, model, ids]


def _rows(rows: Sequence[Row]) -> list[Value]:
    return [[row.model, row.count, row.fingerprint, row.effective, row.heads] for row in rows]


# A segment is ``[t, prefix, claim]``: `t` counted from the segment before, or null for the end of
# the order; the claim null, 16 bytes, or an array t, id, t, id, ... with each t counted from the
# one before, the first from where the segment begins. Differences of times are short.


def _segments(segments: Sequence[Segment]) -> list[Value]:
    out: list[Value] = []
    lower = LOWEST
    for segment in segments:
        upper, claim = segment.upper, segment.claim
        said: Value = claim if not isinstance(claim, tuple) else _keys(lower[0], claim)
        out.append([None if upper == HIGHEST else upper[0] - lower[0], upper[1], said])
        lower = upper
    return out


def _keys(t: int, keys: Sequence[Key]) -> list[Value]:
    out: list[Value] = []
    for key in keys:
        out += [key[0] - t, key[1]]
        t = key[0]
    return out


# -- decode --------------------------------------------------------------------------------------


def decode_untrusted(frame: bytes) -> Message:
    """The message in a frame. Every number is in its range; whether it fits now is the session's.

    Raises:
        TransportError: not a message of this protocol version.
    """
    if len(frame) > FRAME_BYTES_MAX:
        raise TransportError(f"a message of {len(frame)} bytes")
    try:
        value = canonical.decode_untrusted(frame)
    except InvalidEvent as error:
        raise TransportError(f"not a message: {error}") from error
    if not isinstance(value, list) or not value or type(value[0]) is not int:
        raise TransportError("not a message: no kind")
    kind, *fields = value
    reader = _READERS.get(kind)
    if reader is None:
        raise TransportError(f"a message of unknown kind {kind}")
    count, read = reader
    if kind == 0 and fields:  # before the shape, which may differ; True is no version
        version = _exact(fields[0], int, "the version")
        if version != PROTOCOL_VERSION:
            raise TransportError(f"the peer speaks version {version}, not {PROTOCOL_VERSION}")
    if len(fields) != count:
        raise TransportError(f"a message of kind {kind} with {len(fields)} fields")
    return read(fields)


_T = TypeVar("_T")


def _exact(value: object, kind: type[_T], what: str) -> _T:
    """`value`, which must be exactly of that type (True is no int)."""
    if type(value) is not kind:
        raise TransportError(f"{what} is a {type(value).__name__}")
    return value


def _items(value: object, count_max: int, what: str) -> list[object]:
    items: list[object] = _exact(value, list, what)
    if len(items) > count_max:
        raise TransportError(f"{len(items)} of {what}, {count_max} allowed")
    return items


def _number(value: object, low: int, high: int, what: str) -> int:
    number = _exact(value, int, what)
    if not low <= number <= high:
        raise TransportError(f"{what} out of range")
    return number


def _bytes(value: object, low: int, high: int, what: str) -> bytes:
    data = _exact(value, bytes, what)
    if not low <= len(data) <= high:
        raise TransportError(f"{what} of {len(data)} bytes")
    return data


def _model(value: object) -> str:
    model = _exact(value, str, "a model name")
    if not is_model_name(model):
        raise TransportError("a model name that cannot be one")
    return model


def _read_hello(fields: list[object]) -> Hello:
    _, cluster, models, rows, more, now_us = fields
    names = [
        name if name == ALL_MODELS else _model(name)
        for name in _items(models, MODELS_PER_HELLO_MAX, "subscriptions")
    ]
    return Hello(
        _bytes(cluster, CLUSTER_BYTES, CLUSTER_BYTES, "a cluster"),
        tuple(_exact(name, str, "a model name") for name in names),
        _read_rows(rows),
        _exact(more, bool, "more"),
        _now_us(now_us),
    )


def _now_us(value: object) -> int:
    return _number(value, 0, T_US_MAX, "a clock")


def _read_summary(fields: list[object]) -> Summary:
    return Summary(_read_rows(fields[0]), _exact(fields[1], bool, "more"))


def _read_rows(value: object) -> tuple[Row, ...]:
    rows: list[Row] = []
    for item in _items(value, MODELS_PER_HELLO_MAX, "rows"):
        row = _items(item, 5, "a row's fields")
        if len(row) != 5:
            raise TransportError("a row that is too short")
        model, count = _model(row[0]), _number(row[1], 0, INT_MAX, "a count")
        rows.append(Row(model, count, *map(_fingerprint, row[2:])))
    return tuple(rows)


def _fingerprint(value: object) -> bytes:
    return _bytes(value, FINGERPRINT_BYTES, FINGERPRINT_BYTES, "a fingerprint")


def _read_ask(fields: list[object]) -> Ask:
    effective = _exact(fields[2], bool, "effective")
    listed = _exact(fields[3], bool, "listed")
    return Ask(_model(fields[0]), _read_segments(fields[1]), effective, listed)


def _read_answer(fields: list[object]) -> Answer:
    asked = _read_ask(fields)
    return Answer(asked.model, asked.segments, asked.effective, asked.listed)


def _read_segments(value: object) -> tuple[Segment, ...]:
    segments: list[Segment] = []
    lower = LOWEST
    for item in _items(value, RANGES_PER_MESSAGE_MAX, "ranges"):
        fields = _items(item, 3, "a range's fields")
        if len(fields) != 3 or lower == HIGHEST:
            raise TransportError("a range that is too short, or beyond the end")
        step, prefix, said = fields
        tail = _bytes(prefix, 0, ID_BYTES, "a bound")
        upper: Bound = HIGHEST
        if step is not None:
            upper = (lower[0] + _number(step, 0, T_US_MAX - lower[0], "a time"), tail)
        elif tail:
            raise TransportError("a bound beyond the end")
        claim: bytes | tuple[Key, ...] | None = None
        if isinstance(said, bytes):
            claim = _fingerprint(said)
        elif said is not None:
            claim = _read_keys(lower[0], said)
        segments.append(Segment(upper, claim))
        lower = upper
    return tuple(segments)


def _read_keys(t: int, value: object) -> tuple[Key, ...]:
    items = _items(value, 2 * _KEYS_PER_MESSAGE_MAX, "keys")
    if len(items) % 2:
        raise TransportError("a key without an id")
    keys: list[Key] = []
    for step, event_id in zip(items[::2], items[1::2], strict=True):
        t += _number(step, 0, T_US_MAX - t, "a time")
        keys.append((t, _bytes(event_id, ID_BYTES, ID_BYTES, "an id")))
    return tuple(keys)


def _read_want(fields: list[object]) -> Want:
    return Want(_number(fields[0], 1, INT_MAX, "a ticket"), _model(fields[1]), _ids(fields[2]))


def _ids(value: object) -> tuple[bytes, ...]:
    ids = _items(value, WANT_IDS_MAX, "ids")
    return tuple(_bytes(event_id, ID_BYTES, ID_BYTES, "an id") for event_id in ids)


def _read_events(fields: list[object]) -> Events:
    events = _items(fields[2], EVENTS_PER_MESSAGE_MAX, "events")
    return Events(
        _number(fields[0], -INT_MAX, INT_MAX, "a ticket"),
        _model(fields[1]),
        tuple(_bytes(raw, 1, FRAME_BYTES_MAX, "an event") for raw in events),
        _exact(fields[3], bool, "last"),
    )


def _read_part(fields: list[object]) -> Part:
    total = _number(fields[3], 2, PARTS_MAX, "a number of parts")
    return Part(
        _number(fields[0], -INT_MAX, INT_MAX, "a ticket"),
        _model(fields[1]),
        _number(fields[2], 0, total - 1, "a part"),
        total,
        _bytes(fields[4], 1, PART_BYTES, "a part"),
    )


def _read_got(fields: list[object]) -> Got:
    return Got(
        _number(fields[0], 1, INT_MAX, "a ticket"),
        _number(fields[1], 0, INT_MAX, "a count"),
        _number(fields[2], 0, INT_MAX, "a count"),
    )


def _read_bye(fields: list[object]) -> Bye:
    reason = _exact(fields[0], str, "a reason")[:REASON_CHARACTERS_MAX]
    return Bye(reason, _exact(fields[1], bool, "full"))


def _read_peers(fields: list[object]) -> Peers:
    neighbours: list[Neighbour] = []
    for item in _items(fields[1], NEIGHBOURS_PER_MESSAGE_MAX, "nodes"):
        pair = _items(item, 2, "a node's fields")
        if len(pair) != 2:
            raise TransportError("a node without an address")
        node_id = _bytes(pair[0], ID_BYTES, ID_BYTES, "a node id")
        address = _exact(pair[1], str, "an address")
        try:
            addresses.literal_untrusted(address)
        except UsageError as error:
            raise TransportError(str(error)) from None
        neighbours.append(Neighbour(node_id, address))
    return Peers(_number(fields[0], 0, addresses.PORT_MAX, "a port"), tuple(neighbours))


def _read_dispute(fields: list[object]) -> Dispute:
    row = _items(fields[4], 2, "a row's fingerprints")
    if len(row) != 2:
        raise TransportError("a row that is too short")
    return Dispute(
        _model(fields[0]),
        (_number(fields[1], 0, T_US_MAX, "a time"), _bytes(fields[2], ID_BYTES, ID_BYTES, "an id")),
        _exact(fields[3], bool, "effective"),
        (_fingerprint(row[0]), _fingerprint(row[1])),
    )


_READERS: Final[dict[int, tuple[int, Callable[[list[object]], Message]]]] = {
    0: (6, _read_hello),
    1: (2, _read_summary),
    2: (4, _read_ask),
    3: (4, _read_answer),
    4: (3, _read_want),
    5: (4, _read_events),
    6: (5, _read_part),
    7: (3, _read_got),
    8: (1, lambda fields: Ping(_now_us(fields[0]))),
    9: (1, lambda fields: Pong(_now_us(fields[0]))),
    10: (2, _read_bye),
    11: (2, _read_peers),
    12: (5, _read_dispute),
    13: (2, lambda fields: Confirm(_model(fields[0]), _exact(fields[1], bool, "confirmed"))),
    14: (2, lambda fields: Have(_model(fields[0]), _ids(fields[1]))),
    15: (0, lambda _: Prune()),
    16: (2, lambda fields: Graft(_model(fields[0]), _ids(fields[1]))),
}
