"""Which epochs may be made and used, judged in a log (SEAL-2, SEAL-3, SEAL-4), in any order."""

from __future__ import annotations

import hashlib
import hmac
from itertools import permutations

import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from dinemic_engine import sealing
from dinemic_engine.canonical import Sealed
from dinemic_engine.edits import Set
from dinemic_engine.errors import Malformed, Reason, Unreadable
from dinemic_engine.event import Event, open_event_untrusted, sign_event
from dinemic_engine.ids import AuthorId
from dinemic_engine.keys import SUITE_HYBRID, SealingKey
from dinemic_engine.ops import (
    ADMIN,
    READ,
    SEALED_KEY_BYTES,
    UPDATE,
    Create,
    Epoch,
    Grant,
    Policy,
    Revoke,
)
from support.graphs import CHIEF, CLERK, OWNER, READER, STRANGER, Actor, Site, child, genesis, team

KEYS = (b"k" * 32, b"K" * 32)


def epoch(of: Event, *readers: Actor, key: bytes = KEYS[0]) -> Epoch:
    return sealing.make_epoch(of.object, key, {each.id: each.sealing.public for each in readers})


def under(made: Epoch) -> Set:
    return Set("salary", Sealed(made.commit, bytes(16), b"\0" * 20))


def orders(*events: Event) -> list[list[Event]]:
    """Every order in which parents come before children."""
    found = []
    for order in permutations(events):
        seen = {event.id for event in events}
        for event in order:
            if seen & set(event.parents):
                break
            seen.discard(event.id)
        else:
            found.append(list(order))
    return found


def verdicts(last: Event, *before: Event) -> set[object]:
    """What is said of `last` after the others came in every order."""
    found = set()
    states = []
    for order in orders(*before):
        site = Site()
        for event in order:
            site.admit(event)
        found.add(site.verdict(last))
        states.append((site.view.digest_all(), site.portable()))
    assert all(state == states[0] for state in states), "equal rows in any order"
    return found


# -- made ----------------------------------------------------------------------------------------


def test_a_new_epoch_that_leaves_out_the_owner_is_refused() -> None:
    first = team()
    made = child(first, CLERK, epoch(first, READER))
    assert verdicts(made, first) == {Reason.EPOCH_OWNER}


def test_a_reader_seals_an_epoch_again_for_a_new_reader_and_nobody_else_may() -> None:
    first = team()
    made = child(first, OWNER, epoch(first, OWNER, READER))
    granted = child(made, OWNER, CLERK.grant(READ), STRANGER.grant(READ))
    again = epoch(first, STRANGER)
    assert verdicts(child(granted, CLERK, again), first, made, granted) == {True}
    assert verdicts(child(granted, CHIEF, again), first, made, granted) == {Reason.EPOCH_AGAIN}
    own = child(made, CHIEF, epoch(first, OWNER, READER, key=bytes(32)))
    more = child(own, OWNER, STRANGER.grant(READ))
    rest = epoch(first, STRANGER, key=bytes(32))
    assert verdicts(child(more, CHIEF, rest), first, made, own, more) == {True}, "who made it may"
    early = child(made, OWNER, again)
    assert verdicts(early, first, made) == {Reason.EPOCH_READERS}
    beside = child(made, OWNER, STRANGER.grant(READ), again)
    assert verdicts(beside, first, made) == {True}


def test_recipients_of_an_epoch_are_those_of_all_its_makings_that_stand() -> None:
    first = team()
    made = child(first, OWNER, epoch(first, OWNER, READER), epoch(first, OWNER, key=KEYS[1]))
    granted = child(made, CHIEF, CLERK.grant(READ), epoch_of_nobody(first), t=made.t + 5)
    again = child(made, OWNER, CLERK.grant(READ), epoch(first, CLERK))
    ended = child(made, OWNER, Revoke(ADMIN, CHIEF.id), t=made.t + 3)
    for order in orders(first, made, granted, again, ended):
        site = Site()
        for event in order:
            site.admit(event)
        in_force = dict(site.view.epochs_in_force(first.object))
        assert in_force[made.ops[0].commit] == sum_of(OWNER, READER, CLERK)  # type: ignore[union-attr]
        assert len(in_force) == 2, "what the ended admin made does not stand"
        newest = site.view.sealing(first.object)
        assert (newest.id, newest.op) == (made.id, 1), "sealing an old one again is no news"


def epoch_of_nobody(of: Event) -> Epoch:
    return epoch(of, OWNER, key=bytes(32))


