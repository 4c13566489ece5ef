"""How long workers have lived, as the process table shows it: what is reported is held against that."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

LOOK = 0.05
"""Seconds between two looks at the process table."""

TICKS = os.sysconf("SC_CLK_TCK")
STATE, BEGAN = 0, 19
"""Where in ``/proc/[pid]/stat``, behind the process's name, stand its state, and when it was made, in ticks."""


@dataclass(slots=True)
class Life:
    """A process as it was seen: when it surely lived already, and when it still did, in seconds since the start."""

    began: float
    seen: float


class Census:
    """Lives of processes that bear ``mark`` in their environment and ``word`` among the words of their command."""

    def __init__(self, mark: str, word: str) -> None:
        self._mark = mark.encode()
        self._word = word.encode()
        self._lives: dict[tuple[str, int], Life] = {}
        self._others: set[tuple[str, int]] = set()

    @property
    def seconds(self) -> float:
        """For how long they have lived altogether, and not less."""
        return sum(one.seen - one.began for one in self._lives.values())

    def __len__(self) -> int:
        """How many there were."""
        return len(self._lives)

    def look(self) -> None:
        """See who is there now."""
        for pid in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208  names are all that is wanted
            with contextlib.suppress(OSError):
                self._meet(pid)

    def _meet(self, pid: str) -> None:
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        fields = Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()
        who = pid, int(fields[BEGAN])
        if who in self._others or fields[STATE] in "ZX":
            return
        if who not in self._lives:
            environment = Path("/proc", pid, "environ").read_bytes()
            if self._mark not in environment:
                if environment:  # otherwise it is being made
                    self._others.add(who)
                return
            if self._word not in Path("/proc", pid, "cmdline").read_bytes().split(b"\0"):
                return  # it may become one: a process is its parent's copy at first
            self._lives[who] = Life((who[1] + 1) / TICKS, 0.0)
        life = self._lives[who]
        life.seen = max(life.began, now)


@contextmanager
def census(mark: str, word: str) -> Iterator[Census]:
    """Look at the process table again and again, on a thread, until the end of the block."""
    found, over = Census(mark, word), threading.Event()
    looking = threading.Thread(target=partial(_look, found, over), name="census")
    looking.start()
    try:
        yield found
    finally:
        over.set()
        looking.join()


def _look(found: Census, over: threading.Event) -> None:
    while not over.wait(LOOK):
        found.look()
