"""`dinemic demo` shows what it says it shows, or says that it did not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dinemic.cli import demo as demo_module
from dinemic.cli import main
from dinemic.cli.demo_stage import Host, Stage, Unexpected


def demonstrate(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dinemic.cli", "demo", *words],
        env={**os.environ, "TMPDIR": str(tmp_path), "DINEMIC_CLUSTER": "must not matter"},
        capture_output=True,
        text=True,
        timeout=90,
    )


def test_everything_comes_out_as_the_manual_says(tmp_path: Path) -> None:
    done = demonstrate(tmp_path, "--json", "--static")

    assert done.returncode == 0, done.stdout + done.stderr
    facts = json.loads(done.stdout)
    assert facts["ok"] is True
    assert facts["found_by"] == "address"
    assert facts["homes"] is None
    assert facts["seconds"] < 60
    for audit in facts["audits"].values():
        assert (audit["ok"], audit["findings"], audit["objects"]) == (True, [], 3)
    assert facts["audits"]["A"]["digest"] == facts["audits"]["B"]["digest"]
    said = {
        (step["host"], step["source"]): step["error"] or step["output"]
        for step in facts["transcript"]
        if "source" in step
    }
    assert said["A", "print(p.salary.get())"] == "1234"
    assert said["B", "print(q.name.get())"] == "Bob"
    assert said["B", "print(q.salary.get())"].startswith("Unreadable: ")
    assert said["B", "print(my_worker.salary.get())"] == "50000"
    assert said["B", "print(chief.is_owned(), chief.name.get())"] == "True Carol"
    assert list(tmp_path.iterdir()) == []


def test_its_transcript_is_for_newcomers_and_found_by_mdns_or_said_not_to_be(
    tmp_path: Path,
) -> None:
    done = demonstrate(tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert "A> p = Person([])" in lines
    assert "A.     name = pydinemic.DField('name', False)" in lines
    assert any(line.startswith("B> q = Person('Person:") for line in lines)
    assert ("found by mDNS" in done.stdout) != ("no mDNS on this machine" in done.stdout)
    assert "kill -9 of B" in done.stdout
    assert "\x1b" not in done.stdout
    assert lines[-1].startswith("Everything came out as it should, in ")
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_come_out_is_told_with_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def unexpected(stage: Stage, a: Host, b: Host, *, static: bool) -> dict[str, Any]:
        raise Unexpected("the digests of A and B differ\x1b[2J")

    monkeypatch.setattr(demo_module, "scenes", unexpected)
    result = CliRunner().invoke(main, ["demo"])
    assert result.exit_code == 1
    assert result.stderr == "NOT AS IT SHOULD BE: the digests of A and B differ\\x1b[2J\n"
    facts = json.loads(CliRunner().invoke(main, ["demo", "--json"]).stdout)
    assert (facts["ok"], facts["failed"][:11]) == (False, "the digests")


def test_homes_are_made_where_asked_and_never_over_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_module, "scenes", lambda *_, **__: {})
    place = tmp_path / "both"
    assert CliRunner().invoke(main, ["demo", "--home", str(place)]).exit_code == 0
    assert place.is_dir()
    (place / "B").mkdir()
    result = CliRunner().invoke(main, ["demo", "--home", str(place)])
    assert result.exit_code == 2
    assert f"there are homes in {place} already" in result.stderr


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host("A", tmp_path / "A", tmp_path / "A.log", {})
    host.start()
    yield host
    host.kill()


def test_a_stage_notices_every_wrong_outcome(host: Host) -> None:
    stage = Stage(silent=True)
    stage.prints(host, "print('Bob')", "Bob")
    stage.raises(host, "raise LookupError('x')", "LookupError")
    assert stage.run(host, "x = 1\nprint(x)\nx") == "1"
    assert stage.until(host, "x == 1", 5) is not None
    assert stage.until(host, "x == 2", 0) is None
    for check in (
        lambda: stage.prints(host, "print('Rob')", "Bob"),
        lambda: stage.prints(host, "1 / 0", "Bob"),
        lambda: stage.raises(host, "print('Bob')", "LookupError"),
        lambda: stage.raises(host, "1 / 0", "LookupError"),
        lambda: stage.run(host, "print('Bob'"),
        lambda: stage.run(host, "class"),
    ):
        with pytest.raises(Unexpected):
            check()


def test_a_host_that_ends_is_told_with_its_last_words(host: Host, tmp_path: Path) -> None:
    stage = Stage(silent=True)
    with pytest.raises(Unexpected, match=r"host A has ended.*last words: good bye"):
        stage.run(
            host, "import os, sys; print('good bye', file=sys.stderr, flush=True); os._exit(3)"
        )


def test_a_host_sees_no_setting_of_ours(host: Host) -> None:
    """The suite sets DINEMIC_HOME; the host has the one it was given."""
    printed = Stage(silent=True).run(host, "import os; print(os.environ['DINEMIC_HOME'])")
    assert printed == str(host.home)


def test_a_host_ends_with_the_pipe(host: Host) -> None:
    assert host.stop() == 0
