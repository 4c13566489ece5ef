"""Actors: how they answer, and that nobody waits for the dead."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from cirrus.actors.actor import Actor, Promise, Ref
from cirrus.actors.kernel import Kernel
from cirrus.clock import SystemClock
from cirrus.errors import Closed, InputError, PipelineError
from cirrus.testing.clock import ManualClock
from tests.actors.adder import Add, Adder, Block, Fail, Message, WhenTen, forever


async def test_an_actor_answers_what_it_is_asked_with_typed_answers() -> None:
    async with Kernel(SystemClock()) as kernel:
        adder = kernel.spawn(Adder(), name="adder")
        total: int = await adder.ask(Add(2))
        assert total == 2
        assert adder.tell(Add(3))
        await adder.send(Add(4))
        assert await adder.ask(Add(0)) == 9


async def test_a_promise_answers_everybody_later_and_the_actor_goes_on() -> None:
    async with Kernel(SystemClock()) as kernel:
        adder = kernel.spawn(Adder(), name="adder")
        waiting = [kernel.task(adder.ask(WhenTen()), name="wait") for _ in range(2)]
        assert await adder.ask(Add(9)) == 9
        assert not any(one.done for one in waiting)
        await adder.send(Add(1))
        assert [await one.wait() for one in waiting] == ["there", "there"]
        assert await adder.ask(WhenTen()) == "there", "also after it was settled"


async def test_a_promise_is_settled_once() -> None:
    promise: Promise[int] = Promise()
    promise.refuse(InputError("x", "bad"))
    promise.keep(3)
    reply: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    promise.attach(reply)
    with pytest.raises(InputError):
        await reply
    assert promise.settled


async def test_a_stopped_actor_refuses_everything_at_once() -> None:
    log: list[str] = []
    async with Kernel(SystemClock()) as kernel:
        adder = kernel.spawn(Adder(log), name="adder", capacity=1)
        await adder.ask(Add(1))
        at_hand = asyncio.create_task(adder.ask(Block()))
        unread = asyncio.create_task(adder.ask(Add(1)))
        no_room = asyncio.create_task(adder.send(Add(1)))
        for _ in range(3):
            await asyncio.sleep(0)
        await kernel.stop(adder)
        for waiting in (at_hand, unread, no_room):
            with pytest.raises(Closed, match="'adder' has stopped"):
                await waiting
        assert not adder.tell(Add(1))
        with pytest.raises(Closed):
            await adder.send(Add(1))
        with pytest.raises(Closed):
            await adder.ask(Add(1))
        await kernel.stop(adder)
    assert log == ["adder started", "adder stopped"]


async def test_an_actor_cancelled_before_its_first_step_refuses_its_mail_too() -> None:
    log: list[str] = []
    async with Kernel(SystemClock()) as kernel:
        adder = kernel.spawn(Adder(log), name="adder")
        asking = adder.ask(Add(1))
        asking.send(None)  # the request lies in the mailbox before the actor's task has run at all
        await kernel.stop(adder)
        with pytest.raises(Closed, match="'adder' has stopped"):
            asking.send(None)
    assert log == []


async def test_an_actor_that_something_else_cancels_before_its_first_step_refuses_its_mail_too() -> None:
    asking: list[Coroutine[Any, Any, int]] = []

    async def block() -> None:
        async with Kernel(SystemClock()) as kernel:
            asking.append(kernel.spawn(Adder(), name="adder").ask(Add(1)))
            asking[0].send(None)
            for task in asyncio.all_tasks():
                if task.get_name() == "adder":
                    task.cancel()
            await forever()

    with pytest.raises(Closed, match="cancelled by something"):
        await block()
    with pytest.raises(Closed, match="has stopped"):
        asking[0].send(None)


async def test_a_full_mailbox_is_told_by_the_result_of_tell() -> None:
    async with Kernel(SystemClock()) as kernel:
        adder = kernel.spawn(Adder(), name="adder", capacity=2)
        assert [adder.tell(Add(1)) for _ in range(3)] == [True, True, False]


async def test_our_errors_about_a_request_are_the_askers() -> None:
    async with Kernel(SystemClock()) as kernel:
        adder = kernel.spawn(Adder(), name="adder")
        with pytest.raises(PipelineError, match="workers"):
            await adder.ask(Fail(PipelineError("workers", -1, "0 or more")))
        assert await adder.ask(Add(1)) == 1


async def test_whoever_asked_a_failing_actor_hears_of_the_failure_and_the_block_raises_it() -> None:
    error = ZeroDivisionError("a bug")
    heard: list[Closed] = []
    asking: list[asyncio.Task[None]] = []

    async def ask(adder: Ref[Message]) -> None:
        try:
            await adder.ask(Fail(error))
        except Closed as closed:
            heard.append(closed)

    async def block() -> None:
        async with Kernel(SystemClock()) as kernel:
            adder = kernel.spawn(Adder(), name="adder")
            asking.append(asyncio.create_task(ask(adder)))
            await adder.ask(WhenTen())

    with pytest.raises(ZeroDivisionError) as caught:
        await block()
    await asking[0]
    assert caught.value is error
    assert heard[0].__cause__ is error


async def test_an_actor_may_stop_itself() -> None:
    class Once(Actor[Add]):
        def __init__(self, kernel: Kernel) -> None:
            self.kernel = kernel
            self.ended = asyncio.Event()

        async def started(self, ref: Ref[Add]) -> None:
            self.ref = ref

        async def receive(self, message: Add) -> int:
            await self.kernel.stop(self.ref)
            self.ended.set()
            return message.number

    async with Kernel(SystemClock()) as kernel:
        once = Once(kernel)
        ref = kernel.spawn(once, name="once")
        with pytest.raises(Closed):
            await ref.ask(Add(1))
        await once.ended.wait()
        assert ref.closed


async def test_waiting_is_limited_on_the_kernels_clock() -> None:
    clock = ManualClock()
    async with Kernel(clock) as kernel:
        adder = kernel.spawn(Adder(), name="adder")
        assert await adder.ask(Add(1), within=3600.0) == 1
        late = asyncio.create_task(adder.ask(WhenTen(), within=3600.0))
        await clock.advance(3599.0)
        assert not late.done()
        await clock.advance(1.0)
        with pytest.raises(TimeoutError):
            await late
        assert clock.sleeping == 0
        assert await adder.ask(Add(1)) == 2, "the actor has not noticed"


async def test_an_exception_within_a_limit_is_the_waiters() -> None:
    async def fails() -> None:
        raise ValueError("mine")

    async with Kernel(ManualClock()) as kernel:
        with pytest.raises(ValueError, match="mine"):
            await kernel.within(5.0, fails())
