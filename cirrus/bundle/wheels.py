"""Packages of others, fetched through pip as wheels for the function's machine, without what a function never reads."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path, PurePosixPath

from cirrus.bundle.unpacking import unpack
from cirrus.errors import OutsideError

PACKAGES = ("aiohttp", "msgpack", "numpy", "typing_extensions", "uvloop", "yarl")
"""What workers import; pip adds what these need. The fourth is needed by some of them, depending on the version."""

NEEDLESS_FOLDERS = {"tests", "test", "include", "f2py", "distutils", "bin", "share", "doc", "docs"}
NEEDLESS_SUFFIXES = {".pyi", ".h", ".c", ".cpp", ".pyx", ".pxd", ".pxi", ".a", ".typed", ".hash", ".pth"}
METADATA = {"METADATA"}
_OF_TESTS = re.compile(r"(test_|_simd\.|_testcapi\.|_\w+_tests\.).*")
_WHEEL = re.compile(r"([A-Za-z0-9_.]+)-([A-Za-z0-9_.!+]+)-.*\.whl")

OLDER = ("manylinux_2_24", "manylinux2014", "manylinux_2_17", "manylinux2010", "manylinux_2_12", "manylinux1")
NEWER = ("manylinux_2_34", "manylinux_2_31", "manylinux_2_28", "manylinux_2_27", "manylinux_2_26", "manylinux_2_25")


def fetch(requirements: tuple[str, ...], python: str, architecture: str, folder: Path) -> dict[str, str]:
    """Unpack the wheels of the requirements, and of what they need, into ``folder``; returns names with versions.

    ``OutsideError`` with pip's last words where there is no wheel for that Python and machine.
    """
    suffix = "aarch64" if architecture == "arm64" else architecture
    systems = OLDER if python == "3.11" else (*NEWER, *OLDER)
    wheels = folder.with_name(f"{folder.name}-wheels")
    wheels.mkdir()
    tag = f"cp{python.replace('.', '')}"
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--dest", str(wheels),
        "--python-version", python, "--implementation", "cp", "--abi", tag, "--abi", "abi3", "--abi", "none",
        *(word for system in systems for word in ("--platform", f"{system}_{suffix}")), "--", *requirements,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  no shell
    if done.returncode:
        raise OutsideError(f"pip found no wheels for Python {python} on {architecture}:\n{done.stderr[-2000:].strip()}")
    versions = {}
    for wheel in sorted(wheels.glob("*.whl")):
        named = _WHEEL.fullmatch(wheel.name)
        assert named is not None, "pip has checked the name"
        versions[named[1].lower().replace("_", "-")] = named[2]
        unpack(wheel.read_bytes(), folder)
    return versions


def needed(path: PurePosixPath) -> bool:
    """Whether a function could ever read the file of a package."""
    *folders, name = path.parts
    if any(one.endswith(".dist-info") for one in folders):
        return name in METADATA or "licen" in str(path).lower()
    if any(one.endswith(".data") for one in folders) or NEEDLESS_FOLDERS & set(folders):
        return False
    return path.suffix not in NEEDLESS_SUFFIXES and not _OF_TESTS.match(name)
