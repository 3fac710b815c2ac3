"""The child side of `support.hosts`: runs the Python it is told, one JSON line at a time."""

import ast
import json
import sys
from typing import Any


def main() -> None:
    """Serve requests ``{"run": code}`` until standard input ends.

    The answer holds the repr-able value of a last expression, or the error's type and text.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    for line in sys.stdin:
        code = json.loads(line)["run"]
        try:
            tree = ast.parse(code)
            last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, "<host>", "exec"), names)  # noqa: S102 - what it is for
            value = None
            if isinstance(last, ast.Expr):
                expression = compile(ast.Expression(last.value), "<host>", "eval")
                value = eval(expression, names)  # noqa: S307 - what it is for
            answer = {"value": value}
        except Exception as error:  # noqa: BLE001 - the test decides what it means
            answer = {"error": type(error).__name__, "text": str(error)}
        sys.__stdout__.write(json.dumps(answer, default=repr) + "\n")  # type: ignore[union-attr]
        sys.__stdout__.flush()  # type: ignore[union-attr]


if __name__ == "__main__":
    main()
