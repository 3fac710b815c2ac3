"""The name of the original: the same library, with objects open unless they say otherwise.

An object of an open model takes changes from anybody, flagged as unauthorized, and a listener
decides; ``access="closed"`` on a model or a field gives the rules of `dinemic`.
"""

import dinemic
from dinemic import *  # noqa: F403  (the same names: that is the point of this module)

__all__ = list(dinemic.__all__)
__version__ = dinemic.__version__


class DModel(dinemic.DModel, access="open"):  # type: ignore[no-redef]
    """As `dinemic.DModel`, open by default."""
