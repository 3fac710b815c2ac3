"""Every function that takes outside bytes takes any, and what it lets in has one spelling.

A failing test shows the input in hexadecimal. Its smallest form becomes a seed of the target.
"""

from __future__ import annotations

import ast
import functools
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dinemic_engine.errors import InvalidEvent
from dinemic_engine.event import open_envelope_untrusted, read_event_untrusted
from fuzz.__main__ import KEPT_BYTES_MAX, chosen
from fuzz.mutation import mutated
from fuzz.run import _search
from fuzz.target import CORPUS, ROOT, Finding, Target, kept
from fuzz.targets import TARGETS
from fuzz.values import IROH
from support.figures import count
from support.hostile_cases import LOG

FOLDERS: Final = ("engine/dinemic_engine", "transport/dinemic_transport", "dinemic")


@functools.cache
def inputs(name: str) -> list[bytes]:
    """What a target begins with: its seeds, and what was found to reach more."""
    return [*TARGETS[name].seeds(), *kept(name)]


def tried(name: str, data: bytes) -> set[CodeType]:
    inputs(name)  # what is imported late is no input's work
    try:
        called = TARGETS[name].try_one(data)
    except Exception as error:
        error.add_note(f"target {name}, input {data.hex()}")
        raise
    count("fuzzed inputs")
    return called


@functools.cache
def replayed(name: str) -> frozenset[CodeType]:
    """The `_untrusted` functions that the inputs of a target call."""
    return frozenset().union(*(tried(name, data) for data in inputs(name)))


# -- any bytes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_kept_is_taken_again(name: str) -> None:
    assert replayed(name)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=3 * settings().max_examples)
@given(which=st.integers(0, 1 << 16), chance=st.randoms(use_true_random=False))
def test_inputs_that_are_nearly_right_are_taken_or_refused(
    name: str, which: int, chance: random.Random
) -> None:
    known = inputs(name)
    tried(name, mutated(known[which % len(known)], chance, known))


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_taken_or_refused(name: str, data: bytes) -> None:
    tried(name, data)


# -- every function -----------------------------------------------------------------------------


def untrusted() -> Iterator[tuple[str, str]]:
    """File and qualified name of every function that takes outside bytes."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if IROH or not path.name.startswith("iroh_"):
                tree = ast.parse(path.read_text("utf-8"))
                yield from ((str(path), name) for name in _names(tree, ""))


def _names(node: ast.AST, inside: str) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.ClassDef(name=name):
                yield from _names(child, f"{inside}{name}.")
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                if name.endswith("_untrusted"):
                    yield f"{inside}{name}"
                yield from _names(child, f"{inside}{name}.<locals>.")
            case _:
                yield from _names(child, inside)


def test_every_function_that_takes_outside_bytes_is_called_by_some_target() -> None:
    called = {(code.co_filename, code.co_qualname) for name in TARGETS for code in replayed(name)}
    wanted = set(untrusted())
    assert len(wanted) > 50
    assert wanted <= called, "it needs a target, or a seed that reaches it"


# -- the tools ----------------------------------------------------------------------------------


def test_changes_go_deep_without_breaking_what_is_around_them(rng: random.Random) -> None:
    known = [each.raw for each in LOG]
    whole = deep = 0
    for _ in range(2000):
        data = mutated(rng.choice(known), rng, known)
        try:
            parts = open_envelope_untrusted(data)
            whole += 1
            read_event_untrusted(parts, verified=True)
        except InvalidEvent:
            continue
        deep += data not in known
    assert whole > 500, f"of 2000 changed events {whole} have an envelope"
    assert deep > 30, f"of 2000 changed events {deep} are other events"


def test_an_input_that_takes_the_square_of_its_length_is_a_finding() -> None:
    def square(data: bytes) -> None:
        for _ in data:
            for _ in data:
                len(data)

    target = Target(square, list, calls=100, calls_per_byte=20)
    target.try_one(b"few")
    with pytest.raises(Finding, match=r"25\d{4} calls for 500 bytes"):
        target.try_one(bytes(500))


def test_the_search_finds_what_only_a_few_inputs_do(tmp_path: Path) -> None:
    def picky(data: bytes) -> None:
        open_envelope_untrusted(inputs("event")[0])
        assert data.count(b"\xff") < 9

    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "seed-0").write_bytes(b"\x41x")
    _search(Target(picky, list), 60, 1, tmp_path)
    (found,) = tmp_path.glob("crash-*")
    assert found.read_bytes().count(b"\xff") >= 9


def test_of_inputs_that_reach_the_same_the_shortest_is_kept() -> None:
    target = Target(TARGETS["wire"].run, list)
    short, long = sorted((data for data in inputs("wire")), key=len)[:2]
    assert chosen(target, [long, short, short]) in ([short], [short, long])
    assert chosen(TARGETS["wire"], inputs("wire")[:5]) == []


def test_the_long_run_tells_of_each_target() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "fuzz", "certificate", "text", "--seconds", "1", "--jobs", "2"],
        cwd=ROOT / "tests",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    _, *targets, total = run.stdout.splitlines()
    counts = []
    for line, wanted in zip(targets, ("certificate", "text"), strict=True):
        name, count, _, findings = line.split()
        assert (name, findings) == (wanted, "0")
        counts.append(int(count))
    assert min(counts) > 10
    assert total == f"2 targets, 1 s each: {sum(counts):,} inputs, 0 findings"


def test_the_corpus_is_of_these_targets_and_small() -> None:
    files = sorted(CORPUS.iterdir())
    assert {path.stem for path in files} | {"proof"} == {*TARGETS, "proof"}
    for path in files:
        found = kept(path.stem)
        assert len(found) == len(set(found))
        assert sum(map(len, found)) <= KEPT_BYTES_MAX
    assert sum(path.stat().st_size for path in files) < 300_000
