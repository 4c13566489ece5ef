from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirrus.core.restarts import Alike, Backoff, RestartBudget, Throttle, spread
from cirrus.errors import PipelineError


@given(st.lists(st.floats(0, 100), max_size=60), st.integers(0, 8), st.floats(1, 50))
def test_a_budget_counts_what_was_spent_within_the_window(times: list[float], most: int, window: float) -> None:
    budget = RestartBudget(most, window)
    spent: list[float] = []
    for at in sorted(times):
        spent.append(at)
        assert budget.spend(at) == (sum(one > at - window for one in spent) <= most)


def test_a_budget_forgets_what_is_older_than_its_window() -> None:
    budget = RestartBudget(1, 10.0)
    assert [budget.spend(at) for at in (0.0, 9.9, 19.8, 29.8)] == [True, False, False, True]


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_max=True))
def test_pauses_grow_up_to_the_most_and_chance_takes_at_most_a_half(failures: int, chance: float) -> None:
    backoff = Backoff(0.1, 2.0, 5.0)
    whole = backoff.delay(failures, 0.0)
    assert whole == min(5.0, 0.1 * 2.0 ** min(failures - 1, 60))
    assert whole / 2 <= backoff.delay(failures, chance) <= whole
    assert backoff.delay(failures + 1, 0.0) >= whole


@pytest.mark.parametrize(
    ("values", "field"),
    [((0.0, 2.0, 5.0), "backoff.first"), ((1.0, 0.5, 5.0), "backoff.factor"), ((1.0, 2.0, 0.5), "backoff.most")],
)
def test_a_backoff_that_makes_no_sense_names_its_field(values: tuple[float, float, float], field: str) -> None:
    with pytest.raises(PipelineError) as caught:
        Backoff(*values)
    assert caught.value.field == field


def test_spread_keeps_those_that_failed_together_apart() -> None:
    chances = sorted(spread(slot, 0.25) for slot in range(100))
    assert all(0 <= one < 1 for one in chances)
    assert min(later - sooner for sooner, later in pairwise(chances)) > 0.003


def test_alike_counts_the_same_text_in_a_row_but_not_over_a_long_silence() -> None:
    alike = Alike(10.0)
    said = [(0.0, "a"), (1.0, "a"), (2.0, "b"), (3.0, "a"), (13.0, "a"), (23.5, "a")]
    assert [alike.add(at, text) for at, text in said] == [1, 2, 1, 1, 2, 1]


def test_a_burst_of_refusals_halves_the_rate_once_and_service_raises_it_by_one_a_round() -> None:
    throttle = Throttle(64, 1.0)
    for at in (0.0, 0.1, 0.9):
        throttle.refused(at)
    assert throttle.limit == 32
    assert throttle.refused(1.0) == 2
    assert throttle.limit == 16
    for _ in range(17):
        throttle.went_well()
    assert throttle.limit == 17
    assert throttle.refused(9.0) == 1


@given(st.lists(st.booleans(), max_size=300))
def test_at_least_one_request_and_at_most_the_limit_may_be_under_way(refusals: list[bool]) -> None:
    throttle = Throttle(8, 1.0)
    for at, refused in enumerate(refusals):
        if refused:
            throttle.refused(float(at))
        else:
            throttle.went_well()
        assert 1 <= throttle.limit <= 8
