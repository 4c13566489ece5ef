"""TensorFlow in one process: the same model, its rows in memory, and many steps within one call of a compiled graph.

The gradient is given by hand, sparse and with each feature once, to the operation that TensorFlow has for AdaGrad on a
few rows of a table; that spares it what a tape and an optimizer would add. The variant is the number of threads.
"""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

from benchmarks.kernels import BIAS, INITIAL, RATE
from benchmarks.peers.task import MINIBATCH, Outcome, Task, age, metered, tell

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import tensorflow as tf

UNROLLED = 10
"""Steps without a loop's bookkeeping between them."""

LOOK = 50
"""Steps between two looks at the loss, for the time until it is near enough."""

MANY = 1000
"""Steps of a call where the rate is measured."""


class Learner:
    """The model and its rows, all of which have as many values."""

    def __init__(self, task: Task) -> None:
        lines = task.train
        self._features = tf.constant(lines.indices.astype(np.int32).reshape(len(lines.labels), -1))
        self._labels = tf.constant(lines.labels)
        self._minibatches = task.minibatches
        self._weights = tf.Variable(tf.zeros([BIAS + 1]))
        self._squares = tf.Variable(tf.fill([BIAS + 1], INITIAL))
        self._steps = tf.function(self._learn)
        self._next = 0

    def weights(self) -> Any:
        return self._weights.numpy()

    def reset(self) -> None:
        self._weights.assign(tf.zeros([BIAS + 1]))
        self._squares.assign(tf.fill([BIAS + 1], INITIAL))

    def learn(self, steps: int) -> float:
        """Do so many steps; the seconds that they took."""
        begin = time.perf_counter()
        self._steps(tf.constant(self._next), tf.constant(steps // UNROLLED))
        self._next = (self._next + steps) % self._minibatches
        return time.perf_counter() - begin

    def _learn(self, first: Any, times: Any) -> None:
        for turn in tf.range(times):
            for step in range(UNROLLED):
                self._step((first + turn * UNROLLED + step) % self._minibatches * MINIBATCH)

    def _step(self, at: Any) -> None:
        features = tf.slice(self._features, [at, 0], [MINIBATCH, self._features.shape[1]])
        labels = tf.slice(self._labels, [at], [MINIBATCH])
        keys, places = tf.unique(tf.concat([tf.reshape(features, [-1]), [BIAS]], 0))
        weights = tf.gather(self._weights, keys)
        margins = tf.reduce_sum(tf.reshape(tf.gather(weights, places[:-1]), features.shape), 1) + weights[-1]
        residuals = (tf.sigmoid(margins) - labels) / MINIBATCH
        parts = tf.reshape(tf.broadcast_to(residuals[:, None], features.shape), [-1])
        parts = tf.concat([parts, [tf.reduce_sum(residuals)]], 0)
        tf.raw_ops.ResourceSparseApplyAdagradV2(
            var=self._weights.handle, accum=self._squares.handle, lr=RATE, epsilon=0.0,
            grad=tf.math.unsorted_segment_sum(parts, places, tf.size(keys)), indices=keys,
        )  # fmt: skip


def until_near(task: Task, learner: Learner) -> tuple[float | None, float | None]:
    """``reached``, without the seconds of looking, and ``whole``."""
    passed = 0.0
    while passed < task.seconds:
        passed += learner.learn(LOOK)
        if task.near(learner.weights()):
            return passed, age()
    return None, None


def run(task: Task) -> Outcome:
    learner = Learner(task)
    learner.learn(LOOK)  # which compiles it
    learner.reset()
    near = until_near(task, learner)
    seconds, done = 0.0, 0
    with metered() as meter:
        while seconds < task.seconds:
            seconds += learner.learn(MANY)
            done += MANY
    return Outcome(done, done, seconds, meter.processor, *near)


if __name__ == "__main__":
    given = Task.given()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(int(given.variant))
    tell(run(given))
