"""Two honest hosts that are linked, of which one is attacked: what must be true all the while."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from support.hosts import Host, hosts

GROWTH_BYTES_MAX: Final = 64 << 20
"""What no attack may make a node hold (I-12)."""

CHECK_SECONDS: Final = 30.0


class HonestPair:
    """`target` is attacked; `friend` has dialled it from another host and goes on as ever."""

    def __init__(self, target: Host, friend: Host) -> None:
        self.target = target
        self.friend = friend
        for host in (target, friend):
            host.hurry()
        self.address = target.launch()
        friend.launch(peers=[self.address])
        self.node_id = bytes.fromhex(target.run("node.node_id.hex()"))
        self._friend_id = friend.run("str(dinemic.status().network.node_id)")
        self._checks = 0
        self._sent = 0
        for host in (target, friend):
            host.run("mine = Person([])")
        self.check()
        self._resident_bytes = target.resident_bytes()

    def links(self) -> int:
        """How many strangers the target has a link with."""
        return int(self.target.run("len(dinemic.status().network.peers)")) - 1

    def count(self, what: str) -> int:
        """A counter of the target's status."""
        return int(self.target.run(f"dinemic.status().{what}"))

    def refused(self) -> dict[str, int]:
        """What the target has refused so far, by reason."""
        found: dict[str, int] = self.target.run("dinemic.status().refused")
        return found

    def wait_alone(self) -> None:
        """Wait until no stranger has a link with the target any more."""
        self.target.wait("len(dinemic.status().network.peers) == 1", CHECK_SECONDS)

    def check(self) -> None:
        """Both write, both soon have both, over the link they have always had.

        Raises:
            AssertionError: it is not so, or something failed or piled up in the target.
        """
        self._checks += 1
        for host in (self.target, self.friend):
            host.run(f"mine.name.set({self._checks})\nmine_id = mine.get_db_id()")
        for host, other in ((self.target, self.friend), (self.friend, self.target)):
            db_id = other.run("mine_id")
            host.wait(f"Person({db_id!r}).name.get() == {self._checks}", CHECK_SECONDS)
        self._await_equal()
        sent = self.target.run(
            "[peer.counters.sent for peer in dinemic.status().network.peers"
            f" if str(peer.node_id) == {self._friend_id!r}]"
        )
        assert len(sent) == 1, "the friend is linked, once"
        assert sent[0] > self._sent, "over the same link as ever"
        self._sent = sent[0]
        assert "Traceback" not in self.target.tail()

    def _await_equal(self) -> None:
        """The two may differ only by what is on its way."""
        end = time.monotonic() + CHECK_SECONDS
        while self.target.digest() != self.friend.digest():
            assert time.monotonic() < end, "target and friend do not become equal"

    def growth_bytes(self) -> int:
        """How much more memory the target holds than in the beginning."""
        return self.target.resident_bytes() - self._resident_bytes


@contextmanager
def honest_pair(directory: Path) -> Iterator[HonestPair]:
    """A fresh pair, ended whatever happens."""
    with hosts(directory, "target", "friend") as (target, friend):
        yield HonestPair(target, friend)
