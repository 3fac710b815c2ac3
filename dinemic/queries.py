"""Which objects of a model there are, and which of them have certain values in their fields.

A query reads one moment of the store, so writers beside it neither wait nor disturb it. It reads
every object of the model once, one field after the other until one differs. If one of the fields
is indexed and has no upcast, only those are read that the index names: that costs what is found
and not what is there. The index is begun when it is first asked for, in one pass over the model.

An index holds values as they are stored. So it cannot tell what an `upcast` makes of them, nor who
has a value by default: asked for either, a query reads all. And it has sealed values by their
ciphertext only; so in a plain field without upcast, where an older version of the model may have
left some, none is looked into, index or not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

from dinemic import running
from dinemic.fields import DField
from dinemic_engine import canonical, indexes
from dinemic_engine.canonical import Value
from dinemic_engine.errors import InvalidEvent, Unreadable
from dinemic_engine.ids import ObjectId, db_id
from dinemic_engine.view import View

if TYPE_CHECKING:
    from dinemic.models import DModel

_Model = TypeVar("_Model", bound="DModel")


def objects(model: type[_Model], filter: str = "") -> Iterator[_Model]:
    """As `DModel.objects`."""
    for found in running.object_list(filter or f"{model.__name__}:[id]"):
        if found.startswith(f"{model.__name__}:"):
            yield model(found)


def where(model: type[_Model], fields: Mapping[str, Value]) -> Iterator[_Model]:
    """As `DModel.where`."""
    wanted = [_wanted(model, name, value) for name, value in fields.items()]
    node, name = running.current(), model.__name__
    indexed = next((each for each in wanted if _may_use_index(*each)), None)
    if indexed is not None:
        node.index(name, indexed[0].stored)
    snapshot = node.snapshot()
    try:
        view = View(snapshot)
        ids: Iterator[ObjectId]
        if indexed is None:
            ids = (object_id for _, object_id in view.objects(name))
        else:
            ids = indexes.find(snapshot, name, indexed[0].stored, indexed[1])
        found = [
            db_id(name, object_id)
            for object_id in ids
            if all(_has(view, model, object_id, *each) for each in wanted)
        ]
    finally:
        snapshot.close()
    return map(model, sorted(found))


def _wanted(model: type[DModel], name: str, value: Value) -> tuple[DField, bytes]:
    """A field as the class declares it, and the value it should have, encoded."""
    field = getattr(model, name, None)
    if not isinstance(field, DField):
        raise ValueError(f"{model.__name__} has no attribute {name!r} that is a DField")
    try:
        return field, canonical.encode(value)
    except InvalidEvent as error:
        raise ValueError(f"no value of {model.__name__}.{name}: {error}") from error


def _is(value: Value, wanted: bytes) -> bool:
    """Whether a value is the one wanted; what no field can hold never is."""
    try:
        return canonical.encode(value) == wanted
    except InvalidEvent:
        return False


def _may_use_index(field: DField, wanted: bytes) -> bool:
    """Whether an index of the field names every object that has the value."""
    return field.index and field.upcast is None and not _is(field.default, wanted)


def _has(
    view: View, model: type[DModel], object_id: ObjectId, field: DField, wanted: bytes
) -> bool:
    """Whether a field of an object has a value, as a handle without a caller reads it."""
    reading = view.read(object_id, field.stored)
    if reading is None:
        return _is(field.default, wanted)
    value = reading.value
    if field.is_encrypted or field.upcast is not None:
        handle = model(db_id(model.__name__, object_id))
        try:
            value = field.__get__(handle, model)._opened(
                value, reading.event, reading.op, field.stored
            )
        except Unreadable:
            return False
    return _is(value, wanted)
