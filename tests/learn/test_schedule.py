"""How many steps are under way, as a model comes to know something."""

from __future__ import annotations

import pytest

from cirrus.learn.schedule import under_way


@pytest.mark.parametrize(
    ("clock", "workers", "most", "wanted"),
    [(0, 1, 8, 1), (49, 1, 8, 1), (50, 1, 8, 2), (399, 2, 8, 4), (400, 2, 8, 5), (10**6, 2, 8, 8), (10**6, 0, 1, 1)],
)
def test_more_steps_are_under_way_the_more_have_gone_into_the_model(
    clock: int, workers: int, most: int, wanted: int
) -> None:
    assert under_way(clock, workers, most) == wanted
