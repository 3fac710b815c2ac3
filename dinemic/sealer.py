"""Seals and opens values for a node: which epoch to seal under, and whose key opens what.

`dinemic_engine.sealing` holds the cryptography and the engine the rules; this is where entropy, the
keyring and the log meet. A writer uses the newest epoch if it was made for exactly today's readers
and nobody else knows its key: the recipients are the readers, and who made it is one of them (or is
the writer). Else it makes a new one, in the same event as the value (SEAL-3). A writer that may not
read seals under epochs of its own and forgets their keys with the process.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from dinemic.keyring import Keyring, ObjectKeys
from dinemic_engine import sealing
from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.errors import Unreadable
from dinemic_engine.ids import AuthorId, ObjectId, short
from dinemic_engine.keys import SigningKey
from dinemic_engine.ops import READ, Epoch, Op, Set
from dinemic_engine.types import register
from dinemic_engine.view import View

_EPOCH_KEYS_REMEMBERED: Final = 4096
_Name = TypeVar("_Name")


@dataclass(frozen=True, slots=True)
class ToSeal:
    """A SET whose value is sealed for the object's readers when the edit is committed."""

    field: str
    value: Value


Edit = Sequence[Op | ToSeal]


class Sealer:
    """The caller holds the node's lock while something is sealed; opening needs none."""

    def __init__(self, view: View, keyring: Keyring) -> None:
        self._view = view
        self._keyring = keyring
        self._made: dict[tuple[bytes, bytes], bytes] = {}
        self._opened: dict[tuple[bytes, bytes], bytes] = {}

    def ops(self, object_id: ObjectId, edit: Edit, signer: SigningKey) -> list[Op]:
        """The ops of an edit, values sealed, with a new epoch in front if one is needed."""
        epoch: tuple[bytes, bytes] | None = None
        ops: list[Op] = []
        for part in edit:
            if not isinstance(part, ToSeal):
                ops.append(part)
                continue
            if epoch is None:
                commit, epoch_key, new = self._epoch(object_id, signer)
                epoch = (commit, epoch_key)
                if new is not None:
                    ops.append(new)
            path = register.stored_key(part.field)
            salt = os.urandom(sealing.SALT_BYTES)
            ops.append(Set(part.field, sealing.seal(object_id, path, *epoch, salt, part.value)))
        return ops

    def seal(
        self, object_id: ObjectId, path: str, value: Value, signer: SigningKey
    ) -> tuple[Sealed, Epoch | None]:
        """`value` sealed under a path of the caller's choice, and the epoch to make first."""
        commit, epoch_key, new = self._epoch(object_id, signer)
        salt = os.urandom(sealing.SALT_BYTES)
        return sealing.seal(object_id, path.encode(), commit, epoch_key, salt, value), new

    def _epoch(self, object_id: ObjectId, signer: SigningKey) -> tuple[bytes, bytes, Epoch | None]:
        """(commitment, key, op to make it if new) of an epoch for exactly today's readers."""
        view = self._view
        newest = view.sealing(object_id)
        maker = AuthorId(newest.maker)
        if newest.recipients == newest.readers and (
            maker == signer.public or view.has_role(object_id, maker, READ)
        ):
            known = self._made.get((newest.commit, signer.public))
            if known is not None:
                return newest.commit, known, None
            keys = self._reader_keys(object_id, signer)
            if keys is not None:
                return newest.commit, self._key(object_id, newest.commit, keys), None
        _, row = view.need(object_id)
        readers = {AuthorId(row.owner): row.sealing}
        for holder in view.holders(object_id, READ):
            readers[holder.author] = holder.sealing
        epoch_key = os.urandom(sealing.EPOCH_KEY_BYTES)
        op = sealing.make_epoch(object_id, epoch_key, readers)
        _remember(self._made, (op.commit, signer.public), epoch_key)
        return op.commit, epoch_key, op

    def _reader_keys(self, object_id: ObjectId, signer: SigningKey) -> ObjectKeys | None:
        """The sealing side of whoever signs: the owner's, or that of a reader whose keys are here."""
        own = self._keyring.get(object_id)
        if own is not None and own.signing == signer:
            return own
        holder = self._view.holder(object_id, AuthorId(signer.public), READ)
        return self._keyring.get(holder.subject) if holder is not None else None

    def open(self, object_id: ObjectId, stored: str, value: Sealed, keys: ObjectKeys) -> Value:
        """The value inside `value`, as the holder of `keys` opens it (SEAL-2).

        Raises:
            Unreadable: they open nothing.
        """
        epoch_key = self._key(object_id, value.epoch, keys)
        return sealing.unseal(object_id, stored.encode(), epoch_key, value)

    def _key(self, object_id: ObjectId, commit: bytes, keys: ObjectKeys) -> bytes:
        """The key of an epoch as its recipient opens it, remembered."""
        slot = (commit, keys.signing.public)
        known = self._opened.get(slot)
        if known is not None:
            return known
        failure = Unreadable(f"no epoch {short(commit)} is known here")
        reader = AuthorId(keys.signing.public)
        for epoch in self._view.epochs(object_id, commit):
            try:
                epoch_key = sealing.open_epoch(object_id, epoch, reader, keys.sealing)
            except Unreadable as error:
                failure = error
                continue
            _remember(self._opened, slot, epoch_key)
            return epoch_key
        raise failure


def _remember(keys: dict[_Name, bytes], name: _Name, key: bytes) -> None:
    """Add to a bounded memory of epoch keys."""
    if len(keys) >= _EPOCH_KEYS_REMEMBERED:
        keys.clear()
    keys[name] = key
