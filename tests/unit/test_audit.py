"""The audit is quiet about what a ledger wrote, and names any row that is not so."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from dinemic_engine import canonical, limits
from dinemic_engine.audit import AuditReport, audit
from dinemic_engine.edits import Set
from dinemic_engine.event import sign_event
from dinemic_engine.findings import WORDS
from dinemic_engine.ids import EventId
from dinemic_engine.ledger import Ledger
from dinemic_engine.limits import T_US_MAX
from dinemic_engine.ops import UPDATE, Create, Grant, Policy
from dinemic_engine.ranges import id_term
from dinemic_engine.store import keyspace, layout
from dinemic_engine.store.memory import MemoryStore
from dinemic_engine.store.sums import VOID_BUT_COUNTED, add_to_totals
from dinemic_engine.vetoes import Veto
from dinemic_engine.view import View
from support.sample_store import T0, Sample, add_inert, fill, signing_key

LOCAL = "clnvw"
"""What follows from no event: indexes begun, who listens and is to be told, what guards said."""
LETTERS = sorted(set(WORDS) - set(LOCAL))

pytestmark = pytest.mark.usefixtures("small_blocks")


def filled() -> tuple[MemoryStore, Sample]:
    store = MemoryStore()
    return store, fill(store)


def rows_of(store: MemoryStore, letter: str) -> list[tuple[bytes, bytes]]:
    prefix = letter.encode()
    return list(store.scan(prefix, keyspace.after(prefix)))


def copy_of(store: MemoryStore) -> MemoryStore:
    copy = MemoryStore()
    copy.write(dict(store.scan(b"\0", b"\xff" * 8)))
    return copy


def kinds(report: AuditReport) -> set[str]:
    return {finding.kind for finding in report.findings}


def test_what_a_ledger_wrote_is_clean_and_counted() -> None:
    store, sample = filled()
    before = list(store.scan(b"\0", b"\xff" * 8))

    report = audit(store)

    assert report.findings == ()
    assert report.ok
    assert (report.objects, report.events, report.signatures) == (3, 19, 19)
    assert report.digest == View(store).digest_all()
    assert list(store.scan(b"\0", b"\xff" * 8)) == before
    assert len(sample.events) == 19


def test_an_empty_store_is_clean() -> None:
    nothing, opened = MemoryStore(), MemoryStore()
    Ledger(opened)
    assert audit(nothing) == audit(opened)
    assert audit(nothing).ok


def test_the_sample_has_a_row_of_every_kind() -> None:
    store, _ = filled()
    assert [letter for letter in LETTERS if not rows_of(store, letter)] == []


@pytest.mark.parametrize("letter", LETTERS)
def test_a_row_that_is_gone_is_named(letter: str) -> None:
    store, _ = filled()
    for key, _ in rows_of(store, letter):
        damaged = copy_of(store)
        damaged.write({key: None})
        assert WORDS[letter] in kinds(audit(damaged)), key


@pytest.mark.parametrize("letter", LETTERS)
def test_a_row_with_one_changed_byte_is_named(letter: str) -> None:
    store, _ = filled()
    for key, value in rows_of(store, letter):
        for at in {0, len(value) // 2, len(value) - 1} if value else ():
            damaged = copy_of(store)
            damaged.write({key: value[:at] + bytes((value[at] ^ 1,)) + value[at + 1 :]})
            assert WORDS[letter] in kinds(audit(damaged)), (key, at)


@pytest.mark.parametrize("letter", LETTERS)
def test_a_row_that_grew_or_shrank_is_named(letter: str) -> None:
    store, _ = filled()
    for key, value in rows_of(store, letter):
        for other in {value + b"\0", value[:-1]} - {value}:
            damaged = copy_of(store)
            damaged.write({key: other})
            assert WORDS[letter] in kinds(audit(damaged)), (key, other)


@pytest.mark.parametrize("letter", LETTERS)
def test_a_row_too_many_is_named(letter: str) -> None:
    store, _ = filled()
    key, value = rows_of(store, letter)[-1]
    other_object = key[:1] + (7).to_bytes(4, "big") + key[5:]
    other_end = key[:-1] + bytes((key[-1] ^ 1,))
    for added in {other_object, other_end, key[:3], key + b"\0"}:
        damaged = copy_of(store)
        damaged.write({added: value})
        assert kinds(audit(damaged)) & {WORDS[letter], "stray", "object"}, added


@pytest.mark.parametrize("key", [b"\x01", b"A", b"Z1", b"j", b"mother", b"\xff\xff"])
def test_a_row_of_no_kind_is_named(key: bytes) -> None:
    store, _ = filled()
    store.write({key: b""})
    (finding,) = audit(store).findings
    assert (finding.kind, finding.object) == ("stray", None)
    assert key.hex() in finding.detail


def withheld(store: MemoryStore, sample: Sample, name: str) -> None:
    """Put an event in as if this node's guards had yet to see it."""
    event = sample.named[name]
    ledger = Ledger(store)
    ledger.accept(ledger.prepare([event], T_US_MAX, withhold=lambda *_: True))


