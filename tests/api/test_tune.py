"""Trials side by side: compared as they go, ended by order or by their losses, and the best one gone on with."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Mapping
from pathlib import Path
from random import Random

import pytest

import cirrus
from cirrus import events
from cirrus.actors.records import is_alive
from cirrus.actors.work import read_train_work
from cirrus.cloud.places import Local, local
from cirrus.errors import Killed, PipelineError, StageFailed
from cirrus.models import LogisticRegression
from cirrus.optimizers import FTRL, SGD, Adagrad
from cirrus.pipeline import Pipeline, Prepare, Train, Tune
from cirrus.results import Result
from cirrus.runs import run, start
from cirrus.search import Domain, Grid, Halving, choice, log_uniform
from cirrus.sources import Source, criteo
from cirrus.steps import Bucket, Hash, every
from cirrus.testing.data import criteo_like
from cirrus.until import epochs

ROWS, BLOCK = 12_000, 400
DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Source:
    path = tmp_path_factory.mktemp("rows") / "clicks.tsv"
    criteo_like(path, ROWS, seed=5)
    return criteo(str(path))


@pytest.fixture
def place(tmp_path: Path) -> Local:
    return local(tmp_path / "store")


def tuned(data: Source, space: Mapping[str, Domain], **changes: object) -> Pipeline:
    """A pipeline that tunes over ``space``; ``passes`` and the fields of ``Tune`` may be others."""
    passes = int(str(changes.pop("passes", 3)))
    train = Train(LogisticRegression(), optimizer=Adagrad(), until=epochs(passes), workers=3)
    given: dict[str, object] = {"trials": 9, "at_once": 3, "prune": Halving(), **changes}
    tune = Tune(train, space=space, **given)  # type: ignore[arg-type]
    return Pipeline(
        name="tuned",
        data=data,
        stages=(
            Prepare(steps=(Bucket(), Hash(bits=14)), test=every(5, at=4), block=BLOCK),
            tune,
            Train.best(workers=2),
        ),
    )


def check_outcomes(result: Result) -> None:
    """Every trial ended once, the best is the one with the smallest loss, and what goes on has its settings."""
    done = [one for one in result.trials if one.outcome == "done"]
    best = min(done, key=lambda one: one.loss)
    assert result.metrics["tune"]["best"] == best.number
    assert result.metrics["tune"]["log_loss"] == best.loss == best.metrics["log_loss"]
    assert [one.number for one in result.trials] == list(range(len(result.trials)))


async def test_the_best_is_found_with_less_than_half_of_the_work(rows: Source, place: Local) -> None:
    pipeline = tuned(rows, {"optimizer.rate": log_uniform(1e-3, 1.0), "model.l2": choice(0.0, 1e-5)})
    living, most, told = set(), 0, dict[int, Mapping[str, object]]()
    steps = list[int]()
    async with start(pipeline, on=place) as going:
        async for event in going.events():
            match event:
                case events.TrialStarted(trial=trial, settings=settings):
                    living.add(trial)
                    told[trial] = settings
                case events.TrialFinished(trial=trial):
                    living.remove(trial)
                case events.ResourcesReported(wished=wished):
                    assert wished.get("tune", 0) <= 3 + 1, "the stage's workers, and one that measures"
                case events.StageProgress(stage="tune", steps=done):
                    steps.append(done)
                case _:
                    pass
            most = max(most, len(living))
        result = await going.result()
    assert most == 3
    assert steps == sorted(steps), "what was done stays done when a trial has ended"
    check_outcomes(result)
    assert {one.outcome for one in result.trials} == {"done", "pruned"}
    whole = 9 * 3 * result.metrics["prepare"]["train"]
    assert sum(one.samples for one in result.trials) <= 0.6 * whole
    assert {one.number: one.settings for one in result.trials} == told
    assert result.metrics["train"]["log_loss"] == pytest.approx(result.metrics["tune"]["log_loss"], abs=0.02)
    curves = {one.trial for one in result.history if one.stage == "tune"}
    assert curves == set(range(9))


async def test_a_trial_that_is_killed_takes_its_workers_along_and_no_other(rows: Source, place: Local) -> None:
    pipeline = tuned(rows, {"optimizer.rate": choice(0.05, 0.1, 0.2)}, sampler=Grid(), prune=None, passes=40)
    pids = dict[int, str]()
    async with start(pipeline, on=place) as going:
        async for event in going.events():
            match event:
                case events.WorkerStarted(stage=pool, pid=pid):
                    pids[pid] = pool
                case events.LossReported(trial=1):
                    break
                case _:
                    pass
        await going.kill(trial=1, reason="not wanted")
        theirs = [pid for pid, pool in pids.items() if pool == "tune.trial1"]
        assert theirs
        async with asyncio.timeout(30):
            while any(is_alive(pid) for pid in theirs):
                await asyncio.sleep(0.02)
        await going.kill(trial=1, reason="for the second time")
        with pytest.raises(PipelineError, match="one that goes on"):
            await going.kill(trial=99)
        result = await going.result()
    assert {one.number: (one.outcome, one.reason) for one in result.trials} == {
        0: ("done", ""), 1: ("killed", "not wanted"), 2: ("done", ""),
    }  # fmt: skip
    assert all(one.samples == 40 * result.metrics["prepare"]["train"] for one in result.trials if one.number != 1)
    assert result.metrics["tune"]["best"] != 1


async def test_a_trial_is_killed_from_elsewhere(rows: Source, place: Local) -> None:
    pipeline = tuned(rows, {"optimizer.rate": choice(0.05, 0.1)}, sampler=Grid(), prune=None, passes=400)
    ordered = False
    async with start(pipeline, on=place) as going:
        async for event in going.events():
            match event:
                case events.LossReported(trial=0) if not ordered:
                    ordered = True
                    assert await cirrus.kill(going.run_id, trial=0, reason="from elsewhere", on=place) == "running"
                    await going.kill(trial=1, reason="here")
                case events.TrialFinished(trial=0, outcome=outcome, reason=reason):
                    assert (outcome, reason) == ("killed", "from elsewhere")
                case _:
                    pass
        with pytest.raises(StageFailed, match="no trial has come to its end"):
            await going.result()


async def test_a_trial_that_goes_astray_is_the_worst_and_ends_no_other(rows: Source, place: Local) -> None:
    space = {"optimizer": choice(SGD(1e38), Adagrad(0.1), FTRL(0.1))}
    result = await run(tuned(rows, space, sampler=Grid(), prune=None, passes=2), on=place)
    check_outcomes(result)
    astray, *others = result.trials
    assert astray.outcome == "diverged"
    assert "done" in {one.outcome for one in others}
    assert all(math.isfinite(one.loss) for one in others)


async def test_where_all_go_astray_the_stage_fails_and_says_so(rows: Source, place: Local) -> None:
    space = {"optimizer": choice(SGD(1e38), SGD(3e38))}
    with pytest.raises(StageFailed, match="no trial has come to its end") as caught:
        await run(tuned(rows, space, sampler=Grid()), on=place)
    assert "trial 0 is diverged" in str(caught.value.evidence)


async def test_a_stage_that_tunes_is_scaled_down_to_nothing_and_up_again(rows: Source, place: Local) -> None:
    pipeline = tuned(rows, {"optimizer.rate": log_uniform(0.01, 0.3)}, trials=4, prune=None, passes=10)
    seen = list[int]()
    async with start(pipeline, on=place) as going:
        async for event in going.events():
            match event:
                case events.TrialStarted(trial=0):
                    await going.scale("tune", 0)
                case events.ResourcesReported(wished={"tune": 1}) if 0 not in seen:
                    seen.append(0)  # who measures stays
                    await going.scale("tune", 4)
                case events.ResourcesReported(wished={"tune": 4 | 5}):
                    seen.append(4)
                case _:
                    pass
        result = await going.result()
    assert 0 in seen
    assert [one.outcome for one in result.trials] == ["done"] * 4


async def test_workers_are_told_how_many_learn_beside_them(rows: Source, place: Local) -> None:
    pipeline = tuned(rows, {"optimizer.rate": log_uniform(0.01, 0.3)}, trials=3, prune=None)
    result = await run(pipeline, on=place)
    store = place.open()
    keys = [f"runs/{result.run_id}/tune.trial{trial}/work.json" for trial in range(3)]
    workers = [(await read_train_work(store, key)).train.workers for key in keys]
    await store.close()
    assert min(workers) == 1, "the first that ends had no more"
    assert max(workers) == 3, "the last has all"


@pytest.mark.parametrize("seed", range(4))
async def test_trials_are_killed_twice_at_any_moment(rows: Source, place: Local, seed: int) -> None:
    chance = Random(seed)
    pipeline = tuned(rows, {"optimizer.rate": log_uniform(0.01, 0.3)}, trials=6, passes=4)
    ordered = set[int]()
    ends = dict[int, list[str]]()
    async with start(pipeline, on=place) as going:
        async for event in going.events():
            if isinstance(event, events.TrialFinished):
                ends.setdefault(event.trial, []).append(event.outcome)
            if chance.random() < 0.05 and len(ordered) < 4:
                trial = chance.randrange(6)
                with contextlib.suppress(PipelineError):  # it has not begun, or has come to its end
                    await asyncio.gather(going.kill(trial=trial), going.kill(trial=trial, reason="again"))
                    ordered.add(trial)
        result = await going.result()
    assert {trial: [one] for trial, one in ((one.number, one.outcome) for one in result.trials)} == ends
    assert {one.number for one in result.trials if one.outcome == "killed"} == ordered


async def test_a_run_that_tunes_is_killed_whole(rows: Source, place: Local) -> None:
    pipeline = tuned(rows, {"optimizer.rate": log_uniform(0.01, 0.3)}, prune=None, passes=400)
    async with start(pipeline, on=place) as going:
        async for event in going.events():
            if isinstance(event, events.LossReported):
                break
        await going.kill(reason="enough")
        with pytest.raises(Killed):
            await going.result()


@pytest.mark.realdata
@pytest.mark.skipif(not DATA.is_dir(), reason="the data sets are not beside the project, at ../shared/data")
async def test_criteo_is_tuned_as_well_as_by_the_whole_grid(place: Local) -> None:
    space = {
        "optimizer": choice(Adagrad(), FTRL()),
        "optimizer.rate": choice(0.03, 0.05, 0.07, 0.1),
        "model.l2": choice(0.0, 1e-3, 1e-2),
    }
    train = Train(LogisticRegression(), until=epochs(4), workers=8)
    pipeline = Pipeline(
        name="criteo",
        data=criteo(str(DATA / "criteo_kaggle.tsv.gz")),
        stages=(
            Prepare(steps=(Bucket(), Hash(bits=18)), test=every(5, at=4), block=512),
            Tune(train, space=space, sampler=Grid(), trials=24, at_once=8, prune=Halving(eta=3)),
        ),
    )
    result = await run(pipeline, on=place)
    assert len(result.trials) == 24
    assert result.metrics["tune"]["log_loss"] <= 0.470
    whole = 24 * 4 * result.metrics["prepare"]["train"]
    assert sum(one.samples for one in result.trials) <= 0.45 * whole
    again = await run(pipeline, on=place)
    assert [one.settings for one in again.trials] == [one.settings for one in result.trials]
