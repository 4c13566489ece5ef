"""What waits for a sink is bounded, and what matters is given up last."""

from __future__ import annotations

from cirrus.events import LossReported, StageProgress, TrialFinished, WorkerReplaced
from cirrus.sinks.waiting import Waiting
from tests.sinks.told import loss, progress, tuned


def replaced(number: int) -> WorkerReplaced:
    return WorkerReplaced(at=float(number), stage="train", slot=0, attempt=number, reason="killed")


def test_nothing_is_lost_while_there_is_room() -> None:
    waiting, said = Waiting(), tuned()
    for event in said:
        waiting.put(event)
    assert waiting.take(3) == said[:3]
    assert waiting.take(1000) == said[3:]
    assert (len(waiting), waiting.dropped) == (0, 0)


def test_curves_are_thinned_out_and_keep_their_newest_point() -> None:
    waiting = Waiting(most=100)
    for number in range(1000):
        waiting.put(loss(float(number), number % 7, number))
        waiting.put(progress(number))
    kept = waiting.take(1000)
    assert len(kept) <= 100
    assert waiting.dropped == 2000 - len(kept)
    newest = {one.trial: one.samples for one in kept if isinstance(one, LossReported)}
    assert newest == {number % 7: number for number in range(993, 1000)}
    assert [one.done for one in kept if isinstance(one, StageProgress)][-1] == 999
    assert [one.at for one in kept] == sorted(one.at for one in kept)


def test_ends_and_results_outlive_everything_else() -> None:
    waiting, ends = Waiting(most=50), [one for one in tuned() if isinstance(one, TrialFinished)]
    for end in ends:
        waiting.put(end)
    waiting.put(loss(1.0, None, 100, final=True))
    for number in range(500):
        waiting.put(replaced(number))
        waiting.put(progress(number))
    kept = waiting.take(100)
    assert [repr(one) for one in kept[: len(ends) + 1]] == [
        repr(one) for one in (*ends, loss(1.0, None, 100, final=True))
    ]
    assert len(kept) == 50
    assert waiting.dropped == len(ends) + 1001 - 50


def test_the_bound_holds_for_results_as_well() -> None:
    waiting = Waiting(most=10)
    for number in range(25):
        waiting.put(loss(float(number), number, number, final=True))
    assert [one.at for one in waiting.take(100)] == [float(number) for number in range(15, 25)]
    assert waiting.dropped == 15


def test_what_is_given_up_is_counted() -> None:
    waiting = Waiting()
    for event in tuned():
        waiting.put(event)
    waiting.give_up()
    assert (len(waiting), waiting.dropped) == (0, len(tuned()))


def test_many_curves_with_a_point_each_lose_the_oldest() -> None:
    waiting = Waiting(most=100)
    for number in range(250):
        waiting.put(loss(float(number), number, number))
    kept = waiting.take(1000)
    assert [one.at for one in kept] == [float(number) for number in range(150, 250)]
    assert waiting.dropped == 150
