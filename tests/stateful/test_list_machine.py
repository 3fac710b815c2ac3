"""One writer's list beside a Python list: every step ends equal, in events of several edits."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from dinemic_engine.store.overlay import Overlay, Readable
from dinemic_engine.types import list_reading
from support.figures import Machine
from support.graphs import OWNER, Site
from support.list_rows import check_rows
from support.lists import STORED, Author, append, beginning, delete, drafted, insert, put

VALUES = st.one_of(st.integers(-9, 9), st.text(max_size=3), st.lists(st.booleans(), max_size=2))
RUNS = st.one_of(
    st.lists(VALUES, min_size=1, max_size=4), st.integers(60, 200).map(lambda n: list(range(n)))
)
PLACES = st.floats(0, 1)


class OneWriter(Machine):
    """Edits gather in a transaction; a list in memory says what it must come to."""

    @initialize()
    def begin(self) -> None:
        self.author = Author(OWNER)
        self.author.hears([beginning()])
        self.plain: list[object] = []
        self.edits: list[object] = []
        self.rows = Overlay(self.author.rows)

    def _edit(self, make: object) -> None:
        op = make(self.rows)  # type: ignore[operator]
        drafted(self.rows, len(self.edits), op)
        self.edits.append(lambda _rows: op)

    def _range(self, low: float, high: float) -> tuple[int, int]:
        start, stop = sorted((int(low * len(self.plain)), int(high * len(self.plain))))
        return start, stop

    @rule(place=PLACES, run=RUNS)
    def inserts(self, place: float, run: list[object]) -> None:
        index = round(place * len(self.plain))
        self._edit(insert(index, *run))  # type: ignore[arg-type]
        self.plain[index:index] = run

    @rule(run=RUNS)
    def extends(self, run: list[object]) -> None:
        self._edit(append(*run))  # type: ignore[arg-type]
        self.plain.extend(run)

    @precondition(lambda self: self.plain)
    @rule(low=PLACES, high=PLACES)
    def deletes(self, low: float, high: float) -> None:
        start, stop = self._range(low, high)
        if start < stop:
            self._edit(delete(start, stop))
            del self.plain[start:stop]

    @precondition(lambda self: self.plain)
    @rule(place=st.floats(0, 0.999), value=VALUES)
    def sets(self, place: float, value: object) -> None:
        index = int(place * len(self.plain))
        self._edit(put(index, value))  # type: ignore[arg-type]
        self.plain[index] = value

    @precondition(lambda self: self.edits)
    @rule()
    def commits(self) -> None:
        self.author.writes(*self.edits)  # type: ignore[arg-type]
        self.edits = []
        self.rows = Overlay(self.author.rows)
        assert _values(self.author.rows) == self.plain
        replayed = Site()
        replayed.ingest(self.author.site.events()[::-1])
        assert _values(replayed.store) == self.plain
        check_rows(replayed.store)

    @precondition(lambda self: self.edits)
    @rule()
    def drops(self) -> None:
        self.edits = []
        self.rows = Overlay(self.author.rows)
        self.plain = _values(self.rows)

    @rule(low=PLACES, high=PLACES)
    def slices(self, low: float, high: float) -> None:
        start, stop = self._range(low, high)
        found = list_reading.items(self.rows, 0, STORED, start, stop)
        assert [item.value for item in found] == self.plain[start:stop]

    @invariant()
    def equals_the_plain_list(self) -> None:
        assert list_reading.length(self.rows, 0, STORED) == len(self.plain)
        assert _values(self.rows) == self.plain
        check_rows(self.rows)
        for index in {0, len(self.plain) // 2, len(self.plain) - 1}:
            item = list_reading.at(self.rows, 0, STORED, index)
            if not 0 <= index < len(self.plain):
                assert item is None
                continue
            assert item is not None
            assert item.value == self.plain[index]


def _values(rows: Readable) -> list[object]:
    return [item.value for item in list_reading.items(rows, 0, STORED)]


TestOneWriter = OneWriter.TestCase
TestOneWriter.settings = settings(
    max_examples=max(settings().max_examples // 5, 1), stateful_step_count=20
)
