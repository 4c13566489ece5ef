"""A parameter server as one actor, with one fused call a step: what Ray and Dask have in common."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from itertools import count, cycle
from typing import Any

from benchmarks.kernels import Batch, Floats, Keys, Model
from benchmarks.peers.task import Task

DEPTH = 4
"""Steps that a worker has under way at a time."""

Step = Callable[[Any, int, int, Keys, Floats | None], Any]


class Server:
    """Weights under AdaGrad, and the keys of pulls whose gradients are still to come."""

    def __init__(self) -> None:
        self._model = Model()
        self._pulled: dict[tuple[int, int], Keys] = {}
        self._applied = 0

    def step(self, worker: int, number: int, keys: Keys, gradient: Floats | None) -> Floats:
        """Push the gradient of the step ``DEPTH`` before, if there is one, and pull the weights of this one."""
        if gradient is not None:
            self._model.push(self._pulled.pop((worker, number - DEPTH)), gradient)
            self._applied += 1
        self._pulled[worker, number] = keys
        weights: Floats = self._model.weights[keys]
        return weights

    def weights(self) -> Floats:
        return self._model.weights

    def applied(self) -> int:
        return self._applied


class Learner:
    """A worker: ``step`` calls a server's ``step`` without waiting, and ``wait`` waits for what that answers."""

    def __init__(self, task: Task, worker: int, step: Step, wait: Callable[[Any], Floats]) -> None:
        self._task = task
        self._worker = worker
        self._step = step
        self._wait = wait
        self._rows = cycle([task.minibatch(number) for number in task.share(worker)])

    def ready(self) -> None:
        """Answers when the worker can begin."""

    def learn(self, server: Any) -> None:
        """Do steps for as long as the task says."""
        begun: deque[tuple[Batch, Any]] = deque()
        gradient: Floats | None = None
        end = time.time() + self._task.seconds
        for number in count():
            if time.time() > end:
                break
            batch = Batch(next(self._rows))
            begun.append((batch, self._step(server, self._worker, number, batch.keys, gradient)))
            if len(begun) == DEPTH:
                batch, answer = begun.popleft()
                gradient = batch.gradient(self._wait(answer))
