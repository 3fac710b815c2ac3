"""EV-9: which keys and signatures count.

The conditions that libraries differ on are written out here. The equation of the signature is left
to libsodium, which is nobody's second use in this project.
"""

from __future__ import annotations

from typing import Final

from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

P: Final = 2**255 - 19
L: Final = 2**252 + 27742317777372353535851937790883648493
D: Final = -121665 * pow(121666, -1, P) % P

_Y8: Final = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
SMALL_ORDER: Final = (0, 1, P - 1, _Y8, P - _Y8)
LOW_ORDER: Final = (
    0,
    1,
    P - 1,
    0xB8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0,
    0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F,
)


def is_proper(point: bytes) -> bool:
    """Conditions 2 and 3: canonical, and not of small order."""
    y = int.from_bytes(point, "little") % 2**255
    return len(point) == 32 and y < P and y not in SMALL_ORDER


def is_point(point: bytes) -> bool:
    """Whether y belongs to a point: -x^2 + y^2 = 1 + d x^2 y^2 has an x (RFC 8032, 5.1.3)."""
    y = int.from_bytes(point, "little") % 2**255
    x2 = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    return x2 == 0 or pow(x2, (P - 1) // 2, P) == 1


def is_signing_key(key: bytes) -> bool:
    """Whether a GRANT may name it."""
    return is_proper(key) and is_point(key)


def is_sealing_key(suite: int, key: bytes) -> bool:
    """Whether CREATE or a GRANT may name it."""
    if suite == 2:
        # FIPS 203: 768 numbers of 12 bits, the low bits first; behind them 32 bytes of any value.
        packed = int.from_bytes(key[:1152], "little")
        if len(key) != 1216 or any(packed >> 12 * at & 4095 >= 3329 for at in range(768)):
            return False
        key = key[1184:]
    u = int.from_bytes(key, "little")
    return len(key) == 32 and u < P and u not in LOW_ORDER


def is_signed(author: bytes, signature: bytes, data: bytes) -> bool:
    """Whether the signature of a proper key is valid."""
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or s >= L or not is_proper(r):
        return False
    try:
        crypto_sign_open(signature + data, author)
    except BadSignatureError:
        return False
    return True
