"""What dicts, counters and sets come to, from the list of effective ops: slow and obvious.

Knows the classes of ops and CBOR, and nothing else of the engine: no rows, no order of arrival.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from dinemic_engine.canonical import Sealed, Value, encode
from dinemic_engine.edits import CounterAdd, DictDelete, DictSet, SetAdd, SetRemove

Placed: TypeAlias = tuple[int, bytes, int, object]
"""(t, event, position, op) of an effective op."""


def dict_of(ops: Iterable[Placed], field: str) -> dict[str, Value]:
    """The keys of a dict with their values, in the order of the keys' UTF-8."""
    found: dict[str, Value] = {}
    for *_, op in sorted(ops, key=lambda placed: placed[:3]):
        if isinstance(op, DictSet) and op.field == field:
            found[op.key] = op.value
        elif isinstance(op, DictDelete) and op.field == field:
            found.pop(op.key, None)
    return dict(sorted(found.items(), key=lambda item: item[0].encode()))


def counter_of(ops: Iterable[Placed], field: str) -> tuple[int, list[Sealed]]:
    """The sum of the plain adds, and the sealed ones in order."""
    adds = [op.amount for *_, op in ops if isinstance(op, CounterAdd) and op.field == field]
    return (
        sum(amount for amount in adds if isinstance(amount, int)),
        [amount for amount in adds if isinstance(amount, Sealed)],
    )


def set_of(ops: Sequence[Placed], field: str) -> dict[bytes, set[tuple[bytes, int]]]:
    """The encoded values of a set, with the adds that keep them in."""
    named = {
        (made.event or event, made.op)
        for _, event, _, op in ops
        if isinstance(op, SetRemove) and op.field == field
        for made in op.adds
    }
    found: dict[bytes, set[tuple[bytes, int]]] = {}
    for _, event, index, op in ops:
        if isinstance(op, SetAdd) and op.field == field and (event, index) not in named:
            found.setdefault(encode(op.value), set()).add((event, index))
    return found
