"""What a run keeps of itself in its store: the pipeline, who holds it, its decisions, its result."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from cirrus.actors.event_log import steps_said
from cirrus.actors.work import PrepareWork
from cirrus.clock import Clock
from cirrus.core.cost import Cost
from cirrus.errors import Conflict, InputError, NotFound, PipelineError, WireError
from cirrus.events import TrialOutcome
from cirrus.pipeline import Budget, Pipeline
from cirrus.store.aside import aside
from cirrus.store.base import ObjectStore
from cirrus.store.fields import JSON, Fields, to_json
from cirrus.store.holding import Holding, Spent
from cirrus.store.journal import Journal
from cirrus.wire.codec import Codec

PIPELINE: Codec[Pipeline] = Codec(Pipeline, 1 << 20)

Metrics = Mapping[str, float]


@dataclass(slots=True)
class TrialPast:
    """What the journal says of a trial: its settings as they were written, its losses at rungs, and how it ended.

    ``outcome`` is empty while it goes on; ``loss`` and ``metrics`` are those at its end.
    """

    settings: Mapping[str, JSON] = field(default_factory=dict)
    rungs: dict[int, float] = field(default_factory=dict)
    outcome: TrialOutcome | Literal[""] = ""
    reason: str = ""
    loss: float = math.nan
    samples: int = 0
    dollars: float = 0.0
    metrics: Metrics = field(default_factory=dict)


@dataclass(slots=True)
class Past:
    """What the journal says of a run: the data set's manifest, finished stages with their figures, wishes, a kill.

    ``orders``: names of the orders from outside that were obeyed. ``budget``: the newest, where there is another than
    the pipeline's. ``steps``: how far an earlier driver has seen a stage go, which its log says and not the journal.
    """

    manifest: str = ""
    finished: dict[str, Metrics] = field(default_factory=dict)
    wishes: dict[str, int] = field(default_factory=dict)
    killed: str = ""
    orders: set[str] = field(default_factory=set)
    budget: Budget | None = None
    steps: dict[str, int] = field(default_factory=dict)
    trials: dict[str, dict[int, TrialPast]] = field(default_factory=dict)

    def trial(self, stage: str, number: int) -> TrialPast:
        """What is known of a trial."""
        return self.trials.setdefault(stage, {}).setdefault(number, TrialPast())


class Records:
    """The records of one run, written by the driver that holds it."""

    def __init__(self, store: ObjectStore, run_id: str, holding: Holding, clock: Clock) -> None:
        self._store = store
        self._run_id = run_id
        self._holding = holding
        self._clock = clock
        self._journal = Journal(store, run_id, holding.epoch)
        self._covered = Spent()

    @property
    def epoch(self) -> int:
        """How many drivers have held the run, this one included."""
        return self._holding.epoch

    @property
    def spent(self) -> Spent:
        """What the run had cost before this driver."""
        return self._holding.spent

    @classmethod
    async def create(
        cls, store: ObjectStore, run_id: str, pipeline: Pipeline, work: PrepareWork, clock: Clock
    ) -> Records:
        """Hold a new run and write it down; ``Conflict`` where there is one of that id."""
        document: dict[str, JSON] = {
            "run_id": run_id,
            "name": pipeline.name,
            "started": clock.wall(),
            "pipeline": PIPELINE.to_json(pipeline),
            "input": _input(work),
        }
        await _created(store, _key(run_id, "run.json"), to_json(document))
        return cls(store, run_id, await Holding.take(store, run_id, holder(), clock.wall()), clock)

    @classmethod
    async def take(cls, store: ObjectStore, run_id: str, clock: Clock) -> Records:
        """Hold a run that somebody else had; ``RunBusy`` where that driver is alive."""
        now = clock.wall()
        holding = await Holding.take(store, run_id, holder(), now, is_gone, clock.sleep)
        return cls(store, run_id, holding, clock)

    async def past(self) -> Past:
        """Everything that was decided so far, and no earlier driver decides more."""
        past = Past(steps=await steps_said(self._store, self._run_id, self.epoch))
        for entry in await self._journal.take_over():
            _recall(past, entry.kind, entry.fields)
            match entry.fields:
                case {"order": str(order)}:
                    past.orders.add(order)
                case _:
                    pass  # decided by the driver's own process
        return past

    async def decide(self, kind: str, fields: Mapping[str, JSON]) -> int:
        """Make a decision durable before its effect shows; ``RunBusy`` where another driver holds the run.

        The number that is returned grows from decision to decision: they take effect in this order.
        """
        return await self._journal.append(kind, fields)

    async def budgeted(self, before: Budget, given: Budget | None) -> Budget:
        """The budget from now on; what is given is written down, so that those who go on later keep to it."""
        budget = before if given is None else given.over(before)
        if budget == before:
            return before
        await self.decide("budgeted", {"dollars": budget.dollars, "minutes": budget.minutes})
        return budget

    async def renew(self, cost: Cost) -> None:
        """Say that this driver lives; ``RunBusy`` where another holds the run."""
        self._covered = (await self._holding.renew(self._clock.wall(), _spent(cost))).at_most

    async def cover(self, cost: Cost) -> None:
        """Have it written down what the run may come to cost, before it does: else nobody knew if this driver died."""
        if cost.most_dollars > self._covered.dollars or cost.most_seconds > self._covered.worker_seconds:
            await self.renew(cost)

    async def keep(self, key: str, document: bytes) -> None:
        """Write an object of the run, but never over a later driver's; ``RunBusy`` where another has the run.

        Whoever takes the run after it was seen to be ours writes behind our look at the object, and ours is refused.
        """
        while True:
            etag = await _etag(self._store, key)
            await self._holding.prove(self._clock.wall())
            with suppress(Conflict):  # somebody has written meanwhile: look again whether the run is ours
                if etag:
                    await self._store.replace_if(key, document, etag)
                else:
                    await self._store.put_if_absent(key, document)
                return

    async def close(self, outcome: str, reason: str, metrics: Mapping[str, Metrics], cost: Cost) -> None:
        """Write down how the run ended, and let go of it; ``RunBusy``, and nothing written, where another has it."""
        document: dict[str, JSON] = {
            "outcome": outcome,
            "reason": reason,
            "finished": self._clock.wall(),
            "metrics": {stage: finite(figures) for stage, figures in metrics.items()},
            "cost": asdict(cost),
        }
        await self.renew(cost)
        try:
            await self.keep(_key(self._run_id, "result.json"), to_json(document))
        finally:  # a disk that is full may have room for this
            await self._holding.release(self._clock.wall(), _spent(cost))


async def _etag(store: ObjectStore, key: str) -> str:
    """The ETag of an object; empty where there is none."""
    try:
        return (await store.info(key)).etag
    except NotFound:
        return ""


async def _created(store: ObjectStore, key: str, document: bytes) -> None:
    """Write an object that nobody else writes alike; ``Conflict`` where there is another."""
    try:
        await store.put_if_absent(key, document)
    except Conflict:
        if await store.get(key) != document:  # else it is our own write, whose answer was lost
            raise


async def read_run(store: ObjectStore, run_id: str) -> tuple[Pipeline, Mapping[str, JSON]]:
    """The pipeline of a run, and its input as it was; ``PipelineError`` where there is no such run."""
    key = _key(run_id, "run.json")
    try:
        fields = Fields.parsed(key, await store.get(key))
    except NotFound as error:
        raise PipelineError("run", run_id, "the id of a run in this store; see cirrus ls") from error
    try:
        text = fields.text("pipeline")
        pipeline = await aside(lambda: PIPELINE.from_json(text))  # which imports models, and optuna for its samplers
        return pipeline, fields.mapping("input")
    except WireError as error:
        raise fields.wrong("pipeline", f"cannot be read: {error}") from error


def same_input(work: PrepareWork, before: Mapping[str, JSON]) -> None:
    """``InputError`` where the input is not what it was when the run began."""
    now = _input(work)
    for name in sorted(now.keys() | before.keys()):
        if now.get(name) != before.get(name):
            raise InputError(name, "this file has changed since the run began")


def finite(figures: Metrics) -> dict[str, JSON]:
    """Figures as JSON has them: what is not a number is null."""
    return {name: value if math.isfinite(value) else None for name, value in figures.items()}


def holder() -> str:
    """The name of this process, which says where to look for it."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def is_gone(name: str) -> bool:
    """Whether a holder is known to be dead: a process of this machine that is not there any more."""
    words = name.split(" ")
    if len(words) != 4 or words[0] != "process" or words[3] != socket.gethostname() or not words[1].isdigit():
        return False
    return not is_alive(int(words[1]))


