"""Everything that can be wrong in a pipeline is an error at construction that names the field."""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirrus import sources
from cirrus.errors import PipelineError
from cirrus.models import LogisticRegression
from cirrus.optimizers import FTRL, SGD, Adagrad, Adam, Momentum, Nesterov
from cirrus.pipeline import Budget, Pipeline, Prepare, Train
from cirrus.sources import CriteoSource, CsvSource, LibsvmSource, criteo, csv, libsvm
from cirrus.steps import Bucket, Every, Hash, MinMax, Standard, every
from cirrus.until import epochs, loss_below

DATA = criteo("day_0.tsv")
STEPS = (MinMax(), Hash(bits=20))
NAN, INF = math.nan, math.inf


def pipeline(**changes: Any) -> Pipeline:
    fields: dict[str, Any] = {"name": "clicks", "data": DATA, "stages": (Prepare(steps=STEPS), Train())}
    return Pipeline(**{**fields, **changes})


Make = Callable[..., object]
WRONG: list[tuple[Make, str, str, list[object]]] = [
    (Prepare, "name", "prepare.name", ["", "A", "a/b", "-a", "a" * 65, None, 3]),
    (Prepare, "steps", "prepare.steps", [None, [MinMax()], (3,), (Hash,), "x", (Hash(2), MinMax()), (Hash(2),) * 2]),
    (Prepare, "test", "prepare.test", [-0.1, 1.0, 7, NAN, None, "0.1", True]),
    (Prepare, "seed", "prepare.seed", [-1, 2**63, 0.5, True, None]),
    (Prepare, "workers", "prepare.workers", [-1, 10_001, 2.0, True, None]),
    (Prepare, "block", "prepare.block", [15, 1_000_001, 64.0, None]),
    (Prepare, "memory", "prepare.memory", [127, 10_241, None]),
    (Train, "name", "train.name", ["", "Train", None]),
    (Train, "model", "train.model", [None, "logistic", LogisticRegression]),
    (Train, "optimizer", "train.optimizer", [None, "sgd", SGD]),
    (Train, "minibatch", "train.minibatch", [0, -1, 10.0, True, 1_000_001]),
    (Train, "until", "train.until", [None, 3, "epochs(3)"]),
    (Train, "workers", "train.workers", [-1, 10_001, None]),
    (Train, "shards", "train.shards", [0, 65, 1.0, True]),
    (Train, "seed", "train.seed", [-1, 2**63]),
    (Train, "depth", "train.depth", [0, 65]),
    (Train, "staleness", "train.staleness", [0, 1_000_001]),
    (Train, "evaluate", "train.evaluate", [0, -1.0, INF, NAN, None, True]),
    (Train, "memory", "train.memory", [127, 10_241]),
    (Train, "timeout", "train.timeout", [0.9, 86_401.0, INF, NAN, None]),
    (Budget, "dollars", "budget.dollars", [-0.01, INF, NAN, "5", True]),
    (Budget, "minutes", "budget.minutes", [0, -1, INF, NAN, "5", True]),
    (pipeline, "name", "pipeline.name", ["", "Clicks", "a b", "a" * 41, None]),
    (pipeline, "data", "pipeline.data", [None, "day_0.tsv"]),
    (pipeline, "budget", "pipeline.budget", [None, 5.0]),
    (pipeline, "stages", "pipeline.stages", [(), None, [Prepare()], (Prepare(), Train(), Train())]),
    (pipeline, "stages", "pipeline.stages[0]", [(Train(),), (None,)]),
    (pipeline, "stages", "pipeline.stages[1]", [(Prepare(), Prepare()), (Prepare(), 3)]),
    (criteo, "on_bad_row", "data.on_bad_row", ["ignore", None]),
    (libsvm, "features", "data.features", [0, -1, 2**31, 1.0, True]),
    (SGD, "rate", "optimizer.rate", [0.0, -1.0, INF, NAN, None, "0.1", True, 10**400]),
    (Momentum, "rate", "optimizer.rate", [0.0]),
    (Momentum, "momentum", "optimizer.momentum", [-0.1, 1.0, NAN, None]),
    (Nesterov, "rate", "optimizer.rate", [0.0]),
    (Nesterov, "momentum", "optimizer.momentum", [-0.1, 1.0, NAN, None]),
    (Adagrad, "rate", "optimizer.rate", [0.0]),
    (Adagrad, "initial", "optimizer.initial", [0.0, -1.0, NAN]),
    (Adam, "rate", "optimizer.rate", [0.0]),
    (Adam, "beta1", "optimizer.beta1", [-0.1, 1.0, NAN]),
    (Adam, "beta2", "optimizer.beta2", [-0.1, 1.0, NAN]),
    (Adam, "epsilon", "optimizer.epsilon", [0.0, NAN]),
    (FTRL, "rate", "optimizer.rate", [0.0]),
    (FTRL, "beta", "optimizer.beta", [-1.0, NAN, INF]),
    (LogisticRegression, "l2", "model.l2", [-1e-9, INF, NAN, None, True]),
    (LogisticRegression, "l1", "model.l1", [-1e-9, INF, NAN, None]),
    (MinMax, "columns", "MinMax.columns", [["I1"], "I1", ("I1", "I1"), ("",), (1,)]),
    (Standard, "columns", "Standard.columns", [["I1"], "I1", ("I1", "I1")]),
    (Bucket, "columns", "Bucket.columns", [["I1"], "I1", ("I1", "I1")]),
    (Hash, "bits", "Hash.bits", [0, 31, 20.0, True, None]),
    (every, "count", "every.count", [1, 0, 2.0, None]),
]
NEEDED: dict[Make, dict[str, object]] = {criteo: {"path": "x"}, libsvm: {"path": "x"}, Hash: {"bits": 20}}
CASES = [
    pytest.param(make, argument, field, value, id=f"{field}-{value!r}"[:60])
    for make, argument, field, values in WRONG
    for value in values
]


