"""Events signed together with others (EV-10), accepted ones and refused ones; make_events.py."""

from __future__ import annotations

from collections.abc import Sequence

import cbor2

from support.event_bytes import (
    BOARD,
    NOTE,
    PERSON,
    SET,
    UPDATE,
    Actor,
    T,
    bstr,
    chief,
    clerk,
    create,
    envelope,
    event,
    event_id,
    grant,
    note,
    owner,
    pay,
    person,
    sha,
    sig_structure,
    sign_root,
    together,
    tree,
)

Named = dict[str, tuple[bytes, str]]


# -- accepted --------------------------------------------------------------------------------------


def accepted_together() -> Named:
    """Name to (signed bytes, verdict when all are admitted), parents before children."""

    def write(by: Actor, obj: bytes, t: int, parents: Sequence[bytes], value: object) -> bytes:
        return event(by, obj, T + t, parents, [[SET, "line", value]])

    diary = event(owner, None, T, [], [create("Diary", owner, [False, {}]), grant(UPDATE, clerk)])
    page = event(owner, None, T + 9, [], [create("Page", owner, [False, {}])])
    diary_id, page_id = event_id(diary), event_id(page)
    left = write(owner, diary_id, 1, [diary_id], "left")
    right = write(owner, diary_id, 1, [diary_id], "right")
    merge = write(owner, diary_id, 2, [event_id(left), event_id(right)], "merged")
    eight = {
        "first of eight signed together, a genesis": diary,
        "second of eight signed together": left,
        "third of eight signed together": right,
        "fourth of eight signed together, a merge of two of them": merge,
        "fifth of eight signed together, the genesis of another object": page,
        "sixth of eight signed together": write(owner, page_id, 10, [page_id], 1),
        "seventh of eight signed together": write(owner, page_id, 11, [page_id], 2),
        "last of eight signed together": write(owner, diary_id, 3, [event_id(merge)], "end"),
    }
    head = event_id(eight["last of eight signed together"])
    two = {
        "one of two by a writer, signed together": write(clerk, diary_id, 4, [head], "in"),
        "the other of two by a writer, signed together": write(clerk, diary_id, 4, [head], "out"),
    }
    heads = [event_id(raw) for raw in two.values()]
    many = {
        "the first of 128 signed together": (0, write(owner, diary_id, 5, heads, 0)),
        "one in the middle of 128 signed together": (77, write(owner, diary_id, 5, heads, 77)),
        "the last of 128 signed together": (127, write(owner, diary_id, 5, heads, 127)),
    }
    leaves = [sha(b"vector/leaf/", bytes((at,))) for at in range(128)]  # events nobody shows
    for at, raw in many.values():
        leaves[at] = event_id(raw)
    root, paths = tree(leaves)
    signature = sign_root(owner, root)
    found = dict(zip(eight, together(owner, list(eight.values())), strict=True))
    found |= dict(zip(two, together(clerk, list(two.values())), strict=True))
    found |= {
        name: envelope(cbor2.loads(raw)[2], signature, paths[at])
        for name, (at, raw) in many.items()
    }
    return {name: (raw, "authorized") for name, raw in found.items()}


def again(accepted: Named) -> dict[str, bytes]:
    """Name of an accepted event to another envelope that is as good."""
    first, last = (
        "genesis of the smallest kind, at t = 0",
        "genesis with a rule for one field, a grant of each role and a field",
    )
    found = dict(zip((last, first), together(owner, [person, note]), strict=True))
    for name in ("first of eight signed together, a genesis", "last of eight signed together"):
        payload = cbor2.loads(accepted[name][0])[2]
        found[name] = envelope(payload, owner.signing.sign(sig_structure(payload)))
    moved = "third of eight signed together"
    _, found[moved] = together(owner, [person, accepted[moved][0]])
    return found


# -- refused ---------------------------------------------------------------------------------------


_ENVELOPE = b"\x84\x43\xa1\x01\x27"
"""Its beginning, up to the unprotected header."""


