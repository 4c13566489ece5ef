"""End-to-end machine learning on serverless functions: prepare, train and tune without a cluster.

What is heavy to import is not imported with the package: runs load it on a thread, and workers do without most of it.
"""

import importlib
from typing import TYPE_CHECKING

from cirrus.attached import attach, kill, scale
from cirrus.cloud.aws import Aws, aws
from cirrus.cloud.ec2 import Ec2Shards
from cirrus.cloud.executors import Executed, executor
from cirrus.cloud.places import Local, local
from cirrus.cloud.served import ServedShards
from cirrus.core.cost import Cost, CostPart, Price
from cirrus.core.views import SinkView, WorkerView
from cirrus.emulator.place import Emulated, emulated
from cirrus.errors import (
    BudgetExceeded,
    CirrusError,
    Closed,
    Conflict,
    Corrupt,
    Diverged,
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
    Untrusted,
    WireError,
)
from cirrus.events import (
    Event,
    InvokeFailed,
    LossReported,
    ResourcesReported,
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
    TrialFinished,
    TrialStarted,
    UnitsReopened,
    WorkerReplaced,
    WorkersScaled,
    WorkerStarted,
    WorkerStopped,
)
from cirrus.models import LogisticRegression, ModelSpec
from cirrus.optimizers import FTRL, SGD, Adagrad, Adam, Momentum, Nesterov
from cirrus.optuna_samplers import optuna_sampler
from cirrus.pipeline import Budget, Pipeline, Prepare, Train, Tune
from cirrus.runs import Run, resume, run, run_sync, start
from cirrus.search import Grid, Halving, MedianStop, Random, choice, integers, log_uniform, uniform
from cirrus.sinks.base import Sink
from cirrus.sinks.exposition import Exposition
from cirrus.sinks.jsonl import jsonl
from cirrus.sinks.mlflow import mlflow
from cirrus.sinks.prometheus import prometheus
from cirrus.sinks.tensorboard import tensorboard
from cirrus.sources import criteo, csv, libsvm
from cirrus.steps import Bucket, Hash, MinMax, Standard, every
from cirrus.until import epochs, loss_below, minutes, samples

if TYPE_CHECKING:
    from cirrus.page.app import dashboard
    from cirrus.results import Result
    from cirrus.trained import Model

_HEAVY = {"Model": "cirrus.trained", "Result": "cirrus.results", "dashboard": "cirrus.page.app"}


def __getattr__(name: str) -> object:
    if name not in _HEAVY:
        raise AttributeError(f"module 'cirrus' has no attribute {name!r}")
    found: object = getattr(importlib.import_module(_HEAVY[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "FTRL",
    "SGD",
    "Adagrad",
    "Adam",
    "Aws",
    "Bucket",
    "Budget",
    "BudgetExceeded",
    "CirrusError",
    "Closed",
    "Conflict",
    "Corrupt",
    "Cost",
    "CostPart",
    "Diverged",
    "Ec2Shards",
    "Emulated",
    "Event",
    "Executed",
    "Exposition",
    "Grid",
    "Halving",
    "Hash",
    "InputError",
    "InvokeError",
    "InvokeFailed",
    "Killed",
    "Local",
    "LogisticRegression",
    "LossReported",
    "MedianStop",
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
    "Price",
    "Random",
    "Refused",
    "ResourcesReported",
    "Result",
    "RowsPrepared",
    "Run",
    "RunBusy",
    "RunError",
    "RunFinished",
    "RunStarted",
    "ServedShards",
    "ShardRestarted",
    "ShardStarted",
    "Sink",
    "SinkView",
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
    "TrialFinished",
    "TrialStarted",
    "Tune",
    "Unanswered",
    "UnitsReopened",
    "Untrusted",
    "WireError",
    "WorkerReplaced",
    "WorkerStarted",
    "WorkerStopped",
    "WorkerView",
    "WorkersScaled",
    "attach",
    "aws",
    "choice",
    "criteo",
    "csv",
    "dashboard",
    "emulated",
    "epochs",
    "every",
    "executor",
    "integers",
    "jsonl",
    "kill",
    "libsvm",
    "local",
    "log_uniform",
    "loss_below",
    "minutes",
    "mlflow",
    "optuna_sampler",
    "prometheus",
    "resume",
    "run",
    "run_sync",
    "samples",
    "scale",
    "start",
    "tensorboard",
    "uniform",
]
