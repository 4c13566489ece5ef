"""What can be wrong in a search is an error at construction; what is right survives its trip through JSON."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import pytest

from cirrus.cli.files import changed, own_sources
from cirrus.errors import PipelineError
from cirrus.models import LogisticRegression, ModelSpec
from cirrus.optimizers import FTRL, SGD, Adagrad, Adam, Momentum
from cirrus.optuna_samplers import optuna_sampler
from cirrus.pipeline import Best, Pipeline, Prepare, Train, Tune
from cirrus.search import (
    Choice,
    Grid,
    Halving,
    Integers,
    LogUniform,
    MedianStop,
    Random,
    Settings,
    Uniform,
    choice,
    integers,
    log_uniform,
    uniform,
)
from cirrus.sources import criteo
from cirrus.space import Space
from cirrus.until import Epochs, epochs, loss_below, samples
from cirrus.wire.codec import Codec

NAN, INF = math.nan, math.inf
PIPELINES: Codec[Pipeline] = Codec(Pipeline, 1 << 20)
SPACE = {"optimizer.rate": log_uniform(1e-3, 1.0), "model.l2": choice(0.0, 1e-6)}
RICH: dict[str, Any] = {
    "optimizer": choice(Adagrad(), FTRL(beta=1.0)),
    "optimizer.rate": log_uniform(1e-3, 1),
    "optimizer.beta": uniform(0, 2).when("optimizer", FTRL(beta=1.0)),
    "model": choice(LogisticRegression(), LogisticRegression(l1=1e-6)),
    "minibatch": integers(10, 1000, log=True),
    "depth": integers(1, 4).when("model", LogisticRegression()),
}


@dataclass(frozen=True, slots=True)
class Shifted(ModelSpec):
    """A user's model with settings that do not go together."""

    kernel: ClassVar[str] = "tests.api.test_tune_spec:Kernel"

    low: float = 0.0
    high: float = 1.0
    names: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low above high")


def tune(**changes: Any) -> Tune:
    fields: dict[str, Any] = {"train": Train(until=epochs(3)), "space": SPACE}
    return Tune(**{**fields, **changes})


def pipeline(*stages: Any, test: float = 0.1) -> Pipeline:
    return Pipeline(name="clicks", data=criteo("day.tsv"), stages=(Prepare(test=test), *stages))


