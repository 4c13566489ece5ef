"""Both ways to speak to S3: with AWS's SDK, and without."""

import pytest

from cirrus.store import s3


@pytest.fixture(params=["sdk", "lean"])
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which client stores on S3 use in the test."""
    if request.param == "lean":
        monkeypatch.setattr(s3, "find_spec", lambda _: None)
    return str(request.param)
