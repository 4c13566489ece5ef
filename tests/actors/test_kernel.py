"""The kernel: who owns what, and how a block ends."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator

import pytest
from blockbuster import blockbuster_ctx

from cirrus.actors.actor import Ref
from cirrus.actors.kernel import Kernel, undisturbed
from cirrus.clock import SystemClock
from cirrus.errors import Closed, InputError
from tests.actors.adder import Add, Adder, Fail, Message, forever


@pytest.fixture(autouse=True)
async def nothing_outlives_a_test() -> AsyncIterator[None]:
    tasks, threads = asyncio.all_tasks(), set(threading.enumerate())
    yield
    assert asyncio.all_tasks() - {asyncio.current_task()} <= tasks
    assert {thread for thread in threading.enumerate() if thread.name.startswith("cirrus")} <= threads


async def test_everything_is_stopped_in_reverse_order_when_the_block_ends() -> None:
    log: list[str] = []
    async with Kernel(SystemClock()) as kernel:
        first = kernel.spawn(Adder(log, "first"), name="first")
        kernel.task(forever(log), name="middle")
        last = kernel.spawn(Adder(log, "last"), name="last")
        await first.ask(Add(1))
        await last.ask(Add(1))
    assert log == ["first started", "last started", "last stopped", "task ended", "first stopped"]
    assert first.closed


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), InputError("file", "bad row")])
async def test_the_failure_of_an_actor_ends_the_block_as_itself(error: Exception) -> None:
    log: list[str] = []

    async def block() -> None:
        async with Kernel(SystemClock()) as kernel:
            kernel.task(forever(log), name="other")
            adder = kernel.spawn(Adder(log), name="adder")
            await adder.send(Fail(error))
            await forever()

    with pytest.raises(type(error)) as caught:
        await block()
    assert caught.value is error
    assert error.__context__ is None
    assert sorted(log) == ["adder started", "adder stopped", "task ended"]
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_the_failure_of_a_task_ends_the_block_as_itself() -> None:
    error = ValueError("a task")

    async def fails() -> None:
        raise error

    with pytest.raises(ValueError, match="a task") as caught:
        async with Kernel(SystemClock()) as kernel:
            await kernel.task(fails(), name="fails").wait()
    assert caught.value is error


async def test_a_failure_that_comes_when_the_block_has_nothing_left_to_wait_for_is_raised_too() -> None:
    error = ValueError("late")

    async def fails() -> None:
        raise error

    async def block() -> None:
        async with Kernel(SystemClock()) as kernel:
            kernel.task(fails(), name="fails")
            await asyncio.sleep(0)

    with pytest.raises(ValueError, match="late"):
        await block()


async def test_the_blocks_own_exception_passes_through_and_later_failures_become_notes() -> None:
    class Sore(Adder):
        async def stopped(self) -> None:
            raise ValueError("cannot stop")

    error = KeyError("mine")

    async def block() -> None:
        async with Kernel(SystemClock()) as kernel:
            await kernel.spawn(Sore(), name="sore").ask(Add(1))
            raise error

    with pytest.raises(KeyError) as caught:
        await block()
    assert caught.value is error
    assert error.__notes__ == ["and then: ValueError('cannot stop')"]


async def test_a_failure_while_stopping_is_raised_where_nothing_else_is() -> None:
    class Sore(Adder):
        async def stopped(self) -> None:
            raise ValueError("cannot stop")

    with pytest.raises(ValueError, match="cannot stop"):
        async with Kernel(SystemClock()) as kernel:
            await kernel.spawn(Sore(), name="sore").ask(Add(1))


async def test_the_first_of_several_failures_is_raised_and_names_the_others() -> None:
    async def fails(error: Exception) -> None:
        raise error

    first = ValueError("first")

    async def block() -> None:
        async with Kernel(SystemClock()) as kernel:
            kernel.task(fails(first), name="first")
            kernel.task(fails(KeyError("second")), name="second")
            await forever()

    with pytest.raises(ValueError, match="first") as caught:
        await block()
    assert caught.value is first
    assert first.__notes__ == ["and then: KeyError('second')"]


async def test_the_cancellation_of_the_caller_passes_through() -> None:
    log: list[str] = []

    async def run() -> None:
        async with Kernel(SystemClock()) as kernel:
            kernel.task(forever(log), name="task")
            await forever()

    caller = asyncio.create_task(run())
    for _ in range(3):
        await asyncio.sleep(0)
    caller.cancel()
    await asyncio.wait((caller,))
    assert caller.cancelled()
    assert log == ["task ended"]


async def test_a_callers_timeout_around_the_block_stays_a_timeout() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01), Kernel(SystemClock()):
            await forever()


async def test_a_cancellation_while_everything_stops_waits_for_that_and_passes_through() -> None:
    ended: list[str] = []
    gate = asyncio.Event()

    class Slow(Adder):
        async def stopped(self) -> None:
            await gate.wait()
            ended.append("put away")

    async def run() -> None:
        async with Kernel(SystemClock()) as kernel:
            await kernel.spawn(Slow(), name="slow").ask(Add(1))

    caller = asyncio.create_task(run())
    for _ in range(10):
        await asyncio.sleep(0)
    caller.cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not caller.done()
    gate.set()
    await asyncio.wait((caller,))
    assert caller.cancelled()
    assert ended == ["put away"]


async def test_kernels_nest_and_an_inner_failure_can_be_handled_outside() -> None:
    async with Kernel(SystemClock()) as outer:
        adder = outer.spawn(Adder(), name="outer")
        with pytest.raises(ZeroDivisionError):
            async with Kernel(SystemClock()) as inner:
                await inner.spawn(Adder(), name="inner").ask(Fail(ZeroDivisionError("inner")))
        assert await adder.ask(Add(1)) == 1


async def test_a_task_can_be_cancelled_and_waited_for() -> None:
    log: list[str] = []
    async with Kernel(SystemClock()) as kernel:
        task = kernel.task(forever(log), name="task")
        await asyncio.sleep(0)
        await task.cancel()
        assert log == ["task ended"]
        assert task.done
        with pytest.raises(Closed, match="'task' was cancelled"):
            await task.wait()
        await task.cancel()


async def test_a_task_that_something_else_cancels_is_a_failure() -> None:
    async def cancels_itself() -> None:
        raise asyncio.CancelledError

    class Cancelled(Adder):
        async def receive(self, message: Message) -> object:
            raise asyncio.CancelledError(message)

    async def block() -> None:
        async with Kernel(SystemClock()) as kernel:
            kernel.task(cancels_itself(), name="odd")
            await forever()

    with pytest.raises(Closed, match="'odd' was cancelled"):
        await block()
    with pytest.raises(Closed, match="'odd' was cancelled"):
        async with Kernel(SystemClock()) as kernel:
            await kernel.spawn(Cancelled(), name="odd").ask(Add(1))


async def test_blocking_calls_run_on_threads_that_are_gone_after_the_block() -> None:
    with blockbuster_ctx(scanned_modules="cirrus"):
        async with Kernel(SystemClock()) as kernel:
            name = await kernel.blocking(lambda: threading.current_thread().name)
            assert name.startswith("cirrus")
            assert await kernel.blocking(divmod, 7, 2) == (3, 1)
            with pytest.raises(ZeroDivisionError):
                await kernel.blocking(divmod, 7, 0)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("cirrus")]
    with pytest.raises(Closed):
        await kernel.blocking(divmod, 1, 1)


async def test_the_end_of_the_block_waits_for_a_thread_whose_caller_has_gone() -> None:
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go_on.wait(10.0)
        ended.set()

    async with Kernel(SystemClock(), threads=1) as kernel:
        calling = kernel.task(kernel.blocking(work), name="calling")
        queued = kernel.task(kernel.blocking(time.sleep, 0), name="queued")
        while not begun.is_set():
            await asyncio.sleep(0)
        await calling.cancel()
        assert not ended.is_set()
        asyncio.get_running_loop().call_later(0.01, go_on.set)
    assert ended.is_set()
    assert queued.done


async def test_nothing_starts_in_a_kernel_that_is_not_running() -> None:
    kernel = Kernel(SystemClock())
    for _ in range(2):
        with pytest.raises(Closed):
            kernel.spawn(Adder(), name="adder")
        with pytest.raises(Closed):
            kernel.task(forever(), name="task")
        with pytest.raises(Closed):
            await kernel.blocking(divmod, 1, 1)
        if not kernel.ended:
            async with kernel:
                pass
    with pytest.raises(Closed, match="one block"):
        async with kernel:
            pass


async def test_those_who_still_ask_while_everything_stops_are_no_failures() -> None:
    async def keeps_asking(adder: Ref[Message]) -> None:
        try:
            await forever()
        finally:
            await adder.ask(Add(1))

    async with Kernel(SystemClock()) as kernel:
        holder: list[Ref[Message]] = []

        async def later() -> None:
            while not holder:
                await asyncio.sleep(0)
            await keeps_asking(holder[0])

        kernel.task(later(), name="asks")
        holder.append(kernel.spawn(Adder(), name="adder"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_what_is_undisturbed_is_done_to_its_end_and_then_the_cancellation_comes_out() -> None:
    steps: list[str] = []
    go = asyncio.Event()

    async def work() -> None:
        steps.append("begun")
        await go.wait()
        steps.append("done")

    task = asyncio.ensure_future(undisturbed(work()))
    await asyncio.sleep(0)
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.sleep(0)
    assert steps == ["begun"]
    go.set()
    await asyncio.wait((task,))
    assert task.cancelled()
    assert steps == ["begun", "done"]


async def test_what_is_undisturbed_returns_and_fails_as_itself() -> None:
    async def answer() -> int:
        return 7

    async def fail() -> None:
        raise ValueError("of its own")

    assert await undisturbed(answer()) == 7
    with pytest.raises(ValueError, match="of its own"):
        await undisturbed(fail())
