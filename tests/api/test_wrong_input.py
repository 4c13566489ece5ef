"""Whatever is wrong with a pipeline or its input is a typed error that names it, before any process is started."""

from __future__ import annotations

import asyncio
import gzip
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pytest

import cirrus
from cirrus.cli.main import main
from cirrus.cli.output import FAILED, WRONG
from cirrus.errors import InputError, PipelineError, RunError
from cirrus.events import Event, ShardStarted, WorkerReplaced, WorkerStarted
from cirrus.models import ModelSpec
from cirrus.pipeline import Pipeline, Prepare, Train
from cirrus.sources import Source, criteo, csv, libsvm
from cirrus.steps import Bucket, Hash
from cirrus.testing.data import criteo_like
from cirrus.until import epochs, loss_below

CSV = "age,city,clicked\n" + "".join(f"{k % 70},c{k % 9},{k % 2}\n" for k in range(600))
STEPS = (Bucket(), Hash(bits=10))
FIRST_LOOK = 256 << 10
"""Bytes of each file that are looked at before anything is started."""


def pipeline(data: Source, *, steps: Any = STEPS, test: Any = 0.1, train: bool = False) -> Pipeline:
    stages = (Prepare(steps=steps, test=test), *((Train(workers=1),) if train else ()))
    return Pipeline(name="wrong", data=data, stages=stages)


def children() -> list[int]:
    return [one.pid for one in psutil.Process().children(recursive=True)]


async def refused(data: Source, store: Path, *, steps: Any = STEPS, test: Any = 0.1) -> InputError:
    """The error of a run that ends before any process is started."""
    heard: list[Event] = []
    with pytest.raises(InputError) as caught:
        async with cirrus.start(pipeline(data, steps=steps, test=test), on=cirrus.local(store)) as run:
            heard.extend([event async for event in run.events()])
    assert not any(isinstance(event, ShardStarted | WorkerStarted) for event in heard)
    assert children() == []
    return caught.value


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "clicks.csv"
    path.write_text(CSV)
    return path


async def test_a_missing_file(tmp_path: Path) -> None:
    error = await refused(criteo(tmp_path / "none.tsv"), tmp_path)
    assert (error.name, error.problem) == (str(tmp_path / "none.tsv"), "no such file")


async def test_a_glob_that_matches_nothing(tmp_path: Path) -> None:
    error = await refused(criteo(tmp_path / "day_*.tsv"), tmp_path)
    assert error.name == str(tmp_path / "day_*.tsv")


async def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").touch()
    error = await refused(criteo(tmp_path / "a.tsv"), tmp_path)
    assert (error.name, error.problem) == (str(tmp_path / "a.tsv"), "this file is empty")


