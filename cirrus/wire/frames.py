"""The bytes of a training step between a worker and a shard: laid out, checked and read without copies.

A binary message is one or more frames back to back; the message that answers it holds one reply frame for each, in the
same order. A frame is a little-endian header, float32 values, uint32 keys, and zeros up to a multiple of 8 bytes::

    every frame   checksum u32 | length u32 | magic u16 | version u8 | kind u8
    OPEN          attempt u32 | unit u64
    STEP, READ    step u32 | flags u16 | sections u16 | 0 u32
                  then for each section: table u16 | width u16 | pushed u32 | pulled u32
                  then the gradients of all sections, then the keys of all sections
    OPENED        status u32 | last i32 | current u32 | unit u64
    ROWS          step u32 | clock u64 | status u16 | sections u16 | 0 u32
                  then for each section: table u16 | width u16 | rows u32
                  then the rows of all sections

``length`` counts the whole frame. The checksum is the CRC-32 of everything behind it: it finds every single flipped bit
and every burst of up to 32 bits, and up to about 6 kB, where most frames are, it is cheaper than any sum by numpy.
Keys are local row numbers, ``row // shards`` on shard ``row % shards``, so that a shard neither divides nor copies.
Decoding checks whatever can be checked without knowing the tables, before it makes any array; ``WireError`` otherwise.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum
from typing import NamedTuple, TypeVar

import numpy as np

from cirrus.errors import WireError
from cirrus.learn.rows import Floats, Keys

MAX_MESSAGE = 16 * 1024 * 1024
MAX_FRAMES = 64
MAX_SECTIONS = 8
MAX_STEP = 2**31 - 1

MAGIC = 0xC1AA
VERSION = 1
OPEN, STEP, READ, OPENED, ROWS = 1, 2, 3, 65, 66
PUSHES, PULLS = 1, 2

_PREFIX = struct.Struct("<IIHBB")
_OPEN = struct.Struct("<IHBBIQ")
_STEP = struct.Struct("<IHBBIHHI")
_STEP_ONE = struct.Struct("<IHHIHHII")  # a STEP from its step on, and its first section
_SECTION = struct.Struct("<HHII")
_OPENED = struct.Struct("<IHBBIiIQ")
_ROWS = struct.Struct("<IHBBIQHHI")
_ANSWERED = struct.Struct("<IQH")  # of a ROWS frame from its step on: what is known last
_TABLE = struct.Struct("<HHI")
_SUM = struct.Struct("<I")
_FLOAT = np.dtype("<f4")
_KEY = np.dtype("<u4")
_ZEROS = (b"", b"\0" * 7, b"\0" * 6, b"\0" * 5, b"\0" * 4, b"\0" * 3, b"\0" * 2, b"\0")


class Status(IntEnum):
    """What became of a frame's push: counted, counted before, refused as outdated, or there was none."""

    APPLIED = 0
    DUPLICATE = 1
    STALE = 2
    NONE = 3


class Open(NamedTuple):
    """From now on this connection works on ``unit`` as its ``attempt``-th attempt; open pulls are void."""

    unit: int
    attempt: int


class Step(NamedTuple):
    """Push the gradients of step ``step``, or pull rows for a later step, or both.

    ``tables``: the numbers of the tables. ``gradients[i]``: float32 of shape (n, width), for the keys of the
    connection's oldest open pull; ``None``: nothing is pushed. ``keys[i]``: uint32, strictly ascending local rows;
    ``None``: nothing is pulled.
    """

    step: int
    tables: tuple[int, ...]
    gradients: tuple[Floats, ...] | None
    keys: tuple[Keys, ...] | None


class Read(NamedTuple):
    """Pull rows for looking at them only: opens no pull and counts nothing."""

    tables: tuple[int, ...]
    keys: tuple[Keys, ...]


class Opened(NamedTuple):
    """The answer to ``Open``: ``last`` step that is counted (-1: none), or ``STALE`` and the ``current`` attempt."""

    status: Status
    unit: int
    last: int
    current: int


class Answer(NamedTuple):
    """The answer to ``Step`` and ``Read``: ``rows[i]``, float32 of shape (n, width); ``None`` where none were asked."""

    status: Status
    step: int
    clock: int
    rows: tuple[Floats, ...] | None


Request = Open | Step | Read
Reply = Opened | Answer
Part = bytes | memoryview

F = TypeVar("F")
Quick = Callable[[bytes, int], tuple[int, F] | None]
"""Reads the frame that begins there, and says where it ends; ``None``: it is broken, or not one that this knows."""

_STATUS = tuple(Status)


def encode_open(unit: int, attempt: int) -> bytes:
    """The frame of an ``Open``."""
    head = _OPEN.pack(24, MAGIC, VERSION, OPEN, attempt, unit)
    return _SUM.pack(zlib.crc32(head)) + head


def encode_opened(opened: Opened) -> bytes:
    """The frame of an ``Opened``."""
    head = _OPENED.pack(32, MAGIC, VERSION, OPENED, opened.status, opened.last, opened.current, opened.unit)
    return _SUM.pack(zlib.crc32(head)) + head


