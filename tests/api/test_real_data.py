"""Real data are learnt as well as by scikit-learn, and a model says the same of them wherever it is asked."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
from numpy.typing import NDArray

from cirrus.cloud.places import local
from cirrus.learn.metrics import accuracy, auc, log_loss
from cirrus.learn.rows import Rows, concatenate
from cirrus.models import LogisticRegression
from cirrus.optimizers import Adagrad
from cirrus.pipeline import Pipeline, Prepare, Train
from cirrus.results import Result
from cirrus.runs import run_sync
from cirrus.sources import Source, criteo, csv, libsvm
from cirrus.steps import Bucket, Every, Hash, Standard, Step, every
from cirrus.store.datasets import load
from cirrus.store.opening import open_store
from cirrus.trained import Model
from cirrus.until import epochs

DATA = Path(__file__).parents[3] / "shared" / "data"
FIFTH = every(5, at=4)

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not DATA.is_dir(), reason="the data sets are not beside the project, at ../shared/data"),
]


def train(rate: float, passes: int, l2: float = 0.0, minibatch: int = 100, workers: int = 4) -> Train:
    return Train(
        model=LogisticRegression(l2=l2),
        optimizer=Adagrad(rate=rate),
        minibatch=minibatch,
        until=epochs(passes),
        workers=workers,
    )


@dataclass(frozen=True)
class Learnt:
    """A finished run and the folder of its store."""

    result: Result
    folder: Path

    @property
    def figures(self) -> dict[str, float]:
        return dict(self.result.metrics["train"])

    def saved(self) -> Model:
        return Model.load(self.folder / "runs" / self.result.run_id / "train" / "model.safetensors")

    def test_rows(self) -> Rows:
        """The rows that the evaluating worker saw."""

        async def read() -> Rows:
            store = open_store(self.folder.as_uri())
            try:
                dataset = await load(store, f"runs/{self.result.run_id}/prepare/manifest.json")
                return concatenate([
                    block.open(await store.get(block.key), dataset.features) for block in dataset.test
                ])  # fmt: skip
            finally:
                await store.close()

        return asyncio.run(read())


Learn = Callable[[Source, tuple[Step, ...], "Every | Source", Train], Learnt]


@pytest.fixture(scope="module")
def learn(tmp_path_factory: pytest.TempPathFactory) -> Learn:
    def learn(data: Source, steps: tuple[Step, ...], test: Every | Source, stage: Train) -> Learnt:
        folder = tmp_path_factory.mktemp("store")
        pipeline = Pipeline(name="real", data=data, stages=(Prepare(steps=steps, test=test, workers=2), stage))
        return Learnt(run_sync(pipeline, on=local(folder)), folder)

    return learn


@pytest.fixture(scope="module")
def clicks(learn: Learn) -> Learnt:
    return learn(
        criteo(DATA / "criteo_kaggle.tsv.gz"), (Bucket(), Hash(bits=18)), FIFTH, train(rate=0.05, passes=5, l2=0.002)
    )


def test_criteo(clicks: Learnt) -> None:
    assert clicks.result.metrics["prepare"]["rows_in"] == 19_176
    assert clicks.result.metrics["prepare"]["test"] == 3835
    assert clicks.figures["log_loss"] <= 0.472
    assert clicks.figures["auc"] >= 0.742


def check_figures(found: Learnt, labels: NDArray[np.float32], chances: NDArray[np.float64]) -> None:
    margins = np.log(chances[:, 1]) - np.log(chances[:, 0])
    assert log_loss(labels, margins) == pytest.approx(found.figures["log_loss"], abs=1e-6)
    assert auc(labels, margins) == pytest.approx(found.figures["auc"], abs=1e-6)
    assert accuracy(labels, margins) == pytest.approx(found.figures["accuracy"], abs=1e-6)


def test_criteo_the_saved_model_predicts_what_was_measured(clicks: Learnt) -> None:
    rows, model = clicks.test_rows(), clicks.saved()
    assert len(rows) == 3835
    check_figures(clicks, rows.labels, model.predict_proba(rows))
    np.testing.assert_array_equal(model.predict_proba(rows), clicks.result.model.predict_proba(rows))


def test_criteo_scikit_learn_predicts_what_was_measured(clicks: Learnt) -> None:
    rows = clicks.test_rows()
    fitted = clicks.saved().to_sklearn()
    places = (rows.indices.astype(np.int32), rows.indptr.astype(np.int32))
    matrix = scipy.sparse.csr_array((np.ones(len(rows.indices)), *places), (3835, 1 << 18))
    check_figures(clicks, rows.labels, fitted.predict_proba(matrix))


def test_criteo_raw_lines_are_predicted_as_what_was_measured(clicks: Learnt) -> None:
    lines = gzip.decompress((DATA / "criteo_kaggle.tsv.gz").read_bytes()).decode().splitlines()[4::5]
    labels = np.array([float(line[0]) for line in lines], np.float32)
    model = clicks.saved()
    check_figures(clicks, labels, model.predict_proba(lines))
    np.testing.assert_allclose(model.predict_proba(lines), model.predict_proba(clicks.test_rows()), atol=1e-6)


def test_criteo_with_a_header_and_fewer_columns(learn: Learn) -> None:
    data = csv(DATA / "criteo_45k_20f.tsv.gz", label="label", delimiter="\t")
    found = learn(data, (Bucket(), Hash(bits=18)), FIFTH, train(rate=0.05, passes=3, l2=0.0003))
    assert found.result.metrics["prepare"]["rows_in"] == 45_840
    assert found.figures["log_loss"] <= 0.509
    assert found.figures["auc"] >= 0.725


def test_a9a_with_its_own_test_file(learn: Learn) -> None:
    test = libsvm(DATA / "a9a.t.libsvm.gz")
    found = learn(libsvm(DATA / "a9a.libsvm.gz"), (), test, train(rate=0.1, passes=5))
    assert found.result.metrics["prepare"]["test"] == 16_281
    assert found.figures["log_loss"] <= 0.327
    assert found.figures["accuracy"] >= 0.848
    check_figures(found, found.test_rows().labels, found.saved().predict_proba(found.test_rows()))


def test_adult_scaled_and_hashed(learn: Learn) -> None:
    data = csv(DATA / "adult.csv.gz", label="income", positive=">50K")
    found = learn(data, (Standard(), Hash(bits=14)), FIFTH, train(rate=0.1, passes=5))
    assert found.figures["log_loss"] <= 0.325
    lines = gzip.decompress((DATA / "adult.csv.gz").read_bytes()).decode().splitlines()[1:][4::5]
    labels = np.array([line.endswith(">50K") for line in lines], np.float32)
    check_figures(found, labels, found.saved().predict_proba(lines))


def test_numbers_without_a_header(learn: Learn) -> None:
    names = ("pregnancies", "glucose", "pressure", "skin", "insulin", "bmi", "pedigree", "age", "outcome")
    data = csv(DATA / "pima-indians-diabetes.csv", label="outcome", names=names)
    found = learn(data, (Standard(),), FIFTH, train(rate=0.1, passes=20, minibatch=20, workers=1))
    assert found.result.metrics["prepare"]["features"] == 8
    assert found.figures["log_loss"] <= 0.64
    assert found.figures["accuracy"] >= 0.69


def test_numbers_below_a_first_line_that_is_no_row(learn: Learn) -> None:
    names = (*(f"x{number}" for number in range(30)), "benign")
    data = csv(DATA / "breast_cancer.csv", label="benign", names=names, on_bad_row="skip")
    found = learn(data, (Standard(),), every(5, at=0), train(rate=0.2, passes=20, l2=0.002, minibatch=20, workers=1))
    assert found.result.metrics["prepare"]["skipped"] == 1
    assert found.figures["log_loss"] <= 0.06
    assert found.figures["accuracy"] >= 0.98
