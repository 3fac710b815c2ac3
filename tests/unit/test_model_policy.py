"""Open and closed: what a model and its fields begin with, and what the owner makes of it."""

from __future__ import annotations

import contextlib

import pytest

import dinemic
from dinemic.node import Node
from support.models import UNKNOWN, Dog, Person, Wall
from support.nodes import acting, exchange, send, trace


def test_access_is_set_per_model_and_per_field(two: tuple[Node, Node]) -> None:
    a, b = two

    class Board(dinemic.DModel, access="open"):
        text = dinemic.DField("text")
        rules = dinemic.DField("rules", access="closed")

    class Shop(dinemic.DModel):
        name = dinemic.DField("name")
        guests = dinemic.DField("guests", access="open")

    class Quiet(Board):
        pass

    class Shut(Board, access="closed"):
        pass

    with acting(a):
        made = [model([]) for model in (Board, Shop, Quiet, Shut)]
    send(a, b)
    with acting(b):
        board, shop, quiet, shut = (type(p)(p.get_db_id()) for p in made)
        board.set("text", "x")
        board.set("undeclared", "x")
        shop.set("guests", "x")
        quiet.set("text", "inherited")
        for handle, field in [
            (board, "rules"),
            (shop, "name"),
            (shop, "undeclared"),
            (quiet, "rules"),
            (shut, "text"),
            (shut, "rules"),
        ]:
            with pytest.raises(dinemic.UpdateRejected):
                handle.set(field, "x")
        with pytest.raises(dinemic.UpdateRejected, match="AUTH-6"):
            board.remove()
        with pytest.raises(dinemic.UpdateRejected, match="AUTH-5"):
            board.append_update_authorized(shop.get_db_id())
    exchange(a, b)
    assert trace(a)[1] == trace(b)[1]
    assert made[0].get("text") == "x"


def test_the_owner_opens_and_closes_an_object_and_its_fields(two: tuple[Node, Node]) -> None:
    a, b = two
    with acting(a):
        p = Person([])
        assert p.get_access() == ("closed", {})
    send(a, b)
    with acting(b):
        stranger = Person(p.get_db_id())

    def admitted(field: str) -> bool:
        send(a, b)
        assert stranger.get_access() == p.get_access()
        with contextlib.suppress(dinemic.UpdateRejected):
            stranger.set(field, "x")
            send(b, a)
            return True
        return False

    assert not admitted("name")
    p.set_access("open")
    assert (p.get_access(), admitted("name"), admitted("else")) == (("open", {}), True, True)
    p.set_access("open", {"name": "closed"})
    assert p.get_access() == ("open", {"name": "closed"})
    assert (admitted("name"), admitted("else")) == (False, True)
    p.set_access("closed", {"else": "open"})
    assert (admitted("name"), admitted("else"), admitted("third")) == (False, True, False)
    assert p.name.get() == "x", "what the owner had seen stays"


def test_fields_keep_a_rule_of_their_own_until_they_are_named(node: Node) -> None:
    wall = Wall([])
    assert wall.get_access() == ("open", {"rules": "closed"})
    wall.set_access("closed")
    assert wall.get_access() == ("closed", {"guests": "open", "rules": "closed"})
    wall.set_access("open")
    assert wall.get_access().fields["rules"] == "closed"
    wall.set_access("open", {"rules": "open"})
    assert wall.get_access().fields["rules"] == "open"


def test_an_access_that_changes_nothing_makes_nothing(node: Node) -> None:
    wall = Wall([])
    before = trace(node)
    wall.set_access("open")
    wall.set_access("open", {"text": "open", "rules": "closed"})
    assert trace(node) == before


def test_only_the_owner_sets_the_access(node: Node) -> None:
    admin = Dog([]).get_db_id()
    wall = Wall([])
    wall.append_admin_authorized(admin)
    before = trace(node)
    for handle in (Wall(wall.get_db_id(), admin), Wall(wall.get_db_id(), Dog([]).get_db_id())):
        before = trace(node)
        with pytest.raises(dinemic.UpdateRejected) as caught:
            handle.set_access("closed")
        assert caught.value.by == "AUTH-5"
        assert trace(node) == before
    with pytest.raises(ValueError, match="'open' or 'closed'"):
        wall.set_access("ajar")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'open' or 'closed'"):
        wall.set_access("open", {"text": True})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="EV-7"):
        wall.set_access("open", {"no such name!": "open"})
    with pytest.raises(ValueError, match="EV-7"):
        wall.set_access("open", {f"f{number}": "closed" for number in range(300)})
    with pytest.raises(dinemic.UnknownObject):
        Person(UNKNOWN).set_access("open")
    assert trace(node) == before


def test_closing_voids_what_strangers_wrote_unseen(two: tuple[Node, Node]) -> None:
    a, b = two
    with acting(a):
        wall = Wall([])
        wall.text.set("welcome")
    send(a, b)
    with acting(b):
        stranger = Wall(wall.get_db_id())
        stranger.text.set("unseen")
    wall.set_access("closed")
    exchange(b, a)
    assert (wall.text.get(), stranger.text.get()) == ("welcome", "welcome")
    (void,) = [event for event in wall.history() if event.verdict == "void"]
    assert void.rule.startswith("AUTH-5: ")
    assert wall.why("text")[-1].rule == void.rule
    assert (a.status().void, b.status().flipped) == (1, 1)
