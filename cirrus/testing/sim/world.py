"""A world with a time of its own: events in the order of their time, processes that run in it, and seeded chance.

Nothing here waits for real, and everything that happens follows from the seed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Generator, Sequence
from heapq import heappop, heappush
from inspect import CORO_CREATED, getcoroutinestate
from itertools import count
from typing import Any, Generic, TypeVar, cast

import numpy as np

T = TypeVar("T")

EPOCH = 1_700_000_000.0
DRAWN_AT_ONCE = 512


class Died(BaseException):
    """Raised inside what a process was doing when it is killed; nothing that it does afterwards has an effect."""


class Chance:
    """Draws from one seeded stream."""

    def __init__(self, seed: Sequence[int]) -> None:
        self._generator = np.random.default_rng(seed)
        self._drawn: list[float] = []

    def number(self) -> float:
        """A number in [0, 1)."""
        if not self._drawn:
            self._drawn = self._generator.random(DRAWN_AT_ONCE).tolist()
        return self._drawn.pop()

    def hits(self, probability: float) -> bool:
        """Whether something of that probability happens."""
        return probability > 0.0 and self.number() < probability

    def between(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * self.number()

    def whole(self, low: int, high: int) -> int:
        """A whole number from ``low`` up to ``high``, both included."""
        return low + int(self.number() * (high - low + 1))

    def waiting(self, rate: float) -> float:
        """Seconds until the next of events that come ``rate`` times a second."""
        return float(-np.log1p(-self.number())) / rate

    def pick(self, among: Sequence[T]) -> T:
        """One of several."""
        return among[int(self.number() * len(among))]


class Wait(Generic[T]):
    """A result that comes later; one task may await it."""

    __slots__ = ("_error", "_then", "_value", "done")

    def __init__(self) -> None:
        self.done = False
        self._value: T | None = None
        self._error: Exception | None = None
        self._then: list[Callable[[], None]] = []

    def keep(self, value: T) -> None:
        """Give the result; only the first counts."""
        if not self.done:
            self._value = value
            self._settle()

    def refuse(self, error: Exception) -> None:
        """Raise this in whoever waits; only the first counts."""
        if not self.done:
            self._error = error
            self._settle()

    def then(self, work: Callable[[], None]) -> None:
        """Call this once there is a result, at once if there is one."""
        if self.done:
            work()
        else:
            self._then.append(work)

    def result(self) -> T:
        """The result, which must be there."""
        if self._error is not None:
            raise self._error
        return cast("T", self._value)

    def _settle(self) -> None:
        self.done = True
        waiting, self._then = self._then, []
        for work in waiting:
            work()

    def __await__(self) -> Generator[Wait[T], None, T]:
        if not self.done:
            yield self
        return self.result()


class World:
    """Everything that will happen, in the order of its time; ``now`` is in seconds since the beginning."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.chance = Chance((seed, 1))
        self.story: list[tuple[float, str, str]] = []
        self.over = False
        self.events = 0
        self._agenda: list[tuple[float, int, Process | None, Callable[[], object]]] = []
        self._order = count()
        self.processes: list[Process] = []

    def tell(self, who: str, what: str) -> None:
        """Add a line to the story."""
        self.story.append((self.now, who, what))

    def at(self, when: float, work: Callable[[], object], process: Process | None = None) -> None:
        """Do this at that time; as something that ``process`` does, if it lives then, and later if it hangs then."""
        heappush(self._agenda, (max(when, self.now), next(self._order), process, work))

    def after(self, seconds: float, work: Callable[[], object], process: Process | None = None) -> None:
        """Do this in so many seconds."""
        heappush(self._agenda, (self.now + max(seconds, 0.0), next(self._order), process, work))

    def close(self) -> None:
        """Let go of what was to begin and never will."""
        for process in self.processes:
            for task in process.tasks:
                task.forget()

    def run(self, until: float) -> None:
        """Let everything happen up to that time, or until the world is over."""
        agenda = self._agenda
        while agenda and not self.over:
            when, order, process, work = heappop(agenda)
            if when > until:
                heappush(agenda, (when, order, process, work))
                break
            if process is not None:
                if not process.alive:
                    continue
                if process.hangs_until > when:
                    heappush(agenda, (process.hangs_until, order, process, work))
                    continue
            self.now = when
            self.events += 1
            work()