@pytest.mark.parametrize(("make", "argument", "field", "value"), CASES)
def test_a_wrong_value_is_refused_with_the_name_of_its_field(
    make: Make, argument: str, field: str, value: object
) -> None:
    with pytest.raises(PipelineError) as caught:
        make(**{**NEEDED.get(make, {}), argument: value})
    assert caught.value.field == field
    assert caught.value.allowed
    assert field in str(caught.value)


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("data.path", {"path": ""}),
        ("data.label", {"label": ""}),
        ("data.columns", {"columns": ["a"]}),
        ("data.columns", {"columns": {"y": "number"}}),
        ("data.columns['a']", {"columns": {"a": "text"}}),
        ("data.columns (a name)", {"columns": {"": "number"}}),
        ("data.names", {"names": ("y", "y")}),
        ("data.names", {"names": ["y"]}),
        ("data.label or data.columns", {"names": ("a",)}),
        ("data.label or data.columns", {"names": ("y",), "columns": {"a": "number"}}),
        ("data.positive", {"positive": 1}),
        ("data.delimiter", {"delimiter": ""}),
        ("data.delimiter", {"delimiter": None}),
        ("data.delimiter", {"delimiter": b";"}),
        ("data.delimiter", {"delimiter": ";;"}),
        ("data.delimiter", {"delimiter": '"'}),
        ("data.delimiter", {"delimiter": "\n"}),
        ("data.delimiter", {"delimiter": "\u00a0"}),
        ("data.on_bad_row", {"on_bad_row": "drop"}),
    ],
)
def test_a_wrong_csv_source_names_the_field(field: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(PipelineError) as caught:
        csv(**{"path": "x.csv", "label": "y", **arguments})
    assert caught.value.field == field


@pytest.mark.parametrize("argument", ["integers", "categories"])
@pytest.mark.parametrize("value", [["I1"], ("a", "a"), ("",)])
def test_wrong_criteo_columns_name_the_field(argument: str, value: object) -> None:
    with pytest.raises(PipelineError) as caught:
        CriteoSource(path="x", **{argument: value})  # type: ignore[arg-type]
    assert caught.value.field == f"data.{argument}"


@given(st.integers(2, 100), st.integers(-5, 105))
def test_every_takes_a_place_within_its_count(count: int, at: int) -> None:
    if 0 <= at < count:
        assert every(count, at=at) == Every(count, at)
    else:
        with pytest.raises(PipelineError) as caught:
            every(count, at=at)
        assert caught.value.field == "every.at"


@pytest.mark.parametrize("optimizer", [Momentum(), Nesterov(), Adam()])
def test_an_l1_penalty_needs_an_optimizer_that_applies_it_exactly(optimizer: Momentum | Nesterov | Adam) -> None:
    with pytest.raises(PipelineError) as caught:
        Train(model=LogisticRegression(l1=0.1), optimizer=optimizer)
    assert caught.value.field == "train.optimizer"
    Train(model=LogisticRegression(l2=0.1), optimizer=optimizer)


@pytest.mark.parametrize("optimizer", [SGD(), Adagrad(), FTRL()])
def test_an_l1_penalty_goes_with_these(optimizer: SGD | Adagrad | FTRL) -> None:
    assert Train(model=LogisticRegression(l1=0.1), optimizer=optimizer).optimizer == optimizer


def test_a_test_set_is_written_like_the_training_data() -> None:
    with pytest.raises(PipelineError) as caught:
        pipeline(stages=(Prepare(steps=STEPS, test=libsvm("test.svm")),))
    assert caught.value.field == "prepare.test"
    pipeline(stages=(Prepare(steps=STEPS, test=criteo("test.tsv")),))


def test_sparse_rows_take_no_steps() -> None:
    with pytest.raises(PipelineError) as caught:
        pipeline(data=libsvm("train.svm"))
    assert caught.value.field == "prepare.steps"
    pipeline(data=libsvm("train.svm"), stages=(Prepare(), Train()))


def test_a_training_stage_may_begin_with_its_model() -> None:
    model = LogisticRegression(l2=1e-6)
    assert Train(model, workers=3) == Train(model=model, workers=3)


def test_a_pipeline_knows_its_stages() -> None:
    first, second = Train(name="warm"), Train(name="fine", until=loss_below(0.46) | epochs(10))
    made = pipeline(stages=(Prepare(steps=STEPS), first, second))
    assert made.prepare == Prepare(steps=STEPS)
    assert made.trains == (first, second)


@pytest.mark.parametrize(
    "value",
    [pipeline(), Prepare(), Train(), Budget(), DATA, libsvm("x"), csv("x", label="y"), Hash(2), every(5, at=4), Adam()],
    ids=lambda value: type(value).__name__,
)
def test_specifications_are_frozen_values(value: Any) -> None:
    assert value == dataclasses.replace(value)
    assert repr(value).startswith(type(value).__name__)
    name = dataclasses.fields(value)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, name, getattr(value, name))
    with pytest.raises((AttributeError, TypeError)):
        value.typo = 1


@pytest.mark.parametrize("make", [criteo, libsvm, partial(csv, label="y")])
def test_a_path_is_a_text_or_a_path(make: Callable[[Any], sources.Source]) -> None:
    assert make(Path("data") / "x.tsv").path == str(Path("data") / "x.tsv")
    for value in (None, 3, b"x", "", Path):
        with pytest.raises(PipelineError) as caught:
            make(value)
        assert caught.value.field == "data.path"


def test_the_short_forms_make_the_same_sources() -> None:
    assert csv("x", label="y", columns={"a": "number"}) == CsvSource(path="x", label="y", columns={"a": "number"})
    assert libsvm("x", features=3, on_bad_row="skip") == LibsvmSource(path="x", features=3, on_bad_row="skip")
    assert criteo("x").integers == sources.CRITEO_INTEGERS
    assert len(criteo("x").integers + criteo("x").categories) == 39
