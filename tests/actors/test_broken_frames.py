"""What killed, blocked or poisoned an older parameter server closes one connection here, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import aiohttp
import numpy as np
import pytest
from aiohttp import WSMsgType

from cirrus.actors.shard import Connection, Shard
from cirrus.errors import WireError
from cirrus.learn.rows import Floats
from cirrus.wire import frames
from cirrus.wire.frames import Read, Status, Step
from tests.actors.shards import WEIGHTS, Cluster, bearer, cluster

pytestmark = pytest.mark.usefixtures("loops")


@pytest.fixture
async def one() -> AsyncIterator[Cluster]:
    async with cluster() as found:
        yield found


def keys(*numbers: int) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    return np.array(numbers, np.uint32)


def minus(rows: int, value: float = -1.0) -> Floats:
    return np.full((rows, 1), value, np.float32)


OPEN = frames.encode_open(0, 0)
PULL = frames.encode_step(Step(0, (0,), None, (keys(1, 2),)))
PUSH = frames.encode_step(Step(0, (0,), (minus(2),), (keys(3),)))


async def socket_to(found: Cluster) -> aiohttp.ClientWebSocketResponse:
    return await found.session.ws_connect(
        found.urls[0] + "/steps", headers=bearer("worker"), compress=0, max_msg_size=2 * frames.MAX_MESSAGE
    )


async def says(socket: aiohttp.ClientWebSocketResponse, message: bytes) -> aiohttp.WSMessage:
    await socket.send_bytes(message)
    return await socket.receive()


async def healthy(found: Cluster) -> None:
    """Somebody else can still learn, and nothing of what was tried before shows in the weights."""
    shard = found.shards[0]
    clock = shard.clock
    before = found.weights()
    socket = await socket_to(found)
    answer = await says(socket, frames.encode_open(1000 + clock, 0) + PULL + PUSH)
    assert answer.type is WSMsgType.BINARY
    assert shard.clock == clock + 1
    before[[1, 2]] += 1
    assert (found.weights() == before).all()
    await socket.close()


def test_ten_thousand_mutations_apply_nothing() -> None:
    """Bits flipped, bytes cut, doubled and overwritten, in a message that is otherwise right."""
    chance = np.random.default_rng(11)
    shard = Shard(0, 1)
    shard.create(WEIGHTS)
    for _ in range(10_000):
        connection = Connection()
        shard.handle(connection, OPEN + PULL)
        with pytest.raises(WireError):
            shard.handle(connection, mutated(PUSH, chance))
    assert shard.clock == 0
    assert shard.ledgers[0].last(0) == -1
    assert not shard.tables[0].weights().any()


async def test_mutations_close_the_connection_and_nothing_else(one: Cluster) -> None:
    chance = np.random.default_rng(12)
    for count in range(200):
        socket = await socket_to(one)
        await says(socket, OPEN + PULL)
        answer = await says(socket, mutated(PUSH, chance))
        assert (answer.type, answer.data) == (WSMsgType.CLOSE, 1002)
        assert one.shards[0].counters.refused == count + 1
    assert one.shards[0].clock == 0
    await healthy(one)


async def test_a_good_frame_before_a_bad_one_counts_and_its_retry_settles_it(one: Cluster) -> None:
    socket = await socket_to(one)
    answer = await says(socket, OPEN + PULL + PUSH + PUSH[:-8])
    assert answer.type is WSMsgType.CLOSE
    assert one.shards[0].clock == 1
    socket = await socket_to(one)
    answer = await says(socket, OPEN + PULL + PUSH)
    opened, _, again = frames.replies(answer.data)
    assert opened == frames.Opened(Status.APPLIED, 0, 0, 0)
    assert again[0] is Status.DUPLICATE
    assert one.shards[0].clock == 1
    await socket.close()


def mutated(good: bytes, chance: np.random.Generator) -> bytes:
    """The message with one thing wrong; what only adds to its end is something else."""
    broken = good
    while broken.startswith(good):
        data = bytearray(good)
        at = int(chance.integers(len(good)))
        match int(chance.integers(4)):
            case 0:
                data[at] ^= 1 << int(chance.integers(8))
            case 1:
                del data[at:]
            case 2:
                data[at:at] = data[at : at + int(chance.integers(1, 30))]
            case _:
                data[at] = int(chance.integers(256))
        broken = bytes(data)
    return broken


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, 1e7])
async def test_gradients_that_are_not_finite_are_refused(one: Cluster, value: float) -> None:
    socket = await socket_to(one)
    await says(socket, OPEN + PULL)
    answer = await says(socket, frames.encode_step(Step(0, (0,), (minus(2, value),), None)))
    assert answer.type is WSMsgType.CLOSE
    assert not one.weights().any()
    await healthy(one)
    await socket.close()


DEADLY = {
    "an unknown operation": b"\xff" * 32,
    "four bytes of an operation": b"\x01\0\0\0",
    "an HTTP request": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "an empty message": b"",
    "an empty gradient for rows that were pulled": frames.encode_step(Step(0, (0,), (minus(0),), None)),
    "a row far out of range": frames.encode_step(Step(0, (0,), None, (keys(2**32 - 1),))),
    "a row slightly out of range": frames.encode_step(Step(0, (0,), None, (keys(100),))),
    "reading a row slightly out of range": frames.encode_read(Read((0,), (keys(100),))),
    "a pull of 262,144 rows": frames.encode_step(Step(0, (0,), None, (np.arange(262_144, dtype=np.uint32),))),
    "a pull of four million rows": frames.encode_step(Step(0, (0,), None, (np.arange(2**22 - 20, dtype=np.uint32),))),
    "a message over the limit": bytes(frames.MAX_MESSAGE + 1),
}


@pytest.mark.parametrize("name", DEADLY)
async def test_what_killed_its_forerunner_closes_one_connection(one: Cluster, name: str) -> None:
    bystander = await socket_to(one)
    await says(bystander, frames.encode_open(5, 0) + PULL)
    socket = await socket_to(one)
    await says(socket, OPEN + PULL)
    try:
        answer = await says(socket, DEADLY[name])
        assert answer.type in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR)
    except (aiohttp.ClientError, ConnectionError):
        pass  # the connection was closed before all of the message was sent
    assert not one.weights().any()
    answer = await says(bystander, PUSH)
    assert answer.type is WSMsgType.BINARY
    await healthy(one)
    await bystander.close()
    await socket.close()


async def test_a_pull_of_every_row_is_served(one: Cluster) -> None:
    """An empty step, a table's every row, and a unit of any number are no errors."""
    socket = await socket_to(one)
    every = frames.encode_step(Step(0, (0,), None, (np.arange(100, dtype=np.uint32),)))
    nothing = frames.encode_step(Step(0, (0,), None, (keys(),)))
    push = frames.encode_step(Step(0, (0,), (minus(100),), None)) + frames.encode_step(Step(1, (0,), (minus(0),), None))
    answer = await says(socket, frames.encode_open(2**64 - 1, 2**32 - 1) + every + nothing + push)
    assert answer.type is WSMsgType.BINARY
    assert (one.weights() == 1).all()
    assert one.shards[0].clock == 2
    await socket.close()


