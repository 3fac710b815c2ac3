"""Keys, and the one check of a signature that every node makes alike (EV-9).

Libraries differ on which odd signatures they accept, and a difference here is a split brain: one
node keeps an event that another refuses. So what `cryptography` accepts is narrowed to what nobody
disputes. With ``p = 2**255 - 19``, ``L`` the order of the base point, ``A`` the public key and
``R | S`` the signature, all of these must hold:

    S < L                        else (R, S + L) would be a second signature
    A, R canonical               the encoded y is below p: one spelling per point
    A, R not of small order      else one signature fits many messages, or none at all
    encode(S*B - h*A) == R       RFC 8032 without the cofactor, as OpenSSL and libsodium compute it

The first three cost comparisons and come first. What they look at are encodings: a point of small
order (1, 2, 4 or 8) has one of five canonical y, with either sign bit, and the two encodings of
x = 0 with the sign set ("minus zero") are among them.

Nothing here draws random bytes: private keys come in as bytes that somebody else has drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from dinemic_engine import ids
from dinemic_engine.errors import BadSignature, Reason

KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64

SUITE_X25519: Final = 1
"""HPKE (RFC 9180): DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305."""
SUITE_HYBRID: Final = 2
"""The same with ML-KEM-768 and X25519 together (X-Wing): safe as long as one of them is."""

SEED_BYTES: Final = 64
"""An ML-KEM-768 private key as its seed, d and z of FIPS 203."""
ENCAPSULATION_KEY_BYTES: Final = 1184
"""An ML-KEM-768 public key: three polynomials of 256 numbers of 12 bits, and 32 bytes."""
SEALING_PRIVATE_BYTES: Final = {SUITE_X25519: KEY_BYTES, SUITE_HYBRID: SEED_BYTES + KEY_BYTES}
SEALING_PUBLIC_BYTES: Final = {
    SUITE_X25519: KEY_BYTES,
    SUITE_HYBRID: ENCAPSULATION_KEY_BYTES + KEY_BYTES,
}

_P: Final = (1 << 255) - 19
_L: Final = (1 << 252) + 27742317777372353535851937790883648493
_D: Final = -121665 * pow(121666, -1, _P) % _P
_Y_MASK: Final = (1 << 255) - 1
"""An encoded point is y in 255 bits, little-endian, and the sign of x in the top bit."""

_Y_ORDER_8: Final = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_SMALL_ORDER_Y: Final = frozenset({1, _P - 1, 0, _Y_ORDER_8, _P - _Y_ORDER_8})
"""y of the points of order 1, 2, 4, 8 and 8; the points of order 4 share y = 0."""

_U_ORDER_8: Final = 0x00B8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0
_U_ORDER_8_TWIN: Final = 0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F
_LOW_ORDER_U: Final = frozenset({0, 1, _P - 1, _U_ORDER_8, _U_ORDER_8_TWIN})
"""u of the points of low order on curve25519 and its twist (RFC 7748 section 6.1)."""

_ML_KEM_Q: Final = 3329

_KEYS_REMEMBERED: Final = 4096
"""Public keys kept ready to verify with, about 1 KiB each: the writers a busy node hears from."""


class SigningKey:
    """An Ed25519 private key: what an object, a caller or a node signs with.

    `seed` is its 32 bytes of RFC 8032. Equal when the public keys are; shows no secret when
    printed, and refuses to be copied or pickled, which would write one where nobody looks for it.
    """

    __slots__ = ("_key", "public", "seed")

    def __init__(self, seed: bytes) -> None:
        """Raises ValueError when `seed` is not 32 bytes."""
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.seed: Final = bytes(seed)
        self.public: Final = self._key.public_key().public_bytes_raw()

    def sign(self, data: bytes) -> bytes:
        """The 64-byte signature of `data`, the same each time (RFC 8032)."""
        return self._key.sign(data)

    def __eq__(self, other: object) -> bool:
        return self.public == other.public if isinstance(other, SigningKey) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.public)

    def __repr__(self) -> str:
        return f"SigningKey(public={ids.short(self.public)})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signing key is not copied or pickled")


class SealingKey:
    """A private key of one suite: what a reader opens sealed values with.

    `private` is an X25519 key (RFC 7748, 32 bytes); in the hybrid suite an ML-KEM-768 seed (64
    bytes) and an X25519 key. `public` joins theirs in the same order. Equal, printed and copied
    (not at all) as `SigningKey`.
    """

    __slots__ = ("private", "public", "suite")

    def __init__(self, private: bytes) -> None:
        """Raises ValueError when `private` has the length of no suite."""
        hybrid = len(private) == SEALING_PRIVATE_BYTES[SUITE_HYBRID]
        self.suite: Final = SUITE_HYBRID if hybrid else SUITE_X25519
        self.private: Final = bytes(private)
        seed, scalar = private[:-KEY_BYTES], private[-KEY_BYTES:]
        if seed and not hybrid:
            raise ValueError(f"a sealing key of {len(private)} bytes, not 32 or 96")
        public = X25519PrivateKey.from_private_bytes(scalar).public_key().public_bytes_raw()
        if hybrid:
            other = MLKEM768PrivateKey.from_seed_bytes(seed).public_key()
            public = other.public_bytes_raw() + public
        self.public: Final = public

    def __eq__(self, other: object) -> bool:
        return self.public == other.public if isinstance(other, SealingKey) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.public)

    def __repr__(self) -> str:
        return f"SealingKey(public={ids.short(self.public)})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a sealing key is not copied or pickled")


def verify(public: bytes, signature: bytes, data: bytes) -> None:
    """Return if `signature` is one of `data` by `public`, by the rules at the top of this module.

    Raises:
        BadSignature: it is not, or the key is none that could sign (`Reason.SMALL_ORDER_KEY`).
    """
    if len(signature) != SIGNATURE_BYTES:
        raise BadSignature(Reason.SIGNATURE, f"{len(signature)} bytes, not {SIGNATURE_BYTES}")
    if int.from_bytes(signature[32:], "little") >= _L:
        raise BadSignature(Reason.SIGNATURE, "S is not below the group order")
    if flaw := _flaw(signature[:32]):
        raise BadSignature(Reason.SIGNATURE, f"R {flaw}")
    try:
        _verifier(public)(signature, data)
    except InvalidSignature:
        raise BadSignature(Reason.SIGNATURE, f"does not verify by {ids.short(public)}") from None


@lru_cache(maxsize=_KEYS_REMEMBERED)
def _verifier(public: bytes) -> Callable[[bytes, bytes], None]:
    """Raise `InvalidSignature` or not, for a key whose encoding is acceptable."""
    _check_encoding(public)
    return Ed25519PublicKey.from_public_bytes(public).verify


def check_signing_public_untrusted(public: bytes) -> None:
    """Return if `public` is an Ed25519 public key somebody could sign with.

    Costs a modular power: meant for keys named in a grant, `verify` does without.

    Raises:
        BadSignature: not 32 bytes, not canonical, of small order, or no point of the curve
            (`Reason.SMALL_ORDER_KEY` for all of them).
    """
    _check_encoding(public)
    y2 = pow(int.from_bytes(public, "little") & _Y_MASK, 2, _P)
    # x*x = u / v is a square where u * v is: v*v is one. Small order, so u = 0, is already out.
    u_v = (y2 - 1) * (_D * y2 + 1) % _P
    if pow(u_v, (_P - 1) // 2, _P) != 1:
        raise BadSignature(Reason.SMALL_ORDER_KEY, f"{ids.short(public)} is no point of the curve")


def check_sealing_public_untrusted(public: bytes, suite: int = SUITE_X25519) -> None:
    """Return if `public` is a sealing key of `suite` that a secret can be agreed on with.

    Stricter than RFC 7748, which takes u modulo p and drops the top bit: one spelling per key. The
    ML-KEM-768 part is held to the modulus check of FIPS 203 section 7.2, which is the same.

    Raises:
        BadSignature: wrong length, not canonical or of low order (`Reason.SMALL_ORDER_KEY`).
    """
    length = SEALING_PUBLIC_BYTES[suite]
    if len(public) != length:
        raise BadSignature(Reason.SMALL_ORDER_KEY, f"{len(public)} bytes, not {length}")
    if suite == SUITE_HYBRID:
        for at in range(0, ENCAPSULATION_KEY_BYTES - 32, 3):
            two = int.from_bytes(public[at : at + 3], "little")
            if two & 0xFFF >= _ML_KEM_Q or two >> 12 >= _ML_KEM_Q:
                raise BadSignature(Reason.SMALL_ORDER_KEY, "a sealing key that is not reduced")
    u = int.from_bytes(public[-KEY_BYTES:], "little")
    if u >= _P:
        raise BadSignature(Reason.SMALL_ORDER_KEY, "a sealing key that is not canonical")
    if u in _LOW_ORDER_U:
        raise BadSignature(Reason.SMALL_ORDER_KEY, "a sealing key of low order")


def _check_encoding(public: bytes) -> None:
    """Refuse an Ed25519 public key for its length or by `_flaw`."""
    if len(public) != KEY_BYTES:
        raise BadSignature(Reason.SMALL_ORDER_KEY, f"{len(public)} bytes, not {KEY_BYTES}")
    if flaw := _flaw(public):
        raise BadSignature(Reason.SMALL_ORDER_KEY, f"the key {flaw}")


def _flaw(point: bytes) -> str:
    """What is wrong with 32 bytes as an encoded point, as far as they show; "" if nothing is."""
    y = int.from_bytes(point, "little") & _Y_MASK
    if y >= _P:
        return "is not canonical"
    return "is of small order" if y in _SMALL_ORDER_Y else ""
