"""Peers in environments of their own, which are made once and kept: they do not mix with what cirrus needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

KEPT = Path.home() / ".cache/cirrus-benchmarks"


def python_with(name: str, *packages: str) -> Path:
    """The interpreter of the environment of that name; it is made with the packages, from PyPI, if there is none."""
    python = KEPT / name / "bin/python"
    if not (done := KEPT / name / "made").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", KEPT / name], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        done.touch()
    return python
