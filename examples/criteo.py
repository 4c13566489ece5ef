"""Learn from display-advertising rows in the format of the Criteo challenge.

``python examples/criteo.py`` makes rows up, whose best possible log loss is known. ``python examples/criteo.py
train.txt`` takes the challenge's file, plain or gzip; a glob and a folder that ends in / are good as well.
"""

from __future__ import annotations

import tempfile
from argparse import ArgumentParser
from pathlib import Path

import cirrus
from cirrus import Adagrad, Bucket, Hash, LogisticRegression, Pipeline, Prepare, Train, epochs, loss_below
from cirrus.testing.data import criteo_like


def clicks(path: str) -> Pipeline:
    """Tokens as the winners of the challenge made them, a million features, and a tenth of the rows to test on."""
    return Pipeline(
        name="criteo",
        data=cirrus.criteo(path),
        stages=(
            Prepare(steps=(Bucket(), Hash(bits=20)), test=0.1, seed=7, workers=2),
            Train(
                model=LogisticRegression(l2=1e-6),
                optimizer=Adagrad(rate=0.05),
                until=loss_below(0.44) | epochs(2),
                workers=4,
            ),
        ),
    )


def report(result: cirrus.Result, target: Path) -> None:
    """Print what was reached, keep the model as a file, and ask it about two rows."""
    prepared, trained = result.metrics["prepare"], result.metrics["train"]
    print(f"{prepared['rows_in']:,.0f} rows, {prepared['skipped']:,.0f} of them skipped")
    print(f"log loss {trained['log_loss']:.4f}, AUC {trained['auc']:.4f} on {prepared['test']:,.0f} test rows")
    result.model.save(target)
    model = cirrus.Model.load(target)
    rows = [{"I1": 1, "I5": 12, "C1": "68fd1e64"}, {"I1": 70, "C1": "05db9164"}]  # what is not named is missing
    print("chances of a click:", ", ".join(f"{chance:.3f}" for chance in model.predict_proba(rows)[:, 1]))


def main() -> None:
    """Run the pipeline on the file that was named, or on made-up rows."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("path", nargs="?", help="rows of the challenge")
    parser.add_argument("--rows", type=int, default=100_000, help="how many rows to make up (100000)")
    parser.add_argument("--store", type=Path, help="the folder of the run's objects (~/.cirrus)")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = words.path or f"{folder}/rows.tsv"
        if words.path is None:
            truth = criteo_like(path, words.rows)
            print(f"the best log loss that is possible on these rows is {truth.best_loss():.4f}")
        result = cirrus.run_sync(clicks(path), on=cirrus.local(words.store))
        report(result, Path(folder) / "clicks.safetensors")


if __name__ == "__main__":  # workers are processes of their own; this keeps a run out of anybody's import
    main()
