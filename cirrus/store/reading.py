"""The lines of a split, chunk by chunk, in bounded memory; errors know the object, and can find the line."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from cirrus.errors import InputError, NotFound
from cirrus.store.base import ObjectStore
from cirrus.store.gunzip import Gunzip
from cirrus.store.inputs import InputObject, Split

CHUNK_BYTES = 2 << 20
LONGEST_LINE = 16 << 20
_ENDLESS = 1 << 62
_BEYOND_BYTES = 64 << 10
_CHANGED = "this file has changed since the run began"
_MARK = b"\xef\xbb\xbf"
_HEAD_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole lines. ``offset``: where they begin in the uncompressed object, in bytes. ``line``: the first one's number.

    Lines count from 1 in the object, but in a split that does not begin the object from 1 in the split; there
    ``relocated`` finds out an error's line.
    """

    data: bytes
    offset: int
    line: int


async def lines(
    store: ObjectStore, split: Split, header: bytes = b"", chunk_bytes: int = CHUNK_BYTES
) -> AsyncGenerator[Chunk, None]:
    """The lines of a split, without the header, which is the first line of every object unless it is empty.

    A line belongs to the split in which it begins; the last one may lack its line end. ``InputError`` where the object
    is another one than the split was cut from, has another header, is not valid gzip, or has an endless line.
    """
    await _unchanged(store, split.object)
    line = 1
    async with aclosing(_blocks(store, split, chunk_bytes)) as blocks, aclosing(_gathered(blocks, split)) as gathered:
        async for begin, whole in gathered:
            offset, data = begin, whole
            if split.start == 0 and line == 1 and header:
                first, end, data = data.partition(b"\n")
                _same_header(first, header, split.object.name)
                offset, line = offset + len(first) + len(end), 2
            if data:
                yield Chunk(data, offset, line)
            line += data.count(b"\n")
    await _unchanged(store, split.object)


async def head(store: ObjectStore, one: InputObject, size: int = _HEAD_BYTES) -> bytes:
    """Whole lines from the beginning of an object, uncompressed: at least ``size`` bytes of them, if there are."""
    async with aclosing(lines(store, Split(one, 0, one.size), chunk_bytes=size)) as chunks:
        found = b""
        async for chunk in chunks:
            found += chunk.data
            if len(found) >= size:
                break
    return found


async def line_number(store: ObjectStore, split: Split, line: int) -> int:
    """The number in the object of a line that ``lines`` numbered; reads what stands before the split."""
    if split.start == 0 or split.object.compressed:
        return line
    before, place = 1, 0
    while place < split.start - 1:
        data = await store.get(split.object.key, place, min(place + CHUNK_BYTES, split.start - 1))
        if not data:
            break
        before += data.count(b"\n")
        place += len(data)
    return before + line


async def relocated(store: ObjectStore, split: Split, error: InputError) -> InputError:
    """The same error with the line's number in the object, where it was one of the split."""
    if not error.line:
        return error
    return InputError(error.name, error.problem, await line_number(store, split, error.line), error.column)


async def _gathered(blocks: AsyncGenerator[bytes, None], split: Split) -> AsyncGenerator[tuple[int, bytes], None]:
    """Whole lines that begin in the split, and where they begin, from blocks that are cut anywhere."""
    stop = _ENDLESS if split.object.compressed else split.stop
    offset, pending, skipping = max(split.start - 1, 0), b"", split.start > 0
    async for block in blocks:
        data = pending + block
        if skipping:  # to the end of the line that holds the byte before the split
            cut = data.find(b"\n") + 1
            offset, data, skipping = offset + (cut or len(data)), data[cut:] if cut else b"", not cut
        if offset >= stop:
            return
        ours = data.find(b"\n", stop - 1 - offset) + 1 if offset + len(data) >= stop else 0
        cut = ours or data.rfind(b"\n") + 1
        if cut:
            yield offset, data[:cut]
        if ours:
            return
        offset, pending = offset + cut, data[cut:]
        if len(pending) > LONGEST_LINE:
            raise InputError(split.object.name, f"a line of more than {LONGEST_LINE} bytes begins at byte {offset}")
    if pending:
        yield offset, pending


async def _blocks(store: ObjectStore, split: Split, size: int) -> AsyncGenerator[bytes, None]:
    """The split's uncompressed bytes from the one before it on, as far as its last line and, if need be, further."""
    one = split.object
    if one.compressed:
        gunzip = Gunzip(one.name, size)
        async for block in _ranges(store, one, 0, one.size, size):
            for plain in gunzip.feed(block):
                yield plain
        gunzip.finish()
        return
    async for block in _ranges(store, one, max(split.start - 1, 0), split.stop, size):
        yield block
    async for block in _ranges(store, one, split.stop, one.size, min(size, _BEYOND_BYTES)):
        yield block


async def _ranges(
    store: ObjectStore, one: InputObject, start: int, stop: int, size: int
) -> AsyncGenerator[bytes, None]:
    """The object's bytes from ``start`` up to ``stop``, at most ``size`` at a time."""
    for place in range(start, stop, size):
        end = min(place + size, stop)
        block = await store.get(one.key, place, end)
        if len(block) != end - place:
            raise InputError(one.name, f"{_CHANGED}: it ends at byte {place + len(block)}")
        yield block


async def _unchanged(store: ObjectStore, one: InputObject) -> None:
    try:
        info = await store.info(one.key)
    except NotFound as error:
        raise InputError(one.name, f"{_CHANGED}: it is gone") from error
    if info.etag != one.etag:
        raise InputError(one.name, _CHANGED)


def _same_header(first: bytes, header: bytes, name: str) -> None:
    if first.removesuffix(b"\r").removeprefix(_MARK) != header:
        raise InputError(name, "the header line is not that of the first file", 1)
