"""The driver's side of the shards: processes on this host, and what is asked of them over HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout

from cirrus.cloud.processes import Child, Processes
from cirrus.errors import InvokeError, OutsideError, WireError
from cirrus.learn.base import TableSpec
from cirrus.wire.specs import spec_to_json

START_SECONDS = 30.0
CALL = ClientTimeout(total=120.0)


@dataclass(frozen=True, slots=True)
class Plan:
    """What every shard process of a run is told; ``key`` signs the run's tokens."""

    run_id: str
    epoch: int
    key: bytes = field(repr=False)
    shards: int
    store: str


@dataclass(frozen=True, slots=True)
class ShardHost:
    """A shard that answers: its number, base URL and process."""

    number: int
    url: str
    child: Child


async def start_shard(processes: Processes, command: tuple[str, ...], plan: Plan, number: int) -> ShardHost:
    """Start one shard's process on a free loopback port; ``InvokeError`` with its last words where that fails."""
    told = {
        "run_id": plan.run_id, "epoch": plan.epoch, "key": plan.key.hex(), "shard": number, "shards": plan.shards,
        "host": "127.0.0.1", "port": 0, "store": plan.store, "prefix": shard_prefix(plan.run_id, number),
        "restore": False,
    }
    child = await processes.start(command, json.dumps(told), stdout="line")
    said = await child.line(START_SECONDS)
    try:
        port = int(json.loads(said)["port"])
    except (ValueError, KeyError, TypeError) as error:
        raise InvokeError(f"shard {number} said {said[:200]!r} instead of its port") from error
    return ShardHost(number, f"http://127.0.0.1:{port}", child)


def shard_prefix(run_id: str, number: int) -> str:
    """Where the snapshots of a shard are kept."""
    return f"runs/{run_id}/shards/{number:03d}/"


class ShardCalls:
    """Requests of the driver to all shards of a run."""

    def __init__(self, session: ClientSession, urls: Sequence[str], token: str) -> None:
        self._session = session
        self._urls = tuple(urls)
        self._headers = {"Authorization": f"Bearer {token}"}

    async def create(self, tables: Sequence[TableSpec]) -> None:
        """Make tables of zeros on every shard; nothing happens where they are there already."""
        for url in self._urls:
            await self._post(url, "/tables", [spec_to_json(table) for table in tables])

    async def snapshot(self) -> tuple[str, ...]:
        """Have every shard write a snapshot; the keys of the objects."""
        found = [await self._post(url, "/snapshot", {}) for url in self._urls]
        return tuple(str(one["key"]) for one in found)

    async def stop(self) -> None:
        """Have every shard end without another snapshot."""
        for url in self._urls:
            await self._post(url, "/stop", {"save": False})

    async def _post(self, url: str, path: str, body: object) -> Mapping[str, Any]:
        try:
            async with self._session.post(f"{url}{path}", json=body, headers=self._headers, timeout=CALL) as response:
                answer: Mapping[str, Any] = await response.json(content_type=None)
        except (ClientError, TimeoutError, ValueError) as error:
            raise OutsideError(f"the shard at {url} did not answer POST {path}: {error}") from error
        if response.status != 200:
            raise WireError(f"the shard at {url} refused POST {path}: {answer.get('error', response.status)}")
        return answer
