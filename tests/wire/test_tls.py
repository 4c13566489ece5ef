"""Who is trusted: servers whose certificate the one authority has signed for the address that was dialled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from cirrus.actors import listening
from cirrus.actors.listening import Address, Listener
from cirrus.actors.trust import certain, trusting
from cirrus.cloud.certificates import Authority
from cirrus.errors import Untrusted, WireError
from cirrus.wire.tls import Identity, client_side, server_side

NOW = time.time()
OWN, OTHER = Authority("clicks", NOW, 30), Authority("clicks", NOW, 30)


@asynccontextmanager
async def serving(identity: Identity) -> AsyncIterator[int]:
    """A server that says hello, and its port."""
    app = web.Application()

    async def hello(_request: web.Request) -> web.Response:
        return web.Response(text="hello")

    app.router.add_get("/", hello)
    listener = Listener(app, Address("127.0.0.1", 0, server_side(identity)))
    try:
        yield await listener.start()
    finally:
        await listener.stop()


async def said(ca: str, url: str) -> str:
    async with trusting(ca) as session:
        with certain(url):
            async with session.get(url) as answer:
                return await answer.text()


async def test_the_pinned_authority_is_trusted() -> None:
    async with serving(OWN.identity(["shard-0.example", "127.0.0.1", "::1"])) as port:
        assert await said(OWN.ca, f"https://127.0.0.1:{port}/") == "hello"


@pytest.mark.parametrize(
    ("ca", "identity"),
    [
        (OTHER.ca, OWN.identity(["127.0.0.1"])),
        (OWN.ca, OTHER.identity(["127.0.0.1"])),
        (OWN.ca, OWN.identity(["127.0.0.2"])),
        (OWN.ca, OWN.identity(["localhost"])),
        (OWN.ca, Authority("clicks", NOW - 40 * 86_400, 30).identity(["127.0.0.1"])),
        (OWN.identity(["127.0.0.1"]).certificate, OWN.identity(["127.0.0.1"])),
    ],
    ids=["another pinned", "another signed it", "another address", "another name", "expired", "a leaf pinned"],
)
async def test_nobody_else_is(ca: str, identity: Identity) -> None:
    async with serving(identity) as port:
        url = f"https://127.0.0.1:{port}/"
        with pytest.raises(Untrusted) as caught:
            await said(ca, url)
    assert caught.value.shard == url
    assert url in str(caught.value)


async def test_authorities_of_the_system_are_not_trusted_either() -> None:
    assert client_side(OWN.ca).get_ca_certs()[0]["subject"] == ((("commonName", "clicks"),),)
    assert len(client_side(OWN.ca).get_ca_certs()) == 1


async def test_nobody_comes_in_without_tls() -> None:
    async with serving(OWN.identity(["127.0.0.1"])) as port, aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"http://127.0.0.1:{port}/")


async def test_who_says_nothing_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "KEEP_ALIVE", 0.3)
    async with serving(OWN.identity(["127.0.0.1"])) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(20):
            assert await reader.read() == b""
        writer.close()


def test_what_is_no_certificate_is_refused_without_repeating_it() -> None:
    one, two = OWN.identity(["a"]), OWN.identity(["a"])
    mixed = Identity(one.certificate, two.key)
    for broken in (mixed, Identity("canary", "canary"), Identity("", ""), Identity("é", "é")):
        with pytest.raises(WireError) as caught:
            server_side(broken)
        assert "canary" not in str(caught.value)
    assert one.key not in repr(one)
    for broken_ca in ("", "canary", "é"):
        with pytest.raises(WireError):
            client_side(broken_ca)
