"""Every bound of the protocol in one place: the unit is in the name, the reason beside it.

A bound marked *format* decides whether an event is valid, so every node of a network must agree on
it; changing one is a new format version (docs/format.md). The others protect this node only.
"""

from typing import Final

# -- format: one event (EV-3, EV-7) -------------------------------------------------------------

EVENT_VERSION: Final = 1
"""The first element of every payload. A reader refuses what it does not know."""

EVENT_BYTES_MAX: Final = 1 << 20
"""1 MiB: a signed event is held whole in memory by every hop that checks it."""

DEPTH_MAX: Final = 16
"""Nesting of a value. Far above what people write, far below what hurts a recursive decoder."""

PAYLOAD_DEPTH_MAX: Final = DEPTH_MAX + 3
"""A value lies inside an op, the ops and the payload."""

ITEMS_MAX: Final = 1 << 17
"""Elements of arrays and pairs of maps in a value, all levels together: twice a full run of a list.
A megabyte of empty maps would take a second to decode, before anything tells who sent it."""

PARENTS_MAX: Final = 16
"""Heads one event may merge. More concurrent heads than this merge in two steps."""

BATCH_LEVELS_MAX: Final = 7
"""Up to 128 events share one signature (EV-10): it then costs each less than the way to the root,
and a path is no longer than 225 bytes."""

OPS_MAX: Final = 4096
"""Ops of one event, which apply together or not at all."""

NAME_BYTES_MAX: Final = 128
"""A field name: 1..128 bytes of ``[A-Za-z0-9_.-]``; it is part of every row key."""

KEY_BYTES_MAX: Final = 512
"""A key of a dict, in UTF-8; it is part of a row key, which holds 1,024 bytes."""

RUN_MAX: Final = 1 << 16
"""Values inserted into a list by one op; an index among them takes two bytes in a row key."""

TARGETS_MAX: Final = 4096
"""Spans of a LIST_DELETE, adds of a SET_REMOVE: each costs a look-up before the event is judged."""

MODEL_BYTES_MAX: Final = 128
"""A model name: a Python identifier in ASCII."""

POLICY_FIELDS_MAX: Final = 256
"""Per-field access rules in one policy."""

RECIPIENTS_MAX: Final = 8192
"""Readers one EPOCH names; 8,192 X25519 recipients stay below EVENT_BYTES_MAX."""

HYBRID_RECIPIENTS_MAX: Final = 800
"""The same in the hybrid suite, where each takes 1.2 kB and not 117 bytes."""

INT_MIN: Final = -(1 << 63)
INT_MAX: Final = (1 << 63) - 1
"""Integers are 64-bit signed (EV-6): every language and store can hold them."""

T_US_MAX: Final = (1 << 63) - 1
"""Event time in microseconds since the Unix epoch; fits a signed 64-bit column anywhere."""

# -- this node: time and buffers (ORD-4, ORD-9) -------------------------------------------------

HOLD_US: Final = 60 * 1_000_000
"""An event dated further ahead than this waits until it is due: no clock is pushed further."""

CLOCK_OFF_US: Final = 30 * 1_000_000
"""A node whose clock is further than this from those of its peers makes no events (ORD-5)."""

ORPHANS_PER_SOURCE_MAX: Final = 1024
ORPHAN_BYTES_PER_SOURCE_MAX: Final = 8 << 20
ORPHAN_BYTES_MAX: Final = 64 << 20
"""Events whose parents are unknown. Losing one is safe: reconciliation brings it again."""

INERT_EVENTS_MAX: Final = 64
INERT_BYTES_MAX: Final = 1 << 20
"""Void events that nothing effective was built on, per revoked writer and object (REC-1)."""

# -- this node: the wire (REC-4, GOS-3, CHAN-4) -------------------------------------------------

FRAME_BYTES_MAX: Final = 64 << 10
"""One frame; an event larger than this travels in parts, so no frame blocks a link for long."""

RANGES_PER_MESSAGE_MAX: Final = 4096
RECONCILE_ROUNDS_MAX: Final = 12
RECONCILE_FANOUT: Final = 16
RECONCILE_IDS_MAX: Final = 32
"""Fan-out 16 and id lists at 32 end 10^7 events in about six rounds; 12 is a liar's bound."""

WANT_IDS_MAX: Final = 512
"""Event ids asked for at once: 16 KiB of ids, up to a few MiB of answers under flow control."""

MODELS_PER_HELLO_MAX: Final = 512