def sum_of(*readers: Actor) -> bytes:
    total = bytes(32)
    for reader in readers:
        total = sealing.reader_sum(total, reader.id)
    return total


def test_who_made_an_epoch_and_is_not_among_its_recipients_is_none_of_them() -> None:
    first = genesis(CLERK.grant(UPDATE), CLERK.grant(READ))
    made = child(first, CLERK, epoch(first, OWNER))
    again = child(made, OWNER, epoch(first, CLERK))
    site = Site()
    site.admit(first, made)
    assert site.view.sealing(first.object).recipients == sum_of(OWNER)
    site.admit(again)
    assert site.view.sealing(first.object).recipients == sum_of(OWNER, CLERK)


def test_one_event_seals_an_epoch_once() -> None:
    first = team()
    with pytest.raises(Malformed, match="once"):
        open_event_untrusted(child(first, OWNER, epoch(first, OWNER), epoch(first, OWNER)).raw)


# -- used ----------------------------------------------------------------------------------------


def test_an_epoch_is_used_up_once_a_reader_of_it_is_known_to_be_revoked() -> None:
    first = team()
    made = child(first, OWNER, epoch(first, OWNER, READER))
    ended = child(first, CHIEF, Revoke(READ, READER.id))
    use = under(made.ops[0])  # type: ignore[arg-type]
    assert verdicts(child(made, CLERK, use), first, made, ended) == {True}, "unseen by the author"
    assert verdicts(child([made, ended], CLERK, use), first, made, ended) == {Reason.EPOCH_READERS}
    again = child([made, ended], OWNER, READER.grant(READ))
    back = child(again, CLERK, use)
    assert verdicts(back, first, made, ended, again) == {True}, "a reader again"


def test_a_reader_falls_with_the_admin_who_had_granted_it() -> None:
    first = team()
    granted = child(first, CHIEF, STRANGER.grant(READ))
    made = child(granted, OWNER, epoch(first, OWNER, STRANGER))
    ended = child(first, OWNER, Revoke(ADMIN, CHIEF.id))
    use = under(made.ops[0])  # type: ignore[arg-type]
    events = (first, granted, made, ended)
    assert verdicts(child([made, ended], OWNER, use), *events) == {Reason.EPOCH_READERS}
    assert verdicts(child(made, OWNER, use), *events) == {True}
    seen = child(made, OWNER, Revoke(ADMIN, CHIEF.id))
    assert verdicts(child(seen, OWNER, use), first, granted, made, seen) == {True}


def test_an_admin_who_grants_and_seals_in_one_event_is_no_way_around() -> None:
    first = team()
    made = child(first, CHIEF, epoch(first, OWNER, STRANGER), STRANGER.grant(READ))
    ended = child(first, OWNER, Revoke(ADMIN, CHIEF.id))
    use = under(made.ops[0])  # type: ignore[arg-type]
    both = child([made, ended], OWNER, use)
    assert verdicts(both, first, made, ended) == {Reason.EPOCH_READERS}


def test_the_epoch_of_a_writer_who_may_not_read_serves_that_writer_alone() -> None:
    first = team()
    made = child(first, CLERK, epoch(first, OWNER, READER))
    use = under(made.ops[0])  # type: ignore[arg-type]
    assert verdicts(child(made, CLERK, use), first, made) == {True}
    for other in (OWNER, CHIEF):
        assert verdicts(child(made, other, use), first, made) == {Reason.EPOCH_READERS}
    granted = child(made, OWNER, CLERK.grant(READ))
    assert verdicts(child(granted, OWNER, use), first, made, granted) == {True}


def test_a_revoked_reader_does_not_seal_under_a_key_it_was_given() -> None:
    first = genesis(CLERK.grant(UPDATE), CLERK.grant(READ))
    made = child(first, CLERK, epoch(first, OWNER, CLERK))
    ended = child(made, OWNER, Revoke(READ, CLERK.id))
    use = under(made.ops[0])  # type: ignore[arg-type]
    assert verdicts(child(ended, CLERK, use), first, made, ended) == {Reason.EPOCH_READERS}


def test_a_copied_commitment_spoils_an_epoch_only_for_those_who_saw_the_copy() -> None:
    first = team()
    made = child(first, OWNER, epoch(first, OWNER, READER))
    copied = child(first, CLERK, epoch(first, OWNER))
    use = under(made.ops[0])  # type: ignore[arg-type]
    assert verdicts(child(made, OWNER, use), first, made, copied) == {True}
    both = child([made, copied], OWNER, use)
    assert verdicts(both, first, made, copied) == {Reason.EPOCH_READERS}