Make = Callable[..., object]
WRONG: list[tuple[Make, str, str, list[object]]] = [
    (tune, "train", "tune.train", [None, Prepare(), SGD()]),
    (tune, "trials", "tune.trials", [0, 100_001, 1.0, True, None]),
    (tune, "at_once", "tune.at_once", [0, 1_001, 1.0, None]),
    (tune, "workers", "tune.workers", [-1, 10_001, 1.0, True]),
    (tune, "seed", "tune.seed", [-1, 2**63, None]),
    (tune, "name", "tune.name", ["", "Tune", None, "tune.eval", "tune.trial3", "a.trial3.eval"]),
    (tune, "sampler", "tune.sampler", [None, Random, "random", Grid(), optuna_sampler("GridSampler")]),
    (tune, "prune", "tune.prune", [Halving, "halving", 3]),
    (tune, "space", "tune.space", [None, {}, [], (("minibatch", choice(1)),), {str(i): choice(1) for i in range(65)}]),
    (tune, "space", "tune.space (a field)", [{1: choice(1)}, {"": choice(1)}]),
    (tune, "space", "tune.space['minibatch']", [{"minibatch": one} for one in (None, 3, [1, 2], Choice)]),
    (tune, "space", "tune.space['minibatch']", [{"minibatch": choice(10, 0)}, {"minibatch": uniform(1, 2)}]),
    (tune, "space", "tune.space['minibatch']", [{"minibatch": integers(0, 5)}, {"minibatch": choice("x", 10)}]),
    (tune, "space", "tune.space['optimizer.rate']", [{"optimizer.rate": uniform(0, 1)}, {"optimizer.rate": choice(0)}]),
    (tune, "space", "tune.space['optimizer']", [{"optimizer": choice(Adagrad(), "sgd")}, {"optimizer": choice(1)}]),
    (tune, "space", "tune.space['model']", [{"model": choice(Adagrad())}, {"model": choice(LogisticRegression(), 1)}]),
    (tune, "space", "tune.space['workers']", [{"workers": integers(1, 2)}]),
    (tune, "space", "tune.space['shards']", [{"shards": integers(1, 2)}]),
    (tune, "space", "tune.space['name']", [{"name": choice("a", "b")}]),
    (Train, "name", "train.name", ["train.eval", "a.trial0", ".trial1"]),
    (Prepare, "name", "prepare.name", ["prepare.eval", "a.trial12"]),
    (Train.best, "name", "train.name", ["train.eval", "a.trial0", "", None]),
    (Train.best, "workers", "train.workers", [-1, 1.0, True]),
    (Train.best, "until", "train.until", [3]),
    (Train.best, "minibatch", "train.minibatch", [0]),
    (Halving, "eta", "halving.eta", [1, 101, 3.0, None]),
    (Halving, "rungs", "halving.rungs", [0, 11, None]),
    (MedianStop, "warmup", "median_stop.warmup", [-0.1, 0.91, NAN, None]),
    (MedianStop, "startup", "median_stop.startup", [1, 1.5, None]),
    (uniform, "low", "uniform.low", [NAN, INF, None, "0", True, 1e301]),
    (uniform, "high", "uniform.high", [NAN, INF, None, "0", True, -1.0]),
    (log_uniform, "low", "log_uniform.low", [0.0, -1.0, NAN, None]),
    (log_uniform, "high", "log_uniform.high", [0.0, INF, 0.01]),
    (integers, "low", "integers.low", [None, 1.0, True, -(2**60)]),
    (integers, "high", "integers.high", [None, 1.0, 0, 2**60]),
    (integers, "log", "integers.log", [None, 2]),
]
NEEDED: dict[Make, dict[str, object]] = {
    uniform: {"low": 0.0, "high": 1.0}, log_uniform: {"low": 0.1, "high": 1.0}, integers: {"low": 1, "high": 5},
}
CASES = [
    pytest.param(make, argument, named, value, id=f"{named}-{value!r}"[:60])
    for make, argument, named, values in WRONG
    for value in values
]


@pytest.mark.parametrize(("make", "argument", "named", "value"), CASES)
def test_a_wrong_value_is_refused_with_the_name_of_its_field(
    make: Make, argument: str, named: str, value: object
) -> None:
    with pytest.raises(PipelineError) as caught:
        make(**{**NEEDED.get(make, {}), argument: value})
    assert caught.value.field == named
    assert caught.value.allowed


@pytest.mark.parametrize(
    "options", [(), (None,), ([1],), (NAN,), (INF,), (2**70,), (b"x",), (SGD,), (1, 1.0), (0.1, 0.1), range(1001)]
)
def test_wrong_options_are_refused(options: tuple[Any, ...]) -> None:
    with pytest.raises(PipelineError) as caught:
        choice(*options)
    assert caught.value.field == "choice.options"


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("optimiser", "model, optimizer, minibatch"), ("optimizer.rat", "rate, initial"), ("model.l3", "l2, l1"),
        ("optimizer.rate.x", "the name of a field"), ("until.count.x", "the name of a field"),
    ],
)
def test_an_unknown_path_is_told_which_fields_there_are(path: str, fields: str) -> None:
    with pytest.raises(PipelineError) as caught:
        tune(space={"minibatch": choice(1), path: choice(1)})
    assert (caught.value.field, caught.value.given) == ("tune.space", path)
    assert fields in caught.value.allowed


