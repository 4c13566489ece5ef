"""What a run tells Prometheus: its newest figures, reduced from its events, in the text format."""

from __future__ import annotations

from typing import Final

from cirrus.core.ids import stage_of
from cirrus.events import (
    Event,
    InvokeFailed,
    LossReported,
    ResourcesReported,
    RowsPrepared,
    RunFinished,
    RunStarted,
    ShardRestarted,
    StageFinished,
    StageProgress,
    StageStarted,
    TrialFinished,
    TrialStarted,
    WorkerReplaced,
    WorkersScaled,
    WorkerStarted,
)
from cirrus.sinks.lines import figures

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[tuple[str, str], ...]

HELP: Final = {
    "run_finished": "1 once the run is over, with its outcome",
    "log_loss": "Newest mean log loss on the test rows",
    "auc": "Newest area under the ROC curve on the test rows",
    "accuracy": "Newest accuracy on the test rows",
    "train_loss": "Mean log loss of the newest minibatches before each was learnt from",
    "final_log_loss": "Mean log loss of the finished model on every test row; of a trial, its last",
    "final_auc": "Area under the ROC curve of the finished model on every test row",
    "final_accuracy": "Accuracy of the finished model on every test row",
    "samples": "Rows that were learnt from when the model was last evaluated",
    "seconds": "Seconds of the stage when the model was last evaluated",
    "line_dollars": "What a stage, or a trial alone, had cost when its model was last evaluated",
    "stage_units_done": "Finished units of a stage",
    "stage_units": "Units of a stage, 0 where they are not bounded",
    "stage_rows": "Rows that went through a stage",
    "stage_steps": "Steps of training that workers have done",
    "stage_finished": "1 once a stage is complete",
    "rows_prepared": "Rows that were read, skipped, and set aside for training and testing",
    "workers_wished": "Workers that are wished for",
    "workers_working": "Workers that are at work",
    "workers_started_total": "Workers that have spoken",
    "workers_replaced_total": "Workers that ended before their work did",
    "invokes_failed_total": "Workers that could not be started",
    "shards_restarted_total": "Shards whose process ended and that run again",
    "trials_running": "Trials that have begun and are not over",
    "trials_finished_total": "Trials that are over, by outcome",
    "cost_dollars": "What the run has cost",
    "cost_dollars_per_second": "What the run costs now",
    "budget_dollars": "The limit of dollars, where there is one",
    "memory_megabytes": "Memory of the largest worker, of all shards together, and of the driver",
}


class Exposition:
    """The state of one run, whose events are taken in one by one; ``text`` is the page that Prometheus reads.

    Every figure has the label ``run``, and those of a stage ``stage``; those along a line have ``trial`` besides, which
    is empty where the stage does not tune.
    """

    def __init__(self) -> None:
        self._run = ""
        self._values: dict[str, dict[Labels, float]] = {name: {} for name in HELP}
        self._running: dict[str, set[int]] = {}

    def take(self, event: Event) -> None:
        """Take in what happened."""
        match event:
            case RunStarted(run_id=run_id):
                self._run = run_id
            case RunFinished(outcome=outcome, dollars=dollars):
                self._set("run_finished", 1, outcome=outcome)
                self._set("cost_dollars", dollars)
            case ResourcesReported():
                self._used(event)
            case LossReported() | TrialStarted() | TrialFinished():
                self._learnt(event)
            case StageStarted() | StageProgress() | StageFinished() | RowsPrepared() | WorkersScaled():
                self._went_on(event)
            case _:
                self._happened(event)

    def text(self) -> str:
        """All figures in Prometheus' text format."""
        lines = []
        for name, values in self._values.items():
            if values:
                kind = "counter" if name.endswith("_total") else "gauge"
                lines += [f"# HELP cirrus_{name} {HELP[name]}", f"# TYPE cirrus_{name} {kind}"]
                lines += [f"cirrus_{name}{self._labels(labels)} {_number(value)}" for labels, value in values.items()]
        return "\n".join(lines) + "\n" if lines else ""

    def _happened(self, event: Event) -> None:
        match event:
            case WorkerStarted(stage=pool):
                self._count("workers_started_total", stage=stage_of(pool))
            case WorkerReplaced(stage=pool):
                self._count("workers_replaced_total", stage=stage_of(pool))
            case InvokeFailed(stage=pool):
                self._count("invokes_failed_total", stage=stage_of(pool))
            case ShardRestarted():
                self._count("shards_restarted_total")
            case _:
                pass

    def _learnt(self, event: LossReported | TrialStarted | TrialFinished) -> None:
        running = self._running.setdefault(event.stage, set())
        match event:
            case TrialStarted(trial=trial):
                running.add(trial)
            case TrialFinished(trial=trial, outcome=outcome):
                running.discard(trial)
                self._count("trials_finished_total", stage=event.stage, outcome=outcome)
            case LossReported():
                pass
        if not isinstance(event, LossReported):
            self._set("trials_running", len(running), stage=event.stage)
        if not isinstance(event, TrialStarted):
            line = {"stage": event.stage, "trial": "" if event.trial is None else str(event.trial)}
            self._set("samples", event.samples, **line)
            for name, value in figures(event).items():
                self._set("line_dollars" if name == "dollars" else name, value, **line)

    def _went_on(self, event: StageStarted | StageProgress | StageFinished | RowsPrepared | WorkersScaled) -> None:
        match event:
            case StageStarted(stage=stage, workers=workers) | WorkersScaled(stage=stage, workers=workers):
                self._set("workers_wished", workers, stage=stage)
            case StageProgress(stage=stage, done=done, total=total, rows=rows, steps=steps):
                for name, value in (("units_done", done), ("units", total), ("rows", rows), ("steps", steps)):
                    self._set(f"stage_{name}", value, stage=stage)
            case StageFinished(stage=stage):
                self._set("stage_finished", 1, stage=stage)
            case RowsPrepared(stage=stage, rows_in=rows, skipped=skipped, train=train, test=test):
                for part, value in (("read", rows), ("skipped", skipped), ("train", train), ("test", test)):
                    self._set("rows_prepared", value, stage=stage, part=part)

    def _used(self, event: ResourcesReported) -> None:
        self._set("cost_dollars", event.dollars)
        self._set("cost_dollars_per_second", event.dollars_per_second)
        if event.budget is not None:
            self._set("budget_dollars", event.budget)
        for name, numbers in (("workers_wished", event.wished), ("workers_working", event.working)):
            for stage, number in numbers.items():
                self._set(name, number, stage=stage)
        for part, value in (("worker", event.worker_mb), ("shards", event.shard_mb), ("driver", event.driver_mb)):
            self._set("memory_megabytes", value, part=part)

    def _set(self, name: str, value: float, **labels: str) -> None:
        self._values[name][tuple(labels.items())] = value

    def _count(self, name: str, **labels: str) -> None:
        values, key = self._values[name], tuple(labels.items())
        values[key] = values.get(key, 0) + 1

    def _labels(self, labels: Labels) -> str:
        return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in (("run", self._run), *labels)) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    """As Prometheus reads it: ``NaN``, ``+Inf`` and ``-Inf`` are its own spellings of what Python writes as text."""
    return {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}.get(repr(value), repr(value))
