"""What a command prints of what was spent."""

from __future__ import annotations

import pytest

from cirrus.cli.running import spent
from cirrus.core.cost import FREE, Meter, Price
from cirrus.core.ids import WorkerId

PRICE = Price(name="a list", per_gb_second=1e-3, per_invocation=1e-4, per_get=1e-6, per_put=1e-5, dated="2026-11-24")


@pytest.mark.parametrize("price", [FREE, PRICE], ids=["free", "billed"])
def test_stages_and_kinds_are_told_where_money_was_spent(price: Price) -> None:
    meter = Meter(price)
    meter.started(0.0, WorkerId("train", 0, 1), 1024, 60.0)
    meter.ended(10.0, WorkerId("train", 0, 1))
    meter.stored("", 100, 10)
    rows = dict(spent(meter.cost(20.0)))
    assert rows["workers"] == "1 started, 10.0 s altogether"
    if price is FREE:
        assert rows["cost"] == "0.0000 dollars"
        assert len(rows) == 2
    else:
        assert rows["cost"] == "0.0103 dollars"
        assert rows["cost of stages"] == "train 0.010100, beside them 0.000200"
        assert rows["cost by kind"] == "workers 0.010000, invocations 0.000100, store 0.000200"
