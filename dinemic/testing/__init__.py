"""The simulator this project tests itself with, for your own models and listeners.

`dinemic.testing.machine` and `dinemic.testing.strategies` need Hypothesis: ``dinemic[testing]``.
"""

from dinemic.testing.determinism import Question, Undetermined, check_guard
from dinemic.testing.failures import repeat
from dinemic.testing.invariants import InvariantBroken
from dinemic.testing.scenario import Play, Scene, draw, perform, shrink
from dinemic.testing.site import Pace, Site
from dinemic.testing.world import World

__all__ = [
    "InvariantBroken",
    "Pace",
    "Play",
    "Question",
    "Scene",
    "Site",
    "Undetermined",
    "World",
    "check_guard",
    "draw",
    "perform",
    "repeat",
    "shrink",
]
