import pytest

from cirrus.core.ids import WorkerId
from cirrus.core.pool import Counts, Pool
from cirrus.core.slots import (
    Closed,
    Command,
    Drain,
    Exited,
    Fence,
    GiveUp,
    Invoke,
    InvokeFailed,
    Leave,
    Left,
    PoolPolicy,
    Scaled,
    Seen,
    Stop,
    Tick,
)
from cirrus.errors import PipelineError

POLICY = PoolPolicy()


def w(slot: int, attempt: int = 1) -> WorkerId:
    return WorkerId("train", slot, attempt)


def running(workers: int, policy: PoolPolicy = POLICY) -> Pool:
    """A pool whose workers have all spoken at time 0."""
    pool = Pool("train", policy)
    todo = list(pool.handle(Scaled(0.0, workers)))
    while todo:
        command = todo.pop()
        assert isinstance(command, Invoke)
        todo += pool.handle(Seen(0.0, command.worker))
    assert pool.counts == Counts(workers, 0, workers, 0)
    return pool


def given_up(commands: tuple[Command, ...]) -> GiveUp | None:
    return next((one for one in commands if isinstance(one, GiveUp)), None)


def invoked(commands: tuple[Command, ...]) -> list[WorkerId]:
    return [one.worker for one in commands if isinstance(one, Invoke)]


def test_a_wish_becomes_requests_and_requests_become_workers() -> None:
    pool = Pool("train", POLICY)
    assert pool.idle
    assert pool.handle(Scaled(0.0, 2)) == (Invoke(w(0), ""), Invoke(w(1), ""))
    assert pool.counts == Counts(2, 2, 0, 0)
    assert pool.handle(Seen(3.0, w(1))) == ()
    assert pool.workers == ((w(0), "requested", 0.0), (w(1), "running", 3.0))
    assert not pool.idle


def test_a_worker_that_never_speaks_is_fenced_and_replaced_after_the_start_deadline() -> None:
    pool = Pool("train", POLICY)
    pool.handle(Scaled(0.0, 1))
    assert pool.next_tick == 60.0
    assert pool.handle(Tick(59.9)) == ()
    reason = "lost: no sign of life within 60 s of its request"
    assert pool.handle(Tick(60.0)) == (Stop(w(0)), Fence(w(0)), Invoke(w(0, 2), reason))
    assert pool.handle(Seen(61.0, w(0))) == (Fence(w(0)), Stop(w(0)))
    assert pool.workers == ((w(0, 2), "requested", 60.0),)


def test_scaling_down_drains_the_highest_slots_first() -> None:
    pool = running(4)
    assert pool.handle(Scaled(1.0, 1)) == (Drain(w(3)), Drain(w(2)), Drain(w(1)))
    assert pool.handle(Left(2.0, w(2), "drained", "")) == (Fence(w(2)),)
    assert pool.counts == Counts(1, 0, 1, 2)


def test_a_worker_that_does_not_leave_in_time_is_fenced_and_stopped() -> None:
    pool = running(1)
    pool.handle(Scaled(1.0, 0))
    assert pool.handle(Tick(30.9)) == ()
    assert pool.handle(Tick(31.0)) == (Stop(w(0)), Fence(w(0)))
    assert pool.idle


def test_a_draining_slot_that_is_wanted_again_gets_a_new_attempt_when_it_is_free() -> None:
    pool = running(1)
    pool.handle(Scaled(1.0, 0))
    assert pool.handle(Scaled(2.0, 1)) == ()
    assert pool.handle(Left(3.0, w(0), "drained", "")) == (Fence(w(0)), Invoke(w(0, 2), ""))


def test_a_request_that_is_not_wanted_any_more_is_fenced_and_stopped() -> None:
    pool = Pool("train", POLICY)
    pool.handle(Scaled(0.0, 1))
    assert pool.handle(Scaled(1.0, 0)) == (Stop(w(0)), Fence(w(0)))
    assert pool.handle(Seen(2.0, w(0))) == (Fence(w(0)), Stop(w(0)))
    assert pool.handle(Scaled(3.0, 1)) == (Invoke(w(0, 2), ""),)


