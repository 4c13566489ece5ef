"""By what a function's code is known again: the version of cirrus, and a hash of the modules that workers run."""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cirrus.bundle.building import MANIFEST
from cirrus.bundle.contents import PACKAGES, contents
from cirrus.bundle.packing import hashes
from cirrus.errors import PipelineError

VERSION = "CIRRUS_VERSION"
SOURCE = "CIRRUS_SOURCE"
"""The function's variables that hold its stamp."""

MOST_MANIFEST = 4 * 2**20
FIELDS = {"version": str, "python": str, "architecture": str, "handler": str, "files": dict}
ALLOWED = f"what cirrus bundle has built, with a {MANIFEST}"


@dataclass(frozen=True, slots=True)
class Stamp:
    """The version of cirrus, and the beginning of a hash of its modules in a bundle."""

    version: str
    source: str

    @property
    def environment(self) -> dict[str, str]:
        """The variables that a function of this code has."""
        return {VERSION: self.version, SOURCE: self.source}


def stamp_here() -> Stamp:
    """The stamp of a bundle that would be built now; it reads the modules' files."""
    found = hashes({name: path.read_bytes() for name, path in contents().files.items()})
    return _stamp(importlib.metadata.version("cirrus-serverless"), found)


def stamp_of(manifest: Mapping[str, Any]) -> Stamp:
    """The stamp of the bundle with that manifest."""
    return _stamp(manifest["version"], manifest["files"])


def read_manifest(data: bytes) -> dict[str, Any]:
    """What a bundle says of itself; ``PipelineError`` where it is none."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive, archive.open(MANIFEST) as file:
            found = json.loads(file.read(MOST_MANIFEST))
        kinds = {name: type(found[name]) for name in FIELDS}
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, RecursionError) as error:
        raise PipelineError("deploy.bundle", "another file", ALLOWED) from error
    if kinds != FIELDS:
        raise PipelineError("deploy.bundle", "another file", ALLOWED)
    return dict(found)


def _stamp(version: str, files: Mapping[str, str]) -> Stamp:
    ours = {
        name: digest for name, digest in files.items() if name.partition("/")[0] in PACKAGES and name.endswith(".py")
    }
    text = json.dumps(ours, sort_keys=True)
    return Stamp(version, hashlib.sha256(text.encode()).hexdigest()[:16])