def test_what_guards_refused_or_have_yet_to_see_is_no_finding() -> None:
    store = MemoryStore()
    _, sample = filled()
    for name in ("genesis", "bob", "salary"):
        withheld(store, sample, name)
    ledger = Ledger(store)
    assert audit(store).ok, "the object is hidden, and all of it waits"
    ledger.accept(ledger.answer(sample.named["genesis"], None))
    ledger.accept(ledger.answer(sample.named["bob"], Veto("guard", "not Bob")))
    ledger.accept(ledger.answer(sample.named["salary"], None))
    assert audit(store).ok
    assert View(store).keys(sample.person) == ["value_salary"]
    shared = MemoryStore()
    plain = Ledger(shared)
    for name in ("genesis", "bob", "salary"):
        plain.accept(plain.prepare([sample.named[name]], T_US_MAX))
    assert audit(store).digest == audit(shared).digest


@pytest.mark.parametrize("letter", ["v", "w"])
def test_an_event_hidden_by_a_row_alone_is_named(letter: str) -> None:
    store, sample = filled()
    event = sample.named["bob"]
    no = layout.unpack_u32(store.get(keyspace.object_key(sample.person)) or b"")
    key = {"v": keyspace.veto_key, "w": keyspace.waiting_key}[letter](no, event.t, event.id)
    value = canonical.encode(["guard", "reason"]) if letter == "v" else b""
    store.write({key: value})
    assert {"object", "write"} <= kinds(audit(store)), "its effects are there all the same"
    other = {"v": keyspace.veto_key, "w": keyspace.waiting_key}[letter](no, event.t, bytes(32))
    store.write({key: None, other: value})
    assert kinds(audit(store)) == {WORDS[letter]}, "of no event"


def test_a_finding_names_the_object_and_the_event() -> None:
    store, sample = filled()
    robert = sample.named["robert"]
    for key, _ in rows_of(store, "W"):
        if keyspace.write_key_order(key)[1] == robert.id and b"value_name" in key:
            store.write({key: None})
    (finding,) = audit(store).findings
    assert (finding.kind, finding.object, finding.event) == ("write", sample.person, robert.id)
    assert "value_name" in finding.detail


def test_a_forged_event_with_all_its_rows_is_refused() -> None:
    """Somebody with the disk, but no key, adds an event as a ledger would have written it."""
    store, sample = filled()
    ledger = Ledger(store)
    good = ledger.draft(sample.person, [Set("name", "Mallory")], sample.owner, T0 * 2)
    forged = replace(good, raw=good.raw[:-64] + bytes(64))
    ledger.accept(ledger.prepare([forged], T_US_MAX))

    report = audit(store)

    assert not report.ok
    assert report.signatures == report.events - 1
    assert ("event", good.id) in {(finding.kind, finding.event) for finding in report.findings}


def test_a_well_signed_event_without_the_right_is_refused() -> None:
    """As a faulty or patched ledger would leave it: signed well, rows in order, not authorized."""
    store, sample = filled()
    ledger = Ledger(store)
    stranger = ledger.draft(sample.person, [Set("name", "Mallory")], sample.stranger, T0 * 2)
    as_owner = replace(stranger, author=sample.named["genesis"].author)
    proposal = ledger.prepare([as_owner], T_US_MAX)
    ledger.accept(proposal)
    assert len(proposal.admitted) == 1

    (finding,) = audit(store).findings

    assert finding.event == stranger.id
    assert finding.detail.startswith("AUTH-5/closed")


def test_events_behind_a_lost_one_are_counted_and_not_listed() -> None:
    store, sample = filled()
    bob = sample.named["bob"]
    store.write({keyspace.event_key(0, bob.t, bob.id): None})
    report = audit(store)
    assert [f.detail for f in report.findings if f.kind == "object"] == [
        "8 events cannot be judged without others"
    ]
    assert ("event", bob.id, "is a parent, and is not there") in {
        (finding.kind, finding.event, finding.detail) for finding in report.findings
    }


def test_arrivals_in_another_order_are_found_though_the_running_hash_fits() -> None:
    store, _ = filled()
    arrivals = [value for _, value in rows_of(store, "L")]
    arrivals[1], arrivals[2] = arrivals[2], arrivals[1]
    digest = bytes(32)
    rows: dict[bytes, bytes | None] = {}
    for seq, value in enumerate(arrivals, 1):
        digest = hashlib.sha256(digest + value).digest()
        rows[keyspace.arrival_key(seq)] = value
    tip = layout.unpack_tip(store.get(keyspace.TIP_KEY) or b"")
    rows[keyspace.TIP_KEY] = tip._replace(
        digest=digest, flushed_seq=0, flushed_digest=bytes(32)
    ).pack()
    store.write(rows)
    assert ("arrival", "arrived before its parents") in {
        (finding.kind, finding.detail) for finding in audit(store).findings
    }


def test_a_store_of_another_layout_is_said_to_be() -> None:
    store, _ = filled()
    store.write({keyspace.FORMAT_KEY: b"7"})
    assert [finding.kind for finding in audit(store).findings] == ["meta"]


