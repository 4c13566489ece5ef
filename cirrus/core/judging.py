"""Which trials go on: each is measured at some points of its work and held against all that have come as far.

A judgement is never final for those that go on: whenever another trial comes as far, all are judged again that have not
come further meanwhile. So the best of those that came furthest always goes on. Of a trial that has ended what it has
reported stays, but it is not named any more. A loss that is not a number is the worst.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from cirrus.events import TrialOutcome
from cirrus.search import Halving, MedianStop, Pruner

TENTHS = 10


class Judge:
    """Stops the worse ones of the trials of one stage as ``prune`` has it; a trial has ``units`` units of work."""

    def __init__(self, prune: Pruner | None, units: int) -> None:
        self._prune = prune
        self.rungs = rungs(prune, units)
        self._reports: tuple[dict[int, float], ...] = tuple({} for _ in self.rungs)
        self._ended: set[int] = set()

    def reported(self, trial: int, rung: int, loss: float) -> frozenset[int]:
        """A trial has come to ``rungs[rung]`` units with that loss: all trials that are to be stopped now."""
        reports = self._reports[rung]
        reports[trial] = loss
        further = {one for later in self._reports[rung + 1 :] for one in later}
        return frozenset(_worse(self._prune, reports) - further - self._ended)

    def ended(self, trial: int) -> None:
        """A trial is over, for whatever reason."""
        self._ended.add(trial)


def rungs(prune: Pruner | None, units: int) -> tuple[int, ...]:
    """After how many finished units a trial is measured before it goes on, ascending, below ``units``."""
    match prune:
        case Halving():
            found = [units // prune.eta**power for power in range(prune.rungs, 0, -1)]
        case MedianStop():
            first = max(1, math.ceil(prune.warmup * TENTHS - 1e-9))
            found = [units * tenth // TENTHS for tenth in range(first, TENTHS)]
        case _:
            return ()
    return tuple(sorted({max(1, one) for one in found if units > 1}))


def expected(prune: Pruner | None, trials: int) -> float:
    """How much work so many trials are, with that of one that comes to its end as 1; what cannot be foreseen counts.

    The first ``eta - 1`` that come to a rung go on without being judged, half of them for nothing.
    """
    if not isinstance(prune, Halving):
        return float(trials)
    work, done, going = 0.0, 0.0, trials
    for power in range(prune.rungs, 0, -1):
        reached = float(prune.eta) ** -power
        work, done = work + going * (reached - done), reached
        going = min(going, math.ceil(going / prune.eta) + (prune.eta - 1) // 2) if going >= prune.eta else going
    return work + going * (1.0 - done)


def best(outcomes: Mapping[int, tuple[TrialOutcome, float]]) -> int | None:
    """The trial with the smallest loss of those that are done, else of those that were pruned; ``None``: there is none.

    A loss that is not a number is never the best; of equal ones the first trial's is.
    """
    for wanted in ("done", "pruned"):
        found = [
            (loss, trial)
            for trial, (outcome, loss) in outcomes.items()
            if outcome == wanted and not math.isnan(loss)
        ]  # fmt: skip
        if found:
            return min(found)[1]
    return None


def _worse(prune: Pruner | None, reports: Mapping[int, float]) -> set[int]:
    """The trials that do not go on, of all that have come as far."""
    ranked = sorted(reports, key=lambda trial: (*_rank(reports[trial]), trial))
    match prune:
        case Halving(eta) if len(ranked) >= eta:
            return set(ranked[math.ceil(len(ranked) / eta) :])
        case MedianStop(startup=startup) if len(ranked) >= startup:
            middle = _rank(reports[ranked[(len(ranked) - 1) // 2]])
            return {trial for trial in ranked if _rank(reports[trial]) > middle}
        case _:
            return set()


def _rank(loss: float) -> tuple[bool, float]:
    return (True, 0.0) if math.isnan(loss) else (False, loss)
