"""Dask: a server actor and four that call it, several calls under way each, every one in a process of its own."""

from __future__ import annotations

import time
from typing import Any

import distributed

from benchmarks.kernels import Floats, Keys
from benchmarks.peers.actors import Learner, Server
from benchmarks.peers.task import WORKERS, Outcome, Task, metered, tell


def step(server: Any, worker: int, number: int, keys: Keys, gradient: Floats | None) -> Any:
    return server.step(worker, number, keys, gradient)


def wait(answer: Any) -> Any:
    return answer.result()


def run(task: Task, client: Any) -> Outcome:
    first, *others = client.scheduler_info(n_workers=-1)["workers"]
    server = client.submit(Server, actor=True, workers=[first]).result()
    learners = [
        client.submit(Learner, task, worker, step, wait, actor=True, workers=[address]).result()
        for worker, address in enumerate(others)
    ]
    for one in learners:
        one.ready().result()
    begin = time.time()
    with metered() as meter:
        done = [one.learn(server) for one in learners]
        near = task.watch(lambda: server.weights().result(), begin)
        for one in done:
            one.result()
    applied = server.applied().result()
    return Outcome(applied, applied, task.seconds, meter.processor, *near)


if __name__ == "__main__":
    dask: Any = distributed
    with (
        dask.LocalCluster(n_workers=WORKERS + 1, threads_per_worker=1, dashboard_address=None) as cluster,
        dask.Client(cluster) as client,
    ):
        outcome = run(Task.given(), client)
    tell(outcome)
