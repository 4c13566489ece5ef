"""Lambda on this machine as the place of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cirrus import checks
from cirrus.clock import Clock
from cirrus.cloud.base import Invoker
from cirrus.cloud.places import Local


@dataclass(frozen=True, slots=True)
class Emulated(Local):
    """Workers as invocations of a function on this machine, objects in ``store`` as for ``cirrus.local``: free.

    The function has ``memory`` MB and ``timeout`` seconds, and at most ``concurrency`` executions at a time. ``extra``
    is what its bundle has besides cirrus: folders and files of Python to import, and names of packages for pip. Costs
    are what AWS would take in ``region``.
    """

    memory: int = 1024
    timeout: int = 900
    concurrency: int = 1000
    region: str = "us-east-1"
    extra: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        checks.integer("emulated.memory", self.memory, 128, 10_240)
        checks.integer("emulated.timeout", self.timeout, 1, 900)
        checks.integer("emulated.concurrency", self.concurrency, 1, 100_000)
        checks.text("emulated.region", self.region)

    def invoker(self, command: tuple[str, ...], clock: Clock, grace: float) -> Invoker:  # noqa: ARG002  no command
        """What starts the emulator, with the function, and then workers as its invocations."""
        from cirrus.emulator.invoker import EmulatedInvoker  # noqa: PLC0415  not with the package

        return EmulatedInvoker(self, clock, grace)


def emulated(
    store: str | Path | None = None,
    *,
    memory: int = 1024,
    timeout: int = 900,
    concurrency: int = 1000,
    region: str = "us-east-1",
    extra: tuple[str, ...] = (),
) -> Emulated:
    """Run on this machine as on AWS: a bundle that is built, deployed and invoked as an event for each worker.

    ``store`` is a folder (default: ``~/.cirrus``) or a store's URL. ``extra`` names what else the bundle is to have:
    folders and files of Python, or packages as pip calls them.
    """
    return Emulated(store, memory, timeout, concurrency, region, extra)
