"""Auditing: events/s of verifying a whole store again, against the rate of bare checks."""

from __future__ import annotations

from typing import NamedTuple

from benchmarks.harness import Report, Side, Size, costs, rate, rate_ratio, take_turns
from benchmarks.workloads import Writer, fresh_home, hash_of, in_batches, raw, verifying
from dinemic.node import Node
from dinemic_engine.audit import AuditReport, audit
from dinemic_engine.store.rocks import RocksStore


class Parameters(NamedTuple):
    """Objects, events of each, and blocks."""

    objects: int
    events: int
    blocks: int


PARAMETERS: dict[Size, Parameters] = {
    "small": Parameters(objects=3, events=20, blocks=2),
    "large": Parameters(objects=10, events=500, blocks=7),
}


def run(size: Size) -> Report:
    """Time it."""
    objects, events, blocks = PARAMETERS[size]
    writers = [Writer(i) for i in range(objects)]
    for writer in writers:
        writer.write(events - 1)
    with fresh_home() as config:
        node = Node.open(config)
        for writer in writers:
            for batch in in_batches(raw(writer.events), 256):
                node.ingest(b"a peer", batch)
        expected = node.view.digest_all()
        node.close()
        store = RocksStore(config.home / "store", read_only=True)
        reports: list[AuditReport] = []
        count = objects * events
        try:
            timings = take_turns(
                [
                    Side("audit", count, lambda: reports.append(audit(store))),
                    Side("verify", count // 4, verifying(count // 4)),
                ],
                blocks,
            )
        finally:
            store.close()
    for report in reports:
        assert report.ok, report.findings
        assert report.digest == expected
    last = reports[-1]
    return Report(
        "audit",
        str(__doc__),
        hash_of(last.digest, [last.objects, last.events, last.signatures]),
        [rate_ratio(timings, "audit", "verify")],
        [rate(timings, "audit"), *costs(timings)],
    )
