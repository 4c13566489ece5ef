"""A whole run under faults in no time: the true decisions and the true shards on a network, store and clock made up.

    story = simulate(7)
    assert not story.broken, story

Everything follows from the seed: what the run is, which faults strike when, and how long each message takes.
``python -m cirrus.testing.simulation 7`` tells the story of a seed, ``python -m cirrus.testing.simulation 0 2000``
tries that range of seeds and names those that break a promise.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from cirrus.store.memory import MemoryStore
from cirrus.testing.sim.driver import Ground
from cirrus.testing.sim.faults import FaultPlan, drawn
from cirrus.testing.sim.network import Network
from cirrus.testing.sim.provider import Provider
from cirrus.testing.sim.spec import Spec
from cirrus.testing.sim.trouble import Trouble
from cirrus.testing.sim.user import User
from cirrus.testing.sim.witness import Witness
from cirrus.testing.sim.world import Chance, World

PATIENCE = 300.0
"""Seconds after the last fault within which a run has to end."""

QUIET = 200.0
"""Seconds after the end of a run within which nothing of it is left, unless somebody is stubborn."""


@dataclass(frozen=True, slots=True)
class Story:
    """What became of a run: ``broken`` names the promise that was not kept, empty where all were.

    ``outcome`` is how the run ended: done, killed or budget. ``lines``: the time, who, and what happened.
    """

    seed: int
    plan: FaultPlan
    spec: Spec
    outcome: str
    broken: str
    seconds: float
    events: int
    lines: tuple[tuple[float, str, str], ...] = field(repr=False)

    def __str__(self) -> str:
        told = "\n".join(f"{at:9.3f}  {who:<28} {what}" for at, who, what in self.lines)
        last = self.broken or f"{self.outcome} after {self.seconds:.1f} s, all promises kept"
        return f"seed {self.seed}\n{self.plan}\n{self.spec}\n{told}\n{last}"


def simulate(seed: int, faults: FaultPlan | None = None) -> Story:
    """Take the run of that seed through its faults, or through those that are given."""
    chance = Chance((seed, 0))
    spec = Spec.drawn(seed, chance)
    plan = drawn(chance) if faults is None else faults
    world = World(seed)
    objects, network, provider = MemoryStore(), Network(world, plan), Provider(world, plan, local=spec.local)
    witness = Witness(world, spec, objects)
    ground = Ground(world, plan, spec, network, objects, provider, witness)
    user = User(ground)
    Trouble(ground, lambda: user.living, lambda: witness.nodes)
    world.run(plan.until + PATIENCE)
    if not witness.broken:
        _check_end(ground, user)
    world.close()
    outcome = user.outcome
    return Story(seed, plan, spec, outcome, witness.broken, world.now, world.events, tuple(world.story))


def _check_end(ground: Ground, user: User) -> None:
    """The run has ended, every decision was kept, and soon nothing is left."""
    world, witness = ground.world, ground.witness
    if not user.outcome:
        witness.breaks("I8", f"no end within {PATIENCE:g} s after the last fault")
        return
    witness.check_end(user.outcome)
    world.run(user.ended_at + QUIET)
    left = [one.process.name for one in ground.provider.running if not one.lost]
    left += [one.process.name for one in witness.nodes if one.process.alive]
    if left and not ground.plan.stubborn and not witness.broken:
        witness.breaks("I8", f"{', '.join(left)} still there {QUIET:g} s after the end")


def main(words: list[str]) -> int:
    """Tell the story of one seed, or try a range of them; the exit code is 1 where a promise was broken."""
    numbers = [int(word) for word in words]
    if len(numbers) == 1:
        story = simulate(numbers[0])
        print(story)  # noqa: T201  what it is for
        return int(bool(story.broken))
    broken = 0
    for seed in range(*numbers):
        story = simulate(seed)
        if story.broken:
            broken += 1
            print(f"seed {seed}: {story.broken}", flush=True)  # noqa: T201  what it is for
    print(f"{broken} of {numbers[1] - numbers[0]} seeds broke a promise")  # noqa: T201  what it is for
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