def test_the_order_to_leave_is_repeated_to_a_worker_that_comes_back() -> None:
    pool = running(1)
    pool.handle(Scaled(1.0, 0))
    assert pool.handle(Seen(2.0, w(0))) == (Drain(w(0)),)


@pytest.mark.parametrize("kind", ["deadline", "drained"])
def test_clean_ends_are_followed_at_once_and_cost_nothing(kind: Leave) -> None:
    pool = running(1)
    for attempt in range(1, 200):
        at = float(attempt)
        commands = pool.handle(Left(at, w(0, attempt), kind, ""))
        assert invoked(commands) == [w(0, attempt + 1)]
        pool.handle(Seen(at, w(0, attempt + 1)))


def test_a_slot_without_work_rests_before_it_looks_again() -> None:
    pool = running(1)
    assert pool.handle(Left(1.0, w(0), "idle", "")) == (Fence(w(0)),)
    assert pool.next_tick == 6.0
    assert pool.handle(Tick(6.0)) == (Invoke(w(0, 2), ""),)


@pytest.mark.parametrize("life", [0.1, 5.0])
def test_ten_kills_in_a_row_are_survived(life: float) -> None:
    pool, at = running(1), 0.0
    for attempt in range(1, 11):
        at += life
        pool.handle(Left(at, w(0, attempt), "lost", "the connection is gone"))
        commands = pool.handle(Exited(at, w(0, attempt), "killed", "signal 9"))
        if life >= POLICY.settled:
            assert invoked(commands) == [w(0, attempt + 1)]
        while not pool.counts.requested:
            assert given_up(commands) is None
            assert pool.next_tick is not None
            at = pool.next_tick
            commands = pool.handle(Tick(at))
        pool.handle(Seen(at, w(0, attempt + 1)))


def test_pauses_grow_only_while_workers_die_young() -> None:
    pool, at, pauses = running(1, PoolPolicy(restarts=100)), 0.0, []
    for attempt in range(1, 9):
        pool.handle(Exited(at, w(0, attempt), "crashed", f"code {attempt}"))
        due = pool.next_tick if pool.next_tick is not None and not pool.counts.requested else at
        pauses.append(due - at)
        at = due
        pool.handle(Tick(at))
        pool.handle(Seen(at, w(0, attempt + 1)))
    assert pauses[0] == 0.0
    assert all(0.05 * 2**k <= pause <= 0.1 * 2**k for k, pause in enumerate(pauses[1:7]))
    assert invoked(pool.handle(Exited(at + 1.0, w(0, 9), "crashed", "code 9"))) == [w(0, 10)]


def test_three_failures_that_are_alike_end_the_pool_with_the_last_words_of_a_worker() -> None:
    pool = running(3)
    assert given_up(pool.handle(Left(0.1, w(0), "failed", "ImportError: numpy"))) is None
    assert given_up(pool.handle(Left(0.1, w(1), "failed", "ImportError: numpy"))) is None
    commands = pool.handle(Left(0.2, w(2), "failed", "ImportError: numpy"))
    assert given_up(commands) == GiveUp("3 workers in a row failed in the same way", "failed: ImportError: numpy")
    assert not invoked(commands)
    assert pool.counts.wish == 0


def test_a_model_that_has_diverged_ends_the_pool_at_once() -> None:
    end = given_up(running(3).handle(Left(2.0, w(1), "diverged", "the loss of minibatch 7 is nan")))
    assert end == GiveUp("the model has diverged", "the loss of minibatch 7 is nan")


def test_failures_that_differ_do_not_end_the_pool() -> None:
    pool = running(8)
    for slot in range(8):
        assert given_up(pool.handle(Left(2.0, w(slot), "failed", f"KeyError: {slot // 2}"))) is None


