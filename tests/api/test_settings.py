"""What ``--set`` changes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cirrus.cli.files import budget_of, changed
from cirrus.errors import PipelineError
from cirrus.pipeline import Budget, Pipeline, Prepare, Train
from cirrus.sources import criteo

PIPELINE = Pipeline(name="clicks", data=criteo("day.tsv"), stages=(Prepare(), Train()))


def test_stages_and_the_budget_are_changed() -> None:
    found = changed(
        PIPELINE, ["train.workers=8", "train.optimizer.rate=0.05", "budget.dollars=5", "budget.minutes=2.5"]
    )
    assert found.trains[0].workers == 8
    assert found.trains[0].optimizer == replace(PIPELINE.trains[0].optimizer, rate=0.05)
    assert found.budget == Budget(dollars=5, minutes=2.5)


def test_a_stage_of_the_name_comes_first() -> None:
    named = replace(PIPELINE, stages=(Prepare(), Train(name="budget")))
    assert changed(named, ["budget.workers=7"]).trains[0].workers == 7
    with pytest.raises(PipelineError, match="one of the fields"):
        changed(named, ["budget.dollars=7"])


def test_limits_that_are_not_set_stay_as_they_were() -> None:
    assert Budget(dollars=3.0).over(Budget(dollars=1.0, minutes=9.0)) == Budget(dollars=3.0, minutes=9.0)
    assert budget_of(["budget.minutes=7"], Budget(dollars=1.0)) == Budget(dollars=1.0, minutes=7)
    assert budget_of([], Budget()) == Budget()


@pytest.mark.parametrize(
    "setting",
    [
        "budget",
        "budget.dollars",
        "dollars=5",
        "budget.euros=5",
        "budget.dollars=-1",
        "budget.dollars=much",
        "train.workers=2",
    ],
)
def test_what_is_no_limit_is_refused(setting: str) -> None:
    with pytest.raises(PipelineError, match=r"--set|budget\.dollars"):
        budget_of([setting], Budget())