def encode_step(request: Step) -> bytes:
    """The frame of a ``Step``; arrays that are not C-contiguous float32 and uint32 are converted."""
    gradients, keys = request.gradients, request.keys
    flags = (0 if gradients is None else PUSHES) | (0 if keys is None else PULLS)
    return _encode_sections(STEP, (request.step, flags), request.tables, gradients or (), keys or ())


def encode_read(request: Read) -> bytes:
    """The frame of a ``Read``."""
    return _encode_sections(READ, (0, PULLS), request.tables, (), request.keys)


def _encode_sections(
    kind: int,
    step_flags: tuple[int, int],
    tables: Sequence[int],
    gradients: Sequence[Floats],
    keys: Sequence[Keys],
) -> bytes:
    parts: list[Part] = [b""]
    size = 24 + 12 * len(tables)
    for at, table in enumerate(tables):
        pushed = gradients[at] if gradients else None
        pulled = len(keys[at]) if keys else 0
        width, rows = (0, 0) if pushed is None else (pushed.shape[1], pushed.shape[0])
        parts.append(_SECTION.pack(table, width, rows, pulled))
        size += 4 * (width * rows + pulled)
    parts += [np.ascontiguousarray(one, _FLOAT).data for one in gradients]
    parts += [np.ascontiguousarray(one, _KEY).data for one in keys]
    padding = _ZEROS[size & 7]
    step, flags = step_flags
    parts[0] = _STEP.pack(size + len(padding), MAGIC, VERSION, kind, step, flags, len(tables), 0)
    parts.append(padding)
    return _sealed(parts)


def encode_answer(answer: Answer, tables: Sequence[int] = ()) -> bytes:
    """The frame of an ``Answer`` about those tables."""
    rows = answer.rows or ()
    message, places = blank_answer(tables[: len(rows)], [(len(one), one.shape[1]) for one in rows])
    for place, one in zip(places, rows, strict=True):
        place[...] = one
    return seal_answer(message, answer.status, answer.step, answer.clock)


def blank_answer(tables: Sequence[int], shapes: Sequence[tuple[int, int]]) -> tuple[bytearray, tuple[Floats, ...]]:
    """The frame of an ``Answer`` without what ``seal_answer`` adds, and arrays in it for the rows to be written to."""
    at = 32 + 8 * len(tables)
    message = bytearray((at + sum([4 * rows * width for rows, width in shapes]) + 7) & ~7)
    _ROWS.pack_into(message, 4, len(message), MAGIC, VERSION, ROWS, 0, 0, 0, len(tables), 0)
    for number, (rows, width) in enumerate(shapes):
        _TABLE.pack_into(message, 32 + 8 * number, tables[number], width, rows)
    places, _ = _floats(message, at, shapes)
    return message, places


def seal_answer(message: bytearray, status: Status, step: int, clock: int) -> bytes:
    """The frame of an ``Answer`` whose rows are written."""
    _ANSWERED.pack_into(message, 12, step, clock, status)
    _SUM.pack_into(message, 0, zlib.crc32(memoryview(message)[4:]))
    return bytes(message)


def _sealed(parts: list[Part]) -> bytes:
    total = 0
    for part in parts:
        total = zlib.crc32(part, total)
    return b"".join((_SUM.pack(total), *parts))


def requests(message: bytes, quick: Quick[Request] | None = None) -> Iterator[Request]:
    """The frames of a worker's message, each checked when its turn comes: ``WireError`` at the first bad one."""
    return _each(message, quick, _request)


def replies(message: bytes, quick: Quick[Reply] | None = None) -> Iterator[Reply]:
    """The frames of a shard's message, each checked when its turn comes: ``WireError`` at the first bad one."""
    return _each(message, quick, _reply)


def _each(message: bytes, quick: Quick[F] | None, slow: Callable[[bytes, int, int, int], F]) -> Iterator[F]:
    """Each frame of a message, read by ``quick`` where that can."""
    begin, total = 0, len(message)
    if not 16 <= total <= MAX_MESSAGE:
        raise WireError(f"a message of {total} bytes")
    for _ in range(MAX_FRAMES):
        found = None if quick is None else quick(message, begin)
        if found is None:
            kind, end = _check_frame(message, begin, total)
            yield slow(message, begin, end, kind)
        else:
            end, frame = found
            yield frame
        if end == total:
            return
        begin = end
    raise WireError(f"more than {MAX_FRAMES} frames in a message")


def _request(message: bytes, begin: int, end: int, kind: int) -> Request:
    if kind == STEP:
        return _decode_step(message, begin, end)
    if kind == OPEN:
        return _decode_open(message, begin, end)
    if kind == READ:
        return _decode_read(message, begin, end)
    raise WireError(f"unknown kind of request: {kind}")


def _reply(message: bytes, begin: int, end: int, kind: int) -> Reply:
    if kind == ROWS:
        return _decode_answer(message, begin, end)
    if kind == OPENED:
        return _decode_opened(message, begin, end)
    raise WireError(f"unknown kind of reply: {kind}")


