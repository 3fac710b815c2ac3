"""A random history of one object, written by six people with views of their own.

Owner, two admins-to-be, two members and a stranger edit concurrently: grants, revocations,
re-grants, policies per field, removals, sealing epochs, back-dated events, restored backups,
partitions that last. Each event is there twice: signed, and plain for `reference.authority`.
"""

from __future__ import annotations

import hashlib
import random

from dinemic_engine.canonical import Sealed
from dinemic_engine.edits import Set
from dinemic_engine.event import sign_event
from dinemic_engine.ids import AuthorId, EventId, ObjectId
from dinemic_engine.keys import SealingKey, SigningKey
from dinemic_engine.ops import (
    ADMIN,
    READ,
    SUITE_X25519,
    UPDATE,
    Create,
    Epoch,
    Grant,
    Op,
    Policy,
    Remove,
    Revoke,
    SetPolicy,
)
from reference.authority import Judge, Opening, Plain, pasts

ROLES = {"read": READ, "update": UPDATE, "admin": ADMIN}
SEALING = SealingKey(bytes(31) + b"\x07").public
KEYS = {name: SigningKey(bytes(31) + bytes((number,))) for number, name in enumerate("OABMNS", 1)}
PUBLIC = {name: AuthorId(key.public) for name, key in KEYS.items()}
FIELDS = ("f", "h")

Act = tuple[object, ...]


