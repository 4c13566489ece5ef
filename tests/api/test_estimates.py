"""What a run would cost and take, told before it runs."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest

from cirrus.cli.demo import demo_pipeline
from cirrus.cli.estimating import estimate_file, tell
from cirrus.cli.main import parser
from cirrus.clock import SystemClock
from cirrus.cloud.places import local
from cirrus.cloud.prices import read_prices
from cirrus.core.judging import expected
from cirrus.errors import InputError, PipelineError
from cirrus.estimates import Estimate, StageEstimate, estimate
from cirrus.pipeline import Pipeline, Prepare, Train, Tune
from cirrus.runs import run
from cirrus.search import Grid, Halving, choice
from cirrus.sources import libsvm
from cirrus.testing.data import criteo_like
from cirrus.until import epochs, loss_below
from tests.chaos.ground import Oracle
from tests.cloud.priced import PRICE, Priced, Trace

SIZES = (1 << 20, 4 << 20)
SIX = {"minibatch": choice(50, 100, 200), "depth": choice(1, 4)}
FILE = """
from cirrus import Budget, Pipeline, Prepare, Train, libsvm
pipeline = Pipeline(name="small", data=libsvm({path!r}), stages=(Prepare(workers=1), Train(workers=2)),
                    budget=Budget(dollars=0.0))
"""


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_an_estimate_is_near_what_the_run_costs_then(tmp_path: Path) -> None:
    """Of what no other process of this machine has a part in: workers, and their requests to the store."""
    path = tmp_path / "clicks.tsv"
    criteo_like(path, 40_000, 0)
    pipeline = demo_pipeline(str(path))
    place = Priced(tmp_path / "store", trace=Trace(price=replace(PRICE, per_gb_second=0.0, per_get=1e-6, per_put=1e-5)))
    found = await estimate(pipeline, place, SystemClock(), SIZES)
    result = await run(pipeline, on=place)
    metered = {name: dollars for name, dollars in result.cost.stages.items() if name}
    assert found.measured < found.rows == pytest.approx(40_000, rel=0.02)
    assert [one.stage for one in found.stages] == ["prepare", "tune", "train"]
    assert found.stages[2].rows == pytest.approx(64_000, rel=0.05)
    assert found.dollars == pytest.approx(found.beside + sum(one.dollars for one in found.stages))
    told = {one.stage: one.dollars for one in found.stages}
    assert sum(told.values()) == pytest.approx(sum(metered.values()), rel=0.25)
    for stage in ("prepare", "train"):  # how often trials are measured is a matter of time
        assert told[stage] == pytest.approx(metered[stage], rel=0.25)


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_a_command_estimates_a_file_and_names_the_same_on_one_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.libsvm.gz"
    rows.write_bytes(gzip.compress(b"".join(b"%d %d:1\n" % (number % 2, number % 50 + 1) for number in range(3000))))
    file = tmp_path / "estimated.py"
    file.write_text(FILE.format(path=str(rows)))
    words = ["estimate", str(file), "--region", "eu-central-1", "--architecture", "arm64", "--set", "train.workers=20"]
    await estimate_file(parser().parse_args([*words, "--json"]))
    told = json.loads(capsys.readouterr().out)
    assert told["rows"] == told["measured"] == 3000
    assert 0 < told["beside"] < told["dollars"]
    assert told["dollars"] == pytest.approx(told["beside"] + sum(one["dollars"] for one in told["stages"]))
    assert [one["workers"] for one in told["stages"]] == [1, 20]
    assert told["one_machine"]["host_dollars"] == pytest.approx(told["one_machine"]["seconds"] / 3600 * 0.115)
    found = Estimate((StageEstimate("prepare", 1, 3000.0, 1e-4, 2.0),), 3000.0, 3000.0, 1.0, 1e-5, 3.0)
    prices, arguments = read_prices("eu-central-1"), parser().parse_args(words)
    tell(found, "eu-central-1", prices, arguments)
    assert "the same on one machine  3.0 s" in (said := capsys.readouterr().out)
    assert f"{3.0 / 3600 * 0.115:.6f} dollars on an m5.large" in said
    tell(found, "eu-central-1", replace(prices, hosts={}), arguments)
    assert "m5.large" not in capsys.readouterr().out


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_trials_count_as_far_as_they_can_be_expected_to_go(tmp_path: Path) -> None:
    path = tmp_path / "rows.libsvm"
    path.write_bytes(b"".join(b"%d %d:1\n" % (number % 2, number % 50 + 1) for number in range(2000)))
    search = Tune(Train(until=epochs(2)), space=SIX, sampler=Grid(), prune=Halving(), workers=3)
    stages = (Prepare(workers=1), search, Train.best(workers=20, until=epochs(1)))
    found = await estimate(Pipeline(name="tried", data=libsvm(path), stages=stages), local(), SystemClock())
    assert [(one.stage, one.workers) for one in found.stages] == [("prepare", 1), ("tune", 3), ("train", 20)]
    assert found.stages[1].rows == pytest.approx(2 * expected(Halving(), 6) * found.stages[2].rows)


async def test_what_cannot_be_foreseen_is_refused_before_anything_runs(tmp_path: Path) -> None:
    oracle = Oracle(rows=64)
    pipeline = oracle.pipeline(tmp_path, oracle.train(workers=1))
    endless = replace(pipeline.trains[0], until=loss_below(0.4))
    tested = replace(pipeline.prepare, test=0.5)
    with pytest.raises(PipelineError, match=r"train\.until"):
        await estimate(replace(pipeline, stages=(tested, endless)), local(), SystemClock())
    with pytest.raises(InputError):
        await estimate(replace(pipeline, data=libsvm(tmp_path / "none")), local(), SystemClock())
