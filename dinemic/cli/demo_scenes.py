"""What happens in the demonstration.

The statements of scenes 1 to 3 are the first two scripts of the manual of the original, unchanged
but for the ids, which are those that the run itself prints.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any, Final

from dinemic.cli.demo_stage import Host, Stage, Unexpected, child_environment
from dinemic.cli.words import plural

_MDNS_SECONDS: Final = 6.0
"""On one machine mDNS takes well under a second, or does not work at all."""
_DIAL_SECONDS: Final = 10.0
_AUDIT_SECONDS: Final = 20.0

_ID: Final = re.compile(r"Person:[a-z2-7]{52}")
_CONNECTED: Final = "any(peer.state == 'open' for peer in pydinemic.status().network.peers)"
_WRITES: Final = 200
"""Made by A while B is dead."""

_MODEL: Final = """\
class Person(pydinemic.DModel):
    name = pydinemic.DField('name', False)
    salary = pydinemic.DField('salary', True)"""


def scenes(stage: Stage, a: Host, b: Host, *, static: bool) -> dict[str, Any]:
    """Play everything; the facts that came out.

    Raises:
        Unexpected: something did not come out as it should.
    """
    stage.title("1. two hosts, each a process with its own home, find each other")
    numbers = {host.name: host.start() for host in (a, b)}
    stage.note(f"A is process {numbers['A']}, B is process {numbers['B']}")
    dialled = _meet(stage, a, b, static=static)
    stage.title("2. the first script: both read Bob's name, only its owner reads the salary")
    _first_script(stage, a, b)
    stage.title("3. the second script: the chief on B reads the worker's salary")
    chief, worker = _second_script(stage, a, b)
    stage.title("4. B is killed, A goes on, B comes back")
    _killed_and_back(stage, a, b, chief, worker, dialled)
    stage.title("5. both hold the same, verified again from the signed bytes")
    audits = {host.name: _audit(stage, host) for host in (a, b)}
    if audits["A"]["digest"] != audits["B"]["digest"]:
        raise Unexpected("the digests of A and B differ")
    stage.note("equal digests: every object is the same on both")
    for host in (a, b):
        stage.run(host, "pydinemic.shutdown()")
        if code := host.stop():
            raise Unexpected(f"host {host.name} ended with code {code}")
    return {"found_by": "address" if dialled else "mdns", "audits": audits}


def _launch(stage: Stage, host: Host, dialled: str) -> None:
    stage.run(host, "import pydinemic")
    stage.run(host, f"pydinemic.launch(peers=[{dialled!r}])" if dialled else "pydinemic.launch()")
    stage.run(host, "pydinemic.set_loglevel('error')")


def _meet(stage: Stage, a: Host, b: Host, *, static: bool) -> str:
    """Launch both and wait until they are connected; A's address if B had to be told it."""
    _launch(stage, a, "")
    dialled = _address(stage, a) if static else ""
    _launch(stage, b, dialled)
    took = stage.until(b, _CONNECTED, _DIAL_SECONDS if static else _MDNS_SECONDS)
    if took is None and not static:
        stage.note("no mDNS on this machine: B is told where A is")
        dialled = _address(stage, a)
        stage.run(b, "pydinemic.shutdown()")
        _launch(stage, b, dialled)
        took = stage.until(b, _CONNECTED, _DIAL_SECONDS)
    if took is None:
        raise Unexpected(f"A and B did not connect within {_DIAL_SECONDS:.0f} s")
    how = "B dialled A" if dialled else "found by mDNS"
    stage.note(f"{how}, connected by mutual TLS 1.3 after {took:.2f} s")
    for host in (a, b):
        stage.run(host, _MODEL)
    return dialled


def _address(stage: Stage, host: Host) -> str:
    return stage.run(host, "print(pydinemic.status().network.addresses[0])")


