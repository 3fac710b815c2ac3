"""Sealed values: who can open them, and that nothing carried elsewhere opens (SEAL-1, -2, -5)."""

from __future__ import annotations

import dataclasses

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from hypothesis import given
from hypothesis import strategies as st

from dinemic_engine import canonical, sealing
from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.edits import Set
from dinemic_engine.errors import InvalidEvent, Unreadable
from dinemic_engine.event import open_event_untrusted
from dinemic_engine.ids import AuthorId
from dinemic_engine.keys import SealingKey
from dinemic_engine.ops import READ, Epoch
from support.graphs import CHIEF, CLERK, OWNER, READER, STRANGER, Actor, Site, child, genesis, team

OBJECT, OTHER = bytes(range(32)), bytes(32)
KEY, OTHER_KEY = b"k" * 32, b"K" * 32
SALT = b"s" * 16
PATH = b"value_salary"
COMMIT = sealing.commitment(OBJECT, KEY)


def epoch_for(*readers: Actor, object_id: bytes = OBJECT, key: bytes = KEY) -> Epoch:
    return sealing.make_epoch(object_id, key, {r.id: r.sealing.public for r in readers})


def sealed(value: Value = 1000, salt: bytes = SALT) -> Sealed:
    return sealing.seal(OBJECT, PATH, COMMIT, KEY, salt, value)


def test_every_recipient_opens_an_epoch_and_nobody_else() -> None:
    epoch = epoch_for(OWNER, READER)
    for reader in (OWNER, READER):
        assert sealing.open_epoch(OBJECT, epoch, reader.id, reader.sealing) == KEY
    with pytest.raises(Unreadable, match="no recipient"):
        sealing.open_epoch(OBJECT, epoch, STRANGER.id, STRANGER.sealing)
    with pytest.raises(Unreadable, match="does not open"):
        sealing.open_epoch(OBJECT, epoch, READER.id, STRANGER.sealing)


def test_an_epoch_of_one_object_does_not_open_in_another() -> None:
    epoch = epoch_for(OWNER)
    with pytest.raises(Unreadable):
        sealing.open_epoch(OTHER, epoch, OWNER.id, OWNER.sealing)


def test_an_epoch_that_seals_another_key_to_one_reader_is_unreadable_there() -> None:
    honest, other = epoch_for(OWNER, READER), epoch_for(READER, key=OTHER_KEY)
    mixed = dict(honest.recipients) | dict(other.recipients)
    cheat = dataclasses.replace(honest, recipients=tuple(sorted(mixed.items())))
    assert sealing.open_epoch(OBJECT, cheat, OWNER.id, OWNER.sealing) == KEY
    with pytest.raises(Unreadable):
        sealing.open_epoch(OBJECT, cheat, READER.id, READER.sealing)


def test_a_key_that_is_not_the_committed_one_is_found_out_even_where_hpke_opens() -> None:
    honest = epoch_for(OWNER)
    info = b"dinemic/epoch/1" + OBJECT + honest.commit
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
    public = X25519PublicKey.from_public_bytes(OWNER.sealing.public)
    bad = ((OWNER.id, suite.encrypt(OTHER_KEY, public, info)),)
    cheat = dataclasses.replace(honest, recipients=bad)
    with pytest.raises(Unreadable, match="another key"):
        sealing.open_epoch(OBJECT, cheat, OWNER.id, OWNER.sealing)


@pytest.mark.parametrize("garbage", [bytes(80), b"\xff" * 80, b"\x01" + bytes(79)])
def test_garbage_sealed_to_a_reader_is_unreadable_and_nothing_worse(garbage: bytes) -> None:
    epoch = dataclasses.replace(epoch_for(OWNER), recipients=((OWNER.id, garbage),))
    with pytest.raises(Unreadable):
        sealing.open_epoch(OBJECT, epoch, OWNER.id, OWNER.sealing)


VALUES: list[Value] = [None, 0, "", b"", "x" * 10_000, [1, {"a": b"\0"}], {"b": 1.5}]


@pytest.mark.parametrize("value", VALUES)
def test_a_value_comes_back_as_it_was(value: Value) -> None:
    assert sealing.unseal(OBJECT, PATH, KEY, sealed(value)) == value


def test_what_is_sealed_is_a_cose_encrypt0_with_our_headers() -> None:
    value = sealed("secret")
    tag = cbor2.loads(canonical.encode(value))
    assert tag.tag == 16
    protected, unprotected, ciphertext = tag.value
    assert cbor2.loads(protected) == {1: 24, 4: COMMIT, -20: SALT}
    assert unprotected == {}
    assert ciphertext == value.ciphertext
    assert b"secret" not in canonical.encode(value)


@pytest.mark.parametrize(
    ("object_id", "path", "key"),
    [(OTHER, PATH, KEY), (OBJECT, b"value_bonus", KEY), (OBJECT, PATH, OTHER_KEY)],
)
def test_a_ciphertext_carried_elsewhere_does_not_open(
    object_id: bytes, path: bytes, key: bytes
) -> None:
    with pytest.raises(Unreadable):
        sealing.unseal(object_id, path, key, sealed())


