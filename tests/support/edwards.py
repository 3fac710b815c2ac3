"""Ed25519 written out: the slow second version that judges which signatures count as odd.

Arithmetic of edwards25519 (RFC 8032 section 5.1) on Python ints, with nothing hidden: points decode
leniently (y is taken modulo p, x = 0 may carry a sign), the two verification equations are there
side by side, and points of small order can be added to anything. Not constant time, not for keys.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

P: Final = 2**255 - 19
L: Final = 2**252 + 27742317777372353535851937790883648493
D: Final = -121665 * pow(121666, -1, P) % P
_ROOT_OF_MINUS_ONE: Final = pow(2, (P - 1) // 4, P)


class Point(NamedTuple):
    """Extended coordinates: x = X/Z, y = Y/Z, T = X*Y/Z."""

    x: int
    y: int
    z: int
    t: int


IDENTITY: Final = Point(0, 1, 1, 0)


def add(a: Point, b: Point) -> Point:
    """RFC 8032 section 5.1.4; complete, so it doubles too."""
    e = (a.y - a.x) * (b.y - b.x) % P
    f = (a.y + a.x) * (b.y + b.x) % P
    g = 2 * a.t * b.t * D % P
    h = 2 * a.z * b.z % P
    i, j, k, m = f - e, h - g, h + g, f + e
    return Point(i * j % P, k * m % P, j * k % P, i * m % P)


def negate(a: Point) -> Point:
    return Point(-a.x % P, a.y, a.z, -a.t % P)


def multiply(scalar: int, a: Point) -> Point:
    """`scalar` times `a`; the scalar is not reduced, so points of small order come out right."""
    total = IDENTITY
    while scalar:
        if scalar & 1:
            total = add(total, a)
        a = add(a, a)
        scalar >>= 1
    return total


def encode(a: Point) -> bytes:
    """The canonical 32 bytes."""
    inverse = pow(a.z, -1, P)
    x, y = a.x * inverse % P, a.y * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def decode(encoded: bytes) -> Point | None:
    """The point, or None where y belongs to none. Takes y >= p, and x = 0 with the sign set."""
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, number % 2**255 % P
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if v * x * x % P != u:
        x = x * _ROOT_OF_MINUS_ONE % P
    if v * x * x % P != u:
        return None
    if x & 1 != sign:
        x = -x % P
    return Point(x, y, 1, x * y % P)


def order(a: Point) -> int:
    """1, 2, 4 or 8, or 0 for anything larger."""
    for small in (1, 2, 4, 8):
        if encode(multiply(small, a)) == encode(IDENTITY):
            return small
    return 0


def is_canonical(encoded: bytes) -> bool:
    """Whether a point has these bytes and would be encoded as them again."""
    point = decode(encoded)
    return point is not None and encode(point) == encoded


def challenge(r: bytes, a: bytes, data: bytes) -> int:
    """The hash that binds R, A and the data, not yet reduced modulo L."""
    return int.from_bytes(hashlib.sha512(r + a + data).digest(), "little")


def _base() -> Point:
    point = decode((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
    assert point is not None
    return point


BASE: Final = _base()


def _torsion() -> list[Point]:
    """The eight points of small order, as multiples of one of order 8."""
    y = 0
    while True:  # L times any point has small order; one in two points gives order 8
        y += 1
        point = decode(y.to_bytes(32, "little"))
        if point is not None and order(eighth := multiply(L, point)) == 8:
            return [multiply(times, eighth) for times in range(8)]


TORSION: Final = _torsion()


def small_order_encodings() -> list[bytes]:
    """All 32-byte strings that decode, leniently, to a point of small order: 8 canonical, 6 not."""
    canonical = {encode(point) for point in TORSION}
    ys = {int.from_bytes(encoded, "little") % 2**255 for encoded in canonical}
    spelt = {y + extra for y in ys for extra in (0, P) if y + extra < 2**255}
    return sorted((y | sign << 255).to_bytes(32, "little") for y in spelt for sign in (0, 1))


def holds(public: bytes, signature: bytes, data: bytes, *, cofactor: bool) -> bool:
    """The verification equation alone on leniently decoded points, S as it stands.

    With `cofactor` both sides are multiplied by 8 (RFC 8032's first form, ZIP 215); without, they
    are compared as points. Neither compares encodings or refuses anything for its size.
    """
    a, r = decode(public), decode(signature[:32])
    if a is None or r is None:
        return False
    s = int.from_bytes(signature[32:], "little")
    h = challenge(signature[:32], public, data) % L
    difference = add(multiply(s, BASE), negate(add(r, multiply(h, a))))
    return order(difference) != 0 if cofactor else order(difference) == 1


def accepts(public: bytes, signature: bytes, data: bytes) -> bool:
    """What the rules of EV-9 say, in their slowest form."""
    return (
        len(public) == 32
        and len(signature) == 64
        and int.from_bytes(signature[32:], "little") < L
        and all(
            is_canonical(encoded) and encoded not in _SMALL for encoded in (public, signature[:32])
        )
        and holds(public, signature, data, cofactor=False)
    )


_SMALL: Final = frozenset(small_order_encodings())