def _first_script(stage: Stage, a: Host, b: Host) -> None:
    stage.run(a, "p = Person([])")
    stage.run(a, "p.name.set('Bob')")
    stage.run(a, "p.salary.set('1234')")
    stage.prints(a, "print(p.name.get())", "Bob")
    stage.prints(a, "print(p.salary.get())", "1234")
    person = _id(stage, a, "print(p.get_db_id())")
    stage.arrives(b, f"Person({person!r}).keys() == ['name', 'salary']", "this Person")
    stage.run(b, f"q = Person({person!r}, '')")
    stage.prints(b, "print(q.name.get())", "Bob")
    stage.raises(b, "print(q.salary.get())", "Unreadable")


def _second_script(stage: Stage, a: Host, b: Host) -> tuple[str, str]:
    """The ids of the chief and the worker."""
    stage.run(b, "chief = Person([])")
    chief = _id(stage, b, "print(chief.get_db_id())")
    stage.arrives(a, f"{chief!r} in pydinemic.object_list()", "the chief")
    stage.run(a, f"worker = Person([{chief!r}])")
    stage.run(a, "worker.name.set('Bob')")
    stage.run(a, "worker.salary.set('44321')")
    worker = _id(stage, a, "print(worker.get_db_id())")
    stage.arrives(b, f"Person({worker!r}).keys() == ['name', 'salary']", "the worker")
    stage.run(b, f"my_worker = Person({worker!r}, {chief!r})")
    stage.prints(b, "print(my_worker.salary.get())", "44321")
    return chief, worker


def _killed_and_back(stage: Stage, a: Host, b: Host, chief: str, worker: str, dialled: str) -> None:
    stage.run(b, "chief.name.set('Carol')")
    b.kill()
    stage.note("kill -9 of B, the moment this had returned")
    stage.run(a, f"for raised in range({_WRITES}):\n    worker.salary.set(str(44321 + raised))")
    stage.run(a, "worker.salary.set('50000')")
    number = b.start()
    stage.note(f"B starts again on the same home, as process {number}")
    _launch(stage, b, dialled)
    stage.run(b, _MODEL)
    stage.run(b, f"chief = Person({chief!r})")
    stage.prints(b, "print(chief.is_owned(), chief.name.get())", "True Carol")
    stage.arrives(a, f"Person({chief!r}).name.get() == 'Carol'", "what B wrote last")
    count = stage.run(a, "print(pydinemic.status().events)")
    stage.arrives(b, f"pydinemic.status().events == {count}", "every event of A")
    stage.prints(b, "print(pydinemic.status().events)", count)
    stage.run(b, f"my_worker = Person({worker!r}, {chief!r})")
    stage.prints(b, "print(my_worker.salary.get())", "50000")
    stage.run(b, "my_worker.name.set('Robert')")
    stage.arrives(a, "worker.name.get() == 'Robert'", "what the chief wrote")
    stage.prints(a, "print(worker.name.get())", "Robert")


def _id(stage: Stage, host: Host, source: str) -> str:
    """The id that a statement prints."""
    text = stage.run(host, source)
    if not _ID.fullmatch(text):
        raise Unexpected(f"host {host.name}: {source!r} printed {text!r}, which is no id")
    return text


def _audit(stage: Stage, host: Host) -> dict[str, Any]:
    """The report of an audit of a host's home, made beside the running host."""
    words = ["audit", "--home", str(host.home), "--json"]
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "dinemic.cli", *words],
            env=child_environment({}),
            capture_output=True,
            text=True,
            timeout=_AUDIT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise Unexpected(f"the audit of {host.name} took {_AUDIT_SECONDS:.0f} s") from None
    if done.returncode != 0:
        why = done.stderr or done.stdout
        raise Unexpected(f"the audit of {host.name} ended with {done.returncode}: {why}")
    report: dict[str, Any] = json.loads(done.stdout)
    stage.note(
        f"dinemic audit of {host.name}: {plural(report['objects'], 'object')},"
        f" {plural(report['signatures'], 'good signature')}, clean\n"
        f"digest {report['digest']}"
    )
    return report
