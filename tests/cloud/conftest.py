"""The ground of whole runs on the emulator."""

from __future__ import annotations

import pytest

from cirrus.testing.seaweed import Seaweed
from tests.cloud.lambda_ground import Ground, extra


@pytest.fixture(scope="module")
def ground(server: Seaweed, tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """An S3 server with its keys in the environment, and what the oracle's bundle needs."""
    return Ground(server, extra(tmp_path_factory.mktemp("extra")))
