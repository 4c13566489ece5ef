"""Who is alive of a run in another process, from what its driver says, and how to end them."""

from __future__ import annotations

from typing import Any, Literal

from tests.chaos.drivers import DriverProcess
from tests.chaos.ground import kill

Victim = tuple[Literal["worker", "shard"], int]


class Reaper:
    """Kills workers, named by their slot, and shards, named by their number; ``killed`` has all of them in order."""

    def __init__(self) -> None:
        self.killed: list[Victim] = []
        self.living: dict[Victim, int] = {}

    def hear(self, said: dict[str, Any]) -> bool:
        """Take in what the driver says; whether somebody has come to life."""
        match said:
            case {"event": "WorkerStarted", "stage": "train", "slot": slot, "pid": pid}:
                self.living["worker", slot] = pid
            case {"event": "ShardStarted" | "ShardRestarted", "shard": shard, "pid": pid}:
                self.living["shard", shard] = pid
            case _:
                return False
        return True

    def kill(self, victim: Victim) -> bool:
        """Kill the victim if it is known to be there; whether it was."""
        if victim not in self.living or not kill(self.living.pop(victim)):
            return False
        self.killed.append(victim)
        return True

    async def reap(self, driver: DriverProcess, victim: Victim) -> None:
        """Wait until the victim is there, and kill it."""
        while not self.kill(victim):
            assert await driver.until(self.hear), f"the run ended before {victim} could die: {driver.said[-1]}"
