"""Hosts for benchmarks: processes with a home of their own that do what `host_work` offers."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from dinemic.cli import demo_stage


class HostFailed(Exception):
    """A host raised where nothing should go wrong."""


class Host:
    """One process, and the directory for what it keeps."""

    def __init__(self, directory: Path) -> None:
        self.home: Final = str(directory)
        log = directory.with_suffix(".log")
        self._process: Final = demo_stage.Host(directory.name, directory, log, {})
        self._process.start()
        self._run("import json; from benchmarks import host_work")

    def do(self, work: str, *arguments: object) -> Any:
        """What a function of `host_work` answers there.

        Raises:
            HostFailed: it raised.
        """
        call = ", ".join(map(repr, arguments))
        return json.loads(self._run(f"print(json.dumps(host_work.{work}({call})))"))

    def _run(self, source: str) -> str:
        answer = self._process.ask({"run": source})
        if answer["error"] is not None:
            raise HostFailed(f"{source!r} raised {answer['error']}")
        return str(answer["output"])

    def end(self) -> None:
        """End the process, without a farewell."""
        self._process.kill()


class Stage:
    """Hosts in a directory that is theirs. Made by `stage`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._hosts: list[Host] = []
        self._started = 0

    def start(self) -> Host:
        """A fresh host, with an empty home."""
        self._started += 1
        host = Host(self._directory / f"host-{self._started}")
        self._hosts.append(host)
        return host

    def end(self, *hosts: Host) -> None:
        """End some hosts, or all of them."""
        for host in hosts or tuple(self._hosts):
            self._hosts.remove(host)
            host.end()


@contextmanager
def stage() -> Iterator[Stage]:
    """Where hosts live; they and what they kept vanish afterwards, whatever happens."""
    with tempfile.TemporaryDirectory(prefix="dinemic-benchmark-") as directory:
        made = Stage(Path(directory))
        try:
            yield made
        finally:
            made.end()


def at_once(hosts: Sequence[Host], work: str, *arguments: object) -> list[Any]:
    """What each of `hosts` answers; all of them work at the same time."""
    with ThreadPoolExecutor(len(hosts)) as threads:
        return list(threads.map(lambda host: host.do(work, *arguments), hosts))
