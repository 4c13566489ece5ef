"""How often something may fail, how long to wait before it is tried again, and how many may be tried at once.

Time and chance are arguments; nothing here waits or draws.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from cirrus import checks

GOLDEN = 0.6180339887498949


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses that grow by ``factor`` from ``first`` to ``most`` seconds."""

    first: float
    factor: float
    most: float

    def __post_init__(self) -> None:
        checks.positive("backoff.first", self.first)
        checks.within("backoff.factor", self.factor, 1.0, 1e6)
        checks.within("backoff.most", self.most, self.first, 1e9)

    def delay(self, failures: int, chance: float) -> float:
        """Seconds to wait after so many failures in a row (from 1); ``chance`` in [0, 1) takes away up to a half.

        The share that chance takes keeps those that failed together from trying again together.
        """
        whole = self.first
        for _ in range(min(failures, 64) - 1):
            whole = min(self.most, whole * self.factor)
        return whole * (1.0 - chance / 2.0)


def spread(number: int, phase: float) -> float:
    """A chance in [0, 1) for the ``number``-th of many: successive numbers fall far apart (golden-ratio sequence)."""
    return (number * GOLDEN + phase) % 1.0


class RestartBudget:
    """At most ``most`` restarts within any ``window`` seconds; ``most`` may be changed at any time."""

    def __init__(self, most: int, window: float) -> None:
        checks.integer("restarts.most", most, 0, 10**9)
        checks.positive("restarts.window", window)
        self.most = most
        self.window = window
        self._spent: deque[float] = deque()

    def spend(self, at: float) -> bool:
        """Record a restart at ``at``; whether it was still within the budget."""
        while self._spent and self._spent[0] <= at - self.window:
            self._spent.popleft()
        self._spent.append(at)
        return len(self._spent) <= self.most


class Alike:
    """Counts failures that are alike and follow each other within ``forget`` seconds."""

    def __init__(self, forget: float) -> None:
        self._forget = forget
        self._text = ""
        self._count = 0
        self._at = 0.0

    def add(self, at: float, text: str) -> int:
        """Record a failure and return how many in a row, this one included, had the same text."""
        fresh = at - self._at <= self._forget
        self._count = self._count + 1 if fresh and text == self._text else 1
        self._text = text
        self._at = at
        return self._count


class Throttle:
    """How many requests may be under way: one more a round while all goes well, half as many when it was too fast.

    All refusals within ``round_seconds`` answer the same burst and halve it once. (Additive increase, multiplicative
    decrease: Chiu and Jain, 1989.)
    """

    def __init__(self, most: int, round_seconds: float) -> None:
        checks.integer("throttle.most", most, 1, 10**6)
        self._most = float(most)
        self._round = round_seconds
        self._until = float("-inf")
        self._limit = self._most
        self.refusals = 0

    @property
    def limit(self) -> int:
        """How many requests may be under way now, at least 1."""
        return int(self._limit)

    def refused(self, at: float) -> int:
        """The provider asked for a slower rate; returns how many rounds in a row it did."""
        if at >= self._until:
            self._until = at + self._round
            self._limit = max(1.0, self._limit / 2.0)
            self.refusals += 1
        return self.refusals

    def went_well(self) -> None:
        """A request was served."""
        self.refusals = 0
        self._limit = min(self._most, self._limit + 1.0 / self._limit)
