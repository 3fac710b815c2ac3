"""Classes and functions found again by where they were defined, in this process or another."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from dinemic_engine.errors import UsageError


def load(source: str) -> ModuleType:
    """The module of that name, or in that file; the one that is loaded already if there is one.

    Raises:
        UsageError: there is none.
    """
    if not source.endswith(".py"):
        try:
            return importlib.import_module(source)
        except ImportError as error:
            raise UsageError(f"no module {source}: {error}") from error
    path = Path(source).resolve()
    for module in list(sys.modules.values()):
        if getattr(module, "__file__", None) == str(path) and module.__name__ != "__main__":
            return module
    name = f"_repeated_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.exists():
        raise UsageError(f"no file {source}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def source_of(thing: Any) -> str:
    """Where a class or function can be found again: its file, or its module if it has none."""
    name: str = thing.__module__
    return getattr(sys.modules[name], "__file__", None) or name
