"""What a run should do, as one frozen value: data, stages, budget. Nothing happens when it is made.

Everything that can be wrong in it is a ``PipelineError`` at construction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import ClassVar

from cirrus import checks
from cirrus.changes import changed
from cirrus.errors import PipelineError
from cirrus.models import LogisticRegression, ModelSpec
from cirrus.optimizers import EXACT_L1, FTRL, SGD, Adagrad, Adam, Momentum, Nesterov, Optimizer
from cirrus.optuna_samplers import OptunaSampler
from cirrus.search import Choice, Domain, Grid, Halving, MedianStop, Pruner, Random, Settings
from cirrus.sources import LibsvmSource, Source
from cirrus.space import Space
from cirrus.steps import Every, Hash, Step
from cirrus.until import Condition, Epochs

MOST_WORKERS = 10_000
MOST_TRIALS = 100_000
MOST_TRIED = 500
"""Settings of a space that are tried out when it is made."""

SHARED = ("name", "workers", "shards")
"""Fields that are not a trial's own."""

Sampler = Random | Grid | OptunaSampler


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare:
    """Turn the rows of the source into blocks of sparse vectors, and set test rows aside.

    ``test`` is a fraction of the rows (chosen by ``seed``), ``every(5, at=4)``, or another source such as an official
    test set. ``block`` is the number of rows of a block, the piece that a worker leases.
    """

    steps: tuple[Step, ...] = ()
    test: float | Every | Source = 0.1
    seed: int = 0
    workers: int = 2
    block: int = 4096
    memory: int = 600
    name: str = "prepare"

    def __post_init__(self) -> None:
        checks.stage("prepare.name", self.name)
        checks.instance("prepare.steps", self.steps, tuple, "a tuple of steps")
        for step in self.steps:
            checks.instance("prepare.steps", step, Step, "MinMax, Standard, Bucket or Hash")  # type: ignore[arg-type]
        if any(isinstance(step, Hash) for step in self.steps[:-1]):
            raise PipelineError("prepare.steps", self.steps, "Hash once, as the last step")
        if not isinstance(self.test, Every | Source):
            checks.within("prepare.test", self.test, 0.0, 0.999)
        checks.integer("prepare.seed", self.seed, 0, 2**63 - 1)
        checks.integer("prepare.workers", self.workers, 0, MOST_WORKERS)
        checks.integer("prepare.block", self.block, 16, 1_000_000)
        checks.integer("prepare.memory", self.memory, 128, 10_240)


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """Learn with the settings of the best trial of the ``Tune`` stage before; what is set here holds instead of its.

    It is written ``Train.best(workers=50)``. All fields are those of ``Train``.
    """

    minibatch: int | None = None
    until: Condition | None = None
    workers: int | None = None
    shards: int | None = None
    seed: int | None = None
    depth: int | None = None
    staleness: int | None = None
    evaluate: float | None = None
    snapshot: float | None = None
    memory: int | None = None
    timeout: float | None = None
    name: str = "train"

    def __post_init__(self) -> None:
        checks.stage("train.name", self.name)
        self.resolved(Train(), {})

    def resolved(self, train: Train, settings: Settings) -> Train:
        """What is learnt, where ``train`` was tuned and those ``settings`` won."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        mine = {name: value for name, value in values.items() if value is not None}
        theirs = {path: value for path, value in settings.items() if path.partition(".")[0] not in mine}
        return changed("train.best", train, {**theirs, **mine})


@dataclass(frozen=True, slots=True, kw_only=True)
class Train:
    """Learn a model by asynchronous stochastic gradient descent on parameter-server shards.

    ``minibatch`` is in rows. ``until`` ends the stage. ``depth`` is how many steps one worker keeps under way at the
    same time; where it is not given, ``in_flight`` says how many. ``staleness`` is how many blocks a worker may be
    ahead of the slowest open one. ``evaluate`` is the number of seconds between two evaluations on the test rows,
    ``snapshot`` that between two snapshots of the shards.
    ``memory`` (MB) and ``timeout`` (seconds) are limits of a worker.
    """

    best: ClassVar = Best

    model: ModelSpec = field(default_factory=LogisticRegression, kw_only=False)
    optimizer: Optimizer = field(default_factory=Adagrad)
    minibatch: int = 100
    until: Condition = field(default_factory=lambda: Epochs(1))
    workers: int = 2
    shards: int = 1
    seed: int = 0
    depth: int | None = None
    staleness: int = 64
    evaluate: float = 1.0
    snapshot: float = 10.0
    memory: int = 600
    timeout: float = 900.0
    name: str = "train"

    def __post_init__(self) -> None:
        checks.stage("train.name", self.name)
        checks.instance("train.model", self.model, ModelSpec, "a model such as LogisticRegression()")
        kinds = SGD | Momentum | Nesterov | Adagrad | Adam | FTRL
        checks.instance("train.optimizer", self.optimizer, kinds, "an optimizer such as Adagrad()")  # type: ignore[arg-type]
        if getattr(self.model, "l1", 0.0) and not isinstance(self.optimizer, EXACT_L1):
            raise PipelineError("train.optimizer", self.optimizer, "SGD, Adagrad or FTRL where model.l1 is above 0")
        checks.integer("train.minibatch", self.minibatch, 1, 1_000_000)
        checks.instance("train.until", self.until, Condition, "a condition such as epochs(10) | loss_below(0.46)")
        checks.integer("train.workers", self.workers, 0, MOST_WORKERS)
        checks.integer("train.shards", self.shards, 1, 64)
        checks.integer("train.seed", self.seed, 0, 2**63 - 1)
        if self.depth is not None:
            checks.integer("train.depth", self.depth, 1, 64)
        checks.integer("train.staleness", self.staleness, 1, 1_000_000)
        checks.positive("train.evaluate", self.evaluate)
        checks.positive("train.snapshot", self.snapshot)
        checks.integer("train.memory", self.memory, 128, 10_240)
        checks.within("train.timeout", self.timeout, 1.0, 86_400.0)

    @property
    def in_flight(self) -> int:
        """Steps that each worker keeps under way: ``depth``, or from 2 to 8, so that all together have about 64.

        More of them make up for the way to the shards, and their gradients are of older weights.
        """
        return self.depth if self.depth is not None else max(2, min(8, 64 // max(1, self.workers)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tune:
    """Try settings of a training stage, many at once, and find the best by the loss on the test rows.

    ``space`` says what each field of ``train`` is searched over, by its path, such as ``optimizer.rate``. ``trials`` is
    the most that are tried, ``at_once`` how many go on at the same time; ``workers`` (those of ``train`` where it is
    None) are those of the whole stage, shared out evenly. ``sampler`` proposes the trials, ``prune`` stops the worse
    ones early; ``seed`` decides what is random.
    """

    train: Train = field(kw_only=False)
    space: Mapping[str, Domain]
    trials: int = 16
    at_once: int = 8
    sampler: Sampler = field(default_factory=Random)
    prune: Pruner | None = None
    workers: int = None  # type: ignore[assignment]
    seed: int = 0
    name: str = "tune"

    def __post_init__(self) -> None:
        checks.stage("tune.name", self.name)
        checks.instance("tune.train", self.train, Train, "a Train stage")
        space = Space("tune.space", self.space)
        object.__setattr__(self, "space", space)
        given: int | None = self.workers
        object.__setattr__(self, "workers", self.train.workers if given is None else given)
        checks.integer("tune.trials", self.trials, 1, MOST_TRIALS)
        checks.integer("tune.at_once", self.at_once, 1, 1_000)
        checks.integer("tune.workers", self.workers, 0, MOST_WORKERS)
        checks.integer("tune.seed", self.seed, 0, 2**63 - 1)
        kinds = Random | Grid | OptunaSampler
        checks.instance("tune.sampler", self.sampler, kinds, "Random(), Grid() or optuna_sampler(...)")  # type: ignore[arg-type]
        checks.instance("tune.prune", self.prune, Halving | MedianStop | None, "Halving(), MedianStop() or None")  # type: ignore[arg-type]
        self._check_sampler()
        self._check_prune()
        for path in self.space:
            self._check_path(path)
        for settings in space.samples(MOST_TRIED):
            self._check_settings(settings)

    @property
    def shards(self) -> int:
        """As many as one trial needs, which is where all have their tables."""
        return self.train.shards

    def _check_sampler(self) -> None:
        listing = self.sampler.exhaustive if isinstance(self.sampler, OptunaSampler) else self.sampler == Grid()
        for path, domain in self.space.items():
            if listing and domain.listed() is None:
                allowed = f"another sampler where {path} is {domain}: a grid takes choice(...) and few integers(...)"
                raise PipelineError("tune.sampler", self.sampler, allowed)

    def _check_prune(self) -> None:
        if self.prune is not None and self.train.until.most_epochs() is None:
            allowed = "None, or a bound on the epochs of train.until, such as ... | epochs(10), to measure progress by"
            raise PipelineError("tune.prune", self.prune, allowed)

    def _check_path(self, path: str) -> None:
        whole = path.partition(".")[0]
        if whole in SHARED or (whole == "until" and self.prune is not None):
            allowed = f"another field: all trials share {', '.join(SHARED)}, and until where tune.prune is set"
            raise PipelineError(f"tune.space[{path!r}]", path, allowed)

    def _check_settings(self, settings: Settings) -> None:
        try:
            changed("tune.space", self.train, settings)
        except PipelineError as error:
            path = error.field.removeprefix("train.")
            name = f"tune.space[{path!r}]" if path in settings else error.field
            raise PipelineError(name, error.given, f"{error.allowed}; in a trial of {dict(settings)}") from error
        except (TypeError, ValueError, ArithmeticError, LookupError) as error:  # a model of the user's may raise these
            raise PipelineError("tune.space", dict(settings), f"settings that the stage takes ({error})") from error


Learning = Train | Tune | Best
Stage = Prepare | Train | Tune | Best


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The most that a run may cost; reaching it stops the run with ``BudgetExceeded``. ``None``: no limit.

    ``dollars`` are those of all its drivers, and no worker is asked for who may bring them above that. ``minutes`` are
    counted from the start of each driver.
    """

    dollars: float | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        if self.dollars is not None:
            checks.within("budget.dollars", self.dollars, 0.0, 1e9)
        if self.minutes is not None:
            checks.positive("budget.minutes", self.minutes)

    def over(self, before: Budget) -> Budget:
        """The limits of this budget, and those of the one before where it sets none."""
        return Budget(
            dollars=before.dollars if self.dollars is None else self.dollars,
            minutes=before.minutes if self.minutes is None else self.minutes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """A whole workflow: ``data`` through ``stages`` within ``budget``. ``name`` becomes part of the run's id."""

    name: str
    data: Source
    stages: tuple[Stage, ...]
    budget: Budget = field(default_factory=Budget)

    def __post_init__(self) -> None:
        checks.name("pipeline.name", self.name)
        if len(self.name) > 40:  # a run id adds a date and a number
            raise PipelineError("pipeline.name", self.name, "a name of at most 40 characters")
        checks.instance("pipeline.data", self.data, Source, "a source such as cirrus.criteo(path)")
        checks.instance("pipeline.budget", self.budget, Budget, "Budget(dollars=..., minutes=...)")
        checks.instance("pipeline.stages", self.stages, tuple, "a tuple of stages")
        self._check_stages()
        self._check_columns(self.prepare)
        self._check_losses(self.prepare)

    @property
    def prepare(self) -> Prepare:
        """The first stage."""
        first = self.stages[0]
        if not isinstance(first, Prepare):
            raise PipelineError("pipeline.stages", first, "a Prepare stage first")
        return first

    @property
    def learning(self) -> tuple[Learning, ...]:
        """All stages but the first, in order."""
        return tuple(stage for stage in self.stages if not isinstance(stage, Prepare))

    @property
    def trains(self) -> tuple[Train, ...]:
        """What each of these stages learns as far as it is known before the run, without what is found by tuning."""
        made: list[Train] = []
        tuned = Train()
        for stage in self.learning:
            match stage:
                case Train():
                    made.append(stage)
                case Tune():
                    tuned = stage.train
                    made.append(replace(tuned, name=stage.name, workers=stage.workers))
                case Best():
                    made.append(stage.resolved(tuned, {}))
        return tuple(made)

    @property
    def planned(self) -> tuple[Prepare | Train, ...]:
        """Preparation and these, one for each stage."""
        return self.prepare, *self.trains

    @property
    def models(self) -> tuple[tuple[str, ModelSpec], ...]:
        """Every model that may be learnt, each with its stage's name, those that are searched over included."""
        found: list[tuple[str, ModelSpec]] = [(stage.name, stage.model) for stage in self.trains]
        for stage in self.learning:
            domain = stage.space.get("model") if isinstance(stage, Tune) else None
            options = domain.options if isinstance(domain, Choice) else ()
            found += [(stage.name, one) for one in options if isinstance(one, ModelSpec)]
        return tuple(found)

    def _check_stages(self) -> None:
        if not self.stages:
            raise PipelineError("pipeline.stages", self.stages, "a Prepare stage first, then Train and Tune stages")
        tuned = False
        for position, stage in enumerate(self.stages):
            kinds, words = (Prepare, "Prepare") if position == 0 else (Train | Tune | Best, "Train or Tune")
            checks.instance(f"pipeline.stages[{position}]", stage, kinds, f"a {words} stage here")  # type: ignore[arg-type]
            if isinstance(stage, Best) and not tuned:
                raise PipelineError(f"pipeline.stages[{position}]", stage, "Train.best(...) only after a Tune stage")
            tuned = tuned or isinstance(stage, Tune)
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise PipelineError("pipeline.stages", names, "a name of its own for each stage")

    def _check_columns(self, prepare: Prepare) -> None:
        sources = [self.data, *([prepare.test] if isinstance(prepare.test, Source) else [])]
        if isinstance(prepare.test, Source) and type(prepare.test) is not type(self.data):
            raise PipelineError("prepare.test", prepare.test, f"a {type(self.data).__name__} like the training data")
        if any(isinstance(source, LibsvmSource) for source in sources) and prepare.steps:
            raise PipelineError("prepare.steps", prepare.steps, "no steps: libsvm rows are sparse vectors already")

    def _check_losses(self, prepare: Prepare) -> None:
        if isinstance(prepare.test, Every | Source) or prepare.test > 0:
            return
        for stage, train in zip(self.learning, self.trains, strict=True):
            if isinstance(stage, Tune):
                allowed = "no Tune stage where prepare.test is 0.0: there are no rows to tell the best trial by"
                raise PipelineError("pipeline.stages", stage.name, allowed)
            if train.until.needs_loss():
                allowed = "a condition without loss_below where prepare.test is 0.0: there are no rows to measure it on"
                raise PipelineError(f"{stage.name}.until", train.until, allowed)