class Four:
    """Four events of one author, and all there is to say of the third of them."""

    def __init__(self) -> None:
        raws = [event(owner, PERSON, T + 1, [PERSON], [[SET, "n", at]]) for at in range(4)]
        self.payloads: list[bytes] = [cbor2.loads(raw)[2] for raw in raws]
        self.payload = self.payloads[2]
        self.own: bytes = cbor2.loads(raws[2])[3]
        self.ids = [event_id(raw) for raw in raws]
        self.root, self.paths = tree(self.ids)
        self.path = self.paths[2]
        self.signature = sign_root(owner, self.root)
        self.good = envelope(self.payload, self.signature, self.path)

    def signed(self, path: bytes, root: bytes | None = None) -> bytes:
        """The third event with another path, and the signature of another root."""
        signature = self.signature if root is None else sign_root(owner, root)
        return envelope(self.payload, signature, path)

    def under(self, unprotected: bytes) -> bytes:
        """The third event, with its signature, with these bytes for an unprotected header."""
        return _ENVELOPE + unprotected + bstr(self.payload) + bstr(self.signature)

    def alone_under(self, unprotected: bytes) -> bytes:
        """The same with the event's own signature."""
        return _ENVELOPE + unprotected + bstr(self.payload) + bstr(self.own)


def refused_together() -> dict[str, tuple[str, bytes]]:
    """Name to (reason, bytes): refused by its bytes alone, for one reason."""
    why, bad = "EV-1/envelope", "EV-9/signature"
    found = {name: (why, raw) for name, raw in _no_envelope(Four()).items()}
    found |= {name: (bad, raw) for name, raw in _not_signed(Four()).items()}
    return found | _refused_inside()


def _no_envelope(four: Four) -> dict[str, bytes]:
    """Neither form of the envelope."""
    label, path, spelled = b"\x3a\x00\x01\x00\x00", four.path, bstr(four.path)
    alone, sibling = four.ids[2], four.ids[3]
    most, ways = tree([alone, *(sha(bytes((at,))) for at in range(255))])
    seven, under_seven = tree([alone, *(sha(bytes((at,))) for at in range(127))])
    pair = sha(b"\x01", alone, sibling)
    in_protected = b"\xa2\x01\x27" + label + spelled
    return {
        "a path of no bytes": four.signed(b"", alone),
        "a path of a position alone": four.signed(b"\0", alone),
        "a path of 32 bytes": four.signed(path[:32]),
        "a path of 34 bytes": four.signed(path[:34]),
        "a path of 64 bytes": four.signed(path[:-1]),
        "a path of 66 bytes": four.signed(path + b"\0"),
        "a path of eight hashes": four.signed(ways[0], most),
        "a path at position 2 of 2": four.signed(b"\2" + sibling, pair),
        "a path at position 128 of 128": four.signed(b"\x80" + under_seven[0][1:], seven),
        "a path at position 254 of 4": four.signed(b"\xfe" + path[1:]),
        "a path in text": four.under(b"\xa1" + label + b"\x78" + spelled[1:]),
        "a path in an array": four.under(b"\xa1" + label + b"\x81" + spelled),
        "a path that is null": four.under(b"\xa1" + label + b"\xf6"),
        "a path length in more bytes than it needs": four.under(
            b"\xa1" + label + b"\x59" + len(path).to_bytes(2, "big") + path
        ),
        "a path of indefinite length": four.under(b"\xa1" + label + b"\x5f" + spelled + b"\xff"),
        "a path longer than the bytes there are": four.under(b"\xa1" + label + b"\x58\xe1" + path)[
            :200
        ],
        "a path under the label -65536": four.under(b"\xa1\x39\xff\xff" + spelled),
        "a path under the label -65538": four.under(b"\xa1\x3a\x00\x01\x00\x01" + spelled),
        "a path under the label 65536": four.under(b"\xa1\x1a\x00\x01\x00\x00" + spelled),
        "a path under a label in more bytes than it needs": four.under(
            b"\xa1\x3b\x00\x00\x00\x00\x00\x01\x00\x00" + spelled
        ),
        "a path and another header before it": four.under(b"\xa2\x04\x41\0" + label + spelled),
        "a path and another header behind it": four.under(
            b"\xa2" + label + spelled + b"\x3a\x00\x01\x00\x01\xf6"
        ),
        "a path twice": four.under(b"\xa2" + 2 * (label + spelled)),
        "a path in a map of indefinite length": four.under(b"\xbf" + label + spelled + b"\xff"),
        "a path in a map whose size has more bytes than it needs": four.under(
            b"\xb8\x01" + label + spelled
        ),
        "a path in the protected header": b"\x84"
        + bstr(in_protected)
        + b"\xa0"
        + bstr(four.payload)
        + bstr(four.signature),
        "an empty unprotected header whose size has more bytes than it needs": four.alone_under(
            b"\xb8\x00"
        ),
        "an empty unprotected header of indefinite length": four.alone_under(b"\xbf\xff"),
        "a path that is another header's": four.alone_under(b"\xa1\x04" + spelled),
        "the tagged form, signed together": b"\xd2" + four.good,
        "a byte after an event signed together": four.good + b"\0",
        "an event signed together, cut short by a byte": four.good[:-1],
        "an event signed together, cut short behind its path": four.good[: 13 + len(path)],
        "an event signed together, cut short before its path": four.good[:13],
        "a payload of one byte, signed together": envelope(b"\x80", four.signature, path),
        "a signature of 63 bytes of a root": envelope(four.payload, four.signature[1:], path),
    }


