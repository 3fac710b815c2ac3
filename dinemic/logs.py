"""What the library prints, and that nobody outside can forge a line of it.

Modules log through ``logging.getLogger(__name__)``. Until `set_loglevel` is called nothing is
installed, so `logging` itself decides: warnings and errors go to stderr, the rest nowhere. An
application with its own logging set-up (a handler on the root logger) keeps it: then the handler
here stays silent, no line comes twice and `set_loglevel` only chooses how much is logged.

Names and errors may carry text of strangers. A line printed here holds printable characters only:
newlines, ESC, direction marks and the like are escaped, and the lines of a traceback begin with
a bar, so no text can look like a line of its own.
"""

from __future__ import annotations

import logging
import sys
from typing import Final

VERBOSE: Final = 5
"""Below DEBUG: every frame and every step."""

ACTION: Final = 45
"""Above ERROR: only what the user's own listeners and guards did."""

_SILENT: Final = 1_000_000

LEVELS: Final[dict[str, int]] = {
    "verbose": VERBOSE,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "error": logging.ERROR,
    "action": ACTION,
    "none": _SILENT,
}
"""The names `set_loglevel` takes, from everything to nothing, as levels of `logging`."""

_LOGGERS: Final = ("dinemic", "dinemic_transport")
_LEVEL_NAMES: Final = {VERBOSE: "VERBOSE", ACTION: "ACTION"}


def set_loglevel(level: str) -> None:
    """Print what is at least as grave as `level` on stderr; ``none`` prints nothing.

    May be called again at any time, from any thread.

    Raises:
        ValueError: not one of `LEVELS`, in exactly that spelling; nothing was changed.
    """
    if level not in [*LEVELS]:  # a list: what is no text, hashable or not, is refused as well
        raise ValueError(f"unknown log level {level!r}: one of {', '.join(LEVELS)}")
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.addHandler(_HANDLER)  # adding the same handler again changes nothing
        logger.setLevel(LEVELS[level])


def printable(text: str) -> str:
    """`text` with every character that does not print escaped, so it stays on one line."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


class _LineFormatter(logging.Formatter):
    """``time LEVEL logger: text``, one line, then a traceback behind bars if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        level = _LEVEL_NAMES.get(record.levelno, record.levelname)
        head = f"{self.formatTime(record)} {level} {record.name}: {record.getMessage()}"
        lines = [printable(head)]
        if record.exc_info:
            lines += _behind_bars(self.formatException(record.exc_info))
        if record.stack_info:
            lines += _behind_bars(self.formatStack(record.stack_info))
        return "\n".join(lines)


def _behind_bars(text: str) -> list[str]:
    return ["    | " + printable(line) for line in text.splitlines()]


class _StderrHandler(logging.Handler):
    """Writes to what stderr is at that moment, unless the root logger has handlers of its own."""

    def emit(self, record: logging.LogRecord) -> None:
        if logging.getLogger().handlers:
            return
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except Exception:  # noqa: BLE001 - the contract of logging: report it, never raise
            self.handleError(record)


_HANDLER: Final = _StderrHandler()
_HANDLER.setFormatter(_LineFormatter())
