"""What a stage will take, from what two small trials of it took: a part that is always there, and one that grows."""

from __future__ import annotations

from dataclasses import dataclass

from cirrus.errors import PipelineError
from cirrus.until import Condition, Reached

MOST_SAMPLES = 10**15


@dataclass(frozen=True, slots=True)
class Line:
    """``fixed`` and so much more for each unit of work; neither is below 0."""

    fixed: float
    slope: float

    @classmethod
    def through(cls, small: tuple[float, float], large: tuple[float, float]) -> Line:
        """The line through two points, work and value; where noise would have a part below 0, the larger one counts."""
        (x1, y1), (x2, y2) = small, large
        if x2 <= x1:
            return cls(y2, 0.0)
        slope = max(0.0, (y2 - y1) / (x2 - x1))
        if y2 < slope * x2:
            return cls(0.0, y2 / x2)
        return cls(y2 - slope * x2, slope)

    def at(self, work: float) -> float:
        """The value for so much work."""
        return self.fixed + self.slope * work


@dataclass(frozen=True, slots=True)
class Trial:
    """What a stage of a trial did: ``work`` (bytes or samples), its dollars and seconds."""

    work: float
    dollars: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """Lines of a stage's dollars and seconds over its work, for ``workers`` workers."""

    dollars: Line
    seconds: Line
    workers: int

    @classmethod
    def of(cls, small: Trial, large: Trial, workers: int) -> Forecast:
        """From two trials with so many workers."""
        return cls(
            Line.through((small.work, small.dollars), (large.work, large.dollars)),
            Line.through((small.work, small.seconds), (large.work, large.seconds)),
            workers,
        )

    def scaled(self, workers: int) -> Forecast:
        """With another number of workers: each costs its start, and all together the work."""
        ratio = workers / self.workers
        return Forecast(
            Line(self.dollars.fixed * ratio, self.dollars.slope),
            Line(self.seconds.fixed, self.seconds.slope / ratio),
            workers,
        )

    def begun(self, times: float) -> Forecast:
        """With workers that begin so many times, one after the other in each place."""
        dollars, seconds = self.dollars, self.seconds
        return Forecast(
            Line(dollars.fixed * times, dollars.slope), Line(seconds.fixed * times, seconds.slope), self.workers
        )


def samples_until(field: str, until: Condition, rows: float, seconds: Line) -> float:
    """Samples after which the condition is met, if no loss ever meets it; ``PipelineError`` where it never is.

    ``rows`` are those to train on; ``seconds`` says how long it takes to learn from so many samples.
    """

    def met(samples: int) -> bool:
        return until.met(Reached(int(samples // max(rows, 1.0)), samples, seconds.at(samples)))

    low, high = 0, 1
    while not met(high):
        low, high = high, high * 2
        if high > MOST_SAMPLES:
            allowed = "a condition with an end that can be foreseen, such as loss_below(0.46) | epochs(10)"
            raise PipelineError(field, until, allowed)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if met(middle) else (middle, high)
    return float(high)
