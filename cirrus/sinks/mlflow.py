"""``cirrus.mlflow``: a run, its stages and its trials as runs of MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cirrus import checks
from cirrus.actors.kernel import Kernel
from cirrus.clock import Clock
from cirrus.events import (
    Event,
    LossReported,
    ResourcesReported,
    RunFinished,
    RunStarted,
    Setting,
    StageFinished,
    StageStarted,
    TrialFinished,
    TrialStarted,
)
from cirrus.sinks.base import Outlet, Writer
from cirrus.sinks.lines import figures, line
from cirrus.sinks.redacting import redacted
from cirrus.sinks.written import Written

EXPERIMENT: Final = "cirrus"
STATUS: Final = {"done": "FINISHED", "pruned": "FINISHED", "failed": "FAILED", "diverged": "FAILED"}
"""Of MLflow, for outcomes; ``KILLED`` for the others. The outcome itself is the tag ``cirrus.outcome``."""

LINE: Final = "cirrus.line"
MOST: Final = 1000
"""Metrics of one request, as MLflow limits them."""

LONGEST: Final = 6000
"""Characters of a parameter, as MLflow limits them."""


@dataclass(frozen=True, slots=True)
class Mlflow:
    """A tracking server, or what MLflow has in place of one."""

    tracking_uri: str | None = field(repr=False)
    experiment: str

    @property
    def name(self) -> str:
        return f"mlflow({'' if self.tracking_uri is None else repr(redacted(self.tracking_uri))})"

    def outlet(self, kernel: Kernel) -> Outlet:
        return Written(kernel, "mlflow", lambda: self._open(kernel.clock))

    def _open(self, clock: Clock) -> Writer:
        from mlflow import MlflowClient  # noqa: PLC0415  an optional extra, slow to import

        client = MlflowClient(tracking_uri=self.tracking_uri)
        found = client.get_experiment_by_name(self.experiment)
        return _Runs(client, client.create_experiment(self.experiment) if found is None else found.experiment_id, clock)


@dataclass(slots=True)
class _Pending:
    """What one line's run is still to be told."""

    params: dict[str, Setting]
    metrics: list[tuple[str, float, int, int]]
    outcome: str = ""
    ended: int = 0


class _Runs:
    """One run of MLflow for the whole, and one below it for each line; those that are there already go on."""

    def __init__(self, client: Any, experiment: str, clock: Clock) -> None:
        self._client = client
        self._experiment = experiment
        self._clock = clock
        self._run_id = ""
        self._zero = clock.wall()
        self._runs: dict[str, str] = {}
        self._pending: dict[str, _Pending] = {}

    def take(self, event: Event) -> None:
        match event:
            case RunStarted(at=at, run_id=run_id):
                self._run_id, self._zero = run_id, self._clock.wall() - at
                self._of("")
            case StageStarted(stage=stage, workers=workers):
                self._of(stage).params["workers"] = workers
            case TrialStarted(stage=stage, trial=trial, settings=settings):
                self._of(line(stage, trial)).params.update(settings)
            case LossReported():
                self._measured(line(event.stage, event.trial), event.at, event.samples, figures(event))
            case ResourcesReported(at=at, dollars=dollars, working=working):
                used = {"dollars": dollars, "workers": float(sum(working.values()))}
                self._measured("", at, int(at), used)
            case _:
                self._over(event)

    def _over(self, event: Event) -> None:
        match event:
            case TrialFinished(at=at, outcome=outcome):
                name = line(event.stage, event.trial)
                self._measured(name, at, event.samples, figures(event))
                self._ended(name, at, outcome)
            case StageFinished(at=at, stage=stage):
                self._ended(stage, at, "done")
            case RunFinished(at=at, outcome=outcome):
                self._ended("", at, outcome)
            case _:
                pass

    def flush(self) -> None:
        """Tell MLflow, one line after another; what was told is forgotten, so a failure repeats one part at most."""
        for name in tuple(self._pending):
            self._tell(self._made(name), self._pending[name])
            del self._pending[name]

    def close(self) -> None:
        """Nothing is open between two requests."""

    def _of(self, name: str) -> _Pending:
        return self._pending.setdefault(name, _Pending({}, []))

    def _measured(self, name: str, at: float, step: int, values: Mapping[str, float]) -> None:
        self._of(name).metrics += [(key, value, self._wall(at), step) for key, value in values.items()]

    def _ended(self, name: str, at: float, outcome: str) -> None:
        pending = self._of(name)
        pending.outcome, pending.ended = outcome, self._wall(at)

    def _wall(self, at: float) -> int:
        """Milliseconds since the Unix epoch."""
        return round(1000.0 * (self._zero + at))

    def _tell(self, run: str, pending: _Pending) -> None:
        from mlflow.entities import Metric, Param  # noqa: PLC0415  an optional extra

        if pending.params:
            known = self._client.get_run(run).data.params
            new = [Param(key, str(value)[:LONGEST]) for key, value in pending.params.items() if key not in known]
            self._client.log_batch(run, params=new)
            pending.params = {}
        while pending.metrics:
            self._client.log_batch(run, metrics=[Metric(*one) for one in pending.metrics[:MOST]])
            del pending.metrics[:MOST]
        if pending.outcome:
            self._client.set_tag(run, "cirrus.outcome", pending.outcome)
            self._client.set_terminated(run, STATUS.get(pending.outcome, "KILLED"), pending.ended)

    def _made(self, name: str) -> str:
        """The id of a line's run: one that an earlier driver of the same run has made, or a new one."""
        if name not in self._runs:
            self._runs[name] = self._found(name) or self._create(name)
        return self._runs[name]

    def _found(self, name: str) -> str:
        wanted = f"tags.`cirrus.run` = '{self._run_id}' AND tags.`{LINE}` = '{name}'"
        found = self._client.search_runs([self._experiment], wanted, max_results=1)
        for one in found:
            self._client.update_run(one.info.run_id, status="RUNNING")
        return found[0].info.run_id if found else ""

    def _create(self, name: str) -> str:
        tags = {"cirrus.run": self._run_id, LINE: name}
        if name:
            tags["mlflow.parentRunId"] = self._made("")
        made = self._client.create_run(self._experiment, tags=tags, run_name=name or self._run_id)
        run: str = made.info.run_id
        return run


def mlflow(*, tracking_uri: str | None = None, experiment: str = EXPERIMENT) -> Mlflow:
    """A sink: one run of MLflow for the run, and below it one for each stage and each trial.

    Parameters are a trial's settings; a metric's step is the number of rows that were learnt from. Without
    ``tracking_uri`` it is MLflow's own choice, such as ``MLFLOW_TRACKING_URI``. Needs the extra ``mlflow``;
    ``PipelineError`` where it is not installed.
    """
    if tracking_uri is not None:
        checks.text("tracking_uri", tracking_uri)
    checks.text("experiment", experiment)
    checks.installed("mlflow", "mlflow")
    return Mlflow(tracking_uri, experiment)
