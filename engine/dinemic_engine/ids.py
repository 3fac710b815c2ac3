"""Identifiers: 32 raw bytes inside, text only at the edges.

An event id is the hash of what was signed (EV-2), an object id is the id of its genesis event
(EV-4) and an author id is an Ed25519 public key. Text form: lower-case base32 without padding,
52 characters; an object adds its model in front: ``Person:mfzwizltoq...``.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final, NewType

EventId = NewType("EventId", bytes)
ObjectId = NewType("ObjectId", bytes)
AuthorId = NewType("AuthorId", bytes)

ID_BYTES: Final = 32
ID_TEXT_LENGTH: Final = 52
_SHORT_LENGTH: Final = 10


def to_text(raw: bytes) -> str:
    """The 52-character text form of a 32-byte id."""
    return base64.b32encode(raw).decode("ascii").rstrip("=").lower()


def from_text_untrusted(text: str) -> bytes:
    """The 32 bytes behind a 52-character text form.

    Raises:
        ValueError: not exactly the text `to_text` would print; the message shows it.
    """
    if len(text) != ID_TEXT_LENGTH or not text.isascii():
        raise ValueError(f"not an id of {ID_TEXT_LENGTH} base32 characters: {text[:80]!r}")
    try:
        raw = base64.b32decode(text.upper() + "====")
    except binascii.Error:
        raise ValueError(f"not base32: {text!r}") from None
    if to_text(raw) != text:  # upper case, or unused trailing bits set: a second spelling
        raise ValueError(f"not the canonical spelling of an id: {text!r}")
    return raw


def db_id(model: str, object_id: bytes) -> str:
    """The full text id of an object, ``Model:base32``."""
    return f"{model}:{to_text(object_id)}"


def parse_db_id_untrusted(text: str) -> tuple[str, ObjectId]:
    """Split ``Model:base32`` into model name and object id.

    Raises:
        ValueError: no such form; the message shows the text.
    """
    model, colon, tail = text.partition(":")
    if not colon or not is_model_name(model):
        raise ValueError(f"not an object id of the form Model:id: {text[:120]!r}")
    return model, ObjectId(from_text_untrusted(tail))


def is_model_name(name: str) -> bool:
    """Whether `name` can name a model: an ASCII Python identifier of at most 128 bytes (EV-7)."""
    return name.isascii() and name.isidentifier() and len(name) <= 128


def short(full: bytes | str) -> str:
    """The first ten characters of an id, for logs and messages."""
    return (full if isinstance(full, str) else to_text(full))[:_SHORT_LENGTH]
