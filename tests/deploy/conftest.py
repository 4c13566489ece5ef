"""What tests of deployments share: a server for all of AWS but Lambda.

It ends with its module, for other tests count processes.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.deploy.moto_server import moto_server


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with moto_server() as endpoint:
        yield endpoint
