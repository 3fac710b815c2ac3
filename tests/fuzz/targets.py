"""Every fuzz target, by name."""

from __future__ import annotations

from typing import Final

from fuzz import events, files, frames, sessions, values, words
from fuzz.target import Target

TARGETS: Final[dict[str, Target]] = {
    **values.TARGETS,
    **events.TARGETS,
    **files.TARGETS,
    **frames.TARGETS,
    **sessions.TARGETS,
    **words.TARGETS,
}
