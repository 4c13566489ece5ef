"""Samplers of optuna, by name and settings: such a value can be compared, written down and read back."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from cirrus import checks
from cirrus.errors import PipelineError
from cirrus.events import Setting
from cirrus.frozen import Frozen

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

SPACE = "search_space"
"""The argument of optuna's grid that is made from the stage's space."""

MOST_SEED = 2**32 - 1

NEEDS = {"CmaEsSampler": "cmaes", "GPSampler": "torch"}
"""What samplers import only when they first propose something."""


@dataclass(frozen=True, slots=True)
class OptunaSampler:
    """The sampler ``optuna.samplers.<sampler>``, made with ``settings``; needs the extra ``optuna``."""

    sampler: str = "TPESampler"
    settings: Mapping[str, Setting | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checks.text("optuna_sampler.sampler", self.sampler)
        object.__setattr__(self, "settings", Frozen(self.settings))
        for name, value in self.settings.items():
            if not isinstance(value, float | int | str | bool | None):
                allowed = "a number, a text, true, false or None, which can be written down"
                raise PipelineError(f"optuna_sampler.{name}", value, allowed)
        if self.settings.get("seed") is not None:
            checks.integer("optuna_sampler.seed", self.settings["seed"], 0, MOST_SEED)
        self.made(0, {})

    @property
    def grid(self) -> bool:
        """Whether its trials are numbered places of a grid, in an order that only the seed decides."""
        return self.sampler == "GridSampler"

    @property
    def exhaustive(self) -> bool:
        """Whether it goes through all combinations, so that there must be few values of each field."""
        return self.sampler in ("GridSampler", "BruteForceSampler")

    def made(self, seed: int, space: Mapping[str, Sequence[Setting]]) -> BaseSampler:
        """The sampler itself, with that seed unless it has one of its own; a grid goes through ``space``."""
        kind = self._kind()
        arguments = inspect.signature(kind).parameters
        ours: dict[str, Any] = {"seed": seed % (MOST_SEED + 1), SPACE: space}
        try:
            return kind(**{name: value for name, value in ours.items() if name in arguments} | dict(self.settings))
        except (TypeError, ValueError, ImportError) as error:
            allowed = f"what optuna's {self.sampler} takes: {', '.join(arguments)} ({error})"
            raise PipelineError("optuna_sampler", dict(self.settings), allowed) from error

    def _kind(self) -> type[BaseSampler]:
        try:
            samplers = importlib.import_module("optuna.samplers")
        except ImportError as error:
            allowed = "a sampler of optuna where that is installed: pip install 'cirrus-serverless[optuna]'"
            raise PipelineError("optuna_sampler.sampler", self.sampler, allowed) from error
        known = [name for name in samplers.__all__ if name.endswith("Sampler") and name != "BaseSampler"]
        checks.one_of("optuna_sampler.sampler", self.sampler, known)
        more = NEEDS.get(self.sampler, "optuna")
        if find_spec(more) is None:
            raise PipelineError("optuna_sampler.sampler", self.sampler, f"another, or this after pip install {more}")
        kind: type[BaseSampler] = getattr(samplers, self.sampler)
        return kind


def optuna_sampler(sampler: str = "TPESampler", **settings: Setting | None) -> OptunaSampler:
    """Let optuna propose the trials: the name of a class of ``optuna.samplers``, and what it is made with."""
    return OptunaSampler(sampler, settings)
