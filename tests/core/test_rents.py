"""What rented hosts cost is never told as less than what is true."""

from __future__ import annotations

import pytest

from cirrus.core.cost import FREE, Meter
from cirrus.core.rents import Rents

DOLLAR = 3600.0
"""Dollars for an hour at which a second costs one."""


def test_a_host_is_paid_by_the_second_and_for_a_minute_at_least() -> None:
    rents = Rents()
    rents.began(10.0, "a", DOLLAR, 3600.0)
    assert (rents.dollars(10.0), rents.dollars(69.0), rents.dollars(100.0)) == (60.0, 60.0, 90.0)
    assert (rents.rate, rents.committed) == (1.0, 3600.0)
    rents.began(90.0, "b", 2 * DOLLAR, 100.0)
    assert (rents.rate, rents.committed) == (3.0, 3800.0)
    rents.ended(110.0, "a")
    assert rents.dollars(110.0) == 100.0 + 120.0
    assert rents.dollars(1000.0) == 100.0 + 2 * 910.0
    assert (rents.rate, rents.committed) == (2.0, 200.0)


def test_one_of_whose_end_nobody_knows_is_paid_until_it_ends_by_itself() -> None:
    rents = Rents()
    rents.began(0.0, "a", DOLLAR, 500.0)
    rents.lost(100.0, "a")
    assert rents.dollars(100.0) == rents.dollars(9999.0) == 600.0
    assert (rents.rate, rents.committed) == (0.0, 0.0)


def test_nothing_is_counted_twice() -> None:
    rents = Rents()
    rents.began(0.0, "a", DOLLAR, 500.0)
    rents.began(50.0, "a", DOLLAR, 500.0)
    rents.ended(100.0, "a")
    rents.ended(200.0, "a")
    rents.lost(200.0, "a")
    rents.ended(200.0, "never heard of")
    assert rents.dollars(300.0) == 100.0


def test_rents_are_a_kind_of_their_own_in_the_cost() -> None:
    meter = Meter(FREE)
    assert "shards" not in meter.cost(0.0).kinds
    meter.rents.began(0.0, "a", 0.096, 3600.0)
    cost = meter.cost(1800.0)
    assert cost.kinds["shards"] == cost.dollars == pytest.approx(0.048)
    assert cost.stages[""] == cost.dollars
    assert cost.committed_dollars == pytest.approx(0.096)
    assert cost.dollars_per_second == pytest.approx(0.096 / 3600)
