"""A pool in a hostile world: whatever happens, it stays safe, and when the faults stop it gets where it should be."""

import math

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cirrus.core.ids import WorkerId
from cirrus.core.pool import Pool
from cirrus.core.restarts import Backoff
from cirrus.core.slots import (
    Cause,
    Closed,
    Command,
    Drain,
    Event,
    Exited,
    Fence,
    GiveUp,
    Invoke,
    InvokeFailed,
    Leave,
    Left,
    PoolPolicy,
    Refusal,
    Scaled,
    Seen,
    Stop,
    Tick,
)

MOST = 6
LEAVES: tuple[Leave, ...] = ("drained", "idle", "deadline", "failed", "memory", "lost")
CAUSES: tuple[Cause, ...] = ("finished", "crashed", "killed", "memory", "timeout")
REFUSALS: tuple[Refusal, ...] = ("throttled", "unreachable", "refused")
details = st.sampled_from(["", "a", "b"])


class World(RuleBasedStateMachine):
    """Everything that workers, provider and people can do to a pool, with an independent record of what it may do.

    Liveness comes first: whoever is not running has a deadline, and in ``teardown`` the faults stop and the pool is as
    wished for, or has given up with a reason, within ``PoolPolicy.patience``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.at = 0.0
        self.wish = 0
        self.over = False
        self.given_up: GiveUp | None = None
        self.known: set[WorkerId] = set()
        self.fenced: dict[int, int] = {}
        self.failed: set[WorkerId] = set()  # whose request seemed to fail, and was not made again
        self.draining: set[WorkerId] = set()

    @initialize(max_requests=st.integers(1, 4), patient=st.booleans())
    def begin(self, max_requests: int, patient: bool) -> None:  # noqa: FBT001  hypothesis draws it
        many = 10_000 if patient else 3
        self.policy = PoolPolicy(
            start_deadline=20.0,
            drain_deadline=7.0,
            max_requests=max_requests,
            restarts=many,
            alike=many,
            streak=many,
            throttle=Backoff(0.5, 2.0, 8.0),
        )
        self.pool = Pool("train", self.policy)

    # The world

    @rule(workers=st.integers(0, MOST))
    def scales(self, workers: int) -> None:
        if not self.over:
            self.wish = workers
        self.tell(Scaled(self.at, workers))

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def speaks(self, data: st.DataObject) -> None:
        worker = self.draw(data)
        ghost = worker.attempt <= self.fenced.get(worker.slot, 0)
        commands = self.tell(Seen(self.at, worker))
        if ghost:
            assert commands[:2] == (Fence(worker), Stop(worker))
        else:
            self.failed.discard(worker)

    @rule(slot=st.integers(-1, MOST + 1), attempt=st.integers(1, 30))
    def a_stranger_speaks(self, slot: int, attempt: int) -> None:
        worker = WorkerId("train", slot, attempt)
        if worker not in self.known:
            before = self.pool.workers
            self.tell(Seen(self.at, worker))
            assert self.pool.workers == before

    @precondition(lambda self: self.known)
    @rule(data=st.data(), kind=st.sampled_from(REFUSALS), reason=details)
    def request_fails(self, data: st.DataObject, kind: Refusal, reason: str) -> None:
        worker = self.draw(data)
        if (worker, "requested") in self.standing():
            self.failed.add(worker)
        self.tell(InvokeFailed(self.at, worker, kind, reason))

    @precondition(lambda self: self.known)
    @rule(data=st.data(), kind=st.sampled_from(LEAVES), detail=details)
    def leaves(self, data: st.DataObject, kind: Leave, detail: str) -> None:
        self.tell(Left(self.at, self.draw(data), kind, detail))

    @precondition(lambda self: self.known)
    @rule(data=st.data(), cause=st.sampled_from(CAUSES), detail=details)
    def exits(self, data: st.DataObject, cause: Cause, detail: str) -> None:
        self.tell(Exited(self.at, self.draw(data), cause, detail))

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 7.0, 20.0]))
    def time_passes(self, seconds: float) -> None:
        self.at += seconds
        self.tell(Tick(self.at))
        assert (self.pool.next_tick or math.inf) > self.at

    @precondition(lambda self: len(self.known) > 8)
    @rule()
    def closes(self) -> None:
        self.over, self.wish = True, 0
        self.tell(Closed(self.at))

    def draw(self, data: st.DataObject) -> WorkerId:
        """The newest workers of the slots most often, ghosts now and then."""
        everybody = sorted(self.known)
        newest = [one for one in everybody if one.attempt > self.fenced.get(one.slot, 0)]
        return data.draw(st.one_of(st.sampled_from(newest or everybody), st.sampled_from(everybody)))

    def standing(self) -> set[tuple[WorkerId, str]]:
        return {(worker, state) for worker, state, _ in self.pool.workers}

    # What the pool may do

    def tell(self, event: Event) -> tuple[Command, ...]:
        commands = self.pool.handle(event)
        for command in commands:
            match command:
                case Invoke(worker):
                    self.may_invoke(worker)
                case Fence(worker):
                    assert worker in self.known
                    self.fenced[worker.slot] = max(worker.attempt, self.fenced.get(worker.slot, 0))
                case Drain(worker):
                    assert worker.slot >= self.wish or worker in self.draining  # told again
                    assert worker.attempt == self.fenced.get(worker.slot, 0) + 1
                    self.draining.add(worker)
                case GiveUp():
                    assert command.reason
                    assert self.given_up is None
                    self.given_up, self.over, self.wish = command, True, 0
                case Stop():
                    pass
        stopped = [one.worker for one in commands if isinstance(one, Stop)]
        assert all(one not in self.known or one.attempt <= self.fenced[one.slot] for one in stopped)
        drains = [one.worker.slot for one in commands if isinstance(one, Drain)]
        assert drains == sorted(drains, reverse=True)
        return commands

    def may_invoke(self, worker: WorkerId) -> None:
        assert not self.over
        assert worker.slot < self.wish
        assert worker.attempt == self.fenced.get(worker.slot, 0) + 1
        assert worker not in self.known or worker in self.failed
        self.failed.discard(worker)
        self.known.add(worker)

    @invariant()
    def nobody_is_waited_for_for_ever(self) -> None:
        counts, states = self.pool.counts, [state for _, state in self.standing()]
        if counts.wish != states.count("running") or len(states) != counts.wish:
            assert self.pool.next_tick is not None or (self.over and self.pool.idle)

    @invariant()
    def only_workers_that_were_asked_for_and_not_fenced_count(self) -> None:
        for worker, _ in self.standing():
            assert worker in self.known
            assert worker.attempt == self.fenced.get(worker.slot, 0) + 1

    @invariant()
    def the_books_agree(self) -> None:
        counts, states = self.pool.counts, [state for _, state in self.standing()]
        assert counts.wish == self.wish
        assert counts.requested == states.count("requested") <= self.policy.max_requests
        assert counts.running == states.count("running") + states.count("lost")
        assert counts.draining == states.count("draining")
        assert self.pool.idle == (not states)

    @invariant()
    def whoever_is_not_wanted_is_on_the_way_out(self) -> None:
        assert all(state == "draining" for worker, state in self.standing() if worker.slot >= self.wish)

    def teardown(self) -> None:
        if not hasattr(self, "pool"):
            return
        until = self.at + self.policy.patience
        todo = list(self.tell(Tick(self.at)))
        while True:
            while todo:
                todo += self.cooperate(todo.pop(0))
            if self.pool.next_tick is None or self.pool.next_tick > until:
                break
            self.at = max(self.at, self.pool.next_tick)
            todo += self.tell(Tick(self.at))
        assert self.standing() == {(worker, "running") for worker, _ in self.standing()}
        assert len(self.standing()) == self.wish
        assert not self.given_up or self.pool.idle

    def cooperate(self, command: Command) -> tuple[Command, ...]:
        """Do what the pool wants, without delay."""
        match command:
            case Invoke(worker):
                return self.tell(Seen(self.at, worker))
            case Drain(worker):
                return self.tell(Left(self.at, worker, "drained", ""))
            case Fence() | Stop() | GiveUp():
                return ()


TestWorld = World.TestCase
