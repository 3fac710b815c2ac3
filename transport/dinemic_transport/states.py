"""Where a session is, and what may arrive there."""

from __future__ import annotations

import enum
from typing import Final

from dinemic_transport.messages import (
    Answer,
    Ask,
    Bye,
    Confirm,
    Dispute,
    Events,
    Got,
    Graft,
    Have,
    Hello,
    Message,
    Part,
    Peers,
    Ping,
    Pong,
    Prune,
    Summary,
    Want,
)


class State(enum.Enum):
    """Where a session is; `ALLOWED` says what may arrive there."""

    GREETING = "greeting"
    LISTING = "listing"
    HEARD = "heard"
    OPEN = "open"
    CLOSED = "closed"


ALLOWED: Final[dict[State, tuple[type[Message], ...]]] = {
    State.GREETING: (Hello, Bye),
    State.LISTING: (Summary, Bye),
    State.HEARD: (Bye,),
    State.OPEN: (
        *(Summary, Ask, Answer, Want, Events, Part, Got, Dispute, Confirm),
        *(Ping, Pong, Bye, Peers, Have, Prune, Graft),
    ),
    State.CLOSED: (),
}
