"""The state diagrams of ``docs/concepts``, found by walking through the machines themselves.

Each machine is given many events, by chance that is always the same, and every change that occurs becomes an arrow:
what is not in the code cannot be in a diagram. ``python -m tests.docs.diagrams`` writes them into the pages.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import get_args

from cirrus.core import course, leases, messages, slots
from cirrus.core.ids import WorkerId
from cirrus.core.ledger import Ledger, Opened
from cirrus.core.pool import Pool
from cirrus.core.slots import Slot
from cirrus.errors import RunBusy
from cirrus.store.holding import PATIENCE, Holding, Spent
from cirrus.store.memory import MemoryStore
from cirrus.until import Epochs, Samples

PAGES = Path(__file__).parents[2] / "docs" / "concepts"
PLACE = re.compile(r"(<!-- diagram: (\w+), from [^>]* -->\n).*?(<!-- end -->)", re.DOTALL)
SEED = 1
UNITS = 14
EVERY: dict[str, set[str]] = {
    "Left": set(get_args(slots.Leave)),
    "Exited": set(get_args(slots.Cause)),
    "InvokeFailed": set(get_args(slots.Refusal)),
}


class Arrows:
    """Changes of state that occurred, and the events with which they did, each perhaps with particulars."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))

    def add(self, before: str, after: str, event: str, kind: str = "") -> None:
        """The state was ``before``, and ``after`` once the event had come."""
        self._found[before, after][event].add(kind)

    def mermaid(self) -> str:
        """The diagram, which begins at the state that was first of all."""
        first = next(iter(self._found))[0]
        lines = [f"    {a} --> {b} : {self._label(events)}" for (a, b), events in sorted(self._found.items())]
        return "\n".join(["```mermaid", "stateDiagram-v2", f"    [*] --> {first}", *lines, "```"])

    @staticmethod
    def _label(events: dict[str, set[str]]) -> str:
        words = []
        for event, kinds in sorted(events.items()):
            if kinds & {""} or kinds == EVERY.get(event):
                words.append(event)
            if kinds - {""} and kinds != EVERY.get(event):
                words.append(f"{event}({' / '.join(sorted(kinds - {''}))})")
        return ", ".join(words)


class Watched(Pool):
    """A pool that tells of every change of a slot, also of those that follow each other at once."""

    def __init__(self, arrows: Arrows) -> None:
        super().__init__("train", slots.PoolPolicy(alike=10**6, streak=10**6, restarts=10**9))
        self._arrows = arrows
        self.cause = ("", "")

    def _put(self, slot: int, state: Slot) -> None:
        before, after = self._slots[slot], type(state).__name__
        if before != state:
            self._arrows.add(type(before).__name__, after, *self.cause)
        super()._put(slot, state)

    def _fill(self) -> None:
        self.cause = ("Invoke", "")
        super()._fill()


def slot(seed: int = SEED) -> str:
    """A slot of a pool: what ``cirrus.core.slots`` names its states and events."""
    arrows, chance = Arrows(), Random(seed)
    for _ in range(5000):
        pool, now = Watched(arrows), 0.0
        for step in range(30):
            now += chance.choice((0.0, 0.1, 2.0, 70.0))
            worker = pool.workers[0][0] if pool.workers else WorkerId("train", 0, 1)
            event = _slot_event(chance, now, worker) if step else slots.Scaled(now, 1)
            kind = getattr(event, "kind", getattr(event, "cause", ""))
            pool.cause = (type(event).__name__, kind)
            pool.handle(event)
    return arrows.mermaid()


def _slot_event(chance: Random, now: float, worker: WorkerId) -> slots.Event:
    return chance.choice(
        (
            slots.Scaled(now, chance.choice((0, 1, 1))),
            slots.Seen(now, worker),
            slots.Seen(now, worker),
            slots.Left(now, worker, chance.choice(get_args(slots.Leave)), ""),
            slots.Exited(now, worker, chance.choice(get_args(slots.Cause)), ""),
            slots.InvokeFailed(now, worker, chance.choice(get_args(slots.Refusal)), ""),
            slots.Tick(now),
            slots.Closed(now) if chance.random() < 0.1 else slots.Tick(now),
        )
    )