def _not_signed(four: Four) -> dict[str, bytes]:
    """The signature is not the author's, of the root the path leads to."""
    alone, sibling, path = four.ids[2], four.ids[3], four.path
    ids, signing = four.ids, owner.signing

    def hashed(prefix: bytes, *leaves: bytes) -> bytes:
        """The root if a node were hashed otherwise."""
        left, right = sha(prefix, leaves[0], leaves[1]), sha(prefix, leaves[2], leaves[3])
        return sha(prefix, left, right)

    def by_root(signature: bytes) -> bytes:
        return envelope(four.payload, signature, path)

    return {
        "a path of another event of the batch": four.signed(four.paths[1]),
        "a path of the event beside it": four.signed(four.paths[3]),
        "a position with a bit flipped": four.signed(bytes((path[0] ^ 1,)) + path[1:]),
        "a position with its highest bit flipped": four.signed(bytes((path[0] ^ 2,)) + path[1:]),
        "a position whose bits are read from the other end": four.signed(b"\1" + path[1:]),
        "a nearest sibling with a bit flipped": four.signed(
            path[:1] + bytes((path[1] ^ 1,)) + path[2:]
        ),
        "a farthest sibling with a bit flipped": four.signed(path[:-1] + bytes((path[-1] ^ 1,))),
        "siblings in the order of the root down": four.signed(path[:1] + path[33:] + path[1:33]),
        "a path that ends below the root": four.signed(b"\0" + path[1:33]),
        "a path that goes on above the root": four.signed(path + sha(b"above")),
        "a path of another batch": four.signed(
            tree([alone, NOTE, PERSON, BOARD])[1][0],
        ),
        "a signature of a root with one bit changed": four.good[:-1] + bytes((four.good[-1] ^ 1,)),
        "a signature of a root by another key": by_root(sign_root(chief, four.root)),
        "a signature of a root without its context": by_root(signing.sign(four.root)),
        "a signature of a root in the context of an event": by_root(
            signing.sign(sig_structure(four.root))
        ),
        "a signature of a root with another context": by_root(
            signing.sign(sig_structure(four.root, b"dinemic/batch/2"))
        ),
        "a signature of a root of nodes hashed without their first byte": by_root(
            sign_root(owner, hashed(b"", *ids))
        ),
        "a signature of a root of nodes hashed with another first byte": by_root(
            sign_root(owner, hashed(b"\0", *ids))
        ),
        "a signature of a root of leaves hashed again": by_root(
            sign_root(owner, hashed(b"\1", *(sha(b"\0", leaf) for leaf in ids)))
        ),
        "a signature of a root of nodes whose right comes first": by_root(
            sign_root(owner, sha(b"\1", sha(b"\1", sibling, alone), sha(b"\1", ids[1], ids[0])))
        ),
        "a signature of the event's own, beside a path": by_root(four.own),
        "a signature of the event's own in the context of a batch": by_root(
            signing.sign(sig_structure(four.payload, b"dinemic/batch/1"))
        ),
        "a signature of a root, without the path": envelope(four.payload, four.signature),
        "a signature of the event's own in the context of a batch, without a path": envelope(
            four.payload, signing.sign(sig_structure(four.payload, b"dinemic/batch/1"))
        ),
        "an event of another author among the owner's": together(
            owner,
            [event(clerk, PERSON, T + 1, [PERSON], [[SET, "n", 0]]), note],
        )[0],
    }


def _refused_inside() -> dict[str, tuple[str, bytes]]:
    """What is in it is refused as in an event signed alone."""

    def beside_others(payload: bytes) -> bytes:
        root, paths = tree([sha(sig_structure(payload)), NOTE])
        return envelope(payload, sign_root(owner, root), paths[0])

    small = cbor2.dumps([1, PERSON, bytes(32), T + 1, [PERSON], [[SET, "n", 0]]])
    return {
        "version 2, signed together": (
            "EV-3/version",
            beside_others(cbor2.dumps([2, PERSON, owner.public, T + 1, [PERSON], []])),
        ),
        "no ops, signed together": (
            "EV-3/shape",
            beside_others(pay(PERSON, owner, T + 1, [PERSON], [])),
        ),
        "an author key of small order, signed together": ("EV-9/key", beside_others(small)),
    }
