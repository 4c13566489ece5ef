"""What a search tries: domains of fields, how trials are drawn from them, and which ones are stopped early.

All of these are frozen values; who draws is ``cirrus.proposals``, who judges ``cirrus.core.judging``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from cirrus import checks
from cirrus.errors import PipelineError
from cirrus.events import Setting
from cirrus.models import ModelSpec
from cirrus.optimizers import FTRL, SGD, Adagrad, Adam, Momentum, Nesterov, Optimizer

Option = Setting | Optimizer | ModelSpec
"""What a field may be set to."""

Settings = Mapping[str, Option]
"""What one trial sets: values by the paths of their fields."""

MOST_OPTIONS = 1_000
MOST_LISTED = 100
"""Of the whole numbers that a grid takes one by one."""


@dataclass(frozen=True, slots=True)
class When:
    """Holds where the field ``path`` is set to one of ``values``."""

    path: str
    values: tuple[Option, ...]

    def __post_init__(self) -> None:
        checks.text("when.path", self.path)
        _check_options("when.values", self.values)

    def holds(self, settings: Settings) -> bool:
        """Whether these settings are of that kind."""
        return self.path in settings and settings[self.path] in self.values


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain(ABC):
    """What one field is searched over; with ``given`` only in trials of that kind, others leave the field as it is."""

    given: When | None = None

    def when(self, path: str, *values: Option) -> Self:
        """The same, only where the field ``path`` of the space is set to one of ``values``."""
        return replace(self, given=When(path, values))

    @abstractmethod
    def at(self, chance: float) -> Option:
        """The value at ``chance``, from 0 to below 1; where that is uniform, so is what comes out."""

    @abstractmethod
    def edges(self) -> tuple[Option, ...]:
        """All options, or the two ends."""

    def listed(self) -> tuple[Option, ...] | None:
        """All values one by one; ``None`` where there are too many."""
        return None


@dataclass(frozen=True, slots=True)
class Choice(Domain):
    """One of several options, each as likely as the others."""

    options: tuple[Option, ...]

    def __post_init__(self) -> None:
        _check_options("choice.options", self.options)

    def at(self, chance: float) -> Option:
        return self.options[int(chance * len(self.options))]

    def edges(self) -> tuple[Option, ...]:
        return self.options

    def listed(self) -> tuple[Option, ...]:
        return self.options


@dataclass(frozen=True, slots=True)
class Uniform(Domain):
    """A number from ``low`` to ``high``."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_ends("uniform", self.low, self.high, -1e300, 1e300)
        _make_floats(self)

    def at(self, chance: float) -> float:
        return _between(self.low + chance * (self.high - self.low), self.low, self.high)

    def edges(self) -> tuple[float, float]:
        return self.low, self.high


@dataclass(frozen=True, slots=True)
class LogUniform(Domain):
    """A number from ``low`` to ``high``, both above 0, whose logarithm is uniform."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_ends("log_uniform", self.low, self.high, 1e-300, 1e300)
        _make_floats(self)

    def at(self, chance: float) -> float:
        low, high = math.log(self.low), math.log(self.high)
        return _between(math.exp(low + chance * (high - low)), self.low, self.high)

    def edges(self) -> tuple[float, float]:
        return self.low, self.high


@dataclass(frozen=True, slots=True)
class Integers(Domain):
    """A whole number from ``low`` to ``high``, both included; with ``log`` small ones are as likely as large ones."""

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        checks.one_of("integers.log", self.log, (True, False))
        checks.integer("integers.low", self.low, 1 if self.log else -(2**53), 2**53)
        checks.integer("integers.high", self.high, self.low, 2**53)

    def at(self, chance: float) -> int:
        low, high = self.low, self.high
        if self.log:
            start, end = math.log(low - 0.5), math.log(high + 0.5)
            return min(max(round(math.exp(start + chance * (end - start))), low), high)
        return min(low + int(chance * (high - low + 1)), high)

    def edges(self) -> tuple[int, ...]:
        return (self.low, self.high) if self.low < self.high else (self.low,)

    def listed(self) -> tuple[int, ...] | None:
        return tuple(range(self.low, self.high + 1)) if self.high - self.low < MOST_LISTED else None


def choice(*options: Option) -> Choice:
    """Try one of ``options``: numbers, texts, true and false, or whole optimizers and models."""
    return Choice(options)


def uniform(low: float, high: float) -> Uniform:
    """Try numbers from ``low`` to ``high``."""
    return Uniform(low, high)


def log_uniform(low: float, high: float) -> LogUniform:
    """Try numbers from ``low`` to ``high``, both above 0, each order of magnitude as often as another."""
    return LogUniform(low, high)


def integers(low: int, high: int, *, log: bool = False) -> Integers:
    """Try whole numbers from ``low`` to ``high``, both included; with ``log`` each magnitude as often as another."""
    return Integers(low, high, log)


@dataclass(frozen=True, slots=True)
class Random:
    """Trials are drawn at random by the stage's seed; a trial depends on its number alone, not on what others did."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Every combination of options, once; ``integers`` of at most 100 values are taken one by one."""


@dataclass(frozen=True, slots=True)
class Halving:
    """Asynchronous successive halving (Li et al., 2020): of all that have come as far, the best 1 in ``eta`` go on.

    A trial is measured ``rungs`` times, after ``1/eta`` of its work, ``1/eta**2``, and so on, and judged again whenever
    another comes as far, so that one that was let through early is stopped later.
    """

    eta: int = 3
    rungs: int = 2

    def __post_init__(self) -> None:
        checks.integer("halving.eta", self.eta, 2, 100)
        checks.integer("halving.rungs", self.rungs, 1, 10)


@dataclass(frozen=True, slots=True)
class MedianStop:
    """Stop a trial whose loss is above the median of all that have come as far, about every tenth of its work.

    ``warmup`` is the share of its work before which no trial is judged, ``startup`` how many must have come as far.
    """

    warmup: float = 0.2
    startup: int = 4

    def __post_init__(self) -> None:
        checks.within("median_stop.warmup", self.warmup, 0.0, 0.9)
        checks.integer("median_stop.startup", self.startup, 2, 10_000)


Pruner = Halving | MedianStop


def _check_options(name: str, options: object) -> None:
    allowed = f"1 to {MOST_OPTIONS} finite numbers, texts, true or false, optimizers or models"
    if not isinstance(options, tuple) or not 1 <= len(options) <= MOST_OPTIONS:
        raise PipelineError(name, options, allowed)
    kinds = float | int | str | bool | SGD | Momentum | Nesterov | Adagrad | Adam | FTRL | ModelSpec
    for one in options:
        most = 2**63 - 1 if isinstance(one, int) else checks.MOST
        if not isinstance(one, kinds) or (isinstance(one, int | float) and not -most <= one <= most):
            raise PipelineError(name, one, allowed)
    if any(one in options[:number] for number, one in enumerate(options)):
        raise PipelineError(name, options, "each option once")


def _check_ends(name: str, low: float, high: float, least: float, most: float) -> None:
    checks.within(f"{name}.low", low, least, most)
    checks.within(f"{name}.high", high, low, most)


def _make_floats(domain: Uniform | LogUniform) -> None:
    for name in ("low", "high"):
        object.__setattr__(domain, name, float(getattr(domain, name)))


def _between(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
