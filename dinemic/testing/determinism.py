"""Finds guards whose answer depends on more than the question, and so differs among nodes (VETO-2).

Three trials, each with another instance of the listener:

    in order, with clock, randomness, files and network out of reach       who reaches is named
    the same questions in another order                                    state, other objects
    in two more processes, whose strings hash differently                  sets, `hash`

`check_guard` does all of it with questions that are given or made up. `Watched` does the first with
the questions of a simulation while it runs, and the second when `review` is called.
"""

from __future__ import annotations

import contextvars
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final, cast

from dinemic.actions import DAction
from dinemic.callbacks import CALLBACKS, Applied, Context, running_context
from dinemic.testing.edits import draw_value
from dinemic.testing.invariants import InvariantBroken
from dinemic.testing.out_of_reach import out_of_reach
from dinemic.testing.sources import load, source_of
from dinemic_engine import canonical
from dinemic_engine.errors import UsageError
from dinemic_engine.ids import ObjectId, db_id, to_text

Make = Callable[[], DAction]
"""A class of listeners that needs no arguments, or what makes one."""

SAMPLES: Final = 200
QUESTIONS_MAX: Final = 2_000
"""Questions one listener of a simulation is asked again."""
PROCESS_SECONDS_MAX: Final = 60.0

_WHENS: Final = {name: (family, when) for (family, when, _), name in CALLBACKS.items()}
_HASH_SEEDS: Final = ("1", "2")


class Undetermined(InvariantBroken):
    """A guard answers one question in two ways, or looks where it may find another answer."""

    def __init__(self, listener: str, callback: str, what: str) -> None:
        super().__init__("VETO-2", f"{listener}.{callback} {what}")
        self.listener = listener
        self.callback = callback


@dataclass(frozen=True, slots=True)
class Question:
    """One call of a guard: the method, what it was called with, and its `context`."""

    callback: str
    args: tuple[Any, ...]
    context: Context


def check_guard(make: Make, questions: Sequence[Question] = (), *, seed: int = 0) -> None:
    """Return if the guards of a listener answer from what they are told and nothing else.

    Without `questions`, made-up ones are asked. The listener is looked up in other processes, so it
    must be defined at the top of a module.

    Raises:
        Undetermined: one of them does not; the message names it and says why.
        UsageError: the listener has no guard, or cannot be found by its name.
    """
    guards = guards_of(make())
    if not guards:
        raise UsageError(f"{name_of(make)} has no guard: none of its callbacks may reject")
    asked = list(questions) or made_up(guards, Random(seed))
    answers = [_asked_out_of_reach(make(), question) for question in asked]
    _compare_in_another_order(make, asked, answers, Random(seed))
    first, second = (_asked_elsewhere(make, asked, hash_seed) for hash_seed in _HASH_SEEDS)
    for question, one, other in zip(asked, first, second, strict=True):
        if one != other:
            what = f"answers {_told(one)} in one process and {_told(other)} in another"
            raise Undetermined(name_of(make), question.callback, f"{what}: {question.args}")


def guards_of(listener: DAction) -> list[str]:
    """Its callbacks that may reject."""
    return sorted(name for name in listener.overridden() if _WHENS[name][1] == "before")


def made_up(guards: Sequence[str], rng: Random) -> list[Question]:
    """Questions of every kind for these callbacks, some about the same object and field."""
    objects = [db_id("Person", ObjectId(rng.randbytes(32))) for _ in range(5)]
    fields = ("value_name", "value_age", "list_tags", "dict_notes", "counter_uses")
    found = []
    for _ in range(SAMPLES):
        callback, target = rng.choice(guards), rng.choice(objects)
        values = (draw_value(rng), draw_value(rng))
        args: dict[str, tuple[Any, ...]] = {
            "create": (target, to_text(rng.randbytes(32))),
            "update": (target, rng.choice(fields), *values),
            "delete": (target, rng.choice(fields), values[0]),
            "remove": (target,),
        }
        context = Context(
            author=to_text(rng.randbytes(32)),
            caller=rng.choice((None, *objects)),
            event=to_text(rng.randbytes(32)),
            t=1_800_000_000_000_000 + rng.randrange(1 << 40),
            authorized=rng.random() < 0.5,
            owned=rng.random() < 0.5,
            detached=rng.random() < 0.2,
            local=rng.random() < 0.5,
            element="",
            ops=(),
        )
        found.append(Question(callback, args[_WHENS[callback][0]], context))
    return found


# -- asking ---------------------------------------------------------------------------------------


