"""AUTH-4 and AUTH-5: the equations of section 3, in a scope.

The question is always who may do what, as far as the events of a set U know: the past of an event
(T1), or all there is of the object (T2).

    grant g to A  <----- e by A          e stands while g acts,
        ^                                and nobody acts who ends g and has not seen e
        |
    revoke k of A         (e not in past(k): cut)

Nothing ends but by an event that acts, and the act of ending admins is the owner's alone: so the
recursion is two deep.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from functools import cached_property

from reference.events import Event
from reference.log import Log, Placed
from reference.shapes import ADMIN, EDITS, UPDATE, Op, OpArray


class Scope:
    """What the events of one object with these ids say of who may do what."""

    def __init__(self, log: Log, known: Set[bytes]) -> None:
        self.log = log
        self.known = known
        self._acts: dict[bytes, bool] = {}

    @cached_property
    def _grants(self) -> list[Placed]:
        """All there is: what counts of it for an event is what it has in its past."""
        return list(self.log.ops(self.log.events, Op.GRANT))

    @cached_property
    def _revocations(self) -> list[Placed]:
        return list(self.log.ops(self.known, Op.REVOKE))

    def holds(self, event: Event, key: bytes, *roles: int) -> bool:
        """Whether a key other than the owner's holds one of the roles at an event."""
        past = self.log.past(event)
        return any(
            role in roles
            and signing == key
            and grant.event.id in past
            and self.acts(grant.event)
            and not self._is_cut(event, key, role, grant.event)
            for grant in self._grants
            for role, signing in [_subject(grant.op)]
        )

    def _is_cut(self, event: Event, key: bytes, role: int, grant: Event) -> bool:
        """Whether somebody who may ended the grant, not having seen the event."""
        return any(
            _subject(end.op) == (role, key)
            and grant.id in self.log.past(end.event)
            and not self.log.has_seen(end.event, event)
            and self.acts(end.event)
            for end in self._revocations
        )

    def acts(self, event: Event) -> bool:
        """Whether what an event grants and revokes counts."""
        if event.id not in self._acts:
            is_owner = event.author == self.log.owner
            self._acts[event.id] = is_owner or self.holds(event, event.author, ADMIN)
        return self._acts[event.id]

    def may_write(self, event: Event) -> bool:
        """Whether the author may change any field: the event is *authorized*."""
        author = event.author
        return author == self.log.owner or self.holds(event, author, UPDATE, ADMIN)

    def denies(self, event: Event) -> set[str]:
        """The rules by which the event does not stand, one by one of its ops; none: it stands."""
        if event.author == self.log.owner:
            return set()
        is_admin = self.holds(event, event.author, ADMIN)
        is_writer = self.may_write(event)
        found = set()
        for op in event.ops:
            match op[0]:
                case Op.GRANT | Op.REVOKE if not is_admin:
                    found.add("AUTH-5/access")
                case Op.GRANT | Op.REVOKE if op[1] == ADMIN:
                    found.add("AUTH-1/admin")
                case Op.POLICY:
                    found.add("AUTH-5/policy")
                case Op.EPOCH if not is_writer:
                    found.add("AUTH-5/access")
                case Op.REMOVE if not is_writer:
                    found.add("AUTH-6/remove")
                case kind if kind in EDITS and not is_writer and not self.is_open(event, op[1]):
                    found.add("AUTH-5/closed")
        return found

    # -- the policy --

    def is_open(self, event: Event, name: str) -> bool:
        """Whether a stranger's edit of a field stands."""
        source = source_of_policy(self.log, event)
        return opens(policy_of(source), name) and not any(
            not opens(policy_of(closing), name)
            and source.id in self.log.past(closing)
            and not self.log.has_seen(closing, event)
            for closing in _policies(self.log, self.known)
        )


def _subject(op: OpArray) -> tuple[int, bytes]:
    """(role, signing key) of a GRANT or a REVOKE."""
    return op[1], op[3] if op[0] == Op.GRANT else op[2]


def _policies(log: Log, among: Iterable[bytes]) -> list[Event]:
    """The events with a policy, in the order: the genesis and those with a POLICY."""
    return [placed.event for placed in log.ops(among, Op.CREATE, Op.POLICY)]


def source_of_policy(log: Log, event: Event) -> Event:
    """`src(e)`: the event whose policy was in force for the author."""
    return _policies(log, log.past(event))[-1]


def policy_of(event: Event) -> list[object]:
    """The policy an event puts in force: `[open, {field: open}]`."""
    (policy,) = [op[-1] for op in event.ops if op[0] in (Op.CREATE, Op.POLICY)]
    return list(policy)


def opens(policy: list[object], name: str) -> bool:
    """Whether anybody may write a field."""
    default, exceptions = policy
    assert isinstance(exceptions, dict)
    return bool(exceptions.get(name, default))


def policy_in_force(log: Log) -> list[object]:
    """The last policy in the order."""
    return policy_of(_policies(log, log.events)[-1])
