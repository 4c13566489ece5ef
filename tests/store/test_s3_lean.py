"""What only the client without the SDK does: sign by itself, with the keys of a function's environment."""

from __future__ import annotations

import secrets
import tracemalloc
from collections.abc import AsyncIterator
from traceback import format_exception
from xml.etree.ElementTree import ParseError

import pytest

from cirrus.errors import StoreError
from cirrus.store.patience import Patience
from cirrus.store.s3 import S3Store
from cirrus.store.s3_address import S3Address
from cirrus.store.s3_lean import base
from cirrus.store.s3_xml import parsed, text
from cirrus.testing.seaweed import Seaweed
from tests.store.test_s3_faults import Hurry
from tests.store.troubled_s3 import Refuse, troubled

BUCKET = "cirrus-lean"
lean = [pytest.mark.usefixtures("client"), pytest.mark.parametrize("client", ["lean"], indirect=True)]


@pytest.fixture
async def store(server: Seaweed, client: str) -> AsyncIterator[S3Store]:
    made = S3Store(BUCKET, f"test-{secrets.token_hex(8)}")
    yield made
    await made.close()


class TestLean:
    pytestmark = lean

    async def test_what_one_client_writes_the_other_reads(
        self, store: S3Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        etag = await store.put("a", b"what was written")
        monkeypatch.undo()
        other = S3Store.from_url(store.url)
        try:
            assert await other.get("a") == b"what was written"
            assert (await other.info("a")).etag == etag
            etag = await other.replace_if("a", b"by the other", etag)
        finally:
            await other.close()
        assert await store.get("a") == b"by the other"
        await store.replace_if("a", b"in turn", etag)

    async def test_a_large_body_is_sent_from_the_callers_memory(self, store: S3Store) -> None:
        data = memoryview(bytearray(secrets.token_bytes(1 << 20) * 8))
        await store.put("first", b"")
        tracemalloc.start()
        try:
            await store.put("a", data)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 1 << 20
        assert await store.get("a") == data

    async def test_keys_that_xml_cannot_write_are_listed(self, store: S3Store) -> None:
        keys = ["a\rreturn", "a\ttab", "a\x01control", "a+plus and space", "a%20percent"]
        for key in keys:
            await store.put(key, b"")
        assert [info.key async for info in store.list("a")] == sorted(keys)

    @pytest.mark.usefixtures("server")
    async def test_a_wrong_key_is_refused_and_no_secret_shown(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("DEBUG")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-one")
        monkeypatch.setenv("AWS_SESSION_TOKEN", "a-token")
        store = S3Store(BUCKET, "other")
        try:
            with pytest.raises(StoreError, match="does not accept the AWS credentials") as refused:
                await store.put("a", b"x")
        finally:
            await store.close()
        shown = "".join(format_exception(refused.value)) + caplog.text + repr(vars(store))
        assert "not-the-one" not in shown
        assert "a-token" not in shown

    @pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
    async def test_it_says_which_part_of_the_credentials_is_absent(
        self, store: S3Store, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.setenv(name, "")
        with pytest.raises(StoreError, match=f"no AWS credentials: the environment has no {name}") as caught:
            await store.put("a", b"x")
        assert caught.value.key == "a"

    async def test_the_token_of_temporary_credentials_is_sent_and_signed(
        self, server: Seaweed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_SESSION_TOKEN", "a-token")
        async with troubled(server.endpoint) as between:
            between.always = Refuse(403, "AccessDenied")
            store = S3Store(BUCKET, endpoint_url=between.endpoint)
            with pytest.raises(StoreError):
                await store.get("a")
            await store.close()
            assert between.headers["x-amz-security-token"] == "a-token"
            assert ";x-amz-security-token" in between.headers["authorization"]

    @pytest.mark.usefixtures("server")
    async def test_a_clock_that_is_wrong_is_told(self) -> None:
        clock = Hurry()
        clock.slow = 3600.0
        store = S3Store(BUCKET, patience=Patience(clock=clock))
        with pytest.raises(StoreError, match="clock"):
            await store.get("a")
        await store.close()


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (S3Address("b.c", endpoint="http://127.0.0.1:8333/"), ("http://127.0.0.1:8333", "/b.c")),
        (S3Address("abc", region="eu-central-1"), ("https://abc.s3.eu-central-1.amazonaws.com", "")),
        (S3Address("a.bc", region="eu-central-1"), ("https://s3.eu-central-1.amazonaws.com", "/a.bc")),
        (S3Address("abc", region="cn-north-1"), ("https://abc.s3.cn-north-1.amazonaws.com.cn", "")),
    ],
)
def test_where_a_bucket_is(address: S3Address, expected: tuple[str, str]) -> None:
    assert base(address, address.region or "us-east-1") == expected


def test_names_are_read_without_their_space() -> None:
    found = parsed(b"<A xmlns='http://s3.amazonaws.com/doc/2006-03-01/'><B>c</B></A>")
    assert (found.tag, text(found, "B"), text(found, "C")) == ("A", "c", "")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_declarations_are_refused_in_any_encoding(encoding: str) -> None:
    bomb = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE a [<!ENTITY b "{"c" * 99}">]><a>&b;&b;</a>'
    with pytest.raises(ParseError, match="declarations"):
        parsed(bomb.encode(encoding))
