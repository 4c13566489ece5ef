"""The run that a simulation takes through its faults: small, and different for every seed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from cirrus.learn.schedule import block_order
from cirrus.testing.sim.workers import Piece
from cirrus.testing.sim.world import Chance

RUN = "run"
PREPARE, TRAIN = "prepare", "train"
LINE = 1
BASE = LINE << 32
ROWS = 5
"""Rows of a piece of the input."""


@dataclass(frozen=True)
class Spec:
    """``pieces`` of input to prepare, then blocks of so many ``steps`` (and rows) to learn from ``epochs`` times.

    ``dollars`` is the budget (infinite: none), ``price`` that of a worker's second; ``pace`` is a step's mean seconds.
    """

    seed: int
    pieces: int
    steps: tuple[int, ...]
    epochs: int
    workers: int
    shards: int
    depth: int
    staleness: int
    snapshot: float
    timeout: float
    pace: float
    dollars: float
    price: float
    local: bool

    @classmethod
    def drawn(cls, seed: int, chance: Chance) -> Spec:
        """A run by chance."""
        return cls(
            seed=seed,
            pieces=chance.whole(1, 5),
            steps=tuple(chance.whole(1, 5) for _ in range(chance.whole(2, 6))),
            epochs=chance.whole(1, 4),
            workers=chance.whole(1, 4),
            shards=chance.whole(1, 3),
            depth=chance.whole(1, 3),
            staleness=chance.pick((1, 2, 64)),
            snapshot=chance.between(2.0, 30.0),
            timeout=chance.pick((40.0, 900.0, 900.0)),
            pace=chance.between(0.2, 1.5),
            dollars=chance.between(10.0, 300.0) if chance.hits(0.15) else float("inf"),
            price=1.0,
            local=chance.hits(0.5),
        )

    @property
    def units(self) -> int:
        """Units of all epochs."""
        return len(self.steps) * self.epochs

    @property
    def minibatches(self) -> int:
        """Minibatches of an epoch."""
        return sum(self.steps)

    @cached_property
    def _pieces(self) -> tuple[Piece, ...]:
        firsts = [sum(self.steps[:block]) for block in range(len(self.steps))]
        blocks = [Piece(first, steps, steps) for first, steps in zip(firsts, self.steps, strict=True)]
        orders = [block_order(self.seed, epoch, len(blocks)).tolist() for epoch in range(self.epochs)]
        return tuple(blocks[block] for order in orders for block in order)

    def piece(self, unit: int) -> Piece:
        """What a unit consists of; beyond the last one there is something, too, for whoever asks."""
        return self._pieces[unit] if unit < self.units else Piece(0, 1, 1)

    def rows(self, unit: int) -> range:
        """The rows of a unit of preparation: what is scanned first is encoded later."""
        piece = unit % self.pieces
        return range(piece * ROWS, (piece + 1) * ROWS)
