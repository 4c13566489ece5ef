"""What may still be spent: nobody is asked for who may bring what is billed above it."""

from __future__ import annotations

from collections.abc import Collection

from cirrus.core.cost import Meter
from cirrus.core.ids import EVALUATOR, trial_of

PATIENCE = 5.0
"""Seconds for which those who are about to end may keep another from being paid, before the run is taken for stuck."""


class Allowance:
    """Keeps a meter at or below ``dollars``, whatever those come to who are billed; ``None``: no limit."""

    def __init__(self, meter: Meter, dollars: float | None) -> None:
        self._meter = meter
        self._dollars = dollars
        self._waiting: dict[str, tuple[float, float]] = {}  # by pool: what one more comes to at most, and since when

    def grants(self, at: float, pool: str, most: float) -> bool:
        """Whether one more worker of the pool, who comes to ``most`` dollars at most, can be paid for."""
        if self._dollars is None or self._meter.cost(at).most_dollars + most <= self._dollars:
            self._waiting.pop(pool, None)
            return True
        _, since = self._waiting.get(pool, (most, at))
        self._waiting[pool] = most, since
        return False

    def closed(self, pool: str) -> None:
        """The pool wants nobody any more."""
        self._waiting.pop(pool, None)

    def is_stuck(self, at: float, peopled: Collection[str]) -> bool:
        """Whether a pool has nobody, and nobody can be paid for; ``peopled`` are the pools in which somebody is.

        The worker that evaluates a stage is not missed while others work: what they do not use may be enough for it.
        Nor is a trial while others go on.
        """
        if self._dollars is None or not self._waiting:
            return False
        cost = self._meter.cost(at)
        for pool, (most, since) in self._waiting.items():
            if pool in peopled or (pool.endswith(EVALUATOR) and peopled):
                continue
            if trial_of(pool) is not None and any(trial_of(one) is not None for one in peopled):
                continue
            if cost.dollars + most > self._dollars:
                return True
            if cost.most_dollars + most > self._dollars and at - since >= PATIENCE:
                return True
        return False
