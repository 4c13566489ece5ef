"""What a shard tells Prometheus."""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping
from pathlib import Path

from cirrus.actors.shard import Shard

_STATM = Path("/proc/self/statm")


def resident() -> int:
    """Bytes of memory that this process occupies; its peak where the system does not tell the present."""
    try:
        return int(_STATM.read_text().split()[1]) * resource.getpagesize()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def exposition(shard: Shard, gauges: Mapping[str, int]) -> str:
    """The counters and gauges in Prometheus' text format; the largest staleness begins again with each call."""
    counters = shard.counters
    figures = {
        "steps_applied_total": counters.applied,
        "steps_duplicate_total": counters.duplicates,
        "steps_stale_total": counters.stale,
        "frames_total": counters.frames,
        "frames_refused_total": counters.refused,
        "received_bytes_total": counters.received,
        "sent_bytes_total": counters.sent,
        "clock": shard.clock,
        "tables": len(shard.numbers),
        "staleness_max": counters.staleness,
        **gauges,
    }
    counters.staleness = 0
    lines = []
    for name, value in figures.items():
        kind = "counter" if name.endswith("_total") else "gauge"
        lines += [f"# TYPE cirrus_shard_{name} {kind}", f'cirrus_shard_{name}{{shard="{shard.shard}"}} {value}']
    return "\n".join(lines) + "\n"
