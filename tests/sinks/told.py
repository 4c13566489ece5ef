"""Events as runs tell them, for sinks to be fed with."""

from __future__ import annotations

from cirrus.events import (
    Event,
    LossReported,
    ResourcesReported,
    RunFinished,
    RunStarted,
    Setting,
    StageFinished,
    StageProgress,
    StageStarted,
    TrialFinished,
    TrialOutcome,
    TrialStarted,
)

RUN = "clicks-20261124-3f9a"
OUTCOMES: tuple[TrialOutcome, ...] = ("done", "pruned", "killed", "diverged")
POINTS = 5


def loss(at: float, trial: int | None, samples: int, value: float = 0.0, *, final: bool = False) -> LossReported:
    """A point of a line, whose figures are all others; ``value`` 0 for one that the line and the time determine."""
    found = value or 1.0 / (1.0 + at + (trial or 0))
    stage = "train" if trial is None else "tune"
    return LossReported(
        at=at, stage=stage, loss=found, auc=1.0 - found, accuracy=0.5 + found / 10.0, train_loss=found / 2.0,
        samples=samples, seconds=at, final=final, trial=trial, dollars=at / 1000.0,
    )  # fmt: skip


def progress(number: int, stage: str = "train") -> StageProgress:
    return StageProgress(at=float(number), stage=stage, done=number, total=0, rows=number)


def tuned() -> list[Event]:
    """What a run says that tries four settings, each with another end, and trains on with the first."""
    said: list[Event] = [
        RunStarted(at=0.0, run_id=RUN, store="file:///store"),
        StageStarted(at=0.1, stage="tune", workers=4),
    ]
    for trial in range(len(OUTCOMES)):
        settings: dict[str, Setting] = {
            "optimizer.rate": 0.1 * (trial + 1),
            "model.l2": 0,
            "kind": f"<img onerror=x> {trial}",
            "fast": True,
        }
        said.append(TrialStarted(at=0.2, stage="tune", trial=trial, settings=settings))
    for point in range(1, POINTS):
        said += [loss(point + trial / 10, trial, 1000 * point) for trial in range(len(OUTCOMES))]
        said.append(
            ResourcesReported(
                at=point + 0.5,
                dollars=point / 100,
                dollars_per_second=0.01,
                wished={"tune": 4},
                working={"tune": 3},
                worker_mb=80.5,
                shard_mb=120.0,
                driver_mb=60.0,
                budget=2.5,
            )
        )
    for trial, outcome in enumerate(OUTCOMES):
        value = float("nan") if outcome == "diverged" else 0.4 + trial / 100
        said.append(
            TrialFinished(
                at=6.0,
                stage="tune",
                trial=trial,
                outcome=outcome,
                reason="because",
                loss=value,
                samples=4000,
                dollars=0.001 * trial,
            )
        )
    return [
        *said,
        StageFinished(at=6.1, stage="tune", seconds=6.0),
        StageStarted(at=6.2, stage="train", workers=2),
        *[loss(6.0 + point, None, 500 * point) for point in range(1, POINTS)],
        loss(11.0, None, 2000, 0.39, final=True),
        StageFinished(at=11.1, stage="train", seconds=5.0),
        RunFinished(at=11.2, outcome="done", reason="", dollars=0.05),
    ]
