"""What tests of deployments share: one server for all of AWS but Lambda."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.deploy.moto_server import moto_server


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    with moto_server() as endpoint:
        yield endpoint
