"""Sparse logistic regression under AdaGrad in numpy and scipy, for the designs that cirrus is measured against.

Nothing of cirrus is imported here, so that it runs where numpy and scipy alone are installed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

BITS = 18
BIAS = 1 << BITS
"""The weight after those of the features."""

RATE = 0.1
INITIAL = 0.01
"""Of AdaGrad's sums of squares."""

Floats = NDArray[np.float32]
Keys = NDArray[np.uint32]


@dataclass(frozen=True)
class Lines:
    """Labelled rows whose values are all 1: labels, where each row's features begin, and the features' numbers."""

    labels: Floats
    indptr: NDArray[np.int64]
    indices: Keys

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """What ``content`` gave."""
        count, values = np.frombuffer(content, np.int64, 2).tolist()
        labels = np.frombuffer(content, np.float32, count, 16)
        indptr = np.frombuffer(content, np.int64, count + 1, 16 + 4 * count)
        return cls(labels, indptr, np.frombuffer(content, np.uint32, values, 24 + 12 * count))

    def content(self) -> bytes:
        """As whole numbers of 64 bits, rows and values, then labels, row beginnings and feature numbers."""
        sizes = np.array([len(self.labels), len(self.indices)], np.int64)
        return b"".join(array.tobytes() for array in (sizes, self.labels, self.indptr, self.indices))

    def slice(self, start: int, stop: int) -> Lines:
        begin, end = int(self.indptr[start]), int(self.indptr[stop])
        return Lines(self.labels[start:stop], self.indptr[start : stop + 1] - begin, self.indices[begin:end])

    def loss(self, weights: Floats) -> float:
        """The mean log loss of a model, ``BIAS + 1`` weights, on these rows."""
        ones = np.ones(len(self.indices), np.float32)
        margins = csr_array((ones, self.indices, self.indptr), (len(self.labels), BIAS)) @ weights[:-1] + weights[-1]
        return float(np.logaddexp(0, np.where(self.labels > 0, -margins, margins)).mean())


class Batch:
    """A minibatch with its unique features found: ``keys``, sorted, are those and the bias."""

    def __init__(self, lines: Lines) -> None:
        keys, places = np.unique(lines.indices, return_inverse=True)
        self.keys: Keys = np.append(keys, np.uint32(BIAS))
        self._labels = lines.labels
        ones = np.ones(len(places), np.float32)
        self._matrix = csr_array((ones, places, lines.indptr), (len(lines.labels), len(keys)))

    def gradient(self, weights: Floats) -> Floats:
        """That of the mean loss for the weights of ``keys``."""
        margins = self._matrix @ weights[:-1] + weights[-1]
        residuals = (1 / (1 + np.exp(-margins)) - self._labels) / len(self._labels)
        return np.append(self._matrix.T @ residuals, residuals.sum()).astype(np.float32)


class Model:
    """All weights, and AdaGrad's sums of squares."""

    def __init__(self) -> None:
        self.weights = np.zeros(BIAS + 1, np.float32)
        self.squares = np.full(BIAS + 1, INITIAL, np.float32)

    def push(self, keys: Keys, gradient: Floats) -> None:
        """Apply the gradient of unique keys."""
        self.squares[keys] += gradient * gradient
        self.weights[keys] -= RATE * gradient / np.sqrt(self.squares[keys])
