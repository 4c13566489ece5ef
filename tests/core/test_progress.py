from hypothesis import given
from hypothesis import strategies as st

from cirrus.core.progress import Progress
from cirrus.until import Reached


def test_a_stage_counts_samples_at_once_and_epochs_when_they_are_whole() -> None:
    progress = Progress(blocks=2, began=100.0)
    assert progress.reached(100.0) == Reached()
    progress.finished(0, 10)
    progress.finished(3, 7)
    assert progress.reached(101.0) == Reached(0, 17, 1.0, None)
    progress.finished(1, 5)
    progress.evaluated(0.5)
    assert progress.reached(103.0) == Reached(1, 22, 3.0, 0.5)
    progress.finished(2, 10)
    assert progress.reached(103.0).epochs == 2


def test_what_was_lost_is_taken_back() -> None:
    progress = Progress(blocks=1, began=0.0)
    for unit in range(3):
        progress.finished(unit, 4)
    progress.reopened(1, 4)
    assert progress.reached(0.0) == Reached(1, 8)
    progress.finished(1, 4)
    assert progress.reached(0.0) == Reached(3, 12)


@given(st.integers(1, 4), st.data())
def test_epochs_and_samples_are_those_of_the_finished_units(blocks: int, data: st.DataObject) -> None:
    progress, done = Progress(blocks, 0.0), set[int]()
    for unit in data.draw(st.lists(st.integers(0, 5 * blocks - 1), max_size=40)):
        if unit in done:
            progress.reopened(unit, unit + 1)
            done.remove(unit)
        else:
            progress.finished(unit, unit + 1)
            done.add(unit)
        floor = next(one for one in range(5 * blocks + 1) if one not in done)
        assert progress.reached(0.0) == Reached(floor // blocks, sum(one + 1 for one in done))
