"""Starts operating-system processes from any event loop in any thread of their host (POSIX).

Nothing is installed in the host: no signal handler, no child watcher, no thread per process. A process is started in
one thread that ``Processes`` owns, for fork and exec take time. On Linux a command ``python -m MODULE`` is forked from
a process that has imported the module before.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Literal

from cirrus.cloud.child import Child, Spawned
from cirrus.cloud.forks import Forks
from cirrus.errors import InvokeError, Throttled

CHILD_ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",  # a worker is one core's worth; its neighbours have the others
    "OMP_NUM_THREADS": "1",
    "MALLOC_TRIM_THRESHOLD_": str(64 * 2**20),  # arrays of 128 kB and more come and go with every step:
    "MALLOC_TOP_PAD_": str(16 * 2**20),  # asking the kernel for them each time costs more
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),  # than working on them
}
"""What children get on top of their parent's environment."""

SCARCE = (11, 12, 23, 24)  # EAGAIN, ENOMEM, ENFILE, EMFILE: there will be room later

FORKS = sys.platform == "linux"
"""Elsewhere what was imported may not live through a fork."""

Stdout = Literal["evidence", "line"]


class Processes:
    """Starts processes and owns what they share: the thread that starts them.

    It may be made anywhere; ``start`` and ``close`` belong to one running loop.
    """

    def __init__(self) -> None:
        self._starter = ThreadPoolExecutor(1, "cirrus-starter", initializer=self._note_thread)
        self._threads: list[threading.Thread] = []
        self._children: set[Child] = set()
        self._forks: list[Forks] = []  # the last of them serves, if it is alive
        self._heard: set[Forks] = set()
        self._closed = False
        self._shut = False

    async def start(self, command: tuple[str, ...], line: str, stdout: Stdout = "evidence") -> Child:
        """Start ``command`` as the leader of a new session and write ``line`` to its input.

        Its input stays open as long as this process lives, so the end of input tells it that its parent is gone.
        ``stdout="line"`` is for ``Child.line``; otherwise what it prints goes where its errors go. ``InvokeError``
        where it cannot be started, ``Throttled`` where processes, descriptors or memory are short now.
        """
        if self._closed:
            raise InvokeError(f"{command[0]}: nothing is started after close")
        starting = self._starter.submit(self._spawn, command, stdout)
        try:
            spawned = await asyncio.wrap_future(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(self._discard_later)
            raise
        except (OSError, ValueError) as error:
            kind = Throttled if isinstance(error, OSError) and error.errno in SCARCE else InvokeError
            raise kind(f"{command[0]} could not be started: {error}") from error
        self._listen()
        child = Child(spawned, line.encode() + b"\n")
        self._children.add(child)
        child.when_ended(lambda _: self._children.discard(child))
        return child

    def expect(self, command: tuple[str, ...]) -> None:
        """Have ready what the command is forked from, if it is: the first ``start`` need not wait for it."""
        if _forked(command) and not self._closed:
            self._starter.submit(self._server, command[2])

    async def close(self, grace: float = 0.0) -> None:
        """Ask all processes to end, kill those that are left after ``grace`` seconds, and let go of everything.

        Cancelled, it kills them at once; say it again to let go of the rest.
        """
        self._closed = True
        try:
            await self._in_starter(tuple)  # behind the starts that are under way
            await self._end_all(grace)
        finally:
            self._send(signal.SIGKILL)
        for forks in self._heard:
            asyncio.get_running_loop().remove_reader(forks.ends)
        self._heard.clear()
        await self._in_starter(self._hang_up)  # behind what cancelled starts have left to be ended
        self._shut = True
        self._starter.shutdown(wait=False)
        while any(thread.is_alive() for thread in self._threads):  # noqa: ASYNC110  a thread's end makes no event
            await asyncio.sleep(0)  # noqa: TID251  no time passes: the loop turns, where joining would block it

    async def _end_all(self, grace: float) -> None:
        self._send(signal.SIGTERM)
        late = asyncio.get_running_loop().call_later(grace, self._send, signal.SIGKILL)
        try:
            for child in tuple(self._children):
                await child.wait()
        finally:
            late.cancel()

    def _send(self, number: signal.Signals) -> None:
        for child in self._children:
            child.send(number)

    async def _in_starter(self, call: Callable[[], object]) -> None:
        if not self._shut:
            await asyncio.wrap_future(self._starter.submit(call))

    def _note_thread(self) -> None:
        self._threads.append(threading.current_thread())

    def _listen(self) -> None:
        """Hear of the ends of forks."""
        for forks in self._forks:
            if forks not in self._heard:
                self._heard.add(forks)
                asyncio.get_running_loop().add_reader(forks.ends, self._hear, forks)

    def _hear(self, forks: Forks) -> None:
        if not forks.hear():
            asyncio.get_running_loop().remove_reader(forks.ends)

    def _spawn(self, command: tuple[str, ...], stdout: Stdout) -> Spawned:
        """In the starter thread."""
        with contextlib.ExitStack() as undo:
            words = _words(undo)
            stdin, mine = _pipe(undo)
            heard, output = _pipe(undo) if stdout == "line" else (None, words)
            if stdout == "evidence" and _forked(command):
                forks = self._server(command[2])
                number, pid = forks.fork(command[3:], stdin, words)
                made = Spawned(pid, mine, None, words, (forks, number))
            else:
                popen = subprocess.Popen(  # noqa: S603  the command is the caller's own; no shell is involved
                    command, stdin=stdin, stdout=output, stderr=words, env=_environment(), start_new_session=True
                )
                popen.returncode = 0  # its end is waited for elsewhere
                made = Spawned(popen.pid, mine, heard, words)
            undo.pop_all()
        os.close(stdin)
        if heard is not None:
            os.close(output)
        return made

    def _server(self, module: str) -> Forks:
        """The process from which the module's are forked, another where that has ended; in the starter thread."""
        if not self._forks or not self._forks[-1].serves(module):
            with contextlib.ExitStack() as undo:
                self._forks.append(Forks(module, _environment(), _words(undo)))
                undo.pop_all()
        return self._forks[-1]

    def _hang_up(self) -> None:
        for forks in self._forks:
            forks.close()
        self._forks.clear()

    def _discard_later(self, starting: Future[Spawned]) -> None:
        if not starting.cancelled() and starting.exception() is None:
            self._starter.submit(partial(_discard, starting.result()))


def _forked(command: tuple[str, ...]) -> bool:
    return FORKS and command[:2] == (sys.executable, "-m")


def _discard(spawned: Spawned) -> None:
    """End a process that nobody waits for any more; in the starter thread, for it waits."""
    if spawned.fork is not None:
        forks, number = spawned.fork
        forks.send(number, signal.SIGKILL)
    else:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(spawned.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(spawned.pid, 0)
    spawned.let_go()


def _words(undo: contextlib.ExitStack) -> int:
    """A file for the words of a process; without its name nothing is left, whoever dies."""
    words, name = tempfile.mkstemp(prefix="cirrus-")
    undo.callback(os.close, words)
    Path(name).unlink()
    fcntl.fcntl(words, fcntl.F_SETFL, fcntl.fcntl(words, fcntl.F_GETFL) | os.O_APPEND)
    return words


def _pipe(undo: contextlib.ExitStack) -> tuple[int, int]:
    ends = os.pipe()
    for one in ends:
        undo.callback(os.close, one)
    return ends


def _environment() -> dict[str, str]:
    return {**os.environ, **CHILD_ENVIRONMENT}
