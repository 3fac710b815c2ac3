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

HURRY = """
import sys, dinemic.net
for name, seconds in (
    ('BACKOFF_SECONDS', (0.25, 1.0)),
    ('DIAL_SECONDS_MAX', 2.0),
    ('HANDSHAKE_SECONDS_MAX', 2.0),
    ('HELLO_SECONDS', 2.0),
    ('PING_SECONDS', 1.0),
    ('PROMISE_SECONDS', 2.0),
    ('RECHECK_SECONDS', (3.0, 6.0)),
    ('REQUEST_SECONDS', 3.0),
    ('SILENCE_SECONDS', 3.0),
    ('WRITE_SECONDS_MAX', 4.0),
):
    users = [
        module
        for where, module in list(sys.modules.items())
        if where.startswith('dinemic_transport') and hasattr(module, name)
    ]
    assert users, name
    for module in users:
        setattr(module, name, seconds)
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

    def run(self, code: str, seconds: float = ANSWER_SECONDS_MAX) -> Any:
        """Run `code` there; the value of its last expression, if it is one, in that time.

        Raises:
            RemoteError: it raised.
        """
        self.send(code)
        return self.receive(seconds)

    def send(self, code: str) -> None:
        """Begin to run `code`; `receive` waits for it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"run": code}).encode() + b"\n")
        self._process.stdin.flush()

    def receive(self, seconds: float = ANSWER_SECONDS_MAX) -> Any:
        """The answer to what was sent."""
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        if not ready:
            raise TimeoutError(f"no answer in {seconds} s; log: {self.tail()}")
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

    def suspend(self) -> None:
        """SIGSTOP: it does nothing at all until `resume`."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._process.send_signal(signal.SIGCONT)

    def resident_bytes(self) -> int:
        """The memory it holds at this moment (Linux)."""
        status = Path(f"/proc/{self.pid}/statm").read_text("ascii").split()
        return int(status[1]) * os.sysconf("SC_PAGE_SIZE")

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
            "    time.sleep(0.01)\n",
            seconds + ANSWER_SECONDS_MAX,
        )

    def digest(self) -> str:
        """The digest over all objects there."""
        return str(self.run("node.view.digest_all().hex()"))

    def hurry(self) -> None:
        """Shorten the network's patience there, before `launch`: a test cannot wait for a minute.

        What a peer may be silent is 3 s and not 60, the longest pause between dials 1 s and not 60.
        """
        self.run(HURRY)

    def as_ever(self) -> None:
        """Nothing; what is done to hosts whose patience is not to be shortened."""

    def set_clock(self, offset_seconds: float, *, frozen: bool = False) -> None:
        """Set the clock of that process, as far from true time, from now on standing if `frozen`.

        It is the wall clock of Python there; time that passes is measured by another.
        """
        self.run(
            "import time\n"
            "true_ns = getattr(time, 'true_ns', time.time_ns)\n"
            f"time.true_ns, start, offset = true_ns, true_ns(), int({offset_seconds} * 1e9)\n"
            + (
                "time.time_ns = lambda: start + offset"
                if frozen
                else "time.time_ns = lambda: true_ns() + offset"
            )
        )


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
