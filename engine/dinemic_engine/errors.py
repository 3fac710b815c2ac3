"""What can go wrong, sorted by who can mend it.

`UsageError` is the caller's, `UpdateRejected` and `Unreadable` are answers of the access rules,
`InvalidEvent` is the author's of some event, `BundleError` is of whoever made or carried a bundle,
`StoreError` is the disk's, `TransportError` is the network's. Everything is below `DinemicError`,
which is an `Exception`.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dinemic_engine.findings import Finding


class Reason(enum.Enum):
    """Why an event was refused. The part before the slash is the rule in docs/format.md."""

    ENVELOPE = "EV-1/envelope"
    VERSION = "EV-3/version"
    SHAPE = "EV-3/shape"
    TIME_RANGE = "EV-3/time"
    PARENT_LIST = "EV-3/parents"
    GENESIS = "EV-5/genesis"
    VALUE = "EV-6/value"
    TOO_LARGE = "EV-7/size"
    TOO_DEEP = "EV-7/depth"
    TOO_MANY = "EV-7/count"
    NAME = "EV-7/name"
    NOT_CANONICAL = "EV-8/canonical"
    SIGNATURE = "EV-9/signature"
    SMALL_ORDER_KEY = "EV-9/key"
    WRONG_OBJECT = "ORD-1/object"
    TARGET = "TYPE-1/target"
    CLOCK = "ORD-2/clock"
    UNAUTHORIZED = "AUTH-5/closed"
    POLICY_BY_OWNER = "AUTH-5/policy"
    ACCESS_CHANGE = "AUTH-5/access"
    ADMIN_BY_ADMIN = "AUTH-1/admin"
    OWNER_GRANT = "AUTH-2/owner"
    REMOVE_BY_STRANGER = "AUTH-6/remove"
    EPOCH_UNKNOWN = "SEAL-3/epoch"
    EPOCH_READERS = "SEAL-3/readers"
    EPOCH_OWNER = "SEAL-2/owner"
    EPOCH_AGAIN = "SEAL-4/again"
    SUITE = "SEAL-1/suite"

    @property
    def rule(self) -> str:
        """The rule's name, for example ``EV-8``."""
        return str(self.value).partition("/")[0]


class DinemicError(Exception):
    """The root of every error this project raises on purpose."""


class UsageError(DinemicError):
    """The call cannot be right as it was made: nothing was done."""


class NotLaunched(UsageError):
    """The library has no open node here; `prepare()` or `launch()` comes first."""


class UnknownObject(UsageError, KeyError):
    """This node knows no object of that id (it may still arrive from a peer)."""

    __str__ = Exception.__str__


class NotOwned(UsageError):
    """The private key that would sign this is not in this node's keyring."""


class UpdateRejected(DinemicError):
    """A local change was refused before it became an event; nothing was made.

    `event` is the id the event would have had (or None), `by` names the rule or guard that
    refused it and `reason` says why in its words.
    """

    def __init__(self, message: str, *, by: str, reason: str, event: bytes | None = None) -> None:
        super().__init__(message)
        self.by = by
        self.reason = reason
        self.event = event


class ClockOff(UpdateRejected):
    """This host's clock is too far from those of its peers for it to make events (ORD-5).

    Set the clock and write again. `behind_us` is how far it is behind, negative if it is ahead.
    """

    def __init__(self, behind_us: int) -> None:
        self.behind_us = behind_us
        seconds, way = abs(behind_us) / 1e6, "behind" if behind_us > 0 else "ahead of"
        super().__init__(
            f"this host's clock is {seconds:.0f} s {way} the median of its peers': set it, and "
            "write again",
            by="ORD-5",
            reason="clock off",
        )


class Unreadable(DinemicError):
    """The value is sealed and no key here opens it."""


class InvalidEvent(DinemicError):
    """An event breaks a rule that every node judges alike. `reason` names the rule."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
        self.reason = reason
        self.detail = detail


class Malformed(InvalidEvent):
    """The bytes are not the one spelling of an event."""


class BadSignature(InvalidEvent):
    """The signature does not verify, or its key is not acceptable."""


class BrokenChain(InvalidEvent):
    """The event does not fit the events it names as parents."""


class LimitExceeded(InvalidEvent):
    """A bound of the format is exceeded."""


class Unauthorized(InvalidEvent):
    """The author may not do this, judged by what the author had seen."""


class BundleError(DinemicError):
    """A bundle is not one, or not as it must be.

    `findings` is what is wrong with it, and then nothing of it was imported; empty if it is no
    bundle at all.
    """

    def __init__(self, message: str, findings: tuple[Finding, ...] = ()) -> None:
        super().__init__(message)
        self.findings = findings


class StoreError(DinemicError):
    """The store cannot do what was asked; the message names the path."""


class StoreLocked(StoreError):
    """Another process holds this home."""


class StoreCorrupt(StoreError):
    """What is on disk is not what was written. Nothing was dropped or repaired."""


class StoreFull(StoreError):
    """No room left on the device; the write did not happen."""


class TransportError(DinemicError):
    """A link, a listener or a peer failed."""
