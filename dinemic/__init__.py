"""Signed, encrypted objects that live on every node at once, without a server.

::

    import dinemic

    dinemic.launch()

    class Person(dinemic.DModel):
        name = dinemic.DField("name")
        salary = dinemic.DField("salary", True)

    p = Person([])
    p.name.set("Bob")
"""

from dinemic._version import __version__
from dinemic.actions import DAction, ReadOnly, RejectDetached, RejectUnauthorized, on
from dinemic.bundles import Exported, Imported, audit, export_bundle, import_bundle
from dinemic.callbacks import Context
from dinemic.collections import DCounter, DDict, DSet
from dinemic.declarations import AccessPolicy
from dinemic.fields import Because, Conflict, DField
from dinemic.lists import DList
from dinemic.logs import set_loglevel
from dinemic.models import DModel, HistoryEvent
from dinemic.node import Node, Status
from dinemic.replays import LeftOut, Replayed, replay
from dinemic.running import (
    launch,
    object_list,
    object_list_owned,
    open_node,
    prepare,
    shutdown,
    status,
    wait_synced,
)
from dinemic.transactions import transaction
from dinemic_engine.audit import AuditReport
from dinemic_engine.canonical import Sealed
from dinemic_engine.errors import (
    BadSignature,
    BrokenChain,
    BundleError,
    ClockOff,
    DinemicError,
    InvalidEvent,
    LimitExceeded,
    Malformed,
    NotLaunched,
    NotOwned,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreLocked,
    TransportError,
    Unauthorized,
    UnknownObject,
    Unreadable,
    UpdateRejected,
    UsageError,
)
from dinemic_engine.findings import Finding

__all__ = [
    "AccessPolicy",
    "AuditReport",
    "BadSignature",
    "Because",
    "BrokenChain",
    "BundleError",
    "ClockOff",
    "Conflict",
    "Context",
    "DAction",
    "DCounter",
    "DDict",
    "DField",
    "DList",
    "DModel",
    "DSet",
    "DinemicError",
    "Exported",
    "Finding",
    "HistoryEvent",
    "Imported",
    "InvalidEvent",
    "LeftOut",
    "LimitExceeded",
    "Malformed",
    "Node",
    "NotLaunched",
    "NotOwned",
    "ReadOnly",
    "RejectDetached",
    "RejectUnauthorized",
    "Replayed",
    "Sealed",
    "Status",
    "StoreCorrupt",
    "StoreError",
    "StoreFull",
    "StoreLocked",
    "TransportError",
    "Unauthorized",
    "UnknownObject",
    "Unreadable",
    "UpdateRejected",
    "UsageError",
    "__version__",
    "audit",
    "export_bundle",
    "import_bundle",
    "launch",
    "object_list",
    "object_list_owned",
    "on",
    "open_node",
    "prepare",
    "replay",
    "set_loglevel",
    "shutdown",
    "status",
    "transaction",
    "wait_synced",
]
