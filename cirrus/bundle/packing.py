"""Zip files that are the same for the same files, whenever and wherever they are made."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping

OLDEST = (1980, 1, 1, 0, 0, 0)
UNIX = 3


def pack(files: Mapping[str, bytes]) -> bytes:
    """A zip of those files: in the order of their names, with one date, and modes by what they are."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, OLDEST)
            entry.create_system = UNIX
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100755 if ".so" in name.rpartition("/")[2] else 0o100644) << 16
            archive.writestr(entry, files[name])
    return data.getvalue()


def hashes(files: Mapping[str, bytes]) -> dict[str, str]:
    """SHA-256 of each file, in hexadecimal."""
    return {name: hashlib.sha256(files[name]).hexdigest() for name in sorted(files)}
