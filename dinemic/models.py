"""Models: classes whose instances are handles on signed objects that live on every node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Final, NamedTuple, Self

from dinemic import queries, running
from dinemic.declarations import AccessPolicy, fields_of, in_words, is_open, policy_of, rules_of
from dinemic.editing import Editing
from dinemic.fields import DECLARED, Access, Because, Bound, Conflict, Default, DField
from dinemic.sealer import SUITES, Sealing
from dinemic_engine import canonical
from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.edits import check_field_name
from dinemic_engine.errors import InvalidEvent, Reason, UpdateRejected, UsageError
from dinemic_engine.ids import (
    AuthorId,
    EventId,
    ObjectId,
    db_id,
    from_text_untrusted,
    is_model_name,
    parse_db_id_untrusted,
    short,
    to_text,
)
from dinemic_engine.ops import ADMIN, READ, UPDATE, Op, Policy, Remove, Revoke, SetPolicy
from dinemic_engine.readers import Having
from dinemic_engine.types import register
from dinemic_engine.view import View

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
    """``authorized``, ``unauthorized`` (an open rule let a stranger in) or ``void`` (no effect).

    ``vetoed`` and ``waiting``: no effect on this node, whose guards refused it or have not seen it.
    """
    rule: str
    """Why it has no effect, beginning with the rule's name, or empty."""


class Reader(NamedTuple):
    """Somebody who was given the key of a sealed value."""

    object_id: str
    """The full id; without the model if the object is not known here. By its grant's word."""
    key: str
    """Its public signing key, base32."""
    how: str
    """``recipient``; ``maker``: sealed it for others and so had it, as writers who may not read."""
    event_id: str
    """The first event that gave it the key."""
    t: int
    """Microseconds since the Unix epoch."""