def is_alive(pid: int) -> bool:
    """Whether a process of this machine runs; one that has ended, and whose parent has not looked yet, does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (OSError, IndexError):  # not told on this system, or just gone
        return True
    return state != "Z"


def _recall(past: Past, kind: str, fields: Mapping[str, JSON]) -> None:
    """Take in a decision."""
    match kind, fields:
        case "prepared", {"manifest": str(manifest), "stage": str(stage), "metrics": dict(metrics)}:
            past.manifest = manifest
            past.finished[stage] = _figures(metrics)
        case "finished", {"stage": str(stage), "metrics": dict(metrics)}:
            past.finished[stage] = _figures(metrics)
        case "scaled", {"stage": str(stage), "workers": int(workers)}:
            past.wishes[stage] = workers
        case "budgeted", {"dollars": dollars, "minutes": minutes}:
            past.budget = Budget(dollars=_limit(dollars), minutes=_limit(minutes))
        case ("trial" | "rung" | "trial_over") as of, {"stage": str(stage), "trial": int(number)}:
            _remember(past.trial(stage, number), of, fields)
        case "killed", {"reason": str(reason)}:
            past.killed = reason
        case _:
            pass  # decisions that do not matter to who goes on


def _remember(trial: TrialPast, kind: str, fields: Mapping[str, JSON]) -> None:
    """Take in what was decided of a trial; what was decided first of its end holds."""
    match kind, fields:
        case "trial", {"settings": dict(settings)}:
            trial.settings = settings
        case "rung", {"rung": int(rung), "loss": loss}:
            trial.rungs[rung] = _figure(loss)
        case "trial_over", {"outcome": ("done" | "pruned" | "killed" | "diverged") as outcome, "reason": str(reason)}:
            if trial.outcome:
                return
            trial.outcome, trial.reason = outcome, reason
            trial.loss, trial.dollars = _figure(fields.get("loss")), _figure(fields.get("dollars"))
            match fields:
                case {"samples": int(samples), "metrics": dict(metrics)}:
                    trial.samples, trial.metrics = samples, _figures(metrics)
                case _:
                    pass  # ended by order
        case _:
            pass  # written by a newer version


def _limit(figure: JSON) -> float | None:
    return float(figure) if isinstance(figure, int | float) else None


def _input(work: PrepareWork) -> dict[str, JSON]:
    objects = {piece.split.object.name: piece.split.object for piece in work.pieces}
    return {name: f"{one.size} bytes, {one.etag}" for name, one in objects.items()}


def _figures(metrics: Mapping[str, JSON]) -> Metrics:
    return {name: _figure(value) for name, value in metrics.items()}


def _figure(value: JSON) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _spent(cost: Cost) -> Spent:
    return Spent(cost.dollars, cost.worker_seconds, cost.committed_dollars, cost.committed_seconds)


def _key(run_id: str, name: str) -> str:
    return f"runs/{run_id}/{name}"
