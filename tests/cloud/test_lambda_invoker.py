"""Workers as invocations of a function: the contract of all invokers, and what is asked of Lambda."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import ClassVar

import pytest

from cirrus.clock import SystemClock
from cirrus.cloud import lambda_invoker
from cirrus.cloud.aws import LambdaFunction
from cirrus.cloud.base import Assignment, Exit, Invoker, Unreached
from cirrus.cloud.lambda_invoker import LambdaInvoker, open_client
from cirrus.core.ids import WorkerId
from cirrus.emulator.emulator import Emulator
from cirrus.emulator.identity import NAME
from cirrus.emulator.invocations import Delivered
from cirrus.errors import InvokeError, Unanswered
from cirrus.store.sigv4 import Credentials
from tests.cloud.held import HeldContract
from tests.cloud.lambda_ground import at, function_of

DEEDS = """
import json, socket

def handler(event, context):
    print(json.dumps([context.aws_request_id, event.get("worker")]), flush=True)
    if event.get("run_id") == "crash":
        raise RuntimeError("told to crash")
    if event.get("run_id") == "hold":
        host, port = event["shards"][0].split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"up\\n")
            connection.recv(1)
    return {}
"""
REFUSES = "def handler(event, context): raise ValueError(sorted(event))"
ASSIGNMENT = Assignment("finish", 1, WorkerId("train", 0, 1), "train", (), "memory:", "a-token", 256, 60.0)


@pytest.fixture
async def function() -> AsyncIterator[Emulator]:
    async with function_of(DEEDS) as found:
        yield found


@pytest.fixture
async def invoker(function: Emulator) -> AsyncIterator[LambdaInvoker]:
    made = LambdaInvoker(at(function), SystemClock())
    yield made
    await made.close()


BEGUN = re.compile(r'\["[^"\]]+", \[[^\]]*\]\]')
"""What a function says first: its request's id, and the worker."""


class TestLambda(HeldContract):
    """Everything that an invoker must do whose provider neither ends workers nor tells how they end."""

    tells_ends: ClassVar[bool] = False

    @pytest.fixture(autouse=True)
    def _books(self, function: Emulator) -> None:
        self.function = function
        self.read = 0

    async def ends(self, invoker: Invoker, count: int) -> list[Exit]:  # noqa: ARG002  it tells nothing
        """As the emulator's books and the function's log have them."""
        first, self.read = self.read, self.read + count
        async with asyncio.timeout(self.patience):
            while len(self.function.delivered) < self.read:
                await asyncio.sleep(0.005)
        log = self.function.log(NAME).read_text()
        begun = dict(json.loads(one) for one in BEGUN.findall(log))  # two that run at once may share a line
        return [self._end(one, begun[one.request_id], log) for one in self.function.delivered[first : self.read]]

    def _end(self, event: Delivered, worker: tuple[str, int, int], log: str) -> Exit:
        (report,) = [one for one in self.function.reports if one.request_id == event.request_id]
        return Exit(WorkerId(*worker), "finished" if event.ended == "done" else "crashed", log, report.seconds)


async def test_terms_are_those_of_the_function_and_asking_is_paid_for(
    function: Emulator, invoker: LambdaInvoker
) -> None:
    terms = await invoker.terms()
    assert (terms.memory, terms.timeout, terms.workers, terms.ends) == (256, 30.0, 1000, "untold")
    (asked,) = function.reports
    assert asked.billed_ms / 1000 <= terms.asking
    await invoker.invoke(ASSIGNMENT)
    while not function.delivered:
        await function.options.clock.sleep(0.005)
    (event,) = function.delivered
    assert (event.number, event.ended, event.attempts) == (2, "done", 1)


async def test_an_event_that_fails_is_not_tried_again(function: Emulator, invoker: LambdaInvoker) -> None:
    await invoker.invoke(replace(ASSIGNMENT, run_id="crash"))
    while not function.delivered:
        await function.options.clock.sleep(0.005)
    assert [(one.ended, one.attempts) for one in function.delivered] == [("failed", 1)]


async def test_a_function_that_does_not_understand_assignments_is_told_with_its_words() -> None:
    async with function_of(REFUSES) as found:
        made = LambdaInvoker(at(found), SystemClock())
        with pytest.raises(InvokeError, match=r"cannot work: ValueError: \['hello'\]"):
            await made.terms()
        await made.close()


async def test_nobody_runs_while_0_executions_are_reserved(function: Emulator, invoker: LambdaInvoker) -> None:
    client = await open_client(at(function))
    await client.reserve(0)
    with pytest.raises(InvokeError, match="0 executions are reserved"):
        await invoker.terms()
    assert function.reports == ()
    await client.reserve(None)
    await client.close()
    assert (await invoker.terms()).workers == 1000


async def test_a_function_that_is_not_there_is_named(function: Emulator) -> None:
    there = at(function)
    made = LambdaInvoker(replace(there, name="another"), SystemClock())
    with pytest.raises(InvokeError, match="there is no function 'another': make it with cirrus deploy"):
        await made.terms()
    await made.close()


async def test_who_cannot_be_reached_was_not_asked_and_a_broken_answer_may_have_been(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lambda_invoker, "PATIENCE", 0.0)
    asked: list[bytes] = []

    async def came(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n"))
        writer.transport.abort()

    server = await asyncio.start_server(came, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    there = LambdaFunction(
        name="worker", region="us-east-1", endpoint_url=f"http://127.0.0.1:{port}", credentials=Credentials("a", "b")
    )  # fmt: skip
    made = LambdaInvoker(there, SystemClock())
    with pytest.raises(Unanswered):
        await made.invoke(ASSIGNMENT)
    assert len(asked) == 1
    server.close()
    await server.wait_closed()
    with pytest.raises(Unreached):
        await made.invoke(ASSIGNMENT)
    await made.close()


async def test_it_may_be_closed_while_its_client_is_being_made(function: Emulator) -> None:
    made = LambdaInvoker(at(function), SystemClock())
    asking = asyncio.create_task(made.invoke(ASSIGNMENT))
    await asyncio.sleep(0)
    await made.close()
    with contextlib.suppress(InvokeError):
        await asking
    with pytest.raises(InvokeError, match="after close"):
        await made.invoke(ASSIGNMENT)
