from statistics import median

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cirrus.core.ids import WorkerId
from cirrus.core.leases import (
    Allowed,
    Asked,
    Beat,
    Completed,
    Exhausted,
    Expired,
    Finished,
    Gone,
    Granted,
    Ignored,
    LeaseCommand,
    LeaseEvent,
    Leases,
    Limited,
    Reopened,
    Returned,
    Tick,
)
from cirrus.core.stragglers import ENOUGH, LEAST, RECENT, SHARE, SLOW

TIMEOUT = 100.0
STALENESS = 4


def worker(slot: int) -> WorkerId:
    return WorkerId("train", slot, 1)


workers = st.integers(0, 3).map(worker)


class World(RuleBasedStateMachine):
    """Workers that ask, work, die and lie, and what must be true of the leases that they get.

    Liveness comes first: nobody who wants a unit waits while one is to be had, and once a single honest worker is left
    (``teardown``) it finishes everything within one timeout.
    """

    def __init__(self) -> None:
        super().__init__()
        self.at = 0.0
        self.total: int | None = None
        self.below: int | None = None
        self.held: dict[int, tuple[WorkerId, int]] = {}
        self.since: dict[int, float] = {}
        self.slow: dict[int, tuple[WorkerId, int]] = {}  # who was relieved of a unit that is not finished
        self.lasted: list[float] = []
        self.reliefs = 0
        self.wants: dict[WorkerId, int] = {}
        self.heard: dict[WorkerId, float] = {}
        self.done: set[int] = set()
        self.went_out: set[int] = set()
        self.newest = 0
        self.said_complete = False
        self.settled = False
        self.leases = Leases(None, STALENESS, TIMEOUT)
        self.history: list[tuple[LeaseEvent, tuple[LeaseCommand, ...]]] = []

    # The world

    @rule(slot=workers, count=st.integers(0, 3))
    def asks(self, slot: WorkerId, count: int) -> None:
        self.heard[slot] = self.at
        self.wants[slot] = count
        self.settle_wishes()
        self.tell(Asked(self.at, slot, count))

    @rule(slot=workers)
    def beats(self, slot: WorkerId) -> None:
        self.heard[slot] = self.at
        self.tell(Beat(self.at, slot))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def finishes(self, data: st.DataObject) -> None:
        unit = data.draw(st.sampled_from(sorted(self.held)))
        holder, lease = self.held[unit]
        self.heard[holder] = self.at
        self.is_done(unit)
        assert not ignored(self.tell(Finished(self.at, holder, unit, lease)))

    @rule(slot=workers, unit=st.integers(-1, 12), lease=st.integers(0, 30))
    def claims_to_have_finished(self, slot: WorkerId, unit: int, lease: int) -> None:
        if slot in self.heard:
            self.heard[slot] = self.at
        honest = (slot, lease) in (self.held.get(unit), self.slow.get(unit))
        if honest:
            self.is_done(unit)
        assert ignored(self.tell(Finished(self.at, slot, unit, lease))) == (not honest)

    @precondition(lambda self: self.slow)
    @rule(data=st.data())
    def the_slow_one_is_first(self, data: st.DataObject) -> None:
        unit = data.draw(st.sampled_from(sorted(self.slow)))
        slot, lease = self.slow[unit]
        self.heard[slot] = self.at
        self.is_done(unit)
        assert not ignored(self.tell(Finished(self.at, slot, unit, lease)))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), wrong=st.integers(0, 1))
    def returns(self, data: st.DataObject, wrong: int) -> None:
        unit = data.draw(st.sampled_from(sorted(self.held)))
        holder, lease = self.held[unit]
        if not wrong:
            del self.held[unit]
            self.slow.pop(unit, None)
        self.heard[holder] = self.at
        self.wants.pop(holder, None)
        self.tell(Returned(self.at, holder, unit, lease + wrong))

    @rule(slot=workers)
    def goes(self, slot: WorkerId) -> None:
        self.forget(slot)
        self.tell(Gone(self.at, slot))

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 5.0, 50.0, 99.0]))
    def time_passes(self, seconds: float) -> None:
        self.at += seconds
        late = [slot for slot, heard in self.heard.items() if heard + TIMEOUT <= self.at]
        for slot in late:
            self.forget(slot)
        commands = self.tell(Tick(self.at))
        assert sorted(one.worker for one in commands if isinstance(one, Expired)) == sorted(late)

    @rule(total=st.integers(0, 14))
    def is_limited(self, total: int) -> None:
        self.total = total if self.total is None else min(self.total, total)
        self.held = {unit: one for unit, one in self.held.items() if unit < self.total}
        self.slow = {unit: one for unit, one in self.slow.items() if unit < self.total}
        self.done = {unit for unit in self.done if unit < self.total}
        self.tell(Limited(self.at, total))

    @rule(below=st.integers(0, 12))
    def is_allowed(self, below: int) -> None:
        self.below = below
        self.tell(Allowed(self.at, below))

    @rule(units=st.lists(st.integers(-1, 14), max_size=4).map(tuple))
    def loses(self, units: tuple[int, ...]) -> None:
        if self.done & set(units):
            self.said_complete = False
        self.done -= set(units)
        self.tell(Reopened(self.at, units))

    # What must be true

    def tell(self, event: LeaseEvent) -> tuple[LeaseCommand, ...]:
        commands = self.leases.handle(event)
        self.settled = True
        self.history.append((event, commands))
        for command in commands:
            match command:
                case Granted():
                    self.granted(command)
                case Completed():
                    assert not self.said_complete
                    self.said_complete = True
                    assert self.complete
                case Exhausted(slot):
                    assert self.complete
                    del self.wants[slot]
                case Expired() | Ignored():
                    pass
        return commands

    def granted(self, grant: Granted) -> None:
        unit, slot = grant.unit, grant.worker
        assert grant.lease > self.newest
        assert slot in self.wants
        if unit in self.held:
            self.relieved(unit, slot)
        else:
            assert unit in self.available
            assert unit == min(self.available & self.went_out, default=min(self.available))
        self.since[unit] = self.at
        self.newest = grant.lease
        self.held[unit] = (slot, grant.lease)
        self.went_out.add(unit)
        self.settle_wishes()

    def relieved(self, unit: int, slot: WorkerId) -> None:
        assert not self.available or min(self.available) >= unit, "there was something else to do"
        assert slot not in [holder for holder, _ in self.held.values()], "it was not idle"
        assert self.relief_at is not None
        assert self.relief_at <= self.at, "the other had not been slow for long"
        self.slow[unit] = self.held[unit]
        self.reliefs += 1
        assert self.reliefs <= 1 + len(self.done) / SHARE

    @property
    def relief_at(self) -> float | None:
        """When the unit that is held longest may be given to somebody idle, if there were one."""
        if len(self.lasted) < ENOUGH or not self.held or self.reliefs * SHARE > len(self.done):
            return None
        return min(self.since[unit] for unit in self.held) + max(LEAST, SLOW * median(self.lasted[-RECENT:]))

    @property
    def idle(self) -> set[WorkerId]:
        return set(self.wants) - {holder for holder, _ in self.held.values()}

    def is_done(self, unit: int) -> None:
        self.lasted.append(self.at - self.since[unit])
        self.held.pop(unit, None)
        self.slow.pop(unit, None)
        self.done.add(unit)

    @property
    def floor(self) -> int:
        return next(unit for unit in range(10_000) if unit not in self.done)

    @property
    def complete(self) -> bool:
        return self.total is not None and self.floor >= self.total

    @property
    def available(self) -> set[int]:
        ends = [end for end in (self.total, self.below, self.floor + STALENESS) if end is not None]
        return {unit for unit in range(min(ends)) if unit not in self.held and unit not in self.done}

    def settle_wishes(self) -> None:
        holds = [slot for slot, _ in self.held.values()]
        self.wants = {slot: count for slot, count in self.wants.items() if holds.count(slot) < count}

    def forget(self, slot: WorkerId) -> None:
        self.heard.pop(slot, None)
        self.wants.pop(slot, None)
        self.slow = {unit: one for unit, one in self.slow.items() if slot not in (one[0], self.held[unit][0])}
        self.held = {unit: one for unit, one in self.held.items() if one[0] != slot}

    @invariant()
    def nobody_waits_for_what_is_to_be_had(self) -> None:
        assert not (self.wants and self.available)
        assert not (self.wants and self.complete)

    @invariant()
    def nobody_is_waited_for_for_ever(self) -> None:
        assert {slot for slot, _ in self.held.values()} <= set(self.heard)
        times = [one + TIMEOUT for one in self.heard.values()]
        if self.idle and self.relief_at is not None:
            times.append(self.relief_at)
            assert self.relief_at > self.at or not self.settled, "somebody slow is waited for, and somebody is idle"
        assert self.leases.next_tick == min(times, default=None)

    @invariant()
    def completion_is_said(self) -> None:
        if self.history:
            assert self.said_complete == self.complete

    @invariant()
    def the_books_agree(self) -> None:
        leases = self.leases
        assert {unit: (one.worker, one.number) for unit, one in leases.held.items()} == self.held
        assert (leases.done, leases.floor, leases.finished) == (len(self.done), self.floor, self.complete)
        for slot in map(worker, range(4)):
            assert dict(leases.holds(slot)) == {u: lease for u, (one, lease) in self.held.items() if one == slot}

    def teardown(self) -> None:
        self.faults_stop()
        copy = Leases(None, STALENESS, TIMEOUT)
        assert [copy.handle(event) for event, _ in self.history] == [commands for _, commands in self.history]

    def faults_stop(self) -> None:
        self.is_limited(20)
        self.is_allowed(20)
        honest = worker(9)
        for _ in range(12):
            self.at += TIMEOUT / 10
            for slot in [slot for slot, heard in self.heard.items() if heard + TIMEOUT <= self.at]:
                self.forget(slot)
            self.tell(Tick(self.at))
            while True:
                self.asks(honest, 1)
                mine = [(unit, lease) for unit, (slot, lease) in self.held.items() if slot == honest]
                if not mine:
                    break
                for unit, lease in mine:
                    self.is_done(unit)
                    self.tell(Finished(self.at, honest, unit, lease))
        assert self.leases.finished
        assert self.said_complete


