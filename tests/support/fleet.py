"""Many hosts that write at once, and the question whether they have become one.

Every host owns an object and may write to one that all share. Invariant, once they have converged:
each has exactly the events that these hosts authored, judges and orders them alike, and has let in
nothing of anybody else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from support.hosts import Host

LOOK_SECONDS = 0.1
ROUND_SECONDS_MAX = 1.0

_WRITE = """
for n in range({first}, {end}):
    mine.name.set(f'{host} {{n}}')
    shared.name.set(f'{host} {{n}}')
"""
_WRITE_ON = """
import threading
written, rounds = threading.Event(), 0
def write_on():
    global rounds
    while not written.wait(0.05):
        mine.name.set(f'{host} on {{rounds}}')
        shared.name.set(f'{host} on {{rounds}}')
        rounds += 1
writer = threading.Thread(target=write_on)
writer.start()
"""
_MARK = """
def mark():
    view = node.view
    heads = [sorted(head.hex() for head in view.heads(name)) for _, name in view.objects('Person')]
    row = node.fingerprint('Person', LOWEST, HIGHEST)
    effective = node.fingerprint('Person', LOWEST, HIGHEST, effective=True)
    said = [row.count, row.wire().hex(), effective.wire().hex()]
    return [dinemic.status().events, view.digest_all().hex(), heads, said]
from dinemic_engine.ranges import HIGHEST, LOWEST
"""


class Fleet:
    """Launched hosts that share an object, each of which knows where all the others are.

    Without `listen` they are on loopback, and each knows those before it. `prepare` is run on each
    before it is launched.
    """

    def __init__(
        self,
        members: Sequence[Host],
        listen: Sequence[str] = (),
        *,
        more_peers: Sequence[str] = (),
        prepare: Callable[[Host], None] = Host.hurry,
    ) -> None:
        self.members = list(members)
        self.addresses: list[str] = []
        self._written = 0
        self._prepare = prepare
        for member in members:
            prepare(member)
        for number, member in enumerate(members):
            given = listen[number] if listen else "127.0.0.1:0"
            others = [each for each in listen or self.addresses if each != given]
            self.addresses.append(member.launch(listen=given, peers=[*others, *more_peers]))
            member.run(_MARK)
        owner, *others_of_it = self.members
        owner.run("mine = Person([])\nown = mine.get_db_id()")
        ids = [str(member.run("mine = Person([])\nmine.get_db_id()")) for member in others_of_it]
        for db_id in ids:
            owner.wait(f"{db_id!r} in dinemic.object_list()")
        self._ids = [str(owner.run("own")), *ids]
        self._shared = str(owner.run(f"shared = Person({ids!r})\nshared.get_db_id()"))
        for number in range(1, len(self.members)):
            self._open(number)

    def _open(self, number: int) -> None:
        """Have handles on a member's own object and on the shared one there."""
        member, db_id = self.members[number], self._ids[number]
        member.run(f"mine = Person({db_id!r})")
        member.wait(f"{self._shared!r} in dinemic.object_list()")
        member.run(f"shared = Person({self._shared!r}, {db_id!r})")

    def replace(self, number: int, member: Host) -> None:
        """A member's home is another process now: launch it there, knowing all the others."""
        self.members[number] = member
        self._prepare(member)
        others = [each for each in self.addresses if each != self.addresses[number]]
        self.addresses[number] = member.launch(peers=others)
        member.run(_MARK)
        self._open(number)

    def all(self, code: str) -> list[Any]:
        """What it comes to on every member, each running it at the same time."""
        for member in self.members:
            member.send(code)
        return self._received()

    def write(self, count: int) -> None:
        """Every member writes so often to its own object and to the shared one, all at once."""
        first, self._written = self._written, self._written + count
        for number, member in enumerate(self.members):
            member.send(_WRITE.format(first=first, end=self._written, host=number))
        self._received()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """All members write, some 20 times a second, for as long as the context lasts."""
        for number in range(len(self.members)):
            self.write_on(number)
        try:
            yield
        finally:
            self.all("written.set()\nwriter.join()")

    def write_on(self, number: int) -> None:
        """One member begins, as it does while all are `writing`: to be called after `replace`."""
        self.members[number].run(_WRITE_ON.format(host=number))

    def await_rounds(self, count: int) -> None:
        """Wait until each member has written so often since, while they are `writing`."""
        for member, rounds in zip(self.members, self.all("rounds"), strict=True):
            member.wait(f"rounds >= {rounds + count}", ROUND_SECONDS_MAX * count)

    def _received(self) -> list[Any]:
        return [member.receive() for member in self.members]

    def converge(self, seconds: float) -> float:
        """Wait until all members are equal in what all of them authored; how long it took.

        Raises:
            AssertionError: they are not in time; it shows how far each has come.
        """
        authored = sum(self.all("dinemic.status().authored"))
        return self._await_marks(seconds, lambda count: count == authored)

    def meet(self, seconds: float) -> float:
        """As `converge`, where members were restarted: they find each other in sync."""
        taken = self._await_marks(seconds, lambda count: True)
        assert all(self.all(f"dinemic.wait_synced({seconds})"))
        return taken + self._await_marks(seconds, lambda count: True)

    def _await_marks(self, seconds: float, is_all: Callable[[int], bool]) -> float:
        begun = time.monotonic()
        while True:
            marks = self.all("mark()")
            passed = time.monotonic() - begun
            if all(mark == marks[0] for mark in marks) and is_all(marks[0][0]):
                return passed
            come = [mark[0] for mark in marks]
            assert passed < seconds, f"not equal after {passed:.0f} s; their events: {come}"
            time.sleep(LOOK_SECONDS)

    def values(self) -> set[str]:
        """What the members read in the shared object."""
        return set(self.all("shared.name.get()"))
