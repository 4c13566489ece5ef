"""The process from which workers are forked: it has imported what they import, once for all of them.

Orders come as messages over a socket that is its standard input, each in JSON: first ``{"module"}``, then
``{"fork": n, "arguments"}`` with two descriptors, the new process's input and its output, which is answered by its
pid, or by the number of the error below zero, and ``{"signal", "to": n}``. Ends are told as lines ``n code`` on its
output. When nobody orders any more it waits for its forks, which notice the same by their own input, and ends them
after a while.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

LONGEST = 65_536
PATIENCE = 10.0
"""Seconds for the forks to end by themselves after nobody has orders any more."""

PR_SET_PDEATHSIG = 1
ORDERS = (signal.SIGTERM, signal.SIGINT)


class ForkServer:
    """The forks that are alive, by pid, and the line to whoever orders them."""

    def __init__(self, orders: socket.socket, module: str) -> None:
        self._orders = orders
        self._module = module
        self._numbers: dict[int, int] = {}

    @property
    def forks(self) -> int:
        """How many are alive."""
        return len(self._numbers)

    def hear(self) -> bool:
        """Do what is ordered; False: nobody orders any more."""
        data, files, _, _ = socket.recv_fds(self._orders, LONGEST, 2)
        if not data:
            return False
        match json.loads(data):
            case {"fork": int(number), "arguments": list(arguments)}:
                self._fork(number, arguments, files)
            case {"signal": int(sent), "to": int(number)}:
                self._send(number, sent)
            case order:
                raise ValueError(f"no order: {order!r}")
        return True

    def reap(self) -> None:
        """Tell of those that have ended, and end what they have left before their numbers are free."""
        for pid, number in tuple(self._numbers.items()):
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                _kill(pid, signal.SIGKILL)
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                del self._numbers[pid]
                os.write(1, f"{number} {code}\n".encode())

    def end(self) -> None:
        """Kill all of them."""
        for pid in self._numbers:
            _kill(pid, signal.SIGKILL)

    def _fork(self, number: int, arguments: list[str], files: list[int]) -> None:
        mine = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, ORDERS)  # none is lost before the fork is ready to follow
        try:
            pid = os.fork()
        except OSError as error:
            self._orders.send(str(-(error.errno or errno.EAGAIN)).encode())
            return
        finally:
            if os.getpid() == mine:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, ORDERS)
                for file in files:
                    os.close(file)
        if pid == 0:
            _become(self._module, arguments, files, mine)
        self._numbers[pid] = number
        self._orders.send(str(pid).encode())

    def _send(self, number: int, sent: int) -> None:
        for pid, known in self._numbers.items():
            if known == number:
                _kill(pid, sent)


def _kill(pid: int, sent: int) -> None:
    for kill in (os.killpg, os.kill):  # it may not lead a group yet
        try:
            kill(pid, sent)
        except (ProcessLookupError, PermissionError):
            continue
        return


def _become(module: str, arguments: list[str], files: list[int], parent: int) -> NoReturn:
    """In the fork: be ``python -m module arguments…`` with that input and output, and nothing of the parent's."""
    code = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ORDERS)
        for new, old in enumerate((files[0], files[1], files[1])):
            os.dup2(old, new)
        os.closerange(3, 4096)
        _follow(parent)
        _show([sys.executable, "-m", module, *arguments])
        _run(module, arguments)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001  whatever it is, this process must not go on as its parent
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run(module: str, arguments: list[str]) -> None:
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed()  # else the old global generator would say the same in all of them
    sys.modules.pop(module)  # it is imported already, and begins anew as the program
    sys.argv[1:] = arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _follow(parent: int) -> None:
    """End with the parent, should that be killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _show(words: list[str]) -> None:
    """Show these words in the list of processes, as far as there is room for them."""
    fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    first, behind = int(fields[45]), int(fields[46])
    shown = b"\0".join(os.fsencode(word) for word in words)[: behind - first - 1]
    ctypes.memset(first, 0, behind - first)
    ctypes.memmove(first, shown, len(shown))


def main() -> None:
    """Fork on demand until the input ends."""
    with socket.socket(fileno=0) as orders:
        words: dict[str, Any] = json.loads(orders.recv(LONGEST))
        _show([sys.executable, "-m", "cirrus.cloud.fork_server"])
        importlib.import_module(words["module"])
        gc.collect()
        gc.freeze()
        woken, wake = os.pipe()
        os.set_blocking(woken, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        server = ForkServer(orders, words["module"])
        try:
            _serve(server, orders, woken)
        finally:
            server.end()


def _serve(server: ForkServer, orders: socket.socket, woken: int) -> None:
    watched: list[Any] = [orders, woken]
    while orders in watched or server.forks:
        ready, _, _ = select.select(watched, [], [], None if orders in watched else PATIENCE)
        if not ready:
            return
        if woken in ready:
            os.read(woken, LONGEST)
            server.reap()
        if orders in ready and not server.hear():
            watched.remove(orders)


if __name__ == "__main__":
    main()
