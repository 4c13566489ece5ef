"""The command line: what it prints where, what it accepts, how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from cirrus.cli.main import main
from cirrus.cli.output import DONE, FAILED, INTERRUPTED
from cirrus.learn.encoding import Encoder
from cirrus.models import LogisticRegression
from cirrus.sources import CsvSource, LibsvmSource, Source
from cirrus.testing.data import criteo_like
from cirrus.trained import Model

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
CIRRUS = (sys.executable, "-m", "cirrus")
PIPELINES = """
from dataclasses import dataclass
from typing import ClassVar

from cirrus import Hash, ModelSpec, Pipeline, Prepare, Train, csv, epochs
from cirrus.testing.counting import CountingKernel
from paths import DATA


@dataclass(frozen=True, slots=True)
class Mine(ModelSpec):
    kernel: ClassVar[str] = "pipelines:MineKernel"

    room: int = 50
    pause: float = 0.0


class MineKernel(CountingKernel):
    pass


short = Pipeline(
    name="short",
    data=csv(DATA, label="clicked"),
    stages=(Prepare(steps=(Hash(bits=8),), workers=1), Train(workers=1)),
)
own = Pipeline(
    name="own",
    data=csv(DATA, label="clicked"),
    stages=(Prepare(steps=(Hash(bits=8),), test=0.0, workers=1), Train(Mine(), workers=1, minibatch=20)),
)
endless = Pipeline(
    name="endless",
    data=csv(DATA, label="clicked"),
    stages=(Prepare(steps=(Hash(bits=8),), workers=1), Train(workers=2, until=epochs(1_000_000))),
)
"""

Words = Callable[..., tuple[int, str, str]]


def strict(text: str) -> Any:
    """JSON without the numbers that JSON does not have."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def cirrus(capsys: pytest.CaptureFixture[str]) -> Words:
    """Call the command in this process: exit code, standard output, standard error."""

    def call(*words: object) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def demo(store: Path) -> dict[str, Any]:
    """What ``cirrus demo --json`` printed."""
    command = (*CIRRUS, "demo", "--rows", "20000", "--json", "--store", str(store))
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert (done.returncode, done.stderr) == (DONE, "")
    found: dict[str, Any] = strict(done.stdout)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a pipeline file, which imports from beside itself, and its data."""
    (tmp_path / "data.csv").write_text(
        "age,city,clicked\n" + "".join(f"{k % 70},c{k % 9},{int(k % 9 < 3)}\n" for k in range(600))
    )
    (tmp_path / "paths.py").write_text(f"DATA = {str(tmp_path / 'data.csv')!r}\n")
    (tmp_path / "pipelines.py").write_text(PIPELINES)
    return tmp_path


def test_the_demo_prints_one_object_and_nothing_else(demo: dict[str, Any]) -> None:
    assert set(demo) == {
        "run_id", "rows", "log_loss", "optimum", "auc", "samples_per_second", "seconds", "dollars",
    }  # fmt: skip
    assert demo["rows"] == 20_000
    assert demo["optimum"] - 0.01 < demo["log_loss"] < demo["optimum"] + 0.08
    assert 0.7 < demo["auc"] < 0.85
    assert demo["samples_per_second"] > 0
    assert demo["dollars"] == 0


def test_a_run_is_listed(demo: dict[str, Any], store: Path, cirrus: Words) -> None:
    code, out, err = cirrus("ls", "--store", store)
    assert (code, err) == (DONE, "")
    line = next(line for line in out.splitlines() if line.startswith(demo["run_id"]))
    assert f"done     {demo['log_loss']:.4f}" in line
    runs = strict(cirrus("ls", "--json", "--store", store)[1])
    found = next(one for one in runs if one["run_id"] == demo["run_id"])
    assert (found["outcome"], found["name"]) == ("done", "demo")
    assert found["metrics"]["train"]["log_loss"] == demo["log_loss"]


def test_an_empty_store_lists_nothing(tmp_path: Path, cirrus: Words) -> None:
    assert strict(cirrus("ls", "--json", "--store", tmp_path)[1]) == []
    assert cirrus("ls", "--store", tmp_path)[1].startswith("RUN ")


def test_a_run_that_cannot_be_read_does_not_hide_the_others(demo: dict[str, Any], store: Path, cirrus: Words) -> None:
    (store / "runs" / "torn").mkdir()
    (store / "runs" / "torn" / "run.json").write_text("{")
    code, out, err = cirrus("ls", "--store", store)
    (store / "runs" / "torn" / "run.json").unlink()
    assert (code, err) == (DONE, "")
    assert re.search(r"^torn .* unreadable", out, re.MULTILINE)
    assert demo["run_id"] in out


def test_a_run_predicts_rows_with_and_without_labels(
    demo: dict[str, Any], store: Path, cirrus: Words, tmp_path: Path
) -> None:
    criteo_like(tmp_path / "rows.tsv", 50, seed=1)
    rows = (tmp_path / "rows.tsv").read_text().splitlines()
    (tmp_path / "bare.tsv").write_text("".join(line.partition("\t")[2] + "\n" for line in rows))
    code, out, err = cirrus("predict", demo["run_id"], tmp_path / "rows.tsv", "--store", store)
    assert (code, err) == (DONE, "")
    chances = [float(line) for line in out.splitlines()]
    assert len(chances) == 50
    assert all(0 < chance < 1 for chance in chances)
    assert cirrus("predict", demo["run_id"], tmp_path / "bare.tsv", "--store", store)[1] == out
    found = strict(cirrus("predict", demo["run_id"], tmp_path / "rows.tsv", "--store", store, "--json")[1])
    assert found["probabilities"] == pytest.approx(chances, abs=1e-6)


def test_a_run_of_a_file(folder: Path, cirrus: Words) -> None:
    options = ("--store", folder / "store", "--set", "train.minibatch=50", "--set", "train.optimizer.rate=0.2")
    code, out, err = cirrus("run", f"{folder / 'pipelines.py'}:short", *options, "--json")
    assert (code, err) == (DONE, "")
    found = strict(out)
    assert found["run_id"].startswith("short-")
    assert found["metrics"]["train"]["steps"] == np.ceil(found["metrics"]["prepare"]["train"] / 50)
    code, out, err = cirrus("run", f"{folder / 'pipelines.py'}:short", *options, "--set", "prepare.test=0.0")
    assert code == DONE
    assert err.count("\n") < 20, "a log stays short"
    for sign in ("prepare: begins with 1 workers", "600 to train, 0 to test", "train: all workers are here"):
        assert sign in err
    assert "train samples" in out


def test_a_model_of_the_pipelines_own_file_reaches_the_workers(folder: Path, cirrus: Words) -> None:
    code, out, err = cirrus("run", f"{folder / 'pipelines.py'}:own", "--store", folder / "store", "--json")
    assert (code, err) == (DONE, "")
    assert strict(out)["metrics"]["train"]["steps"] == 30


def a_model(source: Source, features: int) -> Model:
    weights = np.linspace(-1, 1, features + 1, dtype=np.float32)[:, None]
    return Model(LogisticRegression(), Encoder(source, (), {}, features), {"weights": weights}, {})


@pytest.fixture
def table_model(tmp_path: Path) -> Path:
    """A model that was saved, of a table of two numbers with a label between them."""
    source = CsvSource(path="x", label="y", names=("a", "y", "b"), columns={"a": "number", "b": "number"})
    a_model(source, 2).save(tmp_path / "table.safetensors")
    return tmp_path / "table.safetensors"


@pytest.mark.parametrize(
    "rows",
    ["a,y,b\n1,0,2\n3,1,-1\n", "b,a,y\n2,1,0\n-1,3,1\n", "b,a\n2,1\n-1,3\n", "1,0,2\n3,1,-1\n", "1,2\n\n3,-1\n"],
    ids=["header", "other order", "no label", "no header", "neither"],
)
def test_tables_are_predicted_by_their_columns(table_model: Path, cirrus: Words, tmp_path: Path, rows: str) -> None:
    (tmp_path / "rows.csv").write_text(rows)
    code, out, err = cirrus("predict", table_model, tmp_path / "rows.csv")
    assert (code, err) == (DONE, "")
    margins = np.array([1 * -1 + 2 * 0 + 1, 3 * -1 + -1 * 0 + 1])
    assert [float(line) for line in out.splitlines()] == pytest.approx(1 / (1 + np.exp(-margins)), abs=1e-6)


@pytest.mark.parametrize(
    ("rows", "place"),
    [
        ("a,y,b\n1,0,2\n\nx,1,3\n", "line 4, column 'a': 'x' is no number"),
        ("a,y\n1,0\n", "line 1, column 'b': no such column; there are 'a', 'y'"),
    ],
)
def test_a_row_that_does_not_fit_is_named(
    table_model: Path, cirrus: Words, tmp_path: Path, rows: str, place: str
) -> None:
    (tmp_path / "rows.csv").write_text(rows)
    code, out, err = cirrus("predict", table_model, tmp_path / "rows.csv")
    assert (code, out) == (FAILED, "")
    assert err.startswith(f"cirrus: {tmp_path / 'rows.csv'}, {place}")


def test_sparse_rows_are_predicted(cirrus: Words, tmp_path: Path) -> None:
    a_model(LibsvmSource(path="x", features=2), 2).save(tmp_path / "m.safetensors")
    for number, rows in enumerate(("1 1:1 2:2\n0 1:3\n", "1:1 2:2\n1:3\n")):
        (tmp_path / f"{number}.svm").write_text(rows)
        found = strict(cirrus("predict", tmp_path / "m.safetensors", tmp_path / f"{number}.svm", "--json")[1])
        assert found["probabilities"] == pytest.approx([0.5, 1 / (1 + np.exp(2))], abs=1e-6)


def test_whoever_has_read_enough_is_no_error(table_model: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,y,b\n" + "1,0,2\n" * 100_000)
    command = (*CIRRUS, "predict", str(table_model), str(tmp_path / "rows.csv"))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == DONE


def heed_ctrl_c() -> None:
    """What a shell starts in the background, which these tests may be, ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_parks_the_run_and_leaves_no_process(folder: Path, cirrus: Words) -> None:
    command = (*CIRRUS, "run", str(folder / "pipelines.py:endless"), "--store", str(folder / "store"))
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, start_new_session=True,
        preexec_fn=heed_ctrl_c,  # noqa: PLW1509  it calls nothing that locks
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert process.stdout is not None
        for line in process.stderr:
            if "train: all workers are here" in line:
                break
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 4, "a shard, two workers, one that evaluates"
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to everybody
        last = process.stderr.read().splitlines()[-1]
        assert process.stdout.read() == ""
    assert (process.returncode, last) == (INTERRUPTED, "cirrus: interrupted")
    assert not [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    runs = strict(cirrus("ls", "--json", "--store", folder / "store")[1])
    assert [one["outcome"] for one in runs] == ["parked"]


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["demo", "--help"], ["predict", "-h"], ["ls", "-h"]])
def test_help_says_the_exit_codes(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == DONE
    assert "130 interrupted" in " ".join(capsys.readouterr().out.split())
