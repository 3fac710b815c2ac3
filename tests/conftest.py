"""What every test gets: a seed that is printed, settings from nowhere, skips that say why."""

from __future__ import annotations

import os
import random
import secrets
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from dinemic_engine import blocks
from support.summing import Summing

# A loaded machine is no failure: neither a deadline nor slow generation may fail a property.
settings.register_profile(
    "ci", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("long", settings.get_profile("ci"), max_examples=5_000)
settings.load_profile(os.environ.get("DINEMIC_TEST_PROFILE", "ci"))

_SEED_KEY = pytest.StashKey[int]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """One seed for the whole run; the environment hands it to the worker processes."""
    given = config.getoption("hypothesis_seed") or os.environ.get("DINEMIC_TEST_SEED")
    config.stash[_SEED_KEY] = seed = int(given or secrets.randbits(32))
    os.environ["DINEMIC_TEST_SEED"] = str(seed)
    config.option.hypothesis_seed = str(seed)
    config.pluginmanager.register(Summing(config))


def pytest_report_header(config: pytest.Config) -> str:
    return f"seed: {config.stash[_SEED_KEY]} (again: --hypothesis-seed={config.stash[_SEED_KEY]})"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    wanting = [item for item in items if item.get_closest_marker("root")]
    reason = _no_namespaces() if wanting else ""
    if reason:
        for item in wanting:
            item.add_marker(pytest.mark.skip(reason=reason))


def _no_namespaces() -> str:
    """Why hosts cannot be built from network namespaces here, or nothing."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "needs root to make network namespaces"
    absent = [tool for tool in ("ip", "nft", "unshare") if shutil.which(tool) is None]
    if absent:
        return f"needs {', '.join(absent)} (packages iproute2, nftables, util-linux)"
    if subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode != 0:
        return "this kernel or container refuses new network namespaces"
    return ""


@pytest.fixture(scope="module")
def small_blocks() -> Iterator[None]:
    """Blocks of few events, so that a few dozen make a tree of several levels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_EVENTS", 2)
        patch.setattr(blocks, "FANOUT", 4)
        yield


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Randomness of this test alone: from the run's seed and the test's name, so it repeats."""
    seed = f"{request.config.stash[_SEED_KEY]}/{request.node.nodeid}"
    request.node.add_report_section("setup", "seed", seed)
    return random.Random(seed)


@pytest.fixture(autouse=True, scope="session")
def _settings_from_nowhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test sees the settings or the home of whoever runs it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("DINEMIC_") and not name.startswith("DINEMIC_TEST_"):
                patch.delenv(name)
        patch.setenv("DINEMIC_HOME", str(tmp_path_factory.mktemp("home") / "dinemic"))
        yield
