"""What is shown of a stage's workers while the provider refuses some."""

from __future__ import annotations

from cirrus.core.tally import Tally
from cirrus.events import InvokeFailed, StageFinished, StageStarted, WorkersScaled, WorkerStarted


def started(slot: int) -> WorkerStarted:
    return WorkerStarted(at=1.0, stage="train", slot=slot, attempt=1, pid=7)


def refused(stage: str = "train", *, throttled: bool = True) -> InvokeFailed:
    return InvokeFailed(at=1.0, stage=stage, slot=3, attempt=1, reason="429", throttled=throttled)


def sighted(*events: WorkerStarted | InvokeFailed | WorkersScaled | StageFinished) -> str:
    tally = Tally()
    tally.take(StageStarted(at=0.0, stage="train", workers=3))
    for event in events:
        tally.take(event)
    return tally.stages["train"].hands


def test_a_stage_is_throttled_from_the_first_refusal_until_all_its_workers_are_here() -> None:
    assert sighted(started(0)) == "1 of 3 workers"
    assert sighted(started(0), refused()) == "1 of 3 workers, throttled"
    assert sighted(started(0), refused(), started(1)) == "2 of 3 workers, throttled"
    assert sighted(started(0), refused(), started(1), started(2)) == "3 of 3 workers"


def test_who_wishes_for_no_more_than_are_here_is_not_throttled() -> None:
    assert sighted(started(0), refused(), WorkersScaled(at=2.0, stage="train", workers=1)) == "1 of 1 workers"
    fewer = WorkersScaled(at=2.0, stage="train", workers=2)
    assert sighted(started(0), refused(), fewer) == "1 of 2 workers, throttled"


def test_other_refusals_and_those_of_who_evaluates_are_not_shown_so() -> None:
    assert sighted(refused(throttled=False)) == "0 of 3 workers"
    assert sighted(refused("train.eval")) == "0 of 3 workers"
    assert sighted(refused("train.trial2")) == "0 of 3 workers, throttled"


def test_a_stage_that_is_over_is_not_throttled() -> None:
    assert sighted(refused(), StageFinished(at=9.0, stage="train", seconds=9.0)) == "0 of 3 workers"
