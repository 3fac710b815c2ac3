"""Runs pytest on the code with one bug in it, which nothing on disk shows.

    python -m support.planting NAME [PYTEST ARGUMENT...]

The module that the bug belongs in is compiled from its text with one place changed. Ends as pytest
does: 0 says that the tests did not notice, 1 that they did; `UNFIT` that the text to be replaced is
not there (any more), or more than once.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final, NamedTuple

UNFIT: Final = 70

_TOLD: Final = "DINEMIC_TEST_BUG"
"""Names the bug to the processes that tests start."""


class Bug(NamedTuple):
    """One rule broken: in `module`, `right` becomes `wrong`; some of `tests` must fail then."""

    rule: str
    module: str
    right: str
    wrong: str
    tests: tuple[str, ...]


class _Unfit(Exception):
    """The code is not what the bug was made for."""


class _Loader(SourceFileLoader):
    """Compiles a module with a bug in it."""

    bug: Bug

    def get_code(self, fullname: str) -> CodeType:
        """The code of the changed text; a cached one would be that of the right text."""
        text = Path(self.path).read_text()
        if text.count(self.bug.right) != 1:
            raise _Unfit(f"{self.path}: {text.count(self.bug.right)} places to plant in")
        return compile(text.replace(self.bug.right, self.bug.wrong), self.path, "exec")


class _Finder(MetaPathFinder):
    """Finds one module, before anybody else does."""

    def __init__(self, bug: Bug) -> None:
        self._bug = bug

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's spec with the loader that plants."""
        if fullname != self._bug.module:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        assert spec is not None, f"no module {fullname}"
        assert spec.origin is not None, f"{fullname} has no file"
        loader = _Loader(fullname, spec.origin)
        loader.bug = self._bug
        return importlib.util.spec_from_file_location(fullname, spec.origin, loader=loader)


def plant(name: str) -> None:
    """Have this process import a module with the bug of that name in it."""
    from planted.bugs import BUGS

    bug = BUGS[name]
    sys.meta_path.insert(0, _Finder(bug))
    importlib.import_module(bug.module)


def interpret(module: str) -> list[str]:
    """A command that runs a module as a script, with the bug that is planted here, if one is."""
    name = os.environ.get(_TOLD)
    if name is None:
        return [sys.executable, "-m", module]
    text = f"import runpy; from support.planting import plant; plant({name!r}); "
    return [sys.executable, "-c", text + f"runpy.run_module({module!r}, run_name='__main__')"]


def main(name: str, arguments: Sequence[str]) -> int:
    """Plant the bug of that name and run pytest with `arguments`; the exit code."""
    try:
        plant(name)
    except _Unfit as error:
        sys.stderr.write(f"{error}\n")
        return UNFIT
    os.environ[_TOLD] = name
    import pytest

    return int(pytest.main([*arguments]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
