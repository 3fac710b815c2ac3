"""The order in which events arrived, and the proof that nothing fell out of its middle.

Every admitted event has an ``L`` row, numbered from 1, and the tip row counts them and chains a
hash over them::

    digest 0 = 0,  digest n = SHA-256(digest n-1 | L row n)          tip: n, digest n, and the same
                                                                          at the last flush: f
    L rows   1 ... f | f+1 ... n
          on disk    | a power cut may have taken these, also some and not others

At open the part behind f is walked: each ``L`` row and the event it names are there, and the hashes
lead to the tip's. So a hole that a power cut left in the middle is found and never passed off as a
shorter log. What a flush has confirmed is not read again: the store answers for that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from dinemic_engine.errors import InvalidEvent, StoreCorrupt
from dinemic_engine.event import open_envelope_untrusted
from dinemic_engine.store import Store, keyspace, layout
from dinemic_engine.store.layout import Tip


def extend(
    rows: dict[bytes, bytes | None], tip: Tip, arrivals: Iterable[bytes], flushed: tuple[int, bytes]
) -> Tip:
    """The tip after `arrivals`, values of ``L`` rows; it and they are put into `rows`.

    `flushed` are number and digest of what is on disk by now.
    """
    seq, digest = tip.seq, tip.digest
    for arrival in arrivals:
        seq += 1
        digest = hashlib.sha256(digest + arrival).digest()
        rows[keyspace.arrival_key(seq)] = arrival
    tip = Tip(seq, digest, *flushed, tip.objects, tip.models)
    rows[keyspace.TIP_KEY] = tip.pack()
    return tip


def check_tip(store: Store) -> Tip:
    """The tip row of a store, after walking the arrivals that no flush had confirmed.

    Writes the layout marker into an empty store.

    Raises:
        StoreCorrupt: another layout, or the arrivals do not lead to the tip.
    """
    marker = store.get(keyspace.FORMAT_KEY)
    value = store.get(keyspace.TIP_KEY)
    if marker is None:
        if value is not None or next(store.scan(b"", b"\xff"), None) is not None:
            raise StoreCorrupt("there are rows here, but no layout marker")
        store.write({keyspace.FORMAT_KEY: keyspace.LAYOUT})
        return layout.NOTHING
    if marker != keyspace.LAYOUT:
        raise StoreCorrupt(
            f"the store has layout {marker!r:.20}, this version reads {keyspace.LAYOUT!r}"
        )
    if value is None:
        if store.get(keyspace.arrival_key(1)) is not None:
            raise StoreCorrupt("there are events here, but no tip")
        return layout.NOTHING
    tip = layout.unpack_tip(value)
    if store.get(keyspace.arrival_key(tip.seq + 1)) is not None:
        raise StoreCorrupt(f"there are more events here than the {tip.seq} the tip counts")
    digest, expected = tip.flushed_digest, tip.flushed_seq + 1
    start, end = keyspace.arrival_key(expected), keyspace.arrival_key(tip.seq + 1)
    for key, arrival in store.scan(start, end):
        if key != keyspace.arrival_key(expected) or not _is_whole(store, arrival):
            break
        digest = hashlib.sha256(digest + arrival).digest()
        expected += 1
    if expected != tip.seq + 1 or digest != tip.digest:
        raise StoreCorrupt(
            f"{tip.seq} events were admitted, but number {expected} is missing or changed"
        )
    return tip


def _is_whole(store: Store, arrival: bytes) -> bool:
    """Whether the event an ``L`` row names is there, with the content of its id."""
    no, t, event_id = layout.unpack_arrival(arrival)
    raw = store.get(keyspace.event_key(no, t, event_id))
    if raw is None:
        return False
    try:
        return open_envelope_untrusted(raw).id == event_id
    except InvalidEvent:
        return False
