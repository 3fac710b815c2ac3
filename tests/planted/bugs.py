"""Bugs that the tests must notice: each breaks one rule, in one place.

A bug is a change of the text of a module that still compiles and imports. The tests named with it
are the cheapest that are there for the rule; that nobody else notices does not matter.
"""

from __future__ import annotations

from typing import Final

from support.planting import Bug

_ENGINE = "dinemic_engine."
_TRANSPORT = "dinemic_transport."
_CUTS = "tests/crash/test_recorded_cuts.py"
_HISTORIES = "tests/simulation/test_histories.py"

BUGS: Final[dict[str, Bug]] = {
    # -- events ----------------------------------------------------------------------------------
    "a second spelling is accepted": Bug(
        "EV-8",
        _ENGINE + "canonical",
        "if cbor2.dumps(value, canonical=True, default=_seal_form) != data:",
        "if False:",
        ("tests/unit/test_canonical_vectors.py",),
    ),
    "small-order points are accepted": Bug(
        "EV-9",
        _ENGINE + "keys",
        'return "is of small order" if y in _SMALL_ORDER_Y else ""',
        'return ""',
        ("tests/unit/test_keys_vectors.py",),
    ),
    "no signature is checked": Bug(
        "EV-9",
        _ENGINE + "event",
        "verify(",
        "(lambda *_: None)(",
        ("tests/unit/test_event_vectors.py",),
    ),
    "the id covers the payload only": Bug(
        "EV-2",
        _ENGINE + "event",
        "return EventId(hashlib.sha256(signed).digest())",
        "return EventId(hashlib.sha256(signed[32:]).digest())",
        ("tests/unit/test_event_vectors.py",),
    ),
    "what comes again takes the place of what is kept": Bug(
        "EV-2",
        _ENGINE + "proposal",
        "            if not placement.follows and self._is_here(event):\n",
        "            if not placement.follows and self._is_here(event):\n"
        "                row = keyspace.event_key(placement.place.no, event.t, event.id)\n"
        "                rows.rows[row] = event.raw\n",
        ("tests/property/test_signed_together.py",),
    ),
    "what is here is let in again": Bug(
        "EV-2",
        _ENGINE + "proposal",
        "if not placement.follows and self._is_here(event):",
        "if False:",
        ("tests/unit/test_fast_paths.py",),
    ),
    "a parent may be named twice": Bug(
        "EV-3",
        _ENGINE + "event",
        "len(parent) != 32 or parent <= previous:",
        "len(parent) != 32 or parent < previous:",
        ("tests/unit/test_event_vectors.py",),
    ),
    "a genesis may hold any op": Bug(
        "EV-5",
        _ENGINE + "event",
        "if type(op) not in (Grant, Set):",
        "if False:",
        ("tests/unit/test_event_vectors.py",),
    ),
    "the way to a root is not followed": Bug(
        "EV-10",
        _ENGINE + "batches",
        "        node = hashlib.sha256(_NODE + pair).digest()\n",
        "        node = sibling\n",
        ("tests/unit/test_event_vectors.py",),
    ),
    "the signature of a root is not checked": Bug(
        "EV-10",
        _ENGINE + "batches",
        "    verify(author, signature, _SIGNED_HEAD + root)",
        "    pass",
        ("tests/unit/test_event_vectors.py",),
    ),
    "a path has all its siblings on the right": Bug(
        "EV-10",
        _ENGINE + "batches",
        "pair = sibling + node if sides & 1 else node + sibling",
        "pair = node + sibling",
        ("tests/unit/test_event_vectors.py",),
    ),
    "siblings lie on either side": Bug(
        "EV-10",
        _ENGINE + "batches",
        "pair = sibling + node if sides & 1 else node + sibling",
        "pair = min(sibling, node) + max(sibling, node)",
        ("tests/unit/test_event_vectors.py",),
    ),
    "a position is not below the number of leaves": Bug(
        "EV-10",
        _ENGINE + "batches",
        " and path[0] >> (len(path) // _HASH_BYTES) == 0",
        "",
        ("tests/unit/test_event_vectors.py",),
    ),
    "a root is signed as events are": Bug(
        "EV-10",
        _ENGINE + "batches",
        r'b"\x4fdinemic/batch/1"',
        r'b"\x4fdinemic/event/1"',
        ("tests/unit/test_event_vectors.py",),
    ),
    "a node is hashed as an event could be": Bug(
        "EV-10",
        _ENGINE + "batches",
        r'_NODE: Final = b"\x01"',
        r'_NODE: Final = b""',
        ("tests/unit/test_event_vectors.py",),
    ),
    "a root that one author signed is good for all": Bug(
        "EV-10",
        _ENGINE + "batches",
        "    _verify_root(author, node, signature)\n",
        "    good = verify_in_batch.__dict__.setdefault('good', set())\n"
        "    if (node, signature) not in good:\n"
        "        _verify_root(author, node, signature)\n"
        "        good.add((node, signature))\n",
        ("tests/property/test_signed_together.py",),
    ),
    "64 events are the most under one signature": Bug(
        "EV-10",
        _ENGINE + "limits",
        "BATCH_LEVELS_MAX: Final = 7",
        "BATCH_LEVELS_MAX: Final = 6",
        ("tests/unit/test_event_vectors.py",),
    ),
    # -- order -----------------------------------------------------------------------------------
    "a parent of another object is accepted": Bug(
        "ORD-1",
        _ENGINE + "log",
        "if parent.no != no:",
        "if False:",
        ("tests/unit/test_hostile_cases.py", "tests/unit/test_access_rules.py"),
    ),
    "an event may be as old as its parent": Bug(
        "ORD-2",
        _ENGINE + "log",
        "if parent.t >= event.t:",
        "if parent.t > event.t:",
        ("tests/unit/test_hostile_cases.py", "tests/unit/test_ledger_store.py"),
    ),
    "authors do not look at the heads' times": Bug(
        "ORD-2",
        _ENGINE + "order",
        "return max(now_us, 1 + max(heads_t, default=-1))",
        "return now_us",
        ("tests/unit/test_ledger_store.py",),
    ),
    "an event an hour ahead is let in": Bug(
        "ORD-4",
        _ENGINE + "order",
        "return t > now_us + HOLD_US",
        "return t > now_us + 61 * HOLD_US",
        ("tests/unit/test_hostile_cases.py", "tests/unit/test_ledger_store.py"),
    ),
    "the smaller write wins": Bug(
        "ORD-6",
        _ENGINE + "store.layout",
        "return row[:_ORDER_BYTES] < other[:_ORDER_BYTES]",
        "return row[:_ORDER_BYTES] > other[:_ORDER_BYTES]",
        ("tests/unit/test_view_registers.py",),
    ),
    "orphans are kept without a bound": Bug(
        "ORD-9",
        _ENGINE + "waiting",
        "usage.events >= limits.ORPHANS_PER_SOURCE_MAX",
        "False",
        ("tests/unit/test_waiting_bounds.py",),
    ),
    # -- authority -------------------------------------------------------------------------------
    "admins make admins": Bug(
        "AUTH-1",
        _ENGINE + "access",
        "isinstance(op, Grant | Revoke) and op.role == ADMIN for op in event.ops",
        "False for op in event.ops",
        ("tests/unit/test_access_rules.py", "tests/unit/test_hostile_cases.py"),
    ),
    "the owner's rights may be taken": Bug(
        "AUTH-2",
        _ENGINE + "admission",
        "            if op.signing == row.owner:",
        "            if False:",
        ("tests/unit/test_access_rules.py", "tests/unit/test_hostile_cases.py"),
    ),
    "a revocation ends grants it had not seen": Bug(
        "AUTH-3",
        _ENGINE + "access",
        "            and covers(rows, revoke.place, grant.act.chain, grant.act.seq)\n"
        "            and not covers(rows, revoke.place, at.chain, at.seq)",
        "            and not covers(rows, revoke.place, at.chain, at.seq)",
        ("tests/unit/test_access_rules.py", "tests/property/test_authority.py"),
    ),
    "a revocation voids what it had seen": Bug(
        "AUTH-4",
        _ENGINE + "access",
        "            and not covers(rows, revoke.place, at.chain, at.seq)\n",
        "",
        ("tests/unit/test_access_rules.py", "tests/property/test_authority.py"),
    ),
    "a revocation is of no effect": Bug(
        "I-06",
        _ENGINE + "access",
        "            and not covers(rows, revoke.place, at.chain, at.seq)\n",
        "            and False\n",
        (_HISTORIES,),
    ),
    "a revocation by a revoked admin stands": Bug(
        "AUTH-4",
        _ENGINE + "access",
        "            and act_stands(rows, row, revoke, scope)",
        "",
        ("tests/unit/test_access_rules.py", "tests/property/test_authority.py"),
    ),
    "a grant by a revoked admin stands": Bug(
        "AUTH-4",
        _ENGINE + "access",
        "                and act_stands(rows, row, grant.act, scope)\n",
        "",
        ("tests/unit/test_access_rules.py", "tests/property/test_authority.py"),
    ),
    "closing an object cuts nobody off": Bug(
        "AUTH-5",
        _ENGINE + "access",
        "    if scope is not None or not row.cuts:\n        return True\n",
        "    return True\n",
        ("tests/unit/test_access_rules.py", "tests/property/test_authority.py"),
    ),
    "strangers remove open objects": Bug(
        "AUTH-6",
        _ENGINE + "access",
        "                if not writer:\n"
        "                    return False, Reason.REMOVE_BY_STRANGER",
        "                pass",
        ("tests/unit/test_access_rules.py", "tests/unit/test_hostile_cases.py"),
    ),
    "a removal does not come back with its author's grant": Bug(
        "AUTH-6",
        _ENGINE + "state",
        "            rows.rows[keyspace.remove_key(place.no, event.t, event.id)] = None\n",
        "            pass\n",
        ("tests/unit/test_verdicts.py",),
    ),
    "inert events are kept without a bound": Bug(
        "REC-1",
        _ENGINE + "verdicts",
        "if sum(end - begins for _, begins, end in tails) >= limits.INERT_EVENTS_MAX:",
        "if False:",
        ("tests/unit/test_inert_events.py",),
    ),
    # -- guards ----------------------------------------------------------------------------------
    "what a guard has not seen takes effect": Bug(
        "VETO-1",
        _ENGINE + "proposal",
        "        elif not withheld:\n                changed = state.advance(",
        "        else:\n                changed = state.advance(",
        ("tests/unit/test_guards_on_nodes.py",),
    ),
    "guards see the newest value": Bug(
        "VETO-2",
        _ENGINE + "guards",
        "        if not log.covers(rows, place, *layout.unpack_position(value)):\n"
        "            continue\n",
        "",
        ("tests/unit/test_guards_on_nodes.py", "tests/property/test_vetoes.py"),
    ),
    "an exception that no guard meant lets pass": Bug(
        "VETO-5",
        "dinemic.guards",
        "            return error\n        return None\n\n\ndef _veto(",
        "            return error if type(error) is ValueError else None\n\n\ndef _veto(",
        ("tests/unit/test_guards_on_nodes.py", "tests/unit/test_guards_of_edits.py"),
    ),
    "a change is told twice": Bug(
        "VETO-3",
        "dinemic.deliveries",
        "self._write({keyspace.delivery_key(listener.number, seq): None})",
        "pass",
        ("tests/unit/test_deliveries.py",),
    ),
    "callbacks are called twice in a row": Bug(
        "I-09",
        "dinemic.listeners",
        "applied.call(name, context, *args, guard=False)",
        "[applied.call(name, context, *args, guard=False) for _ in range(2)]",
        (_HISTORIES,),
    ),
    # -- sealing ---------------------------------------------------------------------------------
    "a key that is not the committed one is used": Bug(
        "SEAL-1",
        _ENGINE + "sealing",
        "if commitment(object_id, epoch_key) != epoch.commit:",
        "if False:",
        ("tests/unit/test_sealing_values.py",),
    ),
    "an epoch may leave out the owner": Bug(
        "SEAL-2",
        _ENGINE + "epochs",
        "elif all(reader != row.owner for reader, _ in epoch.recipients):",
        "elif False:",
        ("tests/unit/test_hostile_cases.py",),
    ),
    "an epoch may be sealed for anybody": Bug(
        "SEAL-3",
        _ENGINE + "epochs",
        "if not reads(rows, row, place, reader):",
        "if False:",
        ("tests/unit/test_hostile_cases.py",),
    ),
    "a value does not know its field": Bug(
        "SEAL-5",
        _ENGINE + "sealing",
        "def _value_key(object_id: bytes, path: bytes, epoch_key: bytes, salt: bytes) -> bytes:\n",
        "def _value_key(object_id: bytes, path: bytes, epoch_key: bytes, salt: bytes) -> bytes:\n"
        "    path = b''\n",
        ("tests/unit/test_event_vectors.py",),
    ),
    # -- data types ------------------------------------------------------------------------------
    "an op may point at what its author had not seen": Bug(
        "TYPE-1",
        _ENGINE + "types.fugue",
        "            or not log.covers(rows, place, inserted.chain, inserted.seq)\n",
        "",
        ("tests/unit/test_list_places.py", "tests/unit/test_hostile_cases.py"),
    ),
    "an event may give an element two children on a side": Bug(
        "TYPE-6",
        _ENGINE + "types.fugue",
        "    if len(set(sides)) < len(sides):",
        "    if False:",
        ("tests/unit/test_list_places.py",),
    ),
    "siblings lie in the order they came": Bug(
        "TYPE-6",
        _ENGINE + "types.fugue",
        "at = bisect_left(entries, child)",
        "at = len(entries)",
        ("tests/property/test_list_convergence.py",),
    ),
    "a counter's adds do not come back": Bug(
        "TYPE-4",
        _ENGINE + "types.counter",
        "_count(rows, place.no, event, index, op, seen, -1)",
        "pass",
        ("tests/property/test_collections.py",),
    ),
    "an add counts twice": Bug(
        "I-11",
        _ENGINE + "types.counter",
        "_count(rows, place.no, event, index, op, seen, +1)",
        "_count(rows, place.no, event, index, op, seen, +2)",
        (_HISTORIES,),
    ),
    "a remove may take adds its author had not seen": Bug(
        "TYPE-5",
        _ENGINE + "types.members",
        "known = reached[add.chain] >= add.seq",
        "known = True",
        ("tests/unit/test_event_vectors.py",),
    ),
    # -- the disk ---------------------------------------------------------------------------------
    "a flush syncs nothing": Bug(
        "I-13",
        _ENGINE + "store.rocks",
        "self._db.flush_wal(True)",
        "self._db.flush_wal(False)",
        (_CUTS,),
    ),
    "a write that is to be on disk is on its way": Bug(
        "I-13",
        "dinemic.gate",
        'if self._durability == "sync":',
        "if False:",
        (_CUTS + "::test_i_13_a_power_cut_after_any_call_takes_nothing_that_was_synced[sync]",),
    ),
    "a new store's name is not synced": Bug(
        "I-13",
        _ENGINE + "store.rocks",
        "            sync_names(path.parent)",
        "            pass",
        (_CUTS + "::test_i_13_a_store_that_is_new_in_an_old_home_is_there_after_a_power_cut",),
    ),
    "a new home's name is not synced": Bug(
        "I-13",
        "dinemic.node",
        "private_files.make_directory(config.home)",
        "config.home.mkdir(mode=0o700, exist_ok=True)",
        (_CUTS,),
    ),
    "keys are not synced": Bug(
        "I-13",
        "dinemic.private_files",
        "            os.fsync(file.fileno())\n",
        "",
        (_CUTS,),
    ),
    "the names of keys are not synced": Bug(
        "I-13",
        "dinemic.private_files",
        "        sync_directory(path.parent)\n    except",
        "    except",
        (_CUTS,),
    ),
    # -- the network ------------------------------------------------------------------------------
    "late events do not reach their block": Bug(
        "REC-2",
        _ENGINE + "blocks",
        "self._put(level, bound, sums.plus(by))",
        "self._put(level, bound, sums)",
        ("tests/property/test_blocks.py",),
    ),
    "heads are summed like other events": Bug(
        "REC-2",
        _ENGINE + "ranges",
        'b"dinemic/heads/1" + event_id',
        'b"dinemic/fp/1" + event_id',
        ("tests/unit/test_event_vectors.py",),
    ),
    "heads are not summed": Bug(
        "REC-3",
        _ENGINE + "recount",
        "    now = rows.rows.get(key)\n",
        "    now = None\n",
        ("tests/unit/test_listing.py", "tests/property/test_blocks.py"),
    ),
    "a question may name any number of keys": Bug(
        "REC-4",
        _ENGINE + "reconcile",
        "            if len(claim) > RECONCILE_IDS_MAX:",
        "            if False:",
        ("tests/unit/test_ranges_liars.py",),
    ),
    "events travel in models the peer did not ask for": Bug(
        "REC-1",
        _TRANSPORT + "session",
        "return all(model in models or ALL_MODELS in models for models in",
        "return True or all(model in models or ALL_MODELS in models for models in",
        ("tests/unit/test_session.py",),
    ),
    "late events prune nobody": Bug(
        "GOS-1",
        _TRANSPORT + "news",
        "return self.judged(late=int(late), admitted=int(not late))",
        "return False",
        ("tests/unit/test_gossip.py", "tests/unit/test_overlay.py"),
    ),
    "useless news costs its sender nothing": Bug(
        "GOS-3",
        _TRANSPORT + "allowance",
        "        self._news.spend(1, now)\n",
        "",
        ("tests/unit/test_allowance.py",),
    ),
    "faults cost nothing": Bug(
        "GOS-4",
        _TRANSPORT + "score",
        "self._value, self._at = self.at(now) + points, now",
        "self._value, self._at = self.at(now), now",
        ("tests/unit/test_session.py", "tests/unit/test_session_liars.py"),
    ),
    "whoever answers is taken for who was dialled": Bug(
        "CHAN-2",
        _TRANSPORT + "door",
        "if expect is not None and peer != expect:",
        "if False:",
        ("tests/unit/test_channel.py",),
    ),
    "who is cut off shakes hands again at once": Bug(
        "CHAN-4",
        _TRANSPORT + "handshakes",
        "begins = max(now, budget.ready_at, line.budget.ready_at)",
        "begins = now",
        ("tests/unit/test_handshakes.py",),
    ),
    "a node writes whatever its clock says": Bug(
        "ORD-5",
        "dinemic.gate",
        "if behind_us is not None and abs(behind_us) > CLOCK_OFF_US:",
        "if False:",
        ("tests/unit/test_runner_overlay.py",),
    ),
    "nodes that diverge raise no alarm": Bug(
        "VETO-4",
        _TRANSPORT + "rows",
        "            self._alarms.append(found)",
        "            pass",
        ("tests/unit/test_divergence.py",),
    ),
}
