"""The client without the SDK, on a real S3 server: the same contract as all stores."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from typing import ClassVar

import pytest

from cirrus.errors import Conflict, StoreError
from cirrus.store import s3
from cirrus.store.s3 import S3Store
from cirrus.store.sigv4 import Credentials, Scope, Signed, sha256, signature
from cirrus.testing.contracts.store import GOOD_KEYS, StoreContract
from cirrus.testing.seaweed import Seaweed

BUCKET = "cirrus-lean"


@pytest.fixture(autouse=True)
def _without_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "find_spec", lambda _: None)


@pytest.fixture(scope="module", autouse=True)
def _server(server: Seaweed) -> Iterator[None]:
    yield


@pytest.fixture
async def store() -> AsyncIterator[S3Store]:
    made = S3Store(BUCKET, f"test-{secrets.token_hex(8)}")
    yield made
    await made.close()


class TestLean(StoreContract):
    """Everything that a store must do; this server takes a backslash in a key for a slash."""

    good_keys: ClassVar[tuple[str, ...]] = tuple(key for key in GOOD_KEYS if "\\" not in key)


async def test_an_object_of_several_parts_is_written_once_and_read_in_ranges(store: S3Store) -> None:
    data = secrets.token_bytes(1 << 20) * 20
    etag = await store.put_if_absent("large", data)
    assert await store.get("large", 5 << 20, (5 << 20) + 100) == data[5 << 20 : (5 << 20) + 100]
    with pytest.raises(Conflict):
        await store.put_if_absent("large", data[1:])
    assert (await store.info("large")).etag == etag


async def test_what_one_client_writes_the_other_reads(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    etag = await store.put("a", b"what was written")
    monkeypatch.undo()
    other = S3Store.from_url(store.url)
    try:
        assert await other.get("a") == b"what was written"
        assert (await other.info("a")).etag == etag
    finally:
        await other.close()


async def test_a_wrong_key_is_refused_and_no_secret_shown(server: Seaweed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-one")
    store = S3Store(BUCKET, "other")
    try:
        with pytest.raises(StoreError, match="does not accept the AWS credentials") as refused:
            await store.put("a", b"x")
    finally:
        await store.close()
    assert "not-the-one" not in str(refused.value)


async def test_without_credentials_it_says_so(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreError, match="AWS_SECRET_ACCESS_KEY"):
        await store.put("a", b"x")


def test_a_signature_is_that_of_the_documentation() -> None:
    """Amazon S3's own example of a ranged GET ("Signature Calculations for the Authorization Header")."""
    keys = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    headers = {
        "host": "examplebucket.s3.amazonaws.com", "range": "bytes=0-9", "x-amz-content-sha256": sha256(b""),
        "x-amz-date": "20130524T000000Z",
    }  # fmt: skip
    request = Signed("GET", "/test.txt", "", headers, sha256(b""))
    found = signature(request, Scope("20130524T000000Z", "us-east-1", "s3"), keys.secret_key)
    assert found == "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