@pytest.mark.parametrize(
    ("space", "named", "words"),
    [
        ({"depth": choice(1).when("minibatch", 5)}, "['depth'].when", "'depth'"),
        ({"depth": choice(1).when("minibatch", 5), "minibatch": choice(6)}, "['depth'].when", "6"),
        ({"depth": choice(1).when("seed", 5), "seed": integers(0, 500)}, "['depth'].when", "few values"),
        ({"depth": choice(1).when("depth", 1)}, "", "lead back"),
        ({"depth": choice(1).when("seed", 1), "seed": choice(1).when("depth", 1)}, "", "lead back"),
    ],
)
def test_a_condition_is_on_a_value_that_a_field_may_have(space: dict[str, Any], named: str, words: str) -> None:
    with pytest.raises(PipelineError) as caught:
        tune(space=space)
    assert caught.value.field == f"tune.space{named}"
    assert words in caught.value.allowed


@pytest.mark.parametrize(("path", "values", "named"), [("", (1,), "when.path"), ("seed", (), "when.values")])
def test_a_condition_has_a_path_and_values(path: str, values: tuple[int, ...], named: str) -> None:
    with pytest.raises(PipelineError) as caught:
        choice(1).when(path, *values)
    assert caught.value.field == named


def test_options_that_do_not_go_together_are_refused_unless_a_condition_keeps_them_apart() -> None:
    rules, penalties = choice(Adagrad(), Adam(), SGD()), choice(0.0, 1e-6)
    with pytest.raises(PipelineError) as caught:
        tune(space={"optimizer": rules, "model.l1": penalties})
    assert caught.value.field == "tune.space['optimizer']"
    assert "1e-06" in caught.value.allowed
    tune(space={"optimizer": rules, "model.l1": penalties.when("optimizer", Adagrad(), SGD())})
    own = Train(Shifted())
    with pytest.raises(PipelineError, match="low above high"):
        tune(train=own, space={"model.low": uniform(0.0, 0.6), "model.high": uniform(0.5, 1.0)})
    tune(train=own, space={"model.low": uniform(0.0, 0.5), "model.high": uniform(0.5, 1.0)})


def test_what_is_changed_at_once_need_not_be_valid_on_the_way() -> None:
    penalised = Train(LogisticRegression(l1=0.1))
    tune(train=penalised, space={"optimizer": choice(Adam()), "model.l1": choice(0.0)})
    tune(train=penalised, space={"model.l1": choice(0.0), "optimizer": choice(Adam())})


def test_of_a_space_too_large_to_try_all_of_every_option_is_tried() -> None:
    wide = {path: choice(*range(1, 1001)) for path in ("minibatch", "staleness")}
    tune(space=wide)
    for path in wide:
        with pytest.raises(PipelineError) as caught:
            tune(space={**wide, path: choice(*range(999, -1, -1))})
        assert caught.value.field == f"tune.space[{path!r}]"


@pytest.mark.parametrize("until", [loss_below(0.4), samples(10), epochs(3) & loss_below(0.4)])
@pytest.mark.parametrize("prune", [Halving(), MedianStop()])
def test_pruning_needs_a_bound_on_epochs_and_the_same_for_all(until: Any, prune: Any) -> None:
    tune(train=Train(until=until))
    with pytest.raises(PipelineError) as caught:
        tune(train=Train(until=until), prune=prune)
    assert caught.value.field == "tune.prune"
    tune(train=Train(until=until | epochs(9)), prune=prune)
    bounds = {"until.count": integers(1, 3)}
    assert tune(space=bounds).space == bounds
    with pytest.raises(PipelineError) as caught:
        tune(space=bounds, prune=prune)
    assert caught.value.field == "tune.space['until.count']"


def test_the_workers_are_those_of_the_training_unless_others_are_wished_for() -> None:
    assert tune(train=Train(workers=7)).workers == 7
    assert tune(train=Train(workers=7), workers=0).workers == 0
    assert tune(train=Train(shards=3)).shards == 3
    assert Tune(Train(), space=SPACE) == Tune(train=Train(), space=SPACE)


