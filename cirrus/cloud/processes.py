"""Operating-system processes, watched from any event loop in any thread of their host (POSIX).

Nothing is installed in the host: no signal handler, no child watcher, no thread per process. A process is started in
one thread that ``Processes`` owns, for fork and exec take time, and its end is seen through a pidfd in the loop's own
selector. Where the system has no pidfds, a daemon thread waits for each process instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from cirrus.errors import InvokeError, Throttled

EVIDENCE = 4096
"""How many of the last bytes of a process's error stream are kept."""

LONGEST_LINE = 65_536
MOST_WORDS = 4 * 2**20

CHILD_ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",  # a worker is one core's worth; its neighbours have the others
    "OMP_NUM_THREADS": "1",
    "MALLOC_TRIM_THRESHOLD_": str(64 * 2**20),  # arrays of 128 kB and more come and go with every step:
    "MALLOC_TOP_PAD_": str(16 * 2**20),  # asking the kernel for them each time costs more
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),  # than working on them
}
"""What children get on top of their parent's environment."""

PAGE = os.sysconf("SC_PAGE_SIZE")
SCARCE = (11, 12, 23, 24)  # EAGAIN, ENOMEM, ENFILE, EMFILE: there will be room later

Stdout = Literal["evidence", "line"]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: its exit code, ``-n`` for signal n, ``None`` where the host's own code took it.

    ``evidence`` is the end of what it wrote on its error stream, at most 4 kB.
    """

    code: int | None
    evidence: str


@dataclass(frozen=True, slots=True)
class _Spawned:
    """What the starter thread hands over; ``words`` is the descriptor of the error stream's file."""

    popen: subprocess.Popen[bytes]
    words: int


class Child:
    """A process that was started, and the group of processes that it leads; made by ``Processes.start``.

    All methods belong to the loop that started it.
    """

    def __init__(self, spawned: _Spawned, line: bytes) -> None:
        """Watch the process and write ``line`` to its input, which stays open until its end."""
        self._loop = asyncio.get_running_loop()
        self._popen, self._words = spawned.popen, spawned.words
        self._unsent, self._heard = line, b""
        self._end: asyncio.Future[Ended] = self._loop.create_future()
        self._said: asyncio.Future[bytes] = self._loop.create_future()
        self._pidfd = _pidfd(self.pid)
        if self._pidfd is None:
            threading.Thread(target=self._await_end, name=f"cirrus-wait-{self.pid}", daemon=True).start()
        else:
            self._loop.add_reader(self._pidfd, self._look)
        if self._popen.stdout is not None:
            os.set_blocking(self._popen.stdout.fileno(), False)
            self._loop.add_reader(self._popen.stdout.fileno(), self._hear)
        os.set_blocking(self._stdin, False)
        self._feed()

    @property
    def pid(self) -> int:
        """The process's number, which is its group's as well."""
        return self._popen.pid

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
        if not self._end.done():  # the pid is ours until it is reaped, which this loop does
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

    @property
    def _stdin(self) -> int:
        assert self._popen.stdin is not None
        return self._popen.stdin.fileno()

    def _last_words(self) -> bytes:
        return os.pread(self._words, EVIDENCE, max(0, os.fstat(self._words).st_size - EVIDENCE))

    def _feed(self) -> None:
        """Write what the pipe takes; the rest when there is room."""
        try:
            self._unsent = self._unsent[os.write(self._stdin, self._unsent) :]
        except BlockingIOError:
            pass
        except OSError:  # it does not listen; its end will say why
            self._unsent = b""
        if self._unsent:
            self._loop.add_writer(self._stdin, self._feed)
        else:
            self._loop.remove_writer(self._stdin)

    def _hear(self) -> None:
        """Read what there is of its output, up to the first line; then read on and forget, so that it never waits."""
        assert self._popen.stdout is not None
        try:
            part = os.read(self._popen.stdout.fileno(), LONGEST_LINE)
        except BlockingIOError:
            return
        if not part:
            self._loop.remove_reader(self._popen.stdout.fileno())
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
        if self._popen.stdout is not None:
            self._hear()  # the line may have come together with the end
            self._loop.remove_reader(self._popen.stdout.fileno())
        if not self._said.done():
            self._said.set_result(b"")
        self._loop.remove_writer(self._stdin)
        evidence = self.evidence()
        _let_go(_Spawned(self._popen, self._words))
        self._popen.returncode = code or 0  # Popen need not wait any more
        self._end.set_result(Ended(code, evidence))


class Processes:
    """Starts processes and owns what they share: the thread that starts them.

    It may be made anywhere; ``start`` and ``close`` belong to one running loop.
    """

    def __init__(self) -> None:
        self._starter = ThreadPoolExecutor(1, "cirrus-starter", initializer=self._note_thread)
        self._threads: list[threading.Thread] = []
        self._children: set[Child] = set()
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
        child = Child(spawned, line.encode() + b"\n")
        self._children.add(child)
        child.when_ended(lambda _: self._children.discard(child))
        return child

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
        await self._in_starter(tuple)  # behind what cancelled starts have left to be ended
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

    def _spawn(self, command: tuple[str, ...], stdout: Stdout) -> _Spawned:
        """In the starter thread."""
        with contextlib.ExitStack() as undo:
            words, name = tempfile.mkstemp(prefix="cirrus-")  # without its name nothing is left, whoever dies
            undo.callback(os.close, words)
            Path(name).unlink()
            fcntl.fcntl(words, fcntl.F_SETFL, fcntl.fcntl(words, fcntl.F_GETFL) | os.O_APPEND)
            popen = subprocess.Popen(  # noqa: S603  the command is the caller's own; no shell is involved
                command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if stdout == "line" else words,
                stderr=words,
                env={**os.environ, **CHILD_ENVIRONMENT},
                start_new_session=True,
            )
            undo.pop_all()
        return _Spawned(popen, words)

    def _discard_later(self, starting: Future[_Spawned]) -> None:
        if not starting.cancelled() and starting.exception() is None:
            self._starter.submit(partial(_discard, starting.result()))


def _discard(spawned: _Spawned) -> None:
    """End a process that nobody waits for any more; in the starter thread, for it waits."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(spawned.popen.pid, signal.SIGKILL)
    spawned.popen.wait()
    _let_go(spawned)


def _let_go(spawned: _Spawned) -> None:
    os.close(spawned.words)
    for pipe in (spawned.popen.stdin, spawned.popen.stdout):
        if pipe is not None:
            pipe.close()


def _pidfd(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends; ``None`` where the system has none to give."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None
