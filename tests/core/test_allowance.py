"""Nobody is asked for who may bring what is billed above the budget, and a run that waits for nothing is seen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirrus.core.allowance import PATIENCE, Allowance
from cirrus.core.cost import FREE, Meter, Price
from cirrus.core.ids import EVALUATOR, WorkerId

PRICE = Price(name="a dollar a second", per_gb_second=1.0, per_invocation=0.5, dated="2026-01-01")
MEMORY, TIMEOUT = 1024, 10.0
MOST = 10.5


def worker(slot: int, pool: str = "train") -> WorkerId:
    return WorkerId(pool, slot, 1)


def given_dollars(dollars: float | None, price: Price = PRICE) -> tuple[Meter, Allowance]:
    meter = Meter(price)
    assert price is FREE or meter.most(MEMORY, TIMEOUT) == MOST
    return meter, Allowance(meter, dollars)


def test_what_open_workers_may_come_to_counts_as_spent() -> None:
    meter, allowance = given_dollars(2 * MOST)
    for slot in range(2):
        assert allowance.grants(0.0, "train", MOST)
        meter.started(0.0, worker(slot), MEMORY, TIMEOUT)
    assert meter.cost(0.0).dollars < 2 * MOST
    assert not allowance.grants(0.0, "train", MOST)
    meter.ended(3.0, worker(0))
    assert not allowance.grants(3.0, "train", MOST)
    meter.ended(3.0, worker(1))
    assert allowance.grants(3.0, "train", MOST)


def test_without_a_limit_and_for_free_everything_is_granted() -> None:
    _, unlimited = given_dollars(None)
    meter, free = given_dollars(0.0, FREE)
    assert unlimited.grants(0.0, "train", 1e9)
    assert free.grants(0.0, "train", meter.most(MEMORY, TIMEOUT))
    assert not unlimited.is_stuck(1e9, ())
    assert not free.is_stuck(1e9, ())


def test_a_run_whose_first_worker_is_too_dear_is_stuck_at_once() -> None:
    _, allowance = given_dollars(1.0)
    assert not allowance.is_stuck(0.0, ())
    assert not allowance.grants(0.0, "prepare", MOST)
    assert allowance.is_stuck(0.0, ())
    allowance.closed("prepare")
    assert not allowance.is_stuck(0.0, ())


def test_a_pool_that_works_with_fewer_is_not_stuck() -> None:
    meter, allowance = given_dollars(MOST)
    meter.started(0.0, worker(0), MEMORY, TIMEOUT)
    assert not allowance.grants(0.0, "train", MOST)
    assert not allowance.is_stuck(9.0, {"train"})
    assert allowance.is_stuck(9.0, ())


def test_those_who_are_about_to_end_are_waited_for_a_while() -> None:
    meter, allowance = given_dollars(3 * MOST - 1.0)
    meter.started(0.0, worker(0, "prepare"), MEMORY, TIMEOUT)
    meter.started(0.0, worker(1, "prepare"), MEMORY, TIMEOUT)
    assert not allowance.grants(1.0, "train", MOST)
    assert not allowance.is_stuck(0.9 + PATIENCE, {"prepare"})
    assert not allowance.grants(2.0, "train", MOST)
    assert allowance.is_stuck(1.0 + PATIENCE, {"prepare"})
    meter.ended(1.0 + PATIENCE, worker(0, "prepare"))
    assert not allowance.is_stuck(1.0 + PATIENCE, {"prepare"})


def test_the_evaluator_is_not_missed_while_others_work() -> None:
    meter, allowance = given_dollars(MOST)
    meter.started(0.0, worker(0), MEMORY, TIMEOUT)
    assert not allowance.grants(0.0, "train" + EVALUATOR, MOST)
    assert not allowance.is_stuck(8.0, {"train"})
    assert allowance.is_stuck(8.0, ())


move = st.tuples(st.sampled_from(["ask", "end", "wait"]), st.integers(0, 5), st.floats(0.0, 4.0))


@given(st.lists(move, max_size=40), st.floats(0.0, 100.0))
def test_whatever_happens_the_limit_holds(steps: list[tuple[str, int, float]], limit: float) -> None:
    meter, allowance = given_dollars(limit)
    at, asked = 0.0, 0
    for what, slot, seconds in steps:
        match what:
            case "ask":
                asked += 1
                if allowance.grants(at, "train", MOST):
                    meter.started(at, worker(asked), MEMORY, TIMEOUT)
            case "end":
                meter.ended(at, worker(slot))
            case _:
                at += seconds
        assert meter.cost(at).most_dollars <= limit + 1e-9
    assert meter.cost(1e6).dollars <= limit + 1e-9


@pytest.mark.parametrize("dollars", [MOST, MOST - 1e-6])
def test_the_cap_itself_may_be_reached(dollars: float) -> None:
    _, allowance = given_dollars(dollars)
    assert allowance.grants(0.0, "train", MOST) is (dollars == MOST)
