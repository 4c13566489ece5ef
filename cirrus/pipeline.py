"""What a run should do, as one frozen value: data, stages, budget. Nothing happens when it is made.

Everything that can be wrong in it is a ``PipelineError`` at construction.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cirrus import checks
from cirrus.errors import PipelineError
from cirrus.models import LogisticRegression, ModelSpec
from cirrus.optimizers import EXACT_L1, FTRL, SGD, Adagrad, Adam, Momentum, Nesterov, Optimizer
from cirrus.sources import LibsvmSource, Source
from cirrus.steps import Every, Hash, Step
from cirrus.until import Condition, Epochs

MOST_WORKERS = 10_000


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
        checks.name("prepare.name", self.name)
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
class Train:
    """Learn a model by asynchronous stochastic gradient descent on parameter-server shards.

    ``minibatch`` is in rows. ``until`` ends the stage. ``depth`` is how many steps one worker keeps under way at the
    same time. ``staleness`` is how many blocks a worker may be ahead of the slowest open one. ``evaluate`` is the
    number of seconds between two evaluations on the test rows, ``snapshot`` that between two snapshots of the shards.
    ``memory`` (MB) and ``timeout`` (seconds) are limits of a worker.
    """

    model: ModelSpec = field(default_factory=LogisticRegression, kw_only=False)
    optimizer: Optimizer = field(default_factory=Adagrad)
    minibatch: int = 100
    until: Condition = field(default_factory=lambda: Epochs(1))
    workers: int = 2
    shards: int = 1
    seed: int = 0
    depth: int = 4
    staleness: int = 64
    evaluate: float = 1.0
    snapshot: float = 10.0
    memory: int = 600
    timeout: float = 900.0
    name: str = "train"

    def __post_init__(self) -> None:
        checks.name("train.name", self.name)
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
        checks.integer("train.depth", self.depth, 1, 64)
        checks.integer("train.staleness", self.staleness, 1, 1_000_000)
        checks.positive("train.evaluate", self.evaluate)
        checks.positive("train.snapshot", self.snapshot)
        checks.integer("train.memory", self.memory, 128, 10_240)
        checks.within("train.timeout", self.timeout, 1.0, 86_400.0)


Stage = Prepare | Train


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
    def trains(self) -> tuple[Train, ...]:
        """The training stages, in order."""
        return tuple(stage for stage in self.stages if isinstance(stage, Train))

    def _check_stages(self) -> None:
        if not self.stages:
            raise PipelineError("pipeline.stages", self.stages, "a Prepare stage first, then Train stages")
        for position, stage in enumerate(self.stages):
            wanted = Prepare if position == 0 else Train
            checks.instance(f"pipeline.stages[{position}]", stage, wanted, f"a {wanted.__name__} stage here")
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
        for stage in self.trains:
            if stage.until.needs_loss():
                allowed = "a condition without loss_below where prepare.test is 0.0: there are no rows to measure it on"
                raise PipelineError(f"{stage.name}.until", stage.until, allowed)
