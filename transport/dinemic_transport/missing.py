r"""Events that others have and this node lacks, and whom to ask for them (GOS-1).

::

    named by A, by B, by C        or lacked by an orphan that A sent
      |--ASK_SECONDS--> ask A --NEXT_SECONDS--> ask B --NEXT_SECONDS--> ask C --> forgotten
                    \_____________________\_____________________\____ admitted: done

Mostly an event that was named comes along an eager link a moment later, so nobody is asked at once,
and one peer at a time. What nobody delivered is left to a catch-up.

Invariant: one peer accounts for at most `NAMED_PER_PEER_MAX` ids; what is named beyond is ignored.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, deque
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from dinemic_engine.limits import WANT_IDS_MAX

ASK_SECONDS: Final = 0.3
NEXT_SECONDS: Final = 1.0
"""How long one peer has to deliver before the next is asked."""

NAMED_PER_PEER_MAX: Final = 4096
COMING_MAX: Final = 5
"""How often an event that has come already and is not judged is waited for, before it is let go."""


class Asking(NamedTuple):
    """Ids of events to ask `peer` for."""

    peer: bytes
    model: str
    ids: tuple[bytes, ...]


@dataclass(slots=True)
class _Lack:
    model: str
    peers: deque[bytes]
    """Who has it and was not asked, in the order they said so."""
    at: float
    waits: int = 0


class Missing:
    """What one node lacks, by id."""

    def __init__(self) -> None:
        self._lacks: dict[bytes, _Lack] = {}
        self._due: list[tuple[float, bytes]] = []
        """A heap; also of what came meanwhile."""
        self._named: Counter[bytes] = Counter()

    def __len__(self) -> int:
        return len(self._lacks)

    def named(self, peer: bytes, model: str, ids: Iterable[bytes], now: float) -> None:
        """`peer` has these events of `model`, which are not here."""
        for event_id in ids:
            if self._named[peer] >= NAMED_PER_PEER_MAX:
                return
            lack = self._lacks.get(event_id)
            if lack is None:
                lack = self._lacks[event_id] = _Lack(model, deque(), now + ASK_SECONDS)
                heapq.heappush(self._due, (lack.at, event_id))
            if peer not in lack.peers:
                lack.peers.append(peer)
                self._named[peer] += 1

    def admitted(self, event_id: bytes) -> None:
        """It is here."""
        lack = self._lacks.pop(event_id, None)
        if lack is not None:
            self._named.subtract(lack.peers)

    def gone(self, peer: bytes) -> None:
        """`peer` cannot be asked any more."""
        if self._named.pop(peer, 0):
            for lack in self._lacks.values():
                if peer in lack.peers:
                    lack.peers.remove(peer)

    def deadline(self) -> float:
        """When `take_due` may have something to ask."""
        while self._due and not self._is_current(*self._due[0]):
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else math.inf

    def take_due(self, coming: Container[bytes], now: float) -> list[Asking]:
        """Whom to ask for what. For events that are `coming` nobody is asked yet."""
        asked: dict[tuple[bytes, str], list[bytes]] = {}
        for event_id, lack in self._pop_due(now):
            if event_id in coming and lack.waits < COMING_MAX:
                lack.waits += 1
            elif event_id not in coming and lack.peers:
                peer = lack.peers.popleft()
                self._named[peer] -= 1
                asked.setdefault((peer, lack.model), []).append(event_id)
            else:
                self.admitted(event_id)
                continue
            lack.at = now + NEXT_SECONDS
            heapq.heappush(self._due, (lack.at, event_id))
        return [
            Asking(peer, model, tuple(ids[first : first + WANT_IDS_MAX]))
            for (peer, model), ids in asked.items()
            for first in range(0, len(ids), WANT_IDS_MAX)
        ]

    def _pop_due(self, now: float) -> Iterator[tuple[bytes, _Lack]]:
        while self.deadline() <= now:
            _, event_id = heapq.heappop(self._due)
            yield event_id, self._lacks[event_id]

    def _is_current(self, at: float, event_id: bytes) -> bool:
        lack = self._lacks.get(event_id)
        return lack is not None and lack.at == at
