"""The same learning as a loop in C, in one process and without a network: what nothing distributed can beat."""

from __future__ import annotations

import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("floor.c")


def built(folder: Path) -> Path:
    """The compiled program."""
    program = folder / "floor"
    flags = ["-std=gnu11", "-O3", "-march=native", "-fno-math-errno"]
    subprocess.run(["cc", *flags, "-o", program, SOURCE, "-lm"], check=True)
    return program


def steps_per_second(program: Path, rows: Path, minibatch: int, seconds: float) -> float:
    """Run it for that long."""
    done = subprocess.run([program, rows, str(minibatch), str(seconds)], check=True, capture_output=True, text=True)
    steps, passed = done.stdout.split()
    return int(steps) / float(passed)
