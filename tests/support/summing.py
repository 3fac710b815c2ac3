"""Adds up what tests count (`support.figures`), and holds a run of the whole suite to its goals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest

from support import figures

DONE = "figures"
"""The name under which a test's report carries what it counted."""


class Summing:
    """What a run came to, told at its end. A plugin of pytest."""

    def __init__(self, config: pytest.Config) -> None:
        self._of_all = _takes_all(config)
        self._parts: list[figures.Figures] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Have properties count their examples."""
        tests = {getattr(item, "function", None) for item in items}
        for test in tests:
            if hasattr(test, "hypothesis"):
                figures.count_examples(test)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        """Put what a test counts into its report."""
        with figures.counting() as done:
            yield
        item.user_properties.append((DONE, done))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take what a test counted, if it passed."""
        if report.when == "call" and report.passed:
            told = dict(report.user_properties).get(DONE, {})
            self._parts.append(cast(figures.Figures, told))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Make a run of everything that did too little a failed one."""
        if self._of_all and session.exitstatus == pytest.ExitCode.OK and self.missed:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show the table."""
        lines = figures.table(figures.total(self._parts), whole=self._of_all)
        if lines:
            terminalreporter.section("what this run did")
            for line in lines:
                terminalreporter.write_line(line)

    @property
    def missed(self) -> list[str]:
        """The figures below their goals."""
        return figures.missed(figures.total(self._parts))


def _takes_all(config: pytest.Config) -> bool:
    """Whether this process hears of every test there is: no worker, and nothing left out."""
    asked = config.option
    return (
        config.args_source is pytest.Config.ArgsSource.TESTPATHS
        and asked.markexpr in ("", "not long")
        and not any((asked.keyword, asked.deselect, asked.ignore, asked.ignore_glob))
        and not any((asked.collectonly, asked.maxfail, getattr(asked, "lf", False)))
        and not hasattr(config, "workerinput")
    )
