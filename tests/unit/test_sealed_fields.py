"""Sealed fields: who opens what, loose values, plaintext on no disk."""

from __future__ import annotations

from pathlib import Path

import pytest

import dinemic
from dinemic.node import Node
from dinemic_engine import canonical
from dinemic_engine.canonical import Sealed
from dinemic_engine.edits import Set
from dinemic_engine.ops import Epoch
from support.models import Chief, Person
from support.nodes import acting, object_id, opened, raw_events, send, trace

# -- sealed: who opens what ----------------------------------------------------------------------


def test_a_sealed_field_opens_for_owner_and_granted_caller_only(two: tuple[Node, Node]) -> None:
    a, b = two
    with acting(b):
        chief, stranger = Chief([]), Chief([])
    send(b, a)
    with acting(a):
        p = Person([chief.get_db_id()])
        p.salary.set("44321")
        assert p.salary.get() == "44321"
    send(a, b)
    with acting(b):
        assert Person(p.get_db_id(), chief.get_db_id()).salary.get() == "44321"
        for handle in (
            Person(p.get_db_id()),
            Person(p.get_db_id(), ""),
            Person(p.get_db_id(), stranger.get_db_id()),
        ):
            for attempt in (
                handle.salary.get,
                lambda handle=handle: handle.get("salary", "default"),
                handle.salary.conflicts,
            ):
                with pytest.raises(dinemic.Unreadable):
                    attempt()
            assert handle.keys() == ["salary"], "names are public"
            assert handle.bonus.get() == 0, "never written: the default, also for a stranger"
    with acting(a):  # owned here, but asked for as somebody whose key is not
        with pytest.raises(dinemic.Unreadable):
            Person(p.get_db_id(), chief.get_db_id()).salary.get()
        with pytest.raises(dinemic.Unreadable):
            Person(p.get_db_id(), stranger.get_db_id()).salary.get()


def test_the_error_says_whose_key_is_missing_and_no_more(two: tuple[Node, Node]) -> None:
    a, b = two
    with acting(a):
        p = Person([])
        p.salary.set("44321")
    send(a, b)
    with acting(b), pytest.raises(dinemic.Unreadable) as caught:
        Person(p.get_db_id()).salary.get()
    assert str(caught.value) == (
        f"value_salary of {p.get_id()[:10]}... is sealed and the object's own key is not here"
    )


def test_owner_and_readers_open_what_a_granted_writer_sealed(two: tuple[Node, Node]) -> None:
    a, b = two
    with acting(b):
        chief, deputy = Chief([]), Chief([])
    send(b, a)
    with acting(a):
        p = Person([chief.get_db_id(), deputy.get_db_id()])
    send(a, b)
    with acting(b):
        Person(p.get_db_id(), chief.get_db_id()).salary.set("by the chief")
        assert Person(p.get_db_id(), deputy.get_db_id()).salary.get() == "by the chief"
    send(b, a)
    assert p.salary.get() == "by the chief"


def test_a_writer_that_is_no_reader_seals_and_cannot_open(two: tuple[Node, Node]) -> None:
    a, b = two
    with acting(b):
        writer = Chief([])
    send(b, a)
    with acting(a):
        p = Person([])
        p.append_update_authorized(writer.get_db_id())
        p.salary.set("by the owner")
    send(a, b)
    with acting(b):
        handle = Person(p.get_db_id(), writer.get_db_id())
        handle.salary.set("by the writer")
        with pytest.raises(dinemic.Unreadable):
            handle.salary.get()
        handle.salary.set("again by the writer")
    send(b, a)
    assert p.salary.get() == "again by the writer"
    p.salary.set("by the owner again")
    send(a, b)
    with acting(b), pytest.raises(dinemic.Unreadable):
        Person(p.get_db_id(), writer.get_db_id()).salary.get()


def ciphertexts(handle: dinemic.DModel) -> list[Sealed]:
    return [
        op.value
        for event in handle.history()
        for op in event.ops
        if isinstance(op, Set) and isinstance(op.value, Sealed)
    ]


def test_the_same_text_twice_differs_sealed(node: Node) -> None:
    p = Person([])
    for _ in range(3):
        p.salary.set("1234")
    p.bonus.set("1234")
    sealed = ciphertexts(p)
    assert len({one.ciphertext for one in sealed}) == 4
    assert len({one.salt for one in sealed}) == 4


def test_a_ciphertext_moved_to_another_field_opens_for_nobody(node: Node) -> None:
    p = Person([])
    p.salary.set("1234")
    (sealed,) = ciphertexts(p)
    node.commit(object_id(p), [Set("bonus", sealed)], None)
    with pytest.raises(dinemic.Unreadable):
        p.bonus.get()
    assert p.salary.get() == "1234"


def test_a_ciphertext_of_another_object_is_not_let_in(node: Node) -> None:
    p, q = Person([]), Person([])
    p.salary.set("1234")
    (sealed,) = ciphertexts(p)
    before = trace(node)
    with pytest.raises(dinemic.UpdateRejected, match="SEAL-3"):
        node.commit(object_id(q), [Set("salary", sealed)], None)
    assert trace(node) == before


