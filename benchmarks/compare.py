"""Compare two runs: ``python benchmarks/compare.py before.json after.json``.

Only ratios are compared, for only they hold from one run to the next; a ratio is shown as changed
when the ranges of the two runs do not overlap. Exit code 1 when a result differs: then the two
runs did not do the same work and their ratios say nothing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[list[str], bool]:
    """Lines that tell the differences, and whether both runs did the same work."""
    if before["size"] != after["size"]:
        return [f"one run is {before['size']}, the other {after['size']}"], False
    old = {report["name"]: report for report in before["reports"]}
    lines: list[str] = []
    same = True
    for report in after["reports"]:
        name = report["name"]
        if name not in old:
            continue
        if report["result"] != old[name]["result"]:
            same = False
            lines.append(f"{name}: result {old[name]['result']} became {report['result']}")
            continue
        ratios = {ratio["name"]: ratio for ratio in old[name]["ratios"]}
        lines.append(f"{name}:")
        lines += [
            _change(ratios[ratio["name"]], ratio)
            for ratio in report["ratios"]
            if ratio["name"] in ratios
        ]
    return lines, same


def _change(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    apart = new["least"] > old["greatest"] or new["greatest"] < old["least"]
    percent = (new["median"] / old["median"] - 1) * 100
    change = f"{percent:+.0f} %" + ("" if apart else ", ranges overlap")
    return f"  {new['name']:<52}{old['median']:>8.2f} -> {new['median']:.2f}  {change}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare the two files named."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if len(given) != 2:
        print("usage: python benchmarks/compare.py before.json after.json", file=sys.stderr)
        return 2
    before, after = (json.loads(Path(name).read_text("utf-8")) for name in given)
    lines, same = compare(before, after)
    print("\n".join(lines))
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
