"""A folder that holds objects as files: blocking, safe between processes, whole after a crash.

A write goes to a temporary file under ``.cirrus-store``, is flushed to the disk, and only then gets its name. All that
gives or takes names does so under one lock file of the operating system, which is held for the renaming alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

from cirrus.errors import Conflict, NotFound, StoreError
from cirrus.store.base import ObjectInfo
from cirrus.store.keys import checked, checked_range

OWN = ".cirrus-store"
"""The sub-folder for temporary files and the lock; it appears with the first write, and no key leads into it."""


class Folder:
    """Objects below ``root``, each a file of the same relative name. A name is either an object or a folder of them.

    A symbolic link counts as an object where it leads to a file below ``root``; other links are refused.
    """

    def __init__(self, root: Path) -> None:
        self._given = root
        self._synced: set[Path] = set()
        self._swept = False

    @cached_property
    def root(self) -> Path:
        """Where the folder really is; found out at the first use, since it asks the disk."""
        return Path(os.path.realpath(self._given))

    def read(self, key: str, start: int, stop: int | None) -> bytes:
        """The bytes of that range."""
        checked_range(key, start, stop)
        with _sought(key):
            path = self._existing(key)
            _described(key, path.stat())  # before it is opened: a pipe would wait for its other end
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(start)
                return file.read(max(0, min(size, size if stop is None else stop) - start))

    def info(self, key: str) -> ObjectInfo:
        """Size and ETag."""
        with _sought(key):
            return _described(key, self._existing(key).stat())

    def put(self, key: str, data: bytes | memoryview) -> str:
        """Write over what may be there."""
        return self._write(key, data, os.replace)

    def put_if_absent(self, key: str, data: bytes | memoryview) -> str:
        """Write, but over nothing."""

        def link(temporary: Path, path: Path) -> None:
            try:
                path.hardlink_to(temporary)
            except FileExistsError as error:
                raise Conflict(key, "there is one already") from error
            temporary.unlink()

        return self._write(key, data, link)

    def replace_if(self, key: str, data: bytes | memoryview, etag: str) -> str:
        """Write over that very object, and no other."""

        def replace(temporary: Path, path: Path) -> None:
            self._must_be(key, etag)
            temporary.replace(path)

        self._must_be(key, etag)  # asked again under the lock; here it saves the writing where all is lost already
        return self._write(key, data, replace)

    def delete(self, key: str) -> None:
        """Take the name away, if there is one."""
        with _translated(key):
            path = self._path(key)
            if not path.is_symlink() and not path.is_file():
                return
            with self._lock():
                path.unlink(missing_ok=True)
            _sync(path.parent)

    def entries(self, folder: str, prefix: str) -> tuple[ObjectInfo | str, ...]:
        """The objects right in ``folder`` and, ending in ``/``, its sub-folders: those that ``prefix`` can lead to."""
        found: dict[str, ObjectInfo | str] = {}
        with _translated(folder or str(self.root)):
            for entry in _scanned(self._unlinked(folder, self._path(folder)) if folder else self.root):
                key = f"{folder}/{entry.name}" if folder else entry.name
                if key == OWN:
                    continue
                within = entry.is_dir(follow_symlinks=False)
                name = key + "/" if within else key
                if name.startswith(prefix):
                    one = name if within else self._listed(checked(key), entry)
                    found.update({name: one} if one else {})
        return tuple(found[name] for name in sorted(found))

    def _listed(self, key: str, entry: os.DirEntry[str]) -> ObjectInfo | None:
        try:
            if entry.is_symlink():
                if entry.is_dir():
                    raise StoreError(key, "a symbolic link to a folder; such links are not followed")
                self._existing(key)
            status = entry.stat()
        except FileNotFoundError:
            return None  # it went away while we were looking, or is a link to nothing
        return _described(key, status) if stat.S_ISREG(status.st_mode) else None

    def _write(self, key: str, data: bytes | memoryview, publish: Callable[[Path, Path], None]) -> str:
        with _translated(key):
            path = self._path(key)
            self._prepare(path.parent)
            with self._temporary() as (file, temporary):
                _fill(file, memoryview(data).cast("B"))
                etag = _described(key, os.fstat(file)).etag
                with self._lock():
                    publish(temporary, path)
            _sync(path.parent)
            return etag

    def _path(self, key: str) -> Path:
        path = self.root / checked(key)
        if key.split("/", 1)[0] == OWN:
            raise StoreError(key, f"{OWN} is the store's own")
        self._unlinked(key, path.parent)
        return path

    def _unlinked(self, key: str, folder: Path) -> Path:
        if os.path.realpath(folder) != str(folder):
            raise StoreError(key, "a part of it is a symbolic link to a folder; such links are not followed")
        return folder

    def _existing(self, key: str) -> Path:
        path = self._path(key)
        if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(self.root):
            raise StoreError(key, "a symbolic link that leads out of the store; such links are not followed")
        return path

    def _must_be(self, key: str, etag: str) -> None:
        try:
            now = self.info(key).etag
        except NotFound as error:
            raise Conflict(key, f"it is no longer {etag}: there is none") from error
        if now != etag:
            raise Conflict(key, f"it is no longer {etag}")

    def _prepare(self, folder: Path) -> None:
        self._make(folder)
        self._make(self.root / OWN)
        if not self._swept:
            self._swept = True
            self._sweep()

    def _make(self, folder: Path) -> None:
        """Make ``folder`` if it is missing, and make sure once that its name is on the disk, whoever made it."""
        there = folder.is_dir()
        if there and (folder in self._synced or not folder.is_relative_to(self.root) or folder == self.root):
            return
        self._make(folder.parent)
        if not there:
            with contextlib.suppress(FileExistsError):  # another process was faster; or it is a file: seen when used
                folder.mkdir(0o700)
        _sync(folder.parent)
        self._synced.add(folder)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        self._make(self.root / OWN)
        file = os.open(self.root / OWN / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[tuple[int, Path]]:
        """A new file, locked as long as its writer lives: that is how ``_sweep`` knows the files of the dead."""
        while True:
            file, name = tempfile.mkstemp(dir=self.root / OWN, prefix="write-")
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                if os.fstat(file).st_nlink == 0:  # swept away before it was locked
                    continue
                try:
                    yield file, Path(name)
                except BaseException:
                    with contextlib.suppress(OSError):
                        Path(name).unlink()
                    raise
                return
            finally:
                os.close(file)

    def _sweep(self) -> None:
        for entry in _scanned(self.root / OWN):
            if not entry.name.startswith("write-"):
                continue
            with contextlib.suppress(FileNotFoundError):
                file = os.open(entry.path, os.O_RDWR | os.O_CLOEXEC)
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    Path(entry.path).unlink()
                except BlockingIOError:
                    continue  # its writer lives
                finally:
                    os.close(file)


@contextlib.contextmanager
def _translated(key: str) -> Iterator[None]:
    """Let errors of the operating system out as the store's own, the foreign one as their cause."""
    try:
        yield
    except OSError as error:
        raise StoreError(key, error.strerror or str(error)) from error


