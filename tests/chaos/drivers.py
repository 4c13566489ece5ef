"""Drivers in processes of their own: to follow, to kill, and to look whether anything of theirs is left."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from secrets import token_hex
from typing import Any

import psutil

from tests.chaos.drive import Task
from tests.chaos.marks import MARK, marked

TREE = Path(__file__).parents[2]


class DriverProcess:
    """A driver's process, and all that came of it: its children bear the same mark in their environment."""

    def __init__(self, process: Process, mark: str) -> None:
        self.process = process
        self.said: list[dict[str, Any]] = []
        self.mark = mark

    @property
    def run_id(self) -> str:
        """The run that it drives, once it has said so."""
        return next(str(one["run_id"]) for one in self.said if one.get("event") == "RunStarted")

    @property
    def ended(self) -> str:
        """How its run ended, in its own words; empty where it could not say."""
        return next((str(one["ended"]) for one in self.said if "ended" in one), "")

    async def until(self, wanted: Callable[[dict[str, Any]], bool]) -> bool:
        """Listen until it says something like that; whether it did before its end."""
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            self.said.append(json.loads(line))
            if wanted(self.said[-1]):
                return True
        return False

    async def learnt(self, units: int) -> bool:
        """Listen until so many units of training are finished."""
        return await self.until(lambda one: one.get("stage") == "train" and one.get("done", 0) >= units)

    async def end(self) -> int:
        """Listen to its end; the exit code."""
        await self.until(lambda _: False)
        return await self.process.wait()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the driver alone."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def left(self) -> list[int]:
        """What is alive of the driver and of all that it started."""
        return marked(self.mark)

    async def gone(self, seconds: float) -> None:
        """Wait until nothing of it is left."""
        try:
            async with asyncio.timeout(seconds):
                while self.left():
                    await asyncio.sleep(0.05)
        except TimeoutError:
            left = [psutil.Process(pid).cmdline() for pid in self.left()]
            raise AssertionError(f"after {seconds:g} s there is still {left}") from None


@asynccontextmanager
async def driver(task: Task) -> AsyncIterator[DriverProcess]:
    """A driver at work; nothing of it is left behind the block. Its temporary files are in the task's folder."""
    mark = token_hex(8)
    scratch = Path(task.folder) / "scratch"
    scratch.mkdir(exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.chaos.drive",
        stdin=PIPE, stdout=PIPE, cwd=TREE, env={**os.environ, MARK: mark, "TMPDIR": str(scratch)},
    )  # fmt: skip
    made = DriverProcess(process, mark)
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(asdict(task)).encode() + b"\n")
        yield made
    finally:
        made.send(signal.SIGCONT)
        made.send(signal.SIGKILL)
        await process.wait()
        for pid in made.left():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.stdin.close()
        process._transport.close()  # type: ignore[attr-defined]  # else its pipes are closed by the collector
