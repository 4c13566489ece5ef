"""End-to-end machine learning on serverless functions: prepare, train and tune without a cluster.

Names are loaded when they are first used: a worker's process, which uses none of them, starts without their weight.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cirrus.cloud.places import Local, local
    from cirrus.core.cost import Cost
    from cirrus.driver import WorkerView
    from cirrus.errors import (
        BudgetExceeded,
        CirrusError,
        Closed,
        Conflict,
        Corrupt,
        InputError,
        InvokeError,
        Killed,
        NotFound,
        OutsideError,
        PipelineError,
        Refused,
        RunBusy,
        RunError,
        StageFailed,
        StoreError,
        Throttled,
        Unanswered,
        WireError,
    )
    from cirrus.events import (
        Event,
        InvokeFailed,
        LossReported,
        RowsPrepared,
        RunFinished,
        RunStarted,
        ShardRestarted,
        ShardStarted,
        SnapshotSkipped,
        StageFinished,
        StageProgress,
        StageResumed,
        StageStarted,
        UnitsReopened,
        WorkerReplaced,
        WorkersScaled,
        WorkerStarted,
        WorkerStopped,
    )
    from cirrus.models import LogisticRegression, ModelSpec
    from cirrus.optimizers import FTRL, SGD, Adagrad, Adam, Momentum, Nesterov
    from cirrus.pipeline import Budget, Pipeline, Prepare, Train
    from cirrus.results import Result
    from cirrus.runs import Run, resume, run, run_sync, start
    from cirrus.sources import criteo, csv, libsvm
    from cirrus.steps import Bucket, Hash, MinMax, Standard, every
    from cirrus.trained import Model
    from cirrus.until import epochs, loss_below, minutes, samples

_HOMES = {
    "cirrus.cloud.places": ("Local", "local"),
    "cirrus.core.cost": ("Cost",),
    "cirrus.driver": ("WorkerView",),
    "cirrus.errors": (
        "BudgetExceeded",
        "CirrusError",
        "Closed",
        "Conflict",
        "Corrupt",
        "InputError",
        "InvokeError",
        "Killed",
        "NotFound",
        "OutsideError",
        "PipelineError",
        "Refused",
        "RunBusy",
        "RunError",
        "StageFailed",
        "StoreError",
        "Throttled",
        "Unanswered",
        "WireError",
    ),
    "cirrus.events": (
        "Event",
        "InvokeFailed",
        "LossReported",
        "RowsPrepared",
        "RunFinished",
        "RunStarted",
        "ShardRestarted",
        "ShardStarted",
        "SnapshotSkipped",
        "StageFinished",
        "StageProgress",
        "StageResumed",
        "StageStarted",
        "UnitsReopened",
        "WorkerReplaced",
        "WorkersScaled",
        "WorkerStarted",
        "WorkerStopped",
    ),
    "cirrus.models": ("LogisticRegression", "ModelSpec"),
    "cirrus.optimizers": ("FTRL", "SGD", "Adagrad", "Adam", "Momentum", "Nesterov"),
    "cirrus.pipeline": ("Budget", "Pipeline", "Prepare", "Train"),
    "cirrus.results": ("Result",),
    "cirrus.runs": ("Run", "resume", "run", "run_sync", "start"),
    "cirrus.sources": ("criteo", "csv", "libsvm"),
    "cirrus.steps": ("Bucket", "Hash", "MinMax", "Standard", "every"),
    "cirrus.trained": ("Model",),
    "cirrus.until": ("epochs", "loss_below", "minutes", "samples"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'cirrus' has no attribute {name!r}")
    found: object = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "FTRL",
    "SGD",
    "Adagrad",
    "Adam",
    "Bucket",
    "Budget",
    "BudgetExceeded",
    "CirrusError",
    "Closed",
    "Conflict",
    "Corrupt",
    "Cost",
    "Event",
    "Hash",
    "InputError",
    "InvokeError",
    "InvokeFailed",
    "Killed",
    "Local",
    "LogisticRegression",
    "LossReported",
    "MinMax",
    "Model",
    "ModelSpec",
    "Momentum",
    "Nesterov",
    "NotFound",
    "OutsideError",
    "Pipeline",
    "PipelineError",
    "Prepare",
    "Refused",
    "Result",
    "RowsPrepared",
    "Run",
    "RunBusy",
    "RunError",
    "RunFinished",
    "RunStarted",
    "ShardRestarted",
    "ShardStarted",
    "SnapshotSkipped",
    "StageFailed",
    "StageFinished",
    "StageProgress",
    "StageResumed",
    "StageStarted",
    "Standard",
    "StoreError",
    "Throttled",
    "Train",
    "Unanswered",
    "UnitsReopened",
    "WireError",
    "WorkerReplaced",
    "WorkerStarted",
    "WorkerStopped",
    "WorkerView",
    "WorkersScaled",
    "criteo",
    "csv",
    "epochs",
    "every",
    "libsvm",
    "local",
    "loss_below",
    "minutes",
    "resume",
    "run",
    "run_sync",
    "samples",
    "start",
]
