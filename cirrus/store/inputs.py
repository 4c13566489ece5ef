"""Input files: which objects a path stands for, and how they are cut into splits that workers read side by side."""

from __future__ import annotations

import asyncio
import fnmatch
import os.path
import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cirrus.errors import InputError, NotFound, PipelineError
from cirrus.store.base import ObjectInfo, ObjectStore
from cirrus.store.gunzip import MAGIC
from cirrus.store.s3_address import SCHEME, S3Address

SPLIT_BYTES = 32 << 20
AT_ONCE = 16
_WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Location:
    """Where a source's path leads: the URL of a store, and what to look for in it.

    ``pattern`` is a key, a glob if ``wild``, or else all keys below it if it is empty. ``name`` is the path as given.
    """

    url: str
    pattern: str
    wild: bool
    name: str

    def shown(self, key: str) -> str:
        """An object's name as the user would write it."""
        if self.name.endswith("/"):
            return self.name + key
        if not self.wild:
            return self.name
        folder = _fixed_folder(self.name)
        return f"{folder}/{key}" if folder not in {"", "/"} else folder + key


@dataclass(frozen=True, slots=True)
class InputObject:
    """One input file: its number in the input from 0, key, name for people, size in bytes, ETag, gzip or not."""

    number: int
    key: str
    name: str
    size: int
    etag: str
    compressed: bool


@dataclass(frozen=True, slots=True)
class Split:
    """The lines of an object that begin from byte ``start`` up to ``stop``; of a compressed one, all lines."""

    object: InputObject
    start: int
    stop: int


def locate(path: str) -> Location:
    """Find out where a path of this machine or ``s3://bucket/key`` leads; it asks the disk, but no server.

    A path that ends in ``/`` stands for all files below that folder. ``*``, ``?`` and ``[...]`` match within one part
    of the path, and do not match a leading dot. Symbolic links are followed up to the folder that is searched. On S3
    the key stands as it is, nothing in it is quoted, and ``[*]`` is a star; region and server are the environment's.
    """
    if path.startswith(SCHEME):
        return _locate_on_s3(path)
    if "://" in path:
        raise PipelineError("data.path", path, "a path of this machine, or s3://bucket/key")
    if path.endswith("/"):
        return Location(_url(Path(path)), "", False, path)
    if _WILD.search(path) and not os.path.lexists(path):
        folder = _fixed_folder(path)
        return Location(_url(Path(folder or ".")), path.removeprefix(folder).lstrip("/"), True, path)
    if Path(path).is_dir():
        raise InputError(path, "this is a folder; end it with / to read all files below it")
    real = Path(os.path.realpath(path))
    return Location(real.parent.as_uri(), real.name, False, path)


async def expand(store: ObjectStore, location: Location) -> tuple[InputObject, ...]:
    """The objects at a location, by ascending key; ``InputError`` where there is none, or an empty one."""
    found = [info async for info in _found(store, location)]
    if not found:
        raise InputError(location.name, "no such file")
    for info in found:
        if not info.size:
            raise InputError(location.shown(info.key), "this file is empty")
    objects: list[InputObject] = []
    while len(objects) < len(found):  # a few at a time: one after the other takes minutes where the store is far away
        some = found[len(objects) : len(objects) + AT_ONCE]
        beginnings = await asyncio.gather(*(store.get(one.key, 0, len(MAGIC)) for one in some), return_exceptions=True)
        for info, beginning in zip(some, beginnings, strict=True):
            if isinstance(beginning, BaseException):
                raise beginning
            name, compressed = location.shown(info.key), beginning == MAGIC
            objects.append(InputObject(len(objects), info.key, name, info.size, info.etag, compressed))
    return tuple(objects)


def plan_splits(objects: Sequence[InputObject], split_bytes: int = SPLIT_BYTES) -> tuple[Split, ...]:
    """Splits in the order of the input; each line of each object belongs to exactly one."""
    splits = []
    for one in objects:
        size = one.size if one.compressed else split_bytes
        splits += [Split(one, start, min(start + size, one.size)) for start in range(0, one.size, size)]
    return tuple(splits)


async def _found(store: ObjectStore, location: Location) -> AsyncIterator[ObjectInfo]:
    if location.pattern and not location.wild:
        try:
            yield await store.info(location.pattern)
        except NotFound:
            return
    elif not location.wild:
        async for info in store.list(""):
            yield info
    else:
        matches = _matcher(location.pattern)
        async for info in store.list(location.pattern[: _wild_at(location.pattern)]):
            if matches(info.key):
                yield info


def _locate_on_s3(path: str) -> Location:
    bucket, slash, key = path.removeprefix(SCHEME).partition("/")
    if not slash:
        raise PipelineError("data.path", path, "s3://bucket/key, or s3://bucket/ for all objects of the bucket")
    wild = False
    if not key or key.endswith("/"):
        folder, pattern = key.removesuffix("/"), ""
    elif _WILD.search(key):
        folder, wild = _fixed_folder(key), True
        pattern = key.removeprefix(folder).lstrip("/")
    else:
        folder, _, pattern = key.rpartition("/")
    try:
        address = S3Address(bucket, folder)
    except PipelineError as error:
        raise PipelineError("data.path", path, f"s3://bucket/key ({error})") from error
    return Location(address.resolved(os.environ).url, pattern, wild, path)


def _wild_at(pattern: str) -> int:
    found = _WILD.search(pattern)
    return found.start() if found else len(pattern)


def _fixed_folder(path: str) -> str:
    """The part of a glob up to the last ``/`` before the first special character: a folder, ``/`` or nothing."""
    before = path[: _wild_at(path)]
    folder = before.rpartition("/")[0]
    return folder or ("/" if before.startswith("/") else "")


def _matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a key matches a glob, part by part."""
    parts = [
        re.compile(("" if part.startswith(".") else r"(?!\.)") + fnmatch.translate(part)) for part in pattern.split("/")
    ]

    def matches(key: str) -> bool:
        pieces = key.split("/")
        return len(pieces) == len(parts) and all(map(re.Pattern.match, parts, pieces))

    return matches


def _url(folder: Path) -> str:
    return Path(os.path.realpath(folder)).as_uri()
