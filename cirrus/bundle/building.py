"""The zip that a serverless function runs: exactly what a worker imports, for one version of Python and one machine."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from cirrus import checks
from cirrus.bundle import elf
from cirrus.bundle.contents import HANDLER, ROOT, contents
from cirrus.bundle.interpreters import compile_all, interpreter, try_imports
from cirrus.bundle.packing import hashes, pack
from cirrus.bundle.wheels import PACKAGES, fetch, needed
from cirrus.errors import OutsideError, PipelineError

PYTHONS = ("3.11", "3.12", "3.13")
ARCHITECTURES = ("x86_64", "arm64")
LIBRARY = {"3.11": (2, 26), "3.12": (2, 34), "3.13": (2, 34)}
"""The version of glibc that functions of a version of Python have."""

MANIFEST = "cirrus-manifest.json"
MOST_ZIP, MOST_FILES = 50 * 2**20, 250 * 2**20
REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9,._-]+\])?([=<>!~].*)?")


@dataclass(frozen=True, slots=True)
class Wish:
    """What to build: for which Python and machine, and what of the user's own to add.

    ``packages`` are named as pip names them, ``sources`` are folders and files.
    """

    python: str = "3.11"
    architecture: str = "x86_64"
    packages: tuple[str, ...] = ()
    sources: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        checks.one_of("bundle.python", self.python, PYTHONS)
        checks.one_of("bundle.architecture", self.architecture, ARCHITECTURES)
        for package in self.packages:
            if not REQUIREMENT.fullmatch(package):
                raise PipelineError("bundle.with", package, "a package as pip calls it, such as pandas==2.2.3")
        for source in self.sources:
            if not source.exists():
                raise PipelineError("bundle.source", str(source), "a folder or a file that is there")

    @classmethod
    def here(cls, extra: tuple[str, ...]) -> Wish:
        """For this interpreter and machine, with folders and files that are there, and packages of all other names."""
        sources = tuple(Path(one) for one in extra if Path(one).exists())
        packages = tuple(one for one in extra if not Path(one).exists())
        return cls(f"{sys.version_info.major}.{sys.version_info.minor}", machine(), packages, sources)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A zip, its SHA-256 in hexadecimal, what its files have in bytes, and its manifest."""

    data: bytes
    sha256: str
    unzipped: int
    manifest: dict[str, Any]


def build(wish: Wish) -> Bundle:
    """Gather, prune, compile, check and pack; it takes some seconds, and pip downloads wheels.

    ``OutsideError`` where there is no wheel for a package, a file needs a newer C library than the function has, or
    the worker cannot be imported; ``PipelineError`` where what was added is too large.
    """
    with tempfile.TemporaryDirectory(prefix="cirrus-bundle-") as scratch:
        folder, wheels = Path(scratch) / "task", Path(scratch) / "packages"
        folder.mkdir()
        wheels.mkdir()
        versions = fetch((*PACKAGES, *wish.packages), wish.python, wish.architecture, wheels)
        _copy(wheels, folder, ours=not wish.packages)
        kernels = _add_project(folder, wish)
        for one in wish.sources:
            _add(one.resolve(), folder)
        program = interpreter(wish.python)
        _check_compiled(folder, wish)
        if program is not None:
            compile_all(program, folder)
        files = _read(folder)
        tried = program is not None and wish.architecture == machine()
        if tried and program is not None:
            _try(program, folder, wish)
    manifest: dict[str, Any] = {
        "format": 1,
        "version": importlib.metadata.version("cirrus-serverless"),
        "python": wish.python,
        "architecture": wish.architecture,
        "handler": f"{HANDLER}.handler",
        "kernels": kernels,
        "bytecode": f"no Python {wish.python} was there to compile it" if program is None else "unchecked",
        "imports": "tried" if tried else "not tried: another machine or version of Python",
        "packages": versions,
        "files": hashes(files),
    }
    files[MANIFEST] = json.dumps(manifest, indent=1, sort_keys=True).encode() + b"\n"
    return _sized(pack(files), sum(map(len, files.values())), manifest)


