"""Peers in environments of their own, which are made once and kept: they do not mix with what cirrus needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

KEPT = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cirrus-benchmarks"


def python_with(name: str, *packages: str) -> Path:
    """The interpreter of the environment of that name; it is made, from PyPI, if there is none with these packages."""
    python = KEPT / name / "bin/python"
    made = KEPT / name / "made"
    if not made.exists() or made.read_text().split() != list(packages):
        subprocess.run([sys.executable, "-m", "venv", "--clear", KEPT / name], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        made.write_text("\n".join(packages))
    return python
