"""Trials that optuna proposes, by asking and telling; what it has learnt is rebuilt from the trials there were."""

from __future__ import annotations

import math

import optuna
from optuna.pruners import NopPruner
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import Trial, TrialState

from cirrus.events import Setting, TrialOutcome
from cirrus.optuna_samplers import OptunaSampler
from cirrus.search import Choice, Domain, Integers, LogUniform, Option, Settings, Uniform
from cirrus.space import Space


class Study:
    """At most ``trials`` proposals of a sampler, which depend on what had been told when each was asked for.

    The sampler of a driver that takes over begins where the one before began: what it proposes again is passed over.
    """

    def __init__(self, space: Space, trials: int, sampler: OptunaSampler, seed: int) -> None:
        self._space = space
        self._grid = sampler.grid
        self.most = min(trials, _combinations(space, sampler)) if sampler.exhaustive else trials
        self._study = _Study(sampler.made(seed, _listed(space)))
        self._open: dict[int, Trial] = {}
        self._recalled: list[Settings] = []

    def ask(self, number: int) -> Settings | None:
        """The settings that the sampler proposes next; ``None``: it is at its end, or these are enough."""
        if number >= self.most or self._study.over:
            return None
        settings = self._begin(number)
        for _ in self._recalled:
            if settings not in self._recalled:
                break
            self._study.tell(self._open[number], state=TrialState.FAIL)
            settings = self._begin(number)
        return settings

    def recall(self, number: int, settings: Settings) -> None:
        """Let a trial begin with those settings; a grid has the same for that number."""
        if not self._grid:
            self._study.enqueue_trial({path: _label(value) for path, value in settings.items()})
        self._recalled.append(self._begin(number))

    def tell(self, number: int, outcome: TrialOutcome, loss: float) -> None:
        """What is no number, or has diverged, is worse than whatever was pruned; one that was killed tells nothing."""
        trial = self._open.pop(number)
        match outcome:
            case "killed":
                self._study.tell(trial, state=TrialState.FAIL)
            case "done" if not math.isnan(loss):
                self._study.tell(trial, loss)
            case _:
                if outcome == "pruned" and not math.isnan(loss):
                    trial.report(loss, 0)
                self._study.tell(trial, state=TrialState.PRUNED)

    def _begin(self, number: int) -> Settings:
        trial = self._open[number] = self._study.ask()
        return self._space.settings(lambda path, domain: _suggested(trial, path, domain))


class _Study(optuna.Study):
    """A study in memory that its sampler may stop, which optuna allows only in a loop of its own."""

    def __init__(self, sampler: optuna.samplers.BaseSampler) -> None:
        self.over = False
        before = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            storage = InMemoryStorage()
            storage.create_new_study([StudyDirection.MINIMIZE], "trials")
            super().__init__("trials", storage, sampler, NopPruner())
        finally:
            optuna.logging.set_verbosity(before)

    def stop(self) -> None:
        """There is nothing left to try."""
        self.over = True


def _suggested(trial: Trial, path: str, domain: Domain) -> Option:
    match domain:
        case Choice():
            options: dict[Setting | None, Option] = {_label(one): one for one in domain.options}
            return options[trial.suggest_categorical(path, list(options))]
        case Uniform() | LogUniform():
            return trial.suggest_float(path, domain.low, domain.high, log=isinstance(domain, LogUniform))
        case Integers():
            return trial.suggest_int(path, domain.low, domain.high, log=domain.log)
        case _:
            raise TypeError(f"no form of {domain!r} for optuna")


def _label(value: Option) -> Setting:
    return value if isinstance(value, float | int | str) else repr(value)


def _listed(space: Space) -> dict[str, list[Setting]]:
    return {path: [_label(one) for one in domain.listed() or ()] for path, domain in space.items()}


def _combinations(space: Space, sampler: OptunaSampler) -> int:
    """How many there are: a grid takes fields for independent of each other."""
    if sampler.grid:
        return math.prod(len(domain.listed() or ()) for domain in space.values())
    return sum(1 for _ in space.combinations(lambda domain: domain.listed() or ()))
