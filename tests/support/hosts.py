"""Real hosts for tests: one operating system process each, told what to run, killed for real."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ANSWER_SECONDS_MAX = 60.0

PERSON = """
class Person({module}.DModel):
    name = {module}.DField('name', False)
    salary = {module}.DField('salary', True)
"""


class RemoteError(Exception):
    """The host's code raised; `kind` is the name of the exception's type."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


class Host:
    """A process that runs Python we send it. Standard error goes to `log`."""

    def __init__(self, home: Path, *, prefix: Sequence[str] = (), log: Path) -> None:
        self.home = home
        self.log = log
        environment = {**os.environ, "DINEMIC_HOME": str(home), "PYTHONUNBUFFERED": "1"}
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [*prefix, sys.executable, str(Path(__file__).with_name("host_main.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
            )

    @property
    def pid(self) -> int:
        """The process id (of the prefix command, if there is one)."""
        return self._process.pid

    def run(self, code: str) -> Any:
        """Run `code` there; the value of its last expression, if it is one.

        Raises:
            RemoteError: it raised.
        """
        self.send(code)
        return self.receive()

    def send(self, code: str) -> None:
        """Begin to run `code`; `receive` waits for it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"run": code}).encode() + b"\n")
        self._process.stdin.flush()

    def receive(self) -> Any:
        """The answer to what was sent."""
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], ANSWER_SECONDS_MAX)
        if not ready:
            raise TimeoutError(f"no answer in {ANSWER_SECONDS_MAX} s; log: {self.tail()}")
        line = self._process.stdout.readline()
        if not line:
            raise EOFError(f"the host ended; log: {self.tail()}")
        answer = json.loads(line)
        if "error" in answer:
            raise RemoteError(answer["error"], answer["text"])
        return answer["value"]

    def tail(self) -> str:
        """The end of what it wrote to standard error."""
        return self.log.read_text(errors="replace")[-4000:]

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)
        self._close()

    def stop(self) -> None:
        """End in order: standard input closes, the interpreter exits."""
        if self._process.poll() is None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                raise
        self._close()

    def _close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    # -- what most tests do --

    def launch(self, module: str = "dinemic", **options: object) -> str:
        """Launch a node, on loopback unless said otherwise; the address it listens on."""
        given = {"listen": "127.0.0.1:0", "discover": False, **options}
        self.run(f"import {module}, time\nnode = {module}.launch(**{given!r})")
        self.run(PERSON.format(module=module))
        return str(self.run("node.network.addresses[0]"))

    def wait(self, condition: str, seconds: float = 30.0) -> None:
        """Wait until `condition` holds there, looking every 10 ms."""
        self.run(
            f"end = time.monotonic() + {seconds}\n"
            f"while not ({condition}):\n"
            f"    assert time.monotonic() < end, 'still not: ' + {condition!r}\n"
            "    time.sleep(0.01)\n"
        )

    def digest(self) -> str:
        """The digest over all objects there."""
        return str(self.run("node.view.digest_all().hex()"))


@contextmanager
def hosts(
    directory: Path, *names: str, prefixes: Sequence[Sequence[str]] = ()
) -> Iterator[list[Host]]:
    """Fresh hosts, ended whatever happens."""
    running: list[Host] = []
    try:
        for index, name in enumerate(names):
            prefix = prefixes[index] if prefixes else ()
            running.append(Host(directory / name, prefix=prefix, log=directory / f"{name}.log"))
        yield running
    finally:
        for host in running:
            if host._process.poll() is None:
                host._process.kill()
                host._process.wait(10)
            host._close()
