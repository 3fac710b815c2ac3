"""The commands that print one object: `show` as it is, `replay` as it would be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import click

from dinemic.cli.common import Home, find_object, of_a_home, print_json, reading
from dinemic.cli.contents import contents_json, print_contents
from dinemic.cli.tables import print_table
from dinemic.cli.words import (
    Author,
    Authors,
    Json,
    object_name,
    plural,
    policy_json,
    policy_text,
    time_from_text,
    time_text,
    value_json,
    value_text,
)
from dinemic.contents import Unseal
from dinemic.keyring import Keyring, ObjectKeys
from dinemic.logs import printable
from dinemic.sealer import find_epoch_key
from dinemic_engine import sealing
from dinemic_engine.canonical import Sealed, Value
from dinemic_engine.errors import DinemicError, NotOwned, Unreadable
from dinemic_engine.event import Event
from dinemic_engine.ids import ObjectId, db_id, from_text_untrusted, short, to_text
from dinemic_engine.ops import ROLES
from dinemic_engine.reading import Reading
from dinemic_engine.replay import LeftOut, refold, upto
from dinemic_engine.types import register
from dinemic_engine.view import View


@click.command()
@click.argument("object")
@click.option("--as", "caller", metavar="OBJECT", help="Open sealed fields with this object's key.")
@of_a_home
def show(object: str, caller: str | None, home: Path | None, as_json: bool) -> None:
    """Print an object: who may do what on it, and its fields with who set them.

    OBJECT is its id or the beginning of one. Sealed fields are opened where the keys of this home
    can: the object's own, or those of the object named with --as. A keyring with a passphrase
    needs DINEMIC_PASSPHRASE.

    Example: dinemic show Person:mfzw --as Person:9uq0
    """
    with reading(home) as here:
        model, object_id = find_object(here.view, object)
        if caller is None:
            unseal = _with_own_keys(here, object_id)
        else:
            unseal = _with_keys_of(here, object_id, _caller(here, caller))
        shown = _Shown(model, object_id, here.view, here.view, unseal)
        if as_json:
            print_json(_shown_json(shown))
        else:
            _print_shown(shown)


@click.command()
@click.argument("object")
@click.option("--until", metavar="TIME", help="Leave out what is later than this.")
@click.option(
    "--without",
    metavar="ID",
    multiple=True,
    help="Leave out this event, or all by this author (a key or an object). May be repeated.",
)
@of_a_home
def replay(
    object: str, until: str | None, without: tuple[str, ...], home: Path | None, as_json: bool
) -> None:
    """Print an object as its log makes it up to a time, or without somebody.

    OBJECT is its id or the beginning of one. TIME is ISO 8601, in UTC unless it says otherwise, or
    microseconds since 1970. An event that is left out takes with it those that only it allowed;
    all others stay. Sealed fields stay sealed.

    Example: dinemic replay Person:mfzw --until 2026-01-31T12:00 --without 9uq08fojpq
    """
    try:
        until_us = time_from_text(until) if until is not None else None
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(str(error), param_hint="--until") from error
    with reading(home) as here:
        model, object_id = find_object(here.view, object)
        events = [logged.event for logged in here.view.history(object_id)]
        authors = Authors(here.view, object_id)
        unwanted = {found for text in without for found in _named(text, events, authors)}
        refolded = refold(upto(events, until_us), unwanted)
        later = sum(until_us is not None and event.t > until_us for event in events)
        shown = _Shown(model, object_id, refolded.view, here.view, _unopened)
        if as_json:
            document = _shown_json(shown)
            document["later"] = later
            document["left_out"] = [_left_out_json(each) for each in refolded.left_out]
            print_json(document)
        else:
            _print_shown(shown)
            _print_left_out(refolded.left_out, later)


def _named(text: str, events: Iterable[Event], authors: Authors) -> set[bytes]:
    """The event id or author key that `text` is, or is the beginning of."""
    names: dict[str, set[bytes]] = {}
    for event in events:
        names.setdefault(to_text(event.id), set()).add(event.id)
        names.setdefault(to_text(event.author), set()).add(event.author)
    for author in authors.all():
        if author.subject is not None:
            names.setdefault(to_text(author.subject), set()).add(author.key)
    beginning = text.rpartition(":")[2]
    fitting = [name for name in names if beginning and name.startswith(beginning)]
    if len(fitting) != 1:
        many = f"fits {len(fitting)} events and authors" if fitting else "is no event or author"
        raise click.BadParameter(f"{text[:120]!r} {many} of this object", param_hint="--without")
    return names[fitting[0]]


def _caller(here: Home, text: str) -> ObjectId:
    """The object of that id; a full id need not be known here, the key decides."""
    try:
        return ObjectId(from_text_untrusted(text.rpartition(":")[2]))
    except ValueError:
        return find_object(here.view, text)[1]


# -- opening sealed values ------------------------------------------------------------------------


def _unopened(stored: str, value: Sealed) -> Value:
    raise Unreadable("not opened here")


def _with_own_keys(here: Home, object_id: ObjectId) -> Unseal:
    """Open with the object's own keys; the keyring is not touched before it is needed."""

    @cache
    def keys() -> ObjectKeys:
        try:
            found = _keyring(here).get(object_id)
        except DinemicError as error:
            raise Unreadable(str(error)) from error
        if found is None:
            raise Unreadable("the object's own keys are not in this home")
        return found

    return lambda stored, value: _unseal(here.view, object_id, keys(), stored, value)


