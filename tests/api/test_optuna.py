"""Samplers of optuna propose what the space allows, end where they are at their end, and go on after a resume."""

from __future__ import annotations

import logging
import math
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna")

import optuna

from cirrus.errors import PipelineError
from cirrus.events import TrialOutcome
from cirrus.optimizers import FTRL, Adagrad
from cirrus.optuna_samplers import optuna_sampler
from cirrus.pipeline import Train, Tune
from cirrus.proposals import Proposals, from_plain, proposals, settled, to_plain
from cirrus.search import Domain, Settings, choice, integers, log_uniform, uniform

ROOT = Path(__file__).parents[2]
SPACE: dict[str, Domain] = {
    "optimizer": choice(Adagrad(), FTRL()),
    "optimizer.rate": log_uniform(1e-3, 1.0),
    "optimizer.beta": uniform(0.5, 2.0).when("optimizer", FTRL()),
    "minibatch": integers(10, 1000, log=True),
    "model.l2": choice(0.0, 1e-6, 1e-5),
}
LISTED: dict[str, Domain] = {path: SPACE[path] for path in ("optimizer", "model.l2")} | {"minibatch": integers(1, 4)}
NUMBERS: dict[str, Domain] = {"optimizer.rate": SPACE["optimizer.rate"], "optimizer.initial": log_uniform(1e-3, 1.0)}
SAMPLERS = ["TPESampler", "RandomSampler", "NSGAIISampler", "CmaEsSampler", "QMCSampler"]

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


def tune(sampler: str, space: Mapping[str, Domain] = SPACE, trials: int = 30, **settings: Any) -> Tune:
    return Tune(Train(), space=space, trials=trials, sampler=optuna_sampler(sampler, **settings))


def loss(settings: Settings) -> float:
    """Least at a rate of 0.1."""
    rate = settings.get("optimizer.rate", 0.1)
    assert isinstance(rate, float)
    return math.log10(rate / 0.1) ** 2


def searched(
    found: Proposals, start: int = 0, at_once: int = 4, outcome: TrialOutcome = "done"
) -> list[Settings]:
    """All proposals from there, each told of when so many more have been asked for."""
    made: list[Settings] = []
    while (settings := found.ask(start + len(made))) is not None:
        made.append(settings)
        if len(made) > at_once:
            number = len(made) - at_once - 1
            found.tell(start + number, outcome, loss(made[number]))
    return made


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_sampler_proposes_what_the_space_allows(sampler: str) -> None:
    stage = tune(sampler, NUMBERS if sampler in ("CmaEsSampler", "QMCSampler") else SPACE, seed=3)
    found = searched(proposals(stage))
    assert len(found) == 30
    for settings in found:
        settled(stage.train, settings)
        assert set(settings) >= stage.space.keys() - {"optimizer.beta"}
        assert ("optimizer.beta" in settings) == (settings.get("optimizer") == FTRL())
        assert from_plain(to_plain(settings)) == settings
    assert searched(proposals(stage)) == found, "the seed decides where all ends come in the same order"


def test_the_seed_is_the_stages_unless_it_is_given() -> None:
    first, other = (Tune(Train(), space=SPACE, sampler=optuna_sampler(), seed=seed) for seed in (1, 2))
    assert searched(proposals(first)) == searched(proposals(first)) != searched(proposals(other))
    assert searched(proposals(tune("TPESampler", trials=16, seed=1))) == searched(proposals(first))


@pytest.mark.parametrize("outcome", ["done", "pruned"])
def test_it_learns_from_what_it_is_told(outcome: TrialOutcome) -> None:
    stage = tune("TPESampler", NUMBERS, trials=80, seed=3, n_startup_trials=10)
    found = [loss(one) for one in searched(proposals(stage), outcome=outcome)]
    assert sum(found[-20:]) < sum(found[:20]) / 2


@pytest.mark.parametrize("sampler", ["GridSampler", "BruteForceSampler"])
@pytest.mark.parametrize("at_once", [1, 4, 100])
def test_a_grid_of_optunas_is_every_combination_once(sampler: str, at_once: int) -> None:
    found = proposals(tune(sampler, LISTED, 100))
    made = searched(found, at_once=at_once)
    assert found.most == len(made) == len({repr(one) for one in made}) == 24
    for number in range(max(0, 24 - at_once), 24):
        found.tell(number, "done", 0.5)
    assert found.ask(24) is None
    assert len(searched(proposals(tune(sampler, LISTED, 7)))) == 7


@pytest.mark.parametrize("sampler", ["GridSampler", "BruteForceSampler"])
def test_a_grid_needs_few_values(sampler: str) -> None:
    with pytest.raises(PipelineError) as caught:
        tune(sampler)
    assert caught.value.field == "tune.sampler"


def test_conditions_hold_in_exhaustive_searches() -> None:
    space = {"optimizer": choice(Adagrad(), FTRL()), "optimizer.beta": choice(1.0, 2.0).when("optimizer", FTRL())}
    assert len(searched(proposals(tune("BruteForceSampler", space)), at_once=0)) == 3
    grid = searched(proposals(tune("GridSampler", space)), at_once=0)
    assert len(grid) == 4, "its fields do not know of each other"
    assert {repr(one) for one in grid} == {repr(one) for one in searched(proposals(tune("BruteForceSampler", space)))}