def test_a_pool_none_of_whose_workers_speaks_gives_up() -> None:
    pool, at, commands = Pool("train", POLICY), 0.0, tuple[Command, ...]()
    pool.handle(Scaled(at, 1))
    while given_up(commands) is None:
        assert pool.next_tick is not None
        at = pool.next_tick
        commands = pool.handle(Tick(at))
    assert at < 3 * 60.0 + 1.0
    assert pool.idle


def test_a_few_requests_of_many_may_be_lost() -> None:
    pool = Pool("train", POLICY)
    pool.handle(Scaled(0.0, 50))
    for slot in range(45):
        pool.handle(Seen(1.0, w(slot)))
    commands = pool.handle(Tick(60.0))
    assert given_up(commands) is None
    assert invoked(commands) == [w(slot, 2) for slot in range(45, 50)]


def test_workers_that_die_before_they_speak_are_no_rule_where_others_come_up_in_between() -> None:
    pool, at = running(3), 0.0
    for attempt in range(1, 9, 2):
        at += 20.0
        pool.handle(Exited(at, w(0, attempt), "killed", "SIGKILL"))
        assert given_up(pool.handle(Exited(at + 0.5, w(0, attempt + 1), "killed", "SIGKILL"))) is None
        pool.handle(Tick(at + 1.0))
        pool.handle(Seen(at + 1.0, w(0, attempt + 2)))
        assert pool.counts.running == 3


@pytest.mark.parametrize("wish", [1, 2, 50])
def test_a_pool_whose_workers_all_die_young_gives_up(wish: int) -> None:
    pool, at = running(wish, PoolPolicy(restarts=1000, restarts_per_worker=1000)), 0.0
    while pool.counts.wish:
        for worker, state, _ in pool.workers:
            if state == "requested":
                pool.handle(Seen(at, worker))
            pool.handle(Exited(at, worker, "crashed", f"at {at}"))
        at += 1.0
        pool.handle(Tick(at))
        assert at < POLICY.streak * (POLICY.backoff.most + 2)


def test_too_many_restarts_within_the_window_end_the_pool() -> None:
    pool = running(1)
    for attempt in range(1, 11):
        at = 2.0 * attempt
        assert given_up(pool.handle(Exited(at, w(0, attempt), "crashed", f"code {attempt}"))) is None
        pool.handle(Seen(at, w(0, attempt + 1)))
    commands = pool.handle(Exited(22.0, w(0, 11), "crashed", "code 11"))
    assert given_up(commands) == GiveUp("more than 10 workers had to be replaced within 60 s", "crashed: code 11")


def test_restarts_spread_over_time_do_not_end_the_pool() -> None:
    pool = running(1)
    for attempt in range(1, 100):
        at = 7.0 * attempt
        assert given_up(pool.handle(Exited(at, w(0, attempt), "crashed", "code 1"))) is None
        pool.handle(Seen(at, w(0, attempt + 1)))


def test_a_second_death_for_want_of_memory_asks_for_more_memory() -> None:
    pool = running(2)
    pool.handle(Left(5.0, w(0), "lost", "the connection is gone"))
    assert invoked(pool.handle(Exited(5.1, w(0), "memory", "killed at 128 MB"))) == [w(0, 2)]
    pool.handle(Seen(6.0, w(0, 2)))
    assert given_up(pool.handle(Exited(9.0, w(1), "memory", "killed at 128 MB"))) is None
    commands = pool.handle(Left(9.0, w(0, 2), "memory", "MemoryError"))
    last = given_up(commands)
    assert last is not None
    assert "give the stage more memory" in last.reason
    assert last.evidence == "MemoryError"


