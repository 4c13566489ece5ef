"""The functions of an account: their code, their sandboxes, and how many of them may run at a time."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from cirrus.actors.kernel import Kernel
from cirrus.bundle.unpacking import unpack
from cirrus.cloud.processes import Processes
from cirrus.emulator.billing import Report
from cirrus.emulator.forks import Forks, Ground
from cirrus.emulator.functions import Code, Configuration, EventConfig
from cirrus.emulator.refusals import Refusal, conflict, invalid, missing, throttled
from cirrus.emulator.sandbox import Limits, Sandbox
from cirrus.errors import CirrusError

UNRESERVED = 100
"""Executions at a time that reservations must leave to other functions."""

MOST_ZIP = 50 * 2**20
RUNTIME = ("awslambdaric", "snapshot-restore-py", "simplejson")


@dataclass(frozen=True, slots=True)
class Setting:
    """Who the account is, and what its functions get: the role's credentials as variables, and what is preloaded."""

    region: str
    account: str
    concurrency: int
    role: Mapping[str, str] = field(repr=False)
    preload: tuple[str, ...]


@dataclass(slots=True, eq=False)
class Function:
    """A function as it stands; ``state`` and ``update`` as the API calls them."""

    configuration: Configuration
    arn: str
    modified: float
    state: str = "Pending"
    update: str = "InProgress"
    reason: str = ""
    code: Code | None = None
    reserved: int | None = None
    events: EventConfig | None = None
    running: int = 0
    revision: int = 0
    generation: int = 0
    forks: Forks | None = None
    idle: list[Sandbox] = field(default_factory=list)
    sandboxes: set[Sandbox] = field(default_factory=set)


