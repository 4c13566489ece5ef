"""FTRL-proximal on one shard's rows: the weights are not stored, they follow from what is."""

from __future__ import annotations

import numpy as np

from cirrus import optimizers
from cirrus.learn.base import TableSpec
from cirrus.learn.memory import zeros
from cirrus.learn.rows import Floats
from cirrus.learn.rules import Array, Local, Rule, Shape
from cirrus.learn.staleness import damping


class FtrlRule(Rule):
    """FTRL-proximal (McMahan et al., *Ad Click Prediction*, 2013): weights in closed form from ``z`` and ``n``.

    Penalties are per step, so after ``t`` steps ``w = -soft(z, t*l1) / ((beta + sqrt(n)) / rate + t*l2)``: the same
    objective as under the other rules (McMahan, *Follow-the-Regularized-Leader and Mirror Descent*, 2011).
    """

    def __init__(self, table: TableSpec, spec: optimizers.FTRL, shape: Shape, free: int | None) -> None:
        super().__init__(shape, buffers=4)
        self.table = table
        self.spec = spec
        self.free = free if table.l1 or table.l2 else None
        self.z: Floats = zeros(shape, np.float32)
        self.n: Floats = zeros(shape, np.float32)

    def arrays(self) -> dict[str, Array]:
        return {"z": self.z, "n": self.n}

    def values(self, local: Local) -> Floats:
        curve = np.sqrt(self.n.take(local, axis=0, mode="clip"))
        return self._weights(local, self.z.take(local, axis=0, mode="clip"), curve)

    def step(self, local: Local, gradient: Floats, pulled: Floats | None) -> None:
        z, n, root, change = self.scratch(len(local))
        self.z.take(local, axis=0, out=z, mode="clip")
        self.n.take(local, axis=0, out=n, mode="clip")
        np.sqrt(n, out=root)
        weights = self._weights(local, z, root.copy())
        np.multiply(gradient, gradient, out=change)
        np.add(n, change, out=n)
        self.n[local] = n
        np.sqrt(n, out=n)

        scale = 1.0
        if pulled is not None:
            np.add(n, self.spec.beta, out=change)
            np.divide(gradient, change, out=change, where=change > 0.0)
            np.multiply(change, self.spec.rate, out=change)
            scale = damping(gradient, change, pulled - weights)
        np.subtract(n, root, out=n)
        np.multiply(weights, n, out=weights)
        np.divide(weights, self.spec.rate, out=weights)
        np.subtract(z, weights, out=z)
        np.multiply(gradient, scale, out=change)
        np.add(z, change, out=z)
        self.z[local] = z

    def _weights(self, local: Local, z: Floats, curve: Floats) -> Floats:
        """The weights that follow from ``z`` and the roots of ``n``, which are used up; ``z`` is kept."""
        l1, l2 = self.clock * self.table.l1, self.clock * self.table.l2
        np.add(curve, self.spec.beta, out=curve)
        np.divide(curve, self.spec.rate, out=curve)
        at = self._free_at(local)
        kept = None if at is None else _ratio(z[at : at + 1], curve[at : at + 1])
        if l2:
            np.add(curve, l2, out=curve)
        weights = _ratio(np.copysign(np.maximum(np.abs(z) - np.float32(l1), 0.0), z) if l1 else z, curve)
        if kept is not None:
            weights[at] = kept[0]
        return weights

    def _free_at(self, local: Local) -> int | None:
        """Where among those rows the one without penalties is."""
        if self.free is None:
            return None
        at = int(local.searchsorted(self.free))
        return at if at < len(local) and local[at] == self.free else None


def _ratio(z: Floats, curve: Floats) -> Floats:
    """``-z / curve`` as a new array, 0 where nothing has been learnt (the curve is 0 there if beta is)."""
    ratio = np.zeros_like(z)
    np.divide(z, curve, out=ratio, where=curve > 0.0)
    return np.negative(ratio, out=ratio)
