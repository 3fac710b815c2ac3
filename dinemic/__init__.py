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
from dinemic.fields import Conflict, DField
from dinemic.logs import set_loglevel
from dinemic.models import AccessPolicy, DModel, HistoryEvent
from dinemic.node import Node, Status
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
from dinemic_engine.canonical import Sealed
from dinemic_engine.errors import (
    BadSignature,
    BrokenChain,
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

__all__ = [
    "AccessPolicy",
    "BadSignature",
    "BrokenChain",
    "Conflict",
    "DField",
    "DModel",
    "DinemicError",
    "HistoryEvent",
    "InvalidEvent",
    "LimitExceeded",
    "Malformed",
    "Node",
    "NotLaunched",
    "NotOwned",
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
    "launch",
    "object_list",
    "object_list_owned",
    "open_node",
    "prepare",
    "set_loglevel",
    "shutdown",
    "status",
    "wait_synced",
]
