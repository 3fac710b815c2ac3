"""What a model's class declares: its fields, and who may change them without a grant."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from dinemic.fields import Access, Bound
from dinemic_engine.ops import Policy

if TYPE_CHECKING:
    from dinemic.models import DModel


class AccessPolicy(NamedTuple):
    """Who may change fields without a grant: anybody where it is open, nobody where closed."""

    access: Access
    """The rule of every field but those in `fields`."""
    fields: dict[str, Access]


def fields_of(model: type[DModel], root: type[DModel]) -> dict[str, Bound]:
    """The fields that a model declares by stored key, of every base but `root` and as they are now.

    Read each time: a field that came late and is encrypted must never be written in plain.

    Raises:
        ValueError: two attributes declare one field, or a list and a dict of one name, say, have
            another access each.
    """
    attributes: dict[str, object] = {}
    for base in reversed(model.__mro__):
        if base is not root and base is not object:
            attributes.update(vars(base))
    found: dict[str, Bound] = {}
    for attribute in attributes.values():
        if isinstance(attribute, Bound):
            if found.get(attribute.stored, attribute) is not attribute:
                raise ValueError(f"{model.__name__} declares field {attribute.field_name!r} twice")
            found[attribute.stored] = attribute
    rules_of(model.__name__, found.values())
    return found


def rules_of(model: str, fields: Iterable[Bound]) -> dict[str, bool]:
    """Field name to whether it is open, of those that say so.

    Raises:
        ValueError: a list and a dict of one name, say, have another rule each.
    """
    rules: dict[str, bool] = {}
    for field in fields:
        if field.access is not None:
            rule = field.access == "open"
            if rules.setdefault(field.field_name, rule) != rule:
                raise ValueError(f"{model} declares {field.field_name!r} both open and closed")
    return rules


def policy_of(access: Access, rules: dict[str, bool]) -> Policy:
    """The policy of a new object: a rule for all fields, and those that say something else."""
    everywhere = access == "open"
    other = {name: rule for name, rule in rules.items() if rule != everywhere}
    return Policy(everywhere, tuple(sorted(other.items())))


def is_open(access: object) -> bool:
    """Whether that word is ``open``; ValueError if it is neither."""
    if access not in ("open", "closed"):
        raise ValueError(f"access is 'open' or 'closed', not {access!r}")
    return access == "open"


def in_words(policy: Policy) -> AccessPolicy:
    """A policy as users say it."""
    return AccessPolicy(_word(policy.is_open), {name: _word(rule) for name, rule in policy.fields})


def _word(is_open: bool) -> Access:
    return "open" if is_open else "closed"
