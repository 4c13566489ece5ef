"""Estimates from small trials: lines through two points, other numbers of workers, and ends that can be foreseen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirrus.core.forecast import Forecast, Line, Trial, samples_until
from cirrus.errors import PipelineError
from cirrus.until import Condition, epochs, loss_below, minutes, samples

SECOND_A_THOUSAND = Line(2.0, 1e-3)


def test_a_line_goes_through_its_points() -> None:
    line = Line.through((10.0, 7.0), (30.0, 17.0))
    assert line == Line(2.0, 0.5)
    assert line.at(100.0) == 52.0


@pytest.mark.parametrize(
    ("small", "large", "line"),
    [
        ((10.0, 9.0), (30.0, 6.0), Line(6.0, 0.0)),
        ((10.0, 1.0), (30.0, 9.0), Line(0.0, 0.3)),
        ((10.0, 5.0), (10.0, 6.0), Line(6.0, 0.0)),
        ((0.0, 0.0), (0.0, 0.0), Line(0.0, 0.0)),
    ],
)
def test_noise_makes_no_part_negative(small: tuple[float, float], large: tuple[float, float], line: Line) -> None:
    assert Line.through(small, large) == line


figures = st.floats(0.0, 1e9)


@given(figures, figures, figures, figures)
def test_the_larger_trial_is_always_met(x1: float, y1: float, x2: float, y2: float) -> None:
    line = Line.through((x1, y1), (x2, y2))
    assert line.fixed >= 0
    assert line.slope >= 0
    assert line.at(x2) == pytest.approx(y2, rel=1e-6, abs=1e-6)


def test_more_workers_cost_more_starts_and_share_the_work() -> None:
    forecast = Forecast.of(Trial(100.0, 1.4, 12.0), Trial(200.0, 1.8, 14.0), workers=2).scaled(4)
    assert (forecast.dollars.fixed, forecast.dollars.slope) == pytest.approx((2.0, 0.004))
    assert (forecast.seconds.fixed, forecast.seconds.slope) == pytest.approx((10.0, 0.01))
    assert forecast.workers == 4


@pytest.mark.parametrize(
    ("until", "expected"),
    [
        (epochs(3), 3000),
        (samples(1234), 1234),
        (minutes(0.5), 28_000),
        (loss_below(0.4) | epochs(2), 2000),
        (epochs(2) & minutes(0.5), 28_000),
        (epochs(50) | minutes(0.5), 28_000),
    ],
)
def test_ends_are_foreseen(until: Condition, expected: float) -> None:
    assert samples_until("train.until", until, 1000.0, SECOND_A_THOUSAND) == pytest.approx(expected, abs=1)


@pytest.mark.parametrize("until", [loss_below(0.4), loss_below(0.4) & epochs(3)])
def test_an_end_that_only_a_loss_decides_is_refused(until: Condition) -> None:
    with pytest.raises(PipelineError, match=r"train\.until.*loss_below\(0\.46\) \| epochs\(10\)"):
        samples_until("train.until", until, 1000.0, SECOND_A_THOUSAND)
