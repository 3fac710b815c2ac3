"""docs/format.md says what the code does, where a test can read both."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

from dinemic_engine import edits, limits, ops
from dinemic_engine.errors import Reason

TOP = Path(__file__).parents[2]


@functools.cache
def text() -> str:
    return (TOP / "docs" / "format.md").read_text("utf-8")


def rows(heading: str) -> list[list[str]]:
    """The table cells of a chapter, without the head of its tables."""
    chapter = text().split(f"\n## {heading}", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in chapter.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_example_is_the_first_vector_byte_by_byte() -> None:
    first = json.loads((TOP / "tests" / "vectors" / "events.json").read_text())["accepted"][0]
    example = text().split("### An example", 1)[1].split("\n## ", 1)[0]
    listing, tail = example.split("event id, and object id:")
    found = ""
    for line in listing.splitlines():
        if line.startswith("    "):
            hexadecimal = re.match(r"(?:[0-9a-f]{2,}(?: |$))*", line.strip() + " ")
            assert hexadecimal is not None
            found += hexadecimal.group().replace(" ", "")
    assert found == first["hex"]
    assert tail.strip() == first["id"]


def test_every_refusal_is_in_the_table_with_its_rule() -> None:
    listed = [(row[0], row[1]) for row in rows("7. Refusals") if "/" in row[0]]
    assert sorted(listed) == sorted((reason.value, reason.rule) for reason in Reason)


def test_every_op_has_its_number() -> None:
    table = next(part for part in text().split("\n\n") if part.startswith("| number | op |"))
    known: dict[str, int] = {}
    for line in table.splitlines()[2:]:
        number, name, _ = (cell.strip() for cell in line.strip("|").split("|"))
        known[name] = int(number)
    every = vars(edits) | vars(ops)
    assert known == {name: every[name] for name in known}
    assert sorted(ops._READERS) == sorted(known.values())


def test_the_limits_are_those_of_the_code() -> None:
    table = text().split("### EV-7 Limits", 1)[1].split("### EV-8", 1)[0]
    cells = [row.strip("| ").split(" | ") for row in table.splitlines() if " | " in row.strip("| ")]
    limit = {row[0]: row[1] for row in cells}
    assert limit == {
        "event, envelope included": f"{limits.EVENT_BYTES_MAX:,} bytes",
        "nesting of a value": f"{limits.DEPTH_MAX}",
        "elements of arrays and pairs of maps in a payload, all levels together": (
            f"{limits.ITEMS_MAX:,}"
        ),
        "parents": f"{limits.PARENTS_MAX}",
        "ops": f"{limits.OPS_MAX:,}",
        "field name": f"1..{limits.NAME_BYTES_MAX} characters of `[A-Za-z0-9_.-]`",
        "key of a dict": f"0..{limits.KEY_BYTES_MAX} bytes of UTF-8",
        "values of a LIST_INSERT": f"1..{limits.RUN_MAX:,}",
        "spans of a LIST_DELETE, adds of a SET_REMOVE": f"1..{limits.TARGETS_MAX:,}",
        "model name": f"1..{limits.MODEL_BYTES_MAX} characters, `[A-Za-z_][A-Za-z0-9_]*`",
        "fields in a policy": f"{limits.POLICY_FIELDS_MAX}",
        "recipients of an EPOCH, suite 1": f"1..{limits.RECIPIENTS_MAX:,}",
        "recipients of an EPOCH, suite 2": f"1..{limits.HYBRID_RECIPIENTS_MAX:,}",
    }


def test_every_decision_it_names_is_there() -> None:
    named = re.findall(r"\((decisions/[^)]+)\)", text())
    assert named
    assert all((TOP / "docs" / name).is_file() for name in named)
