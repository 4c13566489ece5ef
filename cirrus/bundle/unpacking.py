"""Zip files, unpacked without trust: nothing outside the folder, no links, no more than a function may hold."""

from __future__ import annotations

import io
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from cirrus.errors import WireError

MOST_BYTES = 250 * 2**20
"""Bytes that a function's unpacked code may have."""

MOST_FILES = 20_000
CHUNK = 1 << 20
_BROKEN = (
    zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError, FileExistsError,
    NotADirectoryError,
)  # fmt: skip


def unpack(data: bytes, folder: Path, most: int = MOST_BYTES) -> int:
    """Write the files of a zip below ``folder``, which must exist, and return how many bytes they have.

    ``WireError`` for what is no zip, names that lead out of the folder or come twice, links and other things that are
    no files, and more than ``most`` bytes or 20,000 files, whatever the zip says of itself.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [(entry, _checked(entry)) for entry in archive.infolist()]
            names = [name for _, name in entries]
            if len(entries) > MOST_FILES or len(set(names)) < len(names):
                raise WireError(f"the zip has more than {MOST_FILES} files, or a name twice")
            left = most
            for entry, name in entries:
                if not entry.is_dir():
                    left -= _write(archive, entry, folder.joinpath(*name.parts), left)
    except _BROKEN as error:
        raise WireError(f"this is no zip file that can be read: {error}") from error
    return most - left


def _checked(entry: zipfile.ZipInfo) -> PurePosixPath:
    """The entry's name as a path below the folder."""
    name = PurePosixPath(entry.filename)
    kind = stat.S_IFMT(entry.external_attr >> 16)
    inside = bool(name.parts) and not name.is_absolute() and ".." not in name.parts
    if not inside or "\\" in entry.filename or "\0" in entry.orig_filename or ":" in name.parts[0]:
        raise WireError(f"the zip has a file that would be outside: {entry.filename!r}")
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise WireError(f"the zip has a link or a device: {entry.filename!r}")
    if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise WireError(f"the zip has a file that is packed in a way that functions cannot read: {entry.filename!r}")
    return name


def _write(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, left: int) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with archive.open(entry) as source, path.open("xb") as target:
        while part := source.read(CHUNK):
            size += len(part)
            if size > left:
                raise WireError("the zip's files have more bytes than a function may hold")
            target.write(part)
    path.chmod(0o755 if entry.external_attr >> 16 & 0o100 else 0o644)
    return size
