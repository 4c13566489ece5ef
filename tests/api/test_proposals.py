"""The same seed proposes the same trials, whatever they come to and whoever asks; grids leave nothing out."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirrus.errors import PipelineError, WireError
from cirrus.models import LogisticRegression, ModelSpec
from cirrus.optimizers import FTRL, SGD, Adagrad
from cirrus.pipeline import Train, Tune
from cirrus.proposals import Proposals, from_plain, proposals, said, settled, to_plain
from cirrus.search import (
    Domain,
    Grid,
    Random,
    Settings,
    choice,
    integers,
    log_uniform,
    uniform,
)
from cirrus.space import chance
from cirrus.until import epochs


@dataclass(frozen=True, slots=True)
class Own(ModelSpec):
    """A user's model."""

    kernel: ClassVar[str] = "tests.api.test_proposals:Kernel"

    width: float = 1.0
    deep: bool = False


SPACE: dict[str, Domain] = {
    "optimizer": choice(Adagrad(), FTRL()),
    "optimizer.rate": log_uniform(1e-3, 1.0),
    "optimizer.beta": uniform(0.5, 2.0).when("optimizer", FTRL()),
    "model": choice(Own(), LogisticRegression(1e-6)),
    "model.width": uniform(0.0, 2.0).when("model", Own()),
    "model.deep": choice(True, False).when("model", Own()),
    "minibatch": integers(10, 1000, log=True),
    "seed": integers(1, 3),
}
TRAIN = Train(Own(), until=epochs(2))


def tune(space: Mapping[str, Domain], **changes: Any) -> Tune:
    return Tune(TRAIN, space=space, **changes)


def asked(found: Proposals) -> list[Settings]:
    """All that there are."""
    made: list[Settings] = []
    while (settings := found.ask(len(made))) is not None:
        made.append(settings)
    assert found.ask(len(made) + 7) is None
    assert found.most == len(made)
    return made


