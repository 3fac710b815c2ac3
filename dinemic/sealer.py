"""Seals and opens values for a node: which epoch to seal under, and whose key opens what.

`dinemic_engine.sealing` holds the cryptography and the engine the rules; this is where entropy, the
keyring and the log meet. A writer uses an epoch whose recipients are exactly today's readers and
whose key nobody else has: the newest, or one of the few before it if that was made by a writer who
may not read. Else it makes a new one, in the same event as the value (SEAL-3). A writer that may
not read seals under epochs of its own and forgets their keys with the process.

A new reader is given keys in the event that grants it the role (SEAL-4): each epoch it may open is
sealed once more, for it alone. An epoch never opens another, so whoever is granted reading without
history stays without it, whatever is granted to others later.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal, TypeAlias, TypeVar

from dinemic.keyring import Keys, ObjectKeys
from dinemic.opened_runs import OpenedRuns, own_copy
from dinemic.outside import REAL, Outside
from dinemic_engine import canonical, limits, sealing
from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.edits import Edit, sealing_path, value_in, with_sealed
from dinemic_engine.errors import Unreadable
from dinemic_engine.ids import AuthorId, ObjectId, short
from dinemic_engine.keys import SigningKey
from dinemic_engine.ops import (
    READ,
    RECIPIENTS_MAX,
    SEALED_KEY_BYTES,
    SUITE_HYBRID,
    SUITE_X25519,
    Epoch,
    Grant,
    Op,
)
from dinemic_engine.types.list_reading import Opened
from dinemic_engine.view import View

Sealing = Literal["x25519", "hybrid"]
SUITES: Final[dict[Sealing, int]] = {"x25519": SUITE_X25519, "hybrid": SUITE_HYBRID}
"""How the values of a model are sealed: hybrid is X25519 and ML-KEM-768 together."""

_EPOCH_KEYS_REMEMBERED: Final = 4096
_VALUES_REMEMBERED: Final = 16_384
_REMEMBERED_BYTES_MAX: Final = 512
"""Opened values kept in memory, and the longest of them: 8 MiB at most."""
_EPOCHS_TRIED: Final = 8
"""The newest epochs looked at for one to use: writers who may not read each keep their own there,
and make another when more of them write in turn."""
_EPOCH_BYTES: Final = 96
"""What an EPOCH for one reader takes in an event beside the sealed key, and somewhat more."""
_Name = TypeVar("_Name")


@dataclass(frozen=True, slots=True)
class ToSeal:
    """An op whose value is sealed for the object's readers when the edit is committed."""

    op: Edit


Part: TypeAlias = Op | ToSeal
Edits: TypeAlias = Sequence[Part]
"""What becomes one event."""


