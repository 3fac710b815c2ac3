"""A slow judge of whole events: what a log comes to, by walking parents for every question.

It shares no order, access or state code with the engine: slow, obvious, and that is its use.
`reference.authority` states the same rules over plain names; this one reads ops, fields and seals.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from dinemic_engine import canonical
from dinemic_engine.edits import (
    EDITS,
    Delete,
    ListDelete,
    ListInsert,
    ListSet,
    Made,
    Set,
    SetAdd,
    SetRemove,
    sealed_in,
)
from dinemic_engine.event import Event
from dinemic_engine.ids import AuthorId, EventId
from dinemic_engine.ops import (
    ADMIN,
    READ,
    SUITE_X25519,
    UPDATE,
    Create,
    Epoch,
    Grant,
    Policy,
    Remove,
    Revoke,
    SetPolicy,
)
from reference import lists


@dataclass
class Judged:
    """What a set of events comes to, by walking parents for every question.

    The rule of AUTH-4 is asked in a *scope*: the past of an event decides whether it is refused
    (T1), all admitted events of the object whether it stands (T2).
    """

    admitted: dict[EventId, Event] = field(default_factory=dict)
    _pasts: dict[EventId, frozenset[EventId]] = field(default_factory=dict)

    @classmethod
    def of(cls, events: Iterable[Event]) -> Judged:
        """Judge events in any order: each is taken when all its parents were admitted."""
        judged = cls()
        left = list(dict.fromkeys(events))
        while True:
            ready = [e for e in left if all(p in judged.admitted for p in e.parents)]
            if not ready:
                return judged
            for event in ready:
                left.remove(event)
                judged.take(event)

    def take(self, event: Event) -> bool:
        """Judge one event by its past; whether it was admitted."""
        known = all(parent in self.admitted for parent in event.parents)
        if not known or not self._is_admissible(event):
            return False
        self.admitted[event.id] = event
        self._pasts[event.id] = self.past(event)
        return True

    def past(self, event: Event) -> frozenset[EventId]:
        """Every event reachable through parents, without the event itself."""
        above = (self._pasts[parent] | {parent} for parent in event.parents)
        return frozenset().union(*above)

    def known_to(self, parents: Iterable[EventId]) -> set[EventId]:
        """What an event with these parents has in its past, as far as it was admitted."""
        found: set[EventId] = set()
        for parent in parents:
            if parent in self.admitted:
                found |= self._pasts[parent] | {parent}
        return found

    # -- T1 --

    def _is_admissible(self, event: Event) -> bool:
        grants = [op for op in event.ops if isinstance(op, Grant)]
        if any(op.role == READ and op.suite != SUITE_X25519 for op in grants):
            return False  # all objects here are of that suite (SEAL-1)
        if event.is_genesis:
            return all(op.signing != event.author for op in grants)
        past = self.past(event)
        if any(self.admitted[at].object != event.object for at in past) or any(
            self.admitted[at].t >= event.t for at in event.parents
        ):
            return False
        if self._standing(event, past) is None:
            return False
        if not all(self._has_targets(event, index, past) for index in range(len(event.ops))):
            return False
        owner = self._owner(event)
        acts = [op for op in event.ops if isinstance(op, Grant | Revoke)]
        if any(op.signing == owner for op in acts):
            return False
        if event.author != owner and any(op.role == ADMIN for op in acts):
            return False
        return self._seals_well(event, past)

    def _has_targets(self, event: Event, index: int, past: frozenset[EventId]) -> bool:
        """TYPE-1."""
        op = event.ops[index]
        if isinstance(op, ListInsert | ListSet | ListDelete):
            return lists.is_admissible(event, index, {at: self.admitted[at] for at in past})
        if not isinstance(op, SetRemove):
            return True

        def is_add(made: Made) -> bool:
            if made.event and EventId(made.event) not in past:
                return False
            ops = self.admitted[EventId(made.event)].ops if made.event else event.ops[:index]
            add = ops[made.op] if made.op < len(ops) else None
            return isinstance(add, SetAdd) and add.field == op.field

        return all(is_add(made) for made in op.adds)

    def _seals_well(self, event: Event, past: frozenset[EventId]) -> bool:
        """SEAL-1 to SEAL-4."""
        owner = self._owner(event)

        def reads(who: AuthorId) -> bool:
            return who == owner or self._holds(event, who, {READ}, past)

        def sealed(commit: bytes) -> list[tuple[AuthorId, set[AuthorId]]]:
            """(maker, recipients) of the EPOCH ops of a commitment that the author had seen."""
            return [
                (self.admitted[at].author, {reader for reader, _ in op.recipients})
                for at in past
                for op in self.admitted[at].ops
                if isinstance(op, Epoch) and op.commit == commit
            ]

        beside = {op.signing for op in event.ops if isinstance(op, Grant) and op.role == READ}
        made = {
            op.commit: {who for who, _ in op.recipients}
            for op in event.ops
            if isinstance(op, Epoch)
        }
        for commit, recipients in made.items():
            if not (reads(event.author) if sealed(commit) else owner in recipients):
                return False
            if not all(who in beside or reads(who) for who in recipients):
                return False
        if self._policy(event)[1].is_open:
            return True
        for op in event.ops:
            value = sealed_in(op)
            if value is not None:
                known = sealed(value.epoch)
                if not known and value.epoch not in made:
                    return False
                having = {maker for maker, _ in known} - {event.author}
                if not all(reads(who) for who in having.union(*(to for _, to in known))):
                    return False
        return True

    # -- AUTH-4, AUTH-5 --

    def _owner(self, event: Event) -> AuthorId:
        return self.admitted[EventId(event.object)].author if event.parents else event.author

    def _everything(self, event: Event) -> frozenset[EventId]:
        return frozenset(at for at, e in self.admitted.items() if e.object == event.object)

    def _standing(self, event: Event, scope: frozenset[EventId]) -> bool | None:
        """True: authorized; False: let in by an open field; None: it does not stand."""
        if event.author == self._owner(event):
            return True
        admin = self._holds(event, event.author, {ADMIN}, scope)
        if any(isinstance(op, Grant | Revoke) for op in event.ops):
            # What an admin may do it may do by that grant alone.
            fine = admin and not any(isinstance(op, SetPolicy) for op in event.ops)
            return True if fine else None
        writer = admin or self._holds(event, event.author, {UPDATE}, scope)
        for op in event.ops:
            if isinstance(op, EDITS):
                if not writer and not self._is_open(event, op.field, scope):
                    return None
                continue
            match op:
                case Epoch() | Remove():
                    if not writer:
                        return None
                case _:
                    return None
        return writer

    def _holds(
        self, event: Event, who: AuthorId, roles: set[int], scope: frozenset[EventId]
    ) -> bool:
        past = self.past(event)
        for at in past:
            for op in self.admitted[at].ops:
                if isinstance(op, Grant) and op.role in roles and op.signing == who:
                    cuts = [
                        cut
                        for cut in scope
                        if at in self._pasts[cut]
                        and any(
                            isinstance(o, Revoke) and (o.role, o.signing) == (op.role, who)
                            for o in self.admitted[cut].ops
                        )
                        and event.id not in self._pasts[cut] | {cut}
                        and self._act_stands(cut, scope)
                    ]
                    if not cuts and self._act_stands(at, scope):
                        return True
        return False

    def _act_stands(self, at: EventId, scope: frozenset[EventId]) -> bool:
        event = self.admitted[at]
        return event.author == self._owner(event) or self._holds(
            event, event.author, {ADMIN}, scope
        )

    def _policies(self, among: Iterable[EventId]) -> list[tuple[int, EventId, Policy]]:
        return sorted(
            (self.admitted[at].t, at, op.policy)
            for at in among
            for op in self.admitted[at].ops
            if isinstance(op, SetPolicy)
        )

    def _policy(self, event: Event) -> tuple[EventId, Policy]:
        """The policy in force in the past of an event, and the event that set it."""
        past = self.past(event)
        changes = self._policies(past)
        if changes:
            return changes[-1][1:]
        create = self.admitted[EventId(event.object)].ops[0]
        assert isinstance(create, Create)
        return EventId(event.object), create.policy

    def _is_open(self, event: Event, name: str, scope: frozenset[EventId]) -> bool:
        source, policy = self._policy(event)

        def opens(policy: Policy) -> bool:
            return dict(policy.fields).get(name, policy.is_open)

        return opens(policy) and not any(
            not opens(closing)
            and event.id not in self._pasts[at] | {at}
            and source in self._pasts[at]
            for _, at, closing in self._policies(scope)
        )

    # -- T2, and what it comes to --

    def verdict(self, at: EventId) -> str:
        """``authorized``, ``unauthorized`` or ``void``, by all that was admitted."""
        event = self.admitted[at]
        found = self._standing(event, self._everything(event))
        return {True: "authorized", False: "unauthorized", None: "void"}[found]

    def effective(self, object_id: bytes) -> dict[EventId, Event]:
        """The object's events that stand."""
        return {
            at: event
            for at, event in self.admitted.items()
            if event.object == object_id and self.verdict(at) != "void"
        }

    def counted(self) -> set[EventId]:
        """The events of the reconciled set: that stand, or that one that stands has seen."""
        standing = {at for at in self.admitted if self.verdict(at) != "void"}
        return standing.union(*(self._pasts[at] for at in standing))

    def heads(self, object_id: bytes) -> list[EventId]:
        """Ids of the events that stand and are in the past of no event that stands, sorted."""
        own = self.effective(object_id)
        seen: frozenset[EventId] = frozenset().union(*(self._pasts[at] for at in own))
        return sorted(own.keys() - seen)

    def removed(self, object_id: bytes) -> bool:
        """Whether a REMOVE stands."""
        return any(
            isinstance(op, Remove)
            for event in self.effective(object_id).values()
            for op in event.ops
        )

    def writes(self, object_id: bytes, name: str) -> list[tuple[int, EventId, int]]:
        """(t, id, op) of every effective write of a field, the largest first."""
        return sorted(
            (
                (event.t, event.id, index)
                for event in self.effective(object_id).values()
                for index, op in enumerate(event.ops)
                if isinstance(op, Set | Delete) and op.field == name
            ),
            reverse=True,
        )

    def conflicts(self, object_id: bytes, name: str) -> list[tuple[int, EventId, int]]:
        """The writes that no other write had seen, the largest first (ORD-6)."""
        writes = self.writes(object_id, name)
        return [
            (t, at, index)
            for t, at, index in writes
            if not any(at in self._pasts[other] for _, other, _ in writes)
            and not any(other == at and later > index for _, other, later in writes)
        ]

    def winner(self, object_id: bytes, name: str) -> tuple[EventId, canonical.Value] | None:
        """(event, value) of the write with the largest (t, id, op), unless it deletes."""
        writes = self.writes(object_id, name)
        if self.removed(object_id) or not writes:
            return None
        _, at, index = writes[0]
        op = self.admitted[at].ops[index]
        return (at, op.value) if isinstance(op, Set) else None
