"""Fields: class attributes of a model that become handles on an object's stored values."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self, TypeAlias, overload

from dinemic.sealer import Part, ToSeal
from dinemic_engine import why
from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.edits import Delete, Edit, Set, check_field_name, sealed_in
from dinemic_engine.errors import Malformed, Unreadable, UsageError
from dinemic_engine.ids import to_text
from dinemic_engine.types import register

if TYPE_CHECKING:
    from dinemic.models import DModel
    from dinemic_engine.reading import Reading

Access = Literal["open", "closed"]


class _Default(enum.Enum):
    DECLARED = "the default the field was declared with"


DECLARED = _Default.DECLARED
Default: TypeAlias = Value | Literal[_Default.DECLARED]
"""What a read gives for a field without a value; None is a value like any other."""
Upcast: TypeAlias = Callable[[Value], Value]
"""Makes of a value that any version of the model wrote the one that this version reads."""


class Conflict(NamedTuple):
    """One of the writes of a value that no other write had seen, with the event that made it."""

    value: Value
    event_id: str
    t: int
    """Microseconds since the Unix epoch."""
    deleted: bool


class Because(NamedTuple):
    """One write of a value, and why it won or lost."""

    value: Value
    """As read; a `Sealed` if this handle's key does not open it."""
    event_id: str
    author: str
    """The author's public signing key, base32."""
    t: int
    """Microseconds since the Unix epoch."""
    deleted: bool
    outcome: str
    """``wins``, ``superseded`` (in the past of a later write), ``concurrent`` (smaller (t, id));
    or, without effect, ``void``, ``vetoed`` or ``waiting``, as in `HistoryEvent.verdict`."""
    rule: str
    """What decided, beginning with the rule's name."""
    grant: str | None
    """The event that granted the author to write; None: the owner's write, or a stranger's."""


class Bound:
    """What all fields are: class attributes that are bound to an object when taken from one.

    `field_name` is the storage key and need not be the attribute's name. `is_encrypted` seals every
    value for the object's readers. `access` opens or closes this one field, whatever the model is.
    """

    PREFIX: ClassVar[str]

    __slots__ = ("_model", "access", "field_name", "is_encrypted", "stored")

    def __init__(
        self, field_name: str, is_encrypted: bool = False, *, access: Access | None = None
    ) -> None:
        """Raises ValueError for a name no field can have, or an access that is neither word."""
        try:
            check_field_name(field_name)
        except Malformed as error:
            raise ValueError(str(error)) from error
        if access not in (None, "open", "closed"):
            raise ValueError(f"access is 'open' or 'closed', not {access!r}")
        self.field_name = field_name
        self.is_encrypted = is_encrypted
        self.access = access
        self.stored = self.PREFIX + field_name
        self._model: DModel | None = None

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: DModel, owner: type) -> Self: ...
    def __get__(self, instance: DModel | None, owner: type) -> Self:
        """The declaration on the class; a field bound to the object on an instance."""
        if instance is None:
            return self
        bound = object.__new__(type(self))
        bound.field_name = self.field_name
        bound.is_encrypted = self.is_encrypted
        bound.access = self.access
        bound.stored = self.stored
        bound._model = instance
        self._copy_to(bound)
        own: dict[str, Any] | None = getattr(self, "__dict__", None)  # of a subclass
        if own:
            bound.__dict__.update(own)
        return bound

    def _copy_to(self, bound: Self) -> None:
        """Give a field that is being bound what its own class adds."""

    def __set__(self, instance: DModel, value: object) -> None:
        raise AttributeError(
            f"assigning would hide field {self.field_name!r}; its methods, like .set(...), write it"
        )

    def _bound(self) -> DModel:
        if self._model is None:
            raise UsageError(
                f"field {self.field_name!r} is not bound to an object: "
                "use it on an instance of the model"
            )
        return self._model

    def _part(self, op: Edit) -> Part:
        """An op as it is committed: to be sealed, or as it is."""
        if sealed_in(op) is not None:
            raise ValueError("a sealed value is made by an encrypted field and never set as such")
        return ToSeal(op) if self.is_encrypted else op

    def _opened(self, value: Value, event: bytes, op: int, path: str) -> Value:
        """A value of op number `op` of an event; opened if it is sealed.

        Raises:
            Unreadable: this handle's key does not open it.
        """
        if not isinstance(value, Sealed):
            return value
        model = self._bound()
        return model._node.unseal(model._object_id, path, value, model._caller, (event, op))

    def _conflicts(self, readings: Iterable[Reading], path: str) -> list[Conflict]:
        """What readings of one value are to the user."""
        return [
            Conflict(
                None
                if reading.deleted
                else self._opened(reading.value, reading.event, reading.op, path),
                to_text(reading.event),
                reading.t,
                reading.deleted,
            )
            for reading in readings
        ]

    def _answers(self, told: Iterable[why.Because], path: str) -> list[Because]:
        """What the writes of one value are to the user."""
        return [
            Because(
                self._opened_if_readable(each, path),
                to_text(each.reading.event),
                to_text(each.author),
                each.reading.t,
                each.reading.deleted,
                each.outcome,
                each.rule,
                None if each.grant is None else to_text(each.grant.event),
            )
            for each in told
        ]

    def _opened_if_readable(self, told: why.Because, path: str) -> Value:
        value, event, op = told.reading.value, told.reading.event, told.reading.op
        if not isinstance(value, Sealed):
            return value
        model = self._bound()
        try:
            return model._node.unseal(
                model._object_id, path, value, model._caller, (event, op), told.position
            )
        except Unreadable:
            return value

    def __repr__(self) -> str:
        kind = ", encrypted" if self.is_encrypted else ""
        owner = "" if self._model is None else f" of {self._model!r}"
        return f"<{type(self).__name__} {self.field_name!r}{kind}{owner}>"


