"""The command `access`: who may do what on an object, since when and by whom."""

from __future__ import annotations

from pathlib import Path

import click

from dinemic.cli.common import find_object, of_a_home, print_json, reading
from dinemic.cli.tables import print_table
from dinemic.cli.words import (
    Authors,
    Json,
    object_name,
    plural,
    policy_json,
    policy_text,
    time_text,
)
from dinemic.logs import printable
from dinemic_engine.acts import Granted
from dinemic_engine.ids import ObjectId, db_id, short, to_text
from dinemic_engine.ops import ROLES
from dinemic_engine.store.layout import Act
from dinemic_engine.view import Revocation, View


@click.command()
@click.argument("object")
@of_a_home
def access(object: str, home: Path | None, as_json: bool) -> None:
    """Print who may do what on an object, since which event, and who decided it.

    OBJECT is its id or the beginning of one. Lists the owner, the rule for everybody else, who
    holds which role by which grant, and every revocation so far. A revocation is "void" if whoever
    made it had been revoked unseen: it ends nothing.

    Example: dinemic access Person:mfzw
    """
    with reading(home) as here:
        model, object_id = find_object(here.view, object)
        report = _Report(here.view, model, object_id)
        if as_json:
            print_json(report.json())
        else:
            report.print()


class _Report:
    def __init__(self, view: View, model: str, object_id: ObjectId) -> None:
        self._view = view
        self._name = db_id(model, object_id)
        self._id = object_id
        _, self._row = view.need(object_id)
        self._authors = Authors(view, object_id)
        self._held = view.held(object_id)
        self._revocations = view.revocations(object_id)
        self._policy_since = view.policy_since(object_id)
        self._void = 0
        if self._row.cuts:
            self._void = sum(each.verdict == "void" for each in view.history(object_id))

    def json(self) -> dict[str, Json]:
        since = self._policy_since
        return {
            "id": self._name,
            "exists": self._row.is_there,
            "owner": to_text(self._row.owner),
            "access": policy_json(self._view.policy(self._id)),
            "access_since": self._act_json(since) if since else None,
            "holders": [self._held_json(grant) for grant in self._held],
            "revocations": [self._revocation_json(each) for each in self._revocations],
            "void": self._void,
        }

    def _held_json(self, grant: Granted) -> dict[str, Json]:
        return {
            "role": ROLES[grant.role],
            "subject": object_name(self._view, grant.subject),
            "key": to_text(grant.author),
            "key_is_subjects": self._is_subjects(grant),
            **self._act_json(grant.act),
        }

    def _revocation_json(self, each: Revocation) -> dict[str, Json]:
        subject = self._authors.of(each.author).subject
        return {
            "role": ROLES[each.role],
            "subject": object_name(self._view, subject) if subject else None,
            "key": to_text(each.author),
            "void": each.void,
            **self._act_json(each.act),
        }

    def _act_json(self, act: Act) -> dict[str, Json]:
        return {
            "event": to_text(act.event),
            "t": act.t,
            "time": time_text(act.t),
            "by": self._authors.of(act.by).json(),
        }

    def _is_subjects(self, grant: Granted) -> bool | None:
        """Whether the key is that of the object a grant names; None: that is not known here."""
        found = self._view.find(grant.subject)
        return None if found is None else found[1].owner == grant.author

    def print(self) -> None:
        genesis = self._view.event(self._id)
        click.secho(self._name, bold=True)
        if self._row.removed_by:
            click.echo(f"removed by event {short(self._row.removed_by[8:])}")
        click.echo(f"owner   key {to_text(self._row.owner)}")
        since = self._policy_since
        t, event = (since.t, since.event) if since else (genesis.t, genesis.id)
        policy = printable(policy_text(self._view.policy(self._id)))
        click.echo(f"access  {policy}, since {time_text(t)} by event {short(event)}")
        if self._held:
            click.echo()
            rows = [
                (ROLES[grant.role], self._holder_text(grant), *self._act_texts(grant.act))
                for grant in self._held
            ]
            print_table(("may", "who", "since", "event", "by"), rows)
        if self._revocations:
            click.echo()
            revoked = [
                (
                    ROLES[each.role],
                    self._revoked_text(each),
                    *self._act_texts(each.act),
                    "void" if each.void else "",
                )
                for each in self._revocations
            ]
            print_table(("revoked", "whose", "at", "event", "by", ""), revoked)
        if self._void:
            click.echo()
            click.echo(f"{plural(self._void, 'event')} void: `dinemic log` marks them")

    def _holder_text(self, grant: Granted) -> str:
        name = object_name(self._view, grant.subject)
        if self._is_subjects(grant) is False:
            return f"key {short(grant.author)}, which is not that of {name}"
        return name

    def _revoked_text(self, each: Revocation) -> str:
        subject = self._authors.of(each.author).subject
        return object_name(self._view, subject) if subject else f"key {short(each.author)}"

    def _act_texts(self, act: Act) -> tuple[str, str, str]:
        return time_text(act.t), short(act.event), self._authors.of(act.by).text()
