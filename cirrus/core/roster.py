"""All pools of a run as its driver keeps them: who is asked for, and what the control actor is told, and told again.

Pure: events in, commands out, in order. A control actor that greets under a new name knows nothing and is told
everything that counts; its leases begin above all that the one before it can have granted. One that is known is told
again what it has not taken in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import assert_never

from cirrus.core import messages, slots
from cirrus.core.ids import WorkerId
from cirrus.core.pool import Counts, Pool
from cirrus.core.spoken import Spoken

MARGIN = 100_000
"""More leases than a control actor can have granted of which nothing was heard."""

MOST_ORDERS = 50_000
"""Orders that may be under way to the control actor at a time."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A pool begins, with that many workers unless another number was wished for; each has ``lifetime`` seconds."""

    at: float
    pool: messages.OpenPool
    workers: int
    lifetime: float = math.inf


@dataclass(frozen=True, slots=True)
class Steered:
    """The control actor is to be told this of a pool, and again whenever it may not know it."""

    message: messages.Limit | messages.Allow | messages.Reopen


@dataclass(frozen=True, slots=True)
class Wished:
    """Another number of workers is wished for, now or when the pool opens."""

    at: float
    pool: str
    workers: int


@dataclass(frozen=True, slots=True)
class Closing:
    """A pool is to end; ``Over`` says that it has."""

    at: float
    pool: str


@dataclass(frozen=True, slots=True)
class Heard:
    """The control actor has said this."""

    at: float
    message: messages.ToDriver


RosterEvent = Opened | Steered | Wished | Closing | Heard | slots.Exited | slots.InvokeFailed | slots.Tick


@dataclass(frozen=True, slots=True)
class Say:
    """Tell the control actor this."""

    message: messages.FromDriver


@dataclass(frozen=True, slots=True)
class GaveUp:
    """A pool cannot go on: a sentence with the reason, and a worker's last words."""

    pool: str
    reason: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Over:
    """A pool that was to end has ended: nobody is left in it."""

    pool: str


RosterCommand = Say | slots.Invoke | slots.Stop | GaveUp | Over


@dataclass(slots=True)
class _Line:
    """One pool and all that belongs to it."""

    opened: messages.OpenPool
    machine: Pool
    highest: int  # lease that is known of
    closing: bool = False
    done: set[int] = field(default_factory=set)
    lost: set[int] = field(default_factory=set)  # units that were finished and are to be done again
    steered: dict[type, messages.ForDesk] = field(default_factory=dict)

    def floor(self) -> int:
        """The smallest unit that is not finished."""
        untouched = next(unit for unit in count(self.opened.floor) if unit not in self.done)
        return min((untouched, *self.lost))