def unit(seed: int = SEED) -> str:
    """A unit of a pool, as ``cirrus.core.leases`` has it."""
    arrows, chance = Arrows(), Random(seed)
    for _ in range(400):
        machine, now = leases.Leases(UNITS, UNITS, 30.0), 0.0
        for _ in range(200):
            now += 31.0 if chance.random() < 0.01 else chance.choice((0.0, 0.1, 0.5))
            before = [_unit_state(machine, one) for one in range(UNITS)]
            event = _lease_event(chance, now, machine)
            granted = {one.unit for one in machine.handle(event) if isinstance(one, leases.Granted)}
            for one, state in enumerate(before):
                after = _unit_state(machine, one)
                if after != state or one in granted:
                    arrows.add(state, after, type(event).__name__)
    return arrows.mermaid()


def _unit_state(machine: leases.Leases, one: int) -> str:
    if machine._total is not None and one >= machine._total:
        return "Unwanted"
    if machine._is_finished(one):
        return "Finished"
    if one not in machine.held:
        return "Free"
    return "HeldByTwo" if one in machine._relieved else "Held"


def _lease_event(chance: Random, now: float, machine: leases.Leases) -> leases.LeaseEvent:
    worker, one = WorkerId("train", chance.randrange(3), 1), chance.randrange(UNITS)
    held = list(machine.held.items())
    unit, lease = chance.choice(held) if held else (0, leases.Lease(worker, 1))
    if unit in machine._relieved and chance.random() < 0.3:
        lease = machine._relieved[unit]
    quick = lease.worker.slot or chance.random() < 0.05  # the worker of slot 0 is slow
    finished = leases.Finished(now, lease.worker, unit, lease.number) if quick else leases.Beat(now, lease.worker)
    rare: tuple[leases.LeaseEvent, ...] = (
        leases.Returned(now, lease.worker, unit, lease.number),
        leases.Gone(now, worker),
        leases.Reopened(now, (one,)),
        leases.Limited(now, max(one, UNITS - 4)),
    )
    usual = (leases.Asked(now, worker, 1 + chance.randrange(2)), leases.Beat(now, worker), finished, leases.Tick(now))
    return chance.choice(rare if chance.random() < 0.03 else usual)


def line(seed: int = SEED) -> str:
    """A unit in the ledger of one shard, and what its workers are answered."""
    arrows, chance = Arrows(), Random(seed)
    for _ in range(500):
        ledger, saved = Ledger(), [Ledger().dump()]
        for _ in range(60):
            before = _line_state(ledger)
            event, kind = _line_event(chance, ledger, saved)
            if event == "restored":
                ledger = Ledger.load(saved[0])
            arrows.add(before, _line_state(ledger), event, kind)
    return arrows.mermaid()


def _line_state(ledger: Ledger) -> str:
    if ledger.floor > 0:
        return "Closed"
    return "Open" if ledger.highest else "Unopened"


def _line_event(chance: Random, ledger: Ledger, saved: list[list[int]]) -> tuple[str, str]:
    attempt = max(1, ledger.highest + chance.choice((-1, 0, 0, 0, 1)))
    match chance.randrange(12):
        case 0 | 1 | 2:
            return "open", "opened" if isinstance(ledger.open(0, attempt), Opened) else "stale"
        case 3 if chance.random() < 0.1:
            ledger.close_below(1)
            return "close_below", ""
        case 4:
            return "restored", ""
        case 5:
            saved[0] = ledger.dump()
            return "saved", ""
        case _:
            step = max(0, min(ledger.last(0), 100) + chance.choice((0, 1, 1, 1, 2)))
            return "step", ledger.judge(0, attempt, step).value