def test_a_space_is_a_value() -> None:
    given = dict(RICH)
    made = tune(space=given)
    given["depth"] = choice(1)
    assert made == tune(space=dict(reversed(RICH.items())))
    assert hash(made) == hash(tune(space=dict(reversed(RICH.items()))))
    assert made != tune(space=given)
    assert made.space == RICH
    assert repr(made.space) == repr(RICH)
    assert not hasattr(made.space, "update")
    with pytest.raises(TypeError):
        made.space["depth"] = choice(1)  # type: ignore[index]


@pytest.mark.parametrize(
    "value",
    [tune(), Train.best(), Random(), Grid(), Halving(), MedianStop(), *RICH.values(), optuna_sampler(seed=3)],
    ids=lambda value: type(value).__name__,
)
def test_what_is_searched_with_is_a_frozen_value(value: Any) -> None:
    assert value == replace(value)
    assert hash(value) == hash(replace(value))
    assert repr(value).startswith(type(value).__name__)
    for one in dataclasses.fields(value):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, one.name, getattr(value, one.name))


def test_short_forms_make_the_same_values() -> None:
    assert choice(2, 2.5, "a", True) != choice(2, 2.5, "a", False)
    assert choice(0.1, SGD()) == Choice((0.1, SGD()))
    assert uniform(1, 2) == Uniform(1.0, 2.0)
    assert log_uniform(1, 2) == LogUniform(1.0, 2.0)
    assert integers(1, 8, log=True) == Integers(1, 8, log=True)
    assert Train.best is Best


@pytest.mark.parametrize("prune", [None, Halving(eta=4), MedianStop(warmup=0.5)])
@pytest.mark.parametrize("sampler", [Random(), Grid(), optuna_sampler(), optuna_sampler("RandomSampler", seed=3)])
def test_a_search_comes_out_of_json_as_it_went_in(prune: Any, sampler: Any) -> None:
    space = {path: one for path, one in RICH.items() if sampler != Grid() or one.listed()}
    space["minibatch"] = choice(1, 2)
    made = pipeline(
        Train(name="warm"), tune(space=space, sampler=sampler, prune=prune, workers=3),
        Train.best(workers=9, until=epochs(9), evaluate=0.5), Train.best(name="again"),
    )
    again = PIPELINES.from_json(PIPELINES.to_json(made))
    assert again == made
    assert isinstance(again.learning[1], Tune)
    assert hash(again.learning[1]) == hash(made.learning[1])
    assert PIPELINES.decode(PIPELINES.encode(made)) == made


def test_options_keep_their_types_and_models_of_a_users_own_travel() -> None:
    options = (Shifted(), Shifted(high=2.0, names={"a": "b"}), LogisticRegression())
    made = pipeline(tune(train=Train(Shifted()), space={"model": choice(*options), "seed": choice(1, 2)}))
    text = PIPELINES.to_json(made)
    assert f'"{__name__}:Shifted"' in text
    again = Codec[Pipeline](Pipeline).from_json(text)
    assert again == made
    assert again.models == (("tune", Shifted()), *(("tune", one) for one in options))
    codec: Codec[Choice] = Codec(Choice)
    back = codec.from_json(codec.to_json(choice(3, 2.0, "a", False, Momentum()).when("seed", 1)))
    assert [type(one) for one in back.options] == [int, float, str, bool, Momentum]


def test_settings_of_a_search_are_changed_from_outside() -> None:
    made = pipeline(tune(), Train.best())
    found = changed(
        made, ["tune.trials=4", "tune.train.minibatch=50", "tune.train.optimizer.rate=0.5", "train.workers=9"]
    )
    stage = found.learning[0]
    assert isinstance(stage, Tune)
    assert (stage.trials, stage.train.minibatch, stage.train.optimizer) == (4, 50, Adagrad(0.5))
    assert found.learning[1] == Train.best(workers=9)
    for wrong in ("tune.space.depth=3", "tune.train.rate=3", "tune.trials=0", "tune.train.workers.x=1"):
        with pytest.raises(PipelineError):
            changed(made, [wrong])


