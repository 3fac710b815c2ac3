"""Builds ed25519_edge_cases.json: twelve signatures that libraries are known to judge differently.

The conditions are those of K. Chalkias, F. Garillot, V. Nikolaenko, "Taming the many EdDSAs" (SSR
2020, IACR eprint 2020/1244), each built anew here from fixed seeds with `support.edwards`; the
numbers in the file are ours. Run from the folder above as ``python -m
vectors.make_ed25519_edge_cases``; a test holds the file to what this makes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from support import edwards
from support.edwards import BASE, IDENTITY, TORSION, L, Point, add, encode, multiply

FILE: Final = Path(__file__).with_name("ed25519_edge_cases.json")


def _scalar(name: str) -> int:
    return int.from_bytes(hashlib.sha512(name.encode()).digest(), "little") % L


_a, _r = _scalar("a"), _scalar("r")
_LARGE_A, _LARGE_R = multiply(_a, BASE), multiply(_r, BASE)
_T8: Final = TORSION[1]
_MIXED_A, _MIXED_R = add(_LARGE_A, _T8), add(_LARGE_R, _T8)

_T4_AGAIN: Final = edwards.P.to_bytes(32, "little")
"""A point of order 4 in a second spelling: y = p, where canonical is y = 0."""


class _Case(NamedTuple):
    """One condition on A, R, S and the challenge.

    `s` and `fits` get the challenge over the bytes as they stand, and the one over the canonical
    spelling of both points: the same number where the bytes are canonical.
    """

    condition: str
    public: bytes
    r: bytes
    s: Callable[[int, int], int]
    fits: Callable[[int, int], bool]


def _cancels(torsion_r: Point, torsion_a: Point, h: int) -> bool:
    """Whether the small parts of R + hA vanish, so that no cofactor is needed."""
    return edwards.order(add(torsion_r, multiply(h, torsion_a))) == 1


def _cases() -> list[_Case]:
    t4 = edwards.decode(_T4_AGAIN)
    assert t4 is not None
    assert edwards.order(t4) == 4
    small_a, small_r = encode(_T8), encode(TORSION[3])
    mixed_a, mixed_r = encode(_MIXED_A), encode(_MIXED_R)
    large_a, large_r = encode(_LARGE_A), encode(_LARGE_R)
    r4 = encode(add(_LARGE_R, t4))
    a4 = encode(add(_LARGE_A, t4))
    return [
        _Case(
            "S = 0, A and R of small order",
            small_a,
            small_r,
            lambda h, _: 0,
            lambda h, _: _cancels(TORSION[3], _T8, h),
        ),
        _Case(
            "A of small order, R with a part of small order",
            small_a,
            mixed_r,
            lambda h, _: _r,
            lambda h, _: _cancels(_T8, _T8, h),
        ),
        _Case(
            "R of small order, A with a part of small order",
            mixed_a,
            small_r,
            lambda h, _: h * _a % L,
            lambda h, _: _cancels(TORSION[3], _T8, h),
        ),
        _Case(
            "A and R with parts of small order that cancel",
            mixed_a,
            mixed_r,
            lambda h, _: (_r + h * _a) % L,
            lambda h, _: _cancels(_T8, _T8, h),
        ),
        _Case(
            "A and R with parts of small order that only the cofactor removes",
            mixed_a,
            mixed_r,
            lambda h, _: (_r + h * _a) % L,
            lambda h, _: not _cancels(_T8, _T8, h),
        ),
        _Case(
            "A with a part of small order that stays when 8h is reduced modulo L first",
            mixed_a,
            large_r,
            lambda h, _: (_r + h * _a) % L,
            lambda h, _: not _cancels(IDENTITY, _T8, h) and not _cancels(IDENTITY, _T8, 8 * h % L),
        ),
        _Case(
            "S above the group order, in 253 bits",
            large_a,
            large_r,
            lambda h, _: (_r + h * _a) % L + L,
            lambda h, _: True,
        ),
        _Case(
            "S far above the group order, top bit set",
            large_a,
            large_r,
            lambda h, _: (_r + h * _a) % L + 14 * L,
            lambda h, _: True,
        ),
        _Case(
            "R of small order and not canonical, hashed as it stands",
            a4,
            _T4_AGAIN,
            lambda h, _: h * _a % L,
            lambda h, c: _cancels(t4, t4, h) and not _cancels(t4, t4, c),
        ),
        _Case(
            "R of small order and not canonical, hashed in its canonical spelling",
            a4,
            _T4_AGAIN,
            lambda _, c: c * _a % L,
            lambda h, c: _cancels(t4, t4, c) and not _cancels(t4, t4, h),
        ),
        _Case(
            "A of small order and not canonical, hashed as it stands",
            _T4_AGAIN,
            r4,
            lambda h, _: _r,
            lambda h, c: _cancels(t4, t4, h) and not _cancels(t4, t4, c),
        ),
        _Case(
            "A of small order and not canonical, hashed in its canonical spelling",
            _T4_AGAIN,
            r4,
            lambda h, _: _r,
            lambda h, c: _cancels(t4, t4, c) and not _cancels(t4, t4, h),
        ),
    ]


def _messages(case: int) -> Iterator[bytes]:
    for attempt in range(10_000):
        yield hashlib.sha256(b"edge case %d, attempt %d" % (case, attempt)).digest()


def _canonical(encoded: bytes) -> bytes:
    point = edwards.decode(encoded)
    assert point is not None
    return encode(point)


def _build(number: int, case: _Case) -> dict[str, Any]:
    spelt = _canonical(case.r), _canonical(case.public)
    for message in _messages(number):
        h = edwards.challenge(case.r, case.public, message) % L
        c = edwards.challenge(*spelt, message) % L
        if case.fits(h, c):
            break
    else:
        raise AssertionError(f"no message fits case {number}")
    signature = case.r + case.s(h, c).to_bytes(32, "little")
    return {
        "case": number,
        "condition": case.condition,
        "public": case.public.hex(),
        "signature": signature.hex(),
        "message": message.hex(),
        "cofactored": edwards.holds(case.public, signature, message, cofactor=True),
        "cofactorless": edwards.holds(case.public, signature, message, cofactor=False),
        "accepted": edwards.accepts(case.public, signature, message),
    }


def make() -> list[dict[str, Any]]:
    """The file's content: `accepted` is the verdict of EV-9, the two before it bare equations."""
    return [_build(number, case) for number, case in enumerate(_cases())]


if __name__ == "__main__":
    FILE.write_text(json.dumps(make(), indent=1) + "\n")
