"""Where and with what a benchmark ran, and how busy the machine was besides."""

from __future__ import annotations

import json
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

import psutil

from cirrus.native.choice import SWITCH, kernels

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("numpy", "scipy", "aiohttp", "uvloop")


def setting() -> dict[str, object]:
    """Processor, versions, date; ``load`` is the number of processes that wanted to run in the minute before."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": names[0].partition(":")[2].strip() if names else platform.processor(),
        "cores": psutil.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "compiled": kernels() is not None,
        "load": round(os.getloadavg()[0], 1),
    }


def switch(loops: str) -> None:
    """From now on let numpy, or the compiled loops, do the work of what is made here and in children."""
    os.environ[SWITCH] = "0" if loops == "numpy" else "1"


def write(name: str, before: dict[str, object], found: object) -> None:
    """Keep a benchmark's figures as JSON."""
    RESULTS.mkdir(exist_ok=True)
    after = round(os.getloadavg()[0], 1)
    text = json.dumps({"setting": {**before, "load after": after}, "found": found}, indent=1)
    (RESULTS / f"{name}.json").write_text(text + "\n")
