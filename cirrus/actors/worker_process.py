"""The process of a worker: reads its assignment as one line of JSON and works until it is done or told to leave."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import uvloop

from cirrus.actors.evaluate_job import EvaluateJob
from cirrus.actors.jobs import Bench, Job
from cirrus.actors.measure_job import MeasureJob
from cirrus.actors.prepare_job import PrepareJob
from cirrus.actors.train_job import TrainJob
from cirrus.actors.worker import Worker
from cirrus.clock import SystemClock
from cirrus.cloud.assignments import assignment_from_json
from cirrus.cloud.base import Assignment

GRACE = 5
"""Seconds that an orphan has to leave; then the system ends it, whatever it is doing."""

BEGAN = 19
"""Where in ``/proc/self/stat``, behind the process's name, stands when it was made, in ticks since the system began."""


async def open_job(bench: Bench, key: str) -> Job:
    """The job for the worker's role."""
    match bench.assignment.role:
        case "prepare":
            return await PrepareJob.open(bench, key)
        case "train":
            return await TrainJob.open(bench, key)
        case "evaluate":
            return await EvaluateJob.open(bench, key)
        case "measure":
            return await MeasureJob.open(bench, key)


async def serve(assignment: Assignment) -> None:
    """Work until the end; SIGTERM, and the end of standard input, are orders to leave."""
    worker = Worker(assignment, SystemClock(), open_job, age())
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, worker.leave, "drained", "the process was told to end")
    # The parent keeps our input open as long as it lives: its end means that we are orphans.
    os.set_blocking(sys.stdin.fileno(), False)
    loop.add_reader(sys.stdin.fileno(), _parent_spoke, worker)
    await worker.run()


def age() -> float:
    """Seconds since the system made this process, which its provider counts; 0 where the system does not tell.

    The interpreter's start and the imports take a part of them, which may be more than the margin for leaving in time.
    """
    try:
        fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    began = int(fields[BEGAN]) / os.sysconf("SC_CLK_TCK")
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - began)


def _parent_spoke(worker: Worker) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        signal.alarm(GRACE)  # who would have ended it after its grace is gone
        worker.leave("drained", "the process that started it is gone")


def main() -> None:
    """Run the process."""
    assignment = assignment_from_json(sys.stdin.readline())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(assignment))


if __name__ == "__main__":
    main()
