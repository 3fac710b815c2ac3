"""Our CBOR subset: one spelling per value, and bytes that are not that spelling are refused.

A value is null, bool, a 64-bit int, a float (no NaN, no -0.0), text, bytes, an array, a map with
text keys or a `Sealed` (EV-6). Its one spelling is RFC 8949 4.2.1: shortest heads, shortest
floats, definite lengths, map keys strictly ascending bytewise. Arrays and maps nest at most
`DEPTH_MAX` deep; a sealed value counts as a scalar.

Decoding takes three steps, because each alone lets something through (EV-8):

    scan      every head, in one pass over the bytes: lengths stay inside, heads are minimal,
              nesting is bounded, keys are ascending text, nothing outside EV-6 appears
    decode    cbor2, which only now meets the bytes; it judges UTF-8
    compare   encode again; the bytes must be the same (this judges the width of floats)

Invariant: for every accepted ``b``, ``encode(decode_untrusted(b)) == b``; for every encodable
``x``, ``decode_untrusted(encode(x)) == x`` (a tuple comes back as a list). Work is linear in the
length of the input: each step of the scan moves forward, and it recurses only where `depth_max`
allows another level.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import cbor2

from dinemic_engine import ids
from dinemic_engine.errors import LimitExceeded, Malformed, Reason
from dinemic_engine.limits import DEPTH_MAX, EVENT_BYTES_MAX, INT_MAX, INT_MIN, ITEMS_MAX

EPOCH_BYTES: Final = 32
SALT_BYTES: Final = 16


@dataclass(frozen=True, slots=True, repr=False)
class Sealed:
    """A value only readers can open: a COSE_Encrypt0 (RFC 9052) with everything but text inside.

    `epoch` is the 32-byte commitment of the sealing epoch, `salt` the 16 bytes its key was derived
    with, `ciphertext` the ChaCha20-Poly1305 output. Any ciphertext is well formed here, whether it
    opens is for a reader to find out.

    Raises:
        Malformed: an epoch, salt or ciphertext of another type or size.
    """

    epoch: bytes
    salt: bytes
    ciphertext: bytes

    def __post_init__(self) -> None:
        for name, part, size in (
            ("epoch", self.epoch, EPOCH_BYTES),
            ("salt", self.salt, SALT_BYTES),
        ):
            if type(part) is not bytes or len(part) != size:
                raise Malformed(Reason.VALUE, f"a sealed value's {name} is not {size} bytes")
        if type(self.ciphertext) is not bytes:
            raise Malformed(Reason.VALUE, "a sealed value's ciphertext is not bytes")

    def __repr__(self) -> str:
        return f"Sealed(epoch={ids.short(self.epoch)})"


Value: TypeAlias = (
    "bool | int | float | str | bytes | Sequence[Value] | Mapping[str, Value] | Sealed | None"
)
"""What a field can hold. Decoding gives `list` for arrays and `dict` for maps."""


# -- the COSE_Encrypt0 of a sealed value ---------------------------------------------------------
#
#   d0                       tag 16
#      83                    array of 3
#         58 39              protected header, 57 bytes:
#            a3                 map of 3
#               01 18 18            alg: 24, ChaCha20/Poly1305
#               04 58 20 <epoch>    kid: the epoch's commitment
#               33 50 <salt>        -20, the salt of RFC 9053 section 5.1
#         a0                 unprotected header, empty
#         <bytes>            ciphertext

_SEALED_TAG: Final = 16
_PROTECTED_EPOCH: Final = bytes.fromhex("a3011818045820")
_PROTECTED_SALT: Final = bytes.fromhex("3350")
_SEALED_HEAD: Final = bytes.fromhex("d0835839") + _PROTECTED_EPOCH
_EPOCH_AT: Final = len(_PROTECTED_EPOCH)
_SALT_MARK_AT: Final = _EPOCH_AT + EPOCH_BYTES
_SALT_AT: Final = _SALT_MARK_AT + len(_PROTECTED_SALT)
_PROTECTED_BYTES: Final = _SALT_AT + SALT_BYTES
_PROTECTED_AT: Final = 4
"""Where the protected header begins, counted from the tag."""


def protected_header(value: Sealed) -> bytes:
    """The 57 bytes of `value`'s protected header, which its ciphertext authenticates."""
    return _PROTECTED_EPOCH + value.epoch + _PROTECTED_SALT + value.salt


