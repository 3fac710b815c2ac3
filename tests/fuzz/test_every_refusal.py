"""Whatever a reader of outside bytes can refuse, some input has it refused.

A refusal is a line with a `raise`, or one that ends a session. One that no seed and no kept input
reaches cannot happen, or has never been tried: the first is to be deleted, the second needs a seed.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Final, cast

import pytest

from dinemic_engine import errors
from dinemic_engine.errors import DinemicError, Reason
from fuzz.run import lines_of
from fuzz.target import ROOT, kept
from fuzz.targets import TARGETS

READERS: Final = {
    "engine/dinemic_engine": (
        *("bundle", "canonical", "edits", "event", "ids", "keys", "listing", "ops", "reconcile"),
    ),
    "transport/dinemic_transport": (
        *("addresses", "arrivals", "catchup", "comparison", "driver", "frames", "liveness"),
        *("queues", "rows", "session", "wire", "work"),
    ),
}
"""Modules by folder."""

OURS: Final = {
    *("Sealed.__post_init__", "encode_checked", "_check", "_utf8", "_seal_form"),  # our values
    *("SigningKey.__reduce__", "SealingKey.__reduce__", "SealingKey.__init__"),  # our own keys
    *("verify", "encode_frame"),  # lengths that our own callers see to
}
"""Functions that refuse what comes from our own side."""

_VECTORS: Final = "unit/test_event_vectors.py::test_a_refused_event_is_refused_for_its_reason"
_LIARS: Final = "unit/test_session_liars.py::test_messages_that_fit_no_request_are_refused"
_QUESTIONS: Final = "unit/test_ranges_liars.py::test_a_question_against_the_rules_is_refused"
ELSEWHERE: Final = {
    # longer than an input may be
    "canonical.decode_untrusted": "unit/test_canonical.py::"
    "test_bytes_longer_than_an_event_are_refused_unread",
    "canonical._scan_items": "unit/test_canonical.py::"
    "test_items_are_counted_at_every_level_and_alike_in_both_directions",
    "edits._many": _VECTORS,
    "event._check_size": _VECTORS,
    "event._event": _VECTORS,
    "ops._read_recipients": _VECTORS,
    "queues.Inbox.join_untrusted": _LIARS,
    "reconcile.Reconciler.ask": "unit/test_ranges_liars.py::"
    "test_a_peer_that_always_differs_is_given_up_after_the_last_round",
    "rows.Rows.heard_untrusted": _LIARS,
    "session.Session._overflow": "unit/test_session_liars.py::"
    "test_a_peer_that_does_not_read_what_it_is_told_is_closed",
    # wire.py refuses it before
    "reconcile.check_untrusted": _QUESTIONS,
}
"""Functions with a refusal that no input of a target reaches, and the test that does."""

SLOW: Final = ("history", "book", "command_line")
"""Targets that refuse nothing but what others do."""


@functools.cache
def reached() -> frozenset[tuple[str, int]]:
    """File and line of all that the inputs of the targets reach."""
    found: set[tuple[str, int]] = set()
    for name, target in TARGETS.items():
        if name not in SLOW:
            for data in (*target.seeds(), *kept(name)):
                for code, line in cast("set[tuple[CodeType, int]]", lines_of(target, data)):
                    found.add((code.co_filename, line))
    return frozenset(found)


def refusals(tree: ast.AST, inside: str = "") -> Iterator[tuple[int, str]]:
    """Line and function of all that refuses in a module."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                yield from refusals(node, f"{inside}.{name}".lstrip("."))
            case ast.Raise(exc=ast.Call(ast.Name("AssertionError"))):
                pass  # a promise of ours
            case ast.Raise() | ast.Expr(ast.Call(ast.Attribute(attr="close" | "_refuse"))):
                yield node.lineno, inside
            case _:
                yield from refusals(node, inside)


