"""Which rows a step learns from: a pure function of seed, unit and step, so that any worker can do any step.

Unit ``u`` of a stage over ``n`` blocks is position ``u % n`` of epoch ``u // n``. Each epoch goes through the blocks
in an order of its own, and each unit through its block's rows in an order of its own.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

EASE: Final = 50
"""Steps that must have gone into a model for each that is under way: early ones all say the same, see ``staleness``."""


def under_way(clock: int, workers: int, most: int) -> int:
    """Steps, 1 to ``most``, that each of so many workers keeps under way when ``clock`` of them all are applied."""
    return min(most, 1 + clock // (EASE * max(1, workers)))


def steps_in(rows: int, minibatch: int) -> int:
    """Minibatches that a block of so many rows makes; the last may be smaller."""
    return -(-rows // minibatch)


def block_order(seed: int, epoch: int, blocks: int) -> NDArray[np.int64]:
    """The order of the blocks in an epoch, int64 of shape (blocks,)."""
    return np.random.default_rng((seed, 1, epoch)).permutation(blocks)


def row_order(seed: int, unit: int, rows: int) -> NDArray[np.int64]:
    """The order of a block's rows in a unit, int64 of shape (rows,)."""
    return np.random.default_rng((seed, 2, unit)).permutation(rows)