async def test_a_reset_in_mid_message_applies_nothing(one: Cluster) -> None:
    for cut in (1, 3, 20, 60, 99):
        socket = await socket_to(one)
        await says(socket, OPEN + PULL)
        transport = socket._writer.transport
        assert transport is not None
        mask = b"\0\0\0\0"
        frame = b"\x82" + bytes([0x80 | len(PUSH)]) + mask + PUSH
        transport.write(frame[: len(frame) * cut // 100])
        transport.abort()
    await healthy(one)
    assert one.shards[0].clock == 1


async def test_connections_that_fall_silent_block_nobody(one: Cluster) -> None:
    """Before the handshake, half-way in it, half-way in a message, and in the middle of a pipeline."""
    parts = urlsplit(one.urls[0])
    silent = [await asyncio.open_connection(parts.hostname, parts.port) for _ in range(20)]
    for at, (_, writer) in enumerate(silent):
        writer.write(b"GET /steps HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "[: 1 + 3 * at])
    sockets = [await socket_to(one) for _ in range(4)]
    for at, socket in enumerate(sockets):
        await says(socket, frames.encode_open(at, 0) + PULL)
        assert socket._writer.transport is not None
        socket._writer.transport.write(b"\x82\xfe\x40\x00\0\0\0\0" + PUSH[: 10 * at])
    await healthy(one)
    for socket in sockets:
        socket._writer.transport.abort()
    for _, writer in silent:
        writer.transport.abort()


@pytest.mark.parametrize("error", [MemoryError, RecursionError])
async def test_exhaustion_closes_one_connection(
    one: Cluster, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """A table whose gather runs out of memory, as one does under a tight limit of the address space."""

    def exhausted(*_given: object) -> None:
        raise error

    socket = await socket_to(one)
    monkeypatch.setattr(one.shards[0].tables[1], "read", exhausted)
    answer = await says(socket, frames.encode_read(Read((1,), (keys(1),))))
    assert answer.type is WSMsgType.CLOSE
    await healthy(one)
    await socket.close()
