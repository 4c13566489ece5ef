"""What a serverless function runs: one worker's life for each event that it is given."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from itertools import count
from typing import Protocol

import uvloop

from cirrus.actors.worker import FULL, Worker, resident
from cirrus.actors.worker_process import age, open_job
from cirrus.clock import SystemClock
from cirrus.cloud.assignments import assignment_from_json

_EVENTS = count()


class Context(Protocol):
    """What the provider tells of the invocation; the limit is in MB."""

    memory_limit_in_mb: int | str

    def get_remaining_time_in_millis(self) -> int:
        """How long it lets the invocation go on."""
        ...


def handler(event: object, context: Context) -> dict[str, object]:
    """Work on the assignment in ``event`` until it is done or the time is nearly up.

    Returns who worked, for how many seconds, the largest resident size of the process in bytes, and why it left:
    ``unwanted`` where another attempt had its place. ``WireError`` for an event that is no assignment. An event that
    has one below ``hello`` only asks whether it is understood.
    """
    match event:
        case {"hello": sample}:
            assignment_from_json(json.dumps(sample))
            return {"reason": "hello"}
        case _:
            pass
    clock = SystemClock()
    began = clock.monotonic()
    given = assignment_from_json(json.dumps(event))
    before = age() if next(_EVENTS) == 0 else 0.0  # the first event's bill begins with the process
    remaining = before + max(context.get_remaining_time_in_millis() / 1000, 0.001)
    memory = min(given.memory, int(context.memory_limit_in_mb))
    limited = replace(given, timeout=min(given.timeout, remaining), memory=memory)
    worker = Worker(limited, clock, open_job, before, FULL)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        goodbye = runner.run(worker.run())
    return {
        "worker": [given.worker.pool, given.worker.slot, given.worker.attempt],
        "seconds": round(clock.monotonic() - began, 3),
        "memory": resident(),
        "reason": "unwanted" if goodbye is None else goodbye.kind,
    }