def test_sealing_again_and_using_in_one_event_is_judged_as_using() -> None:
    first = team()
    made = child(first, CLERK, epoch(first, OWNER))
    use = under(made.ops[0])  # type: ignore[arg-type]
    both = child(made, OWNER, epoch(first, READER), use)
    assert verdicts(both, first, made) == {Reason.EPOCH_READERS}


# -- suites --------------------------------------------------------------------------------------

HYBRID = SealingKey(bytes(range(96)))


def test_a_reader_of_another_suite_and_an_epoch_of_another_suite_are_refused() -> None:
    first = team()
    grant = Grant(READ, STRANGER.subject, STRANGER.id, SUITE_HYBRID, HYBRID.public)
    assert verdicts(child(first, OWNER, grant), first) == {Reason.SUITE}
    writer = Grant(UPDATE, STRANGER.subject, STRANGER.id, SUITE_HYBRID, HYBRID.public)
    assert verdicts(child(first, OWNER, writer), first) == {True}, "a writer needs no key"
    made = sealing.make_epoch(first.object, KEYS[0], {OWNER.id: HYBRID.public}, SUITE_HYBRID)
    assert verdicts(child(first, OWNER, made), first) == {Reason.SUITE}


def test_a_genesis_that_grants_reading_to_another_suite_is_refused() -> None:
    create = Create("Vault", SUITE_HYBRID, HYBRID.public, Policy())
    event = sign_event(OWNER.key, None, 1, (), [create, READER.grant(READ)])
    assert Site().verdict(event) == Reason.SUITE
    assert Site().verdict(sign_event(OWNER.key, None, 1, (), [create, READER.grant(UPDATE)]))


def test_a_hybrid_epoch_opens_for_its_recipient_and_needs_both_halves_of_the_key() -> None:
    of, reader = bytes(32), AuthorId(OWNER.id)
    made = sealing.make_epoch(of, KEYS[0], {reader: HYBRID.public}, SUITE_HYBRID)
    ((_, sealed),) = made.recipients
    assert len(sealed) == SEALED_KEY_BYTES[SUITE_HYBRID]
    assert sealing.open_epoch(of, made, reader, HYBRID) == KEYS[0]
    flipped = bytes((HYBRID.private[0] ^ 1,)) + HYBRID.private[1:]
    swapped = HYBRID.private[:64] + OWNER.sealing.private
    for private in (flipped, swapped, HYBRID.private[-32:]):
        with pytest.raises(Unreadable):
            sealing.open_epoch(of, made, reader, SealingKey(private))
    for at in (0, 1087, 1088, 1119, 1120, len(sealed) - 1):
        changed = sealed[:at] + bytes((sealed[at] ^ 1,)) + sealed[at + 1 :]
        cheat = Epoch(SUITE_HYBRID, made.commit, ((reader, changed),))
        with pytest.raises(Unreadable):
            sealing.open_epoch(of, cheat, reader, HYBRID)


def test_a_hybrid_epoch_opens_by_x_wing_written_out_from_its_draft() -> None:
    """draft-connolly-cfrg-xwing-kem inside the key schedule of RFC 9180, KEM 0x647a."""
    of = bytes(32)
    made = sealing.make_epoch(of, KEYS[0], {OWNER.id: HYBRID.public}, SUITE_HYBRID)
    ((_, sealed),) = made.recipients
    one, two, body = sealed[:1088], sealed[1088:1120], sealed[1120:]
    scalar = X25519PrivateKey.from_private_bytes(HYBRID.private[64:])
    secrets = MLKEM768PrivateKey.from_seed_bytes(HYBRID.private[:64]).decapsulate(one)
    secrets += scalar.exchange(X25519PublicKey.from_public_bytes(two))
    shared = hashlib.sha3_256(secrets + two + HYBRID.public[-32:] + b"\\.//^\\").digest()
    suite = b"HPKE-v1HPKE" + bytes.fromhex("647a00010003")

    def extract(salt: bytes, label: bytes, key: bytes) -> bytes:
        return hmac.digest(salt, suite + label + key, "sha256")

    def expand(label: bytes, size: int) -> bytes:  # one block is enough
        info = size.to_bytes(2, "big") + suite + label + context
        return hmac.digest(extract(shared, b"secret", b""), info + b"\1", "sha256")[:size]

    about = b"dinemic/epoch/1" + of + made.commit
    context = b"\0" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", about)
    cipher = ChaCha20Poly1305(expand(b"key", 32))
    assert cipher.decrypt(expand(b"base_nonce", 12), body, b"") == KEYS[0]
