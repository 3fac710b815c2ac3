"""Catching up: events/s of a peer's signed events, against the rate of bare checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.harness import Goal, Report, Side, Size, costs, rate, rate_ratio, take_turns
from benchmarks.workloads import Writer, fresh_home, hash_of, in_batches, raw, verifying
from dinemic.node import Node

_PEER = b"a peer"


class Parameters(NamedTuple):
    """Events in a block, writers of the side with many objects, and blocks."""

    ops: int
    writers: int
    blocks: int


PARAMETERS: dict[Size, Parameters] = {
    "small": Parameters(ops=32, writers=4, blocks=3),
    "large": Parameters(ops=2_048, writers=256, blocks=15),
}
WARM_UP = 1


def run(size: Size) -> Report:
    """Time it."""
    ops, writers, blocks = PARAMETERS[size]
    with fresh_home() as config:
        node = Node.open(config)
        try:
            streams = {
                "ingest 256": (_stream([Writer(1)], ops, blocks), 256),
                "ingest 128": (_stream([Writer(2)], ops, blocks), 128),
                "ingest granted writer": (_stream([Writer(3, granted=True)], ops, blocks), 256),
                "ingest many objects": (
                    _stream([Writer(10 + i) for i in range(writers)], ops, blocks),
                    256,
                ),
            }
            sides = [
                Side(name, ops, _Feed(node, stream, batch), settle=node.flush)
                for name, (stream, batch) in streams.items()
            ]
            known = raw(Writer(1).write(ops))  # what the first block of the first side brought
            rounds = blocks + WARM_UP
            sides += [
                Side("refuse duplicates", ops, _Feed(node, [known] * rounds, 256)),
                Side("verify", ops, verifying(ops)),
            ]
            timings = take_turns(sides, blocks, warm_up=WARM_UP)
            status = node.status()
            counts = [status.admitted, status.duplicate, status.objects, status.waiting]
            result = hash_of(node.view.digest_all(), counts)
        finally:
            node.close()
    goal = Goal(">=", 0.4) if size == "large" else None
    return Report(
        "ingest",
        str(__doc__),
        result,
        [
            *(rate_ratio(timings, name, "verify", goal=goal) for name in streams),
            rate_ratio(timings, "refuse duplicates", "verify"),
        ],
        [
            rate(timings, "ingest 256"),
            *costs(timings),
        ],
    )


def _stream(writers: Sequence[Writer], ops: int, blocks: int) -> list[list[bytes]]:
    """The events of each block, the writers taking turns; the geneses are part of the first."""
    geneses = [writer.events[0] for writer in writers]
    stream: list[list[bytes]] = []
    for block in range(blocks + WARM_UP):
        turns = zip(*(writer.write(ops // len(writers)) for writer in writers), strict=True)
        events = [event for turn in turns for event in turn]
        stream.append(raw([*geneses, *events] if block == 0 else events))
    return stream


class _Feed:
    """Hand the next events of a stream to a node, in batches."""

    def __init__(self, node: Node, stream: Sequence[Sequence[bytes]], batch: int) -> None:
        self._node = node
        self._stream = iter(stream)
        self._batch = batch

    def __call__(self) -> None:
        for events in in_batches(next(self._stream), self._batch):
            self._node.ingest(_PEER, events)