@given(st.integers(0, 2**63 - 1), st.integers(1, 40), st.randoms(use_true_random=False))
def test_trials_at_random_follow_from_seed_and_number_alone(seed: int, trials: int, order: Any) -> None:
    first = asked(proposals(tune(SPACE, trials=trials, seed=seed)))
    assert len(first) == trials
    turned = dict(reversed(SPACE.items()))
    other = proposals(tune(turned, trials=trials, seed=seed))
    numbers = list(range(trials))
    order.shuffle(numbers)
    for number in numbers:
        if number % 3 == 0:
            other.recall(number, first[number])
        else:
            assert other.ask(number) == first[number]
        other.tell(number, "done", math.nan)
    assert first[: trials // 2] == asked(proposals(tune(SPACE, trials=trials // 2 or 1, seed=seed)))[: trials // 2]


def test_other_seeds_give_other_trials() -> None:
    found = [asked(proposals(tune(SPACE, seed=seed))) for seed in range(20)]
    assert all(one not in found[:number] for number, one in enumerate(found))
    alone = asked(proposals(tune({"optimizer.rate": SPACE["optimizer.rate"]})))
    assert [one["optimizer.rate"] for one in alone] == [one["optimizer.rate"] for one in found[0]], "fields are apart"


@given(st.integers(0, 2**63 - 1))
def test_every_trial_is_one_that_may_be_and_leaves_out_what_has_no_place(seed: int) -> None:
    for settings in asked(proposals(tune(SPACE, trials=20, seed=seed))):
        assert ("optimizer.beta" in settings) == (settings["optimizer"] == FTRL())
        assert ("model.deep" in settings) == ("model.width" in settings) == (settings["model"] == Own())
        train = settled(TRAIN, settings)
        assert train.optimizer.rate == settings["optimizer.rate"]
        assert 1e-3 <= train.optimizer.rate <= 1.0
        assert 10 <= train.minibatch <= 1000
        assert train.seed in (1, 2, 3)
        if isinstance(train.optimizer, FTRL):
            assert train.optimizer.beta == settings["optimizer.beta"]
        if isinstance(train.model, Own):
            assert (train.model.width, train.model.deep) == (settings["model.width"], settings["model.deep"])


@pytest.mark.parametrize(
    ("domain", "middle"),
    [
        (uniform(2.0, 4.0), 3.0),
        (log_uniform(1e-4, 1.0), 1e-2),
        (integers(1, 9), 5),
        (integers(1, 9999, log=True), 84),
        (choice(1, 2, 3, 4, 5), 3),
    ],
)
def test_what_is_drawn_is_spread_evenly(domain: Any, middle: float) -> None:
    values = sorted(domain.at(chance(3, number, "x")) for number in range(4000))
    assert domain.edges()[0] <= values[0] <= values[-1] <= domain.edges()[-1]
    assert values[1000] < values[3000]
    assert sum(one < middle for one in values) < 2150
    assert sum(one > middle for one in values) < 2150
    assert domain.at(0.0) == pytest.approx(domain.edges()[0])


@pytest.mark.parametrize(
    ("domain", "shares"),
    [
        (integers(1, 3), (1 / 3, 1 / 3, 1 / 3)),
        (integers(1, 3, log=True), tuple(math.log((k + 0.5) / (k - 0.5)) / math.log(7) for k in (1, 2, 3))),
    ],
)
def test_the_ends_of_whole_numbers_are_as_likely_as_they_should_be(domain: Any, shares: tuple[float, ...]) -> None:
    found = [domain.at((number + 0.5) / 3000) for number in range(3000)]
    assert [found.count(one) / 3000 for one in (1, 2, 3)] == pytest.approx(shares, abs=0.001)


@given(st.integers(1, 10**6), st.integers(0, 10**6), st.floats(0, 1, exclude_max=True))
def test_whole_numbers_stay_between_their_ends(low: int, more: int, at: float) -> None:
    for domain in (integers(low, low + more), integers(low, low + more, log=True)):
        assert low <= domain.at(at) <= low + more
        assert type(domain.at(at)) is int


@given(st.floats(1e-300, 1e300), st.floats(1.0, 1e300), st.floats(0, 1, exclude_max=True))
def test_numbers_stay_between_their_ends(low: float, factor: float, at: float) -> None:
    high = min(low * factor, 1e300)
    assert low <= log_uniform(low, high).at(at) <= high
    assert -high <= uniform(-high, high).at(at) <= high


def test_a_grid_is_every_combination_once() -> None:
    space = {"optimizer.rate": choice(0.1, 0.2), "minibatch": integers(1, 3), "model": choice(Own(), Own(2.0))}
    found = asked(proposals(tune(space, sampler=Grid(), trials=100)))
    wanted = product((0.1, 0.2), (1, 2, 3), (Own(), Own(2.0)))
    assert sorted(map(repr, map(values, found))) == sorted(map(repr, wanted))
    assert asked(proposals(tune(dict(reversed(space.items())), sampler=Grid(), trials=100))) == found
    assert asked(proposals(tune(space, sampler=Grid(), trials=5))) == found[:5]


def values(settings: Settings) -> tuple[object, ...]:
    return tuple(settings[path] for path in ("optimizer.rate", "minibatch", "model"))


def test_a_grid_goes_through_conditional_fields_only_where_they_have_a_place() -> None:
    space = {"optimizer": choice(SGD(), FTRL()), "optimizer.beta": choice(0.5, 1.0).when("optimizer", FTRL())}
    assert asked(proposals(tune(space, sampler=Grid()))) == [
        {"optimizer": SGD()},
        {"optimizer": FTRL(), "optimizer.beta": 0.5},
        {"optimizer": FTRL(), "optimizer.beta": 1.0},
    ]


@given(st.integers(0, 2**63 - 1))
def test_settings_come_back_from_json_as_they_went(seed: int) -> None:
    for settings in asked(proposals(tune(SPACE, trials=10, seed=seed, sampler=Random()))):
        again = from_plain(json.loads(json.dumps(to_plain(settings))))
        assert again == settings
        assert list(map(type, again.values())) == list(map(type, settings.values()))
        assert settled(TRAIN, again) == settled(TRAIN, settings)


@pytest.mark.parametrize(
    "plain", [{"a": None}, {"a": [1]}, {"a": {"type": "Rate"}}, {"a": {"type": "os:path"}}, {"a": {"rate": 1.0}}]
)
def test_what_is_no_setting_is_refused(plain: Any) -> None:
    with pytest.raises(WireError):
        from_plain(plain)


def test_events_tell_wholes_by_what_they_print_as() -> None:
    settings: Settings = {"optimizer": SGD(0.5), "model": Own(), "minibatch": 3, "model.deep": True, "x": "y"}
    whole = {"optimizer": "SGD(rate=0.5)", "model": "Own(width=1.0, deep=False)"}
    assert said(settings) == {**whole, "minibatch": 3, "model.deep": True, "x": "y"}


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(PipelineError, match="one of the fields"):
        settled(TRAIN, {"optimizer.speed": 3})
