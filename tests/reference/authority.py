"""AUTH-1 .. AUTH-6 as set equations over plain graphs: slow, obvious, and nobody else's code.

An event is a `Plain`; the past of an event is a set of names. Nothing here knows of chains,
vectors, rows, verdict flags or arrival: `standing` answers from the whole set of events each time.

    stands(e)  <=>  A owner, or E g: role(g) fits, target(g) = A, g in past(e), stands(g) and
                    A r: (ends r g and stands(r)) -> e in past(r)
    ends r g   <=>  role(r) = role(g), target(r) = target(g), g in past(r)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

READ, UPDATE, ADMIN = "read", "update", "admin"


@dataclass(frozen=True)
class Plain:
    """One event.

    `does` holds ("set", field), ("grant" or "revoke", role, who), ("policy", open), ("remove",).
    """

    name: str
    author: str
    t: int
    parents: tuple[str, ...]
    does: tuple[tuple[object, ...], ...]


def pasts(events: Mapping[str, Plain]) -> dict[str, frozenset[str]]:
    """The names in the past of each event, itself not included."""
    found: dict[str, frozenset[str]] = {}
    for event in sorted(events.values(), key=lambda each: each.t):
        found[event.name] = frozenset(event.parents).union(*(found[p] for p in event.parents))
    return found


class Judge:
    """Judges a closed-under-parents set of events of one object."""

    def __init__(self, events: Mapping[str, Plain], owner: str, *, is_open: bool) -> None:
        self.events = events
        self.owner = owner
        self.is_open = is_open
        self.past = pasts(events)

    def admissible(self, name: str) -> bool:
        """T1: whether the event stands by what it had seen alone."""
        seen = {other: self.events[other] for other in self.past[name] | {name}}
        alone = Judge(seen, self.owner, is_open=self.is_open)
        event = self.events[name]
        for act in event.does:
            if act[0] in ("grant", "revoke"):
                if act[2] == self.owner:
                    return False
                if act[1] == ADMIN and event.author != self.owner:
                    return False
        return alone.stands(name)

    def stands(self, name: str) -> bool:
        """T2: whether the event has effect, by the whole set."""
        event = self.events[name]
        if event.author == self.owner:
            return True
        if any(act[0] in ("grant", "revoke") for act in event.does):
            # All that is not the owner's alone is allowed to an admin: the admin grant decides for
            # the whole event, and nothing asks for update grants, which admins could end in a ring.
            owners = any(act[0] == "policy" for act in event.does)
            return not owners and self._holds(name, event.author, (ADMIN,))
        return all(self._may(name, act) for act in event.does)

    def _may(self, name: str, act: tuple[object, ...]) -> bool:
        author = self.events[name].author
        if act[0] == "policy":
            return False
        if self._holds(name, author, (UPDATE, ADMIN)):
            return True
        return act[0] == "set" and self._open(name)

    def _holds(self, name: str, who: str, roles: tuple[str, ...]) -> bool:
        for grant in self.past[name]:
            for act in self.events[grant].does:
                if act[0] == "grant" and act[1] in roles and act[2] == who and self.stands(grant):
                    cuts = [
                        revoke
                        for revoke in self.events
                        if ("revoke", act[1], who) in self.events[revoke].does
                        and grant in self.past[revoke]
                        and self.stands(revoke)
                    ]
                    if all(name in self.past[revoke] | {revoke} for revoke in cuts):
                        return True
        return False

    def _policies(self) -> list[tuple[int, str, bool]]:
        """(t, name, open) of the events that change the policy, in order."""
        return sorted(
            (event.t, event.name, bool(act[1]))
            for event in self.events.values()
            for act in event.does
            if act[0] == "policy"
        )

    def _open(self, name: str) -> bool:
        known = [found for found in self._policies() if found[1] in self.past[name]]
        source, is_open = (known[-1][1], known[-1][2]) if known else (None, self.is_open)
        if not is_open:
            return False
        return not any(
            not opens
            and name not in self.past[closing] | {closing}
            and (source is None or source in self.past[closing])
            for _, closing, opens in self._policies()
        )

    def value(self) -> str | None:
        """The name of the winning write of the one field, or None."""
        writes = [
            (event.t, event.name)
            for event in self.events.values()
            if ("set", "f") in event.does and self.stands(event.name)
        ]
        return max(writes)[1] if writes else None

    def removed(self) -> bool:
        """Whether a REMOVE stands."""
        return any(
            ("remove",) in event.does and self.stands(event.name) for event in self.events.values()
        )

    def holds_now(self, who: str, role: str) -> bool:
        """Whether `who` holds a role by all that is known."""
        for name, event in self.events.items():
            if ("grant", role, who) in event.does and self.stands(name):
                ended = any(
                    ("revoke", role, who) in other.does
                    and name in self.past[other.name]
                    and self.stands(other.name)
                    for other in self.events.values()
                )
                if not ended:
                    return True
        return False

    def live(self) -> frozenset[str]:
        """The events that stand, or that something standing was built on (REC-1)."""
        standing = [name for name in self.events if self.stands(name)]
        return frozenset(standing).union(*(self.past[name] for name in standing))
