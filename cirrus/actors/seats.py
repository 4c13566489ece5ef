"""Where one shard of a run lives, and how it is kept alive there: a process of this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from cirrus.actors.shards import Plan, ShardHost, start_shard
from cirrus.clock import Clock
from cirrus.cloud.processes import Processes
from cirrus.core.restarts import Backoff, RestartBudget
from cirrus.errors import Closed, InvokeError, RunError

RESTARTS = 20  # of one shard
WINDOW = 600.0  # seconds
TRIES = 5  # to start one again in a row
BACKOFF = Backoff(0.1, 2.0, 2.0)


@dataclass(frozen=True, slots=True)
class Answering:
    """A shard that answers at ``url``, as the process ``pid`` of its machine, begun for ``reason`` if not at first.

    ``skipped``: key and problem of each snapshot that it found newer than the one that it began with, and broken.
    """

    url: str
    pid: int
    skipped: tuple[tuple[str, str], ...] = ()
    reason: str = ""


class Seat(Protocol):
    """One shard, wherever it is."""

    async def start(self) -> Answering:
        """Start it; ``InvokeError`` where it does not come up."""
        ...

    async def again(self) -> Answering:
        """Wait until it has died and was started again at its address; ``RunError``, ``OutsideError`` if it was not."""
        ...

    async def leave(self) -> None:
        """Have it end, with a snapshot, unless it has ended; return when it has, or cannot be reached."""
        ...


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine that shards live on: its clock, who starts processes, a shard's command, the address to listen at."""

    clock: Clock
    processes: Processes
    command: tuple[str, ...]
    host: str = "127.0.0.1"


class LocalSeat:
    """A process of this machine, at ``port`` (0: a free one).

    ``wanted``: whether one that has ended with that exit code is to be started again; where not, ``again`` raises
    ``Closed``.
    """

    def __init__(
        self,
        machine: Machine,
        plan: Plan,
        number: int,
        port: int = 0,
        wanted: Callable[[int | None], bool] = lambda _: True,
    ) -> None:
        self._machine = machine
        self._plan = plan
        self._number = number
        self._port = port
        self._wanted = wanted
        self._budget = RestartBudget(RESTARTS, WINDOW)
        self._host: ShardHost | None = None

    async def start(self) -> Answering:
        return await self._bring_up("")

    async def again(self) -> Answering:
        assert self._host is not None, "it is started first"
        ended = await self._host.child.wait()
        if not self._wanted(ended.code):
            raise Closed(f"shard {self._number} has ended, as it should")
        if not self._budget.spend(self._machine.clock.monotonic()):
            what = f"shard {self._number} ended {RESTARTS + 1} times within {WINDOW:g} s"
            raise RunError(f"{what}\n{ended.evidence}")
        self._plan = replace(self._plan, restore=True)
        for failures in range(1, TRIES):
            try:
                return await self._bring_up(f"its process ended with exit code {ended.code}")
            except InvokeError:
                await self._machine.clock.sleep(BACKOFF.delay(failures, 0.0))
        return await self._bring_up(f"its process ended with exit code {ended.code}")

    async def leave(self, grace: float = 0.0) -> None:
        """Have the process end, by force after ``grace`` seconds."""
        if self._host is not None:
            await self._host.child.stop(grace)

    @property
    def port(self) -> int:
        """Where it listens; 0 before it is known."""
        return self._port

    async def _bring_up(self, reason: str) -> Answering:
        machine = self._machine
        host = await start_shard(machine.processes, machine.command, self._plan, self._number, self._port)
        self._host, self._port = host, host.port
        return Answering(host.url, host.child.pid, host.skipped, reason)
