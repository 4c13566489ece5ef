"""Workers as processes of this machine, with limits like those of a serverless function."""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import resource
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass

from cirrus.clock import Clock
from cirrus.cloud.assignments import assignment_to_json
from cirrus.cloud.base import Assignment, Cause, Exit
from cirrus.cloud.child import EVIDENCE, Child, Ended
from cirrus.cloud.processes import Processes
from cirrus.core.ids import WorkerId
from cirrus.core.terms import Terms

MEGABYTE = 2**20
HEADROOM = 1024
"""MB of private memory that a worker may reserve beyond its limit.

Reserved is not resident: a worker that has imported all it needs has reserved 73 MB and holds 58, but with eight busy
threads it has reserved 514 and holds 95. The limit itself is watched as resident memory; this stops a single huge
allocation that would fill the machine between two looks.
"""

OUT_OF_MEMORY = re.compile(r"^(\w+\.)*_?\w*MemoryError\b")
LAST_LINES = 20
SHOWN = EVIDENCE * 3 // 4
"""Less than is kept: a token that the beginning of the evidence cuts in two is not shown."""


@dataclass(slots=True, eq=False)
class _Worker:
    """A worker's process, when it began, and what was decided about its end before that came."""

    assignment: Assignment
    child: Child
    began: float
    kill_at: float = math.inf
    verdict: tuple[Cause, str] | None = None


class LocalInvoker:
    """Starts each worker as ``command``, which reads its assignment as one line of JSON from its input.

    Pool, slot and attempt follow as arguments, for people who look at the process list; nothing secret does.

    Input stays open while this process lives: a worker that reads its end is an orphan and should leave. ``watch``
    enforces memory, timeout and the grace of ``stop``; whoever owns the invoker must run it as a task. A worker that
    is told to stop has ``grace`` seconds. ``tick`` is the number of seconds between two looks at the workers.
    """

    def __init__(self, command: tuple[str, ...], clock: Clock, grace: float = 5.0, tick: float = 0.25) -> None:
        self._command = command
        self._clock = clock
        self._grace = grace
        self._tick = tick
        self._processes = Processes()
        self._workers: list[_Worker] = []
        self._exits: asyncio.Queue[Exit | None] = asyncio.Queue()
        self._closed = False

    async def terms(self) -> Terms:
        """Processes of one's own are free, and limited as each is asked to be."""
        return Terms()

    async def invoke(self, assignment: Assignment) -> None:
        """Start a process for the worker; ``InvokeError`` where that fails or the invoker is closed, ``Throttled``."""
        worker = assignment.worker
        label = (worker.pool, str(worker.slot), str(worker.attempt))
        child = await self._processes.start((*self._command, *label), assignment_to_json(assignment))
        _limit(child, assignment.memory + HEADROOM)
        started = _Worker(assignment, child, self._clock.monotonic())
        self._workers.append(started)
        child.when_ended(lambda ended: self._tell(started, ended))

    async def stop(self, worker: WorkerId) -> None:
        """Ask the worker to end; ``watch`` kills it when its grace is over."""
        for one in self._workers:
            if one.assignment.worker == worker and one.kill_at == math.inf:
                one.kill_at = self._clock.monotonic() + self._grace
                one.child.send(signal.SIGTERM)

    async def exits(self) -> AsyncIterator[Exit]:
        """Ends of workers in the order in which they were seen, each given to one reader, until ``close``."""
        while (ended := await self._exits.get()) is not None:
            yield ended
        self._exits.put_nowait(None)  # for the next reader

    async def watch(self) -> None:
        """Look at all workers every ``tick`` seconds and end those that have passed a limit, until ``close``."""
        self._processes.expect(self._command)
        while not self._closed:
            now = self._clock.monotonic()
            for worker in self._workers:
                _enforce(worker, now)
            await self._clock.sleep(self._tick)

    async def close(self) -> None:
        """End all workers, those that do not follow after the grace by force, and let go of everything."""
        self._closed = True
        await self._processes.close(self._grace)
        self._exits.put_nowait(None)

    def _tell(self, worker: _Worker, ended: Ended) -> None:
        self._workers.remove(worker)
        cause, detail = worker.verdict or _cause(ended)
        last = _last_lines(ended.evidence, worker.assignment.token)
        if last and cause != "finished":
            detail = f"{detail}\n{last}"
        who, seconds = worker.assignment.worker, self._clock.monotonic() - worker.began
        alone = all(one.assignment.worker != who for one in self._workers)
        self._exits.put_nowait(Exit(who, cause, detail, seconds, alone))


def _enforce(worker: _Worker, now: float) -> None:
    """Kill the worker where it has passed a limit, and note which."""
    limits, resident = worker.assignment, worker.child.resident()
    if worker.verdict is not None:
        return
    if now - worker.began >= limits.timeout:
        worker.verdict = "timeout", f"still running after its {limits.timeout:g} s"
    elif resident > limits.memory * MEGABYTE:
        worker.verdict = "memory", f"{resident // MEGABYTE} MB resident, more than its {limits.memory} MB"
    elif now >= worker.kill_at:
        worker.verdict = "killed", "SIGKILL, for it did not leave when it was asked to"
    if worker.verdict is not None:
        worker.child.send(signal.SIGKILL)
    worker.child.shorten()


def _cause(ended: Ended) -> tuple[Cause, str]:
    """What an exit code says, with a sentence for people."""
    if ended.code is None:
        return "crashed", "ended; its exit code was taken by other code of this process"
    if ended.code == 0:
        return "finished", "exit code 0"
    if ended.code < 0:
        return "killed", _signal_name(-ended.code)
    words = ended.evidence.splitlines()
    if words and OUT_OF_MEMORY.match(words[-1]):
        return "memory", words[-1]
    return "crashed", f"exit code {ended.code}"


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


def _last_lines(evidence: str, token: str) -> str:
    """The last lines of the evidence, without the token wherever a worker has printed it."""
    clean = evidence.replace(token, "[token]") if token else evidence
    return "\n".join(clean[-SHOWN:].splitlines()[-LAST_LINES:])


def _limit(child: Child, megabytes: int) -> None:
    """Let the process reserve no more private memory than that, where the system can (Linux)."""
    if not hasattr(resource, "prlimit"):
        return
    most = megabytes * MEGABYTE
    with contextlib.suppress(OSError, ValueError):  # it has ended already, or has a lower limit
        resource.prlimit(child.pid, resource.RLIMIT_DATA, (most, most))
