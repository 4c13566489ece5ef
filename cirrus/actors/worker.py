"""A worker's life: hello, leases, units, goodbye. It is stateless and makes outbound connections only.

Killed at any moment it loses nothing: its units are leased again, and the shards know how far each of them got.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import resource
import sys
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from aiohttp import ClientError, ClientSession, ClientWebSocketResponse, WSMsgType, WSServerHandshakeError

from cirrus.actors.control import FROM_WORKER, TO_WORKER
from cirrus.actors.jobs import Bench, Job
from cirrus.actors.kernel import Kernel
from cirrus.actors.mailbox import Mailbox
from cirrus.actors.standing import Standing
from cirrus.actors.trust import certain, trusting
from cirrus.clock import Clock
from cirrus.cloud.base import Assignment
from cirrus.core.lifetime import margin
from cirrus.core.messages import Ask, Back, Beat, Bye, Done, FromWorker, Hello, Lease, Objected, Order, Welcome
from cirrus.core.restarts import Backoff
from cirrus.core.slots import Leave
from cirrus.errors import Closed, Diverged, InputError, Refused, WireError
from cirrus.store.counted import Counted
from cirrus.store.opening import open_store

BEAT = 0.5
PATIENCE = 30.0  # seconds for which the control actor may be away when the worker starts
ATTEMPT = 10.0  # seconds for one attempt to reach it
BACKOFF = Backoff(0.05, 2.0, 1.0)
LONGEST_DETAIL = 8192
FULL = 0.9

STATM = Path("/proc/self/statm")

OpenJob = Callable[[Bench, str], Awaitable[Job]]


class Line:
    """The worker's connection to the control actor: leases come in, everything else is in ``standing``."""

    def __init__(self, socket: ClientWebSocketResponse, standing: Standing) -> None:
        self._socket = socket
        self._standing = standing
        self._leases: Mailbox[Lease] = Mailbox()
        self._unread: list[Lease] = []
        self.job: Job | None = None

    async def say(self, message: FromWorker) -> None:
        """Send a message; a broken connection shows in ``standing``."""
        try:
            await self._socket.send_bytes(FROM_WORKER.encode(message))
        except (ConnectionError, ClientError):
            self.end("lost", "the connection to the control actor is gone")

    async def welcome(self) -> Welcome | None:
        """The answer to hello; ``None``: the worker is not wanted."""
        message = await self._socket.receive()
        if message.type is not WSMsgType.BINARY:
            return None
        answer = TO_WORKER.decode(message.data)
        return answer if isinstance(answer, Welcome) else None

    async def lease(self) -> Lease | None:
        """The next lease; ``None`` once the worker is to leave."""
        try:
            return await self._leases.get()
        except Closed:
            return None

    async def listen(self) -> None:
        """Take in what the control actor says until the connection ends."""
        async for message in self._socket:
            if message.type is not WSMsgType.BINARY:
                break
            self._hear(TO_WORKER.decode(message.data))
        self.end("lost", "the connection to the control actor is gone")

    def end(self, kind: Leave, detail: str) -> None:
        """Leave for this reason unless there is one already, and take no more leases."""
        self._standing.leave(kind, detail)
        self._unread.extend(self._leases.close())

    def unread(self) -> tuple[Lease, ...]:
        """Leases that were granted and never begun."""
        self._unread.extend(self._leases.close())
        return tuple(self._unread)

    def _hear(self, message: Welcome | Lease | Order) -> None:
        match message:
            case Lease() if not self._leases.closed:
                if self.job is not None:
                    self.job.expect(message)
                self._leases.put_nowait(message)
            case Lease():
                self._unread.append(message)
            case Order(kind, reason):
                self.end("lost" if kind == "leave" else "drained", reason)
            case Welcome():
                raise WireError("welcome was said before")