class DField(Bound):
    """One value of an object: the last write wins, and `conflicts` shows what it won over.

    Declared as a class attribute, ``name = DField("name")``; ``p.name`` is then bound to the
    object. `default` is what a field never written reads as; for the rest see `Bound`.

    With `index`, `DModel.where` finds objects by this field without reading all of them: from its
    first use on every change of the field is kept in rows of their own. Sealed values have none.

    `upcast` is for a field whose values were others once. Every stored value passes through it when
    it is read, whichever version of the model wrote it: it must take what any of them wrote, and
    that includes what itself gives. What is stored stays; listeners and `history` tell of that.
    """

    PREFIX = register.PREFIX

    __slots__ = ("default", "index", "upcast")

    def __init__(
        self,
        field_name: str,
        is_encrypted: bool = False,
        *,
        default: Value = "",
        access: Access | None = None,
        index: bool = False,
        upcast: Upcast | None = None,
    ) -> None:
        """Raises ValueError as `Bound`, and for an index of sealed values."""
        super().__init__(field_name, is_encrypted, access=access)
        if index and is_encrypted:
            raise ValueError(f"field {field_name!r} is encrypted: sealed values have no index")
        self.default = default
        self.index = index
        self.upcast = upcast

    def _copy_to(self, bound: Self) -> None:
        bound.default = self.default
        bound.index = self.index
        bound.upcast = self.upcast

    def set(self, value: Value) -> None:
        """Write `value`, sealed if the field is encrypted; on return it is admitted here.

        Raises:
            UpdateRejected: a rule refuses it; nothing was made.
            UnknownObject: the object is not here (any more).
            NotOwned: the handle names a caller whose key is not here.
            ValueError: no value a field can hold.
        """
        self._bound()._editing.commit([self._part(Set(self.field_name, value))])

    def get(self, default: Default = DECLARED) -> Value:
        """The value last set, of the type it was set with, or the default if there is none.

        Raises:
            Unreadable: it is sealed and this handle's key does not open it.
        """
        model = self._bound()
        reading = model._editing.shown.read(model._object_id, self.stored)
        if reading is None:
            return self.default if default is DECLARED else default
        return self._opened(reading.value, reading.event, reading.op, self.stored)

    def _opened(self, value: Value, event: bytes, op: int, path: str) -> Value:
        """As `Bound._opened`, and what `upcast` makes of it.

        Raises:
            Unreadable: this handle's key does not open it. And what `upcast` raises.
        """
        opened = super()._opened(value, event, op, path)
        if self.upcast is None:
            return opened
        try:
            return self.upcast(opened)
        except Exception as error:
            error.add_note(f"raised by the upcast of field {self.field_name!r} of {self._model!r}")
            raise

    def delete(self) -> None:
        """Take the value away; nothing happens if there is none.

        Raises:
            UpdateRejected, UnknownObject, NotOwned: as for `set`.
        """
        model = self._bound()
        if (
            not model.exists()
            or model._editing.shown.read(model._object_id, self.stored) is not None
        ):
            model._editing.commit([Delete(self.field_name)])

    def conflicts(self) -> list[Conflict]:
        """The writes that no other write had seen, the winner first; one if there is no conflict.

        Raises:
            Unreadable: one is sealed and this handle's key does not open it.
        """
        model = self._bound()
        readings = model._view.conflicts(model._object_id, self.stored)
        return self._conflicts(readings, self.stored)

    def why(self) -> list[Because]:
        """Every write of the field, the winner first, with what decided and who let each in.

        Not of edits in a transaction. It reads all writes of the field; where somebody was revoked
        or a guard refused something, the log of the object.

        Raises:
            UnknownObject: the object is not known here.
        """
        model = self._bound()
        told = why.of_register(model._view, model._object_id, self.stored)
        return self._answers(told, self.stored)

    def resolve(self, choice: Conflict) -> None:
        """Write one of the conflicting values again, on top of all of them; raises as `set`."""
        if choice.deleted:
            self._bound()._editing.commit([Delete(self.field_name)])
        else:
            self.set(choice.value)
