"""The owner of all tasks: nothing that a kernel starts outlives its block.

    async with Kernel(SystemClock()) as kernel:
        ref = kernel.spawn(Scheduler(...), name="scheduler")
        feed = kernel.task(follow(...), name="feed")
        rows = await kernel.blocking(parse, data)
        await ref.send(Begin())
        ...
        await feed.cancel()

This is the only file that creates tasks.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Generic, ParamSpec, Self, TypeVar

from cirrus.actors.actor import Actor, Envelope, Ref, envelope_key
from cirrus.actors.mailbox import Mailbox
from cirrus.actors.supervisor import NEVER, Cell, RestartPolicy
from cirrus.clock import Clock
from cirrus.errors import Closed

M = TypeVar("M")
T = TypeVar("T")
P = ParamSpec("P")


@dataclass(slots=True, eq=False)
class _Owned:
    """A task of the kernel, and what must be closed before it is cancelled."""

    name: str
    task: asyncio.Task[Any]
    failed: Callable[[BaseException], None]
    close: Callable[[], None] | None = None
    stopping: bool = False

    async def stop(self) -> None:
        """Cancel and wait for the end; from inside the task itself, only ask for the end."""
        self.stopping = True
        if self.close is not None:
            self.close()
        if self.task is asyncio.current_task():
            if self.close is None:  # an actor ends by itself once its mailbox is closed
                self.task.cancel()
            return
        self.task.cancel()
        await asyncio.wait((self.task,))


class Task(Generic[T]):
    """A running coroutine that the kernel owns."""

    __slots__ = ("_owned",)

    def __init__(self, owned: _Owned) -> None:
        self._owned = owned

    @property
    def name(self) -> str:
        """The name that it was started with."""
        return self._owned.name

    @property
    def done(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self._owned.task.done()

    async def cancel(self) -> None:
        """Cancel it and wait until it has ended; nothing happens if it has already."""
        await self._owned.stop()

    async def wait(self) -> T:
        """Wait for its result, or raise its exception; ``Closed`` if it was cancelled."""
        task: asyncio.Task[T] = self._owned.task
        await asyncio.wait((task,))
        if task.cancelled():
            raise Closed(f"task {self.name!r} was cancelled")
        return task.result()


def _leave_to_waiter(_: BaseException) -> None:
    """The failure is raised in whoever waits for the result."""


class Kernel:
    """Starts actors, tasks and blocking calls, and ends them all when its block ends.

    Leaving the block waits for nothing: everything is stopped, the newest first. An exception of an actor or task
    that nobody supervises ends the block and is raised from it as itself. The block's own exception and the
    cancellation of its task pass through as they are. Later failures become notes on the first.
    """

    def __init__(self, clock: Clock, threads: int = 4) -> None:
        """Take time from ``clock``; run blocking calls on up to ``threads`` threads, made when first needed."""
        self.clock = clock
        self.ended = False
        self._threads = threads
        self._executor: ThreadPoolExecutor | None = None
        self._owned: dict[asyncio.Task[Any], _Owned] = {}
        self._refs: dict[Ref[Any], _Owned] = {}
        self._parent: asyncio.Task[Any] | None = None
        self._cancelling = 0
        self._open = False
        self._failure: BaseException | None = None
        self._interrupted = False

    async def __aenter__(self) -> Self:
        if self._parent is not None:
            raise Closed("a kernel has one block")
        self._parent = asyncio.current_task()
        assert self._parent is not None, "a block runs in a task"
        self._cancelling = self._parent.cancelling()
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        late = await self._stop_everything()
        verdict = self._verdict(error, late)
        if verdict is not None:
            self._annotate(verdict, error)
        if verdict is None or verdict is error:
            return
        context = verdict.__context__
        try:
            raise verdict
        finally:
            verdict.__context__ = context  # the cancellation that ended the block is no part of its story

    def spawn(self, actor: Actor[M], *, name: str, capacity: int = 1024) -> Ref[M]:
        """Start an actor; its failure ends the block."""
        return self._start(lambda: actor, name, capacity, NEVER)

    def supervise(
        self, factory: Callable[[], Actor[M]], *, name: str, restarts: RestartPolicy, capacity: int = 1024
    ) -> Ref[M]:
        """Start an actor that ``factory`` makes again after a failure; one failure too many ends the block."""
        return self._start(factory, name, capacity, restarts)

    def task(self, work: Coroutine[Any, Any, T], *, name: str) -> Task[T]:
        """Run a coroutine beside the others; its failure ends the block. Its result waits for ``wait``."""
        if not self._open:
            work.close()
            raise Closed(f"task {name!r} cannot start: the kernel is not running")
        return Task(self._own(work, name, self._fail))

    async def stop(self, ref: Ref[Any]) -> None:
        """Stop one actor and wait for its end; an actor that stops itself ends after the message at hand."""
        owned = self._refs.get(ref)
        if owned is not None:
            await owned.stop()

    async def within(self, seconds: float, work: Coroutine[Any, Any, T]) -> T:
        """Wait for ``work`` at most so many seconds on the kernel's clock; ``TimeoutError``, and it is cancelled."""
        doing = self._own(work, "work within a limit", _leave_to_waiter).task
        timer = self._own(self.clock.sleep(seconds), "a limit", _leave_to_waiter).task
        try:
            await asyncio.wait((doing, timer), return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                raise TimeoutError(f"not done within {seconds:g} s")
            result: T = doing.result()
            return result
        finally:
            doing.cancel()
            timer.cancel()
            await asyncio.wait((doing, timer))

    async def blocking(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function that blocks or computes on a thread, and wait for its result.

        A caller that is cancelled goes at once; the thread cannot be stopped, and the end of the block waits for it.
        """
        if self._parent is None or self.ended:
            raise Closed("the kernel is not running")
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="cirrus")
        return await asyncio.wrap_future(self._executor.submit(partial(work, *args, **kwargs)))

    def _start(self, factory: Callable[[], Actor[M]], name: str, capacity: int, restarts: RestartPolicy) -> Ref[M]:
        if not self._open:
            raise Closed(f"actor {name!r} cannot start: the kernel is not running")
        mailbox: Mailbox[Envelope[M]] = Mailbox(capacity, envelope_key)
        ref: Ref[M] = Ref(name, mailbox, self.within)
        cell = Cell(ref, mailbox, factory, restarts)
        owned = self._own(cell.run(self.clock, self._fail), name, self._fail)
        # A task that is cancelled before its first step never enters its own ``finally``: closing is the owner's.
        owned.close = cell.close
        self._refs[ref] = owned
        owned.task.add_done_callback(lambda _: self._forget(ref, cell))
        return ref

    def _forget(self, ref: Ref[Any], cell: Cell[Any]) -> None:
        del self._refs[ref]
        cell.close()

    def _own(self, work: Coroutine[Any, Any, Any], name: str, failed: Callable[[BaseException], None]) -> _Owned:
        task = asyncio.create_task(work, name=name)  # noqa: TID251  the one place
        owned = _Owned(name, task, failed)
        self._owned[task] = owned
        task.add_done_callback(self._ended)
        return owned

    def _ended(self, task: asyncio.Task[Any]) -> None:
        owned = self._owned.pop(task)
        if not task.cancelled():
            error = task.exception()
            if error is not None:
                owned.failed(error)
        elif not owned.stopping:
            owned.failed(Closed(f"{owned.name!r} was cancelled by something that does not own it"))

    def _fail(self, error: BaseException) -> None:
        """Keep the first failure and end the block; ``Closed`` is what stopping does to those who still ask."""
        if not self._open and isinstance(error, Closed):
            return
        if self._failure is None:
            self._failure = error
            if self._open and self._parent is not None:
                self._interrupted = True
                self._parent.cancel()
        elif error is not self._failure:
            self._failure.add_note(f"and then: {error!r}")

    def _annotate(self, verdict: BaseException, error: BaseException | None) -> None:
        """Nothing vanishes silently: what else went wrong becomes a note on what leaves the block."""
        for other in (error, self._failure):
            if other is not None and other is not verdict and not isinstance(other, asyncio.CancelledError):
                verdict.add_note(f"and then: {other!r}")

    async def _stop_everything(self) -> asyncio.CancelledError | None:
        """Stop all, whatever happens to the caller meanwhile; returns the cancellation that came while it waited."""
        stopping = asyncio.create_task(self._stop_owned(), name="stopping")  # noqa: TID251  the one place
        late = await _outlast(stopping)
        await stopping
        return late

    async def _stop_owned(self) -> None:
        while self._owned:
            newest = next(reversed(self._owned))
            await self._owned[newest].stop()
        if self._executor is not None:
            await self._end_threads(self._executor)
        self.ended = True

    async def _end_threads(self, executor: ThreadPoolExecutor) -> None:
        """Wait for the threads off the loop: a thread of their own joins them."""
        loop = asyncio.get_running_loop()
        ended = loop.create_future()

        def join() -> None:
            executor.shutdown(wait=True, cancel_futures=True)
            loop.call_soon_threadsafe(ended.set_result, None)

        joiner = threading.Thread(target=join, name="cirrus-joiner")
        joiner.start()
        await ended
        while joiner.is_alive():  # it has nothing left to do but to end
            await self.clock.sleep(0)

    def _verdict(self, error: BaseException | None, late: asyncio.CancelledError | None) -> BaseException | None:
        """What leaves the block: a cancellation from outside, else whichever failure was first, else nothing."""
        if not self._interrupted or self._parent is None:
            return error or late or self._failure
        cancelled = error if isinstance(error, asyncio.CancelledError) else late
        from_outside = self._parent.uncancel() > self._cancelling
        return cancelled if from_outside and cancelled is not None else self._failure


async def undisturbed(work: Coroutine[Any, Any, T]) -> T:
    """Do something to its end, whoever is cancelled meanwhile: a cancellation is raised when it is done."""
    task = asyncio.create_task(work, name="undisturbed")  # noqa: TID251  the one place
    late = await _outlast(task)
    if late is not None:
        task.exception()  # the cancellation is what the caller hears
        raise late
    return task.result()


async def _outlast(task: asyncio.Task[Any]) -> asyncio.CancelledError | None:
    """Wait for the task's end, and return the last cancellation that came while it waited."""
    late: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError as error:
            late = error
    return late
