"""An address on S3 goes through its URL and back, means the same elsewhere, and holds no secrets and no traps."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirrus.errors import PipelineError
from cirrus.store.s3_address import S3Address

PART = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=9)
PREFIX = st.lists(PART.filter(lambda part: part not in {".", ".."}), max_size=4).map("/".join)
ENDPOINT = st.none() | st.sampled_from(["http://127.0.0.1:8333", "https://s3.example.org", "http://[::1]:9000/"])


@given(PREFIX, st.none() | st.just("eu-central-1"), ENDPOINT, st.none() | st.just("123456789012"))
def test_an_address_comes_back_from_its_url(
    prefix: str, region: str | None, endpoint: str | None, owner: str | None
) -> None:
    address = S3Address("a-bucket", prefix, region, endpoint, owner)
    assert S3Address.parse(address.url) == address


def test_what_is_open_is_the_environments() -> None:
    regions = {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "us-east-1"}
    environment = {"AWS_ENDPOINT_URL": "http://localhost:1", **regions}
    open_one = S3Address("a-bucket")
    assert open_one.resolved(environment) == S3Address("a-bucket", "", "eu-west-1", "http://localhost:1")
    assert open_one.resolved({**environment, "AWS_ENDPOINT_URL_S3": "http://localhost:2"}).endpoint == "http://localhost:2"
    assert open_one.resolved({**environment, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "TRUE"}).endpoint is None
    assert open_one.resolved({}) == open_one
    whole = S3Address("a-bucket", "x", "eu-north-1", "https://there")
    assert whole.resolved(environment) == whole


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://169.254.169.254",
        "http://2852039166/",
        "http://0xa9fea9fe",
        "http://169.254.43518",
        "http://[fd00:ec2::254]",
        "http://[::ffff:169.254.169.254]",
        "http://[fe80::1]",
        "ftp://host",
        "http://",
        "host:80",
        "http://host/path",
        "http://host?x=y",
        "http://host:port",
    ],
)
def test_a_server_cannot_be_where_credentials_are_handed_out(endpoint: str) -> None:
    with pytest.raises(PipelineError) as caught:
        S3Address("a-bucket", endpoint=endpoint)
    assert caught.value.field == "store.endpoint"


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIA:canary@a-bucket/x",
        "s3://a-bucket/x?aws_secret_access_key=canary",
        "s3://a-bucket/x?endpoint=http://user:canary@host",
        "s3://a-bucket/x?endpoint=http://host?canary",
        "s3://a-bucket/x?region=a&canary",
        "s3://a-bucket/x#canary",
        "s3://canary@[/x",
    ],
)
def test_a_secret_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(PipelineError) as caught:
        S3Address.parse(url)
    assert "canary" not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.given!r}"


def test_opening_a_store_does_not_load_the_sdk() -> None:
    look = (
        "import sys; from cirrus.store.opening import open_store; open_store('s3://a-bucket/x?region=eu-west-1');"
        "print([name for name in sys.modules if name.partition('.')[0] in {'botocore', 'aiobotocore', 'aiohttp'}])"
    )
    assert subprocess.check_output([sys.executable, "-c", look], text=True) == "[]\n"