class DModel:
    """A signed object of the model named like the class.

    ``Person([])`` makes a new object owned here; ``Person([id, ...])`` lets those objects read and
    update it. ``Person(db_id)`` and ``Person(db_id, caller_id)`` are handles on an existing one;
    the caller, an object whose key is here, signs what the handle writes and opens what it reads.
    ``class Person(DModel, access="open")`` lets anybody change fields of its objects;
    ``sealing="hybrid"`` seals encrypted fields so that a quantum computer does not open them, for
    readers whose models are declared so too.
    """

    _access: ClassVar[Access] = "closed"
    _sealing: ClassVar[Sealing] = "x25519"

    def __init_subclass__(
        cls, *, access: Access | None = None, sealing: Sealing | None = None, **options: Any
    ) -> None:
        """Check what was declared; access and sealing are those of the base if not given."""
        super().__init_subclass__(**options)
        if sealing is not None:
            if sealing not in SUITES:
                raise ValueError(f"sealing is 'x25519' or 'hybrid', not {sealing!r}")
            cls._sealing = sealing
        if access is not None:
            is_open(access)
            cls._access = access
        cls._declared()

    @classmethod
    def _declared(cls) -> dict[str, Bound]:
        return fields_of(cls, DModel)

    @classmethod
    def _rules(cls) -> dict[str, bool]:
        return rules_of(cls.__name__, cls._declared().values())

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
            policy = policy_of(self._access, self._rules())
            self._caller = None
            try:
                suite = SUITES[self._sealing]
                self._object_id = self._node.create(model, policy, granted, suite)
            except InvalidEvent as error:
                raise ValueError(str(error)) from error
        self._editing = Editing(self._node, self._object_id, self._caller)

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

    @contextmanager
    def transaction(self) -> Iterator[Self]:
        """As `dinemic.transaction`."""
        with self._editing.transaction():
            yield self

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
        """Whether the object is here: known, not removed, and not refused by a guard here."""
        found = self._view.find(self._object_id)
        return found is not None and found[1].is_there

    def get_public_sign_key(self) -> str:
        """The object's public Ed25519 key, base32.

        Raises:
            UnknownObject: the object is not known here.
        """
        return to_text(self._view.need(self._object_id)[1].owner)

    def get_public_encryption_key(self) -> str:
        """The object's public sealing key, base32: X25519, or with ML-KEM-768 if it is hybrid.

        Raises:
            UnknownObject: the object is not known here.
        """
        return to_text(self._view.need(self._object_id)[1].sealing)

    # -- fields by name -----------------------------------------------------------------------

    def _field(self, key: str) -> DField:
        """The declared field of that name, bound; a plain one for a name not declared."""
        declared = self._declared().get(f"{register.PREFIX}{key}")
        field = declared if isinstance(declared, DField) else DField(key)
        return field.__get__(self, type(self))

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
        shown = self._editing.shown.keys(self._object_id)
        return [stored.removeprefix(register.PREFIX) for stored in shown]

    def remove(self) -> None:
        """Remove the whole object, on every node."""
        self._editing.commit([Remove()])

    def conflicts(self, field: str) -> list[Conflict]:
        """As `DField.conflicts`, by name."""
        return self._field(field).conflicts()

    # -- sealing what is no field -------------------------------------------------------------

    def readers(self, field: str, at: str | int | None = None) -> list[Reader] | None:
        """Who could open a field's value, the owner first; None if it is not sealed: everybody.

        With `at`, an event id of this object or microseconds since the Unix epoch: the value it had
        in the eyes of that event's author, or by that time, and who had been given its key by then.
        Public data alone tells: that a key was sealed for somebody, not that it opened, nor whom
        a reader told. Empty if the field has no value.

        Raises:
            UnknownObject: the object is not known here, or `at` is an event that is not.
            ValueError: `at` is no event id.
        """
        when = EventId(from_text_untrusted(at)) if isinstance(at, str) else at
        stored = register.stored_key(field).decode()
        found = self._view.readers(self._object_id, stored, when)
        return None if found is None else [self._reader(each) for each in found]

    def _reader(self, found: Having) -> Reader:
        named = self._view.find(found.subject)
        return Reader(
            db_id(named[1].model, found.subject) if named else to_text(found.subject),
            to_text(found.author),
            "recipient" if found.recipient else "maker",
            to_text(found.event),
            found.t,
        )

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

    def append_read_authorized(self, object_id: str, history: bool = True) -> None:
        """Let that object open sealed values; without `history`, only those sealed from now on.

        History is what this handle can open itself. Nothing happens if it is a reader already; one
        that lacks keys, as of writers who had not seen the grant, is revoked and granted again.

        Raises:
            UpdateRejected: this handle may not grant that; nothing was made.
            UnknownObject, NotOwned, ValueError: as for `DField.set`; the other object's keys must
                be known here too.
        """
        self._authorize(object_id, READ, history)

    def append_update_authorized(self, object_id: str) -> None:
        """Let that object change fields; raises as `append_read_authorized`."""
        self._authorize(object_id, UPDATE)

    def append_admin_authorized(self, object_id: str) -> None:
        """Let that object grant reading and updating, and change fields; the owner only may."""
        self._authorize(object_id, ADMIN)

    def revoke_read_authorized(self, object_id: str) -> None:
        """No longer let that object open what is sealed from now on; nothing if it may not.

        What it could open once it can open for ever: no revocation takes a key back.

        Raises:
            UpdateRejected: this handle may not revoke that, or it is the owner's own right.
            UnknownObject, NotOwned, ValueError: as for `DField.set`.
        """
        self._revoke(object_id, READ)

    def revoke_update_authorized(self, object_id: str) -> None:
        """Void every change by that object which this node has not seen; nothing if it may not.

        An admin goes on changing fields: end that role too. Raises as `revoke_read_authorized`.
        """
        self._revoke(object_id, UPDATE)

    def revoke_admin_authorized(self, object_id: str) -> None:
        """Void all that object does as an admin and this node has not seen; the owner only may.

        Raises as `revoke_read_authorized`.
        """
        self._revoke(object_id, ADMIN)

    def get_access(self) -> AccessPolicy:
        """Who may change fields without a grant, as it is now.

        Raises:
            UnknownObject: the object is not known here.
        """
        return in_words(self._view.policy(self._object_id))

    def set_access(self, access: Access, fields: Mapping[str, Access] | None = None) -> None:
        """Open or close the object, and some fields otherwise; the owner only may (AUTH-5).

        A field that has a rule of its own, declared or set before, keeps it unless it is named.
        Closing voids what strangers wrote and this node has not seen. Nothing if nothing changes.

        Raises:
            UpdateRejected: this handle is not the owner's; nothing was made.
            ValueError: an access that is neither word, or a name no field can have.
            UnknownObject, NotOwned: as for `DField.set`.
        """
        now = self._view.policy(self._object_id)
        own = {*self._rules(), *(name for name, _ in now.fields)}
        rules = {name: now.opens(name) for name in own}
        try:
            for name, rule in (fields or {}).items():
                rules[check_field_name(name)] = is_open(rule)
        except InvalidEvent as error:
            raise ValueError(str(error)) from error
        policy = Policy(is_open(access), tuple(sorted(rules.items())))
        same = all(now.opens(name) == rule for name, rule in rules.items())
        if not (same and policy.is_open == now.is_open):
            self._editing.commit([SetPolicy(policy)])

    def _is_authorized(self, object_id: str, role: int) -> bool:
        subject = self._parse(object_id)
        view = self._view
        if view.find(self._object_id) is None:
            return False
        found = view.find(subject)
        if found is not None:
            return view.has_role(self._object_id, AuthorId(found[1].owner), role)
        return any(holder.subject == subject for holder in view.holders(self._object_id, role))

    def _authorize(self, object_id: str, role: int, history: bool = True) -> None:
        if self._is_authorized(object_id, role):
            return
        if self._editing.open is not None:
            raise UsageError("only fields are changed in a transaction: grant outside of it")
        found = self._view.find(self._object_id)  # if it is not here, `authorize` says so
        suite = SUITES[self._sealing] if found is None else found[1].suite
        grant = self._node.grant(self._parse(object_id), role, suite)
        try:
            self._node.authorize(self._object_id, grant, history, self._caller)
        except InvalidEvent as error:
            raise ValueError(str(error)) from error

    def _revoke(self, object_id: str, role: int) -> None:
        """End the role of every key that holds it in the name of that object."""
        subject = self._parse(object_id)
        view = self._view
        _, row = view.need(self._object_id)
        found = view.find(subject)
        key = found[1].owner if found is not None else b""
        if subject == self._object_id or key == row.owner:
            raise UpdateRejected(
                f"{short(subject)}... is the owner, whose rights cannot be revoked",
                by=Reason.OWNER_GRANT.rule,
                reason=f"{Reason.OWNER_GRANT.value}: the owner's rights are not given or taken",
            )
        # A grant only claims whose key it names: end what its claim shows, and the object's own.
        ops = [
            Revoke(role, holder.author)
            for holder in view.holders(self._object_id, role)
            if holder.subject == subject or holder.author == key
        ]
        if ops:
            self._editing.commit(ops)

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
                logged.verdict,
                logged.rule,
            )

    def why(self, field: str) -> list[Because]:
        """As `DField.why`, of a field by name.

        Raises:
            UnknownObject: the object is not known here.
            ValueError: not the name of a field.
        """
        return self._field(field).why()

    # -- all of a model -----------------------------------------------------------------------

    @classmethod
    def objects(cls, filter: str = "") -> Iterator[Self]:
        """Handles on the model's objects known here, by id; raises as `object_list`."""
        return queries.objects(cls, filter)

    @classmethod
    def where(cls, /, **fields: Value) -> Iterator[Self]:
        """Handles on the model's objects whose fields all have exactly these values, by id.

        ``Person.where(name="Bob")``; fields by the name of their attribute. Values are the same if
        their type is too: 1 is neither True nor 1.0. A field never written has its default. An
        encrypted field is compared where the object's key is here. Of the moment of the call;
        edits of a transaction that is open are not seen. See `dinemic.queries` for what it costs.

        Raises:
            ValueError: no such `DField`, or no value a field can hold.
        """
        return queries.where(cls, fields)

    def __eq__(self, other: object) -> bool:
        return self._object_id == other._object_id if isinstance(other, DModel) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._object_id)

    def __repr__(self) -> str:
        caller = f" as {short(self._caller)}..." if self._caller else ""
        return f"<{self.get_model()} {short(self._object_id)}...{caller}>"
