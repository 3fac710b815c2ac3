"""Run benchmarks and print what they found: ``python benchmarks/run.py [names] [--size large]``.

Exit code 0, also where a goal is missed: a figure is something to look at, not a check.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import get_args

from benchmarks import (
    bench_append,
    bench_audit,
    bench_dicts,
    bench_grants,
    bench_ingest,
    bench_listeners,
    bench_lists,
    bench_log_length,
    bench_network,
    bench_read,
    bench_reconcile,
    bench_sealed,
    bench_store,
)
from benchmarks.harness import Report, Size, as_json, as_table, machine

BENCHMARKS: dict[str, Callable[[Size], Report]] = {
    "append": bench_append.run,
    "log-length": bench_log_length.run,
    "ingest": bench_ingest.run,
    "grants": bench_grants.run,
    "listeners": bench_listeners.run,
    "lists": bench_lists.run,
    "dicts": bench_dicts.run,
    "read": bench_read.run,
    "sealed": bench_sealed.run,
    "store": bench_store.run,
    "audit": bench_audit.run,
    "reconcile": bench_reconcile.run,
    "network": bench_network.run,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks named, all without a name."""
    parser = argparse.ArgumentParser(description="Run benchmarks and print what they found.")
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(BENCHMARKS))
    parser.add_argument(
        "--size", choices=get_args(Size), default="small", help="small: seconds; large: minutes"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document, for compare.py")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    if not given.json:
        about = ", ".join(f"{key} {value}" for key, value in machine().items())
        print(f"measured on: {about}; size {given.size}")
    reports: list[Report] = []
    for name in given.names or BENCHMARKS:
        report = BENCHMARKS[name](given.size)
        reports.append(report)
        if not given.json:
            print(f"\n{as_table(report)}", flush=True)
    if given.json:
        print(json.dumps(as_json(given.size, reports), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