class Worker:
    """One worker from its assignment to its end; its provider has counted ``age`` seconds of its time already.

    It leaves with the part ``full`` of its memory: ``FULL`` where nobody would tell that it was killed for more.
    """

    def __init__(
        self, assignment: Assignment, clock: Clock, open_job: OpenJob, age: float = 0.0, full: float = math.inf
    ) -> None:
        self._most = full * assignment.memory * 2**20
        self._assignment = assignment
        self._clock = clock
        self._open_job = open_job
        self._began = clock.monotonic() - age
        timeout = assignment.timeout
        self._standing = Standing(clock, self._began + timeout - margin(timeout))
        self._line: Line | None = None
        self._gets = self._puts = 0  # requests to the store

    def leave(self, kind: Leave, detail: str) -> None:
        """Hand back what is leased and end soon."""
        self._standing.leave(kind, detail)
        if self._line is not None:
            self._line.end(kind, detail)

    def _count(self, gets: int, puts: int) -> None:
        self._gets += gets
        self._puts += puts

    async def run(self) -> Bye | None:
        """Work until there is nothing left to do, or the worker is to leave; ``None``: it never came to work."""
        async with Kernel(self._clock) as kernel, trusting(self._assignment.ca) as session:
            socket = await self._connect(session)
            if socket is None:
                return None
            line = self._line = Line(socket, self._standing)
            await line.say(Hello(os.getpid()))
            welcome, goodbye = await line.welcome(), None
            if welcome is not None:
                kernel.task(line.listen(), name="line")
                kernel.task(self._beat(line), name="beat")
                goodbye = await self._work(line, session, welcome)
                seconds = self._clock.monotonic() - self._began
                goodbye = replace(goodbye, seconds=seconds, gets=self._gets, puts=self._puts)
                await line.say(goodbye)
            await socket.close()
        return goodbye

    async def _connect(self, session: ClientSession) -> ClientWebSocketResponse | None:
        """The connection to the control actor, which may be away: a shard that died is started again.

        ``None`` where the worker is to leave before there is one. ``Refused``, ``Untrusted``.
        """
        shard = self._assignment.shards[0]
        failures, deadline = 0, self._clock.monotonic() + PATIENCE
        while self._standing.leaving is None:
            try:
                with certain(shard):
                    async with asyncio.timeout(ATTEMPT):
                        return await session.ws_connect(
                            f"{shard}/control",
                            headers={"Authorization": f"Bearer {self._assignment.token}"},
                            compress=0,
                            heartbeat=20.0,
                        )
            except WSServerHandshakeError as error:
                raise Refused("the control actor does not accept the token") from error
            except (ClientError, OSError):
                failures += 1
                if self._clock.monotonic() > deadline:
                    raise
            await self._clock.sleep(BACKOFF.delay(failures, 0.0))
        return None

    async def _work(self, line: Line, session: ClientSession, welcome: Welcome) -> Bye:
        """Everything between hello and goodbye; whatever goes wrong is said in the goodbye."""
        store = Counted(open_store(self._assignment.store), self._count)
        try:
            async with Kernel(self._clock) as kernel:
                bench = Bench(self._assignment, kernel, session, store, self._standing, self._count)
                line.job = await self._open_job(bench, welcome.work)
                async with contextlib.AsyncExitStack() as stack:
                    stack.push_async_callback(line.job.close)
                    await self._lease_and_do(line, line.job)
        except MemoryError as error:
            return Bye("memory", f"{type(error).__name__}: {error}")
        except Diverged as error:
            return Bye("diverged", str(error))
        except InputError as error:
            await line.say(Objected(error.name, error.problem, error.line, error.column))
            return Bye("failed", str(error))
        except Exception as error:  # noqa: BLE001  the border: a kernel of somebody else's may raise anything
            if self._standing.leaving is None or not isinstance(error, Closed):
                return Bye("failed", traceback.format_exc()[-LONGEST_DETAIL:])
        finally:
            await store.close()
        leaving = self._standing.leaving
        return Bye("idle", "") if leaving is None else Bye(leaving.kind, leaving.detail)

    async def _lease_and_do(self, line: Line, job: Job) -> None:
        await line.say(Ask(job.holds))
        while self._standing.leaving is None and (lease := await line.lease()) is not None:
            if self._standing.leaving is not None:
                await line.say(Back(lease.unit, lease.lease))
                break
            result = await job.do(lease)
            if isinstance(result, Done):
                await line.say(replace(result, beat=job.beat()))
            else:
                for message in (job.beat(), result, Ask(job.holds)):
                    await line.say(message)
        for lease in line.unread():
            await line.say(Back(lease.unit, lease.lease))

    async def _beat(self, line: Line) -> None:
        while True:
            await self._clock.sleep(BEAT)
            await line.say(Beat(resident()) if line.job is None else line.job.beat())
            if (held := holding()) > self._most:
                line.end("memory", f"{held >> 20} MB resident, nearly all of its {self._assignment.memory} MB")
            if self._standing.leaving is not None:
                line.end("drained", "")


def holding() -> int:
    """Bytes of memory that this process holds now; 0 where the system does not tell."""
    try:
        return int(STATM.read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def resident() -> int:
    """The largest resident size of this process so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
