"""A process of this machine, watched from any event loop in any thread of its host (POSIX).

Its end is seen through a pidfd in the loop's own selector. Where the system has no pidfds, a daemon thread waits for
it instead; where another process has forked it, that one tells.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass

from cirrus.cloud.forks import Forks
from cirrus.errors import InvokeError

EVIDENCE = 4096
"""How many of the last bytes of a process's error stream are kept."""

LONGEST_LINE = 65_536
MOST_WORDS = 4 * 2**20
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: its exit code, ``-n`` for signal n, ``None`` where the host's own code took it.

    ``evidence`` is the end of what it wrote on its error stream, at most 4 kB.
    """

    code: int | None
    evidence: str


@dataclass(frozen=True, slots=True)
class Spawned:
    """What a starting thread hands over: the pid, and descriptors of input, output and the error stream's file.

    A process that was forked for us by another is no child in the system's sense: ``fork`` is where to hear of it.
    """

    pid: int
    stdin: int
    stdout: int | None
    words: int
    fork: tuple[Forks, int] | None = None

    def let_go(self) -> None:
        """Close all descriptors."""
        for one in (self.words, self.stdin, self.stdout):
            if one is not None:
                os.close(one)


class Child:
    """A process that was started, and the group of processes that it leads; made by ``Processes.start``.

    All methods belong to the loop that started it.
    """

    def __init__(self, spawned: Spawned, line: bytes) -> None:
        """Watch the process and write ``line`` to its input, which stays open until its end."""
        self._loop = asyncio.get_running_loop()
        self._spawned, self._words = spawned, spawned.words
        self._unsent, self._heard = line, b""
        self._end: asyncio.Future[Ended] = self._loop.create_future()
        self._said: asyncio.Future[bytes] = self._loop.create_future()
        self._pidfd = _pidfd(self.pid) if spawned.fork is None else None
        if spawned.stdout is not None:
            os.set_blocking(spawned.stdout, False)
            self._loop.add_reader(spawned.stdout, self._hear)
        os.set_blocking(spawned.stdin, False)
        self._feed()
        if spawned.fork is not None:
            forks, number = spawned.fork
            forks.when_ended(number, self._finish)  # at once, where it has ended already
        elif self._pidfd is None:
            threading.Thread(target=self._await_end, name=f"cirrus-wait-{self.pid}", daemon=True).start()
        else:
            self._loop.add_reader(self._pidfd, self._look)

    @property
    def pid(self) -> int:
        """The process's number, which is its group's as well."""
        return self._spawned.pid

    @property
    def ended(self) -> Ended | None:
        """How it ended; ``None`` while it has not."""
        return self._end.result() if self._end.done() else None

    def when_ended(self, call: Callable[[Ended], None]) -> None:
        """Have ``call`` called on the loop after the end, also where that has passed already."""
        self._end.add_done_callback(lambda end: call(end.result()))

    async def wait(self) -> Ended:
        """Wait for the end; by then nothing of the process is left."""
        return await asyncio.shield(self._end)

    async def line(self, seconds: float) -> str:
        """The first line that it prints, without the line's end; ``InvokeError`` where none comes in that time.

        The time is the machine's, as the process is. What it prints after that line is thrown away. For processes
        started with ``stdout="line"`` only.
        """
        try:
            async with asyncio.timeout(seconds):
                said = await asyncio.shield(self._said)
        except TimeoutError:
            raise InvokeError(f"process {self.pid} printed nothing within {seconds:g} s\n{self.evidence()}") from None
        if not said.endswith(b"\n"):
            raise InvokeError(f"process {self.pid} printed no whole line\n{self.evidence()}")
        return said.decode(errors="replace").rstrip("\r\n")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the whole group; nothing happens after the end."""
        if self._end.done():
            return
        if self._spawned.fork is not None:  # who reaps it knows whether the pid is still its own
            forks, name = self._spawned.fork
            forks.send(name, number)
        else:  # the pid is ours until it is reaped, which this loop does
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    async def stop(self, grace: float) -> Ended:
        """Ask the group to end, kill it after ``grace`` seconds, and return when it is gone; cancelled, kill it now."""
        self.send(signal.SIGTERM)
        late = self._loop.call_later(grace, self.send, signal.SIGKILL)
        try:
            return await self.wait()
        except asyncio.CancelledError:
            self.send(signal.SIGKILL)
            raise
        finally:
            late.cancel()

    def resident(self) -> int:
        """Bytes of memory that the process holds now; 0 after its end, and where ``/proc`` does not tell."""
        if self._end.done():
            return 0
        try:
            statm = os.open(f"/proc/{self.pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return 0
        try:
            fields = os.pread(statm, 256, 0).split()
        except ProcessLookupError:  # it has ended between the two
            return 0
        finally:
            os.close(statm)
        return int(fields[1]) * PAGE

    def evidence(self) -> str:
        """The end of what it has written on its error stream so far."""
        if self._end.done():
            return self._end.result().evidence
        return self._last_words().decode(errors="replace").strip()

    def shorten(self) -> None:
        """Cut the file of its error stream to the last words where it has grown beyond 4 MB."""
        if not self._end.done() and os.fstat(self._words).st_size > MOST_WORDS:
            last = self._last_words()
            os.ftruncate(self._words, 0)
            os.write(self._words, last)

    def _last_words(self) -> bytes:
        return os.pread(self._words, EVIDENCE, max(0, os.fstat(self._words).st_size - EVIDENCE))

    def _feed(self) -> None:
        """Write what the pipe takes; the rest when there is room."""
        try:
            self._unsent = self._unsent[os.write(self._spawned.stdin, self._unsent) :]
        except BlockingIOError:
            pass
        except OSError:  # it does not listen; its end will say why
            self._unsent = b""
        if self._unsent:
            self._loop.add_writer(self._spawned.stdin, self._feed)
        else:
            self._loop.remove_writer(self._spawned.stdin)

    def _hear(self) -> None:
        """Read what there is of its output, up to the first line; then read on and forget, so that it never waits."""
        assert self._spawned.stdout is not None
        try:
            part = os.read(self._spawned.stdout, LONGEST_LINE)
        except BlockingIOError:
            return
        if not part:
            self._loop.remove_reader(self._spawned.stdout)
        if not self._said.done():
            self._heard += part
            line, end, _ = self._heard.partition(b"\n")
            if end or not part or len(line) > LONGEST_LINE:
                self._said.set_result(line + end)

    def _look(self) -> None:
        """The pidfd is readable: take the exit status, and end who is left of the group before its number is free."""
        try:
            if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return
            self.send(signal.SIGKILL)
            code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        except ChildProcessError:  # the host ignores SIGCHLD, or waits for children that it does not know
            self._finish(None)
        else:
            self._finish(code)

    def _await_end(self) -> None:
        """In a thread of its own, where there are no pidfds."""
        try:
            code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        except ChildProcessError:
            code = None
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(self._finish_after_thread, code)

    def _finish_after_thread(self, code: int | None) -> None:
        """The number has been free for a moment, but systems do not give a number again that soon."""
        self.send(signal.SIGKILL)
        self._finish(code)

    def _finish(self, code: int | None) -> None:
        """Let go of everything that was held for the process, and say that it has ended."""
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
        if self._spawned.stdout is not None:
            self._hear()  # the line may have come together with the end
            self._loop.remove_reader(self._spawned.stdout)
        if not self._said.done():
            self._said.set_result(b"")
        self._loop.remove_writer(self._spawned.stdin)
        evidence = self.evidence()
        self._spawned.let_go()
        self._end.set_result(Ended(code, evidence))


def _pidfd(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends; ``None`` where the system has none to give."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None