class Account:
    """All functions, by name. ``folder`` takes their code and logs; ``reports`` is what was billed, in order."""

    def __init__(self, kernel: Kernel, processes: Processes, folder: Path, setting: Setting) -> None:
        self.functions: dict[str, Function] = {}
        self.reports: list[Report] = []
        self.setting = setting
        self._kernel = kernel
        self._processes = processes
        self._folder = folder
        self._numbers = count()
        self._opened: list[Forks] = []

    def function(self, name: str) -> Function:
        """The function of that name or ARN; ``Refusal``."""
        found = self.functions.get(name.split(":")[6] if name.startswith("arn:") and name.count(":") >= 6 else name)
        if found is None:
            raise missing(f"Function {self.arn(name)}")
        return found

    def arn(self, name: str) -> str:
        """The full name of a function."""
        return f"arn:aws:lambda:{self.setting.region}:{self.setting.account}:function:{name}"

    def log(self, name: str) -> Path:
        """Where what a function's sandboxes print goes."""
        return self._folder / f"{name}.log"

    def create(self, configuration: Configuration) -> Function:
        """Register a function whose code is still to come."""
        if configuration.name in self.functions:
            raise conflict(f"Function already exist: {configuration.name}")
        made = Function(configuration, self.arn(configuration.name), self._kernel.clock.wall())
        self.functions[configuration.name] = made
        return made

    def reserve(self, function: Function, count_: int) -> None:
        """Let at most so many executions of the function run at a time, and keep as many for it."""
        others = sum(one.reserved or 0 for one in self.functions.values() if one is not function)
        if count_ and self.setting.concurrency - others - count_ < UNRESERVED:
            raise invalid(
                "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
                f"below its minimum value of [{UNRESERVED}]."
            )
        function.reserved = count_

    @property
    def unreserved(self) -> int:
        """How many executions of functions without a reservation may run at a time."""
        return self.setting.concurrency - sum(one.reserved or 0 for one in self.functions.values())

    @contextmanager
    def place(self, function: Function) -> Iterator[None]:
        """Count an execution while it runs; ``Refusal`` with status 429 where there is no room."""
        if function.reserved is not None:
            if function.running >= function.reserved:
                raise throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
        elif sum(one.running for one in self.functions.values() if one.reserved is None) >= self.unreserved:
            raise throttled("ConcurrentInvocationLimitExceeded")
        function.running += 1
        try:
            yield
        finally:
            function.running -= 1

    async def install(self, function: Function, data: bytes) -> None:
        """Unpack new code and begin with it; what runs goes on with the old. The function's state tells of failures."""
        folder = self._folder / f"{function.configuration.name}-{next(self._numbers)}"
        try:
            code = await self._kernel.blocking(_unpacked, data, folder)
            forks = await self._forks(folder)
        except (CirrusError, OSError) as error:
            function.reason, function.update = str(error), "Failed"
            function.state = "Failed" if function.code is None else function.state
            return
        await self.retire(function)
        function.code, function.forks = code, forks
        function.state, function.update, function.reason = "Active", "Successful", ""
        function.modified, function.revision = self._kernel.clock.wall(), function.revision + 1

    async def retire(self, function: Function) -> None:
        """End idle sandboxes; those that work end after it."""
        idle, function.idle = function.idle, []
        function.generation += 1
        for sandbox in idle:
            function.sandboxes.discard(sandbox)
            await sandbox.close()

    async def sandbox(self, function: Function) -> Sandbox:
        """One that is idle, or else a new one."""
        while function.idle:
            found = function.idle.pop()
            if found.alive:
                return found
            await self.end(function, found)
        assert function.forks is not None, "a function without code is not invoked"
        configuration = function.configuration
        limits = Limits(configuration.timeout, configuration.memory)
        log = self.log(configuration.name)
        made = await Sandbox.open(function.forks, self._environment(function), log, limits, self._kernel.clock)
        function.sandboxes.add(made)
        return made

    async def end(self, function: Function, sandbox: Sandbox) -> None:
        """End a sandbox, unless somebody does already."""
        if sandbox in function.sandboxes:
            function.sandboxes.discard(sandbox)
            await sandbox.close()

    async def watch(self, tick: float) -> None:
        """Look at the memory of all sandboxes, for ever."""
        while True:
            for function in self.functions.values():
                for sandbox in function.sandboxes:
                    sandbox.look()
            await self._kernel.clock.sleep(tick)

    async def close(self) -> None:
        """End all sandboxes."""
        for function in self.functions.values():
            for sandbox in tuple(function.sandboxes):
                await self.end(function, sandbox)
        for forks in self._opened:
            forks.close()

    async def _forks(self, code: Path) -> Forks:
        ground = Ground((code, await self._runtime()), self.setting.preload)
        with tempfile.TemporaryDirectory(prefix="cirrus-") as short:  # a socket's path has at most 107 bytes
            forks = await Forks.open(self._kernel, self._processes, ground, Path(short) / "forks")
        self._opened.append(forks)
        return forks

    async def _runtime(self) -> Path:
        folder = self._folder / "runtime"
        if not folder.exists():
            await self._kernel.blocking(_link_runtime, folder)
        return folder

    def _environment(self, function: Function) -> dict[str, str]:
        assert function.code is not None
        configuration, region = function.configuration, self.setting.region
        return {
            "PATH": os.defpath, "LANG": "en_US.UTF-8", "TZ": ":UTC", "HOME": "/", "_HANDLER": configuration.handler,
            "AWS_REGION": region, "AWS_DEFAULT_REGION": region,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{configuration.runtime}",
            "AWS_LAMBDA_FUNCTION_NAME": configuration.name, "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(configuration.memory),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": configuration.log_group,
            "AWS_LAMBDA_LOG_STREAM_NAME": "emulator", "LAMBDA_TASK_ROOT": str(function.code.folder),
            **configuration.environment, **self.setting.role,
        }  # fmt: skip


def check_runtime(configuration: Configuration) -> None:
    """Only the interpreter at hand runs functions here; ``Refusal`` for another version or machine."""
    runtime = f"python{sys.version_info.major}.{sys.version_info.minor}"
    machine = "arm64" if os.uname().machine == "aarch64" else os.uname().machine
    if (configuration.runtime, configuration.architecture) != (runtime, machine):
        raise invalid(f"this emulator runs {runtime} on {machine}, not {configuration.runtime} on "
                      f"{configuration.architecture}")  # fmt: skip


def check_zip(data: bytes) -> None:
    """``Refusal`` for more than may be uploaded."""
    if len(data) > MOST_ZIP:
        raise Refusal(413, "RequestEntityTooLargeException", f"the zip has {len(data)} bytes, more than {MOST_ZIP}")


def digest(data: bytes) -> str:
    """SHA-256 as the API gives it."""
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def _unpacked(data: bytes, folder: Path) -> Code:
    folder.mkdir()
    try:
        unpack(data, folder)
    except BaseException:
        shutil.rmtree(folder)
        raise
    return Code(digest(data), len(data), folder)


def _link_runtime(folder: Path) -> None:
    """Give AWS's runtime client a folder of its own, so that nothing else of this installation can be imported."""
    tops = {
        Path(str(one.locate())).parents[len(one.parts) - 1] / one.parts[0]
        for name in RUNTIME
        for one in importlib.metadata.files(name) or ()
        if one.parts[0] != ".."
    }
    folder.mkdir()
    for top in tops:
        (folder / top.name).symlink_to(top)
