"""What each trial of a stage that tunes sets: asked for by number, told how it ended, written down and read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from cirrus.changes import changed
from cirrus.events import Setting, TrialOutcome
from cirrus.pipeline import Train, Tune
from cirrus.search import Domain, Grid, Option, Random, Settings
from cirrus.space import Space, chance
from cirrus.store.fields import JSON
from cirrus.wire.codec import Codec

SETTINGS: Codec[Settings] = Codec(Settings, 1 << 20)


class Proposals(Protocol):
    """Who proposes settings. Trials are asked for in the order of their numbers, each once, from 0.

    A driver that takes over recalls the trials that the one before has started, in the same order, tells of those that
    have ended, and asks from there.
    """

    @property
    def most(self) -> int:
        """How many there are, at most."""

    def ask(self, number: int) -> Settings | None:
        """The settings of a trial; ``None``: there are no more."""

    def tell(self, number: int, outcome: TrialOutcome, loss: float) -> None:
        """A trial has ended that way, with that loss; NaN where there is none."""

    def recall(self, number: int, settings: Settings) -> None:
        """A trial was started with those settings by an earlier driver."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """At random: a trial depends on the seed and its number alone."""

    space: Space
    most: int
    seed: int

    def ask(self, number: int) -> Settings | None:
        """The settings drawn for that number."""
        if number >= self.most:
            return None
        return self.space.settings(lambda path, domain: domain.at(chance(self.seed, number, path)))

    def tell(self, number: int, outcome: TrialOutcome, loss: float) -> None:
        """It does not matter."""

    def recall(self, number: int, settings: Settings) -> None:
        """It does not matter."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One after the other from a list."""

    found: tuple[Settings, ...]

    @property
    def most(self) -> int:
        """All of them."""
        return len(self.found)

    def ask(self, number: int) -> Settings | None:
        """The settings at that place."""
        return self.found[number] if number < len(self.found) else None

    def tell(self, number: int, outcome: TrialOutcome, loss: float) -> None:
        """It does not matter."""

    def recall(self, number: int, settings: Settings) -> None:
        """It does not matter."""


def proposals(tune: Tune) -> Proposals:
    """Who proposes the trials of that stage."""
    space = Space("tune.space", tune.space)
    match tune.sampler:
        case Random():
            return Drawn(space, tune.trials, tune.seed)
        case Grid():
            return Listed(tuple(islice(space.combinations(_all), tune.trials)))
        case sampler:
            from cirrus.optuna_study import Study  # noqa: PLC0415  optuna is heavy, and an extra

            return Study(space, tune.trials, sampler, tune.seed)


def settled(train: Train, settings: Settings) -> Train:
    """What a trial with those settings learns."""
    return changed("settings", train, settings)


def said(settings: Settings) -> dict[str, Setting]:
    """The settings as events tell them, whole optimizers and models by what they print as."""
    return {path: value if isinstance(value, float | int | str) else repr(value) for path, value in settings.items()}


def to_plain(settings: Settings) -> dict[str, JSON]:
    """The settings as JSON knows them."""
    plain: dict[str, JSON] = SETTINGS.to_plain(settings)
    return plain


def from_plain(plain: Mapping[str, JSON]) -> Settings:
    """The settings that ``to_plain`` gave; ``WireError``."""
    return SETTINGS.from_plain(dict(plain))


def _all(domain: Domain) -> tuple[Option, ...]:
    return domain.listed() or ()
