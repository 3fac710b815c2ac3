r"""One host of the demonstration: a Python whose statements come through a pipe.

A line of JSON comes in, a line of JSON goes out for each:

    {"run": "print(p.name.get())"}                 {"output": "Bob\n", "error": null}
    {"until": "'...' in ...", "seconds": 10}       {"met": true}

What the demonstration shows is what runs here, statement by statement, and what a user could type.
"""

from __future__ import annotations

import code
import contextlib
import io
import json
import sys
import time
from typing import Final

_PAUSE_SECONDS: Final = 0.01
"""Between two looks at whether a condition is met."""


class Interpreter(code.InteractiveInterpreter):
    """An interpreter that remembers what was printed and what was raised."""

    def __init__(self) -> None:
        super().__init__({"__name__": "__main__"})
        self._error: str | None = None

    def run(self, source: str) -> dict[str, str | None]:
        """Run statements, as in a script; what they printed, and the exception that ended them."""
        self._error = None
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            if self.runsource(source + "\n", symbol="exec"):
                self._error = "SyntaxError: the statement is not complete"
        return {"output": printed.getvalue(), "error": self._error}

    def until(self, condition: str, seconds: float) -> dict[str, bool]:
        """Wait until an expression is true; False if it is not within `seconds`."""
        compiled = compile(condition, "<until>", "eval")
        end = time.monotonic() + seconds
        while not eval(compiled, self.locals):  # noqa: S307 - the demonstration's own text
            if time.monotonic() > end:
                return {"met": False}
            time.sleep(_PAUSE_SECONDS)
        return {"met": True}

    def showtraceback(self) -> None:
        """Keep the last line of a traceback."""
        self._remember()

    def showsyntaxerror(self, filename: str | None = None, **options: object) -> None:
        """Keep the last line of a traceback."""
        self._remember()

    def _remember(self) -> None:
        kind, value, _ = sys.exc_info()
        assert kind is not None, "called while an exception is handled"
        self._error = f"{kind.__name__}: {value}"


def main() -> None:
    """Serve standard input until it ends."""
    interpreter = Interpreter()
    answers = sys.stdout  # what the code prints goes elsewhere
    for line in sys.stdin:
        asked = json.loads(line)
        answer: dict[str, object]
        if "run" in asked:
            answer = {**interpreter.run(asked["run"])}
        else:
            answer = {**interpreter.until(asked["until"], asked["seconds"])}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
