"""Keeps a pool of workers at a wish: a machine that hears what happened and says what to do about it.

Each place in the pool is a slot, and each worker that fills it has a higher attempt than the one before:

    Vacant ──Invoke──► Requested ──Seen──► Running ──Drain──► Draining
      ▲  ▲                 │                │   ▲                │
      │  └─ failed, late ──┘      connection│   │Seen            │
      │                                gone ▼   │                │
      ├───────────── found dead, not back ─ Lost                 │
      └───────────────────────── left, late ─────────────────────┘

Nobody is waited for for ever: Requested, Lost and Draining have deadlines, and every way back to Vacant fences the
attempt, so that what comes late from it is refused. A worker that ends cleanly is replaced without counting. Failures
count: pauses grow while workers of a slot die young, and the pool gives up, with the reason and the evidence, after a
few failures that are alike, a streak of short-lived workers in one slot, a second death for want of memory, or too
many restarts within a window. Throttled requests are no failures: they only lower the rate.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import assert_never

from cirrus.core.health import Death, Health
from cirrus.core.ids import WorkerId
from cirrus.core.lifetime import NEARLY, margin
from cirrus.core.restarts import Throttle, spread
from cirrus.core.slots import (
    Cause,
    Closed,
    Command,
    Drain,
    Draining,
    Event,
    Exited,
    Fence,
    GiveUp,
    Invoke,
    InvokeFailed,
    Leave,
    Left,
    Lost,
    PoolPolicy,
    Requested,
    Running,
    Scaled,
    Seen,
    Slot,
    Stop,
    Tick,
    Vacant,
)

ROUND = 1.0  # seconds within which refusals answer the same burst of requests


LEAD = 2.0
"""Seconds before a worker leaves at which its successor is asked for; never more than a third of its lifetime."""

@dataclass(frozen=True, slots=True)
class Counts:
    """How many workers are wished for, and how many slots are in which state; ``running`` includes the just lost."""

    wish: int
    requested: int
    running: int
    draining: int


class Pool:
    """The pool of workers of one stage; it is told what happened and answers with commands, in order.

    A worker has ``lifetime`` seconds from its beginning to its end. Its successor is asked for before it leaves, so
    that both are there for a moment; from then on the slot is the successor's.
    """

    def __init__(self, name: str, policy: PoolPolicy, lifetime: float = math.inf) -> None:
        self.name = name
        self._policy = policy
        self._relay = lifetime - margin(lifetime) - min(LEAD, lifetime / 3) if lifetime < math.inf else math.inf
        self._now = 0.0
        self._wish = 0
        self._over = False
        self._slots: list[Slot] = []
        # Slots by state, each in the order in which they entered it, which is also the order of their deadlines. Of
        # the vacant ones only those that are to be filled now; those that have to wait are in the heap.
        self._by: dict[type[Slot], OrderedDict[int, None]] = {
            kind: OrderedDict() for kind in (Vacant, Requested, Running, Lost, Draining)
        }
        self._waiting: list[tuple[float, int]] = []
        self._throttle = Throttle(policy.max_requests, ROUND)
        self._health = Health(policy)
        self._reasons: dict[int, str] = {}  # why the last worker ended before its work did
        self._out: list[Command] = []

    @property
    def counts(self) -> Counts:
        """The wish and what has become of it."""
        by = self._by
        return Counts(self._wish, len(by[Requested]), len(by[Running]) + len(by[Lost]), len(by[Draining]))

    @property
    def workers(self) -> tuple[tuple[WorkerId, str, float], ...]:
        """Every worker that there may be, with the state of its slot in lower case and the time it entered it."""
        return tuple(
            (WorkerId(self.name, slot, state.attempt), type(state).__name__.lower(), state.at)
            for slot, state in enumerate(self._slots)
            if not isinstance(state, Vacant)
        )

    @property
    def idle(self) -> bool:
        """Whether there is nobody, nor anybody on the way."""
        return not any(self._by[kind] for kind in (Requested, Running, Lost, Draining))

    @property
    def next_tick(self) -> float | None:
        """When ``Tick`` has something to do next; ``None``: not before another event."""
        times = [self._waiting[0][0]] if self._waiting else []
        for kind, wait in self._deadlines():
            for slot in self._by[kind]:
                state = self._slots[slot]
                assert not isinstance(state, Vacant)
                times.append(state.at + wait)
                break
        return min(times, default=None)

    def handle(self, event: Event) -> tuple[Command, ...]:
        """Take in what happened and say what is to be done, in this order."""
        self._out = []
        self._now = event.at
        match event:
            case Scaled(workers=workers):
                self._scaled(workers)
            case InvokeFailed():
                self._invoke_failed(event)
            case Seen(worker=worker):
                self._seen(worker)
            case Left(worker=worker, kind=kind, detail=detail):
                self._left(worker, kind, detail)
            case Exited(worker=worker, cause=cause, detail=detail):
                self._exited(worker, cause, detail)
            case Tick():
                self._ticked()
            case Closed():
                self._close()
            case _:
                assert_never(event)
        self._fill()
        return tuple(self._out)

    def _current(self, worker: WorkerId) -> Slot | None:
        """The state of the worker's slot, if the worker is the one that fills it, or filled it last."""
        if worker.pool != self.name or not 0 <= worker.slot < len(self._slots):
            return None
        state = self._slots[worker.slot]
        return state if state.attempt == worker.attempt else None

    def _deadlines(self) -> tuple[tuple[type[Slot], float], ...]:
        policy = self._policy
        waits = ((Requested, policy.start_deadline), (Lost, policy.evidence), (Draining, policy.drain_deadline))
        return waits if self._relay == math.inf else (*waits, (Running, self._relay))

    # Events

    def _scaled(self, workers: int) -> None:
        if self._over:
            return
        before, self._wish = self._wish, workers
        self._health.scaled(workers)
        self._slots += [Vacant(0, self._now, 0) for _ in range(len(self._slots), workers)]
        for slot in range(before, workers):
            state = self._slots[slot]
            if isinstance(state, Vacant):  # one that still drains is followed by a new attempt when it has left
                self._put(slot, state)
        for slot in range(before - 1, workers - 1, -1):
            self._dismiss(slot)

    def _invoke_failed(self, event: InvokeFailed) -> None:
        slot, state = event.worker.slot, self._current(event.worker)
        if not isinstance(state, Requested):
            return  # it ran nevertheless, or is fenced already
        match event.kind:
            case "throttled":
                chance = spread(slot + state.attempt, self._policy.phase)
                pause: float | GiveUp = self._policy.throttle.delay(self._throttle.refused(event.at), chance)
            case "unreachable":
                pause = self._health.unreachable(slot, event.reason)
            case "refused":
                pause = self._health.refused(event.at, slot, event.reason)
            case _:
                assert_never(event.kind)
        # The same attempt is asked for again: it may be on its way already, and then it is welcome.
        self._rest(event.worker, state.attempt - 1, pause)

    def _seen(self, worker: WorkerId) -> None:
        if worker.pool != self.name or not 0 <= worker.slot < len(self._slots):
            self._out.append(Stop(worker))  # nobody asked for it
            return
        state = self._slots[worker.slot]
        asked = state.asked if isinstance(state, Vacant) else state.attempt
        if worker.attempt < state.attempt + isinstance(state, Vacant):
            self._out += (Fence(worker), Stop(worker))  # a ghost
        elif worker.attempt > asked:
            self._out.append(Stop(worker))  # nobody asked for it
        else:
            self._welcome(worker, state)

    def _welcome(self, worker: WorkerId, state: Slot) -> None:
        match state:
            case Vacant() | Requested():  # vacant: its request had seemed to fail
                self._health.seen(self._now)
                self._throttle.went_well()
                self._put(worker.slot, Running(worker.attempt, self._now))
            case Lost(since=since):
                self._put(worker.slot, Running(worker.attempt, since))
            case Draining():
                self._out.append(Drain(worker))  # the order may have gone with its connection
            case Running():
                pass
            case _:
                assert_never(state)

    def _left(self, worker: WorkerId, kind: Leave, detail: str) -> None:
        match self._current(worker):
            case None | Vacant():
                return
            case Draining():
                if kind == "lost":
                    self._out.append(Stop(worker))  # only its connection is known to be gone
                self._end(worker)
            case Running(at=since) if kind == "lost":
                self._put(worker.slot, Lost(worker.attempt, self._now, since, detail))
            case Lost() if kind == "lost":
                return
            case Requested() | Running() | Lost() as state:
                self._parted(worker, state, kind, detail)

    def _exited(self, worker: WorkerId, cause: Cause, detail: str) -> None:
        match self._current(worker):
            case None | Vacant():
                return
            case Requested() | Running() | Draining() if cause == "finished":
                return  # a duplicate delivery that was sent away ends so, too; the worker's own words decide
            case Draining():
                self._end(worker)
            case Lost() as state if cause == "finished":
                self._fail(worker, state, "lost", state.reason)
            case Requested() | Running() | Lost() as state:
                self._fail(worker, state, cause, detail)

    def _ticked(self) -> None:
        for slot, state in self._overdue():
            worker = WorkerId(self.name, slot, state.attempt)
            if isinstance(state, Running):
                self._relieve(slot, state)
                continue
            self._out.append(Stop(worker))
            match state:
                case Requested():
                    within = self._policy.start_deadline
                    self._fail(worker, state, "lost", f"no sign of life within {within:g} s of its request")
                case Lost(reason=reason):
                    self._fail(worker, state, "lost", reason)
                case Draining():
                    self._end(worker)

    def _relieve(self, slot: int, state: Running) -> None:
        """The worker is about to leave by itself: nobody stops it, but its successor is asked for already."""
        self._reasons[slot] = f"deadline: {NEARLY}"
        self._put(slot, Vacant(state.attempt, self._now, state.attempt))

    def _overdue(self) -> Iterator[tuple[int, Requested | Running | Lost | Draining]]:
        for kind, wait in self._deadlines():
            while self._by[kind]:
                slot = next(iter(self._by[kind]))
                state = self._slots[slot]
                assert not isinstance(state, Vacant)
                if state.at + wait > self._now:
                    break
                yield slot, state

    def _close(self) -> None:
        self._over = True
        before, self._wish = self._wish, 0
        for slot in range(before - 1, -1, -1):
            self._dismiss(slot)

    # Transitions

    def _put(self, slot: int, state: Slot) -> None:
        self._by[type(self._slots[slot])].pop(slot, None)
        self._slots[slot] = state
        if not isinstance(state, Vacant):
            self._by[type(state)][slot] = None
        elif slot < self._wish and state.not_before <= self._now:
            self._by[Vacant][slot] = None
        elif slot < self._wish:
            heappush(self._waiting, (state.not_before, slot))

    def _rest(self, worker: WorkerId, fenced: int, pause: float | GiveUp) -> None:
        """Leave the worker's slot vacant for so long; or give up, which leaves it vacant for good."""
        rest = 0.0 if isinstance(pause, GiveUp) else pause
        self._put(worker.slot, Vacant(fenced, self._now + rest, worker.attempt))
        if isinstance(pause, GiveUp):
            self._give_up(pause)

    def _end(self, worker: WorkerId, pause: float | GiveUp = 0.0, reason: str = "") -> None:
        """The worker is over: fence it and go on to the next, which is told the ``reason`` if there is one."""
        self._out.append(Fence(worker))
        if reason:
            self._reasons[worker.slot] = reason
        else:
            self._reasons.pop(worker.slot, None)
        self._rest(worker, worker.attempt, pause)

    def _parted(self, worker: WorkerId, state: Requested | Running | Lost, kind: Leave, detail: str) -> None:
        """A worker left with a word."""
        match kind:
            case "idle":
                self._end(worker, self._policy.idle_pause)
            case "drained":
                self._end(worker, self._health.left(worker.slot, self._lived(state)))
            case "deadline":
                pause = self._health.left(worker.slot, self._lived(state))
                self._end(worker, pause, f"deadline: {detail}" if detail else "deadline")
            case "failed" | "memory" | "lost":
                self._fail(worker, state, kind, detail)
            case "diverged":
                self._end(worker, GiveUp("the model has diverged", detail))
            case _:
                assert_never(kind)

    def _fail(self, worker: WorkerId, state: Requested | Running | Lost, cause: Cause | Leave, detail: str) -> None:
        asked = state.at if isinstance(state, Requested) else None
        death = Death(self._now, worker.slot, cause, detail, self._lived(state), asked)
        self._end(worker, self._health.died(death), death.text)

    def _lived(self, state: Requested | Running | Lost) -> float:
        match state:
            case Requested():
                return 0.0
            case Running(at=since):
                return self._now - since
            case Lost(at=until, since=since):
                return until - since
            case _:
                assert_never(state)

    def _dismiss(self, slot: int) -> None:
        """The slot is not wanted any more."""
        state = self._slots[slot]
        worker = WorkerId(self.name, slot, state.attempt)
        match state:
            case Vacant(attempt=fenced, asked=asked) if asked == fenced:
                self._by[Vacant].pop(slot, None)
            case Vacant(asked=asked):
                self._cut_off(WorkerId(self.name, slot, asked))
            case Requested() | Lost():  # nobody there who could be told to leave
                self._cut_off(worker)
            case Running():
                self._out.append(Drain(worker))
                self._put(slot, Draining(state.attempt, self._now))
            case Draining():
                pass
            case _:
                assert_never(state)

    def _cut_off(self, worker: WorkerId) -> None:
        self._out.append(Stop(worker))
        self._end(worker)

    def _give_up(self, why: GiveUp) -> None:
        if not self._over:
            self._out.append(why)
            self._close()

    def _fill(self) -> None:
        """Ask for workers for the slots that want one, as many as may be under way."""
        while self._waiting and self._waiting[0][0] <= self._now:
            not_before, slot = heappop(self._waiting)
            state = self._slots[slot]
            if slot < self._wish and isinstance(state, Vacant) and state.not_before == not_before:
                self._by[Vacant][slot] = None
        vacant, requested = self._by[Vacant], self._by[Requested]
        while vacant and len(requested) < self._throttle.limit:
            slot = next(iter(vacant))
            attempt = self._slots[slot].attempt + 1
            self._put(slot, Requested(attempt, self._now))
            self._out.append(Invoke(WorkerId(self.name, slot, attempt), self._reasons.get(slot, "")))
