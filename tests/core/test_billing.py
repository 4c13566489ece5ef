"""Workers that are delivered once, twice and late: what is billed is never less than what they took."""

from __future__ import annotations

import pytest

from cirrus.core.billing import Billing
from cirrus.core.cost import FREE, TAIL, Meter
from cirrus.core.ids import WorkerId
from cirrus.core.messages import Dismissed, WorkerLeft, WorkerSeen

ONE = WorkerId("train", 0, 1)


def billing() -> tuple[Meter, Billing]:
    meter = Meter(FREE)
    made = Billing(meter)
    made.invoked(0.0, ONE, 1024, 900.0)
    return meter, made


def test_one_delivery_is_billed_until_its_end() -> None:
    meter, bills = billing()
    bills.seen(ONE)
    bills.left(9.0, ONE)
    assert meter.cost(9.5).worker_seconds == 9.5
    bills.exited(10.0, ONE, "finished", 10.0)
    assert meter.cost(99.0).worker_seconds == 10.0


def test_a_delivery_too_many_does_not_end_the_bill_of_the_one_that_works() -> None:
    meter, bills = billing()
    bills.seen(ONE)
    bills.exited(2.0, ONE, "finished", 2.0)
    assert meter.cost(50.0).worker_seconds == 52.0
    bills.left(60.0, ONE)
    bills.exited(61.0, ONE, "finished", 61.0)
    cost = meter.cost(100.0)
    assert cost.worker_seconds == pytest.approx(62.0)
    assert cost.invocations == 2
    assert cost.gb_seconds == pytest.approx(62.0)


def test_an_end_that_is_heard_of_before_the_goodbye_leaves_no_bill_open() -> None:
    meter, bills = billing()
    bills.seen(ONE)
    bills.exited(10.0, ONE, "finished", 10.0)
    bills.left(10.1, ONE)
    assert meter.cost(800.0).worker_seconds == pytest.approx(20.1)  # on the safe side
    assert meter.cost(800.0).dollars_per_second == 0.0


def test_the_last_of_a_worker_ends_its_bill_though_it_could_not_say_goodbye() -> None:
    meter, bills = billing()
    bills.seen(ONE)
    bills.exited(4.0, ONE, "finished", 2.0)
    bills.exited(10.0, ONE, "finished", 9.5, alone=True)
    assert meter.cost(800.0).worker_seconds == pytest.approx(12.0)
    assert meter.cost(800.0).committed_seconds == 0.0


def test_a_delivery_that_comes_after_the_end_is_billed_by_itself() -> None:
    meter, bills = billing()
    bills.seen(ONE)
    bills.left(9.0, ONE)
    bills.exited(10.0, ONE, "finished", 10.0)
    bills.exited(70.0, ONE, "finished", 1.5)
    assert meter.cost(100.0).worker_seconds == pytest.approx(11.5)


def test_who_dies_without_a_word_is_billed_until_then() -> None:
    meter, bills = billing()
    bills.seen(ONE)
    bills.exited(5.0, ONE, "killed", 5.0)
    assert meter.cost(100.0).worker_seconds == 5.0


def test_who_was_refused_costs_no_time() -> None:
    meter, bills = billing()
    bills.refused(ONE)
    cost = meter.cost(100.0)
    assert (cost.worker_seconds, cost.invocations) == (0.0, 0)


def untold() -> tuple[Meter, Billing]:
    meter = Meter(FREE)
    made = Billing(meter, "untold")
    made.invoked(0.0, ONE, 1024, 900.0)
    return meter, made


def test_where_no_ends_are_told_the_last_words_of_a_worker_are_what_is_billed() -> None:
    meter, bills = untold()
    bills.seen(ONE)
    bills.left(40.0, ONE, 3.5)
    assert meter.cost(100.0).worker_seconds == pytest.approx(3.5 + TAIL)


def test_a_goodbye_without_a_figure_is_billed_until_then() -> None:
    meter, bills = untold()
    bills.left(40.0, ONE)
    assert meter.cost(100.0).worker_seconds == pytest.approx(40.0 + TAIL)


