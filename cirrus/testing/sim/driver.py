"""The driver of a simulation: what ``cirrus.driver`` does around the true decisions, in a process that may be killed.

Journal, record of holding, roster of pools and course of a stage are the true ones.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from cirrus.actors.control import FROM_DRIVER, TO_DRIVER
from cirrus.actors.orders import BACKOFF
from cirrus.actors.orders import PATIENCE as ORDERS_PATIENCE
from cirrus.actors.records import Past, Records
from cirrus.cloud.base import Exit
from cirrus.core import messages, roster, slots
from cirrus.core.billing import Billing
from cirrus.core.cost import Cost, Meter, Price
from cirrus.core.ids import WorkerId
from cirrus.driver import LOOK
from cirrus.errors import BudgetExceeded, InvokeError, Killed, OutsideError, RunBusy, StageFailed, Throttled, WireError
from cirrus.store.holding import Holding
from cirrus.store.memory import MemoryStore
from cirrus.tenure import RENEW, SILENT, ending
from cirrus.testing.sim.faults import FaultPlan
from cirrus.testing.sim.fleet import GRACE, SimFleet
from cirrus.testing.sim.network import End, Gone, Network
from cirrus.testing.sim.provider import Call, Provider, Unreachable
from cirrus.testing.sim.shards import DriverIntroduced, Site
from cirrus.testing.sim.spec import PREPARE, RUN, TRAIN, Spec
from cirrus.testing.sim.stages import Failed, Heard, Stages
from cirrus.testing.sim.storage import SimStore
from cirrus.testing.sim.tasks import body
from cirrus.testing.sim.witness import Witness
from cirrus.testing.sim.world import Mailbox, Process, World

TICK = 0.2
MEMORY = 1024


@dataclass(frozen=True, slots=True)
class Ground:
    """All that there is besides drivers."""

    world: World
    plan: FaultPlan
    spec: Spec
    network: Network
    objects: MemoryStore
    provider: Provider
    witness: Witness


class SimDriver:
    """One driver from its start to its end; ``ended`` is told how."""

    def __init__(
        self, ground: Ground, process: Process, gone: Callable[[str], bool], ended: Callable[[SimDriver, str], None]
    ) -> None:
        self.process = process
        self.records: Records | None = None
        self.over = False
        self._ground = ground
        self._gone = gone
        self._ended = ended
        self._roster = roster.Roster(slots.PoolPolicy(phase=0.999 * ground.world.chance.number()))
        self._meter = Meter(Price(name="sim", per_gb_second=ground.spec.price, per_invocation=0.0, dated="now"))
        self._billing = Billing(self._meter)
        self._mailbox: Mailbox[Heard] = Mailbox()
        self._orders: End | None = None
        self._fleet: SimFleet
        self._killing = False
        self._scaled = 0
        process.on_failure = self._fail
        process.when_ended.append(lambda _: self._killed_outright())
        process.spawn(self._main())

    @property
    def cost(self) -> Cost:
        """What was spent, under earlier drivers as well."""
        now = self._meter.cost(self.process.monotonic())
        before = None if self.records is None else self.records.spent
        if before is None:
            return now
        return replace(
            now, dollars=now.dollars + before.dollars, worker_seconds=now.worker_seconds + before.worker_seconds
        )

    async def scale(self, workers: int) -> None:
        """Wish for another number of training workers."""
        number = await self._decide("scaled", {"stage": TRAIN, "workers": workers})
        if number < self._scaled:
            return
        self._scaled = number
        self.process.world.tell(self.process.name, f"scales to {workers}")
        self._act(roster.Wished(self.process.monotonic(), TRAIN, workers))

    async def kill(self) -> None:
        """Kill the run."""
        self._killing = True
        await self._decide("killed", {"reason": "by order"})
        self._fail(Killed("run", "by order"))

    async def _decide(self, kind: str, fields: Mapping[str, str | int]) -> int:
        if self.records is None or self.over:
            raise OutsideError("there is no run here")
        try:
            number = await self.records.decide(kind, fields)
        except RunBusy as error:
            self._fail(error)
            raise
        self._ground.witness.decides(self.process, kind, fields)
        return number

    async def _main(self) -> None:
        ground, process = self._ground, self.process
        store = SimStore(process, ground.objects, ground.plan, ground.witness, fragile=True)
        holding = await Holding.take(store, RUN, process.name, process.wall(), self._gone, process.sleep)
        records = Records(store, RUN, holding, process)
        ground.witness.inherited(process.name, records.spent.dollars)
        past = await records.past()
        ground.witness.resumed(process, past)
        self.records = records
        process.world.tell(process.name, f"has the run in epoch {records.epoch}; {past}")
        if past.killed:
            raise Killed("run", past.killed)
        process.spawn(self._watch_budget())
        process.spawn(self._stay_alive(records))
        site = Site(
            ground.world, ground.network, ground.objects, ground.plan, ground.witness, process.name, records.epoch,
            ground.spec.shards,
        )
        self._fleet = SimFleet(process, site, lambda: self._mailbox.put("shard back"))
        await self._fleet.start(restore=records.epoch > 1)
        process.spawn(self._tick())
        process.spawn(self._stay_connected())
        stages = Stages(ground.spec, process, store, self._fleet, self._mailbox)
        await self._through(stages, past)
        self._wind_up(None)

    async def _through(self, stages: Stages, past: Past) -> None:
        """All stages, each unless an earlier driver has finished it."""
        spec, epoch = self._ground.spec, self._ground.witness.epochs[self.process]
        stages.act = self._act
        stages.wishes = {PREPARE: 2, TRAIN: spec.workers} | past.wishes
        if not past.manifest:
            outputs = await stages.prepare(f"runs/{RUN}/{PREPARE}/{epoch}/")
            self._ground.witness.prepared(self.process, outputs.rows)
            await self._decide_stage("prepared", {"stage": PREPARE, "manifest": outputs.manifest})
        if TRAIN in past.finished:
            return
        counts = await stages.train()
        assert self.records is not None
        await self.records.keep(f"runs/{RUN}/model", json.dumps(counts).encode())
        await self._decide_stage("finished", {"stage": TRAIN})

    async def _decide_stage(self, kind: str, fields: Mapping[str, str]) -> None:
        assert self.records is not None
        await self.records.decide(kind, {**fields, "metrics": {}})
        self._ground.witness.decides(self.process, kind, fields)

    async def _watch_budget(self) -> None:
        while True:
            await self.process.sleep(LOOK)
            spent, limit = self.cost.dollars, self._ground.spec.dollars
            if spent > limit:
                raise BudgetExceeded("dollars", spent, limit)

    async def _stay_alive(self, records: Records) -> None:
        since = self.process.monotonic()
        while True:
            await self.process.sleep(RENEW)
            try:
                await records.renew(self.cost)
            except OutsideError:
                if self.process.monotonic() - since > SILENT:
                    raise
            else:
                since = self.process.monotonic()

    async def _tick(self) -> None:
        while True:
            await self.process.sleep(TICK)
            self._check_cost()
            self._act(slots.Tick(self.process.monotonic()))
            self._mailbox.put("tick")

    def _check_cost(self) -> None:
        ground, process = self._ground, self.process
        truly = ground.provider.seconds(process) * ground.spec.price
        ground.witness.spends(process, self.cost.dollars)
        counts = self._roster.counts.get(TRAIN)
        if counts is not None and not self.over and counts.wish:
            ground.witness.wishes(process, counts.wish)
        ground.witness.billed(self._meter.cost(process.monotonic()).dollars, truly, process.name)

    async def _stay_connected(self) -> None:
        """The line to the control actor, as ``cirrus.actors.orders`` keeps it."""
        failures, since = 0, self.process.monotonic()
        while True:
            try:
                await self._listen()
            except Gone as error:
                failures += 1
                if self.process.monotonic() - since > ORDERS_PATIENCE:
                    raise WireError(f"the control actor cannot be reached: {error}") from error
            else:
                failures, since = 1, self.process.monotonic()
            await self.process.sleep(BACKOFF.delay(failures, 0.0))

    async def _listen(self) -> None:
        end = await self._ground.network.connect(self.process, f"{self._fleet.address(0)}/control")
        end.send(DriverIntroduced())
        self._orders = end
        while (data := await end.receive()) is not None:
            words = TO_DRIVER.decode(data)
            self._hear(words)
        if self._orders is end:
            self._orders = None

    def _hear(self, words: messages.ToDriver) -> None:
        now = self.process.monotonic()
        if isinstance(words, messages.UnitDone):
            self._ground.witness.finished(self.process, words)
        self._act(roster.Heard(now, words))
        self._mailbox.put(words)
        self._billing.heard(now, words)

    def _act(self, event: roster.RosterEvent) -> None:
        if self.over:
            return
        for command in self._roster.handle(event):
            self._do(command)

    def _do(self, command: roster.RosterCommand) -> None:
        match command:
            case roster.Say(message):
                if isinstance(message, messages.Fence):
                    self._ground.witness.fences(self.process, message.worker)
                if self._orders is not None:
                    self._orders.send(FROM_DRIVER.encode(message))
            case slots.Invoke(worker):
                self.process.spawn(self._invoke(worker))
            case slots.Stop(worker):
                self._ground.provider.stop(worker, self.process)
            case roster.GaveUp(name, reason, evidence):
                self._mailbox.put(Failed(StageFailed(name, reason, evidence)))
            case roster.Over():
                self._mailbox.put(command)

    async def _invoke(self, worker: WorkerId) -> None:
        ground, process = self._ground, self.process
        ground.witness.invoked(process, worker)
        self._billing.invoked(process.monotonic(), worker, MEMORY, ground.spec.timeout)
        addresses = tuple(self._fleet.address(number) for number in range(ground.spec.shards))
        make = body(ground.network, ground.objects, ground.plan, ground.witness, ground.spec)
        assert self.records is not None
        try:
            await self.records.cover(self.cost)
        except OutsideError as error:
            self._billing.refused(worker)
            self._act(slots.InvokeFailed(process.monotonic(), worker, "throttled", str(error)))
            return
        try:
            await ground.provider.invoke(Call(worker, process, ground.spec.timeout, addresses, make, self._told))
        except InvokeError as error:
            kind: slots.Refusal = "throttled" if isinstance(error, Throttled) else "unreachable"
            if not isinstance(error, Unreachable):
                self._billing.refused(worker)
            self._act(slots.InvokeFailed(process.monotonic(), worker, kind, str(error)))

    def _told(self, gone: Exit) -> None:
        """The provider tells of a worker's end."""
        now = self.process.monotonic()
        self._billing.exited(now, gone.worker, gone.cause, gone.seconds, alone=gone.alone)
        self._act(slots.Exited(now, gone.worker, gone.cause, gone.detail))

    def _fail(self, error: Exception) -> None:
        if not self.over:
            self._wind_up(error)

    def _wind_up(self, error: Exception | None) -> None:
        """Let go of everything, and write down how it ended."""
        if error is not None:
            self._ground.witness.failed(self.process, error)
        self.over = True
        process = self.process
        process.world.tell(process.name, f"ends: {error!r}" if error is not None else "is done")
        if isinstance(error, RunBusy):
            self._ground.witness.retired(process)
        process.after(0.0, lambda: self._let_go(error))

    def _let_go(self, error: Exception | None) -> None:
        for task in list(self.process.tasks):
            task.cancel()
        self.process.on_failure = lambda late: self._said(error, late)
        self.process.spawn(self._close(error))

    async def _close(self, error: Exception | None) -> None:
        self._ground.provider.end_all(self.process)
        if hasattr(self, "_fleet"):
            self._fleet.stop(save=error is not None)
            await self.process.sleep(GRACE)
        outcome = "done" if error is None else ending(error, "killed" if self._killing else "parked")
        if self.records is not None:
            with contextlib.suppress(*((OutsideError, RunBusy) if error is not None else ())):
                await self.records.close(outcome, str(error or ""), {}, self.cost)
        self._check_cost()
        self._said(error, None)

    def _said(self, error: Exception | None, late: Exception | None) -> None:
        """Tell the user, who sees what ended the run first."""
        found = error or late
        self._ended(self, "done" if found is None else _outcome(found))
        self.process.after(0.0, self.process.kill)

    def _killed_outright(self) -> None:
        self.over = True
        self._ground.provider.end_all(self.process)
        self._ended(self, "died")


def _outcome(error: Exception) -> str:
    match error:
        case Killed():
            return "killed"
        case BudgetExceeded():
            return "budget"
        case RunBusy():
            return "busy"
        case _:
            return f"failed: {error!r}"