def missed() -> Iterator[tuple[str, str]]:
    """Function and text of every refusal that no input reaches."""
    for folder, modules in READERS.items():
        for module in modules:
            path = ROOT / folder / f"{module}.py"
            text = path.read_text("utf-8")
            for line, function in refusals(ast.parse(text)):
                if function not in OURS and (str(path), line) not in reached():
                    yield f"{module}.{function}", text.splitlines()[line - 1].strip()


def test_every_refusal_of_outside_bytes_is_reached() -> None:
    found = list(missed())
    assert [each for each in found if each[0] not in ELSEWHERE] == []
    assert {function for function, _ in found} == set(ELSEWHERE), "some is reached by now"


# -- rules and errors ---------------------------------------------------------------------------


@functools.cache
def text_of_tests() -> str:
    """All tests but this one."""
    paths = (path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__))
    return "\n".join(path.read_text("utf-8") for path in paths)


def rules() -> set[str]:
    """Every rule that docs/format.md names."""
    text = (ROOT / "docs/format.md").read_text("utf-8")
    return set(re.findall(r"\b(?:EV|ORD|AUTH|SEAL|TYPE|VETO|REC|GOS|CHAN)-\d+\b", text))


KEPT_BY: Final = {
    "EV-4": "unit/test_event_bytes.py::test_the_object_id_is_the_id_of_the_genesis",
    "ORD-7": "property/test_ledger_convergence.py::test_i_01_any_delivery_ends_equal",
    "ORD-8": "unit/test_event_vectors.py::test_events_are_refused_in_context_for_their_reason",
    "REC-3": "unit/test_session.py::"
    "test_everything_missing_is_exchanged_in_frames_and_in_ascending_order",
    "REC-5": "unit/test_session.py::test_a_change_nobody_announced_is_found_by_the_recheck",
    "GOS-1": "unit/test_gossip.py::"
    "test_a_link_is_eager_until_it_is_pruned_and_again_when_it_is_grafted",
    "GOS-2": "unit/test_overlay.py::test_who_is_sent_away_was_told_of_others_before",
    "GOS-3": "unit/test_budget.py::test_no_stretch_of_time_sees_more_than_the_invariant_says",
    "GOS-5": "unit/test_peers.py::"
    "test_of_one_public_network_more_than_two_are_dialled_only_for_want_of_others",
    "CHAN-2": "unit/test_channel_strangers.py::test_a_tls_client_of_another_kind_is_refused",
    "CHAN-3": "unit/test_who_gets_a_link.py::test_another_cluster_or_cluster_key_gets_nowhere",
    "CHAN-4": "unit/test_frames.py::test_a_bad_length_ends_the_stream_as_soon_as_it_is_known",
}
"""A test of each rule that no test and no refusal names."""


def test_every_rule_of_the_format_is_kept_by_some_test() -> None:
    named = set(re.findall(r"\b[A-Z]+-\d+\b", text_of_tests()))
    named |= {reason.rule for reason in Reason}  # each is reached: test_event_vectors
    assert len(rules()) > 50
    assert rules() - named - set(KEPT_BY) == set()
    assert set(KEPT_BY) <= rules()


def errors_of(kind: type[DinemicError]) -> Iterator[type[DinemicError]]:
    """An error and all below it, but for those of events: each of their reasons is reached."""
    yield kind
    for each in kind.__subclasses__():
        if each.__module__ == errors.__name__ and each is not errors.InvalidEvent:
            yield from errors_of(each)


def test_every_error_is_named_by_some_test() -> None:
    expected = set(
        re.findall(r"\b[A-Z]\w+\b", " ".join(re.findall(r"raises\([^\n]*", text_of_tests())))
    )
    leaves = {kind.__name__ for kind in errors_of(DinemicError) if not kind.__subclasses__()}
    assert leaves - expected == set()


@pytest.mark.parametrize("test", sorted({*ELSEWHERE.values(), *KEPT_BY.values()}))
def test_what_is_said_to_keep_it_is_there(test: str) -> None:
    file, _, name = test.partition("::")
    assert f"\ndef {name}(" in (ROOT / "tests" / file).read_text("utf-8")