class Roster:
    """Decides for all pools of a run; ``policy`` says how patient each is."""

    def __init__(self, policy: slots.PoolPolicy) -> None:
        self._policy = policy
        self._lines: dict[str, _Line] = {}
        self._wishes: dict[str, int] = {}
        self._control = ""
        self._orders: Spoken[messages.ForDesk] = Spoken(MOST_ORDERS)  # to that control actor
        self._heard = 0  # of its messages
        self._heard_told = 0
        self._out: list[RosterCommand] = []

    @property
    def counts(self) -> Mapping[str, Counts]:
        """The wish of each pool and what has become of it, now."""
        return {name: line.machine.counts for name, line in self._lines.items()}

    @property
    def workers(self) -> tuple[tuple[WorkerId, str, float], ...]:
        """Every worker that there may be, with its state and since when."""
        return tuple(worker for line in self._lines.values() for worker in line.machine.workers)

    def handle(self, event: RosterEvent) -> tuple[RosterCommand, ...]:  # noqa: C901  one arm an event
        """Take in what happened and say what is to be done, in this order."""
        self._out = []
        match event:
            case Opened():
                self._open(event)
            case Steered(words):
                self._steer(words)
            case Wished(at, name, workers):
                self._wishes[name] = workers  # the pool may open later, or be over
                self._decide(name, slots.Scaled(at, workers))
            case Closing(at, name):
                self._close(at, name)
            case Heard(at, words):
                self._hear(at, words)
            case slots.Exited() | slots.InvokeFailed():
                self._decide(event.worker.pool, event)
            case slots.Tick():
                self._tell_heard()
                for name in tuple(self._lines):
                    self._decide(name, event)
            case _:
                assert_never(event)
        return tuple(self._out)

    def _open(self, opened: Opened) -> None:
        pool = opened.pool
        self._lines[pool.pool] = _Line(pool, Pool(pool.pool, self._policy, opened.lifetime), pool.first)
        self._say(pool)
        self._decide(pool.pool, slots.Scaled(opened.at, self._wishes.get(pool.pool, opened.workers)))

    def _close(self, at: float, name: str) -> None:
        line = self._lines.get(name)
        if line is None:
            self._out.append(Over(name))
            return
        line.closing = True
        self._decide(name, slots.Closed(at))

    def _steer(self, words: messages.Limit | messages.Allow | messages.Reopen) -> None:
        line = self._lines.get(words.pool)
        if line is None:
            return
        if isinstance(words, messages.Reopen):
            line.lost |= set(words.units)
        else:
            line.steered[type(words)] = words
        self._say(words)

    def _greeted(self, at: float, greeting: messages.Greeting) -> None:
        """Say again what counts: all of it to a control actor that knows nothing, else what may have been lost."""
        if greeting.name == self._control:
            self._orders.taken(greeting.took)
            self._out.append(Say(messages.Took(self._heard)))
            self._orders.new_line()
            self._send()
            return
        self._control, self._orders, self._heard = greeting.name, Spoken(MOST_ORDERS), 0
        self._out.append(Say(messages.Took(0)))
        for line in tuple(self._lines.values()):
            line.highest += MARGIN  # this one may die before it is heard of a lease, too
            self._say(replace(line.opened, first=line.highest, floor=line.floor()))
            for words in line.steered.values():
                self._say(words)
            for worker, state, _ in line.machine.workers:
                if state == "requested":
                    self._say(messages.Expect(worker))
                else:
                    gone = slots.Left(at, worker, "lost", "shard 0, where it had its leases, died")
                    self._decide(worker.pool, gone)

    def _tell_heard(self) -> None:
        """Let the control actor forget what has been heard of it."""
        if self._heard != self._heard_told:
            self._heard_told = self._heard
            self._out.append(Say(messages.Took(self._heard)))

    def _hear(self, at: float, words: messages.ToDriver) -> None:
        if not isinstance(words, messages.Greeting | messages.Took):
            self._heard += 1
        match words:
            case messages.Greeting():
                self._greeted(at, words)
            case messages.Took(number):
                self._orders.taken(number)
                self._send()
            case messages.WorkerSeen(worker):
                self._decide(worker.pool, slots.Seen(at, worker))
            case messages.WorkerLeft(worker, kind, detail):
                self._decide(worker.pool, slots.Left(at, worker, kind, detail))
            case messages.UnitDone(pool, unit, lease) if pool in self._lines:
                line = self._lines[pool]
                line.done.add(unit)
                line.lost.discard(unit)
                line.highest = max(line.highest, lease)
            case messages.Objection(pool=pool):
                self._decide(pool, slots.Closed(at))  # nobody could do better with that input: replace nobody
            case _:
                pass

    def _decide(self, name: str, event: slots.Event) -> None:
        line = self._lines.get(name)
        if line is None:
            return
        for command in line.machine.handle(event):
            self._do(name, command)
        if line.closing and line.machine.idle:
            self._say(messages.ClosePool(name))
            self._lines.pop(name, None)
            self._out.append(Over(name))

    def _do(self, name: str, command: slots.Command) -> None:
        match command:
            case slots.Invoke(worker):
                self._say(messages.Expect(worker))
                self._out.append(command)
            case slots.Fence(worker):
                self._say(messages.Fence(worker, "another attempt fills this slot"))
            case slots.Drain(worker):
                over = self._lines[name].closing
                self._say(messages.Drain(worker, "the stage is over" if over else "the pool is getting smaller"))
            case slots.Stop():
                self._out.append(command)
            case slots.GiveUp(reason, evidence):
                self._out.append(GaveUp(name, reason, evidence))
            case _:
                assert_never(command)

    def _say(self, message: messages.ForDesk) -> None:
        self._orders.say(message)
        self._send()

    def _send(self) -> None:
        self._out += [Say(order) for order in self._orders.due()]
