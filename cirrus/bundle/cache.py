"""Bundles that were built before: one is taken again where everything that it would be built from is the same."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
from collections.abc import Iterator
from pathlib import Path

from cirrus.bundle.building import Wish, build
from cirrus.bundle.contents import ROOT, contents

KEPT = 4
"""So many bundles are kept, those that were built last."""


def cached(wish: Wish, folder: Path | None = None) -> bytes:
    """The zip for that wish, built where ``folder`` (``~/.cache/cirrus/bundles``) has none; some seconds, then.

    Packages of others are as they were when it was built. Errors are those of ``build``.
    """
    folder = _folder() if folder is None else folder
    path = folder / f"{_key(wish)}.zip"
    try:
        return path.read_bytes()
    except FileNotFoundError:
        pass
    data = build(wish).data
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_suffix(f".{os.getpid()}")
    new.write_bytes(data)
    new.replace(path)
    for old in sorted(folder.glob("*.zip"), key=lambda one: one.stat().st_mtime)[:-KEPT]:
        old.unlink(missing_ok=True)
    return data


def _folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cirrus" / "bundles"


def _key(wish: Wish) -> str:
    """A name for all that the bundle would be built from, as far as it is on this machine."""
    version = importlib.metadata.version("cirrus-serverless")
    digest = hashlib.sha256(repr((version, wish.python, wish.architecture, wish.packages)).encode())
    for name, path in _sources(wish):
        digest.update(f"\n{name} {hashlib.sha256(path.read_bytes()).hexdigest()}".encode())
    return digest.hexdigest()[:32]


def _sources(wish: Wish) -> Iterator[tuple[str, Path]]:
    """Every file of the project and of the user that goes into it, and those that say how."""
    yield from contents().files.items()
    for path in sorted([*(ROOT / "cirrus/native").glob("*.so"), *(ROOT / "cirrus/bundle").glob("*.py")]):
        yield path.name, path
    for top in wish.sources:
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file() and path.suffix != ".pyc":
                yield str(path.relative_to(top.parent)), path
