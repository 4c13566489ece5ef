"""All pools of a run: who is asked for, and what a control actor is told, and told again."""

from __future__ import annotations

from cirrus.core import messages, slots
from cirrus.core.ids import WorkerId
from cirrus.core.roster import MARGIN, Closing, Heard, Opened, Over, Roster, RosterCommand, Say, Steered, Wished

POOL = messages.OpenPool("train", "work", 8, 4, 30.0)


def opened(workers: int = 2) -> tuple[Roster, tuple[RosterCommand, ...]]:
    roster = Roster(slots.PoolPolicy())
    roster.handle(Heard(0.0, messages.Greeting("first")))
    return roster, roster.handle(Opened(0.0, POOL, workers))


def said(commands: tuple[RosterCommand, ...]) -> list[messages.FromDriver]:
    return [one.message for one in commands if isinstance(one, Say)]


def invoked(commands: tuple[RosterCommand, ...]) -> list[WorkerId]:
    return [one.worker for one in commands if isinstance(one, slots.Invoke)]


def test_a_pool_that_opens_is_told_of_and_each_worker_is_expected_before_it_is_asked_for() -> None:
    _, commands = opened()
    one, two = WorkerId("train", 0, 1), WorkerId("train", 1, 1)
    assert said(commands) == [POOL, messages.Expect(one), messages.Expect(two)]
    assert invoked(commands) == [one, two]


def test_a_wish_that_comes_before_the_pool_counts_when_it_opens() -> None:
    roster = Roster(slots.PoolPolicy())
    roster.handle(Wished(0.0, "train", 1))
    assert len(invoked(roster.handle(Opened(0.0, POOL, 5)))) == 1


def test_a_control_actor_that_knows_nothing_is_told_everything() -> None:
    roster, _ = opened()
    seen = WorkerId("train", 0, 1)
    roster.handle(Heard(1.0, messages.WorkerSeen(seen, 7)))
    roster.handle(Steered(messages.Allow("train", 3)))
    for unit, lease in ((0, 1), (1, 2), (3, 9)):
        roster.handle(Heard(1.0, messages.UnitDone("train", unit, lease, 10, "", {})))
    words = said(roster.handle(Heard(2.0, messages.Greeting("second"))))
    assert words[0] == messages.Took(0)
    assert words[1] == messages.OpenPool("train", "work", 8, 4, 30.0, first=9 + MARGIN, floor=2)
    assert messages.Allow("train", 3) in words
    assert messages.Expect(WorkerId("train", 1, 1)) in words


def test_no_control_actor_grants_a_lease_that_one_before_it_may_have_granted() -> None:
    roster, _ = opened()
    firsts = []
    for name in ("second", "third", "fourth"):
        pool = said(roster.handle(Heard(2.0, messages.Greeting(name))))[1]
        assert isinstance(pool, messages.OpenPool)
        firsts.append(pool.first)
    roster.handle(Heard(3.0, messages.UnitDone("train", 0, firsts[-1] + 7, 10, "", {})))
    pool = said(roster.handle(Heard(4.0, messages.Greeting("fifth"))))[1]
    assert isinstance(pool, messages.OpenPool)
    assert [*firsts, pool.first] == [1 + MARGIN, 1 + 2 * MARGIN, 1 + 3 * MARGIN, 1 + 4 * MARGIN + 7]


def test_units_that_are_to_be_done_again_lower_the_floor_until_they_are() -> None:
    roster, _ = opened()
    for unit in range(4):
        roster.handle(Heard(1.0, messages.UnitDone("train", unit, unit + 1, 10, "", {})))
    roster.handle(Steered(messages.Reopen("train", (1, 2))))
    floors = []
    for name, unit in (("second", 1), ("third", 2), ("fourth", 2)):
        pool = said(roster.handle(Heard(2.0, messages.Greeting(name))))[1]
        assert isinstance(pool, messages.OpenPool)
        floors.append(pool.floor)
        roster.handle(Heard(2.0, messages.UnitDone("train", unit, 50, 10, "", {})))
    assert floors == [1, 2, 4]


def test_the_same_control_actor_is_told_again_what_it_has_not_taken_in() -> None:
    roster, commands = opened()
    roster.handle(Heard(1.0, messages.PoolDone("train")))
    words = said(roster.handle(Heard(2.0, messages.Greeting("first", took=2))))
    assert words == [messages.Took(1), said(commands)[2]]


def test_what_the_control_actor_has_said_is_acknowledged_so_that_it_can_forget_it() -> None:
    roster, _ = opened()
    for _ in range(3):
        roster.handle(Heard(1.0, messages.PoolDone("train")))
    assert said(roster.handle(slots.Tick(1.1))) == [messages.Took(3)]
    assert said(roster.handle(slots.Tick(1.2))) == []


def test_orders_that_were_taken_in_are_forgotten() -> None:
    roster, commands = opened()
    roster.handle(Heard(1.0, messages.Took(len(said(commands)))))
    assert said(roster.handle(Heard(2.0, messages.Greeting("first", took=3)))) == [messages.Took(0)]


def test_nobody_is_replaced_where_the_input_is_at_fault() -> None:
    roster, _ = opened()
    worker = WorkerId("train", 0, 1)
    roster.handle(Heard(1.0, messages.WorkerSeen(worker, 7)))
    roster.handle(Heard(2.0, messages.Objection("train", "rows.csv", "no number", 3, "age")))
    later = [
        *roster.handle(Heard(2.0, messages.WorkerLeft(worker, "failed", "no number"))),
        *roster.handle(slots.Exited(2.0, worker, "finished", "")),
        *[command for at in range(3, 200) for command in roster.handle(slots.Tick(float(at)))],
    ]
    assert invoked(tuple(later)) == []


def test_a_pool_that_is_to_end_is_over_when_the_last_worker_has_left() -> None:
    roster, _ = opened(workers=1)
    worker = WorkerId("train", 0, 1)
    roster.handle(Heard(1.0, messages.WorkerSeen(worker, 7)))
    commands = roster.handle(Closing(2.0, "train"))
    assert messages.Drain(worker, "the stage is over") in said(commands)
    assert Over("train") not in commands
    commands = roster.handle(Heard(3.0, messages.WorkerLeft(worker, "drained", "")))
    assert commands[-2:] == (Say(messages.ClosePool("train")), Over("train"))
    assert roster.handle(Closing(4.0, "train")) == (Over("train"),)
