"""When a training stage has done enough: conditions that join with ``|`` (either) and ``&`` (both).

A condition is a frozen value; ``met`` looks at how far the stage is and answers. Nothing here waits or measures.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from cirrus import checks


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a training stage is: whole epochs, samples learnt from, seconds since it began, newest test loss."""

    epochs: int = 0
    samples: int = 0
    seconds: float = 0.0
    loss: float | None = None


class Condition(ABC):
    """Something that is met, or not yet, by what a stage has reached."""

    __slots__ = ()

    @abstractmethod
    def met(self, reached: Reached) -> bool:
        """Whether the stage may end here."""

    def most_epochs(self) -> int | None:
        """The number of epochs after which this condition is surely met; ``None`` where nothing bounds it."""
        return None

    def needs_loss(self) -> bool:
        """Whether a test loss may decide, so that there must be test rows."""
        return False

    def __or__(self, other: Condition) -> Condition:
        """Either of the two."""
        return Either(self, other)

    def __and__(self, other: Condition) -> Condition:
        """Both of the two."""
        return Both(self, other)


@dataclass(frozen=True, slots=True)
class Epochs(Condition):
    """Every training row was learnt from this many times."""

    count: int

    def __post_init__(self) -> None:
        checks.integer("until.epochs", self.count, 1, 1_000_000)

    def met(self, reached: Reached) -> bool:
        """Whole epochs decide."""
        return reached.epochs >= self.count

    def most_epochs(self) -> int | None:
        """Exactly that many."""
        return self.count


@dataclass(frozen=True, slots=True)
class LossBelow(Condition):
    """The newest test loss is below this; a loss that is not a number never is."""

    value: float

    def __post_init__(self) -> None:
        checks.within("until.loss_below", self.value, -1e300, 1e300)

    def met(self, reached: Reached) -> bool:
        """A reported loss decides."""
        return reached.loss is not None and reached.loss < self.value

    def needs_loss(self) -> bool:
        """It does."""
        return True


@dataclass(frozen=True, slots=True)
class Samples(Condition):
    """At least so many samples were learnt from, epochs counted anew each time."""

    count: int

    def __post_init__(self) -> None:
        checks.integer("until.samples", self.count, 1, 10**15)

    def met(self, reached: Reached) -> bool:
        """Samples learnt from decide."""
        return reached.samples >= self.count


@dataclass(frozen=True, slots=True)
class Minutes(Condition):
    """The stage has run this long."""

    count: float

    def __post_init__(self) -> None:
        checks.positive("until.minutes", self.count)

    def met(self, reached: Reached) -> bool:
        """Seconds since the stage began decide."""
        return reached.seconds >= 60.0 * self.count


@dataclass(frozen=True, slots=True)
class Either(Condition):
    """One of two conditions is enough."""

    first: Condition
    second: Condition

    def __post_init__(self) -> None:
        for part in (self.first, self.second):
            checks.instance("until", part, Condition, "conditions joined with | and &")

    def met(self, reached: Reached) -> bool:
        """The first or the second."""
        return self.first.met(reached) or self.second.met(reached)

    def most_epochs(self) -> int | None:
        """The smaller bound of the two."""
        bounds = [one for one in (self.first.most_epochs(), self.second.most_epochs()) if one is not None]
        return min(bounds, default=None)

    def needs_loss(self) -> bool:
        """Where one of the two does."""
        return self.first.needs_loss() or self.second.needs_loss()


@dataclass(frozen=True, slots=True)
class Both(Condition):
    """Two conditions must hold at the same time."""

    first: Condition
    second: Condition

    def __post_init__(self) -> None:
        for part in (self.first, self.second):
            checks.instance("until", part, Condition, "conditions joined with | and &")

    def met(self, reached: Reached) -> bool:
        """The first and the second."""
        return self.first.met(reached) and self.second.met(reached)

    def most_epochs(self) -> int | None:
        """The larger bound, where both have one."""
        first, second = self.first.most_epochs(), self.second.most_epochs()
        return None if first is None or second is None else max(first, second)

    def needs_loss(self) -> bool:
        """Where one of the two does."""
        return self.first.needs_loss() or self.second.needs_loss()


def epochs(count: int) -> Epochs:
    """Stop after ``count`` whole epochs."""
    return Epochs(count)


def loss_below(value: float) -> LossBelow:
    """Stop as soon as the test loss is below ``value``."""
    return LossBelow(value)


def samples(count: int) -> Samples:
    """Stop after ``count`` samples."""
    return Samples(count)


def minutes(count: float) -> Minutes:
    """Stop ``count`` minutes after the stage began."""
    return Minutes(count)
