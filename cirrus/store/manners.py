"""Threads that have time: they give way to the event loop of their process, and to other processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

Begin = Callable[[], None]
"""What a thread does first."""

STEPS = 10
"""How far the priority goes down: a tenth of the processor is left where others want all of it.

That is enough to end a snapshot in time, and for who holds Python's lock not to keep the loop waiting for long.
"""


def give_way() -> None:
    """Lower the calling thread's priority, for good; only Linux has one for each thread, elsewhere nothing happens."""
    if sys.platform == "linux":
        os.nice(STEPS)


def keep_up() -> None:
    """Leave the calling thread as urgent as the thread that made it."""
