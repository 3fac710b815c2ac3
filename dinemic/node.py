"""One node: its store, its keys, its log, and the one path every change takes.

    local edit  ──> commit ─┐
                            ├─> Ledger.prepare ─> Ledger.accept ─> announce to peers
    peer's bytes ─> ingest ─┘         (one lock around the three)

Any thread may call anything here. Reads take no lock; writes take one, for as long as it takes to
judge and write a batch, and never while user code or the network runs. Durability by `flush` on a
thread: a write that returned is in the operating system's hands (it survives kill -9) and on disk
within `GROUP_COMMIT_S`; with ``durability="sync"`` before it returns.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from dinemic.config import Config
from dinemic.forks import check_not_forked, never_destroy_in_child
from dinemic.keyring import Keyring, ObjectKeys
from dinemic.sealer import SUITES, Edit, Sealer
from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.errors import (
    InvalidEvent,
    NotLaunched,
    NotOwned,
    Reason,
    StoreError,
    Unreadable,
    UpdateRejected,
    UsageError,
)
from dinemic_engine.event import Event, open_envelope_untrusted, read_event_untrusted
from dinemic_engine.ids import AuthorId, ObjectId, short, to_text
from dinemic_engine.keys import SigningKey
from dinemic_engine.ledger import (
    Admitted,
    Ahead,
    Duplicate,
    Ingested,
    Ledger,
    Orphan,
    Refused,
    Surplus,
)
from dinemic_engine.ops import (
    READ,
    SUITE_X25519,
    UPDATE,
    Create,
    Grant,
    Op,
    Policy,
)
from dinemic_engine.ranges import Bound, Fingerprint, Key
from dinemic_engine.store import Store
from dinemic_engine.view import View, why_void
from dinemic_engine.waiting import Waiting

if TYPE_CHECKING:
    from dinemic.net import Network, NetworkStatus

_log = logging.getLogger(__name__)

GROUP_COMMIT_S: Final = 0.006
"""How long writes are gathered before one flush: with a flush of 1 to 3 ms, within 10 ms."""

INGEST_BATCH: Final = 256
"""Events judged and written in one batch; bounds how long the lock is held."""

_CONSTRUCTOR_ROLES: Final = (READ, UPDATE)


@dataclass(frozen=True, slots=True)
class Status:
    """What a node is doing. `refused` counts by rule and reason."""

    node_id: str
    home: str
    objects: int
    events: int
    authored: int
    admitted: int
    duplicate: int
    void: int
    """Events without effect as they came: their author had been revoked (AUTH-4, AUTH-5)."""
    flipped: int
    """Times an event already here lost its effect to one that came late, or got it back."""
    refused: dict[str, int]
    waiting: int
    held: int
    network: NetworkStatus | None


@dataclass(slots=True)
class _Counters:
    authored: int = 0
    admitted: int = 0
    duplicate: int = 0
    void: int = 0
    flipped: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class Node:
    """A running node. Open one with `Node.open`, or through `dinemic.launch`."""

    def __init__(self, config: Config, store: Store, keyring: Keyring) -> None:
        self.config = config
        self.keyring: Final = keyring
        self.view: Final = View(store)
        self.network: Network | None = None
        self._store = store
        self._ledger = Ledger(store)
        self._waiting = Waiting()
        self._lock = threading.RLock()
        self._counters = _Counters()
        self._sealer = Sealer(self.view, keyring)
        self._pid = os.getpid()
        self._closing = threading.Event()
        self._flush_failure = ""
        self._wake = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="dinemic-keeper", daemon=True)
        self._keeper.start()
        never_destroy_in_child(self)

    @classmethod
    def open(cls, config: Config) -> Node:
        """Open store and keyring of `config.home`; no network yet.

        Raises:
            StoreLocked: another process has this home open.
            StoreError, UsageError: the home cannot be used as it is; the message names it.
        """
        try:
            config.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{config.home} cannot be a home: {error.strerror}") from error
        store: Store
        if config.store == "memory":
            from dinemic_engine.store.memory import MemoryStore

            store = MemoryStore()
        else:
            from dinemic_engine.store.rocks import RocksStore

            check_not_forked()
            store = RocksStore(config.home / "store")
        try:  # the store first: its lock is what makes this process the keyring's only writer
            return cls(config, store, Keyring.open(config.home / "keys", config.passphrase))
        except BaseException:
            store.close()
            raise

    def __repr__(self) -> str:
        return f"<Node {short(self.node_id)}... in {self.config.home}>"

    @property
    def node_id(self) -> bytes:
        """This node's Ed25519 public key, which peers know it by (CHAN-1)."""
        return self.keyring.node_key.public

    def check_open(self) -> None:
        """Return if the node can be used by this process.

        Raises:
            NotLaunched: it was shut down.
            UsageError: this process is a fork of the one that opened it.
        """
        if self._closing.is_set():
            raise NotLaunched("this node was shut down; call dinemic.launch() and make new handles")
        if os.getpid() != self._pid:
            raise UsageError(
                "a forked child cannot use its parent's node: start children with 'spawn', "
                "or fork before the first launch() or prepare()"
            )

    # -- changing -----------------------------------------------------------------------------

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
        self.check_open()
        keys = ObjectKeys.generate(suite)
        ops: list[Op] = [Create(model, suite, keys.sealing.public, policy)]
        for subject in dict.fromkeys(granted):
            ops += [self.grant(subject, role, suite) for role in _CONSTRUCTOR_ROLES]
        event = self._ledger.draft(None, ops, keys.signing, _now_us())
        self.keyring.add(event.id, keys)  # waits for the disk, so not under the lock
        with self._lock:
            self.check_open()  # again: `close` may have come in between
            self._admit_own(event)
        self._written()
        return ObjectId(event.id)

    def grant(self, subject: ObjectId, role: int, suite: int = SUITE_X25519) -> Grant:
        """The op that gives `subject` a role on an object that seals in `suite`.

        Raises:
            UnknownObject: the subject's keys are not known here.
            UpdateRejected: it should read, and its sealing key is of another suite (SEAL-1).
        """
        _, row = self.view.need(subject)
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

    def commit(self, object_id: ObjectId, edit: Edit, caller: ObjectId | None) -> Event:
        """Make one event of an edit, admit it here and announce it.

        Raises:
            UnknownObject: no such object here, or it was removed.
            NotOwned: the caller's private key is not here.
            UpdateRejected: a rule refuses it; nothing was made.
            InvalidEvent: the ops break a rule of the format; nothing was made.
        """
        return self._author(
            object_id, caller, lambda key: self._sealer.events(object_id, edit, key)
        )

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
    ) -> Event:
        """Make the events whose ops `events` makes for their signer, under the lock; the last."""
        self.check_open()
        signer = self.signer(object_id, caller)
        with self._lock:
            self.check_open()
            *before, last = events(signer)
            for ops in before:
                self._admit_own(self._ledger.draft(object_id, ops, signer, _now_us()))
            event = self._ledger.draft(object_id, last, signer, _now_us())
            self._admit_own(event)
        self._written()
        return event

    def signer(self, object_id: ObjectId, caller: ObjectId | None) -> SigningKey:
        """Who signs: the caller if named, else the object itself if owned here, else the node.

        Raises:
            NotOwned: a caller is named whose private key is not here.
        """
        keys = self.reading_keys(object_id, caller)
        if keys is not None:
            return keys.signing
        if caller is not None:
            raise NotOwned(f"the private key of caller {short(caller)}... is not on this node")
        return self.keyring.node_key

    def reading_keys(self, object_id: ObjectId, caller: ObjectId | None) -> ObjectKeys | None:
        """The keys a handle acts with, if here: the caller's if named, else the object's own."""
        return self.keyring.get(object_id if caller is None else caller)

    def _admit_own(self, event: Event) -> None:
        """Let an event of our own in, or raise; the caller holds the lock."""
        if self._flush_failure:
            raise StoreError(f"an earlier write did not reach the disk: {self._flush_failure}")
        proposal = self._ledger.prepare([event], _now_us(), lifted=None)
        outcome = proposal.outcomes[0]
        if isinstance(outcome, Refused):
            reason = outcome.error.reason
            raise UpdateRejected(
                f"{short(event.object)}...: {outcome.error}",
                by=reason.rule,
                reason=str(outcome.error),
                event=event.id,
            ) from outcome.error
        if isinstance(outcome, Ahead):
            raise UpdateRejected(
                "this node's clock is more than a minute behind the newest event of the object",
                by="ORD-4",
                reason="clock behind",
                event=event.id,
            )
        assert isinstance(outcome, Admitted), "a draft on top of our own heads"
        if outcome.void:
            rule = why_void(outcome.flags)
            raise UpdateRejected(
                f"{short(event.object)}...: {rule}",
                by=rule.partition(":")[0],
                reason=rule,
                event=event.id,
            )
        self._ledger.accept(proposal)
        self._counters.authored += 1
        self._counters.flipped += len(outcome.flipped)
        self._announce([outcome])

    # -- sealing ------------------------------------------------------------------------------

    def seal(self, object_id: ObjectId, path: str, value: Value, caller: ObjectId | None) -> Sealed:
        """`value` sealed for today's readers under a path of the caller's choice; see `unseal`.

        Makes one event, with a new epoch, if the readers have changed since the last.

        Raises:
            UnknownObject, NotOwned, UpdateRejected, InvalidEvent: as `commit`.
        """
        self.check_open()
        signer = self.signer(object_id, caller)
        with self._lock:
            self.check_open()
            self._ledger.need(object_id)
            sealed, new = self._sealer.seal(object_id, path, value, signer)
            for epoch in new:
                self._admit_own(self._ledger.draft(object_id, [epoch], signer, _now_us()))
        if new:
            self._written()
        return sealed

    def unseal(
        self, object_id: ObjectId, stored: str, value: Sealed, caller: ObjectId | None
    ) -> Value:
        """The value inside `value`, opened with the caller's keys or the object's own (SEAL-2).

        Raises:
            Unreadable: no such keys here, or they open nothing.
        """
        keys = self.reading_keys(object_id, caller)
        if keys is None:
            who = "the object's own key is" if caller is None else "the caller's key is"
            raise Unreadable(f"{stored} of {short(object_id)}... is sealed and {who} not here")
        return self._sealer.open(object_id, stored, value, keys)

    # -- the network's side (Replica) -----------------------------------------------------------

    def models(self) -> tuple[str, ...]:
        """The models this node subscribes to; ``("*",)`` is every one."""
        return self.config.models

    def model_names(self) -> tuple[str, ...]:
        """The subscribed models of which at least one event is here, sorted."""
        return tuple(name for name in self.view.models() if self._subscribed(name))

    def _subscribed(self, model: str) -> bool:
        return self.config.models == ("*",) or model in self.config.models

    def ingest(self, source: bytes, events: Sequence[bytes]) -> Ingested:
        """Judge and keep events a peer sent; see `dinemic_transport.replica.Replica`."""
        self.check_open()
        invalid: list[tuple[int, str]] = []
        fresh: dict[bytes, tuple[int, Event]] = {}
        duplicate = 0
        for position, raw in enumerate(events):
            try:
                envelope = open_envelope_untrusted(raw)
                if envelope.id in fresh or self._ledger.knows(envelope.id):
                    duplicate += 1
                else:
                    fresh[envelope.id] = (position, read_event_untrusted(envelope))
            except InvalidEvent as error:
                invalid.append((position, error.reason.value))
        with self._lock:
            self._counters.duplicate += duplicate
            self._counters.refused.update(reason for _, reason in invalid)
        tally = self._judge([(source, event) for _, event in fresh.values() if self._wanted(event)])
        for refusal, event in tally.refused:
            if event.id in fresh:  # else one that had waited, and is nobody's fault by now
                invalid.append((fresh[event.id][0], refusal.reason.value))
        return Ingested(
            tally.admitted,
            duplicate + tally.duplicate,
            len(tally.waiting),
            tuple(sorted(invalid)),
        )

    def _wanted(self, event: Event) -> bool:
        """Whether an event's model is subscribed to; only a genesis can begin one (T3)."""
        first = event.ops[0]
        return not isinstance(first, Create) or self._subscribed(first.model)

    def _judge(self, batch: list[tuple[bytes, Event]]) -> _Tally:
        """Admit what can be admitted of a batch and of what had been waiting for it; count it."""
        tally = _Tally()
        counters = self._counters
        while batch:
            part, batch = batch[:INGEST_BATCH], batch[INGEST_BATCH:]
            with self._lock:
                proposal = self._ledger.prepare(
                    [event for _, event in part], _now_us(), self._waiting.vouched
                )
                self._ledger.accept(proposal)
                admitted = proposal.admitted
                for (source, event), outcome in zip(part, proposal.outcomes, strict=True):
                    match outcome:
                        case Admitted(void=void, flipped=flipped):
                            tally.admitted += 1
                            counters.admitted += 1
                            counters.void += void
                            counters.flipped += len(flipped)
                        case Duplicate():
                            tally.duplicate += 1
                            counters.duplicate += 1
                        case Refused(error=error):
                            tally.refused.append((error, event))
                            counters.refused[error.reason.value] += 1
                        case Orphan(missing=missing):
                            vouches = self.view.may_write(event.object, event.author)
                            if self._waiting.add_orphan(source, event, missing, vouches=vouches):
                                tally.waiting.add(event.id)
                        case Ahead():
                            if self._waiting.hold(source, event):
                                tally.waiting.add(event.id)
                        case Surplus():
                            if self._waiting.add_surplus(source, event):
                                tally.waiting.add(event.id)
                complete = self._waiting.arrived([found.event.id for found in admitted])
                complete += self._waiting.needed()
                tally.waiting.difference_update(event.id for _, event in complete)
                batch += complete
                self._announce(admitted)
            if admitted or tally.waiting:
                self._written()
        return tally

    def _announce(self, admitted: Sequence[Admitted]) -> None:
        """Hand admitted events to the network, which never blocks."""
        if self.network is None or not admitted:
            return
        by_model: dict[str, list[bytes]] = {}
        for found in admitted:
            events = by_model.setdefault(found.model, [])
            events += [again[1] for again in self.events(found.revived) if again is not None]
            if not found.inert:  # else nobody needs it (REC-1)
                events.append(found.event.raw)
        for model, events in by_model.items():
            if events:
                self.network.announce(model, events)

    def fingerprint(self, model: str, lower: Bound, upper: Bound) -> Fingerprint:
        """Fingerprint of a model's events in a range (REC-2)."""
        return self.view.fingerprint(model, lower, upper)

    def keys(self, model: str, lower: Bound, upper: Bound, limit: int) -> list[Key]:
        """Up to `limit` keys (t, id) of that range, ascending."""
        return self.view.range_keys(model, lower, upper, limit)

    def events(self, ids: Sequence[bytes]) -> list[tuple[str, bytes] | None]:
        """For each event id (model, signed bytes), None where it is not here."""
        return [self.view.raw(event_id) for event_id in ids]

    # -- keeping ------------------------------------------------------------------------------

    def _written(self) -> None:
        """Something was written or must wait: flush now, or let the keeper do it soon."""
        if self.config.durability == "sync":
            self._flush()
        if not self._wake.is_set():  # else the keeper has yet to clear it, and to flush after that
            self._wake.set()

    def flush(self) -> None:
        """On return everything written before is on disk.

        Raises:
            StoreError: it is not; nothing more is authored by this node.
        """
        self.check_open()
        self._flush()

    def _flush(self) -> None:
        """Flush, and remember a failure: a later success says nothing about what was lost."""
        try:
            self._ledger.flush()
        except StoreError as error:
            self._flush_failure = str(error)
            raise

    def _keep(self) -> None:
        """The keeper thread: group commit, and held events when they are due."""
        while not self._closing.is_set():
            due = self._waiting.next_due_us()
            timeout = None if due is None else max(0.0, (due - _now_us()) / 1e6) + 0.001
            written = self._wake.wait(timeout)
            if written:
                self._wake.clear()
                self._closing.wait(GROUP_COMMIT_S)
                try:
                    self._flush()
                except StoreError as error:
                    _log.error("what was written may not survive a power cut: %s", error)
            if due is not None and due <= _now_us():
                self._judge_held()

    def _judge_held(self) -> None:
        """Let in the held events that are due.

        Called only when there are some: a thread that waits for the lock makes every writer that
        lets go of it wake that thread, which costs a busy writer a quarter of its speed.
        """
        with self._lock:
            ready = [] if self._closing.is_set() else self._waiting.due(_now_us())
        try:
            self._judge(ready)
        except StoreError as error:  # reconciliation brings them again
            _log.error("%d events that had been held were not kept: %s", len(ready), error)

    def status(self) -> Status:
        """Counters and what the network is doing."""
        tip = self._ledger.tip
        waiting, held = self._waiting.counts()
        counters = self._counters
        return Status(
            to_text(self.node_id),
            str(self.config.home),
            tip.objects,
            tip.seq,
            counters.authored,
            counters.admitted,
            counters.duplicate,
            counters.void,
            counters.flipped,
            dict(counters.refused),
            waiting,
            held,
            self.network.status() if self.network is not None else None,
        )

    def close(self) -> None:
        """Stop traffic, put everything on disk, release the store. Idempotent."""
        if os.getpid() != self._pid:
            return
        try:
            if self.network is not None:
                self.network.stop()
        finally:
            with self._lock:
                first = not self._closing.is_set()
                self._closing.set()
            self._wake.set()
            self._keeper.join()
            if first:
                try:
                    self._ledger.flush()
                finally:
                    self._store.close()


@dataclass(slots=True)
class _Tally:
    admitted: int = 0
    duplicate: int = 0
    waiting: set[bytes] = field(default_factory=set)
    refused: list[tuple[InvalidEvent, Event]] = field(default_factory=list)


def _now_us() -> int:
    return time.time_ns() // 1000