class Task(Generic[T]):
    """A coroutine of a process; its failure is the process's, unless somebody waits for ``result``."""

    __slots__ = ("_process", "_work", "over", "result")

    def __init__(self, process: Process, work: Coroutine[Any, Any, T]) -> None:
        self._process = process
        self._work = work
        self.over = False
        self.result: Wait[T] = Wait()

    def step(self) -> None:
        """Go on until it waits for something."""
        if self.over:
            return
        try:
            waited = self._work.send(None)
        except StopIteration as end:
            self._end()
            self.result.keep(end.value)
        except Died:
            self._end()
        except Exception as error:  # noqa: BLE001  the border: what the process does about it is its business
            self._end()
            self._process.failed(error)
        else:
            process = self._process
            cast("Wait[Any]", waited).then(lambda: process.world.after(0.0, self.step, process))

    def cancel(self) -> None:
        """End it where it waits."""
        if self.over:
            return
        self._end()
        try:
            while True:  # what it does while it ends has nobody to wait for
                self._work.throw(Died())
        except (StopIteration, Died):
            pass
        except Exception as error:  # noqa: BLE001  it ends in one way or the other
            self._process.world.tell(self._process.name, f"{error!r} while a task was cancelled")

    def forget(self) -> None:
        """Never begin, unless it has."""
        if getcoroutinestate(self._work) == CORO_CREATED:
            self._work.close()

    def _end(self) -> None:
        self.over = True
        self._process.tasks.pop(self, None)


class Process:
    """Something that can be killed or hang; it is a ``Clock``, whose two times are its machine's own.

    ``host`` is where it runs: partitions divide hosts. ``doing`` says to people what it is at.
    """

    def __init__(self, world: World, name: str, host: str, skew: float = 0.0) -> None:
        self.world = world
        self.name = name
        self.host = host
        self.alive = True
        self.hangs_until = 0.0
        self.tasks: dict[Task[Any], None] = {}
        self.when_ended: list[Callable[[bool], None]] = []
        self.on_failure: Callable[[Exception], None] = self._crash
        self._skew = skew
        world.processes.append(self)
        self._booted = world.chance.between(0.0, 10_000.0)

    def monotonic(self) -> float:
        """Seconds since its machine was started."""
        return self._booted + self.world.now

    def wall(self) -> float:
        """Seconds since the Unix epoch, as its machine believes."""
        return EPOCH + self._skew + self.world.now

    async def sleep(self, seconds: float) -> None:
        """Wait so long."""
        await self.timer(seconds)

    def timer(self, seconds: float) -> Wait[None]:
        """A wait for so long."""
        wait: Wait[None] = Wait()
        self.world.after(seconds, lambda: wait.keep(None))
        return wait

    def after(self, seconds: float, work: Callable[[], object]) -> None:
        """Do this in so many seconds."""
        self.world.after(seconds, work, self)

    def spawn(self, work: Coroutine[Any, Any, T]) -> Task[T]:
        """Begin a task."""
        task = Task(self, work)
        self.tasks[task] = None
        self.world.after(0.0, task.step, self)
        return task

    def failed(self, error: Exception) -> None:
        """One of its tasks has failed."""
        if self.alive:
            self.on_failure(error)

    def hang(self, seconds: float) -> None:
        """Do nothing for so long, as if stopped; whatever comes meanwhile waits."""
        self.hangs_until = max(self.hangs_until, self.world.now + seconds)

    def kill(self, *, silently: bool = False) -> None:
        """End without a warning; ``silently``: the network says nothing to those that are connected with it."""
        if not self.alive:
            return
        self.alive = False
        for task in list(self.tasks):
            task.cancel()
        told, self.when_ended = self.when_ended, []
        for work in told:
            work(silently)

    def _crash(self, error: Exception) -> None:
        self.world.tell(self.name, f"ends: {error!r}")
        self.kill()


class Mailbox(Generic[T]):
    """Messages that one task of a process reads, in their order; ``None`` behind the last."""

    def __init__(self) -> None:
        self._unread: deque[T] = deque()
        self._reader: Wait[None] | None = None
        self._closed = False

    def put(self, message: T) -> None:
        """Leave a message."""
        if not self._closed:
            self._unread.append(message)
            self._wake()

    def close(self) -> None:
        """Nothing comes any more."""
        self._closed = True
        self._wake()

    async def get(self) -> T | None:
        """The next message, or ``None``: there will be none."""
        while not self._unread:
            if self._closed:
                return None
            self._reader = Wait()
            await self._reader
        return self._unread.popleft()

    def take_all(self) -> list[T]:
        """What has not been read."""
        unread = list(self._unread)
        self._unread.clear()
        return unread

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.keep(None)
