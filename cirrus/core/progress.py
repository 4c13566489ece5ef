"""How far a training stage is, from its finished units, for the condition that ends it."""

from __future__ import annotations

from cirrus import checks
from cirrus.until import Reached


class Progress:
    """Counts a stage's samples and whole epochs; unit ``u`` belongs to epoch ``u // blocks``.

    ``blocks`` is the number of units of an epoch, ``began`` the time at which the stage began. Each unit is finished
    once, and again only after it was reopened.
    """

    def __init__(self, blocks: int, began: float) -> None:
        checks.integer("progress.blocks", blocks, 1, 10**9)
        self._blocks = blocks
        self._began = began
        self._samples = 0
        self._begun = 0  # epochs of which a unit was finished
        self._missing: dict[int, int] = {}  # how many units are missing of each of them that is not whole
        self._loss: float | None = None

    def finished(self, unit: int, rows: int) -> None:
        """All ``rows`` of a unit were learnt from."""
        epoch = unit // self._blocks
        for one in range(self._begun, epoch + 1):
            self._missing[one] = self._blocks
        self._begun = max(self._begun, epoch + 1)
        self._missing[epoch] -= 1
        if not self._missing[epoch]:
            del self._missing[epoch]
        self._samples += rows

    def reopened(self, unit: int, rows: int) -> None:
        """What was learnt from a finished unit was lost."""
        epoch = unit // self._blocks
        self._missing[epoch] = self._missing.get(epoch, 0) + 1
        self._samples -= rows

    def evaluated(self, loss: float) -> None:
        """The model was tested."""
        self._loss = loss

    def reached(self, at: float) -> Reached:
        """How far the stage is at ``at``."""
        epochs = min(self._missing, default=self._begun)
        return Reached(epochs, self._samples, max(at - self._began, 0.0), self._loss)
