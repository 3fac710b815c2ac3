"""Local edits: one event each, signed by who makes it, refused before anything was made.

The caller of a handle, the object itself or the node signs. An edit is drafted on top of
what is here, judged by every rule and, where guards want to see it, by them; only then is it let
through the gate. So a refused edit leaves no trace (VETO-1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from dinemic.batcher import Batcher
from dinemic.callbacks import in_guard
from dinemic.gate import Gate
from dinemic.guarding import Guarding
from dinemic.keyring import Keys, ObjectKeys
from dinemic.sealer import SUITES, Edits, Sealer
from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.errors import NotOwned, Reason, Unreadable, UpdateRejected, UsageError
from dinemic_engine.event import Event
from dinemic_engine.ids import AuthorId, ObjectId, short
from dinemic_engine.keys import SigningKey
from dinemic_engine.ops import READ, SUITE_X25519, UPDATE, Create, Grant, Op, Policy
from dinemic_engine.outcomes import Admitted, Ahead, Refused
from dinemic_engine.proposal import Proposal
from dinemic_engine.reading import why_void
from dinemic_engine.store.layout import Head
from dinemic_engine.store.overlay import Readable
from dinemic_engine.types.list_reading import Opened

_CONSTRUCTOR_ROLES: Final = (READ, UPDATE)


class _Signer(NamedTuple):
    """Who signs an event."""

    key: SigningKey
    of: ObjectId
    """The object whose key it is; the node's own if there are none of that object here."""


