"""What simulations share."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture
def silent_nodes() -> Iterator[None]:
    """Nodes that do not complain of every fault they are dealt."""
    loggers = [logging.getLogger(name) for name in ("dinemic", "dinemic_transport")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)
