"""What a run says, for people: each event in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from cirrus.events import (
    Event,
    InvokeFailed,
    LossReported,
    ResourcesReported,
    RowsPrepared,
    RunFinished,
    RunStarted,
    Setting,
    ShardRestarted,
    ShardStarted,
    SnapshotSkipped,
    StageFinished,
    StageProgress,
    StageResumed,
    StageStarted,
    TrialFinished,
    TrialStarted,
    UnitsReopened,
    WorkerReplaced,
    WorkersScaled,
    WorkerStarted,
    WorkerStopped,
)


def sentence(event: Event) -> str:  # noqa: C901, PLR0911, PLR0912  one line for each kind of event
    """Say an event in one line; an empty text where it is not worth a line."""
    match event:
        case RunStarted(run_id=run_id, store=store, epoch=epoch):
            return f"run {run_id} in {store}" + ("" if epoch == 1 else f", taken up again (driver {epoch})")
        case ShardStarted(shard=shard, address=address):
            return f"shard {shard} answers at {address}"
        case ShardRestarted(shard=shard, reason=reason):
            return f"shard {shard} runs again from its newest snapshot: {reason}"
        case SnapshotSkipped(shard=shard, key=key, problem=problem):
            return f"shard {shard} begins with an older snapshot than {key}, which is broken: {problem}"
        case UnitsReopened(stage=stage, units=units, steps=steps):
            return f"{stage}: {steps} steps of {units} units were lost and are done again"
        case StageStarted(stage=stage, workers=workers):
            return f"{stage}: begins with {workers} workers"
        case StageResumed(stage=stage, units=units, rows=rows, steps=steps, again=again):
            there = f"{stage}: goes on at step {steps:,} ({units} units, {rows:,} rows)"
            return f"{there}; {again:,} steps that were done after it are done again"
        case StageProgress(stage=stage, done=done, total=total, rows=rows):
            of = f" of {total}" if total else ""
            return f"{stage}: {done}{of} units, {rows:,} rows"
        case RowsPrepared(stage=stage, skipped=skipped, train=train, test=test, features=features):
            return f"{stage}: {train:,} to train, {test:,} to test, {skipped:,} skipped, {features:,} features"
        case StageFinished(stage=stage, seconds=seconds):
            return f"{stage}: finished in {seconds:.1f} s"
        case WorkersScaled(stage=stage, workers=workers):
            return f"{stage}: {workers} workers wished for"
        case WorkerStarted(stage=stage, slot=slot, attempt=attempt):
            return f"{stage}: worker {slot} is here (attempt {attempt})"
        case WorkerReplaced(stage=stage, slot=slot, attempt=attempt, reason=reason):
            return f"{stage}: worker {slot} is replaced (attempt {attempt}): {reason}"
        case WorkerStopped() | ResourcesReported():
            return ""
        case TrialStarted(stage=stage, trial=trial, settings=settings):
            return f"{stage}: trial {trial} begins: {settled(settings)}"
        case TrialFinished(stage=stage, trial=trial, outcome=outcome, reason=reason, loss=loss):
            return f"{stage}: trial {trial} is {outcome} at log loss {loss:.4f}" + (f": {reason}" if reason else "")
        case InvokeFailed(stage=stage, slot=slot, reason=reason):
            return f"{stage}: worker {slot} could not be started: {reason}"
        case LossReported(stage=stage, loss=loss, auc=auc, accuracy=accuracy, samples=samples, trial=trial):
            whose = stage if trial is None else f"{stage}: trial {trial}"
            return f"{whose}: log loss {loss:.4f}, AUC {auc:.4f}, accuracy {accuracy:.4f} after {samples:,} samples"
        case RunFinished(outcome=outcome, dollars=dollars):  # whoever started the run says why it failed
            return f"run done, {dollars:.4f} dollars" if outcome == "done" else ""
        case _:
            assert_never(event)


def settled(settings: Mapping[str, Setting]) -> str:
    """What a trial sets, in one line."""
    said = {name: f"{value:.4g}" if isinstance(value, float) else str(value) for name, value in settings.items()}
    return ", ".join(f"{name}={value}" for name, value in said.items())
