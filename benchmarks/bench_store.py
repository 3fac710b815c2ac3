"""Where the time of an event goes, step by step, and how many bytes it takes on disk."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from benchmarks.harness import Figure, Report, Side, Size, cost_ratio, costs, take_turns
from benchmarks.workloads import Writer, fresh_home, hash_of, verifying
from dinemic_engine.event import Event, open_envelope_untrusted, read_event_untrusted
from dinemic_engine.ledger import Ledger
from dinemic_engine.limits import T_US_MAX
from dinemic_engine.proposal import Proposal
from dinemic_engine.store.rocks import RocksStore
from dinemic_engine.view import View


class Parameters(NamedTuple):
    """Events of a large batch, and blocks; each block has one of these and one of one event."""

    batch: int
    blocks: int


PARAMETERS: dict[Size, Parameters] = {
    "small": Parameters(batch=32, blocks=3),
    "large": Parameters(batch=256, blocks=200),
}


class _Batch:
    """What `Node.ingest` does with a batch of events, one step at a time."""

    def __init__(self, ledger: Ledger, writer: Writer, size: int) -> None:
        self._ledger = ledger
        self._writer = writer
        self._size = size
        self._events: list[Event] = []
        self._proposal: Proposal | None = None
        ledger.accept(ledger.prepare(writer.events, T_US_MAX))
        self.renew()

    def renew(self) -> None:
        """Sign the events of the next block."""
        self._events = self._writer.write(self._size)

    def open(self) -> None:
        for event in self._events:
            read_event_untrusted(open_envelope_untrusted(event.raw), verified=True)

    def prepare(self) -> None:
        self._proposal = self._ledger.prepare(self._events, T_US_MAX)

    def accept(self) -> None:
        assert self._proposal is not None
        self._ledger.accept(self._proposal)

    def sides(self) -> list[Side]:
        """The steps in their order."""
        size = self._size
        return [
            Side(f"open, batch of {size}", size, self.open),
            Side(f"prepare, batch of {size}", size, self.prepare),
            Side(f"accept, batch of {size}", size, self.accept, settle=self.renew),
        ]


def run(size: Size) -> Report:
    """Time it."""
    batch, blocks = PARAMETERS[size]
    with fresh_home() as config:
        path = config.home / "store"
        store = RocksStore(path)
        writers = [Writer(1), Writer(2)]
        ledger = Ledger(store)
        single, large = _Batch(ledger, writers[0], 1), _Batch(ledger, writers[1], batch)
        timings = take_turns(
            [*single.sides(), *large.sides(), Side("verify", 16, verifying(16))], blocks
        )
        ledger.flush()
        events = ledger.tip.seq
        result = hash_of(View(store).digest_all(), events)
        store.close()
        signed = sum(len(event.raw) for writer in writers for event in writer.events)
        on_disk = _bytes_in(path)
    return Report(
        "store",
        str(__doc__),
        result,
        [
            *(
                cost_ratio(timings, f"{step}, batch of {batch}", "verify")
                for step in ("open", "prepare", "accept")
            ),
            *(
                cost_ratio(timings, f"{step}, batch of 1", f"{step}, batch of {batch}")
                for step in ("prepare", "accept")
            ),
        ],
        [
            Figure("signed bytes of an event", signed / events, "bytes"),
            Figure("bytes on disk for an event", on_disk / events, "bytes"),
            *costs(timings),
        ],
    )


def _bytes_in(path: Path) -> int:
    return sum(file.stat().st_size for file in path.iterdir())
