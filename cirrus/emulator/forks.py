"""The line to a fork server: sandboxes are ordered over it, and their ends are heard of."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from cirrus.actors.kernel import Kernel
from cirrus.cloud.processes import CHILD_ENVIRONMENT, Processes
from cirrus.errors import InvokeError

SERVER = Path(__file__).with_name("fork_server.py")
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Ground:
    """What the sandboxes of a function share: folders to import from, the first of them its code.

    ``preload`` are modules that are imported before the first fork; without any, each sandbox is a new interpreter.
    """

    path: tuple[Path, ...]
    preload: tuple[str, ...]


@dataclass(slots=True, eq=False)
class Sprout:
    """A sandbox's process; ``ended`` has its exit code, ``-n`` for signal n."""

    name: str
    pid: int
    ended: asyncio.Future[int]


@dataclass(slots=True, eq=False)
class _Ordered:
    started: asyncio.Future[int]
    ended: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Forks:
    """A fork server that runs; made by ``open``. It ends with the ``Processes`` that started it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._numbers = count()
        self._ordered: dict[str, _Ordered] = {}
        self._gone = False

    @classmethod
    async def open(cls, kernel: Kernel, processes: Processes, ground: Ground, socket: Path) -> Forks:
        """Start a server that listens at ``socket``, and wait until it has imported what it is to import."""
        config = {"path": [str(one) for one in ground.path], "preload": ground.preload, "socket": str(socket)}
        command = (sys.executable, "-I", "-S", str(SERVER))
        child = await processes.start(command, json.dumps(config), stdout="line")
        await child.line(PATIENCE)
        forks = cls(*await asyncio.open_unix_connection(str(socket)))
        kernel.task(forks._listen(), name="emulator.forks")
        return forks

    async def sprout(self, environment: dict[str, str], log: Path, most: int) -> Sprout:
        """Fork a sandbox that may reserve ``most`` bytes; ``InvokeError`` where the server is gone."""
        if self._gone:
            raise InvokeError("the fork server has ended")
        name = f"sandbox-{next(self._numbers)}"
        ordered = self._ordered[name] = _Ordered(asyncio.get_running_loop().create_future())
        environment = {**CHILD_ENVIRONMENT, **environment}
        self._say({"start": name, "environment": environment, "log": str(log), "most": most})
        pid = await ordered.started
        return Sprout(name, pid, ordered.ended)

    def kill(self, sprout: Sprout) -> None:
        """Kill the sandbox and all that it has started; nothing happens after its end."""
        if not sprout.ended.done() and not self._gone:
            self._say({"kill": sprout.name})

    def close(self) -> None:
        """Hang up: the server kills what is left and ends."""
        self._writer.transport.abort()

    def _say(self, order: dict[str, object]) -> None:
        self._writer.write(json.dumps(order).encode() + b"\n")

    async def _listen(self) -> None:
        try:
            while line := await self._reader.readline():
                match json.loads(line):
                    case {"started": str(name), "pid": int(pid)}:
                        self._ordered[name].started.set_result(pid)
                    case {"ended": str(name), "code": int(code)}:
                        self._ordered.pop(name).ended.set_result(code)
                    case _:
                        pass
        except ConnectionError:
            pass
        finally:
            self._gone = True
            for ordered in self._ordered.values():
                if not ordered.started.done():
                    ordered.started.set_exception(InvokeError("the fork server has ended"))
                ordered.ended.set_result(-9)
