"""The network of a simulation: connections that deliver in order, late, up to some point or not at all; and calls.

A connection is as TCP makes it: what arrives, arrives once and in order; a reset loses what is under way; a partition
holds everything back, and after a while both ends find out, each by itself. Across connections there is no order.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from cirrus.errors import OutsideError
from cirrus.testing.sim.faults import FaultPlan
from cirrus.testing.sim.world import Mailbox, Process, Wait, World

T = TypeVar("T")

NOTICE = (20.0, 45.0)
"""Seconds after which an end finds out that nothing comes through any more."""

CONNECT = 10.0
"""Seconds for which a connection is tried."""


class Gone(OutsideError):
    """Nobody answers, or the connection is lost."""


class End:
    """One process's end of a connection; ``hear`` gets each message, or ``None`` for the end, where it is set."""

    def __init__(self, network: Network, process: Process) -> None:
        self.process = process
        self.open = True
        self.hear: Callable[[Any], None] | None = None
        self.peer: End
        self._network = network
        self._last = 0.0
        self._unread: Mailbox[Any] = Mailbox()

    def send(self, message: object) -> None:
        """Send a message; nobody hears of it if it does not arrive."""
        if not self.open:
            return
        self._last = max(self._last, self._network.arrival(self.process.host, self.peer.process.host))
        peer = self.peer
        self.process.world.at(self._last, lambda: peer.arrived(message), peer.process)

    async def receive(self) -> Any:
        """The next message, or ``None``: the connection has ended."""
        return await self._unread.get()

    def close(self) -> None:
        """End it in good order: what was sent before still arrives."""
        if not self.open:
            return
        self.send(None)
        self._end()

    def reset(self, *, silently: bool = False) -> None:
        """Break it: what is under way is lost. ``silently``: nobody is told, so that each end has to find out.

        Until an end has found out it goes on, and what was held up on the way may still reach it.
        """
        for end in (self, self.peer):
            if not end.open:
                continue
            late = self._network.blocked(end.peer.process.host, end.process.host) > 0.0 or silently
            self._network.ends.pop(end, None)
            if late:
                end.process.after(self.process.world.chance.between(*NOTICE), end.given_up)
            else:
                end.open = False
                end.process.after(self.process.world.chance.between(0.0, 0.05), end.lost)

    def given_up(self) -> None:
        """Find out that nothing comes any more."""
        if self.open:
            self.open = False
            self.lost()

    def arrived(self, message: object) -> None:
        """The network brings a message."""
        if not self.open:
            return
        if message is None:
            self._end()
            self.lost()
        elif self.hear is not None:
            self.hear(message)
        else:
            self._unread.put(message)

    def lost(self) -> None:
        """Learn that there is no connection any more."""
        if self.hear is not None:
            self.hear(None)
        self._unread.close()

    def _end(self) -> None:
        self.open = False
        self._network.ends.pop(self, None)


class Network:
    """All connections, and which hosts cannot reach which; processes listen at addresses."""

    def __init__(self, world: World, plan: FaultPlan) -> None:
        self._world = world
        self._plan = plan
        self.ends: dict[End, None] = {}
        self._walls: dict[tuple[str, str], float] = {}
        self._listening: dict[str, tuple[Process, Callable[[End], None]]] = {}

    def listen(self, address: str, process: Process, accept: Callable[[End], None]) -> None:
        """Take in connections to that address; the newest process that listens there counts."""
        self._listening[address] = (process, accept)

    def blocked(self, source: str, target: str) -> float:
        """Seconds for which nothing gets from one host to the other."""
        return max(0.0, self._walls.get((source, target), 0.0) - self._world.now)

    def part(self, source: str, target: str, seconds: float) -> None:
        """Let nothing through in this direction for so long."""
        self._walls[source, target] = self._world.now + seconds
        for end in list(self.ends):
            hosts = (end.process.host, end.peer.process.host)
            if hosts == (source, target) and seconds > self._world.chance.between(*NOTICE):
                end.reset(silently=True)

    def arrival(self, source: str, target: str) -> float:
        """When something arrives that is sent now."""
        chance, now = self._world.chance, self._world.now
        delay = 0.001 + 0.01 * chance.number() if chance.number() < 0.97 else chance.between(0.05, 1.5)
        return now + self.blocked(source, target) + delay

    async def connect(self, caller: Process, address: str) -> End:
        """A connection to whoever listens there; ``Gone`` where nobody answers."""
        process, accept = await self._reach(caller, address)
        mine, theirs = End(self, caller), End(self, process)
        mine.peer, theirs.peer = theirs, mine
        for end in (mine, theirs):
            self.ends[end] = None
            end.process.when_ended.append(partial(_abandon, end))
        process.after(0.0, lambda: accept(theirs))
        return mine

    async def call(self, caller: Process, address: str, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Have the process at that address do something and answer; ``Gone``, whether it did it or not."""
        process, _ = await self._reach(caller, address)
        striking = self._world.now < self._plan.until and self._world.chance.hits(self._plan.no_answer)
        if striking and self._world.chance.hits(0.5):
            raise Gone(f"{address} did not hear the call")
        answer: Wait[T] = Wait()

        async def answered() -> None:
            try:
                found = await ask()
            except OutsideError as error:
                answer.refuse(error)
                return
            late = self.arrival(process.host, caller.host) - self._world.now
            if striking:
                caller.after(late, lambda: answer.refuse(Gone(f"{address} did not answer")))
            else:
                caller.after(late, lambda: answer.keep(found))

        process.when_ended.append(lambda _: caller.after(0.01, lambda: answer.refuse(Gone(f"{address} died"))))
        process.spawn(answered())
        return await answer

    async def _reach(self, caller: Process, address: str) -> tuple[Process, Callable[[End], None]]:
        found = self._listening.get(address)
        if found is None or not found[0].alive:
            await caller.sleep(0.01)
            raise Gone(f"nobody listens at {address}")
        wait = max(self.blocked(caller.host, found[0].host), self.blocked(found[0].host, caller.host))
        wait = max(wait, found[0].hangs_until - self._world.now)
        await caller.sleep(min(wait, CONNECT) + 0.001 + 0.01 * self._world.chance.number())
        if wait > CONNECT or not found[0].alive:
            raise Gone(f"{address} cannot be reached")
        return found

    def reset_one(self) -> End | None:
        """Break some connection."""
        if not self.ends:
            return None
        end = self._world.chance.pick(list(self.ends))
        end.reset()
        return end


def _abandon(end: End, silently: bool) -> None:  # noqa: FBT001  the way in which its process has ended
    if not end.open:
        return
    if silently:
        end.reset(silently=True)
    else:
        end.close()