class Sealer:
    """The caller holds the node's lock while something is sealed; opening needs none."""

    def __init__(self, view: View, latest: View, keyring: Keys, outside: Outside = REAL) -> None:
        """`latest` shows the same as `view`, faster, and is for whoever holds the lock."""
        self._view = view
        self._latest = latest
        self._keyring = keyring
        self._entropy = outside.entropy
        self._encrypt = outside.encrypt
        self._made: dict[tuple[bytes, bytes], bytes] = {}
        self._opened: dict[tuple[bytes, bytes], bytes] = {}
        self._runs = OpenedRuns()
        self._values: dict[tuple[bytes, int, bytes], bytes] = {}
        """Opened values, encoded, by event, op and reader."""

    def events(self, object_id: ObjectId, edits: Edits, signer: SigningKey) -> list[list[Op]]:
        """The ops of an edit, values sealed, with a new epoch behind if one is needed.

        Behind, because ops point at each other by position. One event, but for an epoch of more
        readers than one EPOCH can name: those come first, one to an event.
        """
        epoch: tuple[bytes, bytes] | None = None
        new: list[Epoch] = []
        ops: list[Op] = []
        for part in edits:
            if not isinstance(part, ToSeal):
                ops.append(part)
                continue
            if epoch is None:
                commit, epoch_key, new = self._epoch(object_id, signer)
                epoch = (commit, epoch_key)
            path, value = sealing_path(part.op).encode(), value_in(part.op)
            salt = self._entropy(sealing.SALT_BYTES)
            sealed = sealing.seal(object_id, path, *epoch, salt, value)
            ops.append(with_sealed(part.op, sealed))
        if len(new) == 1:
            return [[*ops, *new]]
        before: list[list[Op]] = [[op] for op in new]
        return [*before, ops]

    def seal(
        self, object_id: ObjectId, path: str, value: Value, signer: SigningKey
    ) -> tuple[Sealed, list[Epoch]]:
        """`value` sealed under a path of the caller's choice, and what must be made first.

        Each EPOCH to an event of its own.
        """
        commit, epoch_key, new = self._epoch(object_id, signer)
        salt = self._entropy(sealing.SALT_BYTES)
        return sealing.seal(object_id, path.encode(), commit, epoch_key, salt, value), new

    def grant_ops(
        self, object_id: ObjectId, grant: Grant, signer: SigningKey, history: bool
    ) -> list[Op]:
        """A grant and, for a reader that may see the history, the epochs it cannot open yet.

        Those that the signer can open itself, the newest first, as many as fit into an event. A
        signer who may not read, or holds no key of a reader here, has none to give: the new reader
        opens what is sealed from then on.
        """
        if grant.role != READ or not history:
            return [grant]
        return [grant, *self._again(object_id, grant, signer)]

    def _again(self, object_id: ObjectId, grant: Grant, signer: SigningKey) -> Iterator[Epoch]:
        _, row = self._latest.need(object_id)
        keys = self._reader_keys(object_id, signer)
        if keys is None or grant.suite != row.suite:  # the engine says what is wrong with that
            return
        reader = {grant.signing: grant.sealing}
        room = limits.EVENT_BYTES_MAX // 2 // (SEALED_KEY_BYTES[row.suite] + _EPOCH_BYTES)
        for commit, _ in self._latest.epochs_in_force(object_id):
            if self._latest.has_epoch(object_id, grant.signing, commit):
                continue
            try:
                epoch_key = self._key(object_id, commit, keys)
            except Unreadable:  # a writer's own, or sealed wrongly
                continue
            yield sealing.make_epoch(object_id, epoch_key, reader, row.suite, self._encrypt)
            room -= 1
            if not room:
                return

    def _epoch(self, object_id: ObjectId, signer: SigningKey) -> tuple[bytes, bytes, list[Epoch]]:
        """(commitment, key, ops to make it if new) of an epoch for exactly today's readers.

        Sealing costs about a tenth of a millisecond for each reader. One EPOCH names thousands of
        them; more than that takes several of the same commitment.
        """
        found = self._usable(object_id, signer)
        if found is not None:
            return *found, []
        view = self._latest
        _, row = view.need(object_id)
        readers = {AuthorId(row.owner): row.sealing}
        for holder in view.holders(object_id, READ):
            readers[holder.author] = holder.sealing
        epoch_key = self._entropy(sealing.EPOCH_KEY_BYTES)
        ops = [
            sealing.make_epoch(object_id, epoch_key, part, row.suite, self._encrypt)
            for part in _parts(readers, RECIPIENTS_MAX[row.suite])
        ]
        _remember(self._made, (ops[0].commit, signer.public), epoch_key)
        return ops[0].commit, epoch_key, ops

    def _usable(self, object_id: ObjectId, signer: SigningKey) -> tuple[bytes, bytes] | None:
        """(commitment, key) of an epoch that serves as it is; None: there is none."""
        view, author = self._latest, AuthorId(signer.public)
        newest = view.sealing(object_id)
        keys = self._reader_keys(object_id, signer)
        for commit, recipients in self._candidates(object_id, newest.commit, newest.recipients):
            if recipients != newest.readers:
                continue
            if not view.is_for_readers_only(object_id, commit, author):
                continue
            if not view.is_since_revocations(object_id, commit):
                continue
            epoch_key = self._made.get((commit, author))
            if epoch_key is None and keys is not None:
                try:
                    epoch_key = self._key(object_id, commit, keys)
                except Unreadable:  # whoever made it cheated this reader
                    continue
            if epoch_key is not None:
                return commit, epoch_key
        return None

    def _candidates(
        self, object_id: ObjectId, commit: bytes, recipients: bytes
    ) -> Iterator[tuple[bytes, bytes]]:
        """The newest epoch, which its row tells without a scan, and some before it."""
        yield commit, recipients
        yield from islice(self._latest.epochs_in_force(object_id), 1, _EPOCHS_TRIED)

    def _reader_keys(self, object_id: ObjectId, signer: SigningKey) -> ObjectKeys | None:
        """The sealing side of whoever signs: the owner's, or a reader's whose keys are here."""
        own = self._keyring.get(object_id)
        if own is not None and own.signing == signer:
            return own
        holder = self._latest.holder(object_id, AuthorId(signer.public), READ)
        return self._keyring.get(holder.subject) if holder is not None else None

    def open(
        self,
        object_id: ObjectId,
        path: str,
        value: Sealed,
        keys: ObjectKeys,
        made: tuple[bytes, int] | None = None,
    ) -> Value:
        """The value inside `value`, as the holder of `keys` opens it (SEAL-2).

        With `made`, the event and op that carry it, small ones are remembered: a set or a counter
        opens all that it holds for every read.

        Raises:
            Unreadable: they open nothing.
        """
        if made is None or len(value.ciphertext) > _REMEMBERED_BYTES_MAX:
            epoch_key = self._key(object_id, value.epoch, keys)
            return sealing.unseal(object_id, path.encode(), epoch_key, value)
        name = (*made, keys.signing.public)
        spelled = self._values.get(name)
        if spelled is None:
            epoch_key = self._key(object_id, value.epoch, keys)
            opened = sealing.unseal(object_id, path.encode(), epoch_key, value)
            _remember(self._values, name, canonical.encode(opened), _VALUES_REMEMBERED)
            return opened
        return canonical.decode(spelled)

    def opened_runs(self, keys: ObjectKeys) -> Opened:
        """Tells the sealed runs that the holder of `keys` opened lately."""
        reader = keys.signing.public
        return lambda event, op: self._runs.get((event, op, reader))

    def open_element(
        self,
        object_id: ObjectId,
        path: str,
        value: Sealed,
        position: int,
        keys: ObjectKeys,
        made: tuple[bytes, int],
    ) -> Value:
        """As `open`, of the element at a position of the array inside; the array is remembered.

        Raises:
            Unreadable: they open nothing, or there is no such element.
        """
        name = (*made, keys.signing.public)
        run = self._runs.get(name)
        if run is None:
            opened = self.open(object_id, path, value, keys)
            run = opened if isinstance(opened, list) else []
            self._runs.put(name, run, len(value.ciphertext))
        if position >= len(run):
            raise Unreadable(f"what was sealed for {path} is not what was said to be in it")
        return own_copy(run[position])

    def open_made(self, object_id: ObjectId, path: str, value: Sealed) -> Value:
        """The value inside `value`, by the key of an epoch that was made here and lately.

        For whoever may read: the epoch may be in an event that is yet to be made.

        Raises:
            Unreadable: no such epoch is remembered, or it opens nothing.
        """
        for (commit, _), epoch_key in list(self._made.items()):
            if commit == value.epoch:
                return sealing.unseal(object_id, path.encode(), epoch_key, value)
        raise Unreadable(f"no epoch {short(value.epoch)} was made here")

    def _key(self, object_id: ObjectId, commit: bytes, keys: ObjectKeys) -> bytes:
        """The key of an epoch as its recipient opens it, remembered."""
        slot = (commit, keys.signing.public)
        known = self._opened.get(slot)
        if known is None:
            known = find_epoch_key(self._view, object_id, commit, keys)
            _remember(self._opened, slot, known)
        return known


