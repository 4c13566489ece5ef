"""What may go wrong in a simulation, and how often: a value, drawn from the seed unless it is given."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cirrus.testing.sim.world import Chance


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPlan:
    """Faults until ``until`` seconds; after that there are none, and whoever hangs wakes.

    Rates are in times a second: ``kill_worker``, ``hang_worker``, ``kill_shard``, ``hang_shard``, ``kill_driver``,
    ``hang_driver``, ``reset`` (one connection), ``partition`` (one direction between two hosts, or both). Everything
    else is a probability, of a request for a worker: ``lost``, ``late`` (by a minute), ``twice``, ``throttled``,
    ``unreachable`` (half of which run nevertheless); of a call to a shard: ``no_answer``; of a store operation:
    ``store_error``, ``store_silent`` (done, but the answer is lost), ``store_echo`` (a conditional write of a driver is
    done, and refused as it was sent again), ``store_slow``, ``kill_at_write`` (the driver, at a write of its own,
    before it or after it); of a snapshot: ``corrupt``; of a worker: ``stubborn`` (it goes on with
    its unit whatever it is told). ``hang`` is the longest hang and partition, ``skew`` how far clocks are apart, in
    seconds. ``second_driver``: a second driver resumes the run while the first lives, or together with another.
    """

    until: float = 60.0
    kill_worker: float = 0.0
    hang_worker: float = 0.0
    kill_shard: float = 0.0
    hang_shard: float = 0.0
    kill_driver: float = 0.0
    hang_driver: float = 0.0
    reset: float = 0.0
    partition: float = 0.0
    lost: float = 0.0
    late: float = 0.0
    twice: float = 0.0
    throttled: float = 0.0
    unreachable: float = 0.0
    no_answer: float = 0.0
    store_error: float = 0.0
    store_silent: float = 0.0
    store_echo: float = 0.0
    store_slow: float = 0.0
    kill_at_write: float = 0.0
    corrupt: float = 0.0
    stubborn: float = 0.0
    second_driver: float = 0.0
    hang: float = 60.0
    skew: float = 0.0


NO_FAULTS = FaultPlan(until=0.0)

LIKELY = {
    "kill_worker": 0.4, "hang_worker": 0.2, "kill_shard": 0.2, "hang_shard": 0.1, "kill_driver": 0.05,
    "hang_driver": 0.05, "reset": 0.4, "partition": 0.06, "lost": 0.2, "late": 0.2, "twice": 0.5, "throttled": 0.4,
    "unreachable": 0.2, "no_answer": 0.3, "store_error": 0.15, "store_silent": 0.1, "store_slow": 0.2,
    "store_echo": 0.1, "kill_at_write": 0.1, "corrupt": 0.5, "stubborn": 0.7, "second_driver": 1.0,
}  # fmt: skip
"""The most of each fault; none is at its most, and about half of them are absent."""


WARS = (
    {"hang_driver": 0.06, "second_driver": 1.0, "store_error": 0.15, "store_slow": 0.2, "store_silent": 0.1,
     "store_echo": 0.2, "hang_shard": 0.1, "kill_shard": 0.1},
    {"kill_shard": 0.05},
    {"kill_shard": 0.3, "corrupt": 0.5, "kill_worker": 0.2, "store_error": 0.1},
    {"kill_driver": 0.06, "kill_at_write": 0.15, "second_driver": 1.0, "kill_shard": 0.1, "partition": 0.1},
    {"hang_worker": 0.5, "kill_worker": 0.5, "stubborn": 0.8, "twice": 0.5, "late": 0.3, "reset": 0.5},
    {"reset": 1.0, "partition": 0.15, "no_answer": 0.5, "hang_shard": 0.1},
)  # fmt: skip
"""Mixtures that are worse than what chance alone brings: drivers that fight for a run, shards that always die, and so
on."""


def drawn(chance: Chance) -> FaultPlan:
    """A plan by chance: each run meets some kinds of faults and not others, for rare mixtures find rare mistakes."""
    if chance.hits(0.4):
        found = dict(chance.pick(WARS))
    else:
        found = {name: most * chance.number() for name, most in LIKELY.items() if chance.hits(0.45)}
    return replace(
        FaultPlan(until=chance.between(20.0, 90.0), hang=chance.pick((5.0, 45.0, 90.0)), **found),
        skew=chance.pick((0.0, 0.0, 20.0, 3600.0)),
    )