async def test_a_file_of_a_header_alone(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("age,city,clicked\n")
    error = await refused(csv(tmp_path / "a.csv", label="clicked"), tmp_path)
    assert error.problem == "there is no row in this file"


async def test_a_folder_without_the_slash(tmp_path: Path) -> None:
    error = await refused(criteo(tmp_path), tmp_path)
    assert error.name == str(tmp_path)
    assert "end it with /" in error.problem


@pytest.mark.parametrize("wrong", [{"label": "click"}, {"label": "clicked", "columns": {"town": "category"}}])
async def test_a_column_that_is_not_there(table: Path, tmp_path: Path, wrong: Any) -> None:
    error = await refused(csv(table, **wrong), tmp_path / "store")
    assert (error.name, error.line) == (str(table), 1)
    assert error.column in {"click", "town"}
    assert "'age', 'city', 'clicked'" in error.problem


async def test_a_step_for_a_column_that_is_not_there(table: Path, tmp_path: Path) -> None:
    with pytest.raises(PipelineError) as caught:
        await cirrus.run(pipeline(csv(table, label="clicked"), steps=(Bucket(("I1",)),)), on=cirrus.local(tmp_path))
    assert "I1" in str(caught.value)
    assert children() == []


async def test_categories_without_a_hash(table: Path, tmp_path: Path) -> None:
    with pytest.raises(PipelineError) as caught:
        await cirrus.run(pipeline(csv(table, label="clicked"), steps=()), on=cirrus.local(tmp_path))
    assert caught.value.field == "prepare.steps"
    assert "city" in str(caught.value)


async def test_a_truncated_gzip(table: Path, tmp_path: Path) -> None:
    whole = gzip.compress(CSV.encode())
    for size in (len(whole) // 2, len(whole) - 3):
        (tmp_path / "cut.gz").write_bytes(whole[:size])
        error = await refused(csv(tmp_path / "cut.gz", label="clicked"), tmp_path / "store")
        assert error.name == str(tmp_path / "cut.gz")
        assert "gzip" in error.problem


async def test_a_text_where_a_number_should_be(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(CSV + "young,c1,0\n")
    error = await refused(csv(tmp_path / "a.csv", label="clicked", columns={"age": "number"}), tmp_path)
    assert (error.name, error.line, error.column) == (str(tmp_path / "a.csv"), 602, "age")
    assert "'young' is no number" in error.problem


async def test_labels_that_are_texts_need_the_positive_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(CSV.replace(",1\n", ",yes\n").replace(",0\n", ",no\n"))
    error = await refused(csv(tmp_path / "a.csv", label="clicked"), tmp_path)
    assert (error.line, error.column) == (2, "clicked")
    assert "'no' is no label" in error.problem
    assert "positive=" in error.problem


async def test_a_bad_file_among_many_is_the_one_that_is_named(tmp_path: Path) -> None:
    for number in range(3):
        criteo_like(tmp_path / f"day_{number}.tsv", 20, number)
    with (tmp_path / "day_1.tsv").open("a") as file:
        file.write("2\tx\n")
    error = await refused(criteo(tmp_path / "day_*.tsv"), tmp_path / "store")
    assert (error.name, error.line) == (str(tmp_path / "day_1.tsv"), 21)


async def test_a_test_set_that_is_missing(table: Path, tmp_path: Path) -> None:
    test = csv(tmp_path / "test.csv", label="clicked")
    error = await refused(csv(table, label="clicked"), tmp_path / "store", test=test)
    assert error.name == str(tmp_path / "test.csv")


async def test_a_test_set_of_other_columns(table: Path, tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text("age,clicked\n3,1\n")
    test = csv(tmp_path / "test.csv", label="clicked")
    error = await refused(csv(table, label="clicked"), tmp_path / "store", test=test)
    assert (error.name, error.column) == (str(tmp_path / "test.csv"), "city")


def test_settings_out_of_range_are_errors_at_construction() -> None:
    with pytest.raises(PipelineError, match=r"^train\.workers: got -1; allowed: a whole number from 0 to"):
        Train(workers=-1)
    with pytest.raises(PipelineError, match=r"^Hash\.bits: got 40; allowed: a whole number from 1 to 30"):
        Hash(bits=40)


@dataclass(frozen=True, slots=True)
class Kernelless(ModelSpec):
    kernel: ClassVar[str] = "tests.api.test_wrong_input:nothing"


async def test_models_and_kernels_that_workers_cannot_import(table: Path, tmp_path: Path) -> None:
    @dataclass(frozen=True, slots=True)
    class Local(ModelSpec):
        kernel: ClassVar[str] = "cirrus.learn.logistic:Logistic"

    for model, field in ((Local(), "train.model"), (Kernelless(), "model.kernel")):
        stages = (Prepare(steps=STEPS), Train(model))
        with pytest.raises(PipelineError) as caught:
            await cirrus.run(Pipeline(name="x", data=csv(table, label="clicked"), stages=stages))
        assert caught.value.field == field
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("until", [loss_below(0.4), epochs(3) | loss_below(0.4), loss_below(0.4) & epochs(2)])
def test_a_loss_cannot_decide_without_test_rows(until: Any) -> None:
    def made(test: float) -> Pipeline:
        return Pipeline(name="x", data=criteo("x"), stages=(Prepare(steps=STEPS, test=test), Train(until=until)))

    with pytest.raises(PipelineError) as caught:
        made(0.0)
    assert caught.value.field == "train.until"
    assert made(0.1).trains[0].until == until


async def test_scaling_a_stage_that_is_not_there_ends_the_run(table: Path, tmp_path: Path) -> None:
    data = csv(table, label="clicked")
    with pytest.raises(PipelineError) as caught:
        async with cirrus.start(pipeline(data, train=True), on=cirrus.local(tmp_path / "store")) as run:
            await run.scale("trian", 3)
    assert caught.value.field == "stage"
    assert "'prepare', 'train'" in str(caught.value)
    assert children() == []


async def test_scaling_below_zero(table: Path, tmp_path: Path) -> None:
    data = csv(table, label="clicked")
    with pytest.raises(PipelineError) as caught:
        async with cirrus.start(pipeline(data, train=True), on=cirrus.local(tmp_path / "store")) as run:
            await run.scale("train", -1)
    assert caught.value.field == "workers"
    assert children() == []


def long_table(path: Path, bad: dict[int, str]) -> int:
    """A CSV file whose bad lines (by number) stand beyond what is looked at first; how many rows it has."""
    lines = ["age,city,clicked"] + [f"{k % 70},somewhere-{k % 999},{k % 2}" for k in range(30_000)]
    for number, text in bad.items():
        lines[number - 1] = text
    text = "\n".join(lines) + "\n"
    assert text.index(next(iter(bad.values()))) > FIRST_LOOK
    path.write_text(text)
    return len(lines) - 1


async def listen(wish: Pipeline, store: Path, heard: list[Event]) -> None:
    async with cirrus.start(wish, on=cirrus.local(store)) as run:
        heard.extend([event async for event in run.events()])


def test_a_bad_row_far_down_ends_the_run_at_once(tmp_path: Path) -> None:
    long_table(tmp_path / "a.csv", {25_001: "seven,x,1"})
    data = csv(tmp_path / "a.csv", label="clicked", columns={"age": "number", "city": "category"})
    heard: list[Event] = []
    with pytest.raises(InputError) as caught:
        asyncio.run(listen(pipeline(data), tmp_path / "store", heard))
    assert (caught.value.name, caught.value.line, caught.value.column) == (str(tmp_path / "a.csv"), 25_001, "age")
    assert not any(isinstance(event, WorkerReplaced) for event in heard)
    assert children() == []


def test_a_line_number_is_that_of_the_file_and_not_of_a_piece(tmp_path: Path) -> None:
    with (tmp_path / "a.csv").open("w") as file:
        file.write("age,clicked\n" + "1,0\n" * 400_000 + "x,0\n" + "1,0\n" * 100_000)
    data = csv(tmp_path / "a.csv", label="clicked", columns={"age": "number"})
    with pytest.raises(InputError) as caught:
        cirrus.run_sync(pipeline(data, steps=()), on=cirrus.local(tmp_path / "store"))
    assert (caught.value.line, caught.value.column) == (400_002, "age")


def test_bad_rows_that_are_skipped_are_counted(tmp_path: Path) -> None:
    rows = long_table(tmp_path / "a.csv", {25_001: "seven,x,1", 25_003: "1,2", 25_004: "3,x,maybe"})
    data = csv(tmp_path / "a.csv", label="clicked", columns={"age": "number", "city": "category"}, on_bad_row="skip")
    result = cirrus.run_sync(pipeline(data), on=cirrus.local(tmp_path / "store"))
    found = result.metrics["prepare"]
    assert (found["rows_in"], found["skipped"], found["train"] + found["test"]) == (rows, 3, rows - 3)


def test_globs_folders_plain_and_gzip_are_one_input(tmp_path: Path) -> None:
    folder = tmp_path / "days"
    folder.mkdir()
    (folder / "b.csv").write_text(CSV)
    (folder / "a.csv.gz").write_bytes(gzip.compress(CSV.encode()))
    for path in (str(folder / "*.csv*"), f"{folder}/"):
        result = cirrus.run_sync(pipeline(csv(path, label="clicked"), test=0.0), on=cirrus.local(tmp_path / "store"))
        found = result.metrics["prepare"]
        assert (found["rows_in"], found["train"], found["test"]) == (1200, 1200, 0)


def test_an_official_test_set_of_csv_rows(table: Path, tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text("clicked,city,age\n1,c1,4\n0,c2,5\n")
    wish = pipeline(csv(table, label="clicked"), test=csv(tmp_path / "test.csv", label="clicked"))
    found = cirrus.run_sync(wish, on=cirrus.local(tmp_path / "store")).metrics["prepare"]
    assert (found["train"], found["test"]) == (600, 2)


def test_an_official_test_set_of_sparse_rows(tmp_path: Path) -> None:
    (tmp_path / "a.svm").write_text("1 1:2 5:0.5\n0 2:1\n" * 50)
    (tmp_path / "t.svm").write_text("1 1:2 7:0.5\n0 3:1\n")
    wish = pipeline(libsvm(tmp_path / "a.svm"), steps=(), test=libsvm(tmp_path / "t.svm"))
    found = cirrus.run_sync(wish, on=cirrus.local(tmp_path / "store")).metrics["prepare"]
    assert (found["train"], found["test"], found["features"]) == (100, 2, 5)


COMMAND_LINE = [
    ("data=cirrus.criteo('none.tsv')", [], FAILED, ["none.tsv", "no such file"]),
    ("data=cirrus.criteo('empty.tsv')", [], FAILED, ["empty.tsv", "empty"]),
    ("data=cirrus.csv('a.csv', label='click')", [], FAILED, ["a.csv", "'click'"]),
    ("data=cirrus.csv('cut.gz', label='clicked')", [], FAILED, ["cut.gz", "gzip"]),
    ("data=cirrus.csv('a.csv', label='city')", [], FAILED, ["a.csv, line 2, column 'city'", "'c0'"]),
    ("data=cirrus.csv('a.csv', label='clicked')", ["--set", "train.workers=-1"], WRONG, ["train.workers", "-1"]),
    ("data=cirrus.csv('a.csv', label='clicked')", ["--set", "train.workers=many"], WRONG, ["train.workers", "many"]),
    ("data=cirrus.csv('a.csv', label='clicked')", ["--set", "trian.workers=1"], WRONG, ["trian.workers", "train"]),
    ("data=cirrus.csv('a.csv', label='clicked')", ["--set", "train.worker=1"], WRONG, ["train.worker=1", "workers"]),
    ("data=cirrus.csv('a.csv', label='clicked')", ["--set", "train.workers"], WRONG, ["train.workers"]),
    ("data=cirrus.csv('a.csv', label='clicked')", ["--set", "train.until=3"], WRONG, ["train.until", "3"]),
    ("data=cirrus.csv('a.csv', label='clicked'), bits=40", [], WRONG, ["bits"]),
    ("data=oops", [], WRONG, ["NameError at line 2", "oops"]),
    ("data=", [], WRONG, ["SyntaxError at line 2"]),
]
FILE = """import cirrus
pipeline = cirrus.Pipeline(name="x", {}, stages=(cirrus.Prepare(steps=(cirrus.Hash(bits=9),)), cirrus.Train()))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "a.csv").write_text(CSV)
    (tmp_path / "empty.tsv").touch()
    (tmp_path / "cut.gz").write_bytes(gzip.compress(CSV.encode())[:-20])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("data", "options", "code", "words"), COMMAND_LINE)
def test_the_command_says_it_in_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], data: str, options: list[str], code: int, words: list[str]
) -> None:
    (folder / "p.py").write_text(FILE.format(data))
    assert main(["run", "p.py", "--store", "store", *options]) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("cirrus: ")
    assert shown.err.count("\n") == 1
    assert all(word in shown.err for word in words), shown.err
    assert not (folder / "store" / "runs").exists(), "nothing was started"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["run", "none.py"], WRONG),
        (["run", "a.csv"], WRONG),
        (["run", "json.py"], WRONG),
        (["run", "p.py:other"], WRONG),
        (["predict", "none-20261124-abcd", "a.csv"], WRONG),
        (["predict", "a.csv", "a.csv"], 4),
        (["demo", "--rows", "5"], WRONG),
        (["demo", "--seed", "-1"], WRONG),
    ],
)
def test_other_wrong_words(folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int) -> None:
    for name in ("p.py", "json.py"):
        (folder / name).write_text(FILE.format("data=cirrus.criteo('a.csv')"))
    assert main([*words, "--store", "store"]) == code
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("\n")) == ("", 1)


def test_a_process_of_its_own_shows_no_traceback(folder: Path) -> None:
    (folder / "p.py").write_text(FILE.format("data=cirrus.criteo('none.tsv')"))
    done = subprocess.run(
        [sys.executable, "-m", "cirrus", "run", "p.py", "--store", "store"],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (FAILED, "", "cirrus: none.tsv: no such file\n")


def test_a_run_that_failed_is_an_error_of_the_tree() -> None:
    assert issubclass(InputError, RunError)
