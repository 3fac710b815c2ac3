"""T0, the inside of a payload: what section 1 says of the shape of ops, names, limits and keys.

Every rule that is broken is noted, and looking goes on beside it.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from reference.keys import is_sealing_key, is_signing_key
from reference.spelling import COUNT, VALUE, Sealed, Value


class Op(enum.IntEnum):
    """The first element of an op."""

    CREATE = 1
    SET = 2
    DELETE = 3
    LIST_INSERT = 4
    LIST_SET = 5
    LIST_DELETE = 6
    DICT_SET = 7
    DICT_DELETE = 8
    COUNTER_ADD = 9
    SET_ADD = 10
    SET_REMOVE = 11
    GRANT = 12
    REVOKE = 13
    POLICY = 14
    EPOCH = 15
    REMOVE = 16


READ, UPDATE, ADMIN = 1, 2, 3
EDITS: Final = range(Op.SET, Op.SET_REMOVE + 1)

OpArray: TypeAlias = list[Any]
"""An op as it is in the payload, of the shape section 1 gives its number."""

SHAPE: Final = "EV-3/shape"
PARENTS: Final = "EV-3/parents"
NAME: Final = "EV-7/name"

_FIELD: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_MODEL: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


@dataclass
class Shapes:
    """Gathers what is wrong with the parts of a payload (EV-3, EV-5, EV-7, EV-9)."""

    broken: set[str] = field(default_factory=set)

    def need(self, fact: bool, rule: str = SHAPE) -> bool:
        """Note a broken rule, unless all is well; whether it is."""
        if not fact:
            self.broken.add(rule)
        return fact

    def payload(self, obj: Any, author: Any, t: Any, parents: Any, ops: Any) -> None:
        """EV-3 to EV-5, in all but the signature."""
        self.need(obj is None or _is_bytes(obj, 32))
        self.need(_is_bytes(author, 32))
        self.need(_is_int(t, 0), "EV-3/time")
        self.need(isinstance(parents, list) and _are_ascending_ids(parents), PARENTS)
        if isinstance(parents, list):
            self.need(len(parents) <= 16, COUNT)
            self.need(bool(parents) or obj is None, PARENTS)
            self.need(not parents or obj is not None, "EV-5/genesis")
        if isinstance(ops, list) and ops:
            self.need(len(ops) <= 4096, COUNT)
            for op in ops:
                self.op(op)
            self.together([op for op in ops if _is_op(op)], obj is None)
        else:
            self.need(False)

    def together(self, ops: list[OpArray], is_genesis: bool) -> None:
        """What the ops of one event may be beside each other."""
        kinds = [op[0] for op in ops]
        self.need(kinds.count(Op.POLICY) <= 1)
        commits = [op[2] for op in ops if op[0] == Op.EPOCH and len(op) > 2]
        self.need(all(commits.count(commit) == 1 for commit in commits))
        if is_genesis:
            self.need(kinds[:1] == [Op.CREATE], "EV-5/genesis")
            self.need(set(kinds[1:]) <= {Op.GRANT, Op.SET}, "EV-5/genesis")
            sealed = any(isinstance(part, Sealed) for op in ops for part in op)
            self.need(not sealed, "EV-5/genesis")
        else:
            self.need(Op.CREATE not in kinds, "EV-5/genesis")

    def op(self, op: Any) -> None:
        """One op, element by element."""
        match op if _is_op(op) else None:
            case [Op.CREATE, model, key, policy]:
                self.need(isinstance(model, str) and bool(_MODEL.fullmatch(model)), NAME)
                self.sealing_key(key)
                self.policy(policy)
            case [Op.SET | Op.SET_ADD, name, value]:
                self.field(name)
                self.value(value)
            case [Op.DELETE, name]:
                self.field(name)
            case [Op.LIST_INSERT, name, parent, right, count, values]:
                self.field(name)
                self.need(isinstance(right, bool))
                self.need(right is True if parent is None else _is_element(parent))
                if self.need(_is_int(count, 1, 65536)):
                    self.inserted(values, count)
            case [Op.LIST_SET, name, element, value]:
                self.field(name)
                self.need(_is_element(element))
                self.value(value)
            case [Op.LIST_DELETE, name, spans]:
                self.field(name)
                for span in self.some(spans):
                    self.need(
                        isinstance(span, list)
                        and _is_element(span[:-1])
                        and _is_int(span[3], 1, 65536 - span[2])
                    )
            case [Op.DICT_SET, name, key, value]:
                self.field(name)
                self.key(key)
                self.value(value)
            case [Op.DICT_DELETE, name, key]:
                self.field(name)
                self.key(key)
            case [Op.COUNTER_ADD, name, amount]:
                self.field(name)
                self.need(isinstance(amount, Sealed) or type(amount) is int)
            case [Op.SET_REMOVE, name, adds]:
                self.field(name)
                for add in self.some(adds):
                    self.need(isinstance(add, list) and _is_element([*add, 0]))
            case [Op.GRANT, role, subject, signing, sealing]:
                self.need(_is_int(role, READ, ADMIN) and _is_bytes(subject, 32))
                if self.need(isinstance(signing, bytes)):
                    self.need(is_signing_key(signing), "EV-9/key")
                self.sealing_key(sealing)
            case [Op.REVOKE, role, signing]:
                self.need(_is_int(role, READ, ADMIN) and _is_bytes(signing, 32))
            case [Op.POLICY, policy]:
                self.policy(policy)
            case [Op.EPOCH, suite, commit, recipients]:
                if self.need(_is_int(suite, 1, 2) and _is_bytes(commit, 32)):
                    self.recipients(recipients, suite)
            case [Op.REMOVE]:
                pass
            case _:
                self.need(False)

    # -- parts of ops --

    def field(self, name: Any) -> None:
        """The name of a field (EV-7)."""
        self.need(isinstance(name, str) and bool(_FIELD.fullmatch(name)), NAME)

    def key(self, key: Any) -> None:
        """A key of a dict."""
        self.need(isinstance(key, str) and len(key.encode()) <= 512, NAME)

    def value(self, value: Value) -> None:
        """A sealed value stands alone (EV-6)."""
        self.need(isinstance(value, Sealed) or not _holds_sealed(value), VALUE)

    def inserted(self, values: Value, count: int) -> None:
        """As many values as are counted, or one sealed array that can be as many."""
        if isinstance(values, Sealed):
            self.need(len(values.ciphertext) >= count + 17)
        else:
            self.need(isinstance(values, list) and len(values) == count)
            self.need(not _holds_sealed(values), VALUE)

    def some(self, parts: Any, count_max: int = 4096) -> list[Any]:
        """The parts of an op, of which there is one or more."""
        if not self.need(isinstance(parts, list) and bool(parts)):
            return []
        self.need(len(parts) <= count_max, COUNT)
        return list(parts)

    def sealing_key(self, key: Any) -> None:
        """A suite and a public key of it."""
        match key:
            case [suite, bytes(number)] if _is_int(suite, 1, 2):
                self.need(is_sealing_key(suite, number), "EV-9/key")
            case _:
                self.need(False)

    def policy(self, policy: Any) -> None:
        """Its word, and the fields that are exceptions."""
        match policy:
            case [bool(), dict(fields)]:
                self.need(len(fields) <= 256, COUNT)
                for name, opens in fields.items():
                    self.field(name)
                    self.need(isinstance(opens, bool))
            case _:
                self.need(False)

    def recipients(self, recipients: Any, suite: int) -> None:
        """Of an EPOCH: [reader, sealed], ascending by reader."""
        size, count_max = {1: (80, 8192), 2: (1168, 800)}[suite]
        readers = []
        for pair in self.some(recipients, count_max):
            match pair:
                case [reader, sealed] if _is_bytes(reader, 32) and _is_bytes(sealed, size):
                    readers.append(reader)
                case _:
                    self.need(False)
        self.need(sorted(set(readers)) == readers)


def _are_ascending_ids(parents: list[Any]) -> bool:
    return all(_is_bytes(each, 32) for each in parents) and sorted(set(parents)) == parents


def _is_op(op: object) -> bool:
    return isinstance(op, list) and bool(op) and _is_int(op[0], 1, 16)


def _is_element(element: object) -> bool:
    """Whether it is [event, op, index]."""
    match element:
        case [event, op, index]:
            is_event = event is None or _is_bytes(event, 32)
            return is_event and _is_int(op, 0, 4095) and _is_int(index, 0, 65535)
    return False


def _is_bytes(value: object, size: int) -> bool:
    return isinstance(value, bytes) and len(value) == size


def _is_int(value: object, low: int, high: int = (1 << 63) - 1) -> bool:
    """Whether it is an integer, and `true` is none, in a range."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _holds_sealed(value: object) -> bool:
    match value:
        case Sealed():
            return True
        case list():
            return any(_holds_sealed(each) for each in value)
        case dict():
            return any(_holds_sealed(each) for each in value.values())
    return False
