"""What `set_loglevel` shows, and that outside text cannot forge a line."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest

from dinemic import logs

NAMES = ("dinemic", "dinemic_transport")
ORDER = ("verbose", "debug", "info", "error", "action", "none")
LOGGED_AT = (logs.VERBOSE, logging.DEBUG, logging.INFO, logging.ERROR, logs.ACTION)


@pytest.fixture(autouse=True)
def _loggers_as_found() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in NAMES]
    before = [(logger.level, list(logger.handlers)) for logger in loggers]
    yield
    for logger, (level, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.handlers = handlers


@contextlib.contextmanager
def root_handlers(*handlers: logging.Handler) -> Iterator[None]:
    """The root logger with these handlers only; pytest adds its own right before a test."""
    root = logging.getLogger()
    before, root.handlers = root.handlers, list(handlers)
    try:
        yield
    finally:
        root.handlers = before


@root_handlers()
def test_each_level_shows_itself_and_what_is_graver(capsys: pytest.CaptureFixture[str]) -> None:
    for position, name in enumerate(ORDER):
        logs.set_loglevel(name)
        for level in LOGGED_AT:
            logging.getLogger("dinemic.node").log(level, "at %d", level)
        shown = [int(line.rpartition(" ")[2]) for line in capsys.readouterr().err.splitlines()]
        assert shown == list(LOGGED_AT[position:])


@root_handlers()
def test_none_silences_even_critical(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_loglevel("none")
    logging.getLogger("dinemic").critical("lost")
    assert capsys.readouterr().err == ""


@root_handlers()
def test_both_packages_follow_and_a_second_call_prints_nothing_twice(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.set_loglevel("debug")
    logs.set_loglevel("info")
    logging.getLogger("dinemic_transport.runner").info("one")
    logging.getLogger("dinemic.node").info("two")
    logging.getLogger("dinemic.node").debug("hidden")
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" INFO ")[2] for line in lines] == [
        "dinemic_transport.runner: one",
        "dinemic.node: two",
    ]


@pytest.mark.parametrize("level", ["", "Info", "INFO", "warning", "trace", None, 10, ["info"]])
def test_any_other_level_is_refused_naming_the_six(level: object) -> None:
    before = logging.getLogger("dinemic").level
    with pytest.raises(ValueError, match="verbose, debug, info, error, action, none"):
        logs.set_loglevel(level)  # type: ignore[arg-type]
    assert logging.getLogger("dinemic").level == before


@root_handlers()
def test_our_two_levels_are_printed_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_loglevel("verbose")
    logging.getLogger("dinemic").log(logs.VERBOSE, "frame")
    logging.getLogger("dinemic").log(logs.ACTION, "vetoed")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == [
        "VERBOSE dinemic: frame",
        "ACTION dinemic: vetoed",
    ]


@pytest.mark.parametrize(
    "hostile",
    [
        "x\n2026-01-01 00:00:00 INFO dinemic: all is well",
        "x\r\nforged",
        "x\x1b[2Jcleared",
        "x\u202eesrever",
        "x\u2028next\u2029next\x85next\x0bnext\x0cnext",
        "x\x00\x07\x9b31m",
        "x\udcff",
    ],
)
@root_handlers()
def test_hostile_text_stays_on_its_line_and_is_escaped(
    hostile: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.set_loglevel("info")
    logging.getLogger("dinemic").info("peer says %s", hostile)
    shown = capsys.readouterr().err
    assert shown.endswith("\n")
    assert len(shown.splitlines()) == 1
    assert shown[:-1].isprintable()
    assert "peer says x\\" in shown


def test_text_of_people_is_left_as_it_is() -> None:
    for text in ("", "Zoë 你好 🙂", 'C:\\path "quoted"'):
        assert logs.printable(text) == text


@root_handlers()
def test_a_traceback_cannot_begin_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_loglevel("info")
    try:
        raise ValueError("bad\n2026-01-01 INFO dinemic: forged\x1b[0m")
    except ValueError:
        logging.getLogger("dinemic").exception("failed")
    first, *rest = capsys.readouterr().err.splitlines()
    assert first.endswith("ERROR dinemic: failed")
    assert rest
    assert all(line.startswith("    | ") and line.isprintable() for line in rest)


def test_an_application_with_its_own_handlers_gets_each_line_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen: list[str] = []

    class Application(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.getMessage())

    with root_handlers(Application()):
        logs.set_loglevel("info")
        logging.getLogger("dinemic").info("hello")
    assert seen == ["hello"]
    assert capsys.readouterr().err == ""


def test_importing_installs_nothing_and_warnings_still_reach_stderr() -> None:
    program = (
        "import logging, dinemic.logs\n"
        "assert not logging.getLogger('dinemic').handlers\n"
        "assert not logging.getLogger().handlers\n"
        "logging.getLogger('dinemic.node').info('quiet')\n"
        "logging.getLogger('dinemic.node').warning('loud')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stderr == "loud\n"
