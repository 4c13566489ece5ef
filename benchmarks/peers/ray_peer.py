"""Ray: a server actor and four that call it, several calls under way each."""

from __future__ import annotations

import time
from typing import Any

import ray

from benchmarks.kernels import Floats, Keys
from benchmarks.peers.actors import Learner, Server
from benchmarks.peers.task import WORKERS, Outcome, Task, metered, tell


def step(server: Any, worker: int, number: int, keys: Keys, gradient: Floats | None) -> Any:
    return server.step.remote(worker, number, keys, gradient)


def wait(answer: Any) -> Any:
    return ray.get(answer)


def run(task: Task) -> Outcome:
    server = ray.remote(Server).remote()
    learner = ray.remote(Learner)
    learners = [learner.remote(task, worker, step, wait) for worker in range(WORKERS)]
    ray.get([server.applied.remote(), *[one.ready.remote() for one in learners]])
    begin = time.time()
    with metered() as meter:
        done = [one.learn.remote(server) for one in learners]
        near = task.watch(lambda: ray.get(server.weights.remote()), begin)
        ray.get(done)
    applied = ray.get(server.applied.remote())
    return Outcome(applied, applied, task.seconds, meter.processor, *near)


if __name__ == "__main__":
    ray.init(num_cpus=WORKERS + 1, include_dashboard=False, log_to_driver=False)
    try:
        outcome = run(Task.given())
    finally:
        ray.shutdown()
    tell(outcome)
