"""Filters: what each form matches, told by an obvious second version, and that none is slow."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dinemic.filters import FILTER_CHARACTERS_MAX, compile_filter

ID = "mfzwizltoqmfzwizltoqmfzwizltoqmfzwizltoqmfzwizltoqma"
OTHER = "a" * 52
P, Q, D = f"Person:{ID}", f"Person:{OTHER}", f"Dog:{ID}"


@pytest.mark.parametrize(
    ("text", "matching"),
    [
        ("*", [P, Q, D]),
        ("**", [P, Q, D]),
        ("Person:[id]", [P, Q]),
        ("Person:[ID]", [P, Q]),
        ("Person:*", [P, Q]),
        ("person:*", []),
        ("*:[id]", [P, Q, D]),
        (f"Person:*:{ID}", []),
        (f"{P}*a", []),
        (f"*{ID}*{ID}", []),
        (f"*:{ID}", [P, D]),
        (P, [P]),
        (ID, []),
        ("Person", []),
        ("Person:", []),
        ("Perso", []),
        ("[id]", []),
        ("Person:[id]:*", []),
        ("Person:[id]*", [P, Q]),
        ("?erson:[id]", [P, Q]),
        ("???:[id]", [D]),
        ("?*", [P, Q, D]),
        ("*o*:*a", [P, Q, D]),
        ("Person:" + "?" * 52, [P, Q]),
        ("Person:" + "?" * 51, []),
        ("Person:[Id]", []),
        ("Person:[id", []),
        ("Person:id]", []),
        ("P.rson:*", []),
        ("Person:.*", []),
        ("(Person|Dog):*", []),
        ("Person:[a-z2-7]*", []),
        ("^Person:*", []),
        ("Person:[id]$", []),
        ("\\*", []),
    ],
)
def test_a_filter_matches_whole_names(text: str, matching: list[str]) -> None:
    compiled = compile_filter(text)
    assert [name for name in (P, Q, D) if compiled.matches(name)] == matching
    assert compiled.text == text


def test_below_an_object_come_its_fields() -> None:
    field = f"{P}:value_name"
    for text in ("Person:[id]:*", "Person:*", "*", f"{P}:value_name", "Person:[id]:value_n?me"):
        assert compile_filter(text).matches(field), text
    for text in ("Person:[id]", P, "Person:[id]:value_", "Dog:*", "Person:[id]:[id]"):
        assert not compile_filter(text).matches(field), text
    assert not compile_filter("Person:*").matches(f"Person2:{ID}")
    assert not compile_filter("Person:[id]").matches(f"Person:{ID.upper()}")
    assert not compile_filter("Person:[id]").matches(f"Person:{ID[:-1]}1"), "1 is not base32"


@pytest.mark.parametrize(
    "text", ["", "Persön:*", "a\nb", "a\0", "\x1b[2J", "\u202ePerson:*", "a" * 1025, "*" * 1025]
)
def test_a_malformed_filter_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="filter"):
        compile_filter(text)


def test_an_error_about_a_filter_prints_on_one_line() -> None:
    with pytest.raises(ValueError, match="filter") as caught:
        compile_filter("a\n\x1b[2J" * 300)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


def slow(text: str, name: str) -> bool:
    """The same, obvious and exponential."""
    if text.startswith("*"):
        return slow(text[1:], name) or (name != "" and slow(text, name[1:]))
    if text[:4] in ("[id]", "[ID]"):
        return re.fullmatch("[a-z2-7]{52}", name[:52]) is not None and slow(text[4:], name[52:])
    if text == "" or name == "":
        return text == name
    return text[0] in ("?", name[0]) and slow(text[1:], name[1:])


PIECES = st.sampled_from(["*", "?", "a", "b", ":", "[id]", "[ID]", "[", ".", "ab"])
NAMES = st.lists(st.sampled_from(["a", "b", ":", ID, "a" * 51, "[id]", "."]), max_size=6)


@given(text=st.lists(PIECES, min_size=1, max_size=8).map("".join), name=NAMES.map("".join))
def test_matching_agrees_with_the_obvious_version(text: str, name: str) -> None:
    assert compile_filter(text).matches(name) == slow(text, name)


@given(
    name=st.text(alphabet="ab:", max_size=40),
    cuts=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=6),
)
def test_a_name_with_stars_put_over_it_matches_itself(
    name: str, cuts: list[tuple[int, int]]
) -> None:
    text = name
    for start, length in cuts:
        text = text[:start] + "*" + text[start + length :]
    assert compile_filter(text or "*").matches(name)


HOSTILE = [
    "*a" * 511 + "b",
    "*?" * 511 + "b",
    "?*" * 511 + "b",
    "*" + "?" * 1000 + "b",
    "*" + "a" * 1000 + "b",
    "*aab" * 255 + "c",
    "*[id]" * 200 + "!",
    "*" * 1023 + "b",
]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("name", ["a" * 100_000, f"Person:{ID}", ID * 1_000])
def test_no_filter_makes_matching_hang(text: str, name: str) -> None:
    # The proof is that it ends: a search that came back to a star it had passed would take
    # (length of the name) ** (number of stars) steps here.
    assert len(text) <= FILTER_CHARACTERS_MAX
    assert not compile_filter(text).matches(name)
