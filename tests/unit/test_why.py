"""Why a value of a dict or a list is what it is, as users are told: `why` of keys and elements."""

from __future__ import annotations

import pytest

import dinemic
from dinemic.node import Node
from dinemic_engine.canonical import Sealed
from support.models import shared
from support.nodes import acting, exchange, send


class Band(dinemic.DModel):
    prices = dinemic.DDict("prices")
    albums = dinemic.DList("albums")
    secrets = dinemic.DList("secrets", True)


def test_why_a_key_has_its_value_is_told_as_of_a_field(two: tuple[Node, Node]) -> None:
    a, b = two
    band, theirs, chief = shared(two, Band)
    band.prices["first"] = "old"
    band.prices["second"] = "another key"
    send(a, b)
    theirs.prices["first"] = "theirs"
    band.prices["first"] = "ours"
    exchange(a, b)
    for each in (band, theirs):
        told = each.prices.why("first")
        assert [because.outcome for because in told] == ["wins", "concurrent", "superseded"]
        assert told[0].value == each.prices["first"]
        assert {because.value for because in told[:2]} == {"ours", "theirs"}
        granted = {because.value: because.grant is not None for because in told}
        assert granted == {"ours": False, "theirs": True, "old": False}
        assert each.prices.why("third") == []

    del band.prices["first"]
    band.revoke_update_authorized(chief.get_db_id())
    theirs.prices["first"] = "unseen"
    exchange(b, a)  # b sends it before it hears of the revocation
    for each in (band, theirs):
        first, *_, last = each.prices.why("first")
        assert (first.outcome, first.deleted) == ("wins", True)
        assert (last.outcome, last.value) == ("void", "unseen")
        assert last.rule.startswith("AUTH-4: ")
        assert len(each.prices.why("second")) == 1


@pytest.mark.parametrize("field", ["albums", "secrets"])
def test_why_an_element_has_its_value_goes_back_to_its_insert(
    two: tuple[Node, Node], field: str
) -> None:
    a, b = two
    band, theirs, chief = shared(two, Band)
    band.append_read_authorized(chief.get_db_id())
    getattr(band, field).extend(["first", "second", "third"])
    send(a, b)
    inserted = getattr(band, field).why(1)
    assert [(each.value, each.outcome) for each in inserted] == [("second", "wins")]
    assert inserted[0].rule.startswith("TYPE-6: ")
    assert inserted[0].author == band.get_public_sign_key()

    getattr(theirs, field).set(1, "theirs")
    getattr(band, field).set(1, "ours")
    getattr(band, field).set(2, "another element")
    exchange(a, b)
    for each in (band, theirs):
        told = getattr(each, field).why(1)
        assert [because.outcome for because in told] == ["wins", "concurrent", "superseded"]
        assert told[0].value == getattr(each, field)[1]
        assert {because.value for because in told[:2]} == {"ours", "theirs"}
        assert told[2].value == "second"
        assert [because.grant is not None for because in told if because.value == "theirs"] == [
            True
        ]

    band.revoke_update_authorized(chief.get_db_id())
    getattr(theirs, field).delete(1)
    exchange(b, a)  # b sends it before it hears of the revocation
    for each in (band, theirs):
        *_, inserted_so, void = getattr(each, field).why(1)
        assert (inserted_so.value, inserted_so.outcome) == ("second", "superseded")
        assert (void.outcome, void.deleted) == ("void", True)
        assert void.rule.startswith("AUTH-4: ")
        assert [because.outcome for because in getattr(each, field).why(0)] == ["wins"]
    with pytest.raises(IndexError):
        getattr(band, field).why(3)


def test_what_a_handle_cannot_open_stays_sealed_in_why(two: tuple[Node, Node]) -> None:
    a, b = two
    with acting(a):
        band = Band([])
        band.secrets.append("first")
    send(a, b)
    with acting(b):
        (told,) = Band(band.get_db_id()).secrets.why(0)
    assert isinstance(told.value, Sealed)
    assert told.outcome == "wins"


def test_nothing_is_told_of_what_an_open_transaction_inserts(node: Node) -> None:
    band = Band([])
    with band.transaction():
        band.albums.append("first")
        assert band.albums.why(0) == []
    assert [each.value for each in band.albums.why(0)] == ["first"]
