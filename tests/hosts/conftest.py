"""An honest pair for the tests of a module that attack it: each of them must leave it well."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.honest_pair import GROWTH_BYTES_MAX, HonestPair, honest_pair


@pytest.fixture(scope="module")
def _honest_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HonestPair]:
    with honest_pair(tmp_path_factory.mktemp("pair")) as pair:
        yield pair


@pytest.fixture
def pair(_honest_pair: HonestPair) -> Iterator[HonestPair]:
    """Two honest hosts. When the test is over no stranger is left and both go on as before."""
    yield _honest_pair
    _honest_pair.wait_alone()
    _honest_pair.check()
    assert _honest_pair.growth_bytes() < GROWTH_BYTES_MAX
