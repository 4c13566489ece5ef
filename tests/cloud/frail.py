"""A worker's process that does not always come to work: ``python -m tests.cloud.frail POOL SLOT ATTEMPT``.

Of the training workers, the first in slot 0 hangs before it speaks, and the first in slot 1 ends at once.
"""

from __future__ import annotations

import sys
import time

from cirrus.actors.worker_process import main


def begin(pool: str, slot: str, attempt: str) -> None:
    """Work, or fail to."""
    match pool, slot, attempt:
        case "train", "0", "1":
            sys.stdin.readline()
            time.sleep(600.0)
        case "train", "1", "1":
            raise SystemExit("it cannot start")
        case _:
            main()


if __name__ == "__main__":
    begin(*sys.argv[1:4])