def find_epoch_key(view: View, object_id: ObjectId, commit: bytes, keys: ObjectKeys) -> bytes:
    """The key of an epoch, from whichever EPOCH sealed it for the holder of `keys`.

    Raises:
        Unreadable: none did, or what it sealed is another key.
    """
    reader = AuthorId(keys.signing.public)
    failure: Unreadable | None = None
    for epoch in view.epochs_for(object_id, commit, reader):
        try:
            return sealing.open_epoch(object_id, epoch, reader, keys.sealing)
        except Unreadable as error:
            failure = error
    if failure is not None:
        raise failure
    if next(view.epochs(object_id, commit), None) is None:
        raise Unreadable(f"no epoch {short(commit)} is known here")
    raise Unreadable(f"{short(reader)} is no recipient of epoch {short(commit)}")


def _parts(readers: dict[AuthorId, bytes], count: int) -> Iterator[dict[AuthorId, bytes]]:
    """`readers` in parts of at most `count`, in order."""
    rest = iter(readers.items())
    while part := dict(islice(rest, count)):
        yield part


def _remember(
    known: dict[_Name, bytes], name: _Name, found: bytes, count: int = _EPOCH_KEYS_REMEMBERED
) -> None:
    """Add to a bounded memory."""
    if len(known) >= count:
        known.clear()
    known[name] = found
