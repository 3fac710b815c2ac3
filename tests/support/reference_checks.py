"""Every fast answer beside that of the slow replica (I-05).

Values are compared as encoded bytes: for Python 1, 1.0 and True are equal, for us they are three.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dinemic_engine import canonical
from dinemic_engine.collections_view import Collections
from dinemic_engine.ops import ROLES
from dinemic_engine.reading import Reading
from dinemic_engine.view import View
from reference import digests
from reference.log import Placed
from reference.objects import Item, Object
from reference.replica import Judged, judge
from reference.spelling import write

LOWEST, HIGHEST = (0, b""), (1 << 63, b"")
EVERYTHING = 1 << 30
PROBES: Sequence[canonical.Value] = (1, 1.0, True, "1", b"1")
"""What sets are asked for: values that some would take for one another."""


def check_verdicts(
    judged: Judged, refused: Mapping[bytes, str], admitted: set[bytes], waiting: tuple[int, int]
) -> None:
    """What became of the events is what the replica says: of several reasons, one of them.

    `refused` is by id, `waiting` how many wait for parents and how many for the clock.
    """
    assert admitted == judged.admitted.keys()
    assert refused.keys() == judged.refused.keys()
    for event_id, reason in refused.items():
        assert reason in judged.refused[event_id], event_id.hex()
    assert waiting == (len(judged.waiting), len(judged.ahead))


def check_view(view: View, judged: Judged) -> None:
    """All that can be asked of a store is answered as by the replica."""
    known = {bytes(each) for _, each in view.objects(removed=True)}
    assert known == judged.objects.keys()
    for obj in judged.objects.values():
        check_access(view, obj)
        check_fields(view, obj)
        check_collections(Collections(view.rows), obj)
        assert view.digest(obj.id) == digests.digest(obj)
    assert view.digest_all() == judged.digest()
    for model in judged.models():
        for effective in (False, True):
            found = view.fingerprint(model, effective=effective)
            assert (found.count, found.wire()) == judged.fingerprint(model, effective=effective)
            keys = view.range_keys(model, LOWEST, HIGHEST, EVERYTHING, effective=effective)
            assert keys == judged.keys(model, effective=effective)
        heads = view.totals(model).heads
        assert (heads.count, heads.wire()) == judged.heads_digest(model)


def check_store(view: View, now_us: int) -> None:
    """The events in a store come to what it shows, if no guard withholds any of them."""
    ids = [object_id for _, object_id in view.objects(removed=True)]
    raws = [logged.event.raw for object_id in ids for logged in view.history(object_id)]
    judged = judge(raws, now_us)
    assert len(judged.admitted) == len(raws)
    check_view(view, judged)


def check_access(view: View, obj: Object) -> None:
    """Order, verdicts, heads, who may do what, epochs, policy, removal."""
    history = list(view.history(obj.id))
    assert [each.event.id for each in history] == [each.id for each in obj.log.ordered()]
    for logged in history:
        said = logged.rule.partition(":")[0] or logged.verdict
        assert said == obj.verdict(obj.log.events[logged.event.id])
    assert view.heads(obj.id) == obj.heads
    removal = view.need(obj.id)[1].removed_by
    assert removal[-32:] == (b"" if obj.removal is None else obj.removal.id)
    policy = view.policy(obj.id)
    assert [policy.is_open, dict(policy.fields)] == obj.policy
    holders = {
        (role, holder.author): [holder.subject, [holder.suite, holder.sealing]]
        for role in ROLES
        for holder in view.holders(obj.id, role)
    }
    assert holders == {
        key: [subject, sealing]
        for key, grant in obj.holders.items()
        for _, _, subject, _, sealing in [grant.op]
    }
    epochs = [commit for commit, _ in view.epochs_in_force(obj.id)]
    assert epochs == list(obj.epochs)[::-1]
    for commit in epochs:
        for reader in obj.recipients(commit):
            assert view.has_epoch(obj.id, reader, commit)  # type: ignore[arg-type]  # an id is bytes


def check_fields(view: View, obj: Object) -> None:
    """Registers: what is visible, the winners, the conflicts."""
    visible = [stored for stored, register in obj.registers.items() if register.is_visible]
    assert view.keys(obj.id) == visible
    for stored in visible:
        same_write(view.read(obj.id, stored), obj.registers[stored].writes[0])
    if obj.removal is None:
        for stored, register in obj.registers.items():
            same_writes(view.conflicts(obj.id, stored), register.conflicts)


def check_collections(collections: Collections, obj: Object) -> None:
    """Dicts, counters, sets and lists."""
    present = set()
    for stored, keys in obj.dicts.items():
        visible = [key for key, register in keys.items() if register.is_visible]
        entries = list(collections.entries(obj.id, stored))
        assert [key for key, _ in entries] == visible
        assert collections.length(obj.id, stored) == len(visible)
        for key, reading in entries:
            same_write(reading, keys[key].writes[0])
        for key, register in keys.items():
            same_writes(collections.entry_conflicts(obj.id, stored, key), register.conflicts)
        present |= {stored} if visible else set()
    for stored, counter in obj.counters.items():
        assert collections.total(obj.id, stored) == sum(counter.adds)
        sealed = collections.sealed_adds(obj.id, stored)
        assert [(add.event, add.op) for add in sealed] == [
            (add.event.id, add.position) for add in counter.sealed
        ]
        present.add(stored)
    for stored, members in obj.sets.items():
        found = {
            canonical.encode(member.value): {tuple(add) for add in member.adds}
            for member in collections.members(obj.id, stored)
        }
        assert found == {
            value: {(add.event.id, add.position) for add in adds} for value, adds in members.items()
        }
        assert collections.length(obj.id, stored) == len(members)
        for value in PROBES:
            is_in = collections.member(obj.id, stored, value) is not None
            assert is_in == (write(value) in members)
        present.add(stored)
    for stored, items in obj.lists.items():
        check_list(collections, obj, stored, items)
        present |= {stored} if items else set()
    assert set(collections.fields(obj.id)) == present


def check_list(collections: Collections, obj: Object, stored: str, items: Sequence[Item]) -> None:
    """Elements, their values, and who set them."""
    found = list(collections.items(obj.id, stored))
    assert collections.list_length(obj.id, stored) == len(items)
    assert [tuple(each.element) for each in found] == [tuple(each.element) for each in items]
    for each, item in zip(found, items, strict=True):
        assert canonical.encode(each.value) == write(item.value)
        by = item.writes.writes[0] if item.writes else None
        inserted = (item.element.event, item.element.op)
        assert (each.event, each.op) == ((by.event.id, by.position) if by else inserted)
        if item.writes:
            conflicts = collections.element_conflicts(obj.id, stored, each.element)
            same_writes(conflicts, item.writes.conflicts)


def same_writes(readings: Sequence[Reading], writes: Sequence[Placed]) -> None:
    """The writes of one thing, the winner first."""
    for reading, write_ in zip(readings, writes, strict=True):
        same_write(reading, write_)


def same_write(reading: Reading | None, placed: Placed) -> None:
    """One write: its place, and its value unless it takes one away."""
    assert reading is not None
    assert (reading.t, reading.event, reading.op) == placed.key
    if not reading.deleted:
        assert canonical.encode(reading.value) == write(placed.op[-1])
