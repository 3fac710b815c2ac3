"""What an audit finds, in words: each wrong row by its kind, its object and its event.

A finding never repeats text of the store that has not been checked; such bytes are shown as hex.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from dinemic_engine.ids import EventId, ObjectId, short
from dinemic_engine.store import layout

WORDS: Final = {
    "m": "meta",
    "L": "arrival",
    "E": "event",
    "I": "place",
    "T": "range",
    "F": "fingerprint",
    "f": "block",
    "o": "block",
    "M": "model",
    "O": "number",
    "N": "object",
    "B": "listing",
    "H": "heads",
    "C": "chains",
    "V": "vector",
    "J": "chain",
    "U": "tail",
    "R": "register",
    "W": "write",
    "X": "removal",
    "G": "grant",
    "K": "revocation",
    "k": "revocation by chain",
    "Y": "policy",
    "D": "holder",
    "P": "epoch",
    "Q": "epoch key",
    "A": "doubt",
    "c": "index",
    "q": "index",
    "v": "veto",
    "w": "waiting",
    "y": "void write",
    "Z": "effective epoch",
    "S": "sealing",
    "r": "dict entry",
    "s": "dict write",
    "t": "tally",
    "u": "sealed add",
    "x": "add",
    "z": "member",
    "d": "list node",
    "b": "list run",
    "i": "list siblings",
    "e": "list element",
    "h": "list write",
    "l": "listener",
    "n": "delivery",
}
"""What a `Finding` calls a row, by the letter its key begins with."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as the events say it must be."""

    kind: str
    """One of `WORDS`' words, or ``order``, ``stray``."""
    object: ObjectId | None
    event: EventId | None
    detail: str


@dataclass(slots=True)
class Findings:
    """What was found so far, in the order it was found."""

    found: list[Finding] = field(default_factory=list)

    def add(
        self,
        kind: str,
        detail: str,
        object_id: ObjectId | None = None,
        event_id: bytes | None = None,
    ) -> None:
        """Note one thing."""
        event = EventId(event_id) if event_id is not None else None
        self.found.append(Finding(kind, object_id, event, detail))

    def compare(
        self, key: bytes, value: bytes | None, expected: bytes | None, object_id: ObjectId | None
    ) -> None:
        """Note that the row at `key` is not what it should be, if so; None: no row."""
        if value == expected:
            return
        if value is None:
            fault = "is missing"
        elif expected is None:
            fault = "follows from no event"
        else:
            fault = "is not what the events make it"
        self.add(WORDS[chr(key[0])], f"{name_of(key)} {fault}", object_id, _event_of(key, expected))


def _event_of(key: bytes, expected: bytes | None) -> bytes | None:
    """The event a row is about, where its key or expected value tells."""
    match key[:1]:
        case b"I":
            return key[1:]
        case b"T":
            return key[13:]
        case (
            b"W" | b"G" | b"K" | b"Y" | b"P" | b"Q" | b"Z" | b"y" | b"s" | b"u" | b"x" | b"z" | b"h"
        ):
            return key[-34:-2]
        case b"X" | b"v" | b"w":
            return key[-32:]
        case b"k" if expected is not None:
            return expected[-34:-2]
        case b"J" if expected is not None:
            return layout.unpack_order(expected)[1]
        case b"R" | b"r" | b"e" if expected is not None:
            return layout.unpack_written(expected).id
        case _:
            return None


def name_of(key: bytes) -> str:
    """A row in words; what is no key of ours is shown as hex, so no text of its author is."""
    match key[:1]:
        case b"R" | b"t":
            name = key[5:]
        case b"r" | b"s" | b"u" | b"x" | b"z" | b"d" | b"b" | b"i" | b"e" | b"h":
            name = key[5:].partition(b"\0")[0]
        case b"W" | b"y":
            name = key[5:-43]
        case b"M" | b"c":
            name = key[1:].replace(b"\0", b".")
        case b"B":
            name = key[1:-33]
        case b"C" | b"G" | b"K" | b"P" | b"Q":
            return f"that of {short(key[5:37])}"
        case b"D":
            return f"that of {short(key[6:38])}"
        case b"Y" | b"Z":
            return f"that of {short(key[-34:-2])}"
        case b"X" | b"v" | b"w":
            return f"that of {short(key[-32:])}"
        case b"U":
            return f"chain {int.from_bytes(key[5:9], 'big')}"
        case b"V" | b"J" | b"k":
            chain, seq = int.from_bytes(key[5:9], "big"), int.from_bytes(key[9:17], "big")
            return f"chain {chain}, seq {seq}"
        case b"I" | b"O":
            return f"that of {short(key[1:])}"
        case b"T":
            return f"that of {short(key[13:])}"
        case _:
            return "the row"
    text = name.decode("ascii", "replace")
    return text if text.isascii() and text.isprintable() else hex_of(key)


def hex_of(key: bytes) -> str:
    """Bytes that are no key of ours, or only part of one."""
    return f"0x{key[:48].hex()}"
