import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cirrus.core.ledger import ALL, NONE, Ledger, Opened, Stale, Verdict

STEPS = 4
units = st.integers(0, 4)
attempts = st.integers(1, 4)
steps = st.integers(0, STEPS - 1)


class Shard(RuleBasedStateMachine):
    """A shard whose only weight is a count of the applied steps; it is snapshot, lost and restored at will.

    Liveness comes first: from wherever it is, a newer attempt opens each unit and finishes it, each step once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.applied: dict[tuple[int, int], int] = {}
        self.snapshot = (self.ledger.dump(), self.applied.copy())
        self.fence: dict[int, int] = {}

    @rule(unit=units, attempt=attempts)
    def opened(self, unit: int, attempt: int) -> None:
        answer = self.ledger.open(unit, attempt)
        if unit < self.ledger.floor:
            assert answer == Opened(ALL)
        elif attempt < self.fence.get(unit, 0):
            assert answer == Stale(self.fence[unit])
        else:
            self.fence[unit] = attempt
            assert answer == Opened(self.applied_of(unit) - 1)

    @rule(unit=units, attempt=attempts, step=steps)
    def pushed(self, unit: int, attempt: int, step: int) -> None:
        last = self.applied_of(unit) - 1
        verdict = self.ledger.judge(unit, attempt, step)
        if unit < self.ledger.floor:
            assert verdict is Verdict.DUPLICATE
        elif attempt != self.fence.get(unit):
            assert verdict is Verdict.STALE
        elif step <= last:
            assert verdict is Verdict.DUPLICATE
        else:
            assert verdict is (Verdict.APPLY if step == last + 1 else Verdict.GAP)
        if verdict is Verdict.APPLY:
            self.applied[unit, step] = self.applied.get((unit, step), 0) + 1

    @precondition(lambda self: self.applied_of(self.ledger.floor) == STEPS)
    @rule()
    def closed(self) -> None:
        self.ledger.close_below(self.ledger.floor + 1)

    @rule()
    def saved(self) -> None:
        self.snapshot = (json.loads(json.dumps(self.ledger.dump())), self.applied.copy())

    @rule()
    def lost_and_restored(self) -> None:
        flat, applied = self.snapshot
        self.ledger, self.applied = Ledger.load(flat), applied.copy()
        self.fence = {flat[k]: flat[k + 1] for k in range(1, len(flat), 3)}

    def applied_of(self, unit: int) -> int:
        return sum(one == unit for one, _ in self.applied)

    @invariant()
    def every_step_counts_at_most_once_and_in_order(self) -> None:
        assert set(self.applied.values()) <= {1}
        for unit in range(5):
            assert [step for one, step in sorted(self.applied) if one == unit] == list(range(self.applied_of(unit)))

    @invariant()
    def a_snapshot_is_the_ledger(self) -> None:
        copy = Ledger.load(self.ledger.dump())
        assert copy.dump() == self.ledger.dump()
        assert copy.floor == self.ledger.floor
        assert [copy.last(unit) for unit in range(5)] == [self.ledger.last(unit) for unit in range(5)]

    def teardown(self) -> None:
        for unit in range(5):
            opened = self.ledger.open(unit, 10)
            assert isinstance(opened, Opened)
            for step in range(opened.last + 1, STEPS):
                assert self.ledger.judge(unit, 10, step) is Verdict.APPLY
                self.applied[unit, step] = self.applied.get((unit, step), 0) + 1
        assert self.applied == {(unit, step): 1 for unit in range(5) for step in range(STEPS)}


TestShard = Shard.TestCase


@given(st.integers(0, 20), st.integers(0, 20))
def test_a_restored_older_ledger_accepts_exactly_the_lost_steps_again(kept: int, lost: int) -> None:
    ledger = Ledger()
    ledger.open(7, 1)
    for step in range(kept):
        assert ledger.judge(7, 1, step) is Verdict.APPLY
    flat = ledger.dump()
    for step in range(kept, kept + lost):
        assert ledger.judge(7, 1, step) is Verdict.APPLY
    restored = Ledger.load(flat)
    assert restored.open(7, 2) == Opened(kept - 1)
    verdicts = [restored.judge(7, 2, step) for step in range(kept + lost)]
    assert verdicts == [Verdict.DUPLICATE] * kept + [Verdict.APPLY] * lost


def test_a_unit_that_nobody_opened_takes_nothing() -> None:
    ledger = Ledger()
    assert ledger.judge(0, 1, 0) is Verdict.STALE
    assert ledger.last(0) == NONE
    assert ledger.dump() == [0]


def test_a_closed_unit_is_forgotten_but_takes_repeats() -> None:
    ledger = Ledger()
    for unit in (0, 1, 2):
        ledger.open(unit, 1)
    ledger.close_below(2)
    ledger.close_below(1)
    assert ledger.dump() == [2, 2, 1, NONE]
    assert ledger.open(1, 9) == Opened(ALL)
    assert ledger.judge(1, 9, 0) is Verdict.DUPLICATE
    assert ledger.last(1) == ALL


@pytest.mark.parametrize("flat", [[], [1, 2], [0, 1, 1, -2], [-1], [0, 1, 1, "2"], [0.0]])
def test_what_is_no_ledger_is_refused(flat: list[int]) -> None:
    with pytest.raises(ValueError, match="not a ledger"):
        Ledger.load(flat)
