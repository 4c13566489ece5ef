"""What charts have of a run: a line for each stage and each trial, and figures along it."""

from __future__ import annotations

from cirrus.events import LossReported, TrialFinished


def line(stage: str, trial: int | None) -> str:
    """A line's name: the stage's, or ``tune/trial3``."""
    return stage if trial is None else f"{stage}/trial{trial}"


def figures(event: LossReported | TrialFinished) -> dict[str, float]:
    """What an event adds to its line, by name, at the step ``event.samples``; those of the finished model besides."""
    if isinstance(event, TrialFinished):
        return {"final_log_loss": event.loss, "dollars": event.dollars}
    judged = {"log_loss": event.loss, "auc": event.auc, "accuracy": event.accuracy}
    final = {f"final_{name}": value for name, value in judged.items()} if event.final else {}
    return judged | {"train_loss": event.train_loss, "seconds": event.seconds, "dollars": event.dollars} | final