def name_hash(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


class AuthorityWorld:
    """A random history of one object, as plain events and as signed ones."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.sealing = rng.choice((0, 3, 8))
        """How much of what happens is about sealed values."""
        self.opening = Opening(rng.random() < 0.25, self._exceptions())
        create = Create("Doc", SUITE_X25519, SEALING, policy_of(self.opening))
        genesis = sign_event(KEYS["O"], None, 1, (), [create])
        self.object = ObjectId(genesis.id)
        self.plain = {"g": Plain("g", "O", 1, genesis.id, (), ())}
        self.signed = {"g": genesis}
        self.names = {genesis.id: "g"}
        self.refused: dict[str, str] = {}
        """Name to the reason, which the first ledger fills in and others must repeat."""
        views: dict[str, set[str]] = {name: set(self.plain) for name in KEYS}
        if rng.random() < 0.7:  # a team to begin with, so that most of what follows is allowed
            team: list[Act] = [("grant", "admin", "A"), ("grant", "admin", "B")]
            team += [("grant", "update", "M"), ("grant", "read", "N"), ("grant", "read", "M")]
            team += [("grant", "update", "A")]
            self._write("team", "O", views["O"], tuple(rng.sample(team, rng.randrange(3, 7))))
            for view in views.values():
                view |= views["O"]
        cut: set[str] = set()
        backup = {name: set(view) for name, view in views.items()}
        for number in range(rng.randrange(4, 30)):
            if rng.random() < 0.08:  # a partition begins, or heals
                cut = set() if cut else set(rng.sample("OABMNS", 3))
            author = rng.choice("OOOABBAMMNS")
            if rng.random() < 0.03:
                views[author] = set(backup[author])
            if rng.random() < 0.05:
                backup[author] = set(views[author])
            other = rng.choice("OABMNS")
            if rng.random() < 0.45 and (other in cut) == (author in cut):
                views[author] |= views[other]
            if rng.random() < 0.12:
                self._cut_unseen(f"e{number}", views)
                continue
            while not self._write(f"e{number}", author, views[author], None):
                if rng.random() < 0.4:  # most of what is refused is tried otherwise, out of sight
                    break
                self.forget(f"e{number}")

    def _cut_unseen(self, name: str, views: dict[str, set[str]]) -> None:
        """Somebody revokes the author of an event, having seen exactly what it had seen."""
        found = [each for each in self.plain.values() if each.author != "O"]
        acts = [each for each in found if each.kinds() & {"grant", "revoke"}]
        if found:
            event = self.rng.choice(acts if acts and self.rng.random() < 0.5 else found)
            view = set(pasts(self.plain)[event.name])
            by = self.rng.choice("OOAB" if event.kinds() & {"set", "remove"} else "O")
            role = "admin" if event.kinds() & {"grant", "revoke"} else "update"
            if self._write(name, by, view, (("revoke", role, event.author),)):
                views[by] |= view

    def judge(self, names: set[str]) -> Judge:
        return Judge({name: self.plain[name] for name in names}, "O", self.opening)

    def _write(self, name: str, author: str, view: set[str], does: tuple[Act, ...] | None) -> bool:
        """Whether the event is admissible, or there already."""
        rng = self.rng
        heads = sorted(e for e in view if not any(e in self.plain[o].parents for o in view))
        if does is None and rng.random() < 0.15 and len(view) > 1:  # one who knows only a part
            heads = rng.sample(sorted(view), rng.choice((1, 1, 2)))
        heads = sorted(heads, key=lambda head: self.signed[head].id)[:16]
        t = max(self.plain[head].t for head in heads) + rng.choice((1, 1, 2, 9))
        does = does or self._does(name, author, view)
        parents = [EventId(self.signed[head].id) for head in heads]
        ops = [self._op(name, act) for act in does]
        signed = sign_event(KEYS[author], self.object, t, parents, ops)
        if signed.id in self.names:  # the same again is no other event
            return True
        plain = Plain(name, author, t, signed.id, tuple(heads), does)
        self.signed[name] = signed
        self.names[signed.id] = name
        self.plain[name] = plain
        if self.judge(set(self.plain)).admissible(name):
            view.add(name)
            return True
        del self.plain[name]
        self.refused[name] = ""
        return False

    def forget(self, name: str) -> None:
        """Let a refused event never have been made."""
        del self.refused[name], self.names[self.signed.pop(name).id]

    def _does(self, name: str, author: str, view: set[str]) -> tuple[Act, ...]:
        rng = self.rng
        kinds = ["set"] * 4 + ["seal"] * self.sealing + ["remove"] * (rng.random() < 0.1)
        if author in "OAB" or rng.random() < 0.1:
            kinds += ["epoch"] * (self.sealing // 2) + ["grant"] * 5 + ["revoke"] * 5
        if author == "O" or rng.random() < 0.05:
            kinds += ["policy"]
        acts: list[Act] = []
        for index in range(rng.choice((1, 1, 1, 2))):
            kind = rng.choice(kinds)
            if kind == "set":
                acts.append(("set", rng.choice(FIELDS), ""))
            elif kind == "epoch":
                again = self._again(view)
                if again is None or again[1] in {act[1] for act in acts if act[0] == "epoch"}:
                    again = self._epoch(f"{name}.{index}", view, author)
                acts.append(again)
            elif kind == "seal":
                known = [act for other in view for act in self.plain[other].does]
                epochs = [str(act[1]) for act in known if act[0] == "epoch"]
                if epochs and rng.random() < 0.9:
                    acts.append(("set", rng.choice(FIELDS), max(epochs, key=_made)))
                elif rng.random() < 0.9:
                    acts.append(self._epoch(f"{name}.{index}", view, author))
                    acts.append(("set", rng.choice(FIELDS), f"{name}.{index}"))
                else:
                    acts.append(("set", rng.choice(FIELDS), "no.such"))
            elif kind == "remove":
                acts.append(("remove",))
            elif kind == "policy":
                if not any(act[0] == "policy" for act in acts):
                    acts.append(("policy", Opening(rng.random() < 0.4, self._exceptions())))
            else:
                chief = author == "O" or rng.random() < 0.03
                role = rng.choice(("read", "update", "admin" if chief else "read"))
                who = rng.choice("ABMN" + "MNSAB" if rng.random() < 0.97 else "O")
                if author == "O" and kind == "revoke" and rng.random() < 0.4:
                    role, who = "admin", rng.choice("AB")
                acts.append((kind, role, who))
        return tuple(acts) or (("set", "f", ""),)

    def _epoch(self, name: str, view: set[str], author: str) -> Act:
        judge = self.judge(view)
        readers = {who for who in "ABMNS" if judge.held_by(who, "read")} | {"O"}
        if self.rng.random() < 0.1:
            readers |= {self.rng.choice("ABMNS")}
        if self.rng.random() < 0.05:
            readers = readers - {"O"} or {"O"}
        return ("epoch", name, *sorted(readers))

    def _again(self, view: set[str]) -> Act | None:
        """An epoch made before, sealed for one or two more, who mostly are readers."""
        acts = [act for other in sorted(view) for act in self.plain[other].does]
        epochs = sorted({str(act[1]) for act in acts if act[0] == "epoch"})
        if not epochs or self.rng.random() < 0.5:
            return None
        judge = self.judge(view)
        readers = [who for who in "ABMNS" if judge.held_by(who, "read")] or ["O"]
        if self.rng.random() < 0.1:
            readers = ["O", "S"]
        return ("epoch", self.rng.choice(epochs), *sorted(set(self.rng.choices(readers, k=2))))

    @staticmethod
    def made_again(judge: Judge, epoch: object) -> bool:
        """Whether an epoch was sealed more than once."""
        acts = [act for event in judge.events.values() for act in event.does]
        return sum(act[:2] == ("epoch", epoch) for act in acts) > 1

    def _exceptions(self) -> tuple[tuple[str, bool], ...]:
        rng = self.rng
        return (("h", rng.random() < 0.6),) if rng.random() < 0.3 else ()

    def _op(self, name: str, act: Act) -> Op:
        match act:
            case ("set", str(field), ""):
                return Set(field, self.rng.randrange(1 << 40))
            case ("set", str(field), str(epoch)):
                return Set(field, Sealed(name_hash(epoch), self.rng.randbytes(16), bytes(32)))
            case ("remove",):
                return Remove()
            case ("policy", Opening() as opening):
                return SetPolicy(policy_of(opening))
            case ("epoch", str(epoch), *readers):
                pairs = sorted((PUBLIC[str(reader)], bytes(80)) for reader in readers)
                return Epoch(SUITE_X25519, name_hash(epoch), tuple(pairs))
            case ("grant", str(role), str(who)):
                subject = ObjectId(name_hash(f"{name} {role}"))
                return Grant(ROLES[role], subject, PUBLIC[who], SUITE_X25519, SEALING)
            case ("revoke", str(role), str(who)):
                return Revoke(ROLES[role], PUBLIC[who])
        raise AssertionError(act)


def policy_of(opening: Opening) -> Policy:
    return Policy(opening.default, opening.exceptions)


def _made(epoch: str) -> int:
    """When an epoch was made, roughly: writers use the newest they know."""
    digits = epoch.partition(".")[0].removeprefix("e")
    return int(digits) if digits.isdigit() else 0
