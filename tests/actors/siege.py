"""A shard's process under fire, beside a twin in this process that says what becomes of each step frame."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from random import Random

import psutil

from cirrus.actors.control import FROM_DRIVER, FROM_WORKER, TO_DRIVER, TO_WORKER
from cirrus.actors.shard import Connection, Shard
from cirrus.core import messages
from cirrus.core.ids import WorkerId
from cirrus.errors import WireError
from cirrus.wire import frames
from cirrus.wire.codec import LARGEST
from cirrus.wire.specs import spec_from_json, spec_to_json
from tests.actors import fuzz
from tests.actors.shards import CLOCK, FACTORS, WEIGHTS, token

TABLES = (WEIGHTS, FACTORS)
UNITS = 64  # that honest beginnings open: each again and again, by higher attempts
SECONDS = 20.0
BINARY, CLOSE, PONG = 2, 8, 10
LOOK = fuzz.step_frame(
    frames.READ, 0, frames.PULLS, [(0, 0, 0, 100), (1, 0, 0, 40)], struct.pack("<140I", *range(100), *range(40))
)
POOL = messages.OpenPool("train", "work", None, 1000, 60.0)
WORKER = WorkerId("train", 0, 1)
WORDS = (
    messages.Hello(7), messages.Ask(2), messages.Beat(5), messages.Done(0, 1, 9, "", {"loss": 0.5}),
    messages.Back(0, 1), messages.Bye("drained"), messages.Objected("a", "b", 3, "c"),
)  # fmt: skip
ORDERS = (
    POOL, messages.Limit("train", 9), messages.Allow("train", 5), messages.Reopen("train", (1, 2)),
    messages.Expect(WORKER), messages.Fence(WORKER, "x"), messages.Drain(WORKER, "x"), messages.ClosePool("train"),
)  # fmt: skip


class Line:
    """A WebSocket's client end: bytes out as they are, whole frames in."""

    def __init__(self, port: int, path: str, bearing: str, early: bytes = b"") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        key = base64.b64encode(bytes(16)).decode()
        head = (
            f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bearing}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        )
        self._data = b""
        self._socket.sendall(head.encode() + early)
        while b"\r\n\r\n" not in self._data:
            more = self._socket.recv(65536)
            assert more, self._data
            self._data += more
        answer, _, self._data = self._data.partition(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101"), answer

    def send(self, data: bytes) -> None:
        """Send bytes as they are; the other side may have gone already."""
        with suppress(ConnectionError):
            self._socket.sendall(data)

    def next(self) -> tuple[int, bytes]:
        """The next frame's kind and body, pongs left out; the end of the connection is a ``CLOSE`` of its own."""
        while True:
            if not self._need(2):
                return CLOSE, b""
            kind, size, at = self._data[0] & 15, self._data[1], 2
            if size > 125:
                at = 4 if size == 126 else 10
                if not self._need(at):
                    return CLOSE, b""
                size = int.from_bytes(self._data[2:at], "big")
            if not self._need(at + size):
                return CLOSE, b""
            body, self._data = self._data[at : at + size], self._data[at + size :]
            if kind != PONG:
                return kind, body

    def rest(self) -> list[bytes]:
        """All that comes until the connection is closed, which it has to be."""
        found: list[bytes] = []
        while True:
            kind, body = self.next()
            if kind == CLOSE:
                return found
            found.append(body)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _need(self, size: int) -> bool:
        while len(self._data) < size:
            try:
                more = self._socket.recv(65536)
            except ConnectionError:
                return False
            if not more:
                return False
            self._data += more
        return True


class Siege:
    """Sends hostile messages to the shard that listens on ``port``; ``sent`` counts them, ``right`` those of frames
    that turned out to be right. An assertion fails where the shard does other than its twin.
    """

    def __init__(self, port: int, pid: int, seed: int) -> None:
        self.sent = 0
        self.right = 0
        self._port = port
        self._process = psutil.Process(pid)
        self._chance = Random(seed)
        self._frames = fuzz.Frames(self._chance)
        self._words = fuzz.Words(self._chance, [FROM_WORKER.encode(one) for one in WORDS])
        self._orders = fuzz.Words(self._chance, [FROM_DRIVER.encode(one) for one in ORDERS])
        self._twin = Shard(0, 1)
        late = CLOCK.wall() + 86_400
        self._worker, self._driver = token("worker", expiry=late), token("driver", expiry=late)
        self._guest = token("worker", expiry=late, pool=WORKER.pool, slot=WORKER.slot, attempt=WORKER.attempt)
        self._answer = b""
        self._attempt = 0
        self._heard = 0  # of the control actor's messages
        self._http = http.client.HTTPConnection("127.0.0.1", port, SECONDS)
        specs = [spec_to_json(one) for one in TABLES]
        assert self._ask("POST", "/tables", json.dumps(specs).encode()) == 200
        for spec in TABLES:
            self._twin.create(spec)

    @property
    def memory(self) -> int:
        """Bytes that the shard's process occupies."""
        return int(self._process.memory_info().rss)

    def fire(self, count: int) -> None:
        """Send about ``count`` more messages of all kinds."""
        until = self.sent + count
        kinds = (*[self._steps] * 14, *[self._words_of_stranger] * 2, self._words_of_guest, self._garbled)
        while self.sent < until:
            self._chance.choice(kinds)()
            if self._chance.random() < 0.3:
                self._body()

    def look(self) -> None:
        """See that weights, clocks, ledgers and values are those of the twin."""
        line = Line(self._port, "/steps", self._worker, b"")
        line.send(fuzz.masked(self._chance, LOOK))
        assert line.next() == (BINARY, self._twin.handle(Connection(), LOOK))
        line.close()
        ledgers = {str(number): ledger.dump() for number, ledger in self._twin.ledgers.items()}
        assert self._ask("GET", "/ledger") == 200
        assert json.loads(self._answer) == {"clock": self._twin.clock, "ledgers": ledgers}
        assert self._ask("GET", "/values") == 200
        assert json.loads(self._answer) == {"values": []}

    def close(self) -> None:
        """Hang up."""
        self._http.close()

    # Step frames

    def _steps(self) -> None:
        """One connection: an honest beginning, and hostile messages until one is refused, all sent at once."""
        chance, connection = self._chance, Connection()
        self._attempt += 1
        sent: list[bytes] = []
        expected: list[bytes] = []
        good = True
        while good and len(sent) < 16:
            message, honest = self._message(connection, len(sent))
            try:
                expected.append(self._twin.handle(connection, message))
            except WireError:
                good = False
            sent.append(fuzz.fragmented(chance, message) if chance.random() < 0.1 else fuzz.masked(chance, message))
            self.sent += not honest
            self.right += good and not honest
        if chance.random() < 0.3:  # behind a refused message nobody listens, and half a message is none
            behind = fuzz.masked(chance, self._frames.good())
            sent.append(behind if not good else behind[: chance.randrange(len(behind))])
        self._exchange(b"".join(sent), expected, good)

    def _message(self, connection: Connection, number: int) -> tuple[bytes, bool]:
        """The next message of a connection, and whether it is an honest one."""
        if number == 0:
            return self._frames.begin(self._chance.randrange(UNITS), self._attempt), True
        ledger, pulls = connection.ledger, connection.pulls
        if ledger is not None:
            self._frames.step = (ledger.last(connection.unit) + 1) % 2**31
        if number == 1:
            return self._frames.pull(), True
        self._frames.owed = len(pulls[0].rows[0]) if pulls else 0
        if self._chance.random() < 0.1 and pulls and pulls[0].tables == (0,):
            return self._frames.good(), True
        return self._frames.hostile(), False

    def _exchange(self, data: bytes, expected: list[bytes], good: bool) -> None:  # noqa: FBT001
        early = self._chance.random() < 0.2
        line = Line(self._port, "/steps", self._worker, data if early else b"")
        if not early:
            line.send(data)
        for answer in expected:
            assert line.next() == (BINARY, answer)
        if not good:
            kind, body = line.next()
            assert (kind, body[:2]) in ((CLOSE, b"\x03\xea"), (CLOSE, b""))
        line.close()

    def _garbled(self) -> None:
        """Bytes that are no WebSocket's, on any line, or no request's."""
        chance = self._chance
        self.sent += 2
        lines = (("/steps", self._worker), ("/control", self._worker), ("/control", self._driver))
        line = Line(self._port, *chance.choice(lines))
        line.send(fuzz.garbled(chance) + fuzz.masked(chance, b"\xc1"))
        line.rest()
        line.close()
        with socket.create_connection(("127.0.0.1", self._port), SECONDS) as raw, suppress(ConnectionError):
            raw.sendall(fuzz.request(chance))
            raw.shutdown(socket.SHUT_WR)
            while raw.recv(65536):
                pass

    # Control messages

    def _words_of_stranger(self) -> None:
        """A worker that nobody expects, and its words."""
        line = Line(self._port, "/control", self._worker)
        self._say(line, [self._words.hostile() for _ in range(3)])

    def _words_of_guest(self) -> None:
        """A driver that opens a pool, a worker that is welcome in it, and what both say then."""
        driver = Line(self._port, "/control", self._driver)
        assert isinstance(TO_DRIVER.decode(driver.next()[1]), messages.Greeting)
        for order in (messages.Took(self._heard), POOL, messages.Expect(WORKER)):
            driver.send(fuzz.masked(self._chance, FROM_DRIVER.encode(order)))
        worker = Line(self._port, "/control", self._guest)
        for word in (messages.Hello(1), messages.Ask(2)):
            worker.send(fuzz.masked(self._chance, FROM_WORKER.encode(word)))
        found = [TO_WORKER.decode(worker.next()[1]) for _ in range(3)]
        assert [type(one) for one in found] == [messages.Welcome, messages.Lease, messages.Lease]
        self._say(worker, [*(self._words.hostile() for _ in range(3)), self._long()])
        orders = [self._orders.hostile() for _ in range(3)]
        heard = self._say(driver, [one for one in orders if not _reaches_far(one)])
        self._heard += sum(not isinstance(TO_DRIVER.decode(one), messages.Took) for one in heard)

    def _long(self) -> bytes:
        """A worker's honest words that are as long as any may be, or nearly."""
        room = LARGEST - 2 - len(FROM_WORKER.encode(messages.Bye("failed")))
        text = "x" * (room - self._chance.randrange(100))
        return FROM_WORKER.encode(messages.Bye("failed", text))

    def _say(self, line: Line, words: list[bytes]) -> list[bytes]:
        """Send messages and one that surely cannot be read; what comes until the connection is closed."""
        self.sent += len(words) + 1
        line.send(b"".join([fuzz.masked(self._chance, one) for one in (*words, b"\xc1")]))
        heard = line.rest()
        line.close()
        return heard

    # Requests

    def _body(self) -> None:
        """A request with a hostile body, or to nowhere, or by nobody."""
        self.sent += 1
        kinds = (self._tables, self._ledger, self._stop, self._value, self._nowhere, self._nobody)
        self._chance.choice(kinds)()

    def _tables(self) -> None:
        body = fuzz.odd_json(self._chance, [spec_to_json(one) for one in TABLES])
        if not _makes_tables(body):
            self._ask("POST", "/tables", body)

    def _ledger(self) -> None:
        body = fuzz.odd_json(self._chance, {"close_below": 3})
        if self._ask("POST", "/ledger", body) == 200:
            self._twin.close_below(json.loads(body)["close_below"])

    def _stop(self) -> None:
        body = fuzz.odd_json(self._chance, {"save": True})
        if not _stops(body):
            assert self._ask("POST", "/stop", body) == 400

    def _value(self) -> None:
        chance = self._chance
        name = chance.choice(("a", "..", "%00", "%ff", "A", "x" * 70, "%2e%2e%2f"))
        headers = {"If-Match": chance.choice(('"7"', "7", '"-1"', "*", "", '"' + "9" * 40 + '"', "\xe9"))}
        query = chance.choice(("", "?ttl=nan", "?ttl=-1", "?ttl=1e400", "?ttl=%ff", "?prefix=%ff"))
        body = bytes(chance.choice((0, 10, 65_537)))
        status = self._ask(chance.choice(("PUT", "DELETE", "GET")), f"/values/{name}{query}", body, headers)
        assert status not in (200, 201)

    def _nowhere(self) -> None:
        path = self._chance.choice(("/", "/tables/1", "/steps", "/control", "/%ff", "/values/", "/metrics?x=%ff"))
        self._ask(self._chance.choice(("GET", "POST", "PATCH", "BREW")), path, self._chance.randbytes(30))

    def _nobody(self) -> None:
        spoilt = bytearray(self._driver.encode())
        spoilt[self._chance.randrange(len(spoilt))] ^= 1 << self._chance.randrange(4)
        headers = {"Authorization": f"Bearer {spoilt.decode('latin-1')}"}
        assert self._ask("GET", "/ledger", b"", headers) in (400, 401)

    def _ask(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> int:
        """Send a request as the driver; the status of the answer, which is never that of a shard in confusion."""
        given = {"Content-Type": "application/json", "Authorization": f"Bearer {self._driver}", **(headers or {})}
        try:
            status = self._once(method, path, body, given)
        except (ConnectionError, http.client.HTTPException):  # an idle connection had been closed
            self._http.close()
            status = self._once(method, path, body, given)
        assert status != 500, (method, path, body[:200])
        return status

    def _once(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> int:
        self._http.request(method, path, body, dict(headers))
        with self._http.getresponse() as answer:
            self._answer = answer.read()
            return answer.status


def _reaches_far(data: bytes) -> bool:
    """Whether an order can be read, and is about what was taken in, or about another pool: then it would be right."""
    try:
        match FROM_DRIVER.decode(data):
            case messages.Took():
                return True
            case messages.Expect(worker) | messages.Fence(worker) | messages.Drain(worker):
                return worker.pool != POOL.pool
            case order:
                return order.pool != POOL.pool
    except WireError:
        return False


def _makes_tables(body: bytes) -> bool:
    try:
        specs = [spec_from_json(one) for one in json.loads(body)]
    except (ValueError, TypeError, RecursionError, WireError):
        return False
    return any(one not in TABLES for one in specs)


def _stops(body: bytes) -> bool:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(given, dict) and type(given.get("save", False)) is bool
