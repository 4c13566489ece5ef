"""A stage that tunes, without the stage: trials that take turns at learning, and a judge that is asked at each rung."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from cirrus.core.judging import Judge
from cirrus.events import TrialOutcome
from cirrus.search import Pruner

Curve = Callable[[int], float]
"""The loss of a trial after so many units."""


@dataclass(slots=True)
class Search:
    """``at_once`` trials at a time, each of ``units`` units, which ``chance`` lets go on one unit after the other."""

    curves: list[Curve]
    units: int
    prune: Pruner | None
    at_once: int = 8
    seed: int = 0
    spent: int = 0
    outcomes: dict[int, tuple[TrialOutcome, float]] = field(default_factory=dict)

    def run(self) -> Search:
        """Until all have ended."""
        chance = random.Random(self.seed)
        judge = Judge(self.prune, self.units)
        done: dict[int, int] = {}
        waiting = list(reversed(range(len(self.curves))))
        while waiting or done:
            while waiting and len(done) < self.at_once:
                done[waiting.pop()] = 0
            trial = chance.choice(sorted(done))
            done[trial] += 1
            self.spent += 1
            ended: dict[int, TrialOutcome] = {}
            if done[trial] == self.units:
                ended[trial] = "done"
            elif done[trial] in judge.rungs:
                rung = judge.rungs.index(done[trial])
                stopped = judge.reported(trial, rung, self.curves[trial](done[trial]))
                assert stopped <= done.keys(), "only those that go on are stopped"
                ended |= dict.fromkeys(stopped, "pruned")
            for one, outcome in ended.items():
                self.outcomes[one] = outcome, self.curves[one](done.pop(one))
                judge.ended(one)
        return self

    @property
    def share(self) -> float:
        """Of the units that all trials would have had without a judge."""
        return self.spent / (self.units * len(self.curves))


def curve(chance: random.Random) -> Curve:
    """A loss that falls from about 0.7 towards some end, at some pace, and may cross others."""
    end, start, pace = chance.uniform(0.44, 0.6), chance.uniform(0.65, 0.75), chance.uniform(0.1, 1.0)
    return lambda units: end + (start - end) * math.exp(-pace * units**0.5)


def ordered(chance: random.Random) -> Curve:
    """One of those that do not cross."""
    offset = chance.uniform(0.0, 0.5)
    return lambda units: offset + 1.0 / (1 + units)
