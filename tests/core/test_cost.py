from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirrus.core.billing import Billing
from cirrus.core.cost import FREE, TAIL, Meter, Price
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


@pytest.mark.parametrize(("known", "seconds"), [(True, 12.0), (False, 67.0)])
def test_when_nothing_more_is_heard_whoever_is_open_has_ended_or_is_billed_to_its_limit(
    known: bool, seconds: float,  # noqa: FBT001  pytest fills it in
) -> None:
    meter = Meter(LAMBDA)
    meter.started(0.0, worker(0), 1024, 60.0)
    meter.started(0.0, worker(1), 1024, 60.0)
    meter.ended(7.0, worker(0))
    meter.settle(5.0, known=known)
    cost = meter.cost(1e9)
    assert (cost.worker_seconds, cost.committed_dollars, cost.dollars_per_second) == (seconds, 0.0, 0.0)


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


DETAILED = Price(
    name="test list", per_gb_second=1.6e-5, per_invocation=2e-7, per_get=4e-7, per_put=5e-6, dated="2026-01-01"
)


def test_what_was_spent_is_told_by_stage_and_kind() -> None:
    meter = Meter(DETAILED)
    for pool in ("prepare", "train", "train.eval"):
        meter.started(0.0, WorkerId(pool, 0, 1), 1024, 60.0)
        meter.ended(10.0, WorkerId(pool, 0, 1))
    meter.stored("train", 100, 10)
    cost = meter.cost(20.0)
    assert cost.stages == pytest.approx({"prepare": 1.602e-4, "train": 3.204e-4 + 9e-5})
    assert cost.kinds == pytest.approx({"workers": 4.8e-4, "invocations": 6e-7, "store": 9e-5})
    assert sum(cost.kinds.values()) == pytest.approx(cost.dollars)


Invocation = tuple[int, float, float, bool, float]
"""Slot, start, true seconds, whether it says goodbye, seconds from its request to its start."""

invocations = st.lists(
    st.tuples(st.integers(0, 3), st.floats(0, 100), st.floats(0, 50), st.booleans(), st.floats(0, 60)), max_size=12
)


@given(invocations, st.booleans())
def test_what_is_reported_lies_between_the_true_cost_and_one_timeout_more_per_unknown_end(
    trace: list[Invocation], twice: bool,  # noqa: FBT001  hypothesis draws it
) -> None:
    """Where the provider tells no ends: goodbyes carry the worker's own count, which stops up to TAIL too early."""
    meter = Meter(LAMBDA)
    billing = Billing(meter, "untold")
    told: list[tuple[float, int, int]] = []
    for number, (_, start, lasts, known, late) in enumerate(trace):
        told.append((start, 0, number))
        told += [(start + late, 1, number)] if twice else []
        told += [(start + late + lasts, 2, number)] if known else []
    for at, what, number in sorted(told):
        who, lasts = WorkerId("train", trace[number][0], number), trace[number][2]
        match what:
            case 0:
                billing.invoked(at, who, 1024, 50.0)
            case 1:
                billing.sent_away(who)
            case _:
                billing.left(at, who, max(0.0, lasts - TAIL))
    reported = meter.cost(1e6)
    true = sum(lasts for _, _, lasts, _, _ in trace)
    unknown = sum(not known for _, _, _, known, _ in trace) + twice * len(trace)
    assert true - 1e-6 <= reported.worker_seconds
    assert reported.worker_seconds <= true + unknown * 50.0 + (TAIL + 1e-3) * len(trace) + 1e-6
    assert reported.dollars == pytest.approx(reported.worker_seconds * 1.6e-5 + reported.invocations * 2e-7)