@contextlib.contextmanager
def _sought(key: str) -> Iterator[None]:
    """The same, where a missing file is a missing object."""
    with _translated(key):
        try:
            yield
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFound(key) from error


def _described(key: str, status: os.stat_result) -> ObjectInfo:
    if stat.S_ISDIR(status.st_mode):
        raise NotFound(key)
    if not stat.S_ISREG(status.st_mode):
        raise StoreError(key, "not a regular file")
    return ObjectInfo(key, status.st_size, f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}")


def _scanned(folder: Path) -> tuple[os.DirEntry[str], ...]:
    try:
        with os.scandir(folder) as entries:
            return tuple(entries)
    except (FileNotFoundError, NotADirectoryError):
        return ()


def _fill(file: int, data: memoryview) -> None:
    """Write all of ``data`` and flush it to the disk, stamped so that no two files of a store look alike.

    The clock behind a file's time ticks every few milliseconds, and a number that one file gave back the next one may
    get. Two writes of equal size could then bear one ETag; nanoseconds drawn at random tell them apart.
    """
    while data:
        data = data[os.write(file, data) :]
    status = os.fstat(file)
    whole = status.st_mtime_ns // 10**9 * 10**9
    os.utime(file, ns=(status.st_atime_ns, whole + secrets.randbelow(10**9)))
    os.fsync(file)


def _sync(folder: Path) -> None:
    """Flush the names in ``folder`` to the disk."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