def _check_frame(message: bytes, begin: int, total: int) -> tuple[int, int]:
    """Kind and end of the frame at ``begin``, whose prefix and checksum are right."""
    if total - begin < 16:
        raise WireError("a frame is cut off")
    checksum, length, magic, version, kind = _PREFIX.unpack_from(message, begin)
    if magic != MAGIC or version != VERSION:
        raise WireError("not a frame of this protocol")
    end = begin + length
    if length < 16 or length & 7 or end > total:
        raise WireError("a frame's length does not fit its message")
    if zlib.crc32(memoryview(message)[begin + 4 : end]) != checksum:
        raise WireError("a frame's checksum does not fit its bytes")
    return kind, end


def _decode_open(message: bytes, begin: int, end: int) -> Open:
    if end - begin != 24:
        raise WireError("an OPEN frame of another length")
    *_, attempt, unit = _OPEN.unpack_from(message, begin + 4)
    return Open(unit, attempt)


def _decode_opened(message: bytes, begin: int, end: int) -> Opened:
    if end - begin != 32:
        raise WireError("an OPENED frame of another length")
    *_, status, last, current, unit = _OPENED.unpack_from(message, begin + 4)
    if status not in (Status.APPLIED, Status.STALE):
        raise WireError(f"unknown status {status}")
    return Opened(_STATUS[status], unit, last, current)


def _decode_read(message: bytes, begin: int, end: int) -> Read:
    step, tables, gradients, keys = _decode_step(message, begin, end)
    if gradients is not None or keys is None or step:
        raise WireError("a READ frame that does more than read")
    return Read(tables, keys)


def _decode_step(message: bytes, begin: int, end: int) -> Step:
    if end - begin < 36:
        raise WireError("a STEP frame is cut off")
    step, flags, sections, zero, *first = _STEP_ONE.unpack_from(message, begin + 12)
    if step > MAX_STEP or not 0 < flags <= PUSHES | PULLS or zero or not 1 <= sections <= MAX_SECTIONS:
        raise WireError("a STEP frame with impossible fields")
    at = begin + 24 + 12 * sections
    if at > end:
        raise WireError("a STEP frame is cut off")
    heads = [first, *([*_SECTION.unpack_from(message, begin + 24 + 12 * one)] for one in range(1, sections))]
    tables = tuple([head[0] for head in heads])
    if sections > 1 and len(set(tables)) != sections:
        raise WireError("a table twice in one frame")
    _check_sizes(heads, flags, end - at)
    gradients: tuple[Floats, ...] | None = None
    if flags & PUSHES:
        gradients, at = _floats(message, at, [(rows, width) for _, width, rows, _ in heads])
    return Step(step, tables, gradients, _keys(message, at, heads) if flags & PULLS else None)


def _keys(message: bytes, at: int, heads: list[list[int]]) -> tuple[Keys, ...]:
    """The keys of all sections, which begin at ``at``."""
    found = []
    for _, _, _, pulled in heads:
        found.append(np.frombuffer(message, _KEY, pulled, at))
        at += 4 * pulled
    return tuple(found)


def _check_sizes(heads: list[list[int]], flags: int, room: int) -> None:
    size = 0
    for _, width, pushed, pulled in heads:
        if not flags & PUSHES and (width or pushed):
            raise WireError("gradients in a frame that pushes nothing")
        if flags & PUSHES and not width:
            raise WireError("gradients without a width")
        if pulled and not flags & PULLS:
            raise WireError("keys in a frame that pulls nothing")
        size += 4 * (width * pushed + pulled)
    if not 0 <= room - size <= 7:
        raise WireError("a STEP frame's counts do not fit its length")


def _floats(message: bytes | bytearray, at: int, shapes: Sequence[tuple[int, int]]) -> tuple[tuple[Floats, ...], int]:
    """The float32 matrices of those shapes that begin at ``at``, and where they end."""
    found = []
    for rows, width in shapes:
        found.append(np.frombuffer(message, _FLOAT, rows * width, at).reshape(rows, width))
        at += 4 * rows * width
    return tuple(found), at


def _decode_answer(message: bytes, begin: int, end: int) -> Answer:
    if end - begin < 32:
        raise WireError("a ROWS frame is cut off")
    _, _, _, _, step, clock, status, sections, zero = _ROWS.unpack_from(message, begin + 4)
    at = begin + 32 + 8 * sections
    if status >= len(_STATUS) or sections > MAX_SECTIONS or zero or at > end:
        raise WireError("a ROWS frame with impossible fields")
    heads = [_TABLE.unpack_from(message, begin + 32 + 8 * one) for one in range(sections)]
    size = sum([4 * rows * width for _, width, rows in heads])
    if not 0 <= end - at - size <= 7:
        raise WireError("a ROWS frame's counts do not fit its length")
    rows, _ = _floats(message, at, [(rows, width) for _, width, rows in heads])
    return Answer(_STATUS[status], step, clock, rows if sections else None)
