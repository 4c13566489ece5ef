"""What invocations cost their owner: a record for each, as the provider's log has it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cirrus.emulator.sandbox import Kind, Outcome


@dataclass(frozen=True, slots=True)
class Report:
    """One execution: seconds of initialisation and of work, milliseconds billed, MB held at most and paid for.

    ``attempt`` counts from 1; more than one where an event is tried again. ``number`` is that of the request.
    """

    request_id: str
    function: str
    number: int
    attempt: int
    outcome: Kind
    init_seconds: float
    seconds: float
    billed_ms: int
    peak_mb: int
    memory_mb: int

    @property
    def gb_seconds(self) -> float:
        """What is paid for."""
        return self.billed_ms / 1000 * self.memory_mb / 1024

    @property
    def line(self) -> str:
        """As the log has it."""
        line = (
            f"REPORT RequestId: {self.request_id}\tDuration: {self.seconds * 1000:.2f} ms\t"
            f"Billed Duration: {self.billed_ms} ms\tMemory Size: {self.memory_mb} MB\t"
            f"Max Memory Used: {self.peak_mb} MB\t"
        )
        return line + (f"Init Duration: {self.init_seconds * 1000:.2f} ms\t" if self.init_seconds else "")


def billed(outcome: Outcome) -> int:
    """Milliseconds that are billed: work and initialisation, each begun millisecond whole."""
    return max(1, math.ceil((outcome.init + outcome.seconds) * 1000))