def ask(listener: DAction, question: Question) -> str:
    """What a guard raises, or empty; as its node would ask."""
    applied = Applied(listener, contextvars.copy_context())
    try:
        applied.call(question.callback, question.context, *question.args, guard=True)
    except Exception as error:  # noqa: BLE001 - user code: whatever it raises is its answer
        return f"{type(error).__name__}: {error}"
    return ""


def _asked_out_of_reach(listener: DAction, question: Question) -> str:
    with out_of_reach(sys.modules[type(listener).__module__]) as found:
        answer = ask(listener, question)
    if found:
        raise Undetermined(type(listener).__qualname__, question.callback, f"uses {found[0]}")
    return answer


def _compare_in_another_order(
    make: Make, asked: Sequence[Question], answers: Sequence[str], rng: Random
) -> None:
    order = list(range(len(asked)))
    rng.shuffle(order)
    listener = make()
    for at in order:
        again = ask(listener, asked[at])
        if again != answers[at]:
            what = f"answers {_told(answers[at])}, and {_told(again)} when asked in another order"
            raise Undetermined(name_of(make), asked[at].callback, f"{what}: {asked[at].args}")


def _told(answer: str) -> str:
    return f"no ({answer})" if answer else "yes"


# -- in other processes ---------------------------------------------------------------------------

# On standard input [source, name, [[callback, args, context without ops], ...]], and the answers on
# standard output, as values are encoded everywhere.

_ELSEWHERE: Final = "from dinemic.testing.determinism import answer_elsewhere; answer_elsewhere()"


def _asked_elsewhere(make: Make, asked: Sequence[Question], hash_seed: str) -> list[str]:
    name = name_of(make)
    if "<" in name:
        raise UsageError(f"{name} cannot be found by another process: define it in a module")
    said = [
        [each.callback, list(each.args), [getattr(each.context, part) for part in _SAID]]
        for each in asked
    ]
    done = subprocess.run(
        [sys.executable, "-c", _ELSEWHERE],
        input=canonical.encode([source_of(make), name, said]),
        capture_output=True,
        timeout=PROCESS_SECONDS_MAX,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        check=False,
    )
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise UsageError(f"{name} could not be asked in another process: {last}")
    return cast("list[str]", canonical.decode(done.stdout))


_SAID: Final = tuple(name for name in Context.__dataclass_fields__ if name not in ("ops",))


def answer_elsewhere() -> None:
    """The other process: read questions, write answers."""
    source, name, said = cast("list[Any]", canonical.decode(sys.stdin.buffer.read()))
    make: Any = load(source)
    for part in name.split("."):
        make = getattr(make, part)
    listener = make()
    answers = [
        ask(
            listener,
            Question(callback, tuple(args), Context(ops=(), **dict(zip(_SAID, told, strict=True)))),
        )
        for callback, args, told in said
    ]
    sys.stdout.buffer.write(canonical.encode(cast("Any", answers)))


def name_of(make: Make) -> str:
    """What a listener, or what makes it, is called in its module."""
    return getattr(make, "__qualname__", type(make).__qualname__)


# -- in a simulation ------------------------------------------------------------------------------


class Watched:
    """A listener of a simulation whose guards are asked out of reach, and remembered."""

    def __init__(self, make: Make) -> None:
        self.listener: Final = make()
        self.found: Undetermined | None = None
        self._make = make
        self._asked: list[tuple[Question, str]] = []
        for name in guards_of(self.listener):
            setattr(self.listener, name, self._watch(name, getattr(self.listener, name)))

    def _watch(self, name: str, guard: Callable[..., None]) -> Callable[..., None]:
        module = sys.modules[type(self.listener).__module__]

        def watched(*args: Any) -> None:
            context = running_context.get()
            assert context is not None, "a guard is called by its node"
            answer = ""
            with out_of_reach(module) as found:
                try:
                    guard(*args)
                except Exception as error:
                    answer = f"{type(error).__name__}: {error}"
                    raise
                finally:
                    self._note(Question(name, args, context), answer, found)

        return watched

    def _note(self, question: Question, answer: str, found: Sequence[str]) -> None:
        if found and self.found is None:
            kind = type(self.listener).__qualname__
            self.found = Undetermined(kind, question.callback, f"uses {found[0]}")
        if len(self._asked) < QUESTIONS_MAX:
            self._asked.append((question, answer))

    def review(self, rng: Random) -> None:
        """Return if nothing was found, and another instance answers alike in another order.

        Raises:
            Undetermined: something was, or it does not.
        """
        if self.found is not None:
            raise self.found
        asked, answers = [each[0] for each in self._asked], [each[1] for each in self._asked]
        _compare_in_another_order(self._make, asked, answers, rng)
