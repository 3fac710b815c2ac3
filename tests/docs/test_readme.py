"""What the documents show is run: Python as a reader would type it, commands against the tool.

Changed are only the id that every run makes anew, and the address to listen on: tests stay on
loopback. A comment behind a `print` is what it must print, one that says `raises` what it raises.
"""

from __future__ import annotations

import ast
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
import pytest

import dinemic
from dinemic.cli import main
from support.hosts import Host, RemoteError, hosts

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCUMENTS = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
ID = "9uq08fo..."
"""How an id is written in the documents, here and in the original's."""


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of one language in a document."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def readmes(section: str) -> list[str]:
    """The Python blocks of a section of the README."""
    _, _, rest = README.read_text("utf-8").partition(f"\n## {section}\n")
    return blocks(rest.partition("\n## ")[0], "python")


@pytest.fixture
def on_loopback(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Processes started in the test neither listen nor look beyond this machine."""
    monkeypatch.setenv("DINEMIC_LISTEN", "127.0.0.1:0")
    monkeypatch.setenv("DINEMIC_DISCOVER", "false")
    monkeypatch.setenv("DINEMIC_STORE", "memory")
    return monkeypatch


def statements(code: str) -> Iterator[tuple[str, str]]:
    """(statement, the comment behind it) as a reader types them."""
    lines = code.splitlines()
    for node in ast.parse(code).body:
        end = node.end_lineno or node.lineno
        _, _, comment = lines[end - 1].partition("#")
        first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))])
        yield "\n".join(lines[first - 1 : end]), comment.strip()


def type_in(host: Host, typed: Iterable[tuple[str, str]]) -> str:
    """Run `statements` one by one and check their comments; everything they printed."""
    host.run("import io, sys\nsys.stdout = io.StringIO()")
    printed = ""
    for statement, comment in typed:
        if comment.startswith("raises "):
            with pytest.raises(RemoteError) as caught:
                host.run(statement)
            assert caught.value.kind == comment.removeprefix("raises ").rpartition(".")[2]
        else:
            host.run(statement)
        said = str(host.run("sys.stdout.getvalue()")).removeprefix(printed)
        printed += said
        if statement.startswith("print(") and comment:
            expected = re.escape(comment).replace(re.escape(ID), "[a-z2-7]{52}")
            assert re.fullmatch(expected + "\n", said), (statement, said)
    return printed


def test_the_readmes_two_hosts_show_what_it_says(
    tmp_path: Path, on_loopback: pytest.MonkeyPatch
) -> None:
    host_a, host_b = readmes("Two minutes")
    with hosts(tmp_path, "a") as (a,):
        made = type_in(a, statements(host_a)).strip()
        address = a.run("dinemic.status().network.addresses[0]")
        on_loopback.setenv("DINEMIC_PEERS", address)
        with hosts(tmp_path, "b") as (b,):
            same = [code for code, _ in statements(host_a) if code.startswith(("import", "class"))]
            b.run("\n".join(same))
            assert host_b.count(f"Person:{ID}") == 1
            launch, *rest = statements(host_b.replace(f"Person:{ID}", made))
            assert launch == ("dinemic.launch()", "")
            b.run(launch[0])
            assert b.run("dinemic.wait_synced(30)"), "what a reader's fingers take longer for"
            type_in(b, rest)


def test_the_readmes_listener_listens(tmp_path: Path, on_loopback: pytest.MonkeyPatch) -> None:
    (code,) = readmes("Listeners")
    with hosts(tmp_path, "a") as (a,):
        a.run("import dinemic")
        assert type_in(a, statements(code)) == ""
        a.run("class Person(dinemic.DModel): name = dinemic.DField('name')")
        a.run("Person([]).name.set('Bob')")
        assert a.run("dinemic.launch().listeners.drain(20)")
        assert a.run("sys.stdout.getvalue()") == "value_name: '' -> 'Bob'\n"


def test_the_readmes_fields_do_what_it_says(
    tmp_path: Path, on_loopback: pytest.MonkeyPatch
) -> None:
    (code,) = readmes("Fields")
    with hosts(tmp_path, "a") as (a,):
        a.run("import dinemic\ndinemic.launch()")
        type_in(a, statements(code))


def test_the_readmes_closed_network_opens(tmp_path: Path, on_loopback: pytest.MonkeyPatch) -> None:
    (code,) = readmes("A network of your own")
    assert code.count("0.0.0.0:7643") == 1
    with hosts(tmp_path, "a") as (a,):
        a.run("import dinemic")
        a.run(code.replace("0.0.0.0:7643", "127.0.0.1:0"))
        assert a.run("dinemic.status().network.addresses[0]").startswith("127.0.0.1:")


def test_the_packages_own_example_runs(tmp_path: Path, on_loopback: pytest.MonkeyPatch) -> None:
    _, _, indented = (dinemic.__doc__ or "").partition("::\n")
    code = "\n".join(line[4:] for line in indented.splitlines())
    with hosts(tmp_path, "a") as (a,):
        type_in(a, statements(code))
        assert a.run("p.name.get()") == "Bob"


@pytest.mark.parametrize("document", DOCUMENTS[1:], ids=lambda path: str(path.relative_to(ROOT)))
def test_python_in_the_other_documents_runs(
    tmp_path: Path, on_loopback: pytest.MonkeyPatch, document: Path
) -> None:
    for number, code in enumerate(blocks(document.read_text("utf-8"), "python")):
        with hosts(tmp_path, f"host{number}") as (host,):
            host.run("import dinemic")
            type_in(host, statements(code))


def test_the_example_with_two_homes_runs(tmp_path: Path, on_loopback: pytest.MonkeyPatch) -> None:
    script = ROOT / "examples" / "two_nodes.py"
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = {**os.environ, "DINEMIC_LISTEN": address, "DINEMIC_HOME": str(tmp_path / "a")}
    with subprocess.Popen(
        [sys.executable, "-u", str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    ) as first:
        assert first.stdin is not None
        assert first.stdout is not None
        made = first.stdout.readline().strip()
        assert re.fullmatch("Person:[a-z2-7]{52}", made)
        on_loopback.setenv("DINEMIC_PEERS", address)
        on_loopback.setenv("DINEMIC_HOME", str(tmp_path / "b"))
        second = subprocess.run(
            [sys.executable, str(script), made],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        first.stdin.write("\n")
        first.stdin.close()
        assert first.wait(30) == 0
    name, sealed = second.stdout.splitlines()
    assert name == "Bob"
    assert sealed.startswith("value_salary of ")
    assert "sealed" in sealed


def commands() -> list[tuple[str, str]]:
    """(document, line) of every `dinemic` and `make` command in a shell block."""
    return [
        (str(document.relative_to(ROOT)), line.split("#")[0].strip())
        for document in DOCUMENTS
        for block in blocks(document.read_text("utf-8"), "sh")
        for line in block.splitlines()
        if line.split(maxsplit=1)[:1] in (["dinemic"], ["make"])
    ]


@pytest.mark.parametrize(("document", "line"), commands())
def test_every_command_in_the_documents_exists(document: str, line: str) -> None:
    tool, *words = line.split()
    if tool == "make":
        targets = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text("utf-8"), re.M)
        assert set(words) <= set(targets), line
        return
    assert isinstance(main, click.Group)
    command: click.Command = main
    for word in words:
        if isinstance(command, click.Group) and not word.startswith("-"):
            assert word in command.commands, line
            command = command.commands[word]
        elif word.startswith("--"):
            options = {name for parameter in command.params for name in parameter.opts}
            assert word.partition("=")[0] in options | {"--help", "--version"}, line


def test_every_file_the_documents_link_to_is_there() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text("utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
