"""Who gets a link: how many strangers at once, and which nodes (CHAN-2, CHAN-3, CHAN-4).

Every transport has one door, and everybody passes it in the same order::

    stranger --knock--> turn --> handshake --shaken--> judge --> entered --> link --> left
                |                                        |
                too many at once                      us, not whom we dialled, kept out by a list

A handshake costs processor before anything is known of who is there, so handshakes (handshakes.py)
and links are counted for the host they come from: none takes every place from the others.
"""

from __future__ import annotations

import ipaddress
import logging
from collections import Counter
from typing import Final

from dinemic_engine import ids
from dinemic_engine.errors import TransportError
from dinemic_transport.handshakes import Handshakes, Turn, count_down

ACCEPTED_LINKS_PER_HOST_MAX: Final = 64
ACCEPTED_LINKS_MAX: Final = 512
"""Links others opened: bounds file descriptors and queues where anybody may come in, and leaves
places to others when one host opens all it can."""

_log = logging.getLogger(__name__)


class Door:
    """The door of the node `node_id`.

    `allow` narrows the cluster to these node ids, `deny` keeps these out whatever `allow` says,
    both for whom we let in and for whom we dial.
    """

    def __init__(
        self,
        node_id: bytes,
        *,
        allow: frozenset[bytes] | None = None,
        deny: frozenset[bytes] = frozenset(),
    ) -> None:
        self.refused = 0
        """Connections from outside that became no link."""
        self._node_id = node_id
        self._allow = allow
        self._deny = deny
        self._handshakes = Handshakes()
        self._links: Counter[str] = Counter()

    # -- how many --

    @property
    def handshakes(self) -> int:
        """Those that wait for their turn or are under way."""
        return len(self._handshakes)

    def knock(self, ip: str, now: float) -> Turn | None:
        """The turn of a connection from `ip`, to be given to the calls below.

        None: too many of its kind are here; nothing was counted.
        """
        host = _counted_as(ip)
        if (
            self._links[host] >= ACCEPTED_LINKS_PER_HOST_MAX
            or self._links.total() >= ACCEPTED_LINKS_MAX
        ):
            return None
        return self._handshakes.take(host, now)

    def shaken(self, turn: Turn) -> None:
        """The handshake is over, well or badly."""
        self._handshakes.over(turn)

    def entered(self, turn: Turn) -> None:
        """It became a link."""
        self._links[turn.host] += 1

    def left(self, turn: Turn, seconds: float) -> None:
        """The link is over; it lasted so long."""
        count_down(self._links, turn.host)
        self._handshakes.lasted(turn.host, seconds)

    def refuse(self, address: str, reason: str) -> None:
        """Count and log; at INFO for the 1st, 2nd, 4th, 8th ... so that nobody fills our logs."""
        self.refused += 1
        level = logging.DEBUG if self.refused & (self.refused - 1) else logging.INFO
        _log.log(level, "%s: refused: %s (%d so far)", address, reason, self.refused)

    # -- which --

    def judge(self, peer: bytes, expect: bytes | None) -> None:
        """Return if a node that has proven to be `peer` may have a link.

        Raises:
            TransportError: it may not; says why.
        """
        if peer == self._node_id:
            raise TransportError("this is our own address")
        if expect is not None and peer != expect:
            raise TransportError(f"expected node {ids.short(expect)}, {ids.short(peer)} answered")
        self.check_lists(peer)

    def check_lists(self, peer: bytes) -> None:
        """Return if neither list keeps `peer` out.

        Raises:
            TransportError: one does.
        """
        if peer in self._deny:
            raise TransportError(f"node {ids.short(peer)} is on the deny list")
        if self._allow is not None and peer not in self._allow:
            raise TransportError(f"node {ids.short(peer)} is not on the allow list")


def _counted_as(ip: str) -> str:
    """Whom an address is counted for: the IPv4 address, or the /64 one customer gets in IPv6."""
    plain = ip.partition("%")[0]
    if ":" not in plain:
        return plain
    return str(ipaddress.ip_network((plain, 64), strict=False))
