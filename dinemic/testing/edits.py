"""Random values, and random edits of whatever fields a model declares."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any, Final
from weakref import WeakKeyDictionary

from dinemic.collections import DCounter, DDict, DSet
from dinemic.fields import DField
from dinemic.lists import DList
from dinemic.models import DModel
from dinemic_engine.canonical import Value

_WORDS: Final = ("", "Ada", "Eve", "x" * 40, "\N{SNOWMAN}", "a\nb")
_KEYS: Final = ("a", "b", "key c")

_VERBS: Final[dict[type, tuple[str, ...]]] = {
    DField: ("set", "set", "set", "delete"),
    DList: ("append", "append", "insert", "set", "delete", "extend"),
    DDict: ("set", "set", "delete"),
    DCounter: ("add",),
    DSet: ("add", "add", "discard"),
}


_known: Final[WeakKeyDictionary[type[DModel], list[tuple[str, type]]]] = WeakKeyDictionary()


def draw_value(rng: Random, depth: int = 2) -> Value:
    """A value that a field can hold (EV-6), simple ones more often."""
    match rng.randrange(9 if depth else 7):
        case 0:
            return None
        case 1:
            return rng.random() < 0.5
        case 2 | 3:
            return rng.choice((0, 1, -1, rng.randint(-(1 << 63), (1 << 63) - 1)))
        case 4:
            return rng.choice((0.5, -1.25, 1e300))
        case 5:
            return rng.randbytes(rng.randrange(12))
        case 6:
            return rng.choice(_WORDS)
        case 7:
            return [draw_value(rng, depth - 1) for _ in range(rng.randrange(3))]
        case _:
            return {key: draw_value(rng, depth - 1) for key in _KEYS[: rng.randrange(3)]}


@dataclass(frozen=True, slots=True)
class Edit:
    """One edit of one field of a model, whatever is in that field when it is applied."""

    field: str
    """The attribute of the model."""
    verb: str
    """The method called."""
    value: Any = None
    key: str = ""
    place: float = 0.0
    """Where in a list, as a share of its length below 1."""

    def apply(self, handle: DModel) -> None:
        """Make the edit through a handle; nothing if it would delete from an empty list.

        Raises:
            DinemicError: what the edit raises by hand.
        """
        field = getattr(handle, self.field)
        edit = getattr(field, self.verb)
        match field:
            case DList():
                length = field.length() + (self.verb == "insert")
                at = int(self.place * length)
                if self.verb in ("append", "extend"):
                    edit(self.value)
                elif self.verb == "delete" and length:
                    edit(at)
                elif self.verb == "insert" or (self.verb == "set" and length):
                    edit(at, self.value)
            case DDict():
                edit(*(self.key,) if self.verb == "delete" else (self.key, self.value))
            case _:
                edit(*() if self.verb == "delete" else (self.value,))


def draw_edit(model: type[DModel], rng: Random) -> Edit:
    """An edit of one of the fields that `model` declares.

    Raises:
        ValueError: it declares none.
    """
    name, kind = rng.choice(_fields(model))
    verb = rng.choice(_VERBS[kind])
    value: Any = draw_value(rng)
    if kind is DCounter:
        value = rng.choice((1, 2, -3, 1 << 40))
    elif verb == "extend":
        value = [draw_value(rng, 1) for _ in range(rng.randint(1, 4))]
    elif kind is DSet:
        value = rng.choice(_WORDS)
    return Edit(name, verb, value, rng.choice(_KEYS), rng.random())


def _fields(model: type[DModel]) -> list[tuple[str, type]]:
    """(attribute, kind) of the fields that a model declares, sorted."""
    known = _known.get(model)
    if known is not None:
        return known
    found = {
        name: kind
        for base in reversed(model.__mro__)
        for name, field in vars(base).items()
        for kind in _VERBS
        if isinstance(field, kind)
    }
    if not found:
        raise ValueError(f"{model.__name__} declares no field: give the actions to try")
    _known[model] = sorted(found.items())
    return _known[model]
