"""Where the demonstration plays: two host processes, and a transcript that checks what they say."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from dinemic.logs import printable

_STOP_SECONDS: Final = 10.0
_WIDTH: Final = 80


class Unexpected(Exception):
    """Something did not come out as the demonstration says it does."""


class Host:
    """A process with a home of its own that runs the statements it is given.

    What it logs goes to `log`. The process ends when its standard input does, so it never stays
    behind, however this one ends.
    """

    def __init__(self, name: str, home: Path, log: Path, options: Mapping[str, str]) -> None:
        self.name: Final = name
        self.home: Final = home
        self._log = log
        self._options = {**options, "DINEMIC_HOME": str(home)}
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> int:
        """Start the process, again after `kill`; its number."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "dinemic.cli.demo_host"],
                env=child_environment(self._options),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # Ctrl-C is for us, and we end both
            )
        return self._process.pid

    def ask(self, question: Mapping[str, object]) -> dict[str, Any]:
        """The answer of the process to one line of JSON.

        Raises:
            Unexpected: it ended instead.
        """
        process = self._process
        assert process is not None, "asked before it was started"
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = ""
        if not line:
            raise Unexpected(f"host {self.name} has ended; its last words: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def kill(self) -> None:
        """End the process with SIGKILL, at once and without a farewell."""
        if self._process is not None:
            self._process.kill()
            self._end(self._process)
            self._process = None

    def cut(self) -> None:
        """Kill the process from another thread; whoever waits for an answer is told it ended."""
        process = self._process
        if process is not None:
            process.kill()

    def stop(self) -> int:
        """Let the process end by itself; its exit code."""
        process, self._process = self._process, None
        assert process is not None, "stopped before it was started"
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        return self._end(process)

    @staticmethod
    def _end(process: subprocess.Popen[str]) -> int:
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):  # of no use to a dead process
                    stream.close()
        return process.wait()

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()
        return printable(lines[-1]) if lines else "none"


def child_environment(options: Mapping[str, str]) -> dict[str, str]:
    """Our environment for a child that imports what we import and has these options alone."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("DINEMIC_")
    }
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    return {**inherited, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", **options}


class Stage:
    """Runs statements on hosts, shows them as they run, and checks what comes out."""

    def __init__(self, *, silent: bool) -> None:
        self._silent = silent
        self._begin = time.monotonic()
        self.transcript: list[dict[str, object]] = []

    def seconds(self) -> float:
        """Since the beginning, rounded for people."""
        return round(time.monotonic() - self._begin, 2)

    def title(self, text: str) -> None:
        """Begin a scene."""
        self._show()
        self._show(click.style(f"-- {text} ".ljust(_WIDTH, "-"), bold=True))
        self._show()

    def note(self, text: str) -> None:
        """Tell what happens between the statements."""
        self.transcript.append({"note": text, "at": self.seconds()})
        self._show(textwrap.indent(f"({text})", "   "))

    def run(self, host: Host, source: str) -> str:
        """Run statements that must not raise; what they print, without the last newline."""
        output, error = self._run(host, source)
        if error is not None:
            raise Unexpected(f"host {host.name}: {source.splitlines()[0]!r} raised {error}")
        return output

    def prints(self, host: Host, source: str, expected: str) -> None:
        """Run statements that must print exactly `expected`."""
        output = self.run(host, source)
        if output != expected:
            raise Unexpected(f"host {host.name}: {source!r} printed {output!r}, not {expected!r}")

    def raises(self, host: Host, source: str, expected: str) -> None:
        """Run statements that must end with an exception of the class called `expected`."""
        output, error = self._run(host, source)
        if error is None or error.partition(":")[0] != expected:
            came = f"raised {error}" if error else f"printed {output!r}"
            raise Unexpected(f"host {host.name}: {source!r} {came}, and did not raise {expected}")

    def until(self, host: Host, condition: str, seconds: float) -> float | None:
        """Wait for an expression to be true on a host: how long it took, None if it did not."""
        begin = time.monotonic()
        met = host.ask({"until": condition, "seconds": seconds})["met"]
        return time.monotonic() - begin if met else None

    def arrives(self, host: Host, condition: str, what: str) -> None:
        """Wait until something has come to a host from the other, which takes no user's help."""
        took = self.until(host, condition, 10)
        if took is None:
            raise Unexpected(f"{what} did not come to host {host.name} within 10 s")
        self.note(f"{took * 1000:.0f} ms later {host.name} has {what}")

    def _run(self, host: Host, source: str) -> tuple[str, str | None]:
        first, *more = source.splitlines()
        self._show(click.style(f"{host.name}> ", bold=True) + first)
        for line in more:
            self._show(click.style(f"{host.name}. ", bold=True) + line)
        answer = host.ask({"run": source})
        output, error = answer["output"].removesuffix("\n"), answer["error"]
        step = {"host": host.name, "source": source, "output": output, "error": error}
        self.transcript.append({**step, "at": self.seconds()})
        for line in output.splitlines():
            self._show(printable(line))
        if error:
            self._show(click.style(printable(error), fg="red"))
        return output, error

    def _show(self, text: str = "") -> None:
        if not self._silent:
            click.echo(text)