def _sized(data: bytes, unzipped: int, manifest: dict[str, Any]) -> Bundle:
    for size, most, what in ((len(data), MOST_ZIP, "zip"), (unzipped, MOST_FILES, "unpacked zip")):
        if size > most:
            raise PipelineError("bundle", f"{size / 2**20:.1f} MiB", f"a {what} of at most {most / 2**20:g} MiB")
    return Bundle(data, hashlib.sha256(data).hexdigest(), unzipped, manifest)


def _add_project(folder: Path, wish: Wish) -> str:
    """Copy the worker's modules, and the compiled loops where they fit; says which loops there are."""
    found = contents()
    strange = found.foreign - sys.stdlib_module_names - set(PACKAGES)
    if strange:
        raise OutsideError(f"workers import {', '.join(sorted(strange))}, which is in no bundle")
    for name, source in found.files.items():
        _write(folder / name, source.read_bytes())
    if wish.architecture != machine():
        return f"numpy: nothing is compiled for {wish.architecture} on {machine()}"
    built = next((ROOT / "cirrus/native").glob("_kernels.abi3.so"), None)
    if built is None:
        return "numpy: nothing was compiled when the package was installed"
    data = built.read_bytes()
    if elf.needed(data) > LIBRARY[wish.python]:
        return "numpy: the compiled loops need a newer C library than the function has"
    _write(folder / "cirrus/native" / built.name, data)
    return "compiled"


def _add(source: Path, folder: Path) -> None:
    """Copy a package or module of the user's own."""
    paths = [source] if source.is_file() else sorted(one for one in source.rglob("*") if one.is_file())
    for path in paths:
        place = path.relative_to(source.parent)
        if path.is_symlink():
            raise PipelineError("bundle.source", str(path), "files, no links")
        if "__pycache__" in place.parts or any(one.startswith(".") for one in place.parts):
            continue
        if (folder / place).exists():
            raise PipelineError("bundle.source", str(path), f"names that are not taken: {place} is there already")
        _write(folder / place, path.read_bytes())


def _copy(wheels: Path, folder: Path, *, ours: bool) -> None:
    for path in sorted(wheels.rglob("*")):
        place = path.relative_to(wheels)
        if path.is_file() and needed(PurePosixPath(place), ours=ours):
            _write(folder / place, path.read_bytes())


def _try(program: str, folder: Path, wish: Wish) -> None:
    """Import every module of ours, and those of the user's own, as a function would."""
    modules = [name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in contents().files]
    try_imports(program, folder, tuple(modules))
    own = [one.stem for one in wish.sources if one.suffix == ".py" or (one / "__init__.py").exists()]
    try_imports(program, folder, tuple(own), forbidden=())


def _check_compiled(folder: Path, wish: Wish) -> None:
    """Every compiled file must be for the machine, and content with its C library; what is never loaded is cut off."""
    most = LIBRARY[wish.python]
    for path in folder.rglob("*"):
        if path.is_dir() or path.suffix == ".py":
            continue
        name, data = path.relative_to(folder), path.read_bytes()
        found = elf.machine(data)
        if found is None:
            continue
        if found != wish.architecture:
            raise OutsideError(f"{name} is for {found}, not for {wish.architecture}")
        if elf.needed(data) > most:
            raise OutsideError(f"{name} needs glibc {elf.needed(data)}, and the function has {most}")
        path.write_bytes(elf.loaded(data))


def _read(folder: Path) -> dict[str, bytes]:
    return {str(one.relative_to(folder)): one.read_bytes() for one in sorted(folder.rglob("*")) if one.is_file()}


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def machine() -> str:
    """What Lambda calls this machine's processor."""
    return {"aarch64": "arm64", "AMD64": "x86_64"}.get(os.uname().machine, os.uname().machine)