def test_deaths_for_want_of_memory_with_a_good_worker_between_them_do_not_end_the_pool() -> None:
    pool = running(1)
    pool.handle(Exited(5.0, w(0), "memory", ""))
    pool.handle(Seen(5.0, w(0, 2)))
    pool.handle(Left(9.0, w(0, 2), "deadline", ""))
    pool.handle(Seen(9.0, w(0, 3)))
    assert given_up(pool.handle(Exited(15.0, w(0, 3), "memory", ""))) is None


def test_throttling_lowers_the_rate_is_never_a_failure_and_is_got_over() -> None:
    pool, at = Pool("train", PoolPolicy(max_requests=8)), 0.0
    todo = invoked(pool.handle(Scaled(at, 20)))
    assert len(todo) == 8
    for _ in range(50):  # every request is refused
        while todo:
            assert todo[0].attempt == 1
            todo += invoked(pool.handle(InvokeFailed(at, todo.pop(0), "throttled", "429")))
        assert pool.next_tick is not None
        at = pool.next_tick
        todo = invoked(pool.handle(Tick(at)))
    assert pool.counts == Counts(20, 1, 0, 0)
    while pool.next_tick is not None:  # every request is served
        while todo:
            todo += invoked(pool.handle(Seen(at, todo.pop(0))))
        at = pool.next_tick or at
        todo = invoked(pool.handle(Tick(at)))
    assert pool.counts == Counts(20, 0, 20, 0)


def test_at_most_so_many_requests_are_under_way() -> None:
    pool = Pool("train", PoolPolicy(max_requests=3))
    assert invoked(pool.handle(Scaled(0.0, 5))) == [w(0), w(1), w(2)]
    assert invoked(pool.handle(Seen(1.0, w(1)))) == [w(3)]


def test_a_worker_whose_request_seemed_to_fail_is_welcome() -> None:
    pool = Pool("train", POLICY)
    pool.handle(Scaled(0.0, 1))
    pool.handle(InvokeFailed(1.0, w(0), "throttled", "429"))
    assert pool.handle(Seen(1.1, w(0))) == ()
    assert pool.handle(Tick(50.0)) == ()
    assert pool.workers == ((w(0), "running", 1.1),)


def test_a_failed_request_is_made_again_under_the_same_attempt() -> None:
    pool = Pool("train", POLICY)
    pool.handle(Scaled(0.0, 1))
    assert pool.handle(InvokeFailed(1.0, w(0), "unreachable", "timed out")) == (Invoke(w(0), ""),)
    assert pool.handle(InvokeFailed(1.0, w(0), "unreachable", "timed out")) == ()
    assert invoked(pool.handle(Tick(1.1))) == [w(0)]


def test_three_refusals_that_are_alike_end_the_pool_but_an_unreachable_provider_is_waited_for() -> None:
    for kind, most in (("refused", 3), ("unreachable", POLICY.streak)):
        pool, at, count = Pool("train", POLICY), 0.0, 0
        todo = pool.handle(Scaled(at, 1))
        while given_up(todo) is None:
            for worker in invoked(todo):
                count += 1
                assert kind in {"refused", "unreachable"}
                todo = pool.handle(InvokeFailed(at, worker, kind, "403"))  # type: ignore[arg-type]
            if not invoked(todo) and given_up(todo) is None:
                assert pool.next_tick is not None
                at = pool.next_tick
                todo = pool.handle(Tick(at))
        assert count == most
        assert pool.idle


def test_a_duplicate_that_was_sent_away_does_not_end_its_twin() -> None:
    pool = running(1)
    assert pool.handle(Exited(1.0, w(0), "finished", "")) == ()
    assert pool.workers == ((w(0), "running", 0.0),)


def test_a_worker_whose_connection_broke_may_come_back() -> None:
    pool = running(1)
    assert pool.handle(Left(1.0, w(0), "lost", "reset")) == ()
    assert pool.workers == ((w(0), "lost", 1.0),)
    assert pool.handle(Seen(1.5, w(0))) == ()
    assert pool.handle(Tick(9.0)) == ()
    assert pool.workers == ((w(0), "running", 0.0),)


