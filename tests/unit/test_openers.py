"""Events opened on several threads are what one thread makes of them, bad ones in their places."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from dinemic.openers import PORTION, Openers
from dinemic_engine.edits import Set
from dinemic_engine.errors import InvalidEvent, Reason
from dinemic_engine.event import (
    Envelope,
    Event,
    open_envelope_untrusted,
    read_event_untrusted,
)
from support.graphs import OWNER, child, genesis

COUNT = 5 * PORTION + 3


def events(count: int = COUNT) -> list[Event]:
    made = [genesis()]
    while len(made) < count:
        made.append(child(made[-1], OWNER, Set("name", len(made))))
    return made


def envelopes(found: list[Event]) -> list[Envelope]:
    return [open_envelope_untrusted(event.raw) for event in found]


def flipped(event: Event) -> Event:
    """The same event, with a signature that does not fit."""
    raw = event.raw[:-1] + bytes((event.raw[-1] ^ 1,))
    return Event(event.id, event.object, event.author, event.t, event.parents, event.ops, raw)


@pytest.mark.parametrize("threads", [0, 1, 3])
@pytest.mark.parametrize("count", [0, 1, PORTION, COUNT])
def test_every_event_is_opened_in_its_place(threads: int, count: int) -> None:
    made = events(count) if count else []
    many = Openers(threads)

    assert many.open_untrusted(envelopes(made)) == made

    many.close()


@pytest.mark.parametrize("threads", [0, 3])
def test_a_bad_one_is_refused_and_harms_no_other(threads: int) -> None:
    made = events()
    bad = {0, PORTION, COUNT - 1}
    sent = [flipped(event) if at in bad else event for at, event in enumerate(made)]
    many = Openers(threads)

    opened = many.open_untrusted(envelopes(sent))

    many.close()
    for at, found in enumerate(opened):
        if at in bad:
            assert isinstance(found, InvalidEvent)
            assert found.reason is Reason.SIGNATURE
        else:
            assert found == made[at]


def test_a_batch_is_opened_by_several_threads_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    met = threading.Barrier(3, timeout=20)
    names: set[str] = set()

    def met_by_three(envelope: Envelope) -> Event:
        if threading.current_thread().name not in names:
            names.add(threading.current_thread().name)
            met.wait()  # breaks unless two others come here as well
        return read_event_untrusted(envelope)

    monkeypatch.setattr("dinemic.openers.read_event_untrusted", met_by_three)
    made = events()
    many = Openers(2)

    assert many.open_untrusted(envelopes(made)) == made

    many.close()
    assert len(names) == 3


def test_several_callers_share_the_threads_and_get_what_is_theirs() -> None:
    batches = [events() for _ in range(4)]
    many = Openers(2)
    with ThreadPoolExecutor(len(batches)) as callers:
        found = list(callers.map(many.open_untrusted, map(envelopes, batches)))
    many.close()

    assert found == batches


def test_an_error_that_is_no_refusal_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(envelope: Envelope) -> Event:
        raise MemoryError

    monkeypatch.setattr("dinemic.openers.read_event_untrusted", fails)
    many = Openers(2)

    with pytest.raises(MemoryError):
        many.open_untrusted(envelopes(events()))

    many.close()


def test_closed_ones_leave_the_work_to_the_caller() -> None:
    made = events()
    many = Openers(2)
    many.close()
    many.close()

    assert many.open_untrusted(envelopes(made)) == made
