"""A worker's process that does as a provider of functions does: it hands its assignment to the handler as an event.

It takes the place of ``cirrus.actors.worker_process``, and adds what the handler returns as a line to the file
that it is given.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from lambda_handler.handler import handler


class Context:
    """An invocation that may take 60 seconds."""

    memory_limit_in_mb: int | str = "600"

    def __init__(self) -> None:
        self._until = time.monotonic() + 60.0

    def get_remaining_time_in_millis(self) -> int:
        return int(1000 * (self._until - time.monotonic()))


if __name__ == "__main__":
    with Path(sys.argv[1]).open("a", encoding="utf-8") as told:
        told.write(json.dumps(handler(json.loads(sys.stdin.readline()), Context())) + "\n")
