from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirrus.core.cost import FREE, Meter, Price
from cirrus.core.ids import WorkerId
from cirrus.errors import PipelineError

LAMBDA = Price(name="test list", per_gb_second=1.6e-5, per_invocation=2e-7, dated="2026-01-01")


def worker(slot: int) -> WorkerId:
    return WorkerId("train", slot, 1)


def test_a_worker_is_billed_for_its_memory_and_time_and_its_invocation() -> None:
    meter = Meter(LAMBDA)
    meter.started(10.0, worker(0), 2048, 900.0)
    assert meter.cost(15.0).dollars_per_second == 2 * 1.6e-5
    meter.ended(20.0, worker(0))
    cost = meter.cost(1000.0)
    assert (cost.worker_seconds, cost.gb_seconds, cost.invocations) == (10.0, 20.0, 1)
    assert cost.dollars == pytest.approx(20 * 1.6e-5 + 2e-7)
    assert cost.dollars_per_second == 0.0


def test_a_worker_whose_end_is_not_known_is_billed_to_its_time_limit_and_no_longer() -> None:
    meter = Meter(LAMBDA)
    meter.started(0.0, worker(0), 1024, 60.0)
    assert meter.cost(30.0).worker_seconds == 30.0
    assert meter.cost(60.0).worker_seconds == meter.cost(1e9).worker_seconds == 60.0
    assert meter.cost(1e9).dollars_per_second == 0.0
    for at in (0.0, 30.0, 60.0, 1e9):
        cost = meter.cost(at)
        assert (cost.most_seconds, cost.most_dollars) == pytest.approx((60.0, 60.0 * 1.6e-5 + 2e-7))


def test_time_is_billed_by_the_millisecond_rounded_up() -> None:
    meter = Meter(LAMBDA)
    meter.started(0.0, worker(0), 1024, 60.0)
    assert meter.cost(0.0101).worker_seconds == 0.011
    assert meter.cost(0.3).worker_seconds == 0.3


def test_a_duplicate_delivery_is_billed_by_itself() -> None:
    meter = Meter(LAMBDA)
    meter.started(0.0, worker(0), 1024, 60.0)
    meter.started(5.0, worker(0), 1024, 60.0)
    meter.ended(7.0, worker(0))
    assert meter.cost(7.0).invocations == 2
    assert meter.cost(1e9).worker_seconds == 67.0


def test_an_end_of_nobody_costs_nothing() -> None:
    meter = Meter(LAMBDA)
    meter.ended(1.0, worker(0))
    assert meter.cost(2.0).dollars == 0.0


def test_local_processes_are_free_but_counted() -> None:
    meter = Meter(FREE)
    meter.started(0.0, worker(0), 600, 900.0)
    cost = meter.cost(10.0)
    assert (cost.dollars, cost.dollars_per_second, cost.worker_seconds, cost.invocations) == (0.0, 0.0, 10.0, 1)


@pytest.mark.parametrize("price", [None, 0.0, {"per_gb_second": 1.0}])
def test_an_unknown_price_is_refused(price: object) -> None:
    with pytest.raises(PipelineError, match="price"):
        Meter(price)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_price_that_is_none_is_refused(value: float) -> None:
    with pytest.raises(PipelineError, match="per_gb_second"):
        Price(name="x", per_gb_second=value, per_invocation=0.0, dated="today")


Trace = list[tuple[int, float, float, bool]]
traces = st.lists(st.tuples(st.integers(0, 3), st.floats(0, 100), st.floats(0, 50), st.booleans()), max_size=12)


@given(traces)
def test_what_is_reported_is_never_below_what_is_true_and_never_falls(trace: Trace) -> None:
    """Each worker of the trace runs for so long; of some the end is never learnt of."""
    meter = Meter(LAMBDA)
    told = [(start, 0, slot) for slot, start, _, _ in trace]
    told += [(start + lasts, 1, slot) for slot, start, lasts, known in trace if known]
    costs = []
    for at, what, slot in sorted(told):
        if what:
            meter.ended(at, worker(slot))
        else:
            meter.started(at, worker(slot), 1024, 50.0)
        true = sum(min(max(at - start, 0.0), lasts) for _, start, lasts, _ in trace)
        assert meter.cost(at).worker_seconds >= true - 1e-6
        costs.append(meter.cost(at).dollars)
    assert all(later >= sooner - 1e-12 for sooner, later in pairwise(costs))
    assert meter.cost(1e6).worker_seconds >= sum(lasts for _, _, lasts, _ in trace) - 1e-6