class Authoring:
    """Makes events of this node's own edits."""

    def __init__(
        self,
        gate: Gate,
        batcher: Batcher,
        keyring: Keys,
        sealer: Sealer,
        guarding: Guarding,
        check_open: Callable[[], None],
        entropy: Callable[[int], bytes],
        *,
        relay: bool = False,
    ) -> None:
        self._gate = gate
        self._batcher = batcher
        self._guarding = guarding
        self._view = gate.view
        self._keyring = keyring
        self._sealer = sealer
        self._check_open = check_open
        self._entropy = entropy
        self._relay = relay

    def create(
        self,
        model: str,
        policy: Policy,
        granted: Sequence[ObjectId],
        suite: int = SUITE_X25519,
    ) -> ObjectId:
        """A new object of `model`, owned here; each of `granted` may read and update it.

        Its values are sealed in `suite`. The private keys are on disk before the genesis is
        admitted or announced.

        Raises:
            UnknownObject: one of `granted` is not known here.
            UpdateRejected: one of them has a sealing key of another suite; nothing was made.
        """
        self._check_may_write()
        keys = ObjectKeys.generate(suite, self._entropy)
        ops: list[Op] = [Create(model, suite, keys.sealing.public, policy)]
        for subject in dict.fromkeys(granted):
            ops += [self.grant(subject, role, suite) for role in _CONSTRUCTOR_ROLES]
        event = self._gate.ledger.draft(None, ops, keys.signing, self._gate.now_us())
        if self._is_guarded(event):
            self._ask(event)
        self._keyring.add(event.id, keys)  # waits for the disk, so not under the lock
        with self._gate.lock:
            self._check_open()  # again: `close` may have come in between
            self._admit_own(event, ObjectId(event.id))
        self._gate.written()
        return ObjectId(event.id)

    def _check_may_write(self) -> None:
        """Return if this thread may make an event.

        Raises:
            UsageError: a guard runs in it, which is asked about a change and makes none; or the
                node is a relay.
            NotLaunched: the node was shut down.
            ClockOff: this host's clock is not that of its peers.
        """
        self._check_open()
        if self._relay:
            raise UsageError("this node is a relay: it keeps what others make, and makes nothing")
        self._gate.check_clock()
        if in_guard():
            raise UsageError("a guard may read, and write nothing: do it in an after-callback")

    def grant(self, subject: ObjectId, role: int, suite: int = SUITE_X25519) -> Grant:
        """The op that gives `subject` a role on an object that seals in `suite`.

        Raises:
            UnknownObject: the subject's keys are not known here.
            UpdateRejected: it should read, and its sealing key is of another suite (SEAL-1).
        """
        _, row = self._view.need(subject)
        if role == READ and row.suite != suite:
            words = {number: word for word, number in SUITES.items()}
            detail = (
                f"{row.model} {short(subject)}... has a key for sealing={words[row.suite]!r} and "
                f"cannot read what is sealed for {words[suite]!r}"
            )
            raise UpdateRejected(
                detail, by=Reason.SUITE.rule, reason=f"{Reason.SUITE.value}: {detail}"
            )
        return Grant(role, subject, AuthorId(row.owner), row.suite, row.sealing)

    def commit(
        self,
        object_id: ObjectId,
        edits: Edits | Callable[[Readable], Edits],
        caller: ObjectId | None,
        on: Sequence[Head] | None = None,
    ) -> Event:
        """Make one event of edits, admit it here and announce it.

        A function that makes the edits is called under the lock, with the rows of what the event
        will be on top of. With `on` the event is on top of those heads and not of all that is here.

        Raises:
            UnknownObject: no such object here, or it was removed.
            NotOwned: the caller's private key is not here.
            UpdateRejected: a rule refuses it; nothing was made.
            InvalidEvent: the ops break a rule of the format; nothing was made.
        """

        def events(key: SigningKey) -> list[list[Op]]:
            made = edits(self._gate.ledger.rows) if callable(edits) else edits
            return self._sealer.events(object_id, made, key)

        return self._author(object_id, caller, events, on)

    def authorize(
        self, object_id: ObjectId, grant: Grant, history: bool, caller: ObjectId | None
    ) -> Event:
        """Make one event of a grant; a new reader is given keys with it, with `history` older ones.

        Raises:
            UnknownObject, NotOwned, UpdateRejected, InvalidEvent: as `commit`.
        """
        if grant.role != READ:
            return self.commit(object_id, [grant], caller)
        return self._author(
            object_id, caller, lambda key: [self._sealer.grant_ops(object_id, grant, key, history)]
        )

    def _author(
        self,
        object_id: ObjectId,
        caller: ObjectId | None,
        events: Callable[[SigningKey], Sequence[Sequence[Op]]],
        on: Sequence[Head] | None = None,
    ) -> Event:
        """Make the events whose ops `events` makes for their signer, under the lock; the last."""
        self._check_may_write()
        signer = self._signer(object_id, caller)
        if self._guarding.guards.guarding:
            with self._guarding.own_turn(object_id):
                event = self._author_asking(object_id, signer, events, on)
        else:
            with self._gate.lock:
                event = self._draft(object_id, signer, events, on)
                self._admit_own(event, signer.of)
        self._gate.written()
        return event

    def _author_asking(
        self,
        object_id: ObjectId,
        signer: _Signer,
        events: Callable[[SigningKey], Sequence[Sequence[Op]]],
        on: Sequence[Head] | None,
    ) -> Event:
        """As `_author` where there are guards: those that want to see the event are asked."""
        with self._gate.lock:
            event = self._draft(object_id, signer, events, on)
            if not self._is_guarded(event):
                self._admit_own(event, signer.of)
                return event
        self._ask(event)
        with self._gate.lock:
            self._check_open()
            self._admit_own(event, signer.of)
        return event

    def _is_guarded(self, event: Event) -> bool:
        """Whether a guard wants to see a draft."""
        guards = self._guarding.guards
        return guards.guarding and guards.guarded(self._gate.ledger.model_of(event), event)

    def _draft(
        self,
        object_id: ObjectId,
        signer: _Signer,
        events: Callable[[SigningKey], Sequence[Sequence[Op]]],
        on: Sequence[Head] | None,
    ) -> Event:
        """The last of the events, in memory only; those before it are let in. Under the lock."""
        self._check_open()
        ledger = self._gate.ledger
        *before, last = events(signer.key)
        for ops in before:
            event = ledger.draft(object_id, ops, signer.key, self._gate.now_us(), on)
            self._admit_own(event, signer.of)
            on = on and [ledger.head(event.id)]
        return ledger.draft(object_id, last, signer.key, self._gate.now_us(), on)

    def _ask(self, event: Event) -> None:
        """Return if the guards let an event be made; what the rules refuse they hear of too.

        Raises:
            UpdateRejected: a rule or a guard refuses it.
        """
        guards = self._guarding.guards
        refusal: UpdateRejected | None = None
        try:
            with self._gate.lock:
                self._judge_own(event)
        except UpdateRejected as error:
            refusal = error
        asked = self._gate.ledger.asked(event)
        if refusal is None and guards.is_away(asked, local=True):
            refusal = _rejected(event, "VETO-1", "a guard of this home is not applied now")
        veto = guards.ask(asked, local=True)
        if refusal is not None:
            raise refusal
        if veto is not None:
            raise _rejected(event, veto.guard, veto.reason)

    def _signer(self, object_id: ObjectId, caller: ObjectId | None) -> _Signer:
        """Who signs: the caller if named, else the object itself if owned here, else the node.

        Raises:
            NotOwned: a caller is named whose private key is not here.
        """
        keys = self.reading_keys(object_id, caller)
        if keys is not None:
            return _Signer(keys.signing, object_id if caller is None else caller)
        if caller is not None:
            raise NotOwned(f"the private key of caller {short(caller)}... is not on this node")
        return _Signer(self._keyring.node_key, object_id)

    def reading_keys(self, object_id: ObjectId, caller: ObjectId | None) -> ObjectKeys | None:
        """The keys a handle acts with, if here: the caller's if named, else the object's own."""
        return self._keyring.get(object_id if caller is None else caller)

    def _admit_own(self, event: Event, of: ObjectId) -> None:
        """Let an event of our own in, or raise; signed with a key of `of`. Under the lock."""
        self._gate.accept(self._judge_own(event), local=True)
        self._batcher.made(event, of)
        self._gate.counters.authored += 1

    def _judge_own(self, event: Event) -> Proposal:
        """What would come of an event of our own, if no rule refuses it; under the lock."""
        self._gate.check_flushed()
        proposal = self._gate.prepare_own(event)
        outcome = proposal.outcomes[0]
        if isinstance(outcome, Refused):
            error = outcome.error
            raise _rejected(event, error.reason.rule, str(error)) from error
        if isinstance(outcome, Ahead):
            detail = "this node's clock is more than a minute behind the newest event of the object"
            raise UpdateRejected(detail, by="ORD-4", reason="clock behind", event=event.id)
        assert isinstance(outcome, Admitted), "a draft on top of our own heads"
        if outcome.void:
            rule = why_void(outcome.flags)
            raise _rejected(event, rule.partition(":")[0], rule)
        return proposal

    # -- sealing ------------------------------------------------------------------------------

    def seal(self, object_id: ObjectId, path: str, value: Value, caller: ObjectId | None) -> Sealed:
        """`value` sealed for today's readers under a path of the caller's choice; see `unseal`.

        Makes one event, with a new epoch, if the readers have changed since the last.

        Raises:
            UnknownObject, NotOwned, UpdateRejected, InvalidEvent: as `commit`.
        """
        self._check_may_write()
        signer = self._signer(object_id, caller)
        with self._gate.lock:
            self._check_open()
            self._gate.ledger.need(object_id)
            sealed, new = self._sealer.seal(object_id, path, value, signer.key)
            for epoch in new:
                now_us = self._gate.now_us()
                draft = self._gate.ledger.draft(object_id, [epoch], signer.key, now_us)
                self._admit_own(draft, signer.of)
        if new:
            self._gate.written()
        return sealed

    def opened(self, object_id: ObjectId, caller: ObjectId | None) -> Opened | None:
        """Tells which sealed runs of lists are open for a handle; None: it opens none."""
        keys = self.reading_keys(object_id, caller)
        return None if keys is None else self._sealer.opened_runs(keys)

    def unseal(
        self,
        object_id: ObjectId,
        path: str,
        value: Sealed,
        caller: ObjectId | None,
        made: tuple[bytes, int] | None = None,
        position: int | None = None,
    ) -> Value:
        """The value inside `value`, opened with the caller's keys or the object's own (SEAL-2).

        `made` is the event and op that carry it, where they are known. With them and a `position`
        the value is an array, and that element of it is the answer.

        Raises:
            Unreadable: no such keys here, or they open nothing.
        """
        keys = self.reading_keys(object_id, caller)
        if keys is None:
            who = "the object's own key is" if caller is None else "the caller's key is"
            raise Unreadable(f"{path} of {short(object_id)}... is sealed and {who} not here")
        if made is not None and position is not None:
            return self._sealer.open_element(object_id, path, value, position, keys, made)
        return self._sealer.open(object_id, path, value, keys, made)


def _rejected(event: Event, by: str, reason: str) -> UpdateRejected:
    return UpdateRejected(
        f"{short(event.object)}...: {reason}", by=by, reason=reason, event=event.id
    )
