"""One target, fuzzed in this process: `python -m fuzz.run TARGET SECONDS SEED DIRECTORY`.

Inputs are read from and added to ``DIRECTORY/corpus``; what breaks a promise goes to
``DIRECTORY/crash-*``. Nothing of ours is imported before it can be instrumented.
"""

from __future__ import annotations

import importlib
import random
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from fuzz.target import Target

PACKAGES: Final = ("dinemic", "dinemic_engine", "dinemic_transport")


def main(name: str, seconds: int, seed: int, place: Path) -> None:
    """Fuzz it, by atheris if there is one."""
    try:
        atheris: Any = importlib.import_module("atheris")
    except ImportError:
        _search(_target(name), seconds, seed, place)
        return
    with atheris.instrument_imports(include=list(PACKAGES)):
        target = _target(name)
    from fuzz.mutation import mutated
    from fuzz.target import INPUT_BYTES_MAX

    others = _read(place)

    def made(data: bytes, size_max: int, chance: int) -> bytes:
        if chance % 2:
            return bytes(atheris.Mutate(data, size_max))
        return mutated(data, random.Random(chance), others)[:size_max]

    arguments = [name, str(place / "corpus"), f"-max_total_time={seconds}", f"-seed={seed}"]
    arguments += [f"-max_len={INPUT_BYTES_MAX}", f"-artifact_prefix={place}/", "-timeout=10"]
    arguments += ["-print_final_stats=1", "-rss_limit_mb=1024"]
    atheris.Setup(arguments, target.run, custom_mutator=made)
    atheris.Fuzz()


def _target(name: str) -> Target:
    from fuzz.targets import TARGETS

    return TARGETS[name]


def _read(place: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((place / "corpus").iterdir())]


def _search(target: Target, seconds: int, seed: int, place: Path) -> None:
    """The same without atheris: an input that reaches new lines is one to go on from."""
    from fuzz.mutation import mutated
    from fuzz.target import INPUT_BYTES_MAX

    chance = random.Random(seed)
    pool = _read(place)
    covered: set[object] = set()
    count, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        data = pool[count] if count < len(pool) else mutated(chance.choice(pool), chance, pool)
        count += 1
        try:
            lines = lines_of(target, data[:INPUT_BYTES_MAX])
        except Exception:  # noqa: BLE001  # this is what it looks for
            (place / f"crash-{count}").write_bytes(data)
            sys.stdout.write(traceback.format_exc(limit=-6))
            break
        if not lines <= covered:
            covered |= lines
            pool.append(data)
            (place / "corpus" / f"new-{count}").write_bytes(data)
    sys.stdout.write(f"inputs: {count}\n")


def lines_of(target: Target, data: bytes) -> set[object]:
    """The lines of our packages that an input reaches."""
    found: set[object] = set()

    def line(frame: Any, event: str, _: object) -> Any:
        found.add((frame.f_code, frame.f_lineno))
        return line

    def enter(frame: Any, event: str, _: object) -> Any:
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        return line if package in PACKAGES else None

    outer = sys.gettrace()
    sys.settrace(enter)
    try:
        target.run(data)
    finally:
        sys.settrace(outer)
    return found


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
