"""Packages of others, installed through pip for the function's machine, without what a function never reads."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path, PurePosixPath

from cirrus.errors import OutsideError

PACKAGES = ("aiohttp", "msgpack", "numpy", "typing_extensions", "uvloop", "yarl")
"""What workers import; pip adds what these need. The fourth is needed by some of them, depending on the version."""

TESTS = frozenset({"tests", "test"})
NEEDLESS_FOLDERS = TESTS | {"include", "f2py", "distutils", "bin", "share", "doc", "docs"}
NEEDLESS_SUFFIXES = {".pyi", ".h", ".c", ".cpp", ".pyx", ".pxd", ".pxi", ".a", ".typed", ".hash", ".pth"}
_OF_TESTS = re.compile(r"(test_|_simd\.|_testcapi\.|_\w+_tests\.).*")

OLDER = (
    "manylinux_2_26", "manylinux_2_25", "manylinux_2_24", "manylinux2014", "manylinux_2_17", "manylinux2010",
    "manylinux_2_12", "manylinux1",
)  # fmt: skip
NEWER = ("manylinux_2_34", "manylinux_2_31", "manylinux_2_28", "manylinux_2_27")


def fetch(requirements: tuple[str, ...], python: str, architecture: str, folder: Path) -> dict[str, str]:
    """Install the requirements, and what they need, into ``folder``, from wheels alone; returns names with versions.

    ``OutsideError`` with pip's last words where there is no wheel for that Python and machine.
    """
    suffix = "aarch64" if architecture == "arm64" else architecture
    systems = OLDER if python == "3.11" else (*NEWER, *OLDER)
    tag = f"cp{python.replace('.', '')}"
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--only-binary=:all:",
        "--disable-pip-version-check", "--target", str(folder), "--python-version", python, "--implementation", "cp",
        "--abi", tag, "--abi", "abi3", "--abi", "none",
        *(word for system in systems for word in ("--platform", f"{system}_{suffix}")), "--", *requirements,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  no shell
    if done.returncode:
        raise OutsideError(f"pip found no wheels for Python {python} on {architecture}:\n{done.stderr[-2000:].strip()}")
    named = [one.name.removesuffix(".dist-info").partition("-") for one in folder.glob("*.dist-info")]
    return {name.lower().replace("_", "-"): version for name, _, version in sorted(named)}


def needed(path: PurePosixPath, *, ours: bool = True) -> bool:
    """Whether a function could ever read the file of a package.

    ``ours``: of packages that workers need, used as they do; else of any package, of which little is known.
    """
    *folders, name = path.parts
    if any(one.endswith(".dist-info") for one in folders):
        return name == "METADATA" or "licen" in str(path).lower() or (not ours and name == "entry_points.txt")
    if (NEEDLESS_FOLDERS if ours else TESTS) & set(folders) or folders[:1] == ["bin"]:
        return False
    return path.suffix not in NEEDLESS_SUFFIXES and not (ours and _OF_TESTS.match(name))
