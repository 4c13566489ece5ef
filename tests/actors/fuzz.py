"""Random and mutated messages for a shard: step frames, bytes of WebSockets, control messages and bodies of requests.

All chance comes from the ``Random`` that a maker is given, so that a seed makes the same messages again.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Sequence
from random import Random

import msgpack

from cirrus.wire.frames import MAGIC, OPEN, OPENED, PULLS, PUSHES, READ, ROWS, STEP, VERSION

ODD = (0, 1, 2, 7, 8, 15, 24, 63, 64, 99, 100, 127, 128, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1)
FLOATS = (float("nan"), float("inf"), float("-inf"), 1e6, 1e7, 3e38, -0.0, 1e-45, 1.0, -1.0)
LONGEST = 400  # bytes of most messages: what is long is made by counts that lie, and now and then in earnest

Section = tuple[int, int, int, int]
"""Of a STEP frame: table, width, rows that are pushed, rows that are pulled."""


def sealed(frame: bytes) -> bytes:
    """A frame whose length and checksum are mended, where it is long enough to have them."""
    if len(frame) < 16:
        return frame
    body = struct.pack("<I", len(frame)) + frame[8:]
    return struct.pack("<I", zlib.crc32(body)) + body


def frame(kind: int, rest: bytes) -> bytes:
    """A frame of that kind, filled up to a multiple of 8 bytes."""
    whole = bytes(8) + struct.pack("<HBB", MAGIC, VERSION, kind) + rest
    return sealed(whole + bytes(-len(whole) % 8))


def open_frame(unit: int, attempt: int) -> bytes:
    """An OPEN frame."""
    return frame(OPEN, struct.pack("<IQ", attempt, unit))


def step_frame(kind: int, step: int, flags: int, sections: Sequence[Section], data: bytes) -> bytes:
    """A STEP or READ frame that says what it is told to, whether or not that is true."""
    heads = b"".join([struct.pack("<HHII", *one) for one in sections])
    return frame(kind, struct.pack("<IHHI", step, flags, len(sections), 0) + heads + data)


class Frames:
    """Makes messages for a step connection; ``step`` is the one that is due there, ``owed`` the rows it has pulled."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self.step = 0
        self.owed = 0
        self._makers: tuple[Callable[[], bytes], ...] = (
            self._flipped, self._flipped, self._mended, self._mended, self._cut, self._doubled, self._moved,
            self._invented, self._invented, self._invented, self._opened, self._replied, self._many, self._noise,
        )

    def begin(self, unit: int, attempt: int) -> bytes:
        """An honest beginning: open a unit and pull some rows of its next step."""
        return open_frame(unit, attempt)

    def pull(self) -> bytes:
        """An honest pull of a few rows of table 0."""
        self.owed = self._chance.randrange(1, 6)
        return self._pull(self.owed)

    def good(self) -> bytes:
        """An honest push of the step that is due, which pulls for the next one."""
        rows, pulled = self.owed, self._chance.randrange(1, 6)
        data = struct.pack(f"<{rows}f", *[self._chance.randrange(-8, 9) / 4 for _ in range(rows)])
        return step_frame(STEP, self.step, PUSHES | PULLS, [(0, 1, rows, pulled)], data + self._keys(pulled))

    def hostile(self) -> bytes:
        """A message that is random or mutated; a few turn out to be right."""
        return self._chance.choice(self._makers)()

    def _pull(self, count: int) -> bytes:
        return step_frame(STEP, self.step, PULLS, [(0, 0, 0, count)], self._keys(count))

    def _keys(self, count: int) -> bytes:
        return struct.pack(f"<{count}I", *sorted(self._chance.sample(range(100), count)))

    def _any(self) -> bytes:
        return self.good() if self._chance.random() < 0.7 else self._pull(3)

    def _flipped(self) -> bytes:
        """Bits flipped, and nothing mended."""
        data = bytearray(self._any())
        for _ in range(self._chance.choice((1, 1, 1, 2, 5, 40))):
            data[self._chance.randrange(len(data))] ^= 1 << self._chance.randrange(8)
        return bytes(data)

    def _mended(self) -> bytes:
        """A field overwritten, behind the checksum, which then is right again."""
        data = bytearray(self._any())
        size = self._chance.choice((1, 2, 4))
        at = self._chance.randrange(8, len(data) - size + 1)
        value = self._chance.choice(ODD) if self._chance.random() < 0.7 else self._chance.getrandbits(32)
        data[at : at + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")
        return sealed(bytes(data))

    def _cut(self) -> bytes:
        data = self._any()
        data = data[: self._chance.randrange(len(data))]
        return sealed(data) if self._chance.random() < 0.5 else data

    def _doubled(self) -> bytes:
        """The same frame twice, or one and a piece of it."""
        data = self._any()
        return data + data[: self._chance.choice((8, 16, 24, len(data), len(data)))]

    def _moved(self) -> bytes:
        """Bytes added in the middle or taken out."""
        data = bytearray(self._any())
        at, count = self._chance.randrange(len(data)), self._chance.choice((1, 4, 8, 12))
        if self._chance.random() < 0.5:
            data[at:at] = self._chance.randbytes(count)
        else:
            del data[at : at + count]
        return sealed(bytes(data)) if self._chance.random() < 0.7 else bytes(data)

    def _invented(self) -> bytes:
        """A frame whose checksum is right and whose fields are made up."""
        chance = self._chance
        kind = chance.choice((STEP, STEP, STEP, READ))
        flags = chance.choice((PULLS, PUSHES, PUSHES | PULLS, PUSHES | PULLS, chance.getrandbits(16)))
        step = chance.choice((self.step, self.step, self.step - 1, self.step + 1, chance.choice(ODD))) % 2**32
        count = chance.choice((1, 1, 1, 2, 3, 8, 9, 0))
        sections = [self._section(kind, flags) for _ in range(count)]
        data = b"".join([self._gradient(width * rows) for _, width, rows, _ in sections if width * rows < LONGEST])
        data += b"".join([self._some_keys(pulled) for _, _, _, pulled in sections if pulled < LONGEST])
        return step_frame(kind, 0 if kind == READ else step, PULLS if kind == READ else flags, sections, data)

    def _section(self, kind: int, flags: int) -> Section:
        chance = self._chance
        table = chance.choice((0, 0, 0, 0, 1, 1, 2, 3, chance.getrandbits(16)))
        width = chance.choice((1, 1, 1, 3, 0, 2, 65535)) if flags & PUSHES and kind == STEP else 0
        rows = chance.choice((self.owed, self.owed, 0, 1, chance.choice(ODD))) if width else 0
        pulled = chance.choice((0, 1, 2, 3, 100, chance.choice(ODD))) if flags & PULLS or kind == READ else 0
        return table, width, rows, pulled

    def _gradient(self, count: int) -> bytes:
        if self._chance.random() < 0.5:
            return struct.pack(f"<{count}f", *[self._chance.choice(FLOATS) for _ in range(count)])
        return self._chance.randbytes(4 * count)

    def _some_keys(self, count: int) -> bytes:
        """Keys in order, in disorder, twice, or beyond the table."""
        chance = self._chance
        limit = chance.choice((100, 100, 40, 101, 2**32 - 1))
        keys = [chance.randrange(limit) for _ in range(count)]
        return struct.pack(f"<{count}I", *(sorted(set(keys)) + keys)[:count] if chance.random() < 0.7 else keys)

    def _opened(self) -> bytes:
        """A unit that is opened again, by an attempt that may be stale."""
        chance = self._chance
        unit = chance.choice((0, 1, 63, 2**32, 2**32 + 1, 2**63, 2**64 - 1))
        return open_frame(unit, chance.choice((0, 0, 1, 2, chance.getrandbits(10))))

    def _replied(self) -> bytes:
        """What only a shard says, or nobody."""
        kind = self._chance.choice((OPENED, ROWS, 0, 4, 64, 67, 255))
        return frame(kind, self._chance.randbytes(self._chance.choice((12, 20, 24, 60))))

    def _many(self) -> bytes:
        """Frames without number, or one that says that it is long."""
        if self._chance.random() < 0.5:
            return step_frame(READ, 0, PULLS, [(0, 0, 0, 1)], bytes(4)) * self._chance.choice((2, 64, 65, 200))
        data = bytearray(self._any())
        data[4:8] = struct.pack("<I", self._chance.choice(ODD))
        return bytes(data[:4]) + bytes(data[4:])

    def _noise(self) -> bytes:
        noise = self._chance.randbytes(self._chance.choice((0, 1, 15, 16, 17, 64, self._chance.randrange(LONGEST))))
        return noise if self._chance.random() < 0.5 else frame(STEP, noise)


def masked(chance: Random, message: bytes, first: int = 0x82) -> bytes:
    """The bytes of one WebSocket frame of a client; ``first`` is its first byte, a whole binary message's by itself."""
    size = len(message)
    if size <= 125:
        head = bytes((first, 0x80 | size))
    elif size < 65536:
        head = struct.pack("!BBH", first, 0xFE, size)
    else:
        head = struct.pack("!BBQ", first, 0xFF, size)
    if size > LONGEST or chance.random() < 0.5:
        return head + bytes(4) + message
    key = chance.randbytes(4)
    mask = int.from_bytes((key * (size // 4 + 1))[:size], "big")
    return head + key + (int.from_bytes(message, "big") ^ mask).to_bytes(size, "big")


def fragmented(chance: Random, message: bytes) -> bytes:
    """The same message in several WebSocket frames."""
    cuts = sorted(chance.randrange(len(message) + 1) for _ in range(chance.randrange(1, 6)))
    pieces = [message[a:b] for a, b in zip((0, *cuts), (*cuts, len(message)), strict=True)]
    last = len(pieces) - 1
    return b"".join(
        [masked(chance, one, (0x80 if at == last else 0) | (0 if at else 2)) for at, one in enumerate(pieces)]
    )


def garbled(chance: Random) -> bytes:
    """Bytes that break the WebSocket protocol, or messages of a kind that is not understood."""
    return chance.choice(
        (
            lambda: masked(chance, b"hello", 0x81),
            lambda: masked(chance, b"\xff\xfe\xc0", 0x81),
            lambda: masked(chance, chance.randbytes(20), 0x80),  # goes on with nothing
            lambda: masked(chance, chance.randbytes(20), 0x80 | chance.randrange(3, 8)),
            lambda: masked(chance, chance.randbytes(20), 0x80 | chance.randrange(11, 16)),
            lambda: masked(chance, chance.randbytes(20), 0x82 | chance.choice((0x10, 0x20, 0x40))),
            lambda: struct.pack("!BBQ", 0x82, 0xFF, chance.choice((2**24 + 1, 2**32, 2**63, 2**64 - 1))) + bytes(64),
            lambda: masked(chance, b"abc", 2) + masked(chance, b"def", 2),  # a message within a message
            lambda: masked(chance, chance.randbytes(200), 0x89),  # a ping that is too long
            lambda: masked(chance, bytes((3,)), 0x88),  # half a reason for closing
            lambda: masked(chance, struct.pack("!H", chance.choice((0, 999, 1005, 2000, 65535))), 0x88),
        )
    )()


def request(chance: Random) -> bytes:
    """Bytes that are no request of HTTP, or one that nobody may make."""
    return chance.choice(
        (
            lambda: chance.randbytes(chance.choice((1, 50, 5000))),
            lambda: b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * chance.choice((200, 5000)) + b"\r\n",
            lambda: b"GET /" + b"a" * chance.choice((9000, 70_000)) + b" HTTP/1.1\r\n\r\n",
            lambda: b"POST /stop HTTP/1.1\r\nContent-Length: -5\r\n\r\n{}",
            lambda: b"POST /stop HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
            lambda: b"POST /tables HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
            lambda: b"GET /steps HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            lambda: b"GET /steps HTTP/1.1\r\nAuthorization: Bearer " + chance.randbytes(40) + b"\r\n\r\n",
        )
    )()


def nested(depth: int) -> object:
    """A list within lists."""
    found: object = []
    for _ in range(depth):
        found = [found]
    return found


class Words:
    """Makes messages for the control lines, from honest ones."""

    def __init__(self, chance: Random, honest: Sequence[bytes]) -> None:
        self._chance = chance
        self._honest = honest

    def hostile(self) -> bytes:
        """A message that is random or mutated; some can be read nevertheless."""
        chance = self._chance
        make = chance.choice((self._bytes, self._bytes, self._field, self._field, self._field, self._bomb))
        data: bytes = make()
        return data if chance.random() < 0.9 else data[: chance.randrange(len(data) + 1)]

    def _bytes(self) -> bytes:
        data = bytearray(self._chance.choice(self._honest))
        for _ in range(self._chance.choice((1, 1, 2, 8))):
            data[self._chance.randrange(len(data))] = self._chance.getrandbits(8)
        return bytes(data)

    def _field(self) -> bytes:
        """One field is of another type or far out, missing, or one too many."""
        chance = self._chance
        found = msgpack.unpackb(chance.choice(self._honest))
        name = chance.choice((*found, "more"))
        if chance.random() < 0.15:
            found.pop(name, None)
        else:
            found[name] = self._odd()
        data: bytes = msgpack.packb(found, use_bin_type=True, unicode_errors="surrogatepass")
        return data

    def _odd(self) -> object:
        chance = self._chance
        return chance.choice(
            (
                -1, 0, 1, 2**31, 2**63, 2**64 - 1, -(2**63), float("nan"), float("inf"), 1e308, True, None, "",
                "x" * 70, "a\0b", "\ud800", "../../x", b"\xff\xfe", [], {}, {"": None}, {"worker": {"pool": {}}},
                [[1]] * 20, [0] * 2000, nested(70), nested(400), "train", {"pool": "train", "slot": 0, "attempt": 1},
            )
        )

    def _bomb(self) -> bytes:
        """A few bytes that say that they are much."""
        chance = self._chance
        much = chance.choice((1024, 1025, 65535, 2**20, 2**31, 2**32 - 1))
        head = chance.choice((b"\xdd", b"\xdf", b"\xdb", b"\xc6", b"\xc9"))
        return chance.choice(
            (
                head + struct.pack(">I", much) + chance.randbytes(20),
                chance.choice((b"\x91", b"\x81\xa1a", b"\xdd\0\0\0\1")) * chance.choice((20, 513, 5000, 20_000)),
                b"\x80" * 60_000,
                b"\xdc\x04\x00" + b"\xdf\0\0\x04\0" * 1024,
                b"\x81\xa4type\xa5Hello" * 3,
                b"\xc1" + chance.randbytes(8),
                chance.randbytes(chance.choice((0, 1, 60, 65_536, 65_537))),
            )
        )


def odd_json(chance: Random, honest: object) -> bytes:
    """A body that is no JSON, too deep, of the wrong shape, or honest but for one value."""
    odd = chance.choice((None, True, -1, 0, 2**70, 1e308, "", "\0", "x" * 300, [], {}, [[]], {"rows": {}}, nested(50)))
    return chance.choice(
        (
            lambda: b"[" * chance.choice((1, 100, 5000, 200_000)),
            lambda: b'{"a":' * chance.choice((100, 50_000)),
            lambda: b"\xff\xfe{}",
            lambda: b'["\\ud800',
            lambda: b"9" * chance.choice((20, 4000, 5000)),
            lambda: b"NaN",
            lambda: json.dumps(odd).encode(),
            lambda: json.dumps([odd, odd]).encode(),
            lambda: json.dumps(_spoilt(chance, honest, odd)).encode(),
            lambda: json.dumps(_spoilt(chance, honest, odd)).encode()[:-1],
            lambda: chance.randbytes(50),
        )
    )()


def _spoilt(chance: Random, honest: object, odd: object) -> object:
    """The same with one value replaced, somewhere inside."""
    match honest:
        case dict() if honest and chance.random() < 0.9:
            name = chance.choice(list(honest))
            return {**honest, name: _spoilt(chance, honest[name], odd)}
        case list() if honest and chance.random() < 0.9:
            at = chance.randrange(len(honest))
            return [*honest[:at], _spoilt(chance, honest[at], odd), *honest[at + 1 :]]
        case _:
            return odd