def _seal_form(encoder: cbor2.CBOREncoder, value: Sealed) -> None:
    """Write a `Sealed`, the one type we let through that cbor2 does not know."""
    encoder.encode(cbor2.CBORTag(_SEALED_TAG, [protected_header(value), {}, value.ciphertext]))


def _from_seal_form(tag: cbor2.CBORTag, _immutable: bool = False) -> Sealed:
    """Read a `Sealed` back from a tag whose exact form the scan has already checked."""
    protected, _, ciphertext = tag.value
    return Sealed(protected[_EPOCH_AT:_SALT_MARK_AT], protected[_SALT_AT:], ciphertext)


def _from_sealed_bytes(data: bytes) -> Sealed:
    """As `_from_seal_form` of a value that is nothing else: its layout leaves one spelling."""
    protected = data[_PROTECTED_AT : _PROTECTED_AT + _PROTECTED_BYTES]
    ciphertext = cbor2.loads(data[_PROTECTED_AT + _PROTECTED_BYTES + 1 :])
    return Sealed(protected[_EPOCH_AT:_SALT_MARK_AT], protected[_SALT_AT:], ciphertext)


# -- encode --------------------------------------------------------------------------------------

_PLAIN: Final = frozenset({str, bytes, bool, type(None), Sealed})
"""Types of which every instance is a value (text with lone surrogates fails in cbor2)."""


def encode(value: Value, *, depth_max: int = DEPTH_MAX) -> bytes:
    """The one spelling of `value`.

    Types are exact: a subclass (an enum member, a named tuple) would come back as something else.

    Raises:
        Malformed: not a value of EV-6; the message names the type, never the value.
        LimitExceeded: it nests deeper than `depth_max` (a cycle does), or holds more items than
            ITEMS_MAX.
    """
    if type(value) is Sealed:
        protected = _SEALED_HEAD[:_PROTECTED_AT] + protected_header(value)
        return protected + b"\xa0" + cbor2.dumps(value.ciphertext)
    if type(value) not in _PLAIN:
        _check(value, depth_max, ITEMS_MAX)
    return encode_checked(value)


def encode_checked(value: Value) -> bytes:
    """As `encode`, of what is made of values that would pass its checks.

    Raises:
        Malformed: it holds text with a lone surrogate.
    """
    try:
        return cbor2.dumps(value, canonical=True, default=_seal_form)
    except UnicodeEncodeError:
        raise Malformed(Reason.VALUE, "text with a lone surrogate") from None


def _check(value: Any, depth: int, room: int) -> int:
    """Refuse what is not a value before cbor2 sees it; the number of items there is still room for.

    `depth` is how many more levels may open, `room` how many more items may follow.
    """
    kind = type(value)
    if kind is int:
        if not INT_MIN <= value <= INT_MAX:
            raise Malformed(Reason.VALUE, "an int of more than 64 bits")
    elif kind is float:
        if _has_no_place(value):
            raise Malformed(Reason.VALUE, "a float that is NaN or -0.0")
    elif kind is list or kind is tuple or kind is dict:
        if depth <= 0:
            raise LimitExceeded(Reason.TOO_DEEP, "a value nests too deep")
        room -= len(value)
        if room < 0:
            raise LimitExceeded(Reason.TOO_MANY, "a value of too many items")
        if kind is dict:
            for key in value:
                if type(key) is not str:
                    raise Malformed(Reason.VALUE, f"a map key cannot be a {type(key).__name__}")
            value = value.values()
        for item in value:
            kind = type(item)
            if kind not in _PLAIN and not (kind is int and INT_MIN <= item <= INT_MAX):
                room = _check(item, depth - 1, room)
    elif kind not in _PLAIN:
        raise Malformed(Reason.VALUE, f"a value cannot be a {kind.__name__}")
    return room


