"""What goes wrong with invocations on purpose: nothing may rest on a provider's doing better."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from cirrus import checks


@dataclass(frozen=True, slots=True)
class Throttle:
    """The request is refused with status 429."""


@dataclass(frozen=True, slots=True)
class Lose:
    """An event is accepted, and nothing comes of it; a caller who waits is answered with status 500."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """An event is delivered a second time, so many seconds later."""

    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Late:
    """It is delivered so many seconds after it was accepted."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Crash:
    """Its sandbox is killed so many seconds after it has begun."""

    seconds: float = 0.0


Fault = Throttle | Lose | Duplicate | Late | Crash
FAULTS = ("throttle", "lose", "duplicate", "late", "crash")
"""What chance may bring, as ``seeded`` calls it."""

Plan = Callable[[int], Fault | None]
"""What becomes of the invoke request of that number, from 1."""


def scripted(faults: Mapping[int, Fault]) -> Plan:
    """The faults of those requests, by number; all others go well."""
    return faults.get


def nothing_wrong(_: int) -> None:
    """The plan of a good day."""
    return


def seeded(  # noqa: PLR0913  a seed, a chance for each fault, and their span
    seed: int,
    *,
    throttle: float = 0.0,
    lose: float = 0.0,
    duplicate: float = 0.0,
    late: float = 0.0,
    crash: float = 0.0,
    by: float = 1.0,
) -> Plan:
    """At most one fault a request, each with its probability; seconds are drawn up to ``by``.

    The same for the same seed, whatever the order in which requests are numbered.
    """
    odds = {"throttle": throttle, "lose": lose, "duplicate": duplicate, "late": late, "crash": crash}
    for name, value in odds.items():
        checks.within(f"faults.{name}", value, 0.0, 1.0)
    checks.within("faults (altogether)", sum(odds.values()), 0.0, 1.0)
    checks.positive("faults.by", by)
    bounds = np.cumsum(list(odds.values()))

    def plan(number: int) -> Fault | None:
        chance = np.random.default_rng((seed, number))
        kind, seconds = int(np.searchsorted(bounds, chance.random(), side="right")), float(chance.uniform(0.0, by))
        return (Throttle(), Lose(), Duplicate(seconds), Late(seconds), Crash(seconds), None)[kind]

    return plan
