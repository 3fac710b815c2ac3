"""Proof that both ends of a connection hold one cluster key, where TLS does not show it (CHAN-3).

For transports that prove node keys but know nothing of clusters: each end sends 32 bytes that only
a holder of the cluster's secret can make, the dialler first, so that a node shows nothing to a
stranger that dials it::

    key       = HMAC-SHA256(cluster secret, "dinemic/membership/1")
    dialler's = HMAC-SHA256(key, "dialler"  | dialler's node id | acceptor's node id)
    acceptor's= HMAC-SHA256(key, "acceptor" | dialler's node id | acceptor's node id)

There is no nonce in it because the connection has one: its handshake has just proven both node
keys. A proof that was heard elsewhere fits only between the same two nodes in the same roles, and
who could use it there has that node's private key. One who relays between two honest nodes is a
third node id to both, and gets proofs that fit nowhere else.
"""

from __future__ import annotations

import hmac
from typing import Final, NamedTuple

PROOF_BYTES: Final = 32


class Proofs(NamedTuple):
    """What the two ends of one connection are to show."""

    dialler: bytes
    acceptor: bytes


def proofs(cluster_secret: bytes, *, dialler: bytes, acceptor: bytes) -> Proofs:
    """The proofs for a connection between these node ids, 32 bytes each."""
    key = hmac.digest(cluster_secret, b"dinemic/membership/1", "sha256")
    nodes = dialler + acceptor
    return Proofs(
        hmac.digest(key, b"dialler" + nodes, "sha256"),
        hmac.digest(key, b"acceptor" + nodes, "sha256"),
    )