# -- decode --------------------------------------------------------------------------------------


def decode_untrusted(data: bytes, *, depth_max: int = DEPTH_MAX) -> Value:
    """The value that `data`, and no other bytes, is the spelling of.

    Raises:
        Malformed: not a value of EV-6 (`Reason.VALUE`), or not its one spelling
            (`Reason.NOT_CANONICAL`: also cut short, or followed by anything).
        LimitExceeded: nested deeper than `depth_max`, longer than an event can be, or of more items
            than ITEMS_MAX.
    """
    if len(data) > EVENT_BYTES_MAX:
        raise LimitExceeded(Reason.TOO_LARGE, f"{len(data)} bytes, {EVENT_BYTES_MAX} allowed")
    if scan_untrusted(data, 0, depth_max=depth_max) != len(data):
        raise _not_canonical("bytes after the value")
    if data[0] == _SEALED_HEAD[0]:
        return _from_sealed_bytes(data)
    try:
        value: Value = cbor2.loads(data, tag_hook=_from_seal_form)
    except cbor2.CBORDecodeError:  # all the scan leaves to cbor2 to refuse
        raise Malformed(Reason.VALUE, "text that is not UTF-8") from None
    if cbor2.dumps(value, canonical=True, default=_seal_form) != data:
        raise _not_canonical("a second spelling")
    return value


def decode(data: bytes) -> Value:
    """The value that `encode` has just made `data` of, for bytes of no other origin."""
    value: Value = cbor2.loads(data, tag_hook=_from_seal_form)
    return value


def scan_untrusted(data: bytes, start: int = 0, *, depth_max: int = DEPTH_MAX) -> int:
    """Where the value that begins at `start` ends; bytes after it are not looked at.

    On return everything of EV-6 holds for that value but two things only `decode_untrusted` judges:
    text may not be UTF-8 and a float may be wider than it needs to be.

    Raises:
        Malformed, LimitExceeded: as `decode_untrusted`.
    """
    try:
        end = _scan_items(data, start, 1, depth_max, [ITEMS_MAX + 1])
    except IndexError:  # a head or its argument beyond the last byte
        raise _not_canonical("cut short") from None
    if end > len(data):
        raise _not_canonical("cut short")
    return end


# What an initial byte alone decides: the size of the whole item (ints below 24, byte and text
# strings shorter than 24, false, true, null), or 0 where one has to look further.
_SIZE: Final = tuple(
    1
    if head < 0x18 or 0x20 <= head < 0x38 or head in (0xF4, 0xF5, 0xF6)
    else 1 + (head & 0x1F)
    if 0x40 <= head < 0x58 or 0x60 <= head < 0x78
    else 0
    for head in range(256)
)


def _scan_items(data: bytes, at: int, count: int, depth: int, room: list[int]) -> int:
    """The end of `count` items that begin at `at`, in which `depth` more levels may open.

    They are taken from `room`, one number: how many more items may come. Each round moves forward
    by a byte or raises, so a count nobody could send ends at the last byte; an end beyond it is
    left to the caller to notice.
    """
    room[0] -= count
    if room[0] < 0:
        raise LimitExceeded(Reason.TOO_MANY, "a value of too many items")
    for _ in range(count):
        head = data[at]
        if size := _SIZE[head]:
            at += size
        elif head == 0x58 or head == 0x78:  # strings of 24..255 bytes
            size = data[at + 1]
            if size < 24:
                raise _not_canonical("a length in more bytes than it needs")
            at += size + 2
        elif 0x80 <= head < 0x98:  # arrays of 0..23 items
            if depth <= 0:
                raise LimitExceeded(Reason.TOO_DEEP, "a value nests too deep")
            at = _scan_items(data, at + 1, head - 0x80, depth - 1, room)
        else:
            at = _scan_other(data, at, head, depth, room)
    return at


