"""The staircase of the Cirrus paper with Lithops as PyWren's successor: functions that share a model as an object.

The variants add to each other: ``synchronous``, one map of four calls an update; ``asynchronous``, one map whose calls
make many updates each; ``prefetched``, with their minibatches read once and kept prepared; ``redis``, with the model in
Redis instead of object storage; ``in-place``, with Redis adding to the model what is pushed, so that nothing is lost.
"""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count, cycle
from typing import Any

import numpy as np
from lithops import FunctionExecutor

from benchmarks.kernels import BIAS, Batch, Floats, Keys, Lines
from benchmarks.peers.redis_server import Server, redis_server
from benchmarks.peers.stores import InPlace, Objects, Store, Values, Whole
from benchmarks.peers.task import MINIBATCH, WORKERS, Outcome, Task, age, metered, tell

CONFIG = {
    "lithops": {"backend": "localhost", "storage": "localhost", "data_cleaner": False},  # it hangs after many maps
    "localhost": {"worker_processes": WORKERS, "runtime": sys.executable},
}
STARTING = 4.0
"""Seconds from a map until all of its calls are ready."""


@dataclass(frozen=True)
class Call:
    """What a call that makes many updates is to do: with which minibatches, from when to when; Redis' port."""

    variant: str
    minibatches: range
    begin: float
    end: float
    port: int


def fetched(store: Store, number: int) -> Batch:
    return Batch(Lines.parse(store.get(f"minibatch-{number}")))


def shared(variant: str, objects: Store, port: int) -> Whole | InPlace:
    """The model as this variant keeps it."""
    if variant == "in-place":
        return InPlace(port)
    return Whole(Values(port) if variant == "redis" else objects)


def gradient(number: int, storage: Any) -> tuple[Keys, Floats]:
    """One of the calls of a synchronous update."""
    store = Objects(storage)
    batch = fetched(store, number)
    return batch.keys, Whole(store).gradient(batch)


def learn(call: Call, storage: Any) -> tuple[int, float]:
    """A call that makes many updates: how many, and seconds of processor time for them."""
    objects = Objects(storage)
    model = shared(call.variant, objects, call.port)
    numbers = [] if call.variant == "asynchronous" else call.minibatches
    kept = {number: fetched(objects, number) for number in numbers}
    time.sleep(max(0.0, call.begin - time.time()))
    before, done = time.process_time(), 0
    for number in cycle(call.minibatches):
        model.learn(kept[number] if kept else fetched(objects, number))
        done += 1
        if time.time() > call.end:
            break
    return done, time.process_time() - before


def synchronous(task: Task, executor: FunctionExecutor, model: Whole) -> Outcome:
    """Each update is the mean of four minibatches' gradients."""
    near: tuple[float | None, float | None] = None, None
    seconds, begin = 0.0, time.time()
    with metered() as meter:
        for update in count():
            mean = np.zeros(BIAS + 1, np.float32)
            numbers = [(update * WORKERS + worker) % task.minibatches for worker in range(WORKERS)]
            for keys, part in executor.get_result(executor.map(gradient, numbers)):
                mean[keys] += part / WORKERS
            changed = np.flatnonzero(mean).astype(np.uint32)
            model.push(changed, mean[changed])
            model.write()
            seconds = time.time() - begin
            if near[0] is None and task.near(model.weights):
                near = seconds, age()
            if seconds > task.seconds:
                break
    updates = model.look()[1]
    return Outcome(updates, updates, seconds, meter.processor, *near, WORKERS * MINIBATCH)


def asynchronous(task: Task, executor: FunctionExecutor, model: Whole | InPlace, server: Server | None) -> Outcome:
    """One map whose calls all update the one model."""
    begin, port = time.time() + STARTING, server.port if server else 0
    calls = [Call(task.variant, task.share(worker), begin, begin + task.seconds, port) for worker in range(WORKERS)]
    futures = executor.map(learn, calls)
    time.sleep(max(0.0, begin - time.time()))
    before = server.processor_time() if server else 0.0
    near = task.watch(lambda: model.look()[0], begin)
    done, processor = zip(*executor.get_result(futures), strict=True)
    serving = server.processor_time() - before if server else 0.0
    return Outcome(sum(done), model.look()[1], task.seconds, sum(processor) + serving, *near)


def run(task: Task) -> Outcome:
    with ExitStack() as stack:
        server = stack.enter_context(redis_server()) if task.variant in {"redis", "in-place"} else None
        executor = stack.enter_context(FunctionExecutor(config=CONFIG, log_level="ERROR"))
        objects = Objects(executor.storage)
        for number in range(task.minibatches):
            objects.put(f"minibatch-{number}", task.minibatch(number).content())
        model = shared(task.variant, objects, server.port if server else 0)
        model.write()
        if isinstance(model, Whole) and task.variant == "synchronous":
            return synchronous(task, executor, model)
        return asynchronous(task, executor, model, server)


if __name__ == "__main__":
    tell(run(Task.given()))
