"""The proxy does to a connection exactly what its plan says, and to everything else nothing."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirrus.actors.kernel import Kernel
from cirrus.clock import SystemClock
from cirrus.testing.faults import (
    Call,
    Delay,
    Drop,
    End,
    Fault,
    Flip,
    Pass,
    Repeat,
    Reset,
    Slow,
    Stream,
    Truncate,
    Wait,
    Weather,
    on,
)
from cirrus.testing.proxy import Proxy, proxied

HEAD = b"GET /steps?a=1 HTTP/1.1\r\nHost: x\r\n\r\n"
BODY = bytes(range(256)) * 40


def passed(stream: Stream, pieces: Sequence[bytes]) -> bytes:
    return b"".join(deed.data for piece in pieces for deed in stream.feed(piece) if isinstance(deed, Pass))


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    marks = sorted({min(one, len(data)) for one in places} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(marks)]


places = st.lists(st.integers(0, len(HEAD) + len(BODY)), max_size=8)


@given(places, st.integers(0, len(BODY) - 1), st.integers(0, 7))
def test_a_flip_changes_one_bit_however_the_bytes_arrive(where: list[int], at: int, bit: int) -> None:
    stream = Stream("up", [Flip(way="up", at=at, bit=bit), Flip(way="down", at=1)])
    expected = bytearray(BODY)
    expected[at] ^= 1 << bit
    assert passed(stream, cut(HEAD + BODY, where)) == HEAD + bytes(expected)


@given(places, st.integers(0, len(BODY) - 1))
def test_what_is_dropped_truncated_or_reset_ends_at_its_byte(where: list[int], at: int) -> None:
    for fault in (Drop(way="up", at=at), Reset(way="up", at=at), Truncate(way="up", at=at)):
        assert passed(Stream("up", [fault]), cut(HEAD + BODY, where)) == HEAD + BODY[:at]


def test_the_other_deeds() -> None:
    called: list[str] = []
    assert Stream("up", [Reset(way="up", at=0)]).feed(HEAD + b"x") == (Pass(HEAD), End(reset=True))
    assert Stream("up", [Truncate(way="up", at=1)]).feed(HEAD + b"xy") == (Pass(HEAD), Pass(b"x"), End(reset=False))
    assert Stream("up", [Repeat(way="up", at=1, size=2)]).feed(HEAD + b"abcd")[1:] == (
        Pass(b"a"), Pass(b"bc"), Pass(b"bcd"),
    )
    assert Stream("down", [Delay(way="down", at=2, seconds=3)]).feed(HEAD + b"abc")[1:] == (
        Pass(b"ab"), Wait(3), Pass(b"c"),
    )
    slow = Stream("down", [Slow(way="down", rate=2048)]).feed(HEAD + bytes(5000))[1:]
    assert slow == (Wait(2.0), Pass(bytes(4096)), Wait(904 / 2048), Pass(bytes(904)))
    stream = Stream("up", [Call(way="up", at=3, call=lambda: called.append("there"))])
    stream.feed(HEAD + b"abc")
    assert not called
    stream.feed(b"d")
    assert called == ["there"]


def test_weather_is_the_same_for_the_same_seed() -> None:
    weather = Weather(seed=3, path="/steps", kinds=("reset", "truncate", "flip", "repeat", "swallow"), mean=500.0)
    one, other = weather.plan(), weather.plan()
    drawn = [one("/steps") for _ in range(30)]
    assert drawn == [other("/steps") for _ in range(30)]
    assert one("/control") == ()
    assert {type(fault) for faults in drawn for fault in faults} == {Reset, Truncate, Flip, Repeat}


@asynccontextmanager
async def echo(*rounds: Sequence[Fault]) -> AsyncIterator[Proxy]:
    """A server that answers every byte behind a head of its own, seen through a proxy."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            while data := await reader.read(1000):
                writer.write(data)
        except (OSError, EOFError):
            pass
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with Kernel(SystemClock()) as kernel, proxied(kernel, on("/steps", *rounds)) as proxy:
        proxy.target = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield proxy
    server.close()


async def answered(proxy: Proxy, body: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(proxy.url.rpartition(":")[2]))
    try:
        writer.write(HEAD + body)
        writer.write_eof()
        return (await reader.read()).partition(b"\r\n\r\n")[2]
    finally:
        writer.close()


async def test_faults_meet_the_connections_in_turn() -> None:
    async with echo([Flip(way="up", at=2)], [Truncate(way="down", at=5)], [Reset(way="down", at=5)]) as proxy:
        assert await answered(proxy, b"abcd") == b"abbd"
        assert await answered(proxy, b"0123456789") == b"01234"
        with pytest.raises(ConnectionResetError):
            await answered(proxy, b"0123456789")
        assert await answered(proxy, BODY) == BODY
    assert proxy.connections == 4


async def test_a_partition_holds_what_is_said_and_healing_lets_it_through() -> None:
    async with echo() as proxy:
        proxy.record = []
        reader, writer = await asyncio.open_connection("127.0.0.1", int(proxy.url.rpartition(":")[2]))
        writer.write(HEAD + b"a")
        await reader.readuntil(b"a")
        proxy.hold("down")
        writer.write(b"b")
        while not proxy.record[0].endswith(b"b"):
            await asyncio.sleep(0)
        waiting = asyncio.ensure_future(reader.read(1))
        await asyncio.wait((waiting,), timeout=0.05)
        assert not waiting.done()
        proxy.go_on("down")
        assert await waiting == b"b"
        writer.close()


async def test_a_proxy_that_refuses_breaks_every_connection() -> None:
    async with echo() as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(proxy.url.rpartition(":")[2]))
        writer.write(HEAD + b"a")
        await reader.readuntil(b"a")
        proxy.refuse()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        with pytest.raises(OSError):  # noqa: PT011  reset or refused, as it happens
            await answered(proxy, b"a")
        proxy.accept()
        assert await answered(proxy, b"a") == b"a"