def ignored(commands: tuple[LeaseCommand, ...]) -> bool:
    return any(isinstance(one, Ignored) for one in commands)


TestWorld = World.TestCase
A, B = worker(0), worker(1)


def test_a_worker_that_asks_gets_the_smallest_units_and_one_that_waits_gets_what_comes_back() -> None:
    leases = Leases(3, 10, TIMEOUT)
    assert leases.handle(Asked(0.0, A, 3)) == (Granted(A, 0, 1), Granted(A, 1, 2), Granted(A, 2, 3))
    assert leases.handle(Asked(0.0, B, 2)) == ()
    assert leases.handle(Returned(1.0, A, 1, 2)) == (Granted(B, 1, 4),)
    assert leases.handle(Gone(2.0, A)) == (Granted(B, 0, 5),)
    assert leases.handle(Beat(3.0, B)) == ()
    assert leases.handle(Asked(3.0, B, 3)) == (Granted(B, 2, 6),)


def test_those_who_wait_are_served_in_turn() -> None:
    leases = Leases(None, 100, TIMEOUT)
    leases.handle(Allowed(0.0, 0))
    leases.handle(Asked(0.0, A, 2))
    leases.handle(Asked(0.0, B, 2))
    granted = leases.handle(Allowed(0.0, 3))
    assert granted == (Granted(A, 0, 1), Granted(B, 1, 2), Granted(A, 2, 3))


