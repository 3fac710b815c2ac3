"""AUTH-1 .. AUTH-6 as set equations over plain graphs: slow, obvious, and nobody else's code.

An event is a `Plain`; the past of an event is a set of names. Nothing here knows of chains,
vectors, rows, verdict flags or arrival: `standing` answers from the whole set of events each time.

    stands(e)  <=>  A owner, or E g: role(g) fits, target(g) = A, g in past(e), stands(g) and
                    A r: (ends r g and stands(r)) -> e in past(r)
    ends r g   <=>  role(r) = role(g), target(r) = target(g), g in past(r)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

READ, UPDATE, ADMIN = "read", "update", "admin"


@dataclass(frozen=True)
class Opening:
    """Which fields anybody may write: those of `default`, but for the exceptions."""

    default: bool
    exceptions: tuple[tuple[str, bool], ...] = ()

    def __contains__(self, name: object) -> bool:
        return dict(self.exceptions).get(str(name), self.default)


@dataclass(frozen=True)
class Plain:
    """One event.

    `does` holds ("set", field, epoch or ""), ("grant" or "revoke", role, who), ("policy", Opening),
    ("epoch", name, readers...), ("remove",).
    """

    name: str
    author: str
    t: int
    id: bytes
    parents: tuple[str, ...]
    does: tuple[tuple[object, ...], ...]

    def kinds(self) -> set[object]:
        """What it does, by kind."""
        return {act[0] for act in self.does}


def pasts(events: Mapping[str, Plain]) -> dict[str, frozenset[str]]:
    """The names in the past of each event, itself not included."""
    found: dict[str, frozenset[str]] = {}
    for event in sorted(events.values(), key=lambda each: each.t):
        found[event.name] = frozenset(event.parents).union(*(found[p] for p in event.parents))
    return found


@dataclass
class Judge:
    """Judges a closed-under-parents set of events of one object."""

    events: Mapping[str, Plain]
    owner: str
    opening: Opening
    past: Mapping[str, frozenset[str]] = field(default_factory=dict)
    _known: dict[str, bool] = field(default_factory=dict)
    """Answers of `stands`, which do not change for one set of events."""

    def __post_init__(self) -> None:
        self.past = self.past or pasts(self.events)

    # -- T1 --

    def admissible(self, name: str) -> bool:
        """T1: whether the event stands by what it had seen alone."""
        seen = {other: self.events[other] for other in self.past[name] | {name}}
        alone = Judge(seen, self.owner, self.opening, self.past)
        event = self.events[name]
        for act in event.does:
            if act[0] in ("grant", "revoke"):
                if act[2] == self.owner:
                    return False
                if act[1] == ADMIN and event.author != self.owner:
                    return False
        return alone.stands(name) and alone._epochs_are_for_readers(name)

    def _epochs_are_for_readers(self, name: str) -> bool:
        """SEAL-3, asked of the past of `name`: this judge knows nothing else."""
        event = self.events[name]
        beside = {act[2] for act in event.does if act[:2] == ("grant", READ)}
        made = {act[1]: act[2:] for act in event.does if act[0] == "epoch"}
        before = {epoch for epoch in made if self._makings(name, epoch)}
        for epoch, readers in made.items():
            if not all(who in beside or self._reads(name, str(who)) for who in readers):
                return False
            if epoch in before:
                makers = {maker for maker, _ in self._makings(name, epoch)}
                if not self._reads(name, event.author) and event.author not in makers:
                    return False
            elif self.owner not in readers:
                return False
        if self._opening_for(name)[0].default:
            return True
        named = {act[2] for act in event.does if act[0] == "set" and act[2]} - (
            made.keys() - before
        )
        for epoch in named:
            makings = self._makings(name, epoch)
            knowing = {str(who) for maker, readers in makings for who in (maker, *readers)}
            if not makings or not all(self._reads(name, who) for who in knowing - {event.author}):
                # The author may be who made it, and be no reader: a writer's own epoch.
                return False
            if event.author in {str(who) for _, readers in makings for who in readers} and not (
                self._reads(name, event.author)
            ):
                return False
        return True

    def _makings(self, name: str, epoch: object) -> list[tuple[str, tuple[object, ...]]]:
        """(maker, readers) of an epoch's makings in the past of an event."""
        return [
            (self.events[other].author, act[2:])
            for other in self.past[name]
            for act in self.events[other].does
            if act[:2] == ("epoch", epoch)
        ]

    def _reads(self, name: str, who: str) -> bool:
        return who == self.owner or self._holds(name, who, (READ,))

    # -- T2 --

    def stands(self, name: str) -> bool:
        """T2: whether the event has effect, by the whole set."""
        if name not in self._known:
            self._known[name] = self._stands(self.events[name])
        return self._known[name]

    def _stands(self, event: Plain) -> bool:
        if event.author == self.owner:
            return True
        if event.kinds() & {"grant", "revoke"}:
            # All that is not the owner's alone is allowed to an admin: the admin grant decides for
            # the whole event, and nothing asks for update grants, which admins could end in a ring.
            return "policy" not in event.kinds() and self._holds(event.name, event.author, (ADMIN,))
        return all(self._may(event, act) for act in event.does)

    def _may(self, event: Plain, act: tuple[object, ...]) -> bool:
        if act[0] == "policy":
            return False
        return self.authorized(event.name) or (act[0] == "set" and self._open(event.name, act[1]))

    def authorized(self, name: str) -> bool:
        """Whether its author may write by a grant, or is the owner."""
        author = self.events[name].author
        return author == self.owner or self._holds(name, author, (UPDATE, ADMIN))

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

    def _openings(self) -> list[tuple[int, bytes, str, Opening]]:
        """(t, id, name, opening) of the events that change the policy, in order."""
        found = [
            (event.t, event.id, event.name, changed)
            for event in self.events.values()
            for act in event.does
            if isinstance(changed := act[-1], Opening)
        ]
        return sorted(found, key=lambda each: each[:2])

    def _opening_for(self, name: str) -> tuple[Opening, str | None]:
        """The policy in force in the past of an event, and the event that made it."""
        known = [found for found in self._openings() if found[2] in self.past[name]]
        return (known[-1][3], known[-1][2]) if known else (self.opening, None)

    def opening_now(self) -> Opening:
        """The policy that is last in the order."""
        return ([self.opening] + [found[3] for found in self._openings()])[-1]

    def _open(self, name: str, written: object) -> bool:
        opening, source = self._opening_for(name)
        return written in opening and not any(
            written not in closing
            and name not in self.past[event] | {event}
            and (source is None or source in self.past[event])
            for _, _, event, closing in self._openings()
        )

    def closed_unseen(self, name: str) -> bool:
        """Of a void event: whether it wrote as anybody may, in fields that were open to it."""
        opening, _ = self._opening_for(name)
        return all(act[0] == "set" and act[1] in opening for act in self.events[name].does)

    # -- what follows --

    def writes(self, written: str) -> list[str]:
        """The events with effect that write a field, in order."""
        found = [
            (event.t, event.id, event.name)
            for event in self.events.values()
            if any(act[:2] == ("set", written) for act in event.does) and self.stands(event.name)
        ]
        return [name for _, _, name in sorted(found)]

    def conflicts(self, written: str) -> set[str]:
        """The writes of a field that no other write had seen."""
        names = self.writes(written)
        return {name for name in names if not any(name in self.past[other] for other in names)}

    def removed(self) -> bool:
        """Whether a REMOVE stands."""
        return any(
            "remove" in event.kinds() and self.stands(event.name) for event in self.events.values()
        )

    def epoch_now(self) -> tuple[object, set[object]] | None:
        """The newest epoch with effect, by its first making, and all its readers; or None."""
        found = sorted(
            (event.t, event.id, index, act)
            for event in self.events.values()
            for index, act in enumerate(event.does)
            if act[0] == "epoch" and self.stands(event.name)
        )
        first = {act[1]: act for *_, act in reversed(found)}
        newest = [act[1] for *_, act in found if first[act[1]] is act]
        if not newest:
            return None
        return newest[-1], {who for *_, act in found if act[1] == newest[-1] for who in act[2:]}

    def held_by(self, who: str, role: str) -> str | None:
        """The last grant by which `who` holds a role by all that is known, or None."""
        found = [
            (event.t, event.id, name)
            for name, event in self.events.items()
            if ("grant", role, who) in event.does and self.stands(name)
            if not any(
                ("revoke", role, who) in other.does
                and name in self.past[other.name]
                and self.stands(other.name)
                for other in self.events.values()
            )
        ]
        return max(found)[2] if found else None

    def heads(self) -> set[str]:
        """The events with effect that none other with effect had seen."""
        standing = {name for name in self.events if self.stands(name)}
        return standing - frozenset().union(*(self.past[name] for name in standing))

    def live(self) -> frozenset[str]:
        """The events that stand, or that something standing was built on (REC-1)."""
        standing = [name for name in self.events if self.stands(name)]
        return frozenset(standing).union(*(self.past[name] for name in standing))
