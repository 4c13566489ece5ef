"""The process from which sandboxes are forked, and what becomes of a fork. Nothing but the standard library in here.

It runs as a script of its own, without site packages: what can be imported is what its first line of input says, as in
a function. It has imported what functions take long to import before the first fork, and what AWS's runtime client
imports; that itself is imported after it, for it reads the environment. It ends with its input, and all sandboxes with
it.

Commands come as lines of JSON over a socket: ``{"start": id, "environment", "log", "most"}`` and ``{"kill": id}``.
Answers: ``{"started": id, "pid"}`` and ``{"ended": id, "code"}``.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import sys
from typing import Any, NoReturn

READ = 65_536
OF_CLIENT = ("decimal", "simplejson")
"""What takes AWS's runtime client long to import, and does not read the environment."""


class Forks:
    """The sandboxes that are alive, and the line to whoever orders them."""

    def __init__(self, config: dict[str, Any], connection: socket.socket) -> None:
        self._config = config
        self._connection = connection
        self._names: dict[int, str] = {}  # by pid
        self._unread = b""

    def hear(self) -> bool:
        """Do what is ordered; False: nobody orders any more."""
        part = self._connection.recv(READ)
        *lines, self._unread = (self._unread + part).split(b"\n")
        for line in lines:
            self._obey(json.loads(line))
        return bool(part)

    def reap(self) -> None:
        """Tell of those that have ended, and end what they have left."""
        for pid in tuple(self._names):
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                self._kill(pid)
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                self._say({"ended": self._names.pop(pid), "code": code})

    def end(self) -> None:
        """Kill all of them."""
        for pid in self._names:
            self._kill(pid)

    def _obey(self, order: dict[str, Any]) -> None:
        if "kill" in order:
            for pid, name in self._names.items():
                if name == order["kill"]:
                    self._kill(pid)
            return
        pid = os.fork()
        if pid == 0:
            become(self._config, order)
        with contextlib.suppress(PermissionError, ProcessLookupError):  # the child does it, too: whoever comes first
            os.setpgid(pid, pid)
        self._names[pid] = order["start"]
        self._say({"started": order["start"], "pid": pid})

    def _kill(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)

    def _say(self, message: dict[str, Any]) -> None:
        self._connection.sendall(json.dumps(message).encode() + b"\n")


def become(config: dict[str, Any], order: dict[str, Any]) -> NoReturn:
    """In the fork: be a sandbox, with that environment, memory and log, and nothing of the parent's."""
    code = 1
    try:
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for old, new in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(old, new)
        os.closerange(3, 4096)
        resource.setrlimit(resource.RLIMIT_DATA, (order["most"], order["most"]))
        os.chdir(config["path"][0])
        if not config["preload"]:
            words = [sys.executable, "-I", "-S", __file__, json.dumps(config["path"])]
            os.execve(words[0], words, order["environment"])  # noqa: S606  the same program, from its beginning
        os.environ.clear()
        os.environ.update(order["environment"])
        code = run()
    except BaseException:  # noqa: BLE001  whatever it is, this process must not go on as its parent
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def run() -> int:
    """Serve invocations with AWS's runtime client, and return the exit code."""
    client = importlib.import_module("awslambdaric.__main__")
    try:
        client.main(["awslambdaric", os.environ["_HANDLER"]])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def serve() -> None:
    """Fork on demand until the input ends."""
    config = json.loads(sys.stdin.readline())
    sys.path[:] = [config["path"][0], *_standard(), *config["path"][1:]]
    for module in (*config["preload"], *OF_CLIENT):
        with contextlib.suppress(Exception):  # the sandbox will say what is wrong with it
            importlib.import_module(module)
    gc.collect()
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(config["socket"])
        listening.listen(1)
        print("ready", flush=True)  # noqa: T201  the first line is what the other side waits for
        connection, _ = listening.accept()
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    forks = Forks(config, connection)
    try:
        while True:
            ready, _, _ = select.select([sys.stdin.fileno(), connection, woken], [], [])
            if woken in ready:
                os.read(woken, READ)
            forks.reap()
            if sys.stdin.fileno() in ready and not os.read(sys.stdin.fileno(), READ):
                break
            if connection in ready and not forks.hear():
                break
    finally:
        forks.end()


def _standard() -> list[str]:
    """The folders of the standard library, as this interpreter has them without site packages."""
    return [one for one in sys.path if one != os.path.dirname(os.path.abspath(__file__))]  # noqa: PTH100, PTH120


def main() -> None:
    """Be the server, or, with folders as an argument, a sandbox that begins from nothing."""
    if len(sys.argv) > 1:
        path = json.loads(sys.argv[1])
        sys.path[:] = [path[0], *_standard(), *path[1:]]
        sys.exit(run())
    serve()


if __name__ == "__main__":
    main()