def test_nobody_runs_further_ahead_than_the_staleness_allows() -> None:
    leases = Leases(None, 2, TIMEOUT)
    leases.handle(Asked(0.0, A, 1))
    assert leases.handle(Asked(0.0, B, 5)) == (Granted(B, 1, 2),)
    assert leases.handle(Finished(0.0, B, 1, 2)) == ()
    assert leases.handle(Finished(0.0, A, 0, 1)) == (Granted(B, 2, 3), Granted(B, 3, 4))


def test_a_silent_worker_is_lost_and_what_it_finishes_later_counts_for_nothing() -> None:
    leases = Leases(1, 1, TIMEOUT)
    leases.handle(Asked(0.0, A, 1))
    leases.handle(Asked(5.0, B, 1))
    assert leases.handle(Tick(99.9)) == ()
    assert leases.handle(Tick(100.0)) == (Expired(A), Granted(B, 0, 2))
    assert leases.handle(Finished(100.0, A, 0, 1)) == (Ignored(A, 0, "the unit was leased again"),)
    assert leases.handle(Asked(101.0, A, 1)) == ()
    assert leases.handle(Finished(101.0, B, 0, 2)) == (Completed(), Exhausted(A))
    assert leases.handle(Finished(102.0, B, 0, 2)) == (Ignored(B, 0, "the unit is finished already"),)
    assert leases.handle(Asked(102.0, B, 1)) == (Exhausted(B),)


def test_lost_units_are_done_again_under_higher_leases_and_completion_is_said_again() -> None:
    leases = Leases(3, 3, TIMEOUT)
    grants = leases.handle(Asked(0.0, A, 3))
    for grant in grants:
        assert isinstance(grant, Granted)
        leases.handle(Finished(0.0, A, grant.unit, grant.lease))
    assert leases.finished
    assert leases.handle(Reopened(1.0, (2, 0, 5))) == ()
    assert (leases.done, leases.floor) == (1, 0)
    assert leases.handle(Asked(1.0, B, 2)) == (Granted(B, 0, 4), Granted(B, 2, 5))
    assert leases.handle(Finished(1.0, B, 2, 5)) == ()
    assert leases.handle(Finished(1.0, B, 0, 4)) == (Completed(),)