def test_where_no_ends_are_told_a_delivery_that_was_sent_away_is_billed_to_its_timeout() -> None:
    meter, bills = untold()
    bills.seen(ONE)
    bills.sent_away(ONE)
    bills.left(10.0, ONE, 10.0)
    cost = meter.cost(10_000.0)
    assert cost.invocations == 2
    assert cost.worker_seconds == pytest.approx(10.0 + TAIL + 900.0)


def test_where_ends_are_told_nothing_is_billed_for_being_sent_away_but_the_end() -> None:
    meter, bills = billing()
    bills.sent_away(ONE)
    assert meter.cost(100.0).invocations == 1


def test_who_is_sent_away_at_its_hello_is_billed_until_then() -> None:
    meter, bills = untold()
    bills.heard(7.0, Dismissed(ONE))
    cost = meter.cost(10_000.0)
    assert cost.invocations == 1
    assert cost.worker_seconds == pytest.approx(7.0 + TAIL)


def test_of_two_deliveries_that_are_sent_away_the_one_without_a_bill_is_billed_to_its_timeout() -> None:
    meter, bills = untold()
    bills.heard(7.0, Dismissed(ONE))
    bills.heard(60.0, Dismissed(ONE))
    cost = meter.cost(10_000.0)
    assert cost.invocations == 2
    assert cost.worker_seconds == pytest.approx(7.0 + TAIL + 900.0)


def test_two_requests_of_which_both_are_sent_away_are_billed_until_then() -> None:
    meter, bills = untold()
    bills.invoked(5.0, ONE, 1024, 900.0)
    bills.heard(7.0, Dismissed(ONE))
    bills.heard(8.0, Dismissed(ONE))
    cost = meter.cost(10_000.0)
    assert cost.invocations == 2
    assert cost.worker_seconds == pytest.approx(7.0 + 3.0 + 2 * TAIL)


def test_a_delivery_that_is_sent_away_does_not_end_the_bill_of_one_that_was_here_and_fell_silent() -> None:
    meter, bills = untold()
    bills.heard(1.0, WorkerSeen(ONE, 7))
    bills.heard(40.0, WorkerLeft(ONE, "lost", "nothing was heard of it for too long"))
    bills.heard(50.0, Dismissed(ONE))
    cost = meter.cost(10_000.0)
    assert cost.invocations == 2
    assert cost.worker_seconds == pytest.approx(900.0 + 900.0)


def test_who_was_silent_and_then_says_goodbye_is_billed_as_it_says() -> None:
    meter, bills = untold()
    bills.heard(1.0, WorkerSeen(ONE, 7))
    bills.heard(40.0, WorkerLeft(ONE, "lost", "nothing was heard of it for too long"))
    assert meter.cost(10_000.0).worker_seconds == 900.0
    bills.heard(50.0, WorkerLeft(ONE, "lost", "another attempt fills this slot", 48.0, gets=3, puts=2))
    cost = meter.cost(10_000.0)
    assert cost.worker_seconds == pytest.approx(48.0 + TAIL)
    assert (cost.gets, cost.puts) == (3, 2)


def test_where_ends_are_told_being_sent_away_is_no_end() -> None:
    meter, bills = billing()
    bills.heard(7.0, Dismissed(ONE))
    bills.exited(9.0, ONE, "finished", 8.0)
    cost = meter.cost(10_000.0)
    assert cost.invocations == 1
    assert cost.worker_seconds == 9.0


def test_who_nobody_asked_for_here_is_not_billed() -> None:
    meter, bills = untold()
    bills.heard(7.0, Dismissed(WorkerId("prepare", 0, 1)))
    assert meter.cost(8.0).invocations == 1


def test_who_may_still_come_is_waited_for_until_it_has_or_was_asked_for_long_ago() -> None:
    _, bills = untold()
    assert bills.awaits(-1.0)
    assert not bills.awaits(1.0)
    bills.heard(2.0, Dismissed(ONE))
    assert not bills.awaits(-1.0)
    _, bills = untold()
    bills.heard(2.0, WorkerSeen(ONE, 7))
    assert not bills.awaits(-1.0)
    _, bills = billing()
    assert not bills.awaits(-1.0), "the provider tells"