def test_stages_come_in_an_order_that_makes_sense() -> None:
    best, search = Train.best(), tune()
    pipeline(search)
    pipeline(search, best, Train.best(name="more"))
    pipeline(Train(name="warm"), search, Train(name="other"), best, tune(name="again"))
    for stages in ((best,), (best, search), (Train(name="warm"), best)):
        with pytest.raises(PipelineError, match=r"Train\.best") as caught:
            pipeline(*stages)
        assert caught.value.field == f"pipeline.stages[{stages.index(best) + 1}]"
    with pytest.raises(PipelineError, match="of its own"):
        pipeline(search, tune())
    with pytest.raises(PipelineError, match=r"pipeline\.stages\[0\]"):
        Pipeline(name="a", data=criteo("x"), stages=(search,))


def test_the_best_is_found_by_a_loss() -> None:
    with pytest.raises(PipelineError, match="no rows to tell the best trial by"):
        pipeline(tune(), test=0.0)
    with pytest.raises(PipelineError) as caught:
        pipeline(Train(name="warm"), Train(until=loss_below(0.4)), test=0.0)
    assert caught.value.field == "train.until"


def test_a_pipeline_knows_what_each_stage_learns_before_the_run() -> None:
    first, second = Train(minibatch=7, workers=3, name="inner"), Train(minibatch=9, shards=4)
    warm, best = Train(name="warm"), Train.best(workers=9)
    made = pipeline(warm, tune(train=first, workers=5), best, tune(train=second, name="again"), Train.best(name="end"))
    assert made.learning == made.stages[1:]
    assert made.trains == (
        warm, replace(first, name="tune", workers=5), replace(first, name="train", workers=9),
        replace(second, name="again"), replace(second, name="end"),
    )
    assert made.planned == (made.prepare, *made.trains)
    assert own_sources(made) == ()


def test_a_users_models_are_found_among_the_options() -> None:
    assert own_sources(pipeline(tune(space={"model": choice(LogisticRegression(), Shifted())})))


def test_the_best_goes_on_with_the_winners_settings_and_its_own() -> None:
    train = Train(LogisticRegression(l2=1e-6), workers=3, until=epochs(2))
    settings: Settings = {"optimizer": FTRL(), "optimizer.rate": 0.5, "minibatch": 7, "model.l1": 1e-5}
    won = replace(train, optimizer=FTRL(0.5), minibatch=7, model=LogisticRegression(1e-6, 1e-5), name="train")
    assert Train.best().resolved(train, settings) == won
    assert Train.best(workers=9, minibatch=8, name="end").resolved(train, settings) == replace(
        won, workers=9, minibatch=8, name="end"
    )
    longer = Train.best(until=epochs(9))
    assert longer.resolved(train, {"until.count": 3}).until == Epochs(9)
    assert Train.best().resolved(train, {"until.count": 3}).until == Epochs(3)
    assert Train.best(seed=0).resolved(replace(train, seed=4), {"seed": 5}).seed == 0


def test_a_space_goes_through_conditions_of_conditions() -> None:
    space = Space("space", {
        "a": choice(1).when("b", 2), "b": integers(1, 2).when("c", "x", "y"), "c": choice("x", "y", "z"),
    })
    assert space.order.index("c") < space.order.index("b") < space.order.index("a")
    assert list(space.combinations(lambda one: one.listed() or ())) == [
        {"c": "x", "b": 1}, {"c": "x", "b": 2, "a": 1}, {"c": "y", "b": 1}, {"c": "y", "b": 2, "a": 1}, {"c": "z"},
    ]