def test_a_limit_ends_a_stage_early() -> None:
    leases = Leases(None, 9, TIMEOUT)
    leases.handle(Asked(0.0, A, 3))
    assert leases.handle(Limited(0.0, 1)) == ()
    assert leases.handle(Finished(0.0, A, 2, 3)) == (Ignored(A, 2, "the unit is not wanted any more"),)
    assert leases.handle(Limited(0.0, 7)) == ()
    assert leases.handle(Finished(0.0, A, 0, 1)) == (Completed(),)
    assert leases.done == 1


def test_a_pool_without_units_is_complete_at_the_first_word() -> None:
    assert Leases(0, 1, TIMEOUT).handle(Asked(0.0, A, 1)) == (Completed(), Exhausted(A))


def test_a_machine_that_follows_another_starts_above_its_leases() -> None:
    assert Leases(1, 1, TIMEOUT, first=100).handle(Asked(0.0, A, 1)) == (Granted(A, 0, 100),)


def test_an_idle_worker_relieves_a_straggler_under_a_higher_lease() -> None:
    leases = Leases(8, 8, TIMEOUT)
    leases.handle(Asked(0.0, A, 1))
    at = 0.0
    for unit in range(1, 8):
        leases.handle(Asked(at, B, 1))
        at += 0.5
        leases.handle(Finished(at, B, unit, unit + 1))
    assert leases.handle(Asked(at, B, 1)) == (Granted(B, 0, 9),)
    assert leases.handle(Returned(at, A, 0, 1)) == ()  # the shards refused it
    assert leases.handle(Finished(at, B, 0, 9)) == (Completed(),)


def test_whoever_finishes_first_wins_and_the_other_is_ignored() -> None:
    leases = Leases(11, 20, TIMEOUT)
    at = 0.0
    leases.handle(Asked(0.0, A, 1))
    for unit in range(1, 11):
        leases.handle(Asked(at, B, 1))
        at += 0.1
        assert not ignored(leases.handle(Finished(at, B, unit, unit + 1)))
    leases.handle(Asked(at, B, 1))
    assert leases.next_tick == 1.0
    assert leases.handle(Tick(1.0)) == (Granted(B, 0, 12),)
    assert leases.handle(Finished(1.1, A, 0, 1)) == (Completed(),)
    assert leases.handle(Finished(1.2, B, 0, 12)) == (Ignored(B, 0, "the unit is finished already"),)
    assert leases.done == 11


def test_a_straggler_is_left_alone_while_others_have_something_to_do_or_nobody_knows_the_pace() -> None:
    leases = Leases(None, 100, TIMEOUT)
    at = 0.0
    leases.handle(Asked(0.0, A, 1))
    for unit in range(1, 30):
        assert leases.handle(Asked(at, B, 1)) == (Granted(B, unit, unit + 1),)
        at += 1.0
        leases.handle(Finished(at, B, unit, unit + 1))
    few = Leases(3, 3, TIMEOUT)
    few.handle(Asked(0.0, A, 1))
    few.handle(Asked(0.0, B, 2))
    few.handle(Finished(0.1, B, 1, 2))
    few.handle(Finished(0.1, B, 2, 3))
    assert few.handle(Asked(0.1, B, 1)) == ()
    assert few.handle(Tick(90.0)) == ()


def test_at_most_every_tenth_unit_is_relieved() -> None:
    leases = Leases(None, 12, TIMEOUT)
    at, lease = 0.0, 0
    slow: dict[int, int] = {}
    for _ in range(300):
        for command in leases.handle(Asked(at, A, 2)):  # A never finishes anything
            assert isinstance(command, Granted)
            slow[command.unit] = command.lease
        for command in (*leases.handle(Asked(at, B, 1)), *leases.handle(Tick(at + 0.1))):
            assert isinstance(command, Granted)
            if command.worker == B:
                leases.handle(Finished(at + 0.1, B, command.unit, command.lease))
                if command.unit in slow:
                    lease += 1
                    leases.handle(Returned(at + 0.1, A, command.unit, slow.pop(command.unit)))
        at += 1.0
        leases.handle(Beat(at, A))
    assert leases.done > 20
    assert 2 <= lease <= 1 + leases.done / SHARE


@pytest.mark.parametrize("units", [1_000, 10_000])
def test_memory_does_not_grow_with_the_number_of_finished_units(units: int) -> None:
    leases = Leases(units, 16, TIMEOUT)
    for _ in range(units):
        for command in leases.handle(Asked(0.0, A, 1)):
            assert isinstance(command, Granted)
            leases.handle(Finished(0.0, A, command.unit, command.lease))
        assert sum(len(one) for one in vars(leases).values() if hasattr(one, "__len__")) < 40
    assert leases.finished
