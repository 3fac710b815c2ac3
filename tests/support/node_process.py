"""`dinemic node` as a process of its own, whose lines can be waited for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SECONDS_MAX = 30.0
ENVIRONMENT = {**os.environ, "DINEMIC_CLUSTER_KEY": "a key for these tests only"}


class Process:
    """A command of ours in a process; it is killed if it takes longer than any test may."""

    def __init__(self, *words: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dinemic.cli", *map(str, words)],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._watchdog = threading.Timer(SECONDS_MAX, self.process.kill)
        self._watchdog.start()

    def line(self) -> str:
        """The next line it prints."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"ended instead: {self.process.communicate()[1]}"
        return line.rstrip("\n")

    def document(self) -> Any:
        """The next line, of JSON."""
        return json.loads(self.line())

    def end(self, number: signal.Signals) -> tuple[int, str, str]:
        """Send a signal; exit code and what it still printed, on both outputs."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> tuple[int, str, str]:
        """The same, of one that ends by itself."""
        out, err = self.process.communicate()
        return self.process.returncode, out, err

    def close(self) -> None:
        """Kill it, if it runs."""
        self._watchdog.cancel()
        self.process.kill()
        self.process.communicate()


class Processes:
    """Processes of one test."""

    def __init__(self) -> None:
        self._started: list[Process] = []

    def start(self, *words: object) -> Process:
        """Run a command."""
        self._started.append(Process(*words))
        return self._started[-1]

    def node(self, *words: object, json: bool = True) -> Process:
        """Run a node on loopback."""
        always = ["node", "--no-discover", "--listen", "127.0.0.1:0"]
        return self.start(*always, *words, *["--json"] * json)

    def close(self) -> None:
        """Kill what still runs."""
        for process in self._started:
            process.close()


@contextmanager
def processes() -> Iterator[Processes]:
    """For the length of a block."""
    found = Processes()
    try:
        yield found
    finally:
        found.close()