def stage(seed: int = SEED) -> str:
    """A training stage, by what its course waits for: ``cirrus.core.course`` names the events."""
    arrows, chance = Arrows(), Random(seed)
    for number in range(500):
        until = Epochs(2) if number % 2 else Samples(25)
        made = course.Course("train", 3, until, lambda _: course.Size(10, 2), 0.0)
        todo: deque[course.CourseCommand] = deque()
        leaving = False
        while not (todo and isinstance(todo[0], course.End)):
            before = _stage_state(todo, leaving=leaving)
            event = _course_event(chance, todo)
            commands = made.handle(event)
            todo += [one for one in commands if isinstance(one, course.Inquire | course.Save | course.End)]
            leaving = leaving or course.Close() in commands
            lost = any(isinstance(one, course.Lost) for one in commands)
            after = _stage_state(todo, leaving=leaving)
            if lost or after != before:
                arrows.add(before, after, type(event).__name__, "steps were lost" if lost else "")
    return arrows.mermaid()


def _stage_state(todo: Sequence[course.CourseCommand], *, leaving: bool) -> str:
    """What is waited for."""
    match todo[0] if todo else None:
        case None:
            return "Learning"
        case course.Inquire():
            return "Asking"
        case course.Save():
            return "SavingAgain" if leaving else "Saving"
        case _:
            return "Ended"


def _course_event(chance: Random, todo: deque[course.CourseCommand]) -> course.CourseEvent:
    """The answer to what is waited for, from a shard that has everything or nothing, or something that happens."""
    ledger = Ledger()
    ledger.close_below(0 if chance.random() < 0.3 else 100)
    match todo.popleft() if todo else None:
        case course.Inquire():
            return course.Applied(1.0, [ledger])
        case course.Save():
            return course.Saved(1.0, ("key",), [ledger])
        case _:
            done = messages.UnitDone("train", chance.randrange(6), 1, 10, "", {})
            return course.ShardBack(1.0) if chance.random() < 0.2 else course.Heard(1.0, done)


def run(seed: int = SEED) -> str:
    """A run, by its record in the store, which ``cirrus.store.holding`` writes."""
    return asyncio.run(_run(seed))


async def _run(seed: int) -> str:
    arrows, chance = Arrows(), Random(seed)
    for _ in range(50):
        store, now, holdings, heard = MemoryStore(), 1e9, list[Holding](), 0.0
        for _ in range(40):
            before = await _run_state(store, now - heard)
            event = chance.choice(("take", "take", "renew", "renew", "release", "silence"))
            who = chance.choice((holdings[-1], chance.choice(holdings))) if holdings else None
            late = who is not None and who is not holdings[-1] and event in ("renew", "release")
            kind = " of an earlier holder" if late else ""
            try:
                if event == "silence":
                    now += PATIENCE
                elif event == "take":
                    holdings.append(await Holding.take(store, "clicks", f"driver {len(holdings)}", now))
                elif who is not None:
                    await (who.renew if event == "renew" else who.release)(now, Spent())
                heard = heard if event == "silence" else now
            except RunBusy:
                arrows.add(before, before, f"{event}{kind}", "RunBusy")
                continue
            after = await _run_state(store, now - heard)
            if (event, after) != ("silence", before) and (holdings or event == "take"):
                arrows.add(before, after, f"{event}{kind}")
    return arrows.mermaid()


async def _run_state(store: MemoryStore, silent: float) -> str:
    keys = [info.key async for info in store.list("runs/clicks/")]
    if not keys:
        return "New"
    if json.loads(await store.get("runs/clicks/holder.json"))["state"] != "held":
        return "Free"
    return "Held" if silent < PATIENCE else "Silent"


DIAGRAMS: dict[str, Callable[[int], str]] = {"slot": slot, "unit": unit, "line": line, "stage": stage, "run": run}


@cache
def diagram(name: str, seed: int = SEED) -> str:
    """The diagram of that name, as one walk finds it."""
    return DIAGRAMS[name](seed)


def drawn(page: str) -> str:
    """The page with its diagrams drawn anew."""
    return PLACE.sub(lambda found: f"{found[1]}{diagram(found[2])}\n{found[3]}", page)


if __name__ == "__main__":
    for path in sorted(PAGES.glob("*.md")):
        path.write_text(drawn(path.read_text()))
