import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirrus.errors import PipelineError
from cirrus.until import Both, Condition, Either, Epochs, Reached, epochs, loss_below, minutes, samples

losses = st.none() | st.floats(-2, 2) | st.just(math.nan)
reached = st.builds(Reached, st.integers(0, 4), st.integers(0, 40), st.floats(0, 240), losses)
leaves = st.one_of(
    st.integers(1, 4).map(epochs),
    st.integers(1, 40).map(samples),
    st.floats(0.1, 4).map(minutes),
    st.floats(-2, 2).map(loss_below),
)
conditions = st.recursive(
    leaves, lambda inner: st.tuples(inner, inner).map(lambda two: two[0] | two[1]) | st.builds(Both, inner, inner)
)


@given(conditions, conditions, reached)
def test_or_is_either_and_and_is_both(first: Condition, second: Condition, at: Reached) -> None:
    assert (first | second).met(at) == (first.met(at) or second.met(at))
    assert (first & second).met(at) == (first.met(at) and second.met(at))


@given(conditions, conditions, conditions, reached)
def test_and_distributes_over_or(a: Condition, b: Condition, c: Condition, at: Reached) -> None:
    assert (a & (b | c)).met(at) == ((a & b) | (a & c)).met(at)
    assert (a & b).most_epochs() == (b & a).most_epochs()
    assert (a | b).most_epochs() == (b | a).most_epochs()


@given(conditions, st.integers(0, 40), st.floats(0, 240), losses)
def test_after_its_most_epochs_a_condition_is_surely_met(
    condition: Condition, seen: int, seconds: float, loss: float | None
) -> None:
    most = condition.most_epochs()
    if most is not None:
        assert condition.met(Reached(most, seen, seconds, loss))
        assert condition.met(Reached(most + 1, seen, seconds, loss))


def test_each_condition_is_met_at_its_bound() -> None:
    assert not epochs(2).met(Reached(epochs=1, samples=10**9))
    assert epochs(2).met(Reached(epochs=2))
    assert not samples(100).met(Reached(samples=99))
    assert samples(100).met(Reached(samples=100))
    assert not minutes(0.5).met(Reached(seconds=29.9))
    assert minutes(0.5).met(Reached(seconds=30.0))
    assert not loss_below(0.5).met(Reached(loss=0.5))
    assert loss_below(0.5).met(Reached(loss=0.49))
    assert not loss_below(0.5).met(Reached(loss=None))
    assert not loss_below(0.5).met(Reached(loss=math.nan))


def test_what_bounds_a_stage() -> None:
    assert (loss_below(0.1) | epochs(3)).most_epochs() == 3
    assert (epochs(5) | epochs(3)).most_epochs() == 3
    assert (epochs(5) & epochs(3)).most_epochs() == 5
    assert (loss_below(0.1) & epochs(3)).most_epochs() is None
    assert (loss_below(0.1) | minutes(1)).most_epochs() is None


def test_conditions_are_frozen_values() -> None:
    assert (epochs(1) | loss_below(0.5)) == Either(Epochs(1), loss_below(0.5))
    assert hash(epochs(1) & samples(2)) == hash(epochs(1) & samples(2))
    with pytest.raises(dataclasses.FrozenInstanceError):
        epochs(1).count = 2  # type: ignore[misc]


@pytest.mark.parametrize("value", [0, -1, 1.5, True, None, "1", 1_000_001])
def test_wrong_epochs_are_refused(value: object) -> None:
    with pytest.raises(PipelineError) as caught:
        epochs(value)  # type: ignore[arg-type]
    assert caught.value.field == "until.epochs"


@pytest.mark.parametrize("value", [0, -1, 0.5, True, None, 10**15 + 1])
def test_wrong_samples_are_refused(value: object) -> None:
    with pytest.raises(PipelineError) as caught:
        samples(value)  # type: ignore[arg-type]
    assert caught.value.field == "until.samples"


@pytest.mark.parametrize("value", [0, -1.0, math.inf, math.nan, True, None, "2"])
def test_wrong_minutes_are_refused(value: object) -> None:
    with pytest.raises(PipelineError) as caught:
        minutes(value)  # type: ignore[arg-type]
    assert caught.value.field == "until.minutes"


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, True, None, "0.5"])
def test_wrong_losses_are_refused(value: object) -> None:
    with pytest.raises(PipelineError) as caught:
        loss_below(value)  # type: ignore[arg-type]
    assert caught.value.field == "until.loss_below"


@pytest.mark.parametrize("other", [3, None, "epochs(3)"])
def test_only_conditions_join(other: object) -> None:
    with pytest.raises(PipelineError) as caught:
        epochs(1) | other  # type: ignore[operator]
    assert caught.value.field == "until"
    with pytest.raises(PipelineError) as caught:
        epochs(1) & other  # type: ignore[operator]
    assert caught.value.field == "until"