def test_every_part_of_a_sealed_value_is_authenticated() -> None:
    value = sealed()
    for changed in (
        dataclasses.replace(value, epoch=bytes(32)),
        dataclasses.replace(value, salt=bytes(16)),
        dataclasses.replace(value, ciphertext=value.ciphertext[:-1]),
        dataclasses.replace(value, ciphertext=value.ciphertext + b"\0"),
        dataclasses.replace(value, ciphertext=b""),
        dataclasses.replace(value, ciphertext=bytes(len(value.ciphertext))),
    ):
        with pytest.raises(Unreadable):
            sealing.unseal(OBJECT, PATH, KEY, changed)


def test_the_same_value_twice_gives_two_ciphertexts() -> None:
    one, two = sealed(salt=b"1" * 16), sealed(salt=b"2" * 16)
    assert one.ciphertext != two.ciphertext
    assert epoch_for(OWNER) != epoch_for(OWNER), "HPKE draws its own key"
    assert epoch_for(OWNER).commit == epoch_for(OWNER).commit


@pytest.mark.parametrize("plain", [b"", b"\x18\x01", b"\xff", b"\x01\x01", b"\xf9\x7e\x00"])
def test_what_was_sealed_and_is_no_value_is_unreadable(plain: bytes) -> None:
    shape = Sealed(COMMIT, SALT, b"")
    key = sealing._value_key(OBJECT, PATH, KEY, SALT)
    associated = sealing._associated(OBJECT, PATH, shape)
    ciphertext = ChaCha20Poly1305(key).encrypt(bytes(12), plain, associated)
    with pytest.raises(Unreadable, match="no value"):
        sealing.unseal(OBJECT, PATH, KEY, Sealed(COMMIT, SALT, ciphertext))


def test_what_is_no_value_is_not_sealed() -> None:
    with pytest.raises(InvalidEvent):
        sealed(float("nan"))


@given(st.lists(st.binary(min_size=32, max_size=32), unique=True, max_size=8), st.randoms())
def test_the_sum_of_readers_is_the_same_in_any_order(readers: list[bytes], rng: object) -> None:
    def total(order: list[bytes]) -> bytes:
        found = bytes(32)
        for reader in order:
            found = sealing.reader_sum(found, AuthorId(reader))
        return found

    assert total(readers) == total(readers[::-1]) == total(sorted(readers))
    if readers:
        assert total(readers) != total(readers[1:])


# -- in a log ------------------------------------------------------------------------------------


def test_the_readers_sum_tells_whether_the_newest_epoch_is_for_all_readers() -> None:
    site = Site()
    first = team()
    epoch = epoch_for(OWNER, READER, object_id=first.id)
    made = child(first, CLERK, epoch)
    site.admit(first, made)
    state = site.view.sealing(first.id)
    assert state.readers == state.recipients
    assert state.commit == epoch.commit
    again = child(made, OWNER, READER.grant(READ))
    site.admit(again)
    assert site.view.sealing(first.id).readers == state.readers, "the same reader twice is one"
    site.admit(child(again, OWNER, CHIEF.grant(READ)))
    assert site.view.sealing(first.id).readers != state.readers


def test_the_newest_epoch_is_the_one_with_the_largest_key_in_any_order() -> None:
    first = team()
    left = child(first, OWNER, epoch_for(OWNER, object_id=first.id, key=KEY), t=first.t + 5)
    right = child(first, CLERK, epoch_for(OWNER, object_id=first.id, key=OTHER_KEY), t=first.t + 6)
    for order in ([left, right], [right, left]):
        site = Site()
        site.admit(first, *order)
        assert site.view.sealing(first.id).id == right.id
        assert [e.commit for e in site.view.epochs(first.id, left.ops[0].commit)] == [  # type: ignore[union-attr]
            left.ops[0].commit  # type: ignore[union-attr]
        ]


def test_i_07_the_plaintext_of_a_sealed_field_is_nowhere_in_a_store() -> None:
    site = Site()
    first = team()
    secret = "a salary nobody may see"
    epoch = epoch_for(OWNER, READER, object_id=first.id)
    value = sealing.seal(first.id, PATH, epoch.commit, KEY, SALT, secret)
    site.admit(first, child(first, OWNER, epoch, Set("salary", value)))
    for key, row in site.store.scan(b"", b"\xff"):
        assert secret.encode() not in key + row
        assert KEY not in key + row
    reading = site.view.read(first.id, "value_salary")
    assert reading is not None
    assert reading.value == value
    (op,) = site.view.epochs(first.id, value.epoch)
    opened = sealing.open_epoch(first.id, op, READER.id, READER.sealing)
    assert sealing.unseal(first.id, PATH, opened, value) == secret


def test_whether_a_value_opens_decides_nothing_that_is_shared() -> None:
    """Garbage in a sealed field: equal digests everywhere, unreadable for readers (SEAL-6)."""
    first = team()
    epoch = epoch_for(OWNER, READER, object_id=first.id)
    garbage = Sealed(epoch.commit, SALT, b"\x00" * 40)
    event = child(first, CLERK, epoch, Set("salary", garbage))
    one, two = Site(), Site()
    one.admit(first, event)
    two.ingest([open_event_untrusted(event.raw), first])
    assert one.view.digest(first.id) == two.view.digest(first.id)
    with pytest.raises(Unreadable):
        sealing.unseal(first.id, PATH, KEY, garbage)


def test_keys_are_told_by_their_public_half_and_shown_short() -> None:
    key = SealingKey(b"\x07" * 32)
    assert repr(key).count("07070707") == 0
    assert repr(sealed()).startswith("Sealed(epoch=")
    assert genesis().ops[0] == OWNER.create()
