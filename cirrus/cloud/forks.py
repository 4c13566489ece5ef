"""The line to a process that forks workers, which takes milliseconds where a new interpreter takes half a second."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable

ROOM = "-" * 256
"""An argument that means nothing: the words by which a fork is shown in the list of processes take its place."""

LONGEST = 65_536
EVIDENCE = 1024
PATIENCE = 60
"""Seconds for the server to import the module, and to fork."""


class Forks:
    """A fork server for one module, which is imported before the first fork (Linux).

    ``fork`` is called in one thread, where it may wait; all else belongs to the loop. ``environment`` is that of all
    forks. Raises ``OSError`` where the server cannot be started, or has ended.
    """

    def __init__(self, module: str, environment: dict[str, str], words: int) -> None:
        """Start the server; it writes its errors to the descriptor ``words``, which is its own from now on."""
        self._module = module
        self._words = words
        self._orders, orders = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ends, ends = socket.socketpair()
        with orders, ends:
            command = (sys.executable, "-m", "cirrus.cloud.fork_server", ROOM)
            self._popen = subprocess.Popen(  # noqa: S603  our own program; no shell is involved
                command, stdin=orders.fileno(), stdout=ends.fileno(), stderr=words, env=environment,
                start_new_session=True,
            )  # fmt: skip
        self._orders.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", PATIENCE, 0))
        self._ends.setblocking(False)
        self._orders.send(json.dumps({"module": module}).encode())
        self._number = 0
        self._unread = b""
        self._waiting: dict[int, Callable[[int], None]] = {}
        self._ended: dict[int, int] = {}
        self.gone = False

    @property
    def ends(self) -> int:
        """A descriptor that is readable when ``hear`` has something to hear."""
        return self._ends.fileno()

    def serves(self, module: str) -> bool:
        """Whether it is alive, and forks that module."""
        return module == self._module and not self.gone and self._popen.poll() is None

    def fork(self, arguments: tuple[str, ...], stdin: int, words: int) -> tuple[int, int]:
        """A new process of the module with that input, and output; its number here, and its pid."""
        self._number += 1
        order = json.dumps({"fork": self._number, "arguments": arguments}).encode()
        try:
            socket.send_fds(self._orders, [order], [stdin, words])
            answer = int(self._orders.recv(LONGEST) or 0)
        except ConnectionError:
            answer = 0
        if answer == 0:
            with contextlib.suppress(subprocess.TimeoutExpired):  # it says why in its last moment
                self._popen.wait(PATIENCE)
            said = os.pread(self._words, EVIDENCE, max(0, os.fstat(self._words).st_size - EVIDENCE))
            raise OSError(f"the process that forks workers has ended\n{said.decode(errors='replace')}")
        if answer < 0:
            raise OSError(-answer, os.strerror(-answer))
        return self._number, answer

    def send(self, number: int, sent: signal.Signals) -> None:
        """Send a signal to a fork and all its processes; nothing happens after its end."""
        order = json.dumps({"signal": sent, "to": number}).encode()
        try:
            self._orders.send(order, socket.MSG_DONTWAIT)
        except OSError:
            return  # it has ended, and they with it

    def when_ended(self, number: int, call: Callable[[int], None]) -> None:
        """Have ``call`` called with the exit code, ``-n`` for signal n, when the fork has ended."""
        if number in self._ended:
            call(self._ended.pop(number))
        elif self.gone:
            call(-signal.SIGKILL)
        else:
            self._waiting[number] = call

    def hear(self) -> bool:
        """Hear of ends; False: the server itself has ended, and by that all of them."""
        try:
            part = self._ends.recv(LONGEST)
        except BlockingIOError:
            return True
        except OSError:
            part = b""
        *lines, self._unread = (self._unread + part).split(b"\n")
        for line in lines:
            number, code = map(int, line.split())
            self._end(number, code)
        if not part:
            self.gone = True
            for number in tuple(self._waiting):
                self._end(number, -signal.SIGKILL)
        return bool(part)

    def close(self) -> None:
        """Hang up, and wait for the server, which ends at once where it has no forks any more."""
        self._orders.close()
        self._popen.wait()
        self._ends.close()
        os.close(self._words)

    def _end(self, number: int, code: int) -> None:
        call = self._waiting.pop(number, None)
        if call is None:
            self._ended[number] = code
        else:
            call(code)