def test_set_by_name_seals_a_declared_field_however_it_was_declared(node: Node) -> None:
    class Mixin:
        inherited = dinemic.DField("inherited", True)

    class Base(dinemic.DModel):
        base = dinemic.DField("base", True)
        opened = dinemic.DField("was_plain")

    class Worker(Mixin, Base):
        own = dinemic.DField("own", True)
        opened = dinemic.DField("redeclared", True)

    Worker.late = dinemic.DField("late", True)  # type: ignore[attr-defined]
    p = Worker([])
    for name in ("inherited", "base", "own", "redeclared", "late"):
        p.set(name, f"plaintext of {name}")
        assert p.get(name) == f"plaintext of {name}"
    assert len(ciphertexts(p)) == 5
    assert not any(b"plaintext of" in raw for raw in raw_events(node))
    p.set("was_plain", "no longer declared")
    assert len(ciphertexts(p)) == 5


def test_a_plain_field_is_not_sealed(node: Node) -> None:
    p = Person([])
    p.name.set("Bob")
    p.set("nick", "Bobby")
    assert ciphertexts(p) == []
    assert sum(b"Bob" in raw for raw in raw_events(node)) == 2


# -- sealing what is no field --------------------------------------------------------------------


def test_encrypt_and_decrypt_round_trip_for_readers_and_fail_for_strangers(
    two: tuple[Node, Node],
) -> None:
    a, b = two
    with acting(b):
        chief, stranger = Chief([]), Chief([])
    send(b, a)
    with acting(a):
        p = Person([chief.get_db_id()])
        sealed = p.encrypt({"pin": "4711 żółć\n"})
        assert p.decrypt(sealed) == {"pin": "4711 żółć\n"}
        assert p.encrypt("x") != p.encrypt("x")
        with pytest.raises(dinemic.Unreadable):
            Person([]).decrypt(sealed)
        p.name.set(sealed)  # bytes, to keep anywhere
    send(a, b)
    with acting(b):
        handle = Person(p.get_db_id(), chief.get_db_id())
        assert handle.decrypt(sealed) == {"pin": "4711 żółć\n"}
        assert handle.name.get() == sealed
        for other in (Person(p.get_db_id()), Person(p.get_db_id(), stranger.get_db_id())):
            with pytest.raises(dinemic.Unreadable):
                other.decrypt(sealed)
            with pytest.raises(dinemic.UpdateRejected):
                other.encrypt("x")
        before = trace(b)
        back = handle.encrypt(7)
        assert trace(b) == before, "no new readers, no event"
    assert p.decrypt(back) == 7


def test_what_encrypt_did_not_make_is_not_decrypted(node: Node) -> None:
    p = Person([])
    p.salary.set("1234")
    sealed = p.encrypt("x")
    for junk in (b"", b"\xd0", sealed[:-1], sealed + b"\0", b"\x61x"):
        with pytest.raises(ValueError, match=r"EV-|not a sealed value"):
            p.decrypt(junk)
    with pytest.raises(dinemic.Unreadable):
        p.decrypt(sealed[:-1] + bytes((sealed[-1] ^ 1,)))
    (field_value,) = ciphertexts(p)
    with pytest.raises(dinemic.Unreadable):
        p.decrypt(canonical.encode(field_value))
    for bad in (object(), float("nan")):
        with pytest.raises(ValueError, match="value"):
            p.encrypt(bad)  # type: ignore[arg-type]


# -- on disk -------------------------------------------------------------------------------------


def files_with(home: Path, needle: bytes) -> list[str]:
    return [
        str(path.relative_to(home))
        for path in sorted(home.rglob("*"))
        if path.is_file() and needle in path.read_bytes()
    ]


def test_plaintext_of_a_sealed_field_is_in_no_file_of_the_home(tmp_path: Path) -> None:
    secret, public = "plaintext-that-is-sealed", "plaintext-that-is-not"
    with opened(tmp_path, "rocksdb") as node:
        p = Person([])
        p.name.set(public)
        p.salary.set(secret)
        p.salary.set([secret, {secret: secret}])
        p.encrypt(secret)
        node.flush()
        assert files_with(tmp_path, public.encode()), "the search finds what is there"
        assert files_with(tmp_path, secret.encode()) == []
    assert files_with(tmp_path, secret.encode()) == []
    assert files_with(tmp_path, secret.encode("utf-16-le")) == []
    with opened(tmp_path, "rocksdb"):
        again = Person(p.get_db_id())
        assert again.salary.get() == [secret, {secret: secret}]
        assert again.name.get() == public
    assert files_with(tmp_path, secret.encode()) == []


def test_a_restart_keeps_values_ownership_history_and_what_opens(tmp_path: Path) -> None:
    with opened(tmp_path, "rocksdb") as node:
        chief = Chief([])
        p = Person([chief.get_db_id()])
        p.name.set("Bob")
        p.salary.set("1234")
        gone = Person([])
        gone.remove()
        history = list(p.history())
        before = trace(node)
        listed = dinemic.object_list()
    with opened(tmp_path, "rocksdb") as node:
        assert trace(node)[1] == before[1]
        assert dinemic.object_list() == dinemic.object_list_owned() == listed
        again = Person(p.get_db_id())
        assert again.is_owned()
        assert list(again.history()) == history
        assert again.name.get() == "Bob"
        assert again.salary.get() == "1234"
        assert Person(p.get_db_id(), chief.get_db_id()).salary.get() == "1234"
        assert again.is_read_authorized(chief.get_db_id())
        again.salary.set("5678")
        epochs = [op for event in again.history() for op in event.ops if isinstance(op, Epoch)]
        assert len(epochs) == 1, "the epoch made before the restart is used on"
        again.name.set("Rob")
        assert [event.author for event in again.history()] == [again.get_public_sign_key()] * 5
