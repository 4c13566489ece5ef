"""The course of a training stage: what counts, what is done again, and that nothing ends before it is safe."""

from __future__ import annotations

import pytest

from cirrus.core.course import (
    Applied,
    Begun,
    Close,
    Course,
    CourseCommand,
    End,
    Evaluated,
    Heard,
    Inquire,
    Lost,
    Save,
    Saved,
    ShardBack,
    Size,
    Tick,
)
from cirrus.core.ledger import Ledger
from cirrus.core.messages import PoolDone, Pulse, Reopen, UnitDone
from cirrus.until import Condition, epochs, loss_below, minutes, samples

STEPS = 3


def ledger(*lasts: int) -> Ledger:
    """What a shard has applied: the last step of each unit."""
    flat = [0]
    for unit, last in enumerate(lasts):
        flat += [unit, 1, last]
    return Ledger.load(flat)


ALL, NOTHING = ledger(2, 2, 2, 2), ledger()


def course(until: Condition) -> Course:
    """Two blocks; each unit has 3 steps, 30 rows."""
    made = Course("train", 2, until, lambda _: Size(30, STEPS), 0.0)
    assert made.handle(Begun([NOTHING, NOTHING])) == ()
    return made


def done(made: Course, *units: int, at: float = 1.0) -> list[CourseCommand]:
    """The control actor says that these are finished."""
    return [one for unit in units for one in made.handle(Heard(at, UnitDone("train", unit, unit + 1, 30, "", {})))]


def test_a_stage_ends_with_the_snapshots_in_which_all_its_units_are() -> None:
    made = course(epochs(2))
    assert done(made, 0, 1, 3) == []
    assert done(made, 2) == [Save()]
    assert made.handle(Saved(2.0, ("a", "b"), [ALL, ALL])) == (Close(), End(("a", "b")))


def test_what_a_shard_lost_after_the_last_unit_was_done_is_done_again_before_the_end() -> None:
    made = course(epochs(2))
    done(made, 0, 1, 2, 3)
    assert made.handle(Saved(2.0, ("a", "b"), [ALL, ledger(2, 2, 0)])) == (Reopen("train", (2, 3)), Lost(2, 5))
    assert made.units == 2
    assert made.handle(Tick(3.0)) == ()
    assert done(made, 3, 2) == [Save()]


@pytest.mark.parametrize(
    ("ledgers", "steps"),
    [
        ([NOTHING, NOTHING], 0),
        ([ALL, ALL], 12),
        ([ALL, NOTHING], 0),
        ([ledger(2, 1), ledger(0, 2, 2)], 3),
        ([ledger(2, 1, 0)], 6),
        ([Ledger.load([2, 2, 1, 1]), ledger(2, 2, 0)], 7),
        ([Ledger.load([2]), Ledger.load([3, 3, 1, 0])], 6),
    ],
)
def test_a_step_is_applied_where_every_shard_has_it(ledgers: list[Ledger], steps: int) -> None:
    assert course(epochs(2)).applied(ledgers) == steps


def test_a_word_that_all_is_done_does_not_end_a_stage_of_which_something_was_lost_meanwhile() -> None:
    made = course(epochs(2))
    done(made, 0, 1, 2)
    assert made.handle(ShardBack(1.0)) == (Inquire(),)
    assert made.handle(Applied(1.0, [ledger(2, 2, 1), ALL])) == (Reopen("train", (2,)), Lost(1, 1))
    assert done(made, 3) == []
    assert made.handle(Heard(2.0, PoolDone("train"))) == ()
    assert done(made, 2) == [Save()]


def test_a_shard_that_comes_back_when_all_is_done_is_asked_what_it_has_before_anything_ends() -> None:
    made = course(epochs(2))
    done(made, 0, 1, 2, 3)
    made.handle(Saved(2.0, ("a", "b"), [ALL, ledger(2, 2, 2, 1)]))
    assert made.handle(ShardBack(2.0)) == (Inquire(),)
    done(made, 3)
    assert made.handle(ShardBack(3.0)) == (Inquire(), Save())
    made.handle(Applied(3.0, [ALL, ledger(2)]))
    assert made.handle(Saved(3.0, ("c", "d"), [ALL, ledger(2)])) == ()


def test_a_stage_that_ends_before_its_last_unit_is_saved_again_when_its_workers_have_left() -> None:
    made = course(minutes(1.0))
    done(made, 0)
    assert made.handle(Tick(59.0)) == ()
    assert made.handle(Tick(60.0)) == (Save(),)
    assert made.handle(Saved(61.0, ("a", "b"), [ALL, ALL])) == (Close(), Save())
    assert made.handle(Saved(62.0, ("c", "d"), [ALL, ALL])) == (End(("c", "d")),)


def test_what_is_lost_when_the_workers_have_left_is_in_the_snapshots_before() -> None:
    made = course(minutes(1.0))
    done(made, 0, at=60.0)
    made.handle(Saved(61.0, ("a", "b"), [ALL, ALL]))
    assert made.handle(Saved(62.0, ("c", "d"), [ALL, NOTHING])) == (End(("a", "b")),)


@pytest.mark.parametrize("lost", [ledger(2, 1), NOTHING])
def test_samples_that_were_lost_do_not_count(lost: Ledger) -> None:
    made = course(samples(60))
    assert done(made, 0, 1) == [Save()]
    assert Save() not in made.handle(Saved(2.0, ("a", "b"), [lost, ALL]))
    assert made.reached(2.0).samples == (30 if lost.last(0) == 2 else 0)
    assert made.handle(Tick(3.0)) == ()


def test_a_loss_ends_the_stage() -> None:
    made = course(loss_below(0.5))
    assert made.handle(Evaluated(1.0, 0.6)) == ()
    assert made.handle(Evaluated(2.0, 0.4)) == (Save(),)


def test_a_unit_that_is_reported_twice_counts_once() -> None:
    made = course(samples(60))
    assert done(made, 0, 0) == []
    assert made.reached(1.0).samples == 30


def test_a_restored_stage_goes_on_behind_its_first_units_that_all_shards_have() -> None:
    made = Course("train", 2, epochs(2), lambda _: Size(30, STEPS), 0.0)
    made.handle(Begun([ledger(2, 2, 2, 0), ledger(2, 2, 1, 2)]))
    assert made.units == 2


def test_a_stage_that_was_done_when_its_driver_died_ends_at_once() -> None:
    made = Course("train", 2, epochs(2), lambda _: Size(30, STEPS), 0.0)
    made.handle(Begun([ALL, ALL]))
    assert made.handle(Tick(0.1)) == (Save(),)


def test_other_pools_and_pulses_change_nothing() -> None:
    made = course(samples(30))
    assert made.handle(Heard(1.0, UnitDone("train.eval", 0, 1, 30, "", {}))) == ()
    assert made.handle(Heard(1.0, Pulse("train", 100, 1, 0.0, 0))) == ()


def test_many_lost_units_are_reopened_in_several_messages() -> None:
    made = Course("train", 2000, epochs(1), lambda _: Size(1, 1), 0.0)
    made.handle(Begun([NOTHING]))
    done(made, *range(1999))
    commands = made.handle(Applied(1.0, [NOTHING]))
    assert [type(one) for one in commands] == [Reopen, Reopen, Reopen, Reopen, Lost]
    assert sum(len(one.units) for one in commands if isinstance(one, Reopen)) == 1999
