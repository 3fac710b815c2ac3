"""What is built, what it installs, and that it works away from this tree, without a network."""

from __future__ import annotations

import email.message
import email.parser
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PACKAGES = ("dinemic", "dinemic_engine", "dinemic_transport")


def run(*command: str | Path, cwd: Path) -> str:
    """Standard output of a command that must succeed, run with nothing on the import path."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command} -> {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def build(source: Path, target: str, into: Path) -> Path:
    """The one file hatchling builds from `source`, with what is installed here, offline."""
    run(sys.executable, "-m", "hatchling", "build", "-t", target, "-d", into, cwd=source)
    (built,) = into.iterdir()
    return built


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, "sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="session")
def unpacked(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(where, filter="data")
    (top,) = where.iterdir()
    return top


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """bin/ of a new environment with the wheel in it; its dependencies are lent from here.

    The lent directory comes last and its own .pth files do not count, so an editable install of
    this tree is not seen.
    """
    where = tmp_path_factory.mktemp("environment")
    venv.create(where, with_pip=False, symlinks=True)
    python = where / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index",
        "--no-deps", "--disable-pip-version-check", wheel, cwd=where)  # fmt: skip
    site = Path(run(python, "-c", "import site; print(site.getsitepackages()[0])", cwd=where)[:-1])
    lent = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "lent.pth").write_text("\n".join(sorted(lent)) + "\n", "utf-8")
    return where / "bin"


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def metadata_of(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return email.parser.BytesParser().parsebytes(archive.read(name))


def test_a_wheel_installs_only_names_that_begin_with_dinemic_and_pydinemic(wheel: Path) -> None:
    metadata = metadata_of(wheel)
    dist_info = f"dinemic-{metadata['Version']}.dist-info"
    tops = {name.partition("/")[0] for name in names_in(wheel)}
    assert tops == {*PACKAGES, "pydinemic.py", dist_info}


def test_a_wheel_holds_every_module_of_the_tree_and_marks_each_package_typed(wheel: Path) -> None:
    names = names_in(wheel)
    for parent, package in ((".", "dinemic"), ("engine", PACKAGES[1]), ("transport", PACKAGES[2])):
        base = ROOT / parent
        modules = {p.relative_to(base).as_posix() for p in (base / package).rglob("*.py")}
        assert modules <= names
        assert f"{package}/__init__.py" in names
        assert f"{package}/py.typed" in names


def test_neither_engine_nor_transport_is_a_package_itself() -> None:
    assert not (ROOT / "engine" / "__init__.py").exists()
    assert not (ROOT / "transport" / "__init__.py").exists()


def test_metadata_names_version_licence_python_and_the_small_core(wheel: Path) -> None:
    metadata = metadata_of(wheel)
    told = run(sys.executable, "-c", "import dinemic; print(dinemic.__version__)", cwd=ROOT)
    assert metadata["Version"] == told.strip()
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    requires = [Requirement(text) for text in metadata.get_all("Requires-Dist") or []]
    core = {requirement.name for requirement in requires if requirement.marker is None}
    assert core == {
        "cbor2", "click", "cryptography", "platformdirs", "rocksdict", "trio", "zeroconf",
    }  # fmt: skip
    assert set(metadata.get_all("Provides-Extra") or []) == {"cli", "iroh", "testing"}


def test_a_source_archive_holds_tests_and_lock_and_nothing_made_here(unpacked: Path) -> None:
    assert (unpacked / "tests" / "packaging" / Path(__file__).name).is_file()
    assert {p.name for p in unpacked.iterdir()} >= {
        "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "requirements.lock",
    }  # fmt: skip
    made = {"__pycache__", ".venv", ".mypy_cache", ".hypothesis", ".git"}
    assert not [p for p in unpacked.rglob("*") if p.name in made]


def test_the_source_archive_builds_the_same_wheel(
    wheel: Path, unpacked: Path, tmp_path: Path
) -> None:
    again = build(unpacked, "wheel", tmp_path)
    assert names_in(again) == names_in(wheel)


def test_both_names_import_elsewhere_beside_a_users_own_engine_and_transport(
    installed: Path, tmp_path: Path
) -> None:
    for own in ("engine.py", "transport.py"):
        (tmp_path / own).write_text("MINE = True\n", "utf-8")
    (tmp_path / "script.py").write_text(
        "import engine, transport\n"
        "import dinemic, pydinemic, dinemic_engine, dinemic_transport\n"
        "assert engine.MINE and transport.MINE\n"
        "for module in (dinemic, pydinemic, dinemic_engine, dinemic_transport):\n"
        "    print(module.__file__)\n",
        "utf-8",
    )
    files = run(installed / "python", tmp_path / "script.py", cwd=tmp_path).split()
    assert len(files) == 4
    assert all(Path(file).is_relative_to(installed.parent) for file in files)


def test_the_core_install_needs_nothing_of_the_extras(installed: Path, tmp_path: Path) -> None:
    """Without what the extras and the developers' tools bring, it imports and has a command."""
    code = (
        "import sys\n"
        "for absent in ('rich', 'pygments', 'hypothesis', 'iroh', 'pytest', 'nacl', 'pycose',\n"
        "               'prometheus_client'):\n"
        "    sys.modules[absent] = None\n"
        "import dinemic, pydinemic, dinemic.cli\n"
        "sys.argv = ['dinemic', '--help']\n"
        "dinemic.cli.main()\n"
    )
    assert "demo" in run(installed / "python", "-c", code, cwd=tmp_path)


def test_importing_the_library_does_not_yet_load_the_network(
    installed: Path, tmp_path: Path
) -> None:
    """trio alone would make every import five times slower."""
    code = "import dinemic, sys; print(*{'trio', 'zeroconf', 'ssl'} & set(sys.modules))"
    assert run(installed / "python", "-c", code, cwd=tmp_path).strip() == ""


def test_the_installed_command_tells_its_version(
    wheel: Path, installed: Path, tmp_path: Path
) -> None:
    told = run(installed / "dinemic", "--version", cwd=tmp_path)
    assert metadata_of(wheel)["Version"] in told
