r"""One signature over many events of an author: the root of a tree over their ids (EV-10).

What catching up costs is checking signatures, and an author that made many events has one key. So
it signs the root of a tree, and each event carries the way from its id to that root::

          root               <- signed
         /    \
       n0      n1            n = SHA-256(0x01 | left | right)
      /  \    /  \
    id0  id1 id2  id3        path of id2: position 2 | id3 | n0

An event so stays checkable alone, by one hash for each level, once the signature of its root is
known to be good. The trees of RFC 9162 (section 2.1) with two things left out: a leaf is not hashed
again, because what an id hashes begins otherwise than a node, and there are as many leaves as fill
a level, so a position tells all the sides.

Invariant: who has the path and the signature knows that the author meant this id; who lacks a key
makes no path to a root that was signed, because SHA-256 would have to collide.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from dinemic_engine.keys import SigningKey, verify
from dinemic_engine.limits import BATCH_LEVELS_MAX

_HASH_BYTES: Final = 32
_NODE: Final = b"\x01"
_SIGNED_HEAD: Final = (
    b"\x84\x6aSignature1" + bytes.fromhex("43a10127") + b"\x4fdinemic/batch/1" + b"\x58\x20"
)

_ROOTS_REMEMBERED: Final = 4096
"""Signatures of roots that were good, some 300 bytes each: batches of many authors come mixed."""

PATH_SIZES: Final = frozenset(1 + _HASH_BYTES * k for k in range(1, BATCH_LEVELS_MAX + 1))


def is_path_untrusted(path: bytes) -> bool:
    """Whether bytes have the form of a path: a position, and a hash for each level above it."""
    return len(path) in PATH_SIZES and path[0] >> (len(path) // _HASH_BYTES) == 0


def verify_in_batch(author: bytes, leaf: bytes, path: bytes, signature: bytes) -> None:
    """Return if `signature` is one by `author` of the root that `path` leads to from `leaf`.

    Raises:
        BadSignature: it is not (EV-9).
    """
    sides, node = path[0], leaf
    for at in range(1, len(path), _HASH_BYTES):
        sibling = path[at : at + _HASH_BYTES]
        pair = sibling + node if sides & 1 else node + sibling
        node = hashlib.sha256(_NODE + pair).digest()
        sides >>= 1
    _verify_root(author, node, signature)


@lru_cache(maxsize=_ROOTS_REMEMBERED)
def _verify_root(author: bytes, root: bytes, signature: bytes) -> None:
    """As `verify`; what was good once is not checked again, what was not is."""
    verify(author, signature, _SIGNED_HEAD + root)


def sign_batch(key: SigningKey, leaves: Sequence[bytes]) -> tuple[bytes, list[bytes]]:
    """One signature, and the path of each leaf.

    Raises:
        ValueError: not 2, 4, 8, ... leaves, or more than ``2**BATCH_LEVELS_MAX``.
    """
    depth = len(leaves).bit_length() - 1
    if not 1 <= depth <= BATCH_LEVELS_MAX or len(leaves) != 1 << depth:
        raise ValueError(f"a batch of {len(leaves)} events")
    paths = [bytes((position,)) for position in range(len(leaves))]
    level = list(leaves)
    for up in range(depth):
        paths = [path + level[position >> up ^ 1] for position, path in enumerate(paths)]
        level = [
            hashlib.sha256(_NODE + left + right).digest()
            for left, right in zip(level[::2], level[1::2], strict=True)
        ]
    return key.sign(_SIGNED_HEAD + level[0]), paths