_INT, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP = range(6)
_INFO_INDEFINITE: Final = 28
_LEAST: Final = {24: 24, 25: 1 << 8, 26: 1 << 16, 27: 1 << 32}
"""The smallest argument that needs 1, 2, 4 or 8 more bytes, by the head's low five bits."""


def _scan_other(data: bytes, at: int, head: int, depth: int, room: list[int]) -> int:
    """As `_scan_items` for the one item at `at`, whatever its `head`."""
    if head in _FLOATS:
        return _scan_float(data, at, head)
    if head == 0xC0 | _SEALED_TAG:
        return _scan_sealed(data, at)
    kind, info = head >> 5, head & 0x1F
    if kind > _MAP:
        raise Malformed(Reason.VALUE, f"no value begins with byte {head:#04x}")
    at += 1
    if info < 24:
        argument = info
    elif info < _INFO_INDEFINITE:
        begin, at = at, at + (1 << (info - 24))
        if at > len(data):
            raise _not_canonical("cut short")
        argument = int.from_bytes(data[begin:at], "big")
        if argument < _LEAST[info]:
            raise _not_canonical("an argument in more bytes than it needs")
    else:
        raise _not_canonical("an indefinite length or a reserved head")
    if kind <= _NEGATIVE:
        if argument > INT_MAX:
            raise Malformed(Reason.VALUE, "an int of more than 64 bits")
        return at
    if argument > len(data) - at:  # an item takes a byte at least
        raise _not_canonical("cut short")
    if kind <= _TEXT:
        return at + argument
    if depth <= 0:
        raise LimitExceeded(Reason.TOO_DEEP, "a value nests too deep")
    if kind == _ARRAY:
        return _scan_items(data, at, argument, depth - 1, room)
    return _scan_pairs(data, at, argument, depth - 1, room)


def _scan_pairs(data: bytes, at: int, count: int, depth: int, room: list[int]) -> int:
    """The end of `count` pairs of a map that begin at `at`: text keys, strictly ascending."""
    last = b""
    for _ in range(count):
        if data[at] >> 5 != _TEXT:
            raise Malformed(Reason.VALUE, "a map key that is not text")
        end = _scan_items(data, at, 1, 0, [1])  # a pair counts once, by its value
        key = data[at:end]
        if key <= last:
            raise _not_canonical("map keys not in ascending order")
        last = key
        at = _scan_items(data, end, 1, depth, room)
    return at


_FLOATS: Final = {
    0xF9: struct.Struct(">xe"),
    0xFA: struct.Struct(">xf"),
    0xFB: struct.Struct(">xd"),
}


def _scan_float(data: bytes, at: int, head: int) -> int:
    """The end of the float at `at`, which is a number and not -0.0."""
    layout = _FLOATS[head]
    end = at + layout.size
    if end > len(data):
        raise _not_canonical("cut short")
    (number,) = layout.unpack_from(data, at)
    if _has_no_place(number):
        raise Malformed(Reason.VALUE, "a float that is NaN or -0.0")
    return end


def _scan_sealed(data: bytes, at: int) -> int:
    """The end of the sealed value at `at`, in exactly the layout drawn above."""
    protected = at + _PROTECTED_AT
    salt_mark = protected + _SALT_MARK_AT
    unprotected = protected + _PROTECTED_BYTES
    if unprotected + 1 >= len(data):
        raise _not_canonical("cut short")
    if (
        not data.startswith(_SEALED_HEAD, at)
        or not data.startswith(_PROTECTED_SALT, salt_mark)
        or data[unprotected] != 0xA0
        or data[unprotected + 1] >> 5 != _BYTES
    ):
        raise Malformed(Reason.VALUE, "tag 16 that is not a sealed value")
    return _scan_items(data, unprotected + 1, 1, 0, [1])


def _has_no_place(number: float) -> bool:
    """Whether it is NaN (which spelling?) or -0.0 (equal to 0.0, and spelt differently)."""
    return math.isnan(number) or (number == 0.0 and math.copysign(1.0, number) < 0.0)


def _not_canonical(detail: str) -> Malformed:
    return Malformed(Reason.NOT_CANONICAL, detail)