@pytest.mark.parametrize("sampler", [*SAMPLERS, "GridSampler", "BruteForceSampler"])
@pytest.mark.parametrize("ended", [0, 5, 9])
def test_after_a_resume_it_goes_on_with_what_it_knew(sampler: str, ended: int) -> None:
    spaces = {"CmaEsSampler": NUMBERS, "QMCSampler": NUMBERS, "GridSampler": LISTED, "BruteForceSampler": LISTED}
    stage = tune(sampler, spaces.get(sampler, SPACE), 24)
    first, again = proposals(stage), proposals(stage)
    before = [first.ask(number) for number in range(9)]
    for number, settings in enumerate(before):
        assert settings is not None
        again.recall(number, from_plain(to_plain(settings)))
        if number < ended:
            again.tell(number, ("done", "pruned", "killed", "diverged", "done")[number % 5], float(number))
    after = searched(again, start=9)
    for number in range(ended, 9):
        again.tell(number, "done", 0.5)
    assert len(after) == 15
    assert all(one not in before for one in after), "none is proposed again"
    assert again.ask(24) is None


def test_a_sampler_that_only_draws_goes_on_as_if_nothing_had_been() -> None:
    stage = tune("RandomSampler", NUMBERS, 24)
    whole = searched(proposals(stage))
    found = proposals(stage)
    for number in range(9):
        found.recall(number, whole[number])
    assert searched(found, start=9) == whole[9:]


@pytest.mark.parametrize("sampler", ["GridSampler", "BruteForceSampler"])
def test_a_grid_may_end_with_a_trial_of_an_earlier_driver(sampler: str) -> None:
    stage = tune(sampler, LISTED, 100)
    first = proposals(stage).ask(0)
    assert first is not None
    found = proposals(stage)
    found.recall(0, first)
    made = [first, *searched(found, start=1, at_once=0)]
    found.tell(0, "done", 0.5)
    assert len({repr(one) for one in made}) == 24


def test_what_is_told_after_a_resume_counts() -> None:
    stage = tune("TPESampler", NUMBERS, 60, seed=3)
    before = searched(proposals(stage))[:40]
    found = proposals(stage)
    for number, settings in enumerate(before):
        found.recall(number, settings)
        found.tell(number, "done", loss(settings))
    learnt = [loss(one) for one in searched(found, start=40)]
    assert sum(learnt) / 20 < sum(map(loss, before[:10])) / 10 / 2


@pytest.mark.parametrize("outcome", ["done", "pruned", "diverged"])
def test_a_loss_that_is_no_number_is_worse_than_any(outcome: Any) -> None:
    found = proposals(tune("TPESampler", {"optimizer.rate": uniform(0.001, 1.0)}, 60, seed=1))
    rates: list[float] = []
    while (settings := found.ask(len(rates))) is not None:
        rate = settings["optimizer.rate"]
        assert isinstance(rate, float)
        rates.append(rate)
        bad = rate > 0.5
        found.tell(len(rates) - 1, outcome if bad else "done", math.nan if bad else 1e9)
    assert any(rate > 0.5 for rate in rates[:10])
    assert sum(rate > 0.5 for rate in rates[-20:]) <= 4


@pytest.mark.parametrize("name", ["", "Sampler", "BaseSampler", "nsgaii", "os", "__doc__", "TPE"])
def test_a_sampler_that_there_is_not_is_refused(name: str) -> None:
    with pytest.raises(PipelineError) as caught:
        optuna_sampler(name)
    assert caught.value.field == "optuna_sampler.sampler"


@pytest.mark.parametrize(
    ("name", "settings", "field"),
    [
        ("TPESampler", {"speed": 3}, "optuna_sampler"),
        ("TPESampler", {"weights": len}, "optuna_sampler.weights"),
        ("PartialFixedSampler", {}, "optuna_sampler"),
        ("NSGAIISampler", {"population_size": 1}, "optuna_sampler"),
        ("TPESampler", {"seed": -1}, "optuna_sampler.seed"),
        ("TPESampler", {"seed": "x"}, "optuna_sampler.seed"),
        ("TPESampler", {"seed": 2**32}, "optuna_sampler.seed"),
    ],
)
def test_settings_that_it_does_not_take_are_refused(name: str, settings: dict[str, Any], field: str) -> None:
    with pytest.raises(PipelineError) as caught:
        optuna_sampler(name, **settings)
    assert caught.value.field == field


WITHOUT = """
import sys
sys.modules["MISSING"] = None
import cirrus
assert not any(name.partition(".")[0] == "optuna" for name in sys.modules if sys.modules[name])
try:
    cirrus.optuna_sampler("SAMPLER")
except cirrus.PipelineError as error:
    print(error.allowed)
"""


@pytest.mark.parametrize(
    ("missing", "sampler", "hint"),
    [("optuna", "TPESampler", "install 'cirrus-serverless[optuna]'"), ("cmaes", "CmaEsSampler", "pip install cmaes")],
)
def test_where_something_is_missing_it_is_said_how_to_get_it(missing: str, sampler: str, hint: str) -> None:
    script = WITHOUT.replace("MISSING", missing).replace("SAMPLER", sampler)
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert hint in done.stdout


def test_it_does_not_talk_and_leaves_optunas_manners_alone(caplog: pytest.LogCaptureFixture) -> None:
    before = optuna.logging.get_verbosity()
    optuna.logging.enable_propagation()
    try:
        with caplog.at_level(logging.DEBUG):
            searched(proposals(tune("TPESampler", trials=5)))
    finally:
        optuna.logging.disable_propagation()
    assert [one.getMessage() for one in caplog.records] == []
    assert optuna.logging.get_verbosity() == before
