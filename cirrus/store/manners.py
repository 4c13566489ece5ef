"""Threads that have time: they give way to the event loop of their process, and to other processes."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

Begin = Callable[[], None]
"""What a thread does first."""

STEPS = 10
"""How far the priority goes down: a tenth of a processor is left where somebody else wants all of it.

That is enough to end a snapshot in time, and for who holds Python's lock not to keep the loop waiting for long.
"""


class Manners:
    """Threads that do what is urgent until they are told to give way, for good.

    Only Linux has a priority for each thread; elsewhere nothing happens.
    """

    def __init__(self) -> None:
        self._threads: list[int] = []
        self._giving = False

    def begin(self) -> None:
        """What each of the threads does first; they end with the process."""
        self._threads.append(threading.get_native_id())
        if self._giving:
            self._lower()

    def give_way(self) -> None:
        """Lower the priority of all these threads, those that are still to come included."""
        self._giving = True
        self._lower()

    def _lower(self) -> None:
        if sys.platform == "linux":
            nice = os.getpriority(os.PRIO_PROCESS, os.getpid()) + STEPS  # the first thread's, which has the loop
            for thread in tuple(self._threads):
                os.setpriority(os.PRIO_PROCESS, thread, nice)


def keep_up() -> None:
    """Leave the calling thread as urgent as the thread that made it."""
