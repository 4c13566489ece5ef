"""The driver's side of the shards: how one is started, and what is asked of all of them over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout

from cirrus.actors.trust import certain
from cirrus.clock import Clock
from cirrus.cloud.child import Child
from cirrus.cloud.processes import Processes
from cirrus.core.ledger import Ledger
from cirrus.core.restarts import Backoff
from cirrus.errors import InvokeError, OutsideError, WireError
from cirrus.learn.base import TableSpec
from cirrus.wire.specs import spec_to_json
from cirrus.wire.tls import Identity

START_SECONDS = 30.0
CALL = ClientTimeout(total=120.0)
BACKOFF = Backoff(0.05, 2.0, 1.0)
PATIENCE = 60.0  # seconds for which a shard may be away, or busy


@dataclass(frozen=True, slots=True)
class Plan:
    """What every shard process of a run is told; ``key`` signs the run's tokens.

    ``restore``: begin with the newest snapshot, if there is one. ``host`` is the address to listen at; beyond loopback
    with ``identity``.
    """

    run_id: str
    epoch: int
    key: bytes = field(repr=False)
    shards: int
    store: str
    restore: bool = False
    host: str = "127.0.0.1"
    identity: Identity | None = None


@dataclass(frozen=True, slots=True)
class ShardHost:
    """A shard that answers: its number, port, and process; its URL if it listens on the loopback interface.

    ``skipped``: key and problem of each snapshot that it found newer than the one that it began with, and broken.
    """

    number: int
    port: int
    child: Child
    skipped: tuple[tuple[str, str], ...] = ()

    @property
    def url(self) -> str:
        """The base of its URLs."""
        return f"http://127.0.0.1:{self.port}"


async def start_shard(
    processes: Processes, command: tuple[str, ...], plan: Plan, number: int, port: int = 0
) -> ShardHost:
    """Start one shard's process on a port (0: a free one); ``InvokeError`` with its last words."""
    told = {
        "run_id": plan.run_id, "epoch": plan.epoch, "key": plan.key.hex(), "shard": number, "shards": plan.shards,
        "host": plan.host, "port": port, "store": plan.store, "prefix": shard_prefix(plan.run_id, number),
        "restore": plan.restore,
    }
    if plan.identity is not None:
        told |= {"certificate": plan.identity.certificate, "private_key": plan.identity.key}
    child = await processes.start(command, json.dumps(told), stdout="line")
    said = await child.line(START_SECONDS)
    try:
        words = json.loads(said)
        found = int(words["port"])
        skipped = tuple((str(key), str(problem)) for key, problem in words["skipped"])
    except (ValueError, KeyError, TypeError) as error:
        raise InvokeError(f"shard {number} said {said[:200]!r} instead of its port") from error
    return ShardHost(number, found, child, skipped)


def shard_prefix(run_id: str, number: int) -> str:
    """Where the snapshots of a shard are kept."""
    return f"runs/{run_id}/shards/{number:03d}/"


@dataclass(frozen=True, slots=True)
class Saved:
    """A shard's snapshot: the object's key, and the ledger of one stage as it was then."""

    key: str
    ledger: Ledger


class ShardCalls:
    """Requests of the driver to all shards of a run; a shard that is away is asked again for ``PATIENCE`` seconds."""

    def __init__(self, session: ClientSession, clock: Clock, urls: Sequence[str], token: str) -> None:
        self._session = session
        self._clock = clock
        self._urls = tuple(urls)
        self._headers = {"Authorization": f"Bearer {token}"}
        self._saving = asyncio.Lock()
        self._begun = 0  # snapshots that were begun, and which of them all shards have written last
        self._saved_as = 0
        self._saved: tuple[Mapping[str, Any], ...] = ()

    async def create(self, tables: Sequence[TableSpec]) -> None:
        """Make tables of zeros on every shard; nothing happens where they are there already."""
        for url in self._urls:
            await self._persist(url, "/tables", [spec_to_json(table) for table in tables])

    async def drop(self, tables: Sequence[str], line: int) -> None:
        """Forget tables on every shard, and the ledgers of that line; nothing happens where they are gone."""
        for url in self._urls:
            await self._persist(url, "/tables/drop", {"tables": list(tables), "line": line})

    async def resident(self) -> int:
        """Bytes of memory that all shards occupy together; ``OutsideError`` where one does not answer now."""
        return sum([int((await self._call(url, "/tables", None)).get("resident", 0)) for url in self._urls])

    async def snapshot(self, line: int) -> tuple[Saved, ...]:
        """Have every shard write a snapshot; those who ask while one is being written get the next one together."""
        begun = self._begun
        async with self._saving:
            if self._saved_as <= begun:
                self._begun += 1
                self._saved = tuple([await self._persist(url, "/snapshot", {}) for url in self._urls])
                self._saved_as = self._begun
            return tuple(Saved(str(one["key"]), _ledger(one, line)) for one in self._saved)

    async def ledgers(self, line: int) -> tuple[Ledger, ...]:
        """What every shard has applied of the stage with that line of units."""
        found = [await self._persist(url, "/ledger", None) for url in self._urls]
        return tuple(_ledger(one, line) for one in found)

    async def stop(self) -> None:
        """Have every shard end without another snapshot."""
        for url in self._urls:
            await self._call(url, "/stop", {"save": False})

    async def _persist(self, url: str, path: str, body: object) -> Mapping[str, Any]:
        """Ask until there is an answer; only for what may be asked twice."""
        failures, deadline = 0, self._clock.monotonic() + PATIENCE
        while True:
            try:
                return await self._call(url, path, body)
            except OutsideError as error:
                failures += 1
                if isinstance(error, WireError) or self._clock.monotonic() > deadline:
                    raise
            await self._clock.sleep(BACKOFF.delay(failures, 0.0))

    async def _call(self, url: str, path: str, body: object) -> Mapping[str, Any]:
        """POST ``body`` as JSON, or GET where it is ``None``; ``WireError`` where the shard says no for good."""
        method = "GET" if body is None else "POST"
        sent: Mapping[str, Any] = {} if body is None else {"json": body}
        try:
            with certain(url):
                async with self._session.request(
                    method, f"{url}{path}", headers=self._headers, timeout=CALL, **sent
                ) as response:
                    answer: Mapping[str, Any] = await response.json(content_type=None)
        except (ClientError, OSError, TimeoutError, ValueError) as error:
            raise OutsideError(f"the shard at {url} did not answer {method} {path}: {error!r}") from error
        if response.status == 409 and path == "/snapshot":
            raise OutsideError(f"the shard at {url} writes no snapshot now: {answer.get('error', '')}")
        if response.status != 200:
            raise WireError(f"the shard at {url} refused {method} {path}: {answer.get('error', response.status)}")
        return answer


def _ledger(answer: Mapping[str, Any], line: int) -> Ledger:
    try:
        return Ledger.load(answer["ledgers"].get(str(line), [0]))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise WireError(f"a shard's answer holds no ledger: {error!r}") from error
