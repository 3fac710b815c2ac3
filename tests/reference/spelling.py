"""EV-6 and EV-8: CBOR in its one spelling, read and written by hand.

    head      major type (3 bits) and a number: in the low 5 bits up to 23, else in 1, 2, 4, 8 bytes
    0, 1      number, -1 - number
    2, 3      that many bytes, that many bytes of UTF-8
    4, 5      that many items, that many pairs
    6         a tag: 16 alone, in the one form of a sealed value
    7         false, true, null, and floats of 2, 4 and 8 bytes

The reader takes what is not the one spelling too, and says which rules it breaks: all of them, as
far as the bytes can be followed. `write(read(data)[0]) == data` for all that breaks none.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Final, TypeAlias

CANONICAL: Final = "EV-8/canonical"
VALUE: Final = "EV-6/value"
DEPTH: Final = "EV-7/depth"
COUNT: Final = "EV-7/count"
DEPTH_MAX: Final = 16
ITEMS_MAX: Final = 131_072
_KNOWN: Final = (0xD0, 0xF4, 0xF5, 0xF6, 0xF9, 0xFA, 0xFB)
"""The first bytes of tag 16, false, true, null and floats: no other tag or simple value is one."""


@dataclass(frozen=True)
class Sealed:
    """A sealed value as it stands (SEAL-5)."""

    commit: bytes
    salt: bytes
    ciphertext: bytes

    @property
    def protected(self) -> bytes:
        """The protected header: `{1: 24, 4: commit, -20: salt}`."""
        return b"\xa3\x01\x18\x18\x04\x58\x20" + self.commit + b"\x33\x50" + self.salt


Value: TypeAlias = (
    "bool | int | float | str | bytes | Sealed | list[Value] | dict[str, Value] | None"
)


# -- writing ---------------------------------------------------------------------------------------


def write(value: object) -> bytes:
    """The one spelling of a value."""
    match value:
        case None:
            return b"\xf6"
        case bool():
            return b"\xf5" if value else b"\xf4"
        case int():
            return head(0, value) if value >= 0 else head(1, -1 - value)
        case float():
            return _float(value)
        case bytes():
            return head(2, len(value)) + value
        case str():
            return head(3, len(value.encode())) + value.encode()
        case list():
            return head(4, len(value)) + b"".join(write(each) for each in value)
        case dict():
            pairs = sorted((write(key), write(each)) for key, each in value.items())
            return head(5, len(value)) + b"".join(key + each for key, each in pairs)
        case Sealed():
            return b"\xd0\x83" + write(value.protected) + b"\xa0" + write(value.ciphertext)
    raise TypeError(f"no value: {value!r}")


def head(major: int, number: int) -> bytes:
    """A major type and a number, in as few bytes as can be."""
    if number < 24:
        return bytes([major << 5 | number])
    size = next(size for size in (1, 2, 4, 8) if number < 1 << 8 * size)
    return bytes([major << 5 | 23 + size.bit_length()]) + number.to_bytes(size, "big")


def _float(number: float) -> bytes:
    """A float in the fewest bytes that keep it."""
    for first, form in ((b"\xf9", ">e"), (b"\xfa", ">f")):
        try:
            packed = struct.pack(form, number)
        except OverflowError:
            continue
        if struct.unpack(form, packed)[0] == number:
            return first + packed
    return b"\xfb" + struct.pack(">d", number)


# -- reading ---------------------------------------------------------------------------------------


class Lost(Exception):
    """From here on nobody can say where an item begins."""


class Reader:
    """Reads item after item, and gathers in `broken` the rules that are broken on the way."""

    def __init__(self, data: bytes, depth_max: int = DEPTH_MAX) -> None:
        self.data = data
        self.at = 0
        self.broken: set[str] = set()
        self.depth_max = depth_max
        self.items = 0
        """Elements of arrays and pairs of maps so far."""

    def left(self) -> int:
        """How many bytes are yet to be read."""
        return len(self.data) - self.at

    def take(self, count: int) -> bytes:
        """The next bytes."""
        if count > self.left():
            raise self.lose(CANONICAL)
        self.at += count
        return self.data[self.at - count : self.at]

    def lose(self, rule: str) -> Lost:
        """Note that reading ends at a broken rule."""
        self.broken.add(rule)
        return Lost(rule)

    def head(self) -> tuple[int, int, int]:
        """(major type, number, low 5 bits)."""
        (first,) = self.take(1)
        major, low = first >> 5, first & 31
        if first >= 0xC0 and first not in _KNOWN:
            raise self.lose(VALUE)
        if low < 24:
            return major, low, low
        if low > 27:  # reserved, or of indefinite length
            raise self.lose(CANONICAL)
        number = int.from_bytes(self.take(1 << low - 24), "big")
        if major < 7 and head(major, number) != self.data[self.at - 1 - (1 << low - 24) : self.at]:
            self.broken.add(CANONICAL)
        return major, number, low

    def item(self, depth: int = 0) -> Value:
        """The next item, at a depth of so many arrays and maps."""
        begin = self.at
        major, number, low = self.head()
        match major:
            case 0 | 1:
                if number >= 1 << 63:
                    self.broken.add(VALUE)
                return number if major == 0 else -1 - number
            case 2:
                return self.take(number)
            case 3:
                return self._text(self.take(number))
            case 4 | 5:
                if number * (major - 3) > self.left():  # an item is a byte or more
                    self.broken.add(CANONICAL)
                if depth == self.depth_max:
                    raise self.lose(DEPTH)
                self.items += number
                if self.items > ITEMS_MAX:
                    raise self.lose(COUNT)
                if major == 4:
                    return [self.item(depth + 1) for _ in range(number)]
                return self._map(number, depth + 1)
            case 6:
                return self._sealed()
        return self._simple(begin, low)

    def _text(self, encoded: bytes) -> str:
        try:
            return encoded.decode()
        except UnicodeDecodeError:
            self.broken.add(VALUE)
            return ""

    def _map(self, count: int, depth: int) -> dict[str, Value]:
        found: dict[str, Value] = {}
        before = b""
        for _ in range(count):
            begin = self.at
            if self.left() and self.data[begin] >> 5 != 3:
                raise self.lose(VALUE)
            key = str(self.item(depth))
            spelled = self.data[begin : self.at]
            if spelled <= before:
                self.broken.add(CANONICAL)
            before = spelled
            found[key] = self.item(depth)
        return found

    def _sealed(self) -> Sealed:
        """A COSE_Encrypt0 of the one form there is : commit, salt and text are free."""
        start, protected, unprotected = self.take(3), self.take(57), self.take(1)
        sealed = Sealed(protected[7:39], protected[41:], b"")
        if not self.left():
            raise self.lose(CANONICAL)
        if (start, protected, unprotected) != (b"\x83\x58\x39", sealed.protected, b"\xa0"):
            raise self.lose(VALUE)
        if self.data[self.at] >> 5 != 2:
            raise self.lose(VALUE)
        _, size, _ = self.head()
        return Sealed(sealed.commit, sealed.salt, self.take(size))

    def _simple(self, begin: int, low: int) -> Value:
        if low in (20, 21, 22):
            return {20: False, 21: True, 22: None}[low]
        spelled = self.data[begin : self.at]
        number: float = struct.unpack({25: ">e", 26: ">f", 27: ">d"}[low], spelled[1:])[0]
        if math.isnan(number) or (number == 0 and math.copysign(1, number) < 0):
            self.broken.add(VALUE)
        elif _float(number) != spelled:
            self.broken.add(CANONICAL)
        return number


def read(data: bytes, depth_max: int = DEPTH_MAX) -> tuple[Value, set[str]]:
    """The one item that `data` is, and the rules broken; the item is null if it has no end."""
    reader = Reader(data, depth_max)
    try:
        value = reader.item()
        if reader.left():
            reader.broken.add(CANONICAL)
        return value, reader.broken
    except Lost:
        return None, reader.broken