def test_a_lost_worker_is_replaced_when_there_is_evidence_or_time_is_up() -> None:
    pool = running(3)
    for slot in range(3):
        pool.handle(Left(5.0, w(slot), "lost", "reset"))
    assert pool.handle(Exited(5.2, w(0), "killed", "signal 9")) == (Fence(w(0)), Invoke(w(0, 2), "killed: signal 9"))
    assert pool.handle(Exited(5.2, w(1), "finished", "code 0")) == (Fence(w(1)), Invoke(w(1, 2), "lost: reset"))
    assert pool.handle(Tick(6.0)) == (Stop(w(2)), Fence(w(2)), Invoke(w(2, 2), "lost: reset"))


def test_a_worker_nobody_asked_for_is_stopped_and_not_let_in() -> None:
    pool = running(1)
    for stranger in (w(7), w(0, 5), WorkerId("other", 0, 1)):
        assert pool.handle(Seen(1.0, stranger)) == (Stop(stranger),)
    assert pool.counts == Counts(1, 0, 1, 0)


def test_at_the_end_everybody_is_told_to_leave_and_nobody_is_invoked() -> None:
    pool = running(2)
    pool.handle(Scaled(1.0, 3))
    assert pool.handle(Closed(2.0)) == (Stop(w(2)), Fence(w(2)), Drain(w(1)), Drain(w(0)))
    assert pool.handle(Scaled(3.0, 5)) == ()
    pool.handle(Left(3.0, w(0), "idle", ""))
    pool.handle(Left(3.0, w(1), "failed", "x"))
    assert pool.idle
    assert pool.next_tick is None


@pytest.mark.parametrize("field", ["start_deadline", "drain_deadline", "evidence", "idle_pause", "alike", "streak"])
def test_a_policy_without_an_end_is_refused(field: str) -> None:
    with pytest.raises(PipelineError, match=field):
        PoolPolicy(**{field: 0})  # type: ignore[arg-type]


def test_a_successor_is_asked_for_before_a_worker_leaves_by_itself() -> None:
    pool = Pool("train", POLICY, lifetime=100.0)
    pool.handle(Scaled(0.0, 2))
    for slot in range(2):
        pool.handle(Seen(0.0, w(slot)))
    assert pool.next_tick == 100.0 - 5.0 - 2.0
    assert pool.handle(Tick(92.9)) == ()
    assert pool.handle(Tick(93.0)) == (
        Invoke(w(0, 2), "deadline: its time is nearly up"), Invoke(w(1, 2), "deadline: its time is nearly up"),
    )  # fmt: skip
    pool.handle(Seen(93.5, w(0, 2)))
    for kind in ("deadline", "lost"):
        assert pool.handle(Left(95.0, w(0), kind, "")) == (), "the slot is its successor's"
    assert pool.handle(Exited(95.1, w(0), "timeout", "")) == ()
    assert pool.counts == Counts(2, 1, 1, 0)
    pool.handle(Seen(95.2, w(1, 2)))
    assert invoked(pool.handle(Tick(93.5 + 93.0))) == [w(0, 3)]


def test_who_comes_back_after_its_successor_was_asked_for_is_a_ghost() -> None:
    pool = Pool("train", POLICY, lifetime=100.0)
    pool.handle(Scaled(0.0, 1))
    pool.handle(Seen(0.0, w(0)))
    pool.handle(Tick(93.0))
    assert pool.handle(Seen(93.1, w(0))) == (Fence(w(0)), Stop(w(0)))


def test_a_successor_that_is_not_wanted_any_more_is_cut_off() -> None:
    pool = Pool("train", POLICY, lifetime=100.0)
    pool.handle(Scaled(0.0, 1))
    pool.handle(Seen(0.0, w(0)))
    pool.handle(Tick(93.0))
    assert pool.handle(Scaled(93.1, 0)) == (Stop(w(0, 2)), Fence(w(0, 2)))
    assert pool.idle
