"""One node: its store, its keys, its log, and what keeps it going. Any thread may call anything.

authoring   local edits -------.
intake      peers, bundles ----+--> gate: judge, write, tell --> listeners, network
guarding    guards' answers ---'
view        what is read, without a lock
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dinemic import private_files
from dinemic.authoring import Authoring
from dinemic.batcher import Batcher
from dinemic.config import Config
from dinemic.forks import check_not_forked, never_destroy_in_child
from dinemic.gate import Gate
from dinemic.guarding import Guarding
from dinemic.intake import Intake
from dinemic.keeper import Keeper
from dinemic.keyring import Keyring, Keys
from dinemic.listener_host import NodeHost
from dinemic.listeners import Listeners, ListenersStatus
from dinemic.openers import Openers
from dinemic.outside import REAL, Outside
from dinemic.sealer import Sealer
from dinemic_engine.draft import Draft
from dinemic_engine.errors import (
    NotLaunched,
    StoreError,
    UsageError,
)
from dinemic_engine.ids import EventId, ObjectId, short, to_text
from dinemic_engine.ranges import Bound, Fingerprint, Key, Totals
from dinemic_engine.store import Snapshot, Store
from dinemic_engine.view import View

if TYPE_CHECKING:
    from dinemic.net import Network, NetworkStatus
    from dinemic.outlet import Outlet

_log = logging.getLogger(__name__)

DRAIN_S: Final = 5.0
"""How long the end of a node waits for listeners to be told what they are due; see `close`."""


@dataclass(frozen=True, slots=True)
class Status:
    """What a node is doing. `refused` counts by rule and reason."""

    node_id: str
    home: str
    relay: bool
    objects: int
    events: int
    authored: int
    admitted: int
    duplicate: int
    void: int
    """Events without effect as they came: their author had been revoked (AUTH-4, AUTH-5)."""
    flipped: int
    """Times an event already here lost its effect to one that came late, or got it back."""
    vetoed: int
    """Events the guards of this node refused."""
    refused: dict[str, int]
    waiting: int
    held: int
    listeners: ListenersStatus
    network: NetworkStatus | None
    metrics: str | None
    """``host:port`` where Prometheus finds the figures."""


class Node:
    """A running node. Open one with `Node.open`, or through `dinemic.launch`."""

    def __init__(
        self, config: Config, store: Store, keyring: Keys, outside: Outside = REAL
    ) -> None:
        self.config = config
        self.keyring: Final = keyring
        self._store = store
        self._gate = Gate(store, config.durability, outside.now_us)
        self.view: Final = self._gate.view
        sealer = Sealer(self.view, View(self._gate.ledger.rows), keyring, outside)
        host = NodeHost(store, self._gate, keyring, sealer)
        self.listeners: Final = Listeners(host, threads=outside.threads, relay=config.relay)
        self._gate.listeners = self.listeners
        host.guarding = guarding = Guarding(self._gate, self.listeners)
        batcher = Batcher(self._gate, keyring)
        edits = Authoring(
            self._gate,
            batcher,
            keyring,
            sealer,
            guarding,
            self.check_open,
            outside.entropy,
            relay=config.relay,
        )
        self.create: Final = edits.create
        self.commit: Final = edits.commit
        self.grant: Final = edits.grant
        self.authorize: Final = edits.authorize
        self.seal: Final = edits.seal
        self.unseal: Final = edits.unseal
        self.opened: Final = edits.opened
        self.reading_keys: Final = edits.reading_keys
        self._openers = Openers(None if outside.threads else 0)
        self._intake = Intake(
            self._gate, guarding, self._subscribed, self.check_open, self._openers
        )
        self.ingest: Final = self._intake.ingest
        self.forget: Final = self._intake.forget
        self.import_events: Final = self._intake.import_events
        self.listeners.start()
        self.outlet: Outlet | None = None
        """Tells others on this host what the node does; set while it has a network."""
        self._pid = os.getpid()
        self._closing = threading.Event()
        self.keeper: Final = Keeper(self._gate, self._intake, batcher, self._closing)
        self._keeping: threading.Thread | None = None
        if outside.threads:
            self._keeping = threading.Thread(
                target=self.keeper.run, name="dinemic-keeper", daemon=True
            )
            self._keeping.start()
        never_destroy_in_child(self)
        guarding.resume()

    @classmethod
    def open(cls, config: Config) -> Node:
        """Open store and keyring of `config.home`; no network yet.

        Raises:
            StoreLocked: another process has this home open.
            StoreError, UsageError: the home cannot be used as it is; the message names it.
        """
        try:
            private_files.make_directory(config.home)
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
            keyring = Keyring.open(config.home / "keys", config.passphrase, node_only=config.relay)
            return cls(config, store, keyring)
        except BaseException:
            store.close()
            raise

    def __repr__(self) -> str:
        return f"<Node {short(self.node_id)}... in {self.config.home}>"

    @property
    def network(self) -> Network | None:
        """The network, once it was started."""
        return self._gate.network

    @network.setter
    def network(self, network: Network | None) -> None:
        self._gate.network = network

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

    def snapshot(self) -> Snapshot:
        """The rows of this moment."""
        return self._store.snapshot()

    def pin(self, object_id: ObjectId) -> Draft:
        """An event of an object in the making, on top of what is here now.

        Raises:
            UnknownObject: no such object here, or it was removed.
        """
        return Draft(self._store, object_id)

    def index(self, model: str, stored: str) -> None:
        """Keep an index of a register of a model, begun now if there is none.

        Raises:
            StoreError: it could not be written; it is begun anew the next time.
        """
        self.check_open()
        self._gate.index(model, stored)

    # -- the network's side (Replica) -----------------------------------------------------------

    def models(self) -> tuple[str, ...]:
        """The models this node subscribes to; ``("*",)`` is every one."""
        return self.config.models

    def model_names(self) -> tuple[str, ...]:
        """The subscribed models of which at least one event is here, sorted."""
        return tuple(name for name in self.view.models() if self._subscribed(name))

    def _subscribed(self, model: str) -> bool:
        return self.config.models == ("*",) or model in self.config.models

    def totals(self, model: str) -> Totals:
        """The fingerprints of all of the model's events, and of their heads; of one moment."""
        return self.view.totals(model)

    def fingerprint(
        self, model: str, lower: Bound, upper: Bound, *, effective: bool = False
    ) -> Fingerprint:
        """Fingerprint of a model's events in a range (REC-2), or of the effective ones."""
        return self.view.fingerprint(model, lower, upper, effective=effective)

    def keys(
        self,
        model: str,
        lower: Bound,
        upper: Bound,
        limit: int,
        skip: int = 0,
        *,
        effective: bool = False,
    ) -> list[Key]:
        """Up to `limit` keys (t, id) of those events but the lowest `skip`, ascending."""
        return self.view.range_keys(model, lower, upper, limit, skip, effective=effective)

    def events(self, ids: Sequence[bytes]) -> list[tuple[str, bytes] | None]:
        """For each event id (model, signed bytes), None where it is not here."""
        return [self.view.raw(event_id) for event_id in ids]

    # -- keeping ------------------------------------------------------------------------------

    def flush(self) -> None:
        """On return everything written before is on disk.

        Raises:
            StoreError: it is not; nothing more is authored by this node.
        """
        self.check_open()
        self._gate.flush()

    def lift_veto(self, event_id: EventId) -> None:
        """Have an event judged again that a guard of this node refused; the answer follows soon.

        Raises:
            KeyError: no such event here, or it is not vetoed.
        """
        self.check_open()
        with self._gate.lock:
            proposal = self._gate.ledger.lift(event_id)
            self._gate.accept(proposal)
        self._gate.written()
        self.listeners.wake(self.view.event(event_id).object)

    def status(self) -> Status:
        """Counters and what the network is doing."""
        tip = self._gate.ledger.tip
        waiting, held = self._intake.waiting.counts()
        counters = self._gate.counters
        return Status(
            to_text(self.node_id),
            str(self.config.home),
            self.config.relay,
            tip.objects,
            tip.seq,
            counters.authored,
            counters.admitted,
            counters.duplicate,
            counters.void,
            counters.flipped,
            counters.vetoed,
            dict(counters.refused),
            waiting,
            held,
            self.listeners.status(),
            self._gate.network.status() if self._gate.network is not None else None,
            self.outlet.metrics if self.outlet is not None else None,
        )

    def close(self) -> None:
        """Stop traffic, put everything on disk, release the store. Idempotent."""
        if os.getpid() != self._pid:
            return
        try:
            if self.outlet is not None:
                self.outlet.stop()
            if self._gate.network is not None:
                self._gate.network.stop()
            if not self._closing.is_set():
                self.listeners.drain(DRAIN_S)
        finally:
            self.listeners.stop()
            with self._gate.lock:
                first = not self._closing.is_set()
                self._closing.set()
            self._gate.wake.set()
            if self._keeping is not None:
                self._keeping.join()
            self._openers.close()
            if first:
                try:
                    self.keeper.sign_together(to_the_end=True)
                    self._gate.ledger.flush()
                finally:
                    self._store.close()
