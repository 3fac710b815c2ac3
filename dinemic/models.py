"""Models: classes whose instances are handles on signed objects that live on every node."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Final, NamedTuple, Self

from dinemic import running
from dinemic.fields import DECLARED, Access, Conflict, Default, DField
from dinemic.sealer import Edit
from dinemic_engine import canonical
from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.errors import InvalidEvent
from dinemic_engine.ids import (
    AuthorId,
    ObjectId,
    db_id,
    is_model_name,
    parse_db_id_untrusted,
    short,
    to_text,
)
from dinemic_engine.ops import ADMIN, READ, UPDATE, Op, Policy, Remove
from dinemic_engine.types import register
from dinemic_engine.view import Because, View

_LOOSE: Final = "loose"
"""What a value of `DModel.encrypt` is sealed to instead of a field; no stored key is this word."""


class HistoryEvent(NamedTuple):
    """One event of an object's log, in replay order."""

    event_id: str
    author: str
    """The author's public signing key, base32."""
    t: int
    """Microseconds since the Unix epoch."""
    ops: tuple[Op, ...]
    verdict: str
    """``authorized``, or ``unauthorized`` where an open rule let a stranger in."""


class DModel:
    """A signed object of the model named like the class.

    ``Person([])`` makes a new object owned here; ``Person([id, ...])`` lets those objects read and
    update it. ``Person(db_id)`` and ``Person(db_id, caller_id)`` are handles on an existing one;
    the caller, an object whose key is here, signs what the handle writes and opens what it reads.
    ``class Person(DModel, access="open")`` lets anybody change fields of its objects.
    """

    _access: ClassVar[Access] = "closed"

    def __init_subclass__(cls, *, access: Access | None = None, **options: Any) -> None:
        """Check what was declared, and keep the model's access if it is not its base's."""
        super().__init_subclass__(**options)
        if access is not None:
            if access not in ("open", "closed"):
                raise ValueError(f"access is 'open' or 'closed', not {access!r}")
            cls._access = access
        cls._declared()

    @classmethod
    def _declared(cls) -> dict[str, DField]:
        """The class's fields by storage key, of every base and as they are now.

        Read each time: a field that came late and is encrypted must never be written in plain.
        """
        attributes: dict[str, object] = {}
        for base in reversed(cls.__mro__):
            if base is not DModel and base is not object:
                attributes.update(vars(base))
        found: dict[str, DField] = {}
        for attribute in attributes.values():
            if isinstance(attribute, DField):
                if found.get(attribute.field_name, attribute) is not attribute:
                    raise ValueError(
                        f"{cls.__name__} declares field {attribute.field_name!r} twice"
                    )
                found[attribute.field_name] = attribute
        return found

    def __init__(self, source: Sequence[str] | str, caller_id: str = "") -> None:
        """See the class.

        Raises:
            ValueError: an id that is malformed or of another model.
            UnknownObject: a new object should grant an object that is not known here.
            NotLaunched: no node is open.
        """
        model = type(self).__name__
        if not is_model_name(model):
            raise ValueError(f"a class named {model!r} cannot be a model: ASCII names only")
        self._node = running.current()
        if isinstance(source, str):
            named, _ = parse_db_id_untrusted(source)
            if named != model:
                raise ValueError(f"{source!r} is an object of {named}, not of {model}")
            self._object_id = self._parse(source)
            self._caller = self._parse(caller_id) if caller_id else None
        else:
            if caller_id:
                raise ValueError("a new object signs for itself: no caller_id when making one")
            granted = [self._parse(subject) for subject in source]
            self._caller = None
            try:
                self._object_id = self._node.create(model, self._policy(), granted)
            except InvalidEvent as error:
                raise ValueError(str(error)) from error

    @classmethod
    def _policy(cls) -> Policy:
        is_open = cls._access == "open"
        rules = {
            name: field.access == "open"
            for name, field in cls._declared().items()
            if field.access is not None and (field.access == "open") != is_open
        }
        return Policy(is_open, tuple(sorted(rules.items())))

    def _parse(self, text: str) -> ObjectId:
        """The object a full id names, which need not be here.

        Raises:
            ValueError: malformed, or the object is here and of another model.
        """
        if not isinstance(text, str):
            raise ValueError(f"an object id is text, not {type(text).__name__}")
        model, object_id = parse_db_id_untrusted(text)
        found = self._view.find(object_id)
        if found is not None and found[1].model != model:
            raise ValueError(f"{text!r} is an object of {found[1].model}, not of {model}")
        return object_id

    @property
    def _view(self) -> View:
        """What the node shows.

        Raises:
            NotLaunched, UsageError: it was shut down, or this process is a fork.
        """
        self._node.check_open()
        return self._node.view

    def _commit(self, edit: Edit) -> None:
        try:
            self._node.commit(self._object_id, edit, self._caller)
        except InvalidEvent as error:
            raise ValueError(str(error)) from error

    # -- identity -----------------------------------------------------------------------------

    def get_id(self) -> str:
        """The id without the model, 52 characters."""
        return to_text(self._object_id)

    def get_db_id(self) -> str:
        """The full id, ``Model:id``."""
        return db_id(self.get_model(), self._object_id)

    def get_model(self) -> str:
        """The model's name."""
        return type(self).__name__

    def is_owned(self) -> bool:
        """Whether the object's private keys are on this node."""
        self._node.check_open()
        return self._object_id in self._node.keyring

    def exists(self) -> bool:
        """Whether the object is known here and not removed."""
        found = self._view.find(self._object_id)
        return found is not None and not found[1].removed_by

    def get_public_sign_key(self) -> str:
        """The object's public Ed25519 key, base32.

        Raises:
            UnknownObject: the object is not known here.
        """
        return to_text(self._view.need(self._object_id)[1].owner)

    def get_public_encryption_key(self) -> str:
        """The object's public X25519 key, base32.

        Raises:
            UnknownObject: the object is not known here.
        """
        return to_text(self._view.need(self._object_id)[1].sealing)

    # -- fields by name -----------------------------------------------------------------------

    def _field(self, key: str) -> DField:
        """The declared field of that name, bound; a plain one for a name not declared."""
        declared = self._declared().get(key)
        return (declared or DField(key)).__get__(self, type(self))

    def set(self, key: str, value: Value) -> None:
        """Write a field by name; one that is declared encrypted is sealed."""
        self._field(key).set(value)

    def get(self, key: str, default: Default = DECLARED) -> Value:
        """Read a field by name; without a value and a `default`, the declared one or ``""``."""
        return self._field(key).get(default)

    def delete(self, key: str) -> None:
        """Take a field's value away."""
        self._field(key).delete()

    def keys(self) -> list[str]:
        """The names of the fields that have a value, sorted."""
        return [stored.removeprefix(register.PREFIX) for stored in self._view.keys(self._object_id)]

    def remove(self) -> None:
        """Remove the whole object, on every node."""
        self._commit([Remove()])

    def conflicts(self, field: str) -> list[Conflict]:
        """As `DField.conflicts`, by name."""
        return self._field(field).conflicts()

    # -- sealing what is no field -------------------------------------------------------------

    def encrypt(self, value: Value) -> bytes:
        """`value` sealed for the object's readers of today: a COSE_Encrypt0, to keep anywhere.

        Raises:
            UpdateRejected: readers have changed and this handle may not make a key for them.
            UnknownObject, NotOwned, ValueError: as for `DField.set`.
        """
        try:
            return canonical.encode(self._node.seal(self._object_id, _LOOSE, value, self._caller))
        except InvalidEvent as error:
            raise ValueError(str(error)) from error

    def decrypt(self, value: bytes) -> Value:
        """What `encrypt` of this object sealed.

        Raises:
            Unreadable: this handle's key does not open it, or it was sealed by another object.
            ValueError: not made by `encrypt`.
        """
        try:
            sealed = canonical.decode_untrusted(value)
        except InvalidEvent as error:
            raise ValueError(str(error)) from error
        if not isinstance(sealed, Sealed):
            raise ValueError("not a sealed value")
        self._view.need(self._object_id)
        return self._node.unseal(self._object_id, _LOOSE, sealed, self._caller)

    # -- access -------------------------------------------------------------------------------

    def is_read_authorized(self, object_id: str) -> bool:
        """Whether that object may open sealed values."""
        return self._is_authorized(object_id, READ)

    def is_update_authorized(self, object_id: str) -> bool:
        """Whether that object may change fields: by a grant of its own, or as an admin."""
        return self._is_authorized(object_id, UPDATE) or self._is_authorized(object_id, ADMIN)

    def is_admin_authorized(self, object_id: str) -> bool:
        """Whether that object may grant reading and updating."""
        return self._is_authorized(object_id, ADMIN)

    def append_read_authorized(self, object_id: str) -> None:
        """Let that object open values sealed from now on."""
        self._authorize(object_id, READ)

    def append_update_authorized(self, object_id: str) -> None:
        """Let that object change fields."""
        self._authorize(object_id, UPDATE)

    def append_admin_authorized(self, object_id: str) -> None:
        """Let that object grant reading and updating, and change fields."""
        self._authorize(object_id, ADMIN)

    def _is_authorized(self, object_id: str, role: int) -> bool:
        subject = self._parse(object_id)
        view = self._view
        if view.find(self._object_id) is None:
            return False
        found = view.find(subject)
        if found is not None:
            return view.has_role(self._object_id, AuthorId(found[1].owner), role)
        return any(grant.subject == subject for grant in view.grants(self._object_id, role))

    def _authorize(self, object_id: str, role: int) -> None:
        if not self._is_authorized(object_id, role):
            self._commit([self._node.grant(self._parse(object_id), role)])

    # -- what happened ------------------------------------------------------------------------

    def history(self) -> Iterator[HistoryEvent]:
        """The object's events in replay order, read as they are asked for.

        Raises:
            UnknownObject: the object is not known here.
        """
        for logged in self._view.history(self._object_id):
            event = logged.event
            yield HistoryEvent(
                to_text(event.id),
                to_text(event.author),
                event.t,
                event.ops,
                "authorized" if logged.authorized else "unauthorized",
            )

    def why(self, field: str) -> list[Because]:
        """Every write of a field, the winner first, with what decided and the grant that let it in.

        Raises:
            UnknownObject: the object is not known here.
        """
        stored = register.stored_key(field).decode()
        return self._view.why(self._object_id, stored)

    # -- all of a model -----------------------------------------------------------------------

    @classmethod
    def objects(cls, filter: str = "") -> Iterator[Self]:
        """Handles on the model's objects known here, by id."""
        for found in running.object_list(filter or f"{cls.__name__}:[id]"):
            if found.startswith(f"{cls.__name__}:"):
                yield cls(found)

    def __eq__(self, other: object) -> bool:
        return self._object_id == other._object_id if isinstance(other, DModel) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._object_id)

    def __repr__(self) -> str:
        caller = f" as {short(self._caller)}..." if self._caller else ""
        return f"<{self.get_model()} {short(self._object_id)}...{caller}>"
