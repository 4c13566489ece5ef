"""Trials are judged by all that have come as far, again and again, and no number loses to what is no number."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirrus.core.judging import Judge, best, rungs
from cirrus.search import Halving, MedianStop, Pruner
from tests.core.judged import Curve, Search, curve, ordered

NAN = math.nan
PRUNERS = [Halving(), Halving(eta=2, rungs=4), MedianStop(), MedianStop(warmup=0.0, startup=2)]

losses = st.one_of(st.just(NAN), st.floats(allow_nan=False), st.sampled_from([0.1, 0.2, 0.3]))
pruners = st.one_of(
    st.builds(Halving, st.integers(2, 9), st.integers(1, 6)),
    st.builds(MedianStop, st.floats(0.0, 0.9), st.integers(2, 9)),
)


@pytest.mark.parametrize(
    ("prune", "units", "wanted"),
    [
        (None, 100, ()),
        (Halving(), 27, (3, 9)),
        (Halving(), 100, (11, 33)),
        (Halving(eta=2, rungs=3), 16, (2, 4, 8)),
        (Halving(rungs=4), 20, (1, 2, 6)),
        (Halving(), 2, (1,)),
        (Halving(), 1, ()),
        (MedianStop(), 100, (20, 30, 40, 50, 60, 70, 80, 90)),
        (MedianStop(warmup=0.7), 100, (70, 80, 90)),
        (MedianStop(warmup=0.75), 100, (80, 90)),
        (MedianStop(warmup=0.0), 5, (1, 2, 3, 4)),
    ],
)
def test_where_trials_are_measured(prune: Pruner | None, units: int, wanted: tuple[int, ...]) -> None:
    assert rungs(prune, units) == Judge(prune, units).rungs == wanted


@given(pruners, st.integers(1, 10_000))
def test_points_of_measuring_ascend_within_the_work(prune: Pruner, units: int) -> None:
    found = rungs(prune, units)
    assert list(found) == sorted(set(found))
    assert all(1 <= one < units for one in found)


def test_the_best_of_three_go_on_and_are_judged_again_when_others_come() -> None:
    judge = Judge(Halving(), 27)
    assert judge.reported(0, 0, 0.6) == frozenset()
    assert judge.reported(1, 0, 0.5) == frozenset(), "two are too few to judge by"
    assert judge.reported(2, 0, 0.4) == {0, 1}
    judge.ended(0)
    assert judge.reported(3, 0, 0.3) == {1}, "2 is the second of four, and goes on"
    judge.ended(1)
    assert judge.reported(4, 0, 0.2) == {2}, "it was let through before"
    assert judge.reported(5, 0, 0.1) == {2, 3}, "until it has ended it is named again"
    judge.ended(2)
    assert judge.reported(6, 0, 0.7) == {6}, "of seven, those that have ended included, three go on"


def test_rungs_are_judged_apart() -> None:
    judge = Judge(Halving(), 27)
    for trial, loss in enumerate((0.1, 0.2, 0.3)):
        judge.reported(trial, 0, loss)
    assert judge.reported(0, 1, 0.9) == frozenset()
    assert judge.reported(1, 1, 0.8) == frozenset()
    assert judge.reported(2, 1, 0.7) == {0, 1}


def test_of_equal_losses_the_first_trials_go_on() -> None:
    judge = Judge(Halving(), 27)
    found = [judge.reported(trial, 0, 0.5) for trial in (4, 2, 0, 1, 3)]
    assert found[-1] == {2, 3, 4}


def test_who_is_above_the_median_is_stopped() -> None:
    judge = Judge(MedianStop(startup=4), 100)
    for trial, loss in enumerate((0.4, 0.6, 0.5)):
        assert judge.reported(trial, 0, loss) == frozenset()
    assert judge.reported(3, 0, NAN) == {1, 3}
    assert judge.reported(4, 0, 0.1) == {1, 3}
    assert judge.reported(5, 0, 0.1) == {1, 2, 3}, "the median went down"


@given(pruners, st.lists(st.tuples(st.integers(0, 20), losses), max_size=60), st.sets(st.integers(0, 20)))
def test_a_judgement_follows_from_the_reports_alone(
    prune: Pruner, reports: list[tuple[int, float]], over: set[int]
) -> None:
    judge, again = Judge(prune, 10_000), Judge(prune, 10_000)
    found: frozenset[int] = frozenset()
    for trial, loss in reports:
        found = judge.reported(trial, 0, loss)
    known = dict(reports)
    for trial in over:
        again.ended(trial)
    later: frozenset[int] = frozenset()
    for trial in sorted(known):
        later = again.reported(trial, 0, known[trial])
    assert later == found - over
    kept = known.keys() - found
    if isinstance(prune, Halving) and len(known) >= prune.eta:
        assert len(kept) == math.ceil(len(known) / prune.eta)
    if isinstance(prune, MedianStop) and len(known) >= prune.startup:
        assert len(kept) >= len(known) / 2
    assert all(key(known[one]) <= key(known[other]) for one in kept for other in found)


def key(loss: float) -> tuple[bool, float]:
    return math.isnan(loss), 0.0 if math.isnan(loss) else loss


@given(st.integers(0, 2**32), st.sampled_from([9, 30, 90]), st.sampled_from([curve, ordered]))
def test_halving_takes_less_than_half_of_the_work(
    seed: int, units: int, kind: Callable[[random.Random], Curve]
) -> None:
    chance = random.Random(seed)
    found = Search([kind(chance) for _ in range(24)], units, Halving(eta=3), seed=seed).run()
    assert len(found.outcomes) == 24
    assert found.share <= 0.45
    assert Search(found.curves, units, None, seed=seed).run().share == 1.0


@given(st.integers(0, 2**32), st.sampled_from(PRUNERS), st.integers(1, 24))
def test_the_best_is_found_where_curves_do_not_cross(seed: int, prune: Pruner, at_once: int) -> None:
    chance = random.Random(seed)
    curves = [ordered(chance) for _ in range(24)]
    found = Search(curves, 30, prune, at_once, seed).run()
    assert best(found.outcomes) == min(range(24), key=lambda trial: curves[trial](30))


@given(st.integers(0, 2**32), st.sampled_from(PRUNERS))
def test_trials_without_a_number_end_early_and_are_not_the_best(seed: int, prune: Pruner) -> None:
    chance = random.Random(seed)
    curves = [ordered(chance) if number % 2 else lambda _: NAN for number in range(24)]
    found = Search(curves, 30, prune, seed=seed).run()
    winner = best(found.outcomes)
    assert winner is not None
    assert winner % 2 == 1


def test_the_best_is_the_smallest_loss_of_what_is_done() -> None:
    assert best({}) is None
    assert best({0: ("done", 0.5), 1: ("done", 0.4), 2: ("done", 0.4), 3: ("pruned", 0.1)}) == 1
    assert best({0: ("done", NAN), 1: ("pruned", 0.4), 2: ("pruned", 0.3), 3: ("killed", 0.1)}) == 2
    assert best({0: ("done", NAN), 1: ("pruned", NAN), 2: ("killed", 0.1), 3: ("diverged", 0.1)}) is None
