"""requirements.lock: everything pyproject.toml asks for, pinned by hash, from no place by name."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}$")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


@pytest.fixture(scope="module")
def locked() -> dict[str, tuple[Requirement, list[str]]]:
    """Package name to its pin and the rest of its lines."""
    text = (ROOT / "requirements.lock").read_text("utf-8")
    joined = re.sub(r"\\\n\s*", "", "\n".join(re.sub(r"\s*#.*", "", s) for s in text.split("\n")))
    pins: dict[str, tuple[Requirement, list[str]]] = {}
    for line in filter(None, joined.splitlines()):
        spec, *hashes = re.split(r"\s+(?=--)", line)
        pin = Requirement(spec)
        assert canonicalize_name(pin.name) not in pins, f"{pin.name} is pinned twice"
        pins[canonicalize_name(pin.name)] = (pin, hashes)
    return pins


def asked_for(project: dict[str, Any]) -> list[Requirement]:
    table = project["project"]
    texts = [*project["build-system"]["requires"], *table["dependencies"]]
    for more in (table["optional-dependencies"], project["dependency-groups"]):
        for group in more.values():
            texts += group
    return [Requirement(text) for text in texts]


def test_every_requirement_of_the_project_is_pinned_inside_its_bounds(
    project: dict[str, Any], locked: dict[str, tuple[Requirement, list[str]]]
) -> None:
    wanted = asked_for(project)
    assert len(wanted) > 10
    for requirement in wanted:
        pin, _ = locked[canonicalize_name(requirement.name)]
        (version,) = pin.specifier
        assert version.operator == "=="
        assert requirement.specifier.contains(version.version, prereleases=True), requirement


def test_every_pin_carries_hashes_and_none_names_an_address(
    locked: dict[str, tuple[Requirement, list[str]]],
) -> None:
    for pin, hashes in locked.values():
        assert pin.url is None
        assert hashes, pin
        assert all(HASH.fullmatch(text) for text in hashes), pin


def test_the_lock_file_holds_no_address_and_no_path() -> None:
    text = (ROOT / "requirements.lock").read_text("utf-8")
    assert not re.search(r"://|--(extra-)?index-url|--find-links|(^|\s)/\w", text)


def test_no_pin_depends_on_the_python_version(
    locked: dict[str, tuple[Requirement, list[str]]],
) -> None:
    """One lock file serves 3.11 to 3.13: what one of them needs, all of them get."""
    for version in ("3.11", "3.12", "3.13"):
        environment = {
            "python_version": version,
            "python_full_version": f"{version}.1",
            "sys_platform": "linux",
            "platform_system": "Linux",
            "os_name": "posix",
            "platform_python_implementation": "CPython",
            "implementation_name": "cpython",
        }
        dropped = {
            name
            for name, (pin, _) in locked.items()
            if pin.marker and not pin.marker.evaluate(environment)
        }
        assert dropped <= {"colorama"}, version
