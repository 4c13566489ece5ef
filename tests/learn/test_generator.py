"""Made-up rows: their shape, their known optimum, and that it can be learnt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from cirrus.learn.columns import Columns
from cirrus.learn.encoding import Encoder
from cirrus.learn.parse_criteo import CriteoParser
from cirrus.sources import criteo
from cirrus.steps import Bucket, Hash
from cirrus.testing.data import BASE_RATE, BEST_LOSS, criteo_like, entropy


def test_rows_have_the_shape_of_the_challenge(tmp_path: Path) -> None:
    truth = criteo_like(tmp_path / "a.tsv", 10_000, seed=3)
    found = CriteoParser(criteo("x")).parse((tmp_path / "a.tsv").read_bytes(), 1, "a.tsv")
    assert isinstance(found.content, Columns)
    assert len(found.content) == truth.rows == 10_000
    assert np.isnan(found.content.numbers["I12"]).mean() == pytest.approx(0.77, abs=0.02)
    lengths = np.concatenate([column.lengths for column in found.content.categories.values()])
    assert set(lengths.tolist()) == {0, 8}
    vocabulary = {column[k] for column in found.content.categories.values() for k in range(500)}
    assert all(int(token, 16) >= 0 for token in vocabulary if token)
    labels = np.concatenate([label for _, _, label in truth.probabilities()])
    assert found.content.labels.tolist() == labels.tolist()


def test_the_same_arguments_give_the_same_bytes_and_fewer_rows_a_prefix(tmp_path: Path) -> None:
    for name, rows, seed in (("a", 9000, 1), ("b", 9000, 1), ("c", 8500, 1), ("d", 9000, 2)):
        criteo_like(tmp_path / name, rows, seed)
    whole, same, shorter, other = ((tmp_path / name).read_bytes() for name in "abcd")
    assert whole == same
    assert whole.startswith(shorter)
    assert shorter.count(b"\n") == 8500
    assert whole != other


@pytest.mark.parametrize("seed", range(4))
def test_base_rate_and_optimum_are_as_promised(tmp_path: Path, seed: int) -> None:
    truth = criteo_like(tmp_path / "a", 30_000, seed)
    probability = np.concatenate([one for _, one, _ in truth.probabilities()])
    labels = np.concatenate([label for _, _, label in truth.probabilities()])
    assert labels.mean() == pytest.approx(BASE_RATE, abs=0.015)
    assert truth.best_loss() == pytest.approx(BEST_LOSS, abs=0.01)
    assert truth.best_loss() == pytest.approx(entropy(probability).mean())
    assert truth.loss_of_truth() == pytest.approx(log_loss(labels, probability))
    third = probability[np.arange(30_000) % 3 == 1]
    assert truth.best_loss(lambda numbers: numbers % 3 == 1) == pytest.approx(entropy(third).mean())


def test_a_linear_model_comes_near_the_optimum(tmp_path: Path) -> None:
    truth = criteo_like(tmp_path / "a.tsv", 60_000, seed=0)
    found = CriteoParser(criteo("x")).parse((tmp_path / "a.tsv").read_bytes(), 1, "a.tsv")
    rows = Encoder(criteo("x"), (Bucket(), Hash(18)), {}, 1 << 18).encode(found.content)
    tokens = csr_matrix((np.ones(len(rows.indices), np.float32), rows.indices, rows.indptr), (len(rows), 1 << 18))
    test = np.arange(len(rows)) % 5 == 4
    model = LogisticRegression(C=0.03, tol=1e-3, max_iter=60).fit(tokens[~test], rows.labels[~test])
    loss = log_loss(rows.labels[test], model.predict_proba(tokens[test])[:, 1])
    best = truth.loss_of_truth(lambda numbers: numbers % 5 == 4)
    assert best < loss < best + 0.015
    assert loss < 0.47 < log_loss(rows.labels[test], np.full(test.sum(), BASE_RATE))