def _with_keys_of(here: Home, object_id: ObjectId, reader: ObjectId) -> Unseal:
    """Open with the keys of another object.

    Raises:
        NotOwned: they are not here.
        UsageError, StoreError: the keyring cannot be opened.
    """
    keys = _keyring(here).get(reader)
    if keys is None:
        raise NotOwned(f"the private key of {object_name(here.view, reader)} is not in this home")
    return lambda stored, value: _unseal(here.view, object_id, keys, stored, value)


def _keyring(here: Home) -> Keyring:
    return Keyring.open(here.config.home / "keys", here.config.passphrase, create=False)


def _unseal(view: View, object_id: ObjectId, keys: ObjectKeys, stored: str, value: Sealed) -> Value:
    epoch_key = find_epoch_key(view, object_id, value.epoch, keys)
    return sealing.unseal(object_id, stored.encode(), epoch_key, value)


# -- one object --------------------------------------------------------------------------------


class _Shown(NamedTuple):
    model: str
    object_id: ObjectId
    view: View
    names: View
    """Knows the other objects, where `view` is a replay of this one alone."""
    unseal: Unseal


class _Field(NamedTuple):
    name: str
    value: Value
    """What is inside a sealed value if it opened, else the `Sealed` itself."""
    locked: str
    """Why a sealed value did not open, or nothing."""
    reading: Reading
    author: Author


def _fields(shown: _Shown) -> list[_Field]:
    view, object_id = shown.view, shown.object_id
    authors = Authors(view, object_id)
    fields: list[_Field] = []
    for stored in view.keys(object_id):
        reading = view.read(object_id, stored)
        if reading is None:
            continue
        value, locked = reading.value, ""
        if isinstance(value, Sealed):
            try:
                value = shown.unseal(stored, value)
            except Unreadable as error:
                locked = str(error)
        author = authors.of(view.event(reading.event).author)
        fields.append(_Field(stored.removeprefix(register.PREFIX), value, locked, reading, author))
    return fields


def _shown_json(shown: _Shown) -> dict[str, Json]:
    view, object_id = shown.view, shown.object_id
    name = db_id(shown.model, object_id)
    found = view.find(object_id)
    if found is None:
        return {"id": name, "model": shown.model, "exists": False}
    _, row = found
    grants = [
        {
            "role": ROLES[role],
            "subject": object_name(shown.names, holder.subject),
            "key": to_text(holder.author),
        }
        for role in ROLES
        for holder in view.holders(object_id, role)
    ]
    return {
        "id": name,
        "model": shown.model,
        "exists": row.is_there,
        "removed_by": to_text(row.removed_by[8:]) if row.removed_by else None,
        "key": to_text(row.owner),
        "access": policy_json(view.policy(object_id)),
        "heads": [to_text(head) for head in view.heads(object_id)],
        "digest": to_text(view.digest(object_id)),
        "grants": grants,
        "fields": {field.name: _field_json(field) for field in _fields(shown)},
        "collections": contents_json(view, object_id, shown.unseal),
    }


def _field_json(field: _Field) -> dict[str, Json]:
    reading = field.reading
    return {
        "value": value_json(field.value),
        "encrypted": isinstance(reading.value, Sealed),
        "locked": field.locked or None,
        "t": reading.t,
        "time": time_text(reading.t),
        "event": to_text(reading.event),
        "author": field.author.json(),
        "authorized": reading.authorized,
    }


def _print_shown(shown: _Shown) -> None:
    view, object_id = shown.view, shown.object_id
    click.secho(db_id(shown.model, object_id), bold=True)
    found = view.find(object_id)
    if found is None:
        click.echo("does not exist")
        return
    _, row = found
    if row.removed_by:
        at = time_text(int.from_bytes(row.removed_by[:8], "big"))
        click.echo(f"removed by event {short(row.removed_by[8:])} at {at}")
    click.echo(f"key     {to_text(row.owner)}")
    click.echo(f"access  {policy_text(view.policy(object_id))}")
    heads = view.heads(object_id)
    click.echo(f"heads   {' '.join(short(head) for head in heads)}")
    click.echo(f"digest  {to_text(view.digest(object_id))}")
    for role in ROLES:
        for holder in view.holders(object_id, role):
            click.echo(f"grant   {ROLES[role]} to {object_name(shown.names, holder.subject)}")
    fields = _fields(shown)
    if fields:
        click.echo()
        rows = [
            (field.name, _field_text(field), time_text(field.reading.t), field.author.text())
            for field in fields
        ]
        print_table(("field", "value", "set at", "by"), rows)
    print_contents(view, object_id, shown.unseal)


def _field_text(field: _Field) -> str:
    text = value_text(field.value)
    if field.locked:
        return f"{text}: {field.locked}"
    return f"{text} (sealed, opened)" if isinstance(field.reading.value, Sealed) else text


# -- what a replay does without --------------------------------------------------------------


def _left_out_json(left_out: LeftOut) -> dict[str, Json]:
    return {"event": to_text(left_out.event), "reason": left_out.reason}


def _print_left_out(left_out: Sequence[LeftOut], later: int) -> None:
    if left_out or later:
        click.echo()
    if later:
        click.echo(f"left out  {plural(later, 'event')} of a later time")
    for each in left_out:
        click.echo(printable(f"left out  {short(each.event)}  {each.reason}"))
