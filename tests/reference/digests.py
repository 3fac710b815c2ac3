"""What nodes compare: the shared digest of an object (VETO-4), fingerprint and heads (REC-2)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from reference.objects import Item, Object
from reference.spelling import write


def sha(*parts: bytes) -> bytes:
    """SHA-256 of parts one after another."""
    return hashlib.sha256(b"".join(parts)).digest()


def digest(obj: Object) -> bytes:
    """The shared digest of an object."""
    return sha(b"dinemic/digest/1", *map(write, items(obj)))


def digest_of_all(objects: Iterable[Object]) -> bytes:
    """The digest of a whole node."""
    ascending = sorted(objects, key=lambda obj: obj.id)
    return sha(b"dinemic/digests/1", *(part for obj in ascending for part in (obj.id, digest(obj))))


def items(obj: Object) -> Iterator[object]:
    """What the shared digest is of. Nothing is visible in the fields of a removed object."""
    removed = b"" if obj.removal is None else obj.removal.t.to_bytes(8, "big") + obj.removal.id
    yield [obj.id, obj.heads, removed]
    for stored, register in obj.registers.items():
        if register.is_visible:
            first = register.writes[0]
            place = [first.event.id, first.position]
            yield [stored.encode(), *place, write(register.value)]
    for stored, elements in obj.lists.items():
        yield from _of_list(stored.encode(), elements)
    for stored, keys in obj.dicts.items():
        for key, register in keys.items():
            if register.is_visible:
                first = register.writes[0]
                place = [first.event.id, first.position]
                yield [stored.encode(), key.encode(), *place, write(register.value)]
    for stored, counter in obj.counters.items():
        if counter.adds:
            yield [stored.encode(), len(counter.adds), str(sum(counter.adds))]
    for stored, counter in obj.counters.items():
        for add in counter.sealed:
            yield [stored.encode(), add.event.id, add.position]
    for stored, members in obj.sets.items():
        for hashed, adds in sorted((sha(value), adds) for value, adds in members.items()):
            for event_id, at in sorted((add.event.id, add.position) for add in adds):
                yield [stored.encode(), hashed, event_id, at]
    for (role, signing), grant in obj.holders.items():
        _, _, subject, _, (suite, sealing) = grant.op
        yield [role, signing, subject, suite, sealing]
    yield obj.policy
    for commit, epochs in obj.epochs.items():
        t, event_id, at = epochs[0].key
        made = t.to_bytes(8, "big") + event_id + at.to_bytes(2, "big")
        recipients = (int.from_bytes(sha(who), "big") for who in obj.recipients(commit))
        yield [made, commit + (sum(recipients) % 2**256).to_bytes(32, "big")]


def _of_list(stored: bytes, elements: list[Item]) -> Iterator[object]:
    """Elements of one insert that stand side by side, and behind them the LIST_SETs on them."""
    at = 0
    while at < len(elements):
        first = elements[at].element
        count = 1
        while at + count < len(elements) and elements[at + count].element == first._replace(
            at=first.at + count
        ):
            count += 1
        yield [stored, first.event, first.op, first.at, count]
        for item in elements[at : at + count]:
            if item.writes is not None:
                last = item.writes.writes[0]
                yield [*item.element, last.event.id, last.position]
        at += count


def fingerprint(ids: Iterable[bytes], name: bytes = b"dinemic/fp/1") -> tuple[int, bytes]:
    """(count, wire form) of a set of events (REC-2)."""
    hashes = [int.from_bytes(sha(name, each), "big") for each in set(ids)]
    total = (sum(hashes) % 2**256).to_bytes(32, "big")
    return len(hashes), sha(len(hashes).to_bytes(8, "big"), total)[:16]


def heads_digest(objects: Iterable[Object]) -> tuple[int, bytes]:
    """(count, wire form) of the heads of objects (REC-2)."""
    return fingerprint((head for obj in objects for head in obj.heads), b"dinemic/heads/1")
