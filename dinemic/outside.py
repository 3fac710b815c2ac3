"""What a node takes from the machine it runs on: time, entropy, threads.

A simulation gives its own. With `REAL` a node keeps itself going on threads of its own. Without
threads somebody calls `Keeper` and `Listeners.step` in their place, and between those calls the
node does nothing by itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dinemic_engine import sealing


@dataclass(frozen=True, slots=True)
class Outside:
    """Where a node's time, entropy and threads come from."""

    now_us: Callable[[], int] | None = None
    """Microseconds since the Unix epoch; None: the host's clock."""
    entropy: Callable[[int], bytes] = os.urandom
    encrypt: sealing.EncryptTo = sealing.encrypt_to
    """HPKE, which draws entropy of its own."""
    threads: bool = True


REAL: Final = Outside()