def test_progress_is_told() -> None:
    store = MemoryStore()
    ledger = Ledger(store)
    key = signing_key(1)
    genesis = sign_event(key, None, T0, (), [Create("Person", 1, signing_key(9).public, Policy())])
    ledger.accept(ledger.prepare([genesis], T_US_MAX))
    for number in range(600):
        event = ledger.draft(genesis.object, [Set("name", number)], key, T0)
        ledger.accept(ledger.prepare([event], T_US_MAX))
    told: list[int] = []
    assert audit(store, told.append).events == 601
    assert told == [256, 512]


def test_a_grant_row_made_up_on_disk_gives_no_right() -> None:
    store, sample = filled()
    op = sample.named["genesis"].ops[1]
    assert isinstance(op, Grant)
    genesis = sample.named["genesis"]
    key = keyspace.act_key(
        keyspace.acts_prefix(b"G", 0, sample.stranger.public, UPDATE), T0, genesis.id, 1
    )
    act = layout.pack_act(layout.Place(0, T0, 0, 1, 0, 0), genesis.author)
    store.write({key: act + layout.pack_holder(op.subject, op.suite, op.sealing)})
    (finding,) = audit(store).findings
    assert (finding.kind, finding.event) == ("grant", EventId(sample.named["genesis"].id))
    assert finding.detail.endswith("follows from no event")


# -- verdicts --------------------------------------------------------------------------------------


def rows_about(store: MemoryStore, event: EventId) -> dict[bytes, bytes]:
    """The ``I`` row of an event and, if it counts, its ``T`` row."""
    place = store.get(keyspace.place_key(event)) or b""
    return {keyspace.place_key(event): place} | {
        key: value for key, value in rows_of(store, "T") if key.endswith(event)
    }


def test_the_sample_has_an_event_of_every_verdict() -> None:
    store, sample = filled()
    verdicts = {e.event.id: (e.verdict, e.rule) for e in View(store).history(sample.desk)}
    closed = ("void", "AUTH-5: the field was closed, unseen by the author")
    assert verdicts[sample.named["kept"].id] == ("authorized", "")
    assert verdicts[sample.named["void"].id] == closed
    assert verdicts[sample.named["inert"].id] == closed
    assert len(rows_about(store, sample.named["void"].id)) == 2
    assert len(rows_about(store, sample.named["inert"].id)) == 1


def test_a_void_event_called_effective_is_named() -> None:
    store, sample = filled()
    event = sample.named["void"]
    key = keyspace.place_key(event.id)
    place = layout.unpack_place(store.get(key) or b"")
    store.write({key: place._replace(flags=layout.AUTHORIZED).pack()})
    (finding,) = audit(store).findings
    assert (finding.kind, finding.object, finding.event) == ("place", sample.desk, event.id)


def test_an_effective_event_called_void_is_named() -> None:
    store, sample = filled()
    event = sample.named["kept"]
    key = keyspace.place_key(event.id)
    place = layout.unpack_place(store.get(key) or b"")
    store.write({key: place._replace(flags=layout.REVOKED).pack()})
    (finding,) = audit(store).findings
    assert (finding.kind, finding.object, finding.event) == ("place", sample.desk, event.id)


@pytest.mark.parametrize("name", ["inert", "void"])
def test_the_wrong_events_in_the_reconciled_set_are_named_and_the_fingerprint_with_them(
    name: str,
) -> None:
    """An inert event put among those that count, with its fingerprint; or the other way round."""
    store, sample = filled()
    event = sample.named[name]
    model_no = layout.unpack_u32(store.get(keyspace.model_key("Desk")) or b"")
    key, sums = keyspace.range_key(model_no, event.t, event.id), keyspace.fingerprint_key(model_no)
    by = 1 if name == "inert" else -1
    wrong = by, by * id_term(event.id), 0, 0, 0, 0
    value = VOID_BUT_COUNTED if by > 0 else None
    store.write({key: value, sums: add_to_totals(store.get(sums), *wrong)})
    found = [(finding.kind, finding.event) for finding in audit(store).findings]
    assert found[:2] == [("range", event.id), ("fingerprint", None)]
    assert set(found[2:]) == {("block", None)}


def test_a_lost_revocation_is_missed_and_gives_nothing_back_unseen() -> None:
    """The revocation's own rows are gone with it: its event is still known to have arrived."""
    store, sample = filled()
    gone = sample.named["dismissed"]
    rows: dict[bytes, bytes | None] = dict.fromkeys(key for key, _ in rows_of(store, "K"))
    no = layout.unpack_u32(store.get(keyspace.object_key(sample.desk)) or b"")
    store.write(rows | {keyspace.event_key(no, gone.t, gone.id): None})
    assert ("event", gone.id, "arrived, and is not there") in {
        (finding.kind, finding.event, finding.detail) for finding in audit(store).findings
    }


def test_more_inert_events_than_a_node_would_take_are_no_finding() -> None:
    store, sample = filled()
    add_inert(store, sample, limits.INERT_EVENTS_MAX + 10)
    report = audit(store)
    assert report.findings == ()
    assert report.events == 19 + limits.INERT_EVENTS_MAX + 10
