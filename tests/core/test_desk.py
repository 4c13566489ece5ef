"""The control desk: who is let in, who gets which unit, and what the driver is told."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cirrus.core.desk import (
    Desk,
    DeskCommand,
    Disconnect,
    Dropped,
    Joined,
    Ordered,
    Part,
    Parted,
    Report,
    Spoke,
    Tell,
    Tick,
)
from cirrus.core.ids import WorkerId
from cirrus.core.messages import (
    Allow,
    Ask,
    Back,
    Beat,
    Bye,
    ClosePool,
    Dismissed,
    Done,
    Drain,
    Expect,
    Fence,
    FromWorker,
    Hello,
    Lease,
    Limit,
    Objected,
    Objection,
    OpenPool,
    Order,
    PoolDone,
    Pulse,
    Reopen,
    UnitDone,
    Welcome,
    WorkerLeft,
    WorkerSeen,
)

ONE = WorkerId("train", 0, 1)
TWO = WorkerId("train", 1, 1)


def opened(total: int | None = 4, staleness: int = 10) -> Desk:
    desk = Desk()
    desk.handle(Joined(-1.0))
    desk.handle(Ordered(0.0, OpenPool("train", "work", total, staleness, 30.0)))
    return desk


def present(desk: Desk, worker: WorkerId) -> tuple[DeskCommand, ...]:
    desk.handle(Ordered(0.0, Expect(worker)))
    return desk.handle(Spoke(0.0, worker, Hello(7)))


def leases(commands: tuple[DeskCommand, ...]) -> list[tuple[WorkerId, Lease]]:
    return [(one.worker, one.message) for one in commands if isinstance(one, Tell) and isinstance(one.message, Lease)]


def test_an_expected_worker_is_welcome_and_reported() -> None:
    desk = opened()
    assert present(desk, ONE) == (Tell(ONE, Welcome("work")), Report(WorkerSeen(ONE, 7)))


def test_a_worker_is_sent_away_from_a_pool_that_is_not_open() -> None:
    desk = Desk()
    desk.handle(Joined(-1.0))
    commands = desk.handle(Spoke(0.0, ONE, Hello(7)))
    assert commands == dismissed("nothing is to be done here")


def dismissed(reason: str) -> tuple[DeskCommand, ...]:
    """The first attempt is sent away at its hello, and the driver hears of it."""
    return Report(Dismissed(ONE)), Tell(ONE, Order("leave", reason)), Disconnect(ONE)


def test_a_worker_that_comes_before_the_driver_waits_until_it_is_told_of() -> None:
    desk = Desk()
    assert desk.handle(Spoke(0.0, ONE, Hello(7))) == ()
    assert desk.handle(Tick(5.0)) == ()
    desk.handle(Joined(5.0))
    desk.handle(Ordered(5.1, OpenPool("train", "work", 4, 10, 30.0)))
    assert desk.handle(Ordered(5.1, Expect(ONE))) == (Tell(ONE, Welcome("work")), Report(WorkerSeen(ONE, 7)))


@pytest.mark.parametrize("joined", [None, 5.0])
def test_a_worker_that_comes_before_the_driver_and_is_not_told_of_is_sent_away(joined: float | None) -> None:
    desk = Desk()
    desk.handle(Spoke(0.0, ONE, Hello(7)))
    if joined is not None:
        desk.handle(Joined(joined))
        assert desk.handle(Tick(5.5)) == ()
    assert desk.handle(Tick(10.1 if joined is None else 5.6)) == dismissed("nobody expects this attempt")
    assert desk.handle(Tick(20.0)) == ()


def test_a_worker_that_comes_while_the_driver_is_away_waits_unless_it_is_surely_over() -> None:
    desk = opened()
    old, new = WorkerId("train", 0, 2), WorkerId("train", 0, 3)
    desk.handle(Ordered(0.0, Expect(old)))
    desk.handle(Parted(1.0))
    assert desk.handle(Spoke(1.0, ONE, Hello(7)))[-1] == Disconnect(ONE)
    assert desk.handle(Spoke(1.0, new, Hello(7))) == ()
    desk.handle(Joined(2.0))
    assert desk.handle(Ordered(2.1, Fence(new, "gone")))[-1] == Disconnect(new)
    desk.handle(Parted(3.0))
    assert desk.handle(Spoke(3.0, new, Hello(7)))[-1] == Disconnect(new)
    desk.handle(Ordered(3.0, ClosePool("train")))
    assert desk.handle(Spoke(3.0, WorkerId("train", 0, 9), Hello(7)))[-1] == Disconnect(WorkerId("train", 0, 9))


def test_a_worker_that_goes_before_it_is_told_of_is_forgotten() -> None:
    desk = Desk()
    desk.handle(Spoke(0.0, ONE, Hello(7)))
    desk.handle(Dropped(1.0, ONE))
    desk.handle(Ordered(2.0, OpenPool("train", "work", 4, 10, 30.0)))
    assert desk.handle(Ordered(2.0, Expect(ONE))) == ()


def test_another_attempt_than_the_expected_one_is_sent_away() -> None:
    desk = opened()
    desk.handle(Ordered(0.0, Expect(WorkerId("train", 0, 2))))
    commands = desk.handle(Spoke(0.0, ONE, Hello(7)))
    assert commands == dismissed("another attempt fills this slot")


def test_who_comes_when_its_pool_was_closed_is_sent_away_and_told_of() -> None:
    desk = opened()
    desk.handle(Ordered(0.0, Expect(ONE)))
    desk.handle(Ordered(1.0, ClosePool("train")))
    assert desk.handle(Spoke(2.0, ONE, Hello(7))) == dismissed("nothing is to be done here")


def test_who_waited_for_the_driver_and_is_superseded_is_sent_away_and_told_of() -> None:
    desk = opened()
    desk.handle(Parted(0.0))
    assert desk.handle(Spoke(1.0, ONE, Hello(7))) == ()
    desk.handle(Joined(2.0))
    commands = desk.handle(Ordered(2.1, Expect(WorkerId("train", 0, 2))))
    assert commands == dismissed("nobody expects this attempt")


def test_the_same_attempt_cannot_come_twice() -> None:
    desk = opened()
    present(desk, ONE)
    assert desk.handle(Spoke(1.0, ONE, Hello(8)))[-1] == Disconnect(ONE)


def test_units_go_out_once_and_their_end_is_reported_once() -> None:
    desk = opened(total=1)
    present(desk, ONE)
    ((_, lease),) = leases(desk.handle(Spoke(1.0, ONE, Ask(1))))
    done = Done(lease.unit, lease.lease, 50, "where", {"loss": 0.5})
    assert desk.handle(Spoke(2.0, ONE, done)) == (
        Report(UnitDone("train", 0, lease.lease, 50, "where", {"loss": 0.5})),
        Report(PoolDone("train")),
    )
    assert desk.handle(Spoke(3.0, ONE, done)) == ()


def test_who_finishes_a_unit_gets_as_many_as_it_asked_for_and_tells_what_it_did() -> None:
    desk = opened()
    desk.handle(Ordered(0.0, Expect(ONE)))
    desk.handle(Spoke(1.0, ONE, Hello(7)))
    desk.handle(Spoke(1.0, ONE, Ask(2)))
    commands = desk.handle(Spoke(2.0, ONE, Done(0, 1, 50, beat=Beat(9, 50, 5, 0.5))))
    assert commands == (
        Report(Pulse("train", 50, 5, 0.5, 9)),
        Report(UnitDone("train", 0, 1, 50, "", {})),
        Tell(ONE, Lease(2, 3)),
    )
    assert Tell(ONE, Lease(3, 4)) in desk.handle(Spoke(3.0, ONE, Done(1, 2, 50)))


def test_what_a_dead_worker_held_goes_to_the_next_under_a_higher_lease() -> None:
    desk = opened(total=1)
    present(desk, ONE)
    present(desk, TWO)
    ((_, first),) = leases(desk.handle(Spoke(1.0, ONE, Ask(1))))
    assert leases(desk.handle(Spoke(1.0, TWO, Ask(1)))) == []
    commands = desk.handle(Dropped(2.0, ONE))
    assert Report(WorkerLeft(ONE, "lost", "the connection is gone")) in commands
    ((worker, second),) = leases(commands)
    assert worker == TWO
    assert second.unit == first.unit
    assert second.lease > first.lease


def test_a_late_finish_under_an_old_lease_counts_for_nothing() -> None:
    desk = opened(total=1)
    present(desk, ONE)
    present(desk, TWO)
    ((_, lease),) = leases(desk.handle(Spoke(1.0, ONE, Ask(1))))
    desk.handle(Ordered(2.0, Fence(ONE, "late")))
    desk.handle(Spoke(2.0, TWO, Ask(1)))
    commands = desk.handle(Spoke(3.0, ONE, Done(lease.unit, lease.lease, 50)))
    assert not any(isinstance(one, Report) for one in commands)


def test_a_fenced_worker_is_sent_away_and_cannot_come_back() -> None:
    desk = opened()
    present(desk, ONE)
    commands = desk.handle(Ordered(1.0, Fence(ONE, "too late")))
    assert commands[:1] == (Part(ONE, "too late"),)
    assert desk.handle(Spoke(2.0, ONE, Hello(7))) == dismissed("another attempt fills this slot")


def test_a_fence_for_an_old_attempt_leaves_the_new_one_alone() -> None:
    desk = opened()
    newer = WorkerId("train", 0, 2)
    present(desk, newer)
    assert desk.handle(Ordered(1.0, Fence(ONE, "too late"))) == ()
    assert leases(desk.handle(Spoke(1.0, newer, Ask(1))))


def test_draining_is_passed_on_to_who_is_there() -> None:
    desk = opened()
    present(desk, ONE)
    assert desk.handle(Ordered(1.0, Drain(ONE, "smaller"))) == (Tell(ONE, Order("drain", "smaller")),)
    assert desk.handle(Ordered(1.0, Drain(TWO, "smaller"))) == ()


def test_goodbye_is_reported_with_its_reason_and_frees_the_units() -> None:
    desk = opened(total=1)
    present(desk, ONE)
    present(desk, TWO)
    desk.handle(Spoke(1.0, ONE, Ask(1)))
    desk.handle(Spoke(1.0, TWO, Ask(1)))
    commands = desk.handle(Spoke(2.0, ONE, Bye("deadline", "its time is nearly up")))
    assert Report(WorkerLeft(ONE, "deadline", "its time is nearly up")) in commands
    assert commands[-1] == Disconnect(ONE)
    assert leases(commands)[0][0] == TWO


def test_units_handed_back_go_out_again() -> None:
    desk = opened(total=1)
    present(desk, ONE)
    ((_, lease),) = leases(desk.handle(Spoke(1.0, ONE, Ask(1))))
    desk.handle(Spoke(1.0, ONE, Back(lease.unit, lease.lease)))
    assert leases(desk.handle(Spoke(2.0, ONE, Ask(1))))[0][1].unit == lease.unit


def test_a_silent_worker_is_lost_and_sent_away() -> None:
    desk = opened()
    present(desk, ONE)
    desk.handle(Spoke(0.0, ONE, Ask(1)))
    commands = desk.handle(Tick(100.0))
    assert Report(WorkerLeft(ONE, "lost", "nothing was heard of it for too long")) in commands
    assert Part(ONE, "nothing was heard of you for too long") in commands


def test_a_worker_that_says_nothing_after_hello_is_lost_too() -> None:
    desk = opened()
    present(desk, ONE)
    assert Part(ONE, "nothing was heard of you for too long") in desk.handle(Tick(100.0))


def test_beats_add_up_to_one_pulse() -> None:
    desk = opened()
    present(desk, ONE)
    present(desk, TWO)
    desk.handle(Spoke(0.1, ONE, Beat(100, samples=10, steps=1, loss=5.0)))
    desk.handle(Spoke(0.1, TWO, Beat(200, samples=20, steps=2, loss=6.0)))
    assert desk.handle(Tick(0.2)) == (Report(Pulse("train", 30, 3, 11.0, 200)),)
    assert desk.handle(Tick(0.4)) == ()


def test_limits_hold_units_back_and_end_the_pool() -> None:
    desk = opened(total=None)
    present(desk, ONE)
    desk.handle(Ordered(0.0, Allow("train", 0)))
    assert leases(desk.handle(Spoke(1.0, ONE, Ask(1)))) == []
    ((_, lease),) = leases(desk.handle(Ordered(1.0, Allow("train", 1))))
    desk.handle(Spoke(2.0, ONE, Done(lease.unit, lease.lease, 1)))
    assert Report(PoolDone("train")) in desk.handle(Ordered(3.0, Limit("train", 1)))


def test_an_objection_reaches_the_driver() -> None:
    desk = opened()
    present(desk, ONE)
    commands = desk.handle(Spoke(1.0, ONE, Objected("day.tsv", "not a number", 3, "I1")))
    assert commands == (Report(Objection("train", "day.tsv", "not a number", 3, "I1")),)


def test_closing_a_pool_sends_everybody_away() -> None:
    desk = opened()
    present(desk, ONE)
    assert desk.handle(Ordered(1.0, ClosePool("train"))) == (Part(ONE, "the work is done"),)
    assert desk.handle(Spoke(2.0, ONE, Ask(1)))[-1] == Disconnect(ONE)


def test_what_was_lost_when_all_was_done_goes_out_to_those_who_had_asked_before() -> None:
    desk = opened(total=1)
    present(desk, ONE)
    desk.handle(Spoke(1.0, ONE, Ask(2)))
    desk.handle(Spoke(2.0, ONE, Done(0, 1, 5)))
    assert desk.handle(Spoke(2.0, ONE, Ask(2))) == ()
    assert desk.handle(Ordered(3.0, Reopen("train", (0,)))) == (Tell(ONE, Lease(0, 2)),)


class Desks(RuleBasedStateMachine):
    """Workers come, work, die and come again in any order; every unit is reported done once, and all of them are."""

    total = 6

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.desk = opened(self.total, staleness=3)
        self.attempts = dict.fromkeys(range(3), 0)
        self.here: set[WorkerId] = set()
        self.held: dict[WorkerId, list[Lease]] = {}
        self.done: list[int] = []
        self.complete = 0

    def take(self, commands: tuple[DeskCommand, ...]) -> None:
        for command in commands:
            match command:
                case Tell(worker, Lease() as lease):
                    assert worker in self.here, "a lease for somebody who is not there"
                    self.held[worker].append(lease)
                case Report(UnitDone(unit=unit)):
                    self.done.append(unit)
                case Report(PoolDone()):
                    self.complete += 1
                case _:
                    pass

    def say(self, worker: WorkerId, message: FromWorker) -> None:
        self.now += 0.1
        self.take(self.desk.handle(Spoke(self.now, worker, message)))

    @rule(slot=st.integers(0, 2))
    def come(self, slot: int) -> None:
        self.attempts[slot] += 1
        worker = WorkerId("train", slot, self.attempts[slot])
        self.go(slot)
        self.here.add(worker)
        self.held[worker] = []
        self.take(self.desk.handle(Ordered(self.now, Expect(worker))))
        self.say(worker, Hello(1))
        self.say(worker, Ask(2))

    @rule(slot=st.integers(0, 2))
    def go(self, slot: int) -> None:
        for worker in [one for one in self.here if one.slot == slot]:
            self.here.remove(worker)
            self.now += 0.1
            self.take(self.desk.handle(Dropped(self.now, worker)))
            self.take(self.desk.handle(Ordered(self.now, Fence(worker, "gone"))))

    @precondition(lambda self: any(self.held[worker] for worker in self.here))
    @rule(pick=st.integers(0, 10))
    def finish(self, pick: int) -> None:
        busy = sorted(worker for worker in self.here if self.held[worker])
        worker = busy[pick % len(busy)]
        lease = self.held[worker].pop(0)
        self.say(worker, Done(lease.unit, lease.lease, 1))
        self.say(worker, Ask(2))

    @rule(pick=st.integers(0, 10))
    def a_ghost_finishes(self, pick: int) -> None:
        ghosts = sorted(worker for worker in self.held if worker not in self.here and self.held[worker])
        if ghosts:
            ghost = ghosts[pick % len(ghosts)]
            lease = self.held[ghost][0]
            self.say(ghost, Done(lease.unit, lease.lease, 1))

    @invariant()
    def nothing_counts_twice(self) -> None:
        assert len(set(self.done)) == len(self.done)
        assert self.complete == (len(self.done) == self.total)

    def teardown(self) -> None:
        """Whatever happened, one living worker finishes all that is left."""
        self.come(0)
        worker = next(one for one in self.here if one.slot == 0)
        for other in [one for one in self.here if one != worker]:
            self.go(other.slot)
        while self.held[worker]:
            lease = self.held[worker].pop(0)
            self.say(worker, Done(lease.unit, lease.lease, 1))
            self.say(worker, Ask(2))
        assert sorted(self.done) == list(range(self.total))
        assert self.complete == 1


TestDesks = Desks.TestCase


def test_who_is_relieved_may_finish_what_it_holds_gets_nothing_more_and_leaves() -> None:
    desk = opened()
    present(desk, ONE)
    ((_, held),) = leases(desk.handle(Spoke(1.0, ONE, Ask(1))))
    successor = WorkerId("train", 0, 2)
    said = present(desk, successor)
    assert Tell(ONE, Order("drain", "its successor is here")) in said
    assert desk.handle(Spoke(2.0, ONE, Ask(2))) == ()
    assert Report(UnitDone("train", held.unit, held.lease, 5, "", {})) in desk.handle(
        Spoke(2.0, ONE, Done(0, held.lease, 5))
    )
    ((worker, _),) = leases(desk.handle(Spoke(2.0, successor, Ask(1))))
    assert worker == successor
    assert Report(WorkerLeft(ONE, "drained", "")) in desk.handle(Spoke(3.0, ONE, Bye("drained", "")))
    assert desk.handle(Spoke(4.0, successor, Done(1, held.lease + 1, 5))) != ()
