"""The read side: what a store shows, whoever wrote it. Reads need no lock and change nothing.

Works on the store of a running node, on a read-only one opened beside it, and on the memory store
a replay was folded into.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from dinemic_engine import access, acts, epochs, log, readers, state, vetoes
from dinemic_engine.acts import Granted
from dinemic_engine.blocks import Blocks
from dinemic_engine.errors import StoreCorrupt, UnknownObject
from dinemic_engine.event import Event
from dinemic_engine.ids import AuthorId, EventId, ObjectId, short
from dinemic_engine.ledger import Ledger
from dinemic_engine.limits import T_US_MAX
from dinemic_engine.ops import ROLES, Epoch, Policy
from dinemic_engine.ranges import (
    HIGHEST,
    LOWEST,
    NOTHING,
    SUM_MODULUS,
    Bound,
    Fingerprint,
    Key,
    Totals,
)
from dinemic_engine.readers import Having
from dinemic_engine.reading import LoggedEvent, Reading, load, reading_at, reading_in
from dinemic_engine.store import keyspace, layout
from dinemic_engine.store.layout import VOID, Act, ObjectRow, Sealing, Tip
from dinemic_engine.store.memory import MemoryStore
from dinemic_engine.store.overlay import Readable
from dinemic_engine.store.sums import unpack_totals
from dinemic_engine.types import register
from dinemic_engine.vetoes import Withheld


class Holder(NamedTuple):
    """Somebody who holds a role."""

    author: AuthorId
    subject: ObjectId
    suite: int
    sealing: bytes


class Revocation(NamedTuple):
    """One REVOKE ever admitted."""

    role: int
    author: AuthorId
    """Whose role it ends."""
    act: Act
    void: bool
    """It ends nothing: whoever made it was revoked unseen (AUTH-4)."""


class View:
    """Reads over one store. Object ids are raw bytes; stored keys are text such as value_name."""

    def __init__(self, store: Readable) -> None:
        self._store = store

    @property
    def rows(self) -> Readable:
        """What is read from."""
        return self._store

    # -- objects ------------------------------------------------------------------------------

    def find(self, object_id: bytes) -> tuple[int, ObjectRow] | None:
        """Local number and row of an object, removed ones included, or None."""
        value = self._store.get(keyspace.object_key(object_id))
        if value is None:
            return None
        no = layout.unpack_u32(value)
        row = self._store.get(keyspace.object_row_key(no))
        return (no, layout.unpack_object(row)) if row is not None else None

    def need(self, object_id: bytes) -> tuple[int, ObjectRow]:
        """As `find`.

        Raises:
            UnknownObject: no such object here.
        """
        found = self.find(object_id)
        if found is None:
            raise UnknownObject(f"no object {short(object_id)}... is known here")
        return found

    def objects(self, model: str = "", *, removed: bool = False) -> Iterator[tuple[str, ObjectId]]:
        """(model, object id) of the objects here, by model and id; of one model if named."""
        prefix = b"B" + (model.encode("ascii") + b"\0" if model else b"")
        for key, value in self._store.scan(prefix, keyspace.after(prefix)):
            if not removed:
                row = self._store.get(keyspace.object_row_key(layout.unpack_u32(value)))
                if row is None or not layout.unpack_object(row).is_there:
                    continue
            name, object_id = key[1:-33], key[-32:]
            yield name.decode("ascii"), ObjectId(object_id)

    # -- fields -------------------------------------------------------------------------------

    def read(self, object_id: bytes, stored: str) -> Reading | None:
        """The winning write of a register; None if never written, deleted or not there."""
        found = self.find(object_id)
        if found is None or not found[1].is_there:
            return None
        written = register.read(self._store, found[0], stored.encode())
        if written is None or written.deleted:
            return None
        return reading_in(written)

    def keys(self, object_id: bytes) -> list[str]:
        """The stored keys that have a value, sorted."""
        found = self.find(object_id)
        if found is None or not found[1].is_there:
            return []
        prefix = keyspace.of_object(b"R", found[0])
        return [
            key[len(prefix) :].decode()
            for key, value in self._store.scan(prefix, keyspace.after(prefix))
            if not layout.unpack_written(value).deleted
        ]

    def conflicts(self, object_id: bytes, stored: str) -> list[Reading]:
        """The writes of a register that no other write had seen, the winner first (ORD-6).

        Time grows with the field's history.
        """
        found = self.find(object_id)
        if found is None or not found[1].is_there:
            return []
        no = found[0]
        return [
            reading_at(self._store, no, *at)
            for at in register.conflicts(self._store, no, stored.encode())
        ]

    # -- access and sealing -------------------------------------------------------------------

    def grants(self, object_id: bytes, role: int | None = None) -> list[Granted]:
        """Every grant ever admitted on an object, standing or not, of one role if asked."""
        no, _ = self.need(object_id)
        return acts.grants(self._store, no, role)

    def grants_to(self, object_id: bytes, author: AuthorId) -> list[Granted]:
        """Every grant of any role to a key ever admitted on an object, standing or not."""
        no, _ = self.need(object_id)
        return [grant for role in ROLES for grant in acts.granted(self._store, no, author, role)]

    def holders(self, object_id: bytes, role: int) -> list[Holder]:
        """Everybody but the owner who holds a role now, by signing key."""
        no, _ = self.need(object_id)
        return [Holder(*found) for found in acts.holders(self._store, no, role)]

    def holder(self, object_id: bytes, author: AuthorId, role: int) -> Holder | None:
        """What somebody who holds a role now was granted it as; None for the owner too."""
        no, _ = self.need(object_id)
        value = self._store.get(keyspace.holder_key(no, role, author))
        if value is None:
            return None
        subject, suite, sealing = layout.unpack_holder(value)
        return Holder(author, ObjectId(subject), suite, sealing)

    def has_role(self, object_id: bytes, author: AuthorId, role: int) -> bool:
        """Whether `author` is the owner or holds `role` now."""
        _, row = self.need(object_id)
        return author == row.owner or self.holder(object_id, author, role) is not None

    def may_write(self, object_id: bytes, author: AuthorId) -> bool:
        """Whether an event that `author` makes of an object now could have effect."""
        found = self.find(object_id)
        if found is None:
            return False
        no, row = found
        if author == row.owner or any(
            self._store.get(keyspace.holder_key(no, role, author)) for role in access.WRITERS
        ):
            return True
        policy = access.policy_now(self._store, row, no)
        return policy.is_open or any(opens for _, opens in policy.fields)

    def policy(self, object_id: bytes) -> Policy:
        """The access policy that is last in the order."""
        no, row = self.need(object_id)
        return access.policy_now(self._store, row, no)

    def held(self, object_id: bytes) -> list[Granted]:
        """The grants by which everybody but the owner holds a role now, by role and signing key."""
        no, row = self.need(object_id)
        found = [
            access.holder(self._store, row, no, author, role)
            for role in ROLES
            for author, *_ in acts.holders(self._store, no, role)
        ]
        return [grant for grant in found if grant is not None]

    def revocations(self, object_id: bytes) -> list[Revocation]:
        """Every revocation ever admitted, in the order of events."""
        no, _ = self.need(object_id)
        prefix = keyspace.of_object(b"K", no)
        found = []
        for key, value in self._store.scan(prefix, keyspace.after(prefix)):
            author, role = keyspace.act_subject(key)
            act, _rest = keyspace.unpack_act(key, value)
            void = bool(log.place_of(self._store, act.event).flags & VOID)
            found.append(Revocation(role, AuthorId(author), act, void))
        return sorted(found, key=lambda each: each.act[:3])

    def policy_since(self, object_id: bytes) -> Act | None:
        """The change that set today's policy; None: the genesis did."""
        no, _ = self.need(object_id)
        return next((act for act, _policy in acts.policies(self._store, no)), None)

    def sealing(self, object_id: bytes) -> Sealing:
        """The readers' sum and the newest epoch of an object."""
        no, _ = self.need(object_id)
        return state.sealing_of(self._store, no)

    def epochs(self, object_id: bytes, commit: bytes) -> Iterator[Epoch]:
        """The EPOCH ops of one commitment, in order, void ones included."""
        no, _ = self.need(object_id)
        return self._epochs(no, keyspace.epochs_prefix(no, commit))

    def epochs_for(self, object_id: bytes, commit: bytes, reader: AuthorId) -> Iterator[Epoch]:
        """Those of them that seal it for `reader`, or that `reader` made."""
        no, _ = self.need(object_id)
        return self._epochs(no, keyspace.having_prefix(no, reader, commit))

    def _epochs(self, no: int, prefix: bytes) -> Iterator[Epoch]:
        for key, _value in self._store.scan(prefix, keyspace.after(prefix)):
            t, event_id, index = keyspace.write_key_order(key)
            op = log.event_at(self._store, no, t, event_id).ops[index]
            if isinstance(op, Epoch):
                yield op

    def epochs_in_force(self, object_id: bytes) -> Iterator[tuple[bytes, bytes]]:
        """(commitment, recipients' sum) of every epoch that stands, the newest first."""
        no, _ = self.need(object_id)
        for _, commit, recipients in state.epochs_in_force(self._store, no):
            yield commit, recipients

    def has_epoch(self, object_id: bytes, reader: AuthorId, commit: bytes) -> bool:
        """Whether the key of an epoch was sealed for `reader`, by an event that stands."""
        no, row = self.need(object_id)
        return state.has_epoch(self._store, row, no, reader, commit)

    def is_since_revocations(self, object_id: bytes, commit: bytes) -> bool:
        """Whether who made an epoch knew of everybody revoked since that we know of (SEAL-3)."""
        no, row = self.need(object_id)
        if not row.cuts:
            return True
        made = state.made_at(self._store, row, no, commit)
        return made is None or epochs.knows_all_ends(self._store, row, made)

    def is_for_readers_only(self, object_id: bytes, commit: bytes, author: AuthorId) -> bool:
        """Whether nobody has the key of an epoch who may not read, `author` apart (SEAL-3)."""
        no, row = self.need(object_id)
        return epochs.outsider(self._store, row, no, author, commit, None) is None

    def readers(
        self, object_id: bytes, stored: str, at: EventId | int | None = None
    ) -> list[Having] | None:
        """Who has the key of a register's value; see `dinemic_engine.readers`.

        Raises:
            UnknownObject: no such object here, or no such event in it.
        """
        no, row = self.need(object_id)
        return readers.readers(self._store, no, row, stored.encode(), at)

    # -- events -------------------------------------------------------------------------------

    def event(self, event_id: bytes) -> Event:
        """An admitted event.

        Raises:
            StoreCorrupt: it is not here.
        """
        place = log.place_of(self._store, event_id)
        return log.event_at(self._store, place.no, place.t, event_id)

    def raw(self, event_id: bytes) -> tuple[str, bytes] | None:
        """(model, signed bytes) of an admitted event, or None."""
        value = self._store.get(keyspace.place_key(event_id))
        if value is None:
            return None
        place = layout.unpack_place(value)
        raw = self._store.get(keyspace.event_key(place.no, place.t, event_id))
        row = self._store.get(keyspace.object_row_key(place.no))
        if raw is None or row is None:
            raise StoreCorrupt(f"event {short(event_id)} has a place and is not there")
        return layout.unpack_object(row).model, raw

    def history(self, object_id: bytes) -> Iterator[LoggedEvent]:
        """The object's events in replay order."""
        no, row = self.need(object_id)
        prefix = keyspace.of_object(b"E", no)
        hidden = {each.event: each for each in self._withheld(no, row)}
        for key, raw in self._store.scan(prefix, keyspace.after(prefix)):
            place = log.place_of(self._store, key[-32:])
            yield LoggedEvent(load(raw), row.model, place.flags, hidden.get(EventId(key[-32:])))

    def withheld(self, object_id: bytes) -> list[Withheld]:
        """The events of an object without effect on this node, in order (VETO-1)."""
        return self._withheld(*self.need(object_id))

    def _withheld(self, no: int, row: ObjectRow) -> list[Withheld]:
        return vetoes.withheld(self._store, no) if row.withheld else []

    def heads(self, object_id: bytes) -> list[EventId]:
        """The effective events that no effective event has in its past, sorted."""
        no, _ = self.need(object_id)
        return sorted(EventId(head.id) for head in log.heads(self._store, no))

    def tip(self) -> Tip:
        """How much has been admitted."""
        value = self._store.get(keyspace.TIP_KEY)
        return layout.unpack_tip(value) if value is not None else layout.NOTHING

    # -- digests and ranges -------------------------------------------------------------------

    def digest(self, object_id: bytes) -> bytes:
        """The shared digest of one object: of its effective events, withheld ones among them.

        Where something is withheld the object's log is folded again; see VETO-4.
        """
        no, row = self.need(object_id)
        if not row.withheld:
            return state.digest(self._store, no, row)
        store = MemoryStore()
        ledger = Ledger(store)
        for logged in self.history(object_id):
            ledger.accept(ledger.prepare([logged.event], T_US_MAX, lifted=None))
        return View(store).view_digest(object_id)

    def view_digest(self, object_id: bytes) -> bytes:
        """As `digest`, of what this node shows: without the events that it withholds (VETO-4)."""
        no, row = self.need(object_id)
        return state.digest(self._store, no, row)

    def digest_all(self) -> bytes:
        """One digest over the shared digests of all objects, by id."""
        digest = hashlib.sha256(b"dinemic/digests/1")
        for _, object_id in sorted(self.objects(removed=True), key=lambda found: found[1]):
            digest.update(object_id + self.digest(object_id))
        return digest.digest()

    def models(self) -> list[str]:
        """The models with at least one event, sorted."""
        return [key[1:].decode("ascii") for key, _ in self._store.scan(b"M", b"N")]

    def fingerprint(
        self,
        model: str,
        lower: Bound = LOWEST,
        upper: Bound = HIGHEST,
        *,
        effective: bool = False,
    ) -> Fingerprint:
        """Count and sum over a model's events in a range (REC-2), or over the effective ones.

        Any of them costs the logarithm of the number of the model's events; see `blocks`.
        """
        blocks = self._blocks(model)
        if blocks is None:
            return NOTHING
        sums = blocks.sums(keyspace.pack_bound(lower), keyspace.pack_bound(upper))
        found = sums[2:] if effective else sums[:2]
        return Fingerprint(found[0], found[1] % SUM_MODULUS)

    def totals(self, model: str) -> Totals:
        """The fingerprints of a whole model, from one row."""
        value = self._store.get(keyspace.model_key(model))
        if value is None:
            return Totals(NOTHING, NOTHING, NOTHING)
        key = keyspace.fingerprint_key(layout.unpack_u32(value))
        sums, heads, heads_total = unpack_totals(self._store.get(key))
        return Totals(
            Fingerprint(*sums[:2]), Fingerprint(*sums[2:]), Fingerprint(heads, heads_total)
        )

    def range_keys(
        self,
        model: str,
        lower: Bound,
        upper: Bound,
        limit: int,
        skip: int = 0,
        *,
        effective: bool = False,
    ) -> list[Key]:
        """Up to `limit` (t, id) of a model's events in a range, or effective ones, ascending.

        Not those of the lowest `skip`, which costs as a fingerprint does, however many they are.
        """
        blocks = self._blocks(model)
        if blocks is None:
            return []
        lowest, highest = keyspace.pack_bound(lower), keyspace.pack_bound(upper)
        orders = blocks.orders_after(lowest, highest, skip, effective=effective)
        return [layout.unpack_order(order) for order in islice(orders, limit)]

    def _blocks(self, model: str) -> Blocks | None:
        value = self._store.get(keyspace.model_key(model))
        return Blocks(self._store, layout.unpack_u32(value)) if value is not None else None
