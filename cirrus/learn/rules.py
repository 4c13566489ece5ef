"""What every optimiser's arithmetic has in common: one shard's rows of one table, and the buffers for its pushes."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from cirrus.learn.memory import zeros
from cirrus.learn.rows import Floats

Local = NDArray[np.intp] | NDArray[np.uint32]
Array = NDArray[np.float32] | NDArray[np.int32]
Shape = tuple[int, ...]


class Scratch:
    """Buffers of the shape of a push, made once and grown with the largest push so far."""

    def __init__(self, count: int, tail: Shape) -> None:
        self._buffers: Floats = np.empty((count, 0, *tail), np.float32)

    def __call__(self, rows: int) -> Floats:
        """All buffers for a push of ``rows`` rows, to be unpacked; they hold whatever the push before left there."""
        count, room, *tail = self._buffers.shape
        if rows > room:
            self._buffers = np.empty((count, 2 * rows, *tail), np.float32)
        return self._buffers[:, :rows]


class Rule(ABC):
    """An optimiser at work on rows of ``shape``: (rows,) for a table of width 1, so that numpy is fastest, else 2-D.

    A rule visits the rows of a push and no others: velocities and moments of other rows rest. Local rows arrive
    checked: strictly ascending and in range. ``clock`` counts the steps of the whole table.
    """

    def __init__(self, shape: Shape, buffers: int) -> None:
        self.shape = shape
        self.clock = 0
        self.scratch = Scratch(buffers, shape[1:])

    @abstractmethod
    def arrays(self) -> dict[str, Array]:
        """Weights and state by name, not copied: all that a snapshot needs."""

    @abstractmethod
    def values(self, local: Local) -> Floats:
        """The weights of those rows as a new array."""

    @abstractmethod
    def step(self, local: Local, gradient: Floats, pulled: Floats | None) -> None:
        """Apply a gradient of the shape of ``values(local)``, damped by what has moved since ``pulled``, if given."""


class Weighted(Rule):
    """A rule that stores its weights as they are; they start at 0."""

    def __init__(self, shape: Shape, buffers: int) -> None:
        super().__init__(shape, buffers)
        self.weights: Floats = zeros(shape, np.float32)

    def values(self, local: Local) -> Floats:
        return self.weights.take(local, axis=0, mode="clip")

    @abstractmethod
    def rates(self, local: Local) -> float | Floats:
        """The learning rate by which penalties act on those rows: a number, or one for each of their weights."""
