"""Inputs that are nearly right: from a good one by small changes, where they hurt most.

Bytes are changed as bytes, and where they are a value of ours also as a tree, down into the byte
strings of it that are values themselves::

    envelope = [protected, {}, payload, signature]        take one node, and put another there
                                  |                       from the same tree, from another input,
                               [1, object, ..., ops]      or one that is often at a bound; or
                                                 |        leave it out, repeat it, nest it
                                              [[2, ...]]

So a change deep inside leaves the lengths around it right, and what judges the inside is reached.
All chance comes from a `random.Random`: one that hypothesis shrinks, or one the long run seeds.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import cbor2

from dinemic_engine import canonical
from dinemic_engine.errors import InvalidEvent

Tree: TypeAlias = Any
"""What cbor2 makes of bytes: more than a `canonical.Value`, for it may be wrong."""

STEPS_MAX: Final = 4
GROWTH_MAX: Final = 1 << 13
"""No input grows beyond its own size and so many bytes more."""

_NESTED: Final = 40

AT_A_BOUND: Final[tuple[Tree, ...]] = (
    *(None, True, False, 0, 1, -1, 2, 3, 16, 17, 23, 24, 255, 256, 65_535, 65_536),
    *((1 << 32) - 1, 1 << 32, (1 << 62), (1 << 63) - 1, 1 << 63, -(1 << 63), (1 << 64) - 1),
    *(1 << 64, -(1 << 64) - 1, 0.0, -0.0, 0.5, float("nan"), float("inf")),
    *(b"", b"x", bytes(16), bytes(32), b"\xff" * 32, b"\1" + bytes(31), bytes(64), bytes(1216)),
    *("", "*", "x", "Person", "x" * 128, "x" * 129, "\x00", "\u202e\n\x1b", "é", "e\u0301"),
    *([], {}, [[]], {"": None}, [None] * 33, cbor2.undefined, cbor2.CBORSimpleValue(99)),
    *(cbor2.CBORTag(16, [b"", {}, b""]), cbor2.CBORTag(2, b"\1"), cbor2.CBORTag(0, "now")),
)

RAW: Final = (
    *(b"\x00", b"\xff", b"\x80", b"\x7f", b"\x9f\xff", b"\xbf\xff", b"\x5f\x41x\xff", b"\xc2\x40"),
    *(b"\x1b" + b"\xff" * 8, b"\x9b" + b"\xff" * 8, b"\xbb" + b"\x7f" * 8, b"\x5b" + b"\xff" * 8),
    *(b"\x81" * 80, b"\xa1\x60" * 40, b"\xfb\x7f\xf8" + bytes(6), b"\xf9\x80\x00", b"\x00" * 16),
    *(
        b"[" * 64,
        b"\r\n",
        b":",
        b"@",
        b"=",
        b'"""',
        b"9" * 32,
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
    ),
)


def mutated(data: bytes, chance: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """`data` after one to four changes; some take parts of `others`."""
    room = len(data) + GROWTH_MAX
    for _ in range(chance.randint(1, STEPS_MAX)):
        data = _change(data, chance, others)[:room]
    return data


def _change(data: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    if chance.randrange(4):
        tree = _tree_of(data)
        if tree is not None:
            return _spelled(_regrown(tree, chance, others), chance)
    return _damaged(data, chance, others)


# -- as bytes -----------------------------------------------------------------------------------


def _damaged(data: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    at = chance.randint(0, len(data))
    end = min(len(data), at + chance.choice((1, 1, 2, 4, 8, 32)))
    match chance.randrange(7):
        case 0 if at < len(data):
            return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
        case 1 if at < len(data):
            return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
        case 2:
            return data[:at] + chance.choice(RAW) + data[end if chance.randrange(2) else at :]
        case 3:
            return data[:at] + data[end:]
        case 4:
            return data[:end] + data[at:]
        case 5 if others:
            other = chance.choice(others)
            return data[:at] + other[chance.randint(0, len(other)) :]
        case _:
            return data[:at]


# -- as a tree ----------------------------------------------------------------------------------


def _tree_of(data: bytes) -> Tree | None:
    """What `data` spells, None if it is no value of ours or a single one."""
    try:
        if canonical.scan_untrusted(data) != len(data):
            return None
        tree = cbor2.loads(data)
    except (InvalidEvent, cbor2.CBORError, ValueError, IndexError):
        return None
    return tree if isinstance(tree, list | dict) and tree else None


def _inside(node: Tree) -> Tree | None:
    """The tree in a byte string."""
    return _tree_of(node) if isinstance(node, bytes) else None


def _spelled(tree: Tree, chance: random.Random) -> bytes:
    return cbor2.dumps(tree, canonical=bool(chance.randrange(8)))


def _regrown(tree: Tree, chance: random.Random, others: Sequence[bytes]) -> Tree:
    """The tree with one node changed; the tree itself is changed too."""
    places = list(_places(tree))
    if not places:
        return [tree]
    if chance.randrange(4):
        inner = [(holder, key, _inside(holder[key])) for holder, key in places]
        inner = [found for found in inner if found[2] is not None]
        if inner:
            holder, key, inside = chance.choice(inner)
            holder[key] = _spelled(_regrown(inside, chance, others), chance)
            return tree
    holder, key = chance.choice(places)
    node = holder[key]
    match chance.randrange(8):
        case 0 | 1:
            holder[key] = chance.choice(AT_A_BOUND)
        case 2:
            holder[key] = _nearby(node, chance, others)
        case 3:
            other, there = chance.choice(places)
            holder[key] = _copied(other[there])
        case 4:
            donor = _tree_of(chance.choice(others)) if others else None
            found = list(_places(donor)) if donor is not None else []
            if found:
                other, there = chance.choice(found)
                holder[key] = other[there]
        case 5:
            del holder[key]
        case 6 if isinstance(holder, list):
            holder.insert(key, _copied(node))
        case 7 if isinstance(holder, list):
            other_key = chance.randrange(len(holder))
            holder[key], holder[other_key] = holder[other_key], holder[key]
        case _:
            for _ in range(chance.choice((1, 2, _NESTED))):
                node = [node]
            holder[key] = node
    return tree


def _nearby(node: Tree, chance: random.Random, others: Sequence[bytes]) -> Tree:
    """A leaf that is nearly the same."""
    match node:
        case bool():
            return not node
        case int():
            return node + chance.choice((1, -1, 256, -node, node))
        case float():
            return -node
        case str():
            return node[: chance.randint(0, len(node))] + chance.choice(("", "x", "*", ":", "\0"))
        case bytes():
            return _change(node, chance, others)
        case cbor2.CBORTag(tag=tag, value=value):
            return cbor2.CBORTag(tag, _nearby(value, chance, others))
        case _:
            return [node, node]


def _copied(node: Tree) -> Tree:
    """The same with lists and maps of its own, so that a change of one is none of the other."""
    match node:
        case list():
            return [_copied(each) for each in node]
        case dict():
            return {key: _copied(each) for key, each in node.items()}
    return node


def _places(tree: Tree) -> Sequence[tuple[Any, Any]]:
    """Every node but the root, as what holds it and where."""
    found: list[tuple[Any, Any]] = []
    open_nodes = [tree]
    while open_nodes:
        holder = open_nodes.pop()
        keys = range(len(holder)) if isinstance(holder, list) else list(holder)
        for key in keys:
            found.append((holder, key))
            if isinstance(holder[key], list | dict):
                open_nodes.append(holder[key])
    return found
